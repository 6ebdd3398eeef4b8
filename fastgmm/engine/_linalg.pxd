"""The arithmetic of _linalg.pyx on pointers, for other compiled modules; shapes are those that its functions return."""

cimport numpy as cnp


cdef cnp.ndarray new(int ndim, Py_ssize_t a, Py_ssize_t b=*, Py_ssize_t c=*)
cdef double *data(cnp.ndarray array, Py_ssize_t size) except NULL

cdef void unpack(Py_ssize_t K, Py_ssize_t D, const double *packed, double *n, double *s, double *S) noexcept nogil
cdef bint finite(Py_ssize_t size, const double *value) noexcept nogil
cdef bint share(Py_ssize_t K, const double *mass, double smallest, double *out, double *total) noexcept nogil
cdef void centre(Py_ssize_t K, Py_ssize_t D, const double *n, const double *s, const double *pivot,
                 double *means) noexcept nogil
cdef double centre_full(Py_ssize_t K, Py_ssize_t D, const double *n, const double *s, const double *S,
                        double *within) noexcept nogil
cdef double centre_diagonal(Py_ssize_t K, Py_ssize_t D, const double *n, const double *s, const double *S,
                            double *within) noexcept nogil
cdef double centre_spherical(Py_ssize_t K, Py_ssize_t D, const double *n, const double *s, const double *S,
                             double *within) noexcept nogil
cdef double centre_rotated(Py_ssize_t K, Py_ssize_t D, const double *n, const double *means, const double *S,
                           const double *shift, double *within) noexcept nogil
cdef double reach(Py_ssize_t K, Py_ssize_t D, const double *means, const double *shift, const double *W,
                  double *work) noexcept nogil
cdef void divide(Py_ssize_t K, Py_ssize_t size, Py_ssize_t step, const double *within, const double *mass,
                 double reg_covar, double *out) noexcept nogil
cdef Py_ssize_t invert(Py_ssize_t K, Py_ssize_t D, const double *covariances, double *work, double *W) noexcept nogil
cdef Py_ssize_t invert_variances(Py_ssize_t size, const double *variances, double *inverse) noexcept nogil
cdef void sum_logs(Py_ssize_t K, Py_ssize_t D, const double *value, Py_ssize_t size, Py_ssize_t step,
                   double *total) noexcept nogil
cdef void normalise(Py_ssize_t K, Py_ssize_t D, const double *weights, const double *log_det,
                    double *log_norm) noexcept nogil
