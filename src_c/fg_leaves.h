/* fg_leaves.h: the contract between the engine (Cython, threads, memory) and the leaves (arithmetic on one block of rows).
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A leaf does not allocate, start threads, print, keep state or report errors other than through its return value.
 * There is one set of leaves per instruction level and per compute type; fg_leaves_of(level, is_f32) gives its table.
 * Every pointer to REAL data is a void pointer here, because float and double leaves share one signature.
 *
 * Layout. Rows come in panels of FG_PANEL. A panel of a D-feature block is a (D, FG_PANEL) matrix, features down, rows
 * across, so that vectors run across rows; a block is P panels one after the other.
 *
 *     z      (P, D, FG_PANEL)   rows minus shift                                     64-byte aligned, padded rows hold 0
 *     logit  (P, K, FG_PANEL)   log2 of pi_k N(x | k), less the common c_max         64-byte aligned
 *
 * Units. Everything between prepare and softmax is in log2 units: the factors carry sqrt(log2(e) / 2), so that
 * logit_k = c_k - |W_k (x - mu_k)|^2 needs no further multiplication and exp2 no range reduction by ln 2.
 *
 * Numerics. Offsets x - mu_k are formed before anything is squared. Panels and factors are REAL; sums over rows are REAL
 * for at most FG_PANEL * FG_MAX_PANELS = 256 rows and are then added to float64 accumulators. exp2 and log2 are accurate
 * to 2 ulp of REAL on the ranges used.
 */
#ifndef FG_LEAVES_H
#define FG_LEAVES_H

#include <stddef.h>
#include <stdint.h>

#define FG_PANEL 32      /* rows in a panel, the same at every level, so that blocks do not depend on the processor */
#define FG_MAX_PANELS 8  /* panels in a block at the most */
#define FG_NEGLIGIBLE 100 /* A component of which all rows have less than 2^-48 of their weight counts as empty; of any
                           * other, responsibilities below 2^-100 are less than a rounding of the sum. */
#define FG_ALIGN 64      /* alignment of every scratch array in bytes */

/* Rows of the user's array, as they lie in memory. */
typedef struct {
    const char *data;      /* first element of row 0 */
    ptrdiff_t row_stride;  /* bytes between rows, any sign, 0 allowed */
    ptrdiff_t col_stride;  /* bytes between features */
    int is_f32;            /* element type: float32, else float64; native byte order, aligned */
    const ptrdiff_t *rows; /* (n_kept) indices of the rows to visit, or NULL for all of them */
} fg_rows;

/* Packed lower triangle with the constant feature in front: entry (i, j), i >= j, of the (D + 1, D + 1) matrix
 * sum_r [1, x - p] [1, x - p]^T. Row 0 holds n, column 0 holds s, the rest S. */
#define FG_TRI(i, j) ((i) * ((i) + 1) / 2 + (j))

/* REALs from one row to the next where rows lie one by one: D + 1 features in an odd number of cache lines, since an even
 * one (a power of two at worst) would leave most of the L1 cache unused. */
#define FG_ROW_STRIDE(D, item) ((((D) * (item) + (item) + FG_ALIGN - 1) / FG_ALIGN | 1) * FG_ALIGN / (item))
#define FG_OUTER_FROM 48

/* REALs that the logits of a low-rank component read: a (D), g (rank), Q (D, rank). */
#define FG_LOW_RANK_SIZE(D, rank) ((D) + (rank) + (D) * (rank))

/* Components padded to a multiple of the longest vector. */
#define FG_BOUNDS(K) (((K) + 15) / 16 * 16)

/* A mixture as score_row reads it. The caller sets all but top, which prepare_row finds. */
typedef struct {
    int kind;
    ptrdiff_t K, D, rank; /* rank: of the low-rank kind, else 0 */
    const double *means, *factors, *log_norm, *shift; /* natural units, as in prepare_* below; kept for far rows */
    double top; /* what was taken off log_norm, in log2 units */
    void *form; /* row_form_size bytes, aligned: the constants with components side by side */
} fg_row_form;

