/* fg_dispatch.c: the levels in this binary and which of them this processor runs. SPDX-License-Identifier: BSD-3-Clause */
#include "fg_leaves.h"

extern const fg_level fg_level_portable;
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__aarch64__))
extern const fg_level fg_level_base;
#endif
#if defined(__GNUC__) && defined(__x86_64__)
extern const fg_level fg_level_avx2, fg_level_avx512;
#endif

const fg_level *const fg_levels[] = {
    &fg_level_portable,
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__aarch64__))
    &fg_level_base,
#endif
#if defined(__GNUC__) && defined(__x86_64__)
    &fg_level_avx2,
    &fg_level_avx512,
#endif
    NULL,
};

int fg_runs(const fg_level *level) {
#if defined(__GNUC__) && defined(__x86_64__)
    /* the builtins look at the processor and at what the operating system saves */
    __builtin_cpu_init();
    if (level == &fg_level_avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (level == &fg_level_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#endif
    return level != NULL;
}
