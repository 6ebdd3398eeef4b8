/* 16-byte vectors that every processor of the architecture has: SSE2 on x86-64, NEON on 64-bit Arm.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "fg_leaves.h"
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__aarch64__))
#define FG_LEVEL base
#define FG_VBYTES 16
#ifdef __x86_64__
#include <emmintrin.h>
#define FG_LEVEL_NAME "x86-64"
#define FG_X86_ANY(mask) (_mm_movemask_epi8((__m128i)(mask)) != 0)
#define FG_MAX_F64 _mm_max_pd
#define FG_MAX_F32 _mm_max_ps
#else
#define FG_LEVEL_NAME "neon"
#endif
#include "fg_level.inc"
#endif
