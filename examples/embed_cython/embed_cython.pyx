"""Rows scored one by one, as they would come from a sensor, without the interpreter."""

from fastgmm.scoring cimport FASTGMM_OK, borrow_scorer, fastgmm_scorer, import_scoring, n_features, score_f64

import_scoring()


cdef Py_ssize_t search(const fastgmm_scorer *scorer, const double[:, ::1] rows, double threshold,
                       double[::1] log_density) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(rows.shape[0]):
        if score_f64(scorer, &rows[i, 0], 1, &log_density[i], NULL, NULL) != FASTGMM_OK:
            return -2
        if log_density[i] < threshold:
            return i
    return -1


def first_unlikely(mixture, const double[:, ::1] rows, double threshold, double[::1] log_density):
    """Score rows until one has a log-density below the threshold; return its index, or -1."""
    scorer = mixture.scorer()  # has to live as long as what is borrowed from it
    cdef const fastgmm_scorer *borrowed = borrow_scorer(scorer)
    cdef Py_ssize_t found
    if rows.shape[1] != n_features(borrowed) or log_density.shape[0] != rows.shape[0]:
        raise ValueError("rows and log_density do not fit to the mixture and to each other")
    with nogil:
        found = search(borrowed, rows, threshold, log_density)
    if found == -2:
        raise MemoryError
    return found
