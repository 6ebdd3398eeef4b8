"""The arithmetic of _dense.pyx, for other compiled modules."""


cdef int eigh(Py_ssize_t D, const double *A, double *values, double *vectors) except -1
cdef bint solve_positive(Py_ssize_t n, Py_ssize_t pin, double *H, double *g) noexcept nogil
cdef bint newton_step(Py_ssize_t n, const double *H, const double *g, double *work, double *x) except -1
cdef Py_ssize_t newton_work(Py_ssize_t n) noexcept nogil
cdef void cayley(Py_ssize_t D, const double *X, double *work, double *R) noexcept nogil
