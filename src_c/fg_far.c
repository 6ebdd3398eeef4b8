/* fg_far.c: rows so far away that squaring their distance overflows. Rare, so plain and scalar.
 * SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "fg_leaves.h"

/* log2 |W (x - mu)|^2 without overflow: the offsets are scaled by a power of two, and so is their image. */
static double log2_distance(int kind, const double *x, ptrdiff_t D, const double *mu, const double *W, double *y) {
    double largest = 0, image = 0, sum = 0;
    int shift, image_shift;
    for (ptrdiff_t j = 0; j < D; j++) {
        y[j] = 0.25 * x[j] - 0.25 * mu[j]; /* the quarter keeps the difference of two extremes finite */
        largest = fmax(largest, fabs(y[j]));
    }
    if (largest == 0) return -INFINITY;
    frexp(largest, &shift);
    for (ptrdiff_t j = 0; j < D; j++) y[j] = ldexp(y[j], -shift);
    /* rows from the last to the first, so that y can be overwritten */
    for (ptrdiff_t i = D - 1; i >= 0; i--) {
        double v = 0;
        if (kind == FG_FULL || kind == FG_ROTATED)
            for (ptrdiff_t j = 0; j <= i; j++) v += W[i * D + j] * y[j];
        else
            v = (kind == FG_DIAGONAL ? W[i] : W[0]) * y[i];
        y[i] = v;
        image = fmax(image, fabs(v));
    }
    if (image == 0) return -INFINITY;
    frexp(image, &image_shift);
    for (ptrdiff_t j = 0; j < D; j++) {
        double v = ldexp(y[j], -image_shift);
        sum += v * v;
    }
    return log2(sum) + 2.0 * (shift + image_shift + 2);
}

int fg_far_row(int kind, const double *x, ptrdiff_t K, ptrdiff_t D, const double *means, const double *factors,
               const double *log_norm, double *work, double *logit) {
    const ptrdiff_t size = kind == FG_FULL ? D * D : kind == FG_DIAGONAL ? D : kind == FG_SPHERICAL ? 1 : 0;
    double nearest = INFINITY, top = -INFINITY;
    for (ptrdiff_t k = 0; k < K; k++) {
        logit[k] = log2_distance(kind, x, D, means + k * D, factors + k * size, work);
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
