/* fg_vec.h: the vector layer. Included once per compute type by fg_level.inc, with
 *   REAL (double or float), RINT (the signed integer of the same size), FG_T (f64 or f32), FG_VBYTES (0: plain C, 16, 32, 64).
 * vreal is LANES REALs; + - * / work on it as on a scalar, and on the plain C level it is a scalar.
 * SPDX-License-Identifier: BSD-3-Clause */

#define vreal FG_CAT(vreal_, FG_T)
#define vint FG_CAT(vint_, FG_T)

#if FG_VBYTES == 0
typedef REAL vreal;
typedef RINT vint;
#define LANES 1
#else
typedef REAL vreal __attribute__((vector_size(FG_VBYTES), may_alias));
typedef RINT vint __attribute__((vector_size(FG_VBYTES), may_alias));
#define LANES ((ptrdiff_t)(FG_VBYTES / sizeof(REAL)))
#endif

/* vectors in a panel, and vectors that a register tile holds side by side */
#define VECTORS (FG_PANEL / LANES)
#define WIDE 2

#define VSET(x) ((REAL)(x) - (vreal){0}) /* x - 0 is x for every x, signed zero included */
#define VLOAD(p) (*(const vreal *)(p))
#define VSTORE(p, v) (*(vreal *)(p) = (v))

/* The bits of a vector as integers and back: a union, since a cast of vectors means bits but a cast of scalars means values. */
typedef union {
    vreal r;
    vint i;
} FG_CAT(vbits_, FG_T);
#define vbits FG_CAT(vbits_, FG_T)

/* a where mask is set, else 0. Comparisons give all-ones per lane, on the plain C level 1. */
static inline vreal FG_FN(v_keep)(vint mask, vreal a) {
    vbits b = {.r = a};
#if FG_VBYTES == 0
    b.i &= -mask;
#else
    b.i &= mask;
#endif
    return b.r;
}

/* whether a comparison holds in any lane */
static inline int FG_FN(v_any)(vint mask) {
#if FG_VBYTES == 0
    return mask != 0;
#elif defined(FG_X86_ANY)
    return FG_X86_ANY(mask);
#else
    RINT any = 0;
    for (ptrdiff_t i = 0; i < LANES; i++) any |= mask[i];
    return any != 0;
#endif
}

/* the larger of a and b; b where either is not a number */
static inline vreal FG_FN(v_max)(vreal a, vreal b) {
#if FG_VBYTES == 0
    return a > b ? a : b;
#elif defined(FG_X86_MAX)
    return FG_X86_MAX(a, b);
#else
    vbits x = {.r = a}, y = {.r = b};
    vint m = a > b;
    x.i = (x.i & m) | (y.i & ~m);
    return x.r;
#endif
}

#if FG_VBYTES > 16 && defined(FG_SHUFFLES) /* two lanes are as well exchanged one by one */
#define FG_TRANSPOSES
#if FG_VBYTES == 64 && defined(FG_IS_F32)
#define SHUFFLE(row, a, b, size) __builtin_shufflevector(a, b, FG_LANES16(row, 16, size, 0))
#elif FG_VBYTES == 64 || (FG_VBYTES == 32 && defined(FG_IS_F32))
#define SHUFFLE(row, a, b, size) __builtin_shufflevector(a, b, FG_LANES8(row, 8, size, 0))
#else
#define SHUFFLE(row, a, b, size) __builtin_shufflevector(a, b, FG_LANES4(row, 4, size, 0))
#endif
/* t[i][j] <-> t[j][i], by exchanging blocks off the diagonal, of one lane, two, four ... (Eklundh 1972, IEEE Trans. Comput.
 * C-21:801). Of n = LANES / 2 vectors, both halves, each as a square of its own. */
static inline __attribute__((always_inline)) void FG_FN(v_transpose)(vreal *t, const ptrdiff_t n) {
#define EXCHANGE(size)                                      \
    _Pragma("GCC unroll 16")                                \
    for (ptrdiff_t i = 0; i < n; i++)                       \
        if (!(i & (size))) {                                \
            const vreal a = t[i], b = t[i + (size)];        \
            t[i] = SHUFFLE(FG_FIRST, a, b, size);           \
            t[i + (size)] = SHUFFLE(FG_SECOND, a, b, size); \
        }
    EXCHANGE(1)
#if FG_VBYTES == 64 && defined(FG_IS_F32)
    EXCHANGE(2)
    EXCHANGE(4)
    if (n == LANES) EXCHANGE(8)
#elif FG_VBYTES == 64 || (FG_VBYTES == 32 && defined(FG_IS_F32))
    EXCHANGE(2)
    if (n == LANES) EXCHANGE(4)
#else
    if (n == LANES) EXCHANGE(2)
#endif
#undef EXCHANGE
}

