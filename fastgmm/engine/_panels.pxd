"""Rows that are packed once and then passed over many times."""

from fastgmm.engine._core cimport FG_PANEL, fg_leaves


ctypedef fused real:
    float
    double


cdef struct Packed:
    const fg_leaves *leaf
    bint single
    bint uneven              # whether some weights are as nothing beside others
    Py_ssize_t n, D, item
    Py_ssize_t P             # panels
    Py_ssize_t per_group     # panels
    Py_ssize_t groups
    char *z                  # (P, D, FG_PANEL) REAL, 0 where there is no row
    char *w                  # (P, FG_PANEL) REAL: weights in their unit, 0 where there is no row
    double unit


cdef struct Points:
    # some centres or candidates, for the spherical logits: those are then negative squared distances
    Py_ssize_t K
    char *mu                 # (K, D) REAL, minus shift
    char *scale              # (K) REAL, 1
    char *zero               # (K) REAL, 0


cdef class _Room:
    cdef char *memory
    cdef char *base
    cdef Py_ssize_t size, taken

    cdef void *take(self, Py_ssize_t n_bytes) noexcept


cdef class Panels:
    cdef Packed rows
    cdef _Room room
    cdef readonly object shift

    cdef _Room points(self, Py_ssize_t K, Points *points)


cdef inline double weight(const Packed *r, Py_ssize_t i) noexcept nogil:
    return (<const float *> r.w)[i] if r.single else (<const double *> r.w)[i]


cdef inline double value(const Packed *r, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    """Feature j of row i, minus shift."""
    cdef Py_ssize_t at = (i // FG_PANEL * r.D + j) * FG_PANEL + i % FG_PANEL
    return (<const float *> r.z)[at] if r.single else (<const double *> r.z)[at]
