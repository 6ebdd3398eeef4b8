"""The searches of _shapes.pyx, for other compiled modules."""


cdef class Scales:
    cdef Py_ssize_t K, D
    cdef object room
    cdef const double *S     # sample variances (K, D) or covariances (K, D, D)
    cdef const double *mass  # (K)
    cdef double n, value
    cdef double *u           # (K)
    cdef double *rows        # (K): n tr M_k
    cdef double *H           # (K, K)
    cdef double *newton      # (K)
    cdef double *descent     # (K)
    cdef double *M           # (K, D) or (K, D, D)
    cdef double *shape       # B (D) or C (D, D)
    cdef double *W           # (D, D), as scratch: of matrices alone
    cdef double *scratch

    cdef void search(self, const double *S, const double *mass, const double *start) noexcept nogil
    cdef void steps(self) noexcept nogil
    cdef void evaluate(self, const double *u) noexcept nogil
    cdef double off(self) noexcept nogil


cdef class DiagonalScales(Scales):
    pass


cdef class MatrixScales(Scales):
    pass
