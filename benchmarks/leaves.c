/* One block of rows through the leaves of src_c, as the engine sends it there: the program of which instructions.py counts
 * the instructions.   leaves LEVEL f64|f32 full|tied|diag|spherical D K     SPDX-License-Identifier: BSD-3-Clause */
#include "fg_leaves.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PANELS 2
#define ROWS (PANELS * FG_PANEL)

typedef struct {
    const fg_leaves *leaf;
    int kind;
    ptrdiff_t K, D, item;
    fg_rows rows;
    double *shift, *lse, *moments;
    char *z, *y, *logit, *by_row, *u, *work, *weights, *mu, *W, *ones, *c;
} block;

/* n bytes that begin at a multiple of FG_ALIGN and hold zeros */
static void *zeros(ptrdiff_t n) {
    const size_t size = ((size_t)n + FG_ALIGN - 1) / FG_ALIGN * FG_ALIGN;
    void *p = aligned_alloc(FG_ALIGN, size);
    if (p == NULL) exit(3);
    return memset(p, 0, size);
}

static double uniform(void) {
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return state / 4294967296.0 - 0.5;
}

static double *uniforms(ptrdiff_t n) {
    double *p = zeros(n * 8);
    for (ptrdiff_t i = 0; i < n; i++) p[i] = uniform();
    return p;
}

/* factors: a triangle per component (full) or one (tied); the others' are ones */
static void prepare(block *b) {
    const ptrdiff_t K = b->K, D = b->D, triangles = b->kind == FG_FULL ? K : 1, packed = D * (D + 1) / 2 * b->item;
    double *means = uniforms(K * D), *log_norm = uniforms(K), *factors = zeros(triangles * D * D * 8), *ones = zeros(K * D * 8);
    for (ptrdiff_t i = 0; i < K * D; i++) ones[i] = 1;
    for (ptrdiff_t i = 0; i < triangles * D; i++) {
        for (ptrdiff_t j = 0; j < i % D; j++) factors[i * D + j] = uniform() / (double)D;
        factors[i * D + i % D] = 1;
    }
    b->leaf->prepare_center(K, D, means, b->shift, b->mu);
    b->leaf->prepare_c(K, log_norm, b->c);
    if (b->kind == FG_DIAGONAL) b->leaf->prepare_scaled(K * D, ones, 0, b->W);
    if (b->kind == FG_SPHERICAL) b->leaf->prepare_scaled(K, ones, 1, b->W);
    if (b->kind == FG_ROTATED) b->leaf->prepare_scaled(K, ones, 1, b->ones);
    if (b->kind == FG_FULL || b->kind == FG_ROTATED)
        for (ptrdiff_t k = 0; k < triangles; k++) b->leaf->prepare_triangle(D, factors + k * D * D, b->W + k * packed);
    free(means);
    free(log_norm);
    free(factors);
    free(ones);
}

