"""The arithmetic of _turning.pyx, for other compiled modules."""


cdef void log_means(Py_ssize_t K, Py_ssize_t D, const double *T, double *log_mean) noexcept nogil
cdef void geometric_weights(Py_ssize_t K, const double *n, const double *log_mean, double *weight) noexcept nogil


cdef class Turning:
    cdef Py_ssize_t K, D, P
    cdef bint equal_volumes
    cdef object room
    cdef double *weight      # (K)
    cdef double *log_mean    # (K)
    cdef double *R           # (D, D, D): R_j = sum_k c_k T_k / T_k,jj
    cdef double *change      # (K, P): derivatives of sum_j log T_k,jj
    cdef double *slope       # (P)
    cdef double *bend        # (P, P)
    cdef double *turn        # (P)
    cdef double *work        # of `newton_step`

    cdef void derive(self, const double *T, const double *n) noexcept nogil
    cdef double curving(self, const double *T, Py_ssize_t j, Py_ssize_t a, Py_ssize_t b) noexcept nogil
    cdef double second(self, const double *T, Py_ssize_t a, Py_ssize_t b, Py_ssize_t c, Py_ssize_t d) noexcept nogil
    cdef bint step(self, const double *T, const double *n, double *X) except -1
