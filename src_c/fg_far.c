/* fg_far.c: rows so far away that squaring their distance overflows. Rare, so plain and scalar.
 * SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "fg_leaves.h"

/* y (D + rank) <- y - Q Q^T y and g t, in the place of y (D): see fg_low_rank.inc. */
static void low_rank_image(ptrdiff_t D, ptrdiff_t rank, const double *factor, double *y) {
    for (ptrdiff_t j = 0; j < D; j++) y[j] *= factor[j];
    for (ptrdiff_t l = 0; l < rank; l++) {
        const double *row = factor + (1 + l) * D;
        double norm2 = 0, t = 0;
        for (ptrdiff_t j = 0; j < D; j++) {
            norm2 += row[j] * row[j];
            t += row[j] * y[j];
        }
        y[D + l] = t;
        /* the rows are orthogonal: what the others have taken off has no part in this one */
        for (ptrdiff_t j = 0; norm2 > 0 && j < D; j++) y[j] -= row[j] / norm2 * t;
    }
}

/* y (D) <- W y. */
static void image_of(int kind, ptrdiff_t D, const double *W, double *y) {
    /* rows from the last to the first, so that y can be overwritten */
    for (ptrdiff_t i = D - 1; i >= 0; i--) {
        double v = 0;
        if (kind == FG_FULL || kind == FG_ROTATED)
            for (ptrdiff_t j = 0; j <= i; j++) v += W[i * D + j] * y[j];
        else
            v = (kind == FG_DIAGONAL ? W[i] : W[0]) * y[i];
        y[i] = v;
    }
}

/* log2 |W (x - mu)|^2 without overflow: the offsets are scaled by a power of two, and so is their image. */
static double log2_distance(int kind, const double *x, ptrdiff_t D, ptrdiff_t rank, const double *mu, const double *W,
                            double *y) {
    double largest = 0, image = 0, sum = 0;
    int shift, image_shift;
    for (ptrdiff_t j = 0; j < D; j++) {
        y[j] = 0.25 * x[j] - 0.25 * mu[j]; /* the quarter keeps the difference of two extremes finite */
        largest = fmax(largest, fabs(y[j]));
    }
    if (largest == 0) return -INFINITY;
    frexp(largest, &shift);
    for (ptrdiff_t j = 0; j < D; j++) y[j] = ldexp(y[j], -shift);
    if (kind == FG_LOW_RANK)
        low_rank_image(D, rank, W, y);
    else
        image_of(kind, D, W, y);
    for (ptrdiff_t i = 0; i < D + rank; i++) image = fmax(image, fabs(y[i]));
    if (image == 0) return -INFINITY;
    frexp(image, &image_shift);
    for (ptrdiff_t i = 0; i < D + rank; i++) {
        double v = ldexp(y[i], -image_shift);
        sum += v * v;
    }
    return log2(sum) + 2.0 * (shift + image_shift + 2);
}

static ptrdiff_t factor_size(int kind, ptrdiff_t D, ptrdiff_t rank) {
    switch (kind) {
    case FG_FULL: return D * D;
    case FG_DIAGONAL: return D;
    case FG_SPHERICAL: return 1;
    case FG_LOW_RANK: return (1 + rank) * D;
    default: return 0; /* one for all */
    }
}

int fg_far_row(int kind, const double *x, ptrdiff_t K, ptrdiff_t D, ptrdiff_t rank, const double *means,
               const double *factors, const double *log_norm, double *work, double *logit) {
    const ptrdiff_t size = factor_size(kind, D, rank);
    double nearest = INFINITY, top = -INFINITY;
    for (ptrdiff_t k = 0; k < K; k++) {
        logit[k] = log2_distance(kind, x, D, rank, means + k * D, factors + k * size, work);
        if (log_norm[k] > -INFINITY && logit[k] < nearest) nearest = logit[k];
    }
    const int finite = nearest < 1023;
    for (ptrdiff_t k = 0; k < K; k++)
        if (!finite && logit[k] == nearest && log_norm[k] > top) top = log_norm[k];
    for (ptrdiff_t k = 0; k < K; k++) {
        if (finite)
            logit[k] = log_norm[k] - 0.5 * exp2(logit[k]);
        else
            logit[k] = logit[k] == nearest ? log_norm[k] - top : -INFINITY;
    }
    return finite;
}