/* What is counted: E-step, then the moments of every component. Not inlined, so that its name can be found. */
__attribute__((noinline)) void measured(block *b);
void measured(block *b) {
    const fg_leaves *leaf = b->leaf;
    const ptrdiff_t K = b->K, D = b->D, stride = FG_ROW_STRIDE(D, b->item);
    const int across = b->kind == FG_FULL && D >= FG_OUTER_FROM;
    if (!leaf->pack(&b->rows, 0, ROWS, D, b->shift, b->z)) exit(4);
    if (b->kind == FG_FULL) leaf->logits_full(b->z, PANELS, K, D, b->mu, b->W, b->c, b->work, b->logit, NULL, 0);
    if (b->kind == FG_DIAGONAL) leaf->logits_diagonal(b->z, PANELS, K, D, b->mu, b->W, b->c, b->logit, NULL, 0);
    if (b->kind == FG_SPHERICAL) leaf->logits_spherical(b->z, PANELS, K, D, b->mu, b->W, b->c, b->logit, NULL, 0);
    if (b->kind == FG_ROTATED) {
        leaf->rotate(b->z, PANELS, D, b->W, b->y);
        leaf->logits_spherical(b->y, PANELS, K, D, b->mu, b->ones, b->c, b->logit, NULL, 0);
    }
    for (ptrdiff_t p = 0; p < PANELS; p++)
        if (!leaf->softmax(b->logit + p * K * FG_PANEL * b->item, K, b->weights, b->lse + p * FG_PANEL)) exit(5);
    if (across) leaf->rows_of_panels(b->z, PANELS, D, stride, b->by_row);
    const ptrdiff_t size = (D + 1) * (D + 2) / 2;
    if (b->kind == FG_DIAGONAL) leaf->moments_diagonal(b->z, PANELS, K, D, b->logit, b->mu, b->moments, size);
    if (b->kind == FG_SPHERICAL) leaf->moments_spherical(b->z, PANELS, K, D, b->logit, b->mu, b->moments, size);
    if (b->kind == FG_ROTATED) leaf->moments_linear(b->z, PANELS, K, D, b->logit, b->mu, b->moments, size);
    for (ptrdiff_t k = 0; k < K && b->kind == FG_FULL; k++) {
        const char *r = b->logit + k * FG_PANEL * b->item, *mu = b->mu + k * D * b->item;
        double *A = b->moments + k * size;
        if (across) leaf->moments_outer(b->by_row, PANELS, D, stride, r, K * FG_PANEL, mu, b->u, A);
        else leaf->moments_full(b->z, PANELS, D, r, K * FG_PANEL, mu, b->u, A);
    }
}

static const fg_level *level_named(const char *name) {
    for (const fg_level *const *level = fg_levels; *level != NULL; level++)
        if (strcmp((*level)->name, name) == 0 && fg_runs(*level)) return *level;
    return NULL;
}

int main(int argc, char **argv) {
    static const char *const families[] = {"full", "diag", "spherical", "tied"}; /* in the order of the kernel kinds */
    const fg_level *level = argc == 6 ? level_named(argv[1]) : NULL;
    if (level == NULL) return 2;
    block b = {.item = strcmp(argv[2], "f32") == 0 ? 4 : 8, .D = atol(argv[4]), .K = atol(argv[5])};
    while (b.kind < 4 && strcmp(argv[3], families[b.kind]) != 0) b.kind++;
    if (b.kind == 4 || b.D < 1 || b.K < 1) return 2;
    b.leaf = b.item == 4 ? level->f32 : level->f64;

    const ptrdiff_t D = b.D, K = b.K, stride = FG_ROW_STRIDE(D, b.item);
    b.rows = (fg_rows){.data = (const char *)uniforms(ROWS * D), .row_stride = D * 8, .col_stride = 8};
    b.shift = zeros(D * 8);
    b.lse = zeros(ROWS * 8);
    b.moments = zeros(K * (D + 1) * (D + 2) / 2 * 8);
    b.z = zeros(ROWS * D * b.item);
    b.y = zeros(ROWS * D * b.item);
    b.logit = zeros(ROWS * K * b.item);
    b.by_row = zeros(ROWS * stride * b.item);
    b.u = zeros((1 + ROWS) * stride * b.item);
    b.work = zeros(2 * D * FG_ALIGN);
    b.weights = zeros(FG_PANEL * b.item);
    for (ptrdiff_t i = 0; i < FG_PANEL; i++) {
        if (b.item == 4) ((float *)(void *)b.weights)[i] = 1;
        else ((double *)(void *)b.weights)[i] = 1;
    }
    b.mu = zeros(K * D * b.item);
    b.W = zeros(K * (D * (D + 1) / 2 + D) * b.item);
    b.ones = zeros(K * b.item);
    b.c = zeros(K * b.item);
    prepare(&b);
    measured(&b);

    double n = 0; /* the weights of all components add up to the number of rows, or the numbers counted mean nothing */
    for (ptrdiff_t k = 0; k < K; k++) n += b.moments[k * (D + 1) * (D + 2) / 2];
    return n > ROWS - 1e-3 && n < ROWS + 1e-3 ? 0 : 6;
}