/* Lane l of the result is the sum of the lanes of t[l]: the same blocks, added instead of exchanged. t is spent. */
static inline __attribute__((always_inline)) vreal FG_FN(v_sum_each)(vreal t[LANES]) {
#define ADD(size)                                                                                    \
    _Pragma("GCC unroll 8")                                                                          \
    for (ptrdiff_t i = 0; i < LANES; i += 2 * (size))                                                \
        t[i] = SHUFFLE(FG_FIRST, t[i], t[i + (size)], size) + SHUFFLE(FG_SECOND, t[i], t[i + (size)], size);
    ADD(1)
    ADD(2)
#if FG_VBYTES == 64 || (FG_VBYTES == 32 && defined(FG_IS_F32))
    ADD(4)
#endif
#if FG_VBYTES == 64 && defined(FG_IS_F32)
    ADD(8)
#endif
#undef ADD
    return t[0];
}
#undef SHUFFLE
#endif

static inline double FG_FN(v_sum)(vreal a) {
#if FG_VBYTES == 0
    return a;
#else
    /* Halves are added until sixteen bytes are left. Without shuffles of two vectors (GCC before 12) the lanes go through
     * memory, which costs a little and adds in the same order. */
    typedef REAL quarter __attribute__((vector_size(16)));
#ifdef FG_SHUFFLES
#if FG_VBYTES == 64 && defined(FG_IS_F32)
    const typeof(FG_LOWER8(a)) half = FG_LOWER8(a) + FG_UPPER8(a);
    const quarter first = FG_LOWER4(half) + FG_UPPER4(half);
#elif FG_VBYTES == 64
    const typeof(FG_LOWER4(a)) half = FG_LOWER4(a) + FG_UPPER4(a);
    const quarter first = FG_LOWER2(half) + FG_UPPER2(half);
#elif FG_VBYTES == 32 && defined(FG_IS_F32)
    const quarter first = FG_LOWER4(a) + FG_UPPER4(a);
#elif FG_VBYTES == 32
    const quarter first = FG_LOWER2(a) + FG_UPPER2(a);
#else
    const quarter first = (quarter)a;
#endif
#else
    REAL t[LANES];
    __builtin_memcpy(t, &a, sizeof t);
    for (ptrdiff_t h = LANES / 2; h * (ptrdiff_t)sizeof(REAL) >= 16; h /= 2)
        for (ptrdiff_t i = 0; i < h; i++) t[i] += t[i + h];
    quarter first;
    __builtin_memcpy(&first, t, sizeof first);
#endif
#ifdef FG_IS_F32
    return (first[0] + first[2]) + (first[1] + first[3]);
#else
    return first[0] + first[1];
#endif
#endif
}

/* sums (n) <- the sums of the lanes of n vectors; there is room behind both for a multiple of LANES. */
static inline __attribute__((always_inline)) void FG_FN(v_sums)(vreal *t, const ptrdiff_t n, REAL *sums) {
#ifdef FG_TRANSPOSES
#pragma GCC unroll 16
    for (ptrdiff_t i = 0; i < n; i += LANES) {
#pragma GCC unroll 16
        for (ptrdiff_t l = n - i; l < LANES; l++) t[i + l] = VSET(0);
        VSTORE(sums + i, FG_FN(v_sum_each)(t + i));
    }
#else
#pragma GCC unroll 32
    for (ptrdiff_t i = 0; i < n; i++) sums[i] = (REAL)FG_FN(v_sum)(t[i]);
#endif
}

#ifdef FG_IS_F32
#define MANTISSA 23
#define EXPONENT_BIAS 127
#define MAGIC 0x1.8p23f
#else
#define MANTISSA 52
#define EXPONENT_BIAS 1023
#define MAGIC 0x1.8p52
#endif

/* 2^t for t in [-1022, 1023] ([-126, 127] in float): round to the nearest integer by adding MAGIC, minimax polynomial of
 * 2^f on |f| <= 1/2 (relative error 3e-18, in float 2e-9), then the integer into the exponent. */
