"""The M-steps of _structures.pyx, for other compiled modules."""

from fastgmm.engine._axes cimport Axes
from fastgmm.engine._shapes cimport Scales


cdef class Nearest:
    cdef Py_ssize_t K, D
    cdef char volume, shape, orientation
    cdef Axes common         # of structures with one orientation
    cdef Scales scales       # of those with one shape and volumes that vary
    cdef object room
    cdef double *values      # (K, D): variances along the axes
    cdef double *axes        # (K, D, D), or (D, D) where all have the same
    cdef double *volumes     # (K)
    cdef double *work        # (D, D)

    cdef Py_ssize_t find(self, const double *S, const double *mass, const double *before, double *out) except -2
    cdef Py_ssize_t shaped(self, Py_ssize_t width, const double *S, const double *mass, const double *start,
                           double *out) noexcept nogil
    cdef Py_ssize_t own_axes(self, const double *S, const double *mass, const double *before) except -2
    cdef Py_ssize_t multiples(self, const double *S, const double *mass, const double *before,
                              double *out) noexcept nogil
    cdef Py_ssize_t one_volume(self, const double *S, const double *mass, double *out) noexcept nogil
    cdef void compose(self, Py_ssize_t apart, const double *axes, double *out) noexcept nogil
    cdef const double *traces(self, const double *matrices) noexcept nogil
