/* 32-byte vectors with fused multiply-add (x86-64-v3). SPDX-License-Identifier: BSD-3-Clause */
#include "fg_leaves.h"
#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
#define FG_LEVEL avx2
#define FG_LEVEL_NAME "avx2"
#define FG_VBYTES 32
#define FG_X86_ANY(mask) (!_mm256_testz_si256((__m256i)(mask), (__m256i)(mask)))
#define FG_MAX_F64 _mm256_max_pd
#define FG_MAX_F32 _mm256_max_ps
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include "fg_level.inc"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