static inline vreal FG_FN(v_exp2)(vreal t) {
    vbits k = {.r = t + VSET(MAGIC)}, p;
    vreal f = t - (k.r - VSET(MAGIC));
#ifdef FG_IS_F32
    p.r = VSET(0x1.41d33376d953ep-13);
    p.r = p.r * f + VSET(0x1.5f456a8a9ef08p-10);
    p.r = p.r * f + VSET(0x1.3b2dbbc0ec894p-7);
    p.r = p.r * f + VSET(0x1.c6aed4b9515b3p-5);
    p.r = p.r * f + VSET(0x1.ebfbdadcb0d35p-3);
    p.r = p.r * f + VSET(0x1.62e430c7e9232p-1);
#else
    vreal f2 = f * f;
    vreal hi = (VSET(0x1.e7aa0ce4cda55p-32) * f + VSET(0x1.e620fb72ee61ap-28)) * f2 +
               (VSET(0x1.b526788cc9ed0p-24) * f + VSET(0x1.62bfc3c1ca9f0p-20));
    vreal mid = (VSET(0x1.ffcbfba7b7ea2p-17) * f + VSET(0x1.43091310bf6a3p-13)) * f2 +
                (VSET(0x1.5d87fe78cf26fp-10) * f + VSET(0x1.3b2ab6fb9f413p-7));
    p.r = hi * (f2 * f2) + mid;
    p.r = p.r * f + VSET(0x1.c6b08d7049fd1p-5);
    p.r = p.r * f + VSET(0x1.ebfbdff82c5adp-3);
    p.r = p.r * f + VSET(0x1.62e42fefa39efp-1);
#endif
    p.r = p.r * f + VSET(1);
    /* unsigned arithmetic: a shift of a negative integer is undefined on the plain C level */
#if FG_VBYTES == 0
    p.i = (RINT)((RUINT)p.i + ((RUINT)k.i << MANTISSA));
#else
    p.i += k.i << MANTISSA;
#endif
    return p.r;
}

/* log2(s) for finite s >= 1: exponent plus 2 / ln 2 atanh((m - 1) / (m + 1)) of the mantissa m in [1/sqrt 2, sqrt 2]. */
static inline vreal FG_FN(v_log2)(vreal s) {
    vbits b = {.r = s}, m, e;
    /* adding 1 - 1/sqrt(2) in units of the mantissa carries into the exponent just when m > sqrt 2 */
#ifdef FG_IS_F32
    const RINT carry = 0x3f800000 - 0x3f3504f3;
#else
    const RINT carry = INT64_C(0x3ff0000000000000) - INT64_C(0x3fe6a09e667f3bcd);
#endif
    e.i = (b.i + carry) >> MANTISSA; /* biased exponent */
#if FG_VBYTES == 0
    m.i = (RINT)((RUINT)b.i - ((RUINT)(e.i - EXPONENT_BIAS) << MANTISSA));
#else
    m.i = b.i - ((e.i - EXPONENT_BIAS) << MANTISSA);
#endif
    /* the exponent as REAL: small integers live exactly in the low bits of MAGIC */
    vbits k = {.r = VSET(MAGIC)};
    k.i += e.i - EXPONENT_BIAS;
    vreal u = (m.r - VSET(1)) / (m.r + VSET(1)), w = u * u, p;
#ifdef FG_IS_F32
    p = VSET(0x1.ba19800f5bfccp-2);
    p = p * w + VSET(0x1.2747191564e3fp-1);
    p = p * w + VSET(0x1.ec70e60d8cd23p-1);
    p = p * w + VSET(0x1.7154764e72476p+1);
#else
    p = VSET(0x1.87dfddb1ee400p-3);
    p = p * w + VSET(0x1.87733496021ffp-3);
    p = p * w + VSET(0x1.c6a2a16825791p-3);
    p = p * w + VSET(0x1.0c9a5972dd82cp-2);
    p = p * w + VSET(0x1.484b1448df37fp-2);
    p = p * w + VSET(0x1.a61762a7078f8p-2);
    p = p * w + VSET(0x1.2776c50ef9fd2p-1);
    p = p * w + VSET(0x1.ec709dc3a03fcp-1);
    p = p * w + VSET(0x1.71547652b82fep+1);
#endif
    return p * u + (k.r - VSET(MAGIC));
}
