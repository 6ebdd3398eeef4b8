/* fastgmm/scoring.h: rows scored by a Gaussian mixture from C or C++, without the interpreter.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Compile with the folder of fastgmm.get_include(); nothing is linked. Call fastgmm_import_scoring() once, where the
 * extension is initialised, in every source file that uses the rest:
 *
 *     if (fastgmm_import_scoring() < 0) return NULL;
 *     const fastgmm_scorer *s = fastgmm_borrow_scorer(scorer);      (scorer: what Mixture.scorer() returned)
 *     fastgmm_score_f64(s, rows, n_rows, log_density, resp, labels);         (no GIL needed)
 *
 * Functions that take a PyObject need the GIL, the others do not, and may run in several threads at once.
 */
#ifndef FASTGMM_SCORING_H
#define FASTGMM_SCORING_H

#include <Python.h>
#include <stdint.h>

/* Changes when a compiled extension would no longer understand the table below. */
#define FASTGMM_SCORING_ABI 1
#define FASTGMM_SCORING_CAPSULE "fastgmm.engine._scorer._C_API"

enum {
    FASTGMM_OK = 0,
    FASTGMM_NO_MEMORY = 1, /* only where a row needs more than 16 KiB of scratch: above about 200 features */
    FASTGMM_WRONG_TYPE = 2 /* a float32 scorer was called for float64 rows, or the other way round */
};

typedef struct fastgmm_scorer fastgmm_scorer;

typedef struct {
    int abi; /* first for ever */
    const fastgmm_scorer *(*borrow)(PyObject *scorer);
    Py_ssize_t (*n_components)(const fastgmm_scorer *scorer);
    Py_ssize_t (*n_features)(const fastgmm_scorer *scorer);
    int (*is_float32)(const fastgmm_scorer *scorer);
    int (*score_f64)(const fastgmm_scorer *scorer, const double *rows, Py_ssize_t n_rows, double *log_density,
                     double *resp, int64_t *labels);
    int (*score_f32)(const fastgmm_scorer *scorer, const float *rows, Py_ssize_t n_rows, float *log_density,
                     float *resp, int64_t *labels);
} fastgmm_scoring_api;

static const fastgmm_scoring_api *fastgmm_scoring = NULL;

/* Load fastgmm; -1 with a Python exception if it is not there or has another ABI. */
static inline int fastgmm_import_scoring(void) {
    const fastgmm_scoring_api *api = (const fastgmm_scoring_api *)PyCapsule_Import(FASTGMM_SCORING_CAPSULE, 0);
    if (api == NULL) return -1;
    if (api->abi != FASTGMM_SCORING_ABI) {
        PyErr_Format(PyExc_ImportError,
                     "this extension was compiled for version %d of fastgmm's scoring ABI, but the installed fastgmm has "
                     "version %d: build the extension again",
                     FASTGMM_SCORING_ABI, api->abi);
        return -1;
    }
    fastgmm_scoring = api;
    return 0;
}

/* The scorer behind a Python object; valid as long as that object lives. NULL with a TypeError for any other object. */
static inline const fastgmm_scorer *fastgmm_borrow_scorer(PyObject *scorer) { return fastgmm_scoring->borrow(scorer); }

static inline Py_ssize_t fastgmm_n_components(const fastgmm_scorer *scorer) {
    return fastgmm_scoring->n_components(scorer);
}

static inline Py_ssize_t fastgmm_n_features(const fastgmm_scorer *scorer) { return fastgmm_scoring->n_features(scorer); }

static inline int fastgmm_is_float32(const fastgmm_scorer *scorer) { return fastgmm_scoring->is_float32(scorer); }

/* Score rows (n_rows, n_features), row by row in memory. Results, each of which may be NULL:
 *   log_density (n_rows)   resp (n_rows, n_components)   labels (n_rows)
 * The noise of a mixture counts as a component, the last, and its label is -1. A row with NaN or infinity gets NaN and
 * label -1. Returns FASTGMM_OK or what went wrong. */
static inline int fastgmm_score_f64(const fastgmm_scorer *scorer, const double *rows, Py_ssize_t n_rows,
                                    double *log_density, double *resp, int64_t *labels) {
    return fastgmm_scoring->score_f64(scorer, rows, n_rows, log_density, resp, labels);
}

static inline int fastgmm_score_f32(const fastgmm_scorer *scorer, const float *rows, Py_ssize_t n_rows, float *log_density,
                                    float *resp, int64_t *labels) {
    return fastgmm_scoring->score_f32(scorer, rows, n_rows, log_density, resp, labels);
}

#endif
