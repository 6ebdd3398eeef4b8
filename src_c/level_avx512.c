/* 64-byte vectors (x86-64-v4). SPDX-License-Identifier: BSD-3-Clause */
#include "fg_leaves.h"
#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
#define FG_LEVEL avx512
#define FG_LEVEL_NAME "avx512"
#define FG_VBYTES 64
#define FG_X86_ANY(mask) (_mm512_test_epi32_mask((__m512i)(mask), (__m512i)(mask)) != 0)
#define FG_MAX_F64 _mm512_max_pd
#define FG_MAX_F32 _mm512_max_ps
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#endif
#include "fg_level.inc"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
