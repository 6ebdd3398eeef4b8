"""Rows scored by a mixture from Cython, without the interpreter: the functions of fastgmm/scoring.h.

Compile with the folder of `fastgmm.get_include()`, and call import_scoring() once in every module that uses the rest.
"""

from libc.stdint cimport int64_t


cdef extern from "fastgmm/scoring.h":
    int import_scoring "fastgmm_import_scoring"() except -1
    const fastgmm_scorer *borrow_scorer "fastgmm_borrow_scorer"(object scorer) except NULL

cdef extern from "fastgmm/scoring.h" nogil:
    enum: FASTGMM_OK, FASTGMM_NO_MEMORY, FASTGMM_WRONG_TYPE

    ctypedef struct fastgmm_scorer:
        pass

    Py_ssize_t n_components "fastgmm_n_components"(const fastgmm_scorer *)
    Py_ssize_t n_features "fastgmm_n_features"(const fastgmm_scorer *)
    bint is_float32 "fastgmm_is_float32"(const fastgmm_scorer *)

    # rows (n_rows, n_features); log_density (n_rows), resp (n_rows, n_components), labels (n_rows), or NULL for each
    int score_f64 "fastgmm_score_f64"(const fastgmm_scorer *, const double *rows, Py_ssize_t n_rows,
                                      double *log_density, double *resp, int64_t *labels)
    int score_f32 "fastgmm_score_f32"(const fastgmm_scorer *, const float *rows, Py_ssize_t n_rows,
                                      float *log_density, float *resp, int64_t *labels)
