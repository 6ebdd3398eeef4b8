"""The search of _axes.pyx, for other compiled modules."""

from fastgmm.engine._turning cimport Turning


cdef class Axes:
    cdef Py_ssize_t K, D
    cdef bint equal_volumes
    cdef Turning turning     # made when it is needed
    cdef object room
    cdef double *A           # (D, D): axes, as columns
    cdef double *T           # (K, D, D): along them
    cdef double *weight      # (K)
    cdef double *log_mean    # (K)
    cdef double *x           # (K), as y and z: T_ii, T_jj and T_ij of a plane
    cdef double *y
    cdef double *z
    cdef double *best        # (D, D), as the four after it
    cdef double *tried
    cdef double *turn
    cdef double *rotation
    cdef double *work
    cdef double *values      # (D)
    cdef const double *S     # (K, D, D)
    cdef const double *n     # (K)
    cdef const double *fixed  # (K, D): inverse variances that stay as they are; NULL for the best
    cdef double total

    cdef Py_ssize_t find(self, const double *S, const double *n, const double *previous) except -1
    cdef void load(self, const double *S, const double *n) noexcept nogil
    cdef void begin(self, const double *axes) noexcept nogil
    cdef int begin_anew(self) except -1
    cdef int share(self, const double *covariances, double *axes) except -1
    cdef int settle(self, int max_rounds) except -1
    cdef bint nearer(self, double left, double rounding) except -1
    cdef void turn_all(self, const double *axes) noexcept nogil
    cdef void orthogonalise(self) noexcept nogil
    cdef double left(self) noexcept nogil
    cdef double sweeps(self, double share, int most) noexcept nogil
    cdef double sweep(self) noexcept nogil
    cdef double better(self, double angle, double slope, double bend) noexcept nogil
    cdef double gain(self, double angle) noexcept nogil