typedef struct {
    /* pack: z <- rows first .. first + n of x, minus shift (D, float64), in ceil(n / FG_PANEL) panels.
     * Returns 0 if an element is not finite, 1 otherwise. */
    int (*pack)(const fg_rows *x, ptrdiff_t first, ptrdiff_t n, ptrdiff_t D, const double *shift, void *z);

    /* prepare_*: constants in natural units, float64, to the REAL constants that the logit leaves read.
     *   means (K, D)   shift (D)   factors: full (K, D, D) lower-triangular row-major, diagonal (K, D), spherical (K)
     *   mu (K, D) = means - shift   W: full (K, tiles_size(D)), diagonal (K, D), spherical (K)   c (K)
     * prepare_center writes mu; prepare_c writes c = (log_norm - max) log2(e) and returns max * log2(e). */
    void (*prepare_center)(ptrdiff_t K, ptrdiff_t D, const double *means, const double *shift, void *mu);
    double (*prepare_c)(ptrdiff_t K, const double *log_norm, void *c);
    void (*prepare_triangle)(ptrdiff_t D, const double *factor, void *W);
    void (*prepare_scaled)(ptrdiff_t n, const double *factor, int squared, void *W);

    /* prepare_low_rank: W (FG_LOW_RANK_SIZE(D, rank)) and axes (rank, stride) of one component from its factor (1 + rank, D): see
     * fg_low_rank.inc. stride is FG_ROW_STRIDE(D, sizeof(REAL)). */
    void (*prepare_low_rank)(ptrdiff_t D, ptrdiff_t rank, ptrdiff_t stride, const double *factor, void *W, void *axes);

    /* logits_*: logit[p, k, :] for all panels and components. work: 2 * D * FG_ALIGN bytes. By the way they ask for the
     * `size` bytes from `ahead` on, where the next rows lie: packing them would else wait for memory. */
    void (*logits_full)(const void *z, ptrdiff_t P, ptrdiff_t K, ptrdiff_t D, const void *mu, const void *W, const void *c,
                        void *work, void *logit, const char *ahead, ptrdiff_t size);
    void (*logits_diagonal)(const void *z, ptrdiff_t P, ptrdiff_t K, ptrdiff_t D, const void *mu, const void *W,
                            const void *c, void *logit, const char *ahead, ptrdiff_t size);
    void (*logits_spherical)(const void *z, ptrdiff_t P, ptrdiff_t K, ptrdiff_t D, const void *mu, const void *W,
                             const void *c, void *logit, const char *ahead, ptrdiff_t size);
    /* The same; work: 2 * (D + rank) * FG_ALIGN bytes. */
    void (*logits_low_rank)(const void *z, ptrdiff_t P, ptrdiff_t K, ptrdiff_t D, ptrdiff_t rank, const void *mu,
                            const void *W, const void *c, void *work, void *logit, const char *ahead, ptrdiff_t size);

    /* rotate: y (P, D, FG_PANEL) = W z with one packed triangle W. */
    void (*rotate)(const void *z, ptrdiff_t P, ptrdiff_t D, const void *W, void *y);

    /* softmax: of one panel, in place: logit (K, FG_PANEL) -> responsibilities times w (FG_PANEL REAL, or NULL for 1).
     * lse (FG_PANEL, float64) <- log2 sum_k 2^logit. Terms whose ratio to the row's largest is not a normal number become
     * 0; with w, which is for sums over rows, terms whose ratio is below 2^-FG_NEGLIGIBLE.
     * Returns 0 if a row has no finite maximum (its responsibilities are then 0), 1 otherwise. */
    int (*softmax)(void *logit, ptrdiff_t K, const void *w, double *lse);

    /* sparse_panel: logits_full and softmax with w of one panel, to the same bits, by leaving out what cannot count.
     *   bounds (D + 2, FG_BOUNDS(K)) from prepare_bounds; variance (K): no less than the largest of each component
     *   upper (FG_BOUNDS(K)), active (K): scratch */
    void (*prepare_bounds)(ptrdiff_t K, ptrdiff_t D, const void *mu, const void *c, const double *variance, void *bounds);
    int (*sparse_panel)(const void *z, ptrdiff_t K, ptrdiff_t D, const void *mu, const void *W, const void *c,
                        const void *bounds, const void *w, void *work, void *upper, int32_t *active, void *logit,
                        double *lse);

    /* rows_of_panels: rows (P FG_PANEL, stride) <- z, row by row; stride is FG_ROW_STRIDE(D, sizeof(REAL)). */
    void (*rows_of_panels)(const void *z, ptrdiff_t P, ptrdiff_t D, ptrdiff_t stride, void *rows);

    /* moments_*: add the weighted moments of one component about mu to A (float64), or of K components, each about its own,
     * to their A, which are `size` apart.
     *   r (P, FG_PANEL) with stride r_stride (in REALs) between panels, or (P, K, FG_PANEL): responsibilities times
     *   weights, >= 0
     *   u  scratch (P, D + 1, FG_PANEL)
     * full, outer: A (packed triangle of D + 1, see FG_TRI); outer reads rows instead of panels, which pays from
     * FG_OUTER_FROM features on, and its u is (1 + P FG_PANEL, stride); diagonal: A = n, s (D), S (D); spherical: A = n, s (D), q;
     * linear: A = n, s (D). */
    void (*moments_full)(const void *z, ptrdiff_t P, ptrdiff_t D, const void *r, ptrdiff_t r_stride, const void *mu,
                         void *u, double *A);
    void (*moments_outer)(const void *rows, ptrdiff_t P, ptrdiff_t D, ptrdiff_t stride, const void *r, ptrdiff_t r_stride,
                          const void *mu, void *u, double *A);
    void (*moments_diagonal)(const void *z, ptrdiff_t P, ptrdiff_t K, ptrdiff_t D, const void *r, const void *mu, double *A,
                             ptrdiff_t size);
    void (*moments_spherical)(const void *z, ptrdiff_t P, ptrdiff_t K, ptrdiff_t D, const void *r, const void *mu, double *A,
                              ptrdiff_t size);
    void (*moments_linear)(const void *z, ptrdiff_t P, ptrdiff_t K, ptrdiff_t D, const void *r, const void *mu, double *A,
                           ptrdiff_t size);
    /* low_rank: reads rows, and projects offsets on the axes of the component, t = axes (x - mu).
     * A = n, s (D), S (D), C (rank, D) = sum r t (x - mu)^T; u is (1 + P FG_PANEL, stride), then (1 + rank, P FG_PANEL). */
    void (*moments_low_rank)(const void *rows, ptrdiff_t P, ptrdiff_t D, ptrdiff_t rank, ptrdiff_t stride, const void *r,
                             ptrdiff_t r_stride, const void *mu, const void *axes, void *u, double *A);

    /* nearest: of one panel, the component with the largest logit (the first of equals) and that logit.
     *   label (FG_PANEL, int32)   best (FG_PANEL, float64) */
    void (*nearest)(const void *logit, ptrdiff_t K, int32_t *label, double *best);

    /* potential: of one panel, sums[k] += sum over the rows of w min(closest, -logit[k]).
     *   closest (FG_PANEL, float64), 0 for padded rows   w (FG_PANEL REAL) */
    void (*potential)(const void *logit, ptrdiff_t K, const double *closest, const void *w, double *sums);

    /* scatter: A (K, 1 + D) += [w, w z] of the n rows of one panel, by label. w as in softmax. */
    void (*scatter)(const void *z, ptrdiff_t n, ptrdiff_t D, const int32_t *label, const void *w, double *A);

    /* far_row: joint log-densities (K, natural units) of one row so far away that its squared distance overflows REAL.
     *   x (D, float64)   constants in natural units as in prepare_*   work (D + rank, float64)
     * Where float64 overflows too the values are relative: differences of log_norm among the nearest components, -inf for
     * the others, and 0 is returned; otherwise 1. The same function in every table. */
    int (*far_row)(int kind, const double *x, ptrdiff_t K, ptrdiff_t D, ptrdiff_t rank, const double *means,
                   const double *factors, const double *log_norm, double *work, double *logit);

    /* One row, without a panel: what `score` of the engine finds for it.
     *   row_form_size, row_work_size: bytes of form and work   prepare_row: fills form and top
     *   score_row: x (D), log_density (1), resp (K) are REAL and need no alignment beyond their own; each of the three
     *   results may be NULL. label is the component with the largest responsibility, the first of equals. Returns 0 if
     *   the row is not finite: NaN, and label -1; otherwise 1. */
    ptrdiff_t (*row_form_size)(int kind, ptrdiff_t K, ptrdiff_t D, ptrdiff_t rank);
    ptrdiff_t (*row_work_size)(ptrdiff_t K, ptrdiff_t D, ptrdiff_t rank);
    void (*prepare_row)(fg_row_form *form);
    int (*score_row)(const fg_row_form *form, const void *x, void *work, void *log_density, void *resp, int64_t *label);

    /* cholesky_inverse (float64 in both tables): W lower-triangular, row-major, with W^T W = inverse of A (D, D).
     * U is scratch (D, D). Returns 0, or 1 + the index of the first pivot that is not positive. */
    ptrdiff_t (*cholesky_inverse)(ptrdiff_t D, const double *A, double *U, double *W);

    /* largest_variance (float64 in both tables): no less than the largest eigenvalue of (W^T W)^-1, W (D, D)
     * lower-triangular, and at most D^(1/8) times as much. work (3, D, D). */
    double (*largest_variance)(ptrdiff_t D, const double *W, double *work);
} fg_leaves;

int fg_far_row(int kind, const double *x, ptrdiff_t K, ptrdiff_t D, ptrdiff_t rank, const double *means,
               const double *factors, const double *log_norm, double *work, double *logit);

typedef struct {
    const char *name;
    int lanes_f64;
    const fg_leaves *f64;
    const fg_leaves *f32;
} fg_level;

/* Levels built into this binary, slowest first; NULL behind the last. fg_runs says whether this processor can run one. */
extern const fg_level *const fg_levels[];
int fg_runs(const fg_level *level);

/* Kernel kinds, as the engine names them. */
enum { FG_FULL = 0, FG_DIAGONAL = 1, FG_SPHERICAL = 2, FG_ROTATED = 3, FG_LOW_RANK = 4 };

#endif
