"""Small dense algebra on K matrices of D x D, compiled: no LAPACK call per component, no BLAS threads beside ours.

What Python calls makes the arrays; the arithmetic is in functions of pointers (_linalg.pxd), which compiled steps of EM
call without any array. Where K D^2 is large, what Python calls shares the components out among threads: each is one
thread's work, so that the bits are the same for any number of them.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, isfinite, log, sqrt

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.engine import threads

cimport numpy as cnp

from fastgmm.engine._core cimport FG_TOGETHER, active_leaves, float64_values, rotate_offsets, triangle

cnp.import_array()

cdef double LOG_2PI = 1.8378770664093454836


# What follows is called between passes over a few hundred rows, where making and unwrapping arrays is all the time it
# takes. Hence these two instead of np.empty and memoryviews.

cdef cnp.ndarray new(int ndim, Py_ssize_t a, Py_ssize_t b=0, Py_ssize_t c=0):
    """An array of float64, not set, of shape (a,), (a, b) or (a, b, c)."""
    cdef cnp.npy_intp shape[3]
    shape[0], shape[1], shape[2] = a, b, c
    return cnp.PyArray_EMPTY(ndim, shape, cnp.NPY_DOUBLE, 0)


cdef cnp.ndarray like(cnp.ndarray array):
    """An array of float64, not set, of the shape of another."""
    return cnp.PyArray_EMPTY(cnp.PyArray_NDIM(array), cnp.PyArray_DIMS(array), cnp.NPY_DOUBLE, 0)


cdef double *data(cnp.ndarray array, Py_ssize_t size) except NULL:
    """The values of a C-contiguous float64 array of a size."""
    if cnp.PyArray_SIZE(array) != size:
        raise ValueError(f"expected an array of {size} values, got {<object> array!r}")
    return float64_values(array)


cdef enum:
    MIRRORED = 8  # numbers of a cache line

SHARED_WORK = 2e6  # numbers read or multiply-adds, from some half a millisecond on


cdef int sharing(Py_ssize_t K, double work) except -1:
    """How many threads share the work on K components."""
    return 1 if K == 1 or work < SHARED_WORK else min(K, <Py_ssize_t> threads.between())


def inverse_cholesky(covariances):
    """Return the upper-triangular U_k with U_k U_k^T = inverse of covariance k.

    They are transposed views of lower-triangular matrices in C order, which is the form that the kernels read.

    Parameters
    ----------
    covariances : (K, D, D) array, symmetric
        Only the upper triangle is read.

    Returns
    -------
    (K, D, D) float64 array

    Raises
    ------
    IllDefinedCovarianceError
        If a matrix is not positive definite; its `component` is the index of the first.
    """
    cdef cnp.ndarray A = np.ascontiguousarray(covariances, dtype=np.float64)
    cdef Py_ssize_t K = A.shape[0], D = A.shape[1], size = D * D, k
    cdef int n_threads = sharing(K, <double> K * D * size / 3)
    cdef cnp.ndarray out = new(3, K, D, D), work = new(3, n_threads, D, D), definite = new(1, K)
    cdef double *covariance = data(A, K * size)
    cdef double *W = data(out, K * size)
    cdef double *scratch = data(work, n_threads * size)
    cdef double *fine = data(definite, K)
    if n_threads == 1:
        k = invert(K, D, covariance, scratch, W)
    else:
        for k in prange(K, nogil=True, schedule="dynamic", chunksize=1, num_threads=n_threads):
            fine[k] = invert(1, D, covariance + k * size, scratch + threadid() * size, W + k * size)
        k = 0
        while k < K and fine[k] == 1:
            k += 1
    if k < K:
        raise IllDefinedCovarianceError(k)
    return out.swapaxes(1, 2)


cdef Py_ssize_t invert(Py_ssize_t K, Py_ssize_t D, const double *covariance, double *scratch,
                       double *W) noexcept nogil:
    """W (K, D, D) with W_k^T W_k the inverse of covariance k; the first that is not definite, K if all are."""
    cdef Py_ssize_t k
    for k in range(K):
        if active_leaves(False).cholesky_inverse(D, covariance + k * D * D, scratch, W + k * D * D):
            return k
    return K


def unpack_triangles(packed, Py_ssize_t K, Py_ssize_t D):
    """Split K packed triangles of [1, x] [1, x]^T sums into n (K,), s (K, D) and symmetric S (K, D, D)."""
    cdef cnp.ndarray n = new(1, K), s = new(2, K, D), S = new(3, K, D, D)
    cdef Py_ssize_t size = triangle(D + 1), k
    cdef const double *value = data(packed, K * size)
    cdef double *mass = data(n, K)
    cdef double *sums = data(s, K * D)
    cdef double *moments = data(S, K * D * D)
    cdef int n_threads = sharing(K, <double> K * D * D)
    if n_threads == 1:
        unpack(K, D, value, mass, sums, moments)
    else:
        for k in prange(K, nogil=True, schedule="static", num_threads=n_threads):
            unpack(1, D, value + k * size, mass + k, sums + k * D, moments + k * D * D)
    return n, s, S


cdef void unpack(Py_ssize_t K, Py_ssize_t D, const double *value, double *mass, double *sums,
                 double *moments) noexcept nogil:
    cdef Py_ssize_t k, i, j
    for k in range(K):
        mass[k] = value[0]
        value += 1
        for i in range(D):
            sums[i] = value[0]
            value += 1
            for j in range(i + 1):
                moments[i * D + j] = value[j]
            value += i + 1
        mirror(D, moments)
        sums += D
        moments += D * D


cdef void mirror(Py_ssize_t D, double *S) noexcept nogil:
    """Copy what is below the diagonal of S (D, D) above it, a few rows at a time, whose columns then stay in L1."""
    cdef Py_ssize_t i, j, band, first, last
    for band in range((D + MIRRORED - 1) // MIRRORED):
        first = band * MIRRORED
        last = min(D, first + MIRRORED)
        for j in range(last):
            for i in range(max(first, j + 1), last):
                S[j * D + i] = S[i * D + j]


def pack_triangles(const double[::1] n, const double[:, ::1] s, const double[:, :, ::1] S):
    """Undo unpack_triangles; of S the lower triangles are read."""
    cdef Py_ssize_t K = s.shape[0], D = s.shape[1], k, i, j, at = 0
    packed = np.empty(K * triangle(D + 1))
    cdef double[::1] out = packed
    for k in range(K):
        out[at] = n[k]
        at += 1
        for i in range(D):
            out[at] = s[k, i]
            at += 1
            for j in range(i + 1):
                out[at] = S[k, i, j]
                at += 1
    return packed


# ------------------------------------------------------------------------- from statistics to parameters, and back

def is_plain(array):
    """Return whether compiled code can read an array as it is: float64, native, aligned, in C order."""
    return (
        type(array) is np.ndarray and cnp.PyArray_TYPE(array) == cnp.NPY_DOUBLE and cnp.PyArray_ISCARRAY_RO(array)
    )


def all_finite(array):
    """Return whether all values of a C-contiguous float64 array are finite."""
    cdef Py_ssize_t size = array.size
    return finite(size, data(array, size))


cdef bint finite(Py_ssize_t size, const double *value) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        if not isfinite(value[i]):
            return False
    return True


def shares(n, double smallest):
    """Return n over its sum, the sum, and whether a share is at most `smallest`."""
    cdef Py_ssize_t K = n.shape[0]
    cdef cnp.ndarray out = new(1, K)
    cdef double total = 0
    cdef bint any_small = share(K, data(n, K), smallest, data(out, K), &total)
    return out, total, any_small


cdef bint share(Py_ssize_t K, const double *mass, double smallest, double *out, double *total) noexcept nogil:
    cdef Py_ssize_t k
    cdef bint any_small = False
    total[0] = 0
    for k in range(K):
        total[0] += mass[k]
    for k in range(K):
        out[k] = mass[k] / total[0]
        any_small |= not mass[k] > smallest * total[0]
    return any_small


def means(cnp.ndarray n, cnp.ndarray s, cnp.ndarray pivot):
    """Return pivot + s / n, (K, D); the pivot where n is zero."""
    cdef Py_ssize_t K = s.shape[0], D = s.shape[1]
    cdef cnp.ndarray out = new(2, K, D)
    centre(K, D, data(n, K), data(s, K * D), data(pivot, K * D), data(out, K * D))
    return out


cdef void centre(Py_ssize_t K, Py_ssize_t D, const double *mass, const double *sums, const double *start,
                 double *mean) noexcept nogil:
    cdef Py_ssize_t k, j
    for k in range(K):
        for j in range(k * D, (k + 1) * D):
            mean[j] = start[j] + (sums[j] / mass[k] if mass[k] > 0 else 0.0)


cdef double grown(double factor, double before, double after) noexcept nogil:
    """The larger of factor and before / after: by how much a difference cancelled."""
    if after > 0:
        return max(factor, before / after)
    return INFINITY if before > 0 else factor


def within_full(cnp.ndarray n, cnp.ndarray s, cnp.ndarray S):
    """Return S - s s^T / n, symmetric (K, D, D), and the largest factor by which its diagonal cancelled."""
    cdef Py_ssize_t K = s.shape[0], D = s.shape[1], size = D * D, k
    cdef cnp.ndarray out = new(3, K, D, D), cancelled = new(1, K)
    cdef const double *mass = data(n, K)
    cdef const double *sums = data(s, K * D)
    cdef const double *before = data(S, K * size)
    cdef double *W = data(out, K * size)
    cdef double *factor = data(cancelled, K)
    cdef int n_threads = sharing(K, <double> K * size)
    if n_threads == 1:
        return out, centre_full(K, D, mass, sums, before, W)
    for k in prange(K, nogil=True, schedule="static", num_threads=n_threads):
        factor[k] = centre_full(1, D, mass + k, sums + k * D, before + k * size, W + k * size)
    return out, np.max(cancelled)


cdef double centre_full(Py_ssize_t K, Py_ssize_t D, const double *mass, const double *sums, const double *before,
                        double *W) noexcept nogil:
    cdef Py_ssize_t k, i, j
    cdef double factor = 1, offset
    for k in range(K):
        for i in range(D):
            offset = sums[i] / mass[k] if mass[k] > 0 else sums[i]
            for j in range(i + 1):
                W[i * D + j] = before[i * D + j] - sums[j] * offset
            factor = grown(factor, before[i * D + i], W[i * D + i])
        mirror(D, W)
        W += D * D
        before += D * D
        sums += D
    return factor


def within_diagonal(cnp.ndarray n, cnp.ndarray s, cnp.ndarray S):
    """Return S - s^2 / n, (K, D), not below zero, and the largest factor by which it cancelled."""
    cdef Py_ssize_t K = s.shape[0], D = s.shape[1]
    cdef cnp.ndarray out = new(2, K, D)
    cdef double factor = centre_diagonal(K, D, data(n, K), data(s, K * D), data(S, K * D), data(out, K * D))
    return out, factor


cdef double centre_diagonal(Py_ssize_t K, Py_ssize_t D, const double *mass, const double *sums, const double *before,
                            double *W) noexcept nogil:
    cdef Py_ssize_t k, j
    cdef double factor = 1
    for k in range(K):
        for j in range(k * D, (k + 1) * D):
            W[j] = max(before[j] - sums[j] * (sums[j] / mass[k] if mass[k] > 0 else sums[j]), 0.0)
            factor = grown(factor, before[j], W[j])
    return factor


def within_spherical(cnp.ndarray n, cnp.ndarray s, cnp.ndarray S):
    """Return S - |s|^2 / n, (K,), not below zero, and the largest factor by which it cancelled."""
    cdef Py_ssize_t K = s.shape[0], D = s.shape[1]
    cdef cnp.ndarray out = new(1, K)
    cdef double factor = centre_spherical(K, D, data(n, K), data(s, K * D), data(S, K), data(out, K))
    return out, factor


cdef double centre_spherical(Py_ssize_t K, Py_ssize_t D, const double *mass, const double *sums, const double *before,
                             double *W) noexcept nogil:
    cdef Py_ssize_t k, j
    cdef double factor = 1, between
    for k in range(K):
        between = 0
        for j in range(k * D, (k + 1) * D):
            between += sums[j] * (sums[j] / mass[k] if mass[k] > 0 else sums[j])
        W[k] = max(before[k] - between, 0.0)
        factor = grown(factor, before[k], W[k])
    return factor


def within_rotated(n, mean, S, shift):
    """Return S - sum_k n_k (mean_k - shift) (mean_k - shift)^T, (D, D), and how much its diagonal cancelled."""
    cdef Py_ssize_t K = mean.shape[0], D = mean.shape[1]
    cdef cnp.ndarray out = new(2, D, D)
    cdef double factor = centre_rotated(K, D, data(n, K), data(mean, K * D), data(S, D * D), data(shift, D),
                                        data(out, D * D))
    return out, factor


cdef double centre_rotated(Py_ssize_t K, Py_ssize_t D, const double *mass, const double *mu, const double *before,
                           const double *origin, double *W) noexcept nogil:
    cdef Py_ssize_t k, i, j
    cdef double factor = 1, pull
    for i in range(D):
        for j in range(i + 1):
            W[i * D + j] = before[i * D + j]
        for k in range(K):  # a row at a time stays in L1
            pull = mass[k] * (mu[k * D + i] - origin[i])
            for j in range(i + 1):
                W[i * D + j] -= pull * (mu[k * D + j] - origin[j])
        factor = grown(factor, before[i * D + i], W[i * D + i])
    mirror(D, W)
    return factor


def spread(means, shift, W):
    """Return the largest |W (mean_k - shift)|, W (D, D) lower-triangular."""
    cdef Py_ssize_t K = means.shape[0], D = means.shape[1]
    cdef cnp.ndarray work = new(1, 2 * FG_TOGETHER * D)
    return reach(K, D, data(means, K * D), data(shift, D), data(W, D * D), data(work, 2 * FG_TOGETHER * D))


cdef double reach(Py_ssize_t K, Py_ssize_t D, const double *mu, const double *origin, const double *factor,
                  double *work) noexcept nogil:
    """What `spread` says; work (2, D, FG_TOGETHER)."""
    cdef Py_ssize_t g, k, c, i, count
    cdef double largest = 0, squares
    for g in range((K + FG_TOGETHER - 1) // FG_TOGETHER):
        k = g * FG_TOGETHER
        count = min(K - k, FG_TOGETHER)
        rotate_offsets(count, D, mu + k * D, origin, factor, work)
        for c in range(count):
            squares = 0
            for i in range(D):
                squares += work[i * FG_TOGETHER + c] * work[i * FG_TOGETHER + c]
            largest = max(largest, squares)
    return sqrt(largest)


def per_mass(cnp.ndarray within, cnp.ndarray mass, double reg_covar):
    """Return within_k / mass_k with reg_covar added: on the diagonal of matrices (K, D, D), everywhere in (K, D)."""
    cdef Py_ssize_t K = mass.shape[0], size = cnp.PyArray_SIZE(within) // K, k
    cdef Py_ssize_t step = cnp.PyArray_DIM(within, 1) + 1 if cnp.PyArray_NDIM(within) == 3 else 1
    cdef cnp.ndarray out = like(within)
    cdef const double *W = data(within, K * size)
    cdef const double *total = data(mass, K)
    cdef double *C = data(out, K * size)
    cdef int n_threads = sharing(K, <double> K * size)
    if n_threads == 1:
        divide(K, size, step, W, total, reg_covar, C)
    else:
        for k in prange(K, nogil=True, schedule="static", num_threads=n_threads):
            divide(1, size, step, W + k * size, total + k, reg_covar, C + k * size)
    return out


cdef void divide(Py_ssize_t K, Py_ssize_t size, Py_ssize_t step, const double *W, const double *total,
                 double reg_covar, double *C) noexcept nogil:
    """C_k (size) = W_k / total_k, and reg_covar added to every step-th number."""
    cdef Py_ssize_t k, i
    for k in range(K):
        for i in range(size):
            C[i] = W[i] / total[k]
        for i in range((size + step - 1) // step):
            C[i * step] += reg_covar
        C += size
        W += size


def mean_and_variances(cnp.ndarray n, cnp.ndarray s, cnp.ndarray S, cnp.ndarray pivot):
    """Return mean (D,), variances (D,) and weight of one component of kind "diagonal", n (1,), s (1, D), S (1, D).

    Raises
    ------
    IllDefinedCovarianceError
        If the squares of the rows have overflowed float64.
    """
    cdef Py_ssize_t D = s.shape[1]
    cdef cnp.ndarray mean = new(1, D), variances = new(1, D)
    cdef double *mass = data(n, 1)
    cdef double *centred = data(variances, D)
    centre(1, D, mass, data(s, D), data(pivot, D), data(mean, D))
    centre_diagonal(1, D, mass, data(s, D), data(S, D), centred)
    divide(1, D, 1, centred, mass, 0.0, centred)
    if not (finite(D, data(mean, D)) and finite(D, centred)):
        raise IllDefinedCovarianceError
    return mean, variances, mass[0]


def inverse_roots(variances):
    """Return 1 / sqrt(variances), of shape (K, ...).

    Raises
    ------
    IllDefinedCovarianceError
        If one is not positive and finite; its `component` is the index of the first.
    """
    cdef cnp.ndarray A = np.ascontiguousarray(variances, dtype=np.float64)
    cdef Py_ssize_t K = A.shape[0], size = cnp.PyArray_SIZE(A) // K, first
    cdef cnp.ndarray out = like(A)
    first = invert_variances(K * size, data(A, K * size), data(out, K * size))
    if first < K * size:
        raise IllDefinedCovarianceError(first // size)
    return out


cdef Py_ssize_t invert_variances(Py_ssize_t size, const double *variance, double *inverse) noexcept nogil:
    """inverse = 1 / sqrt(variance); the first variance that is not positive and finite, size if all are."""
    cdef Py_ssize_t i
    for i in range(size):
        if not 0 < variance[i] < INFINITY:
            return i
        inverse[i] = 1 / sqrt(variance[i])
    return size


def log_diagonals(factors):
    """Return the sum of the logarithms of the diagonal of each matrix (K, D, D)."""
    cdef Py_ssize_t K = factors.shape[0], D = factors.shape[1]
    cdef cnp.ndarray out = new(1, K)
    sum_logs(K, D, data(factors, K * D * D), D * D, D + 1, data(out, K))
    return out


cdef void sum_logs(Py_ssize_t K, Py_ssize_t D, const double *value, Py_ssize_t size, Py_ssize_t step,
                   double *total) noexcept nogil:
    """total_k = the sum of the logarithms of D numbers, step apart, in each of K stretches of a size."""
    cdef Py_ssize_t k, j
    for k in range(K):
        total[k] = 0
        for j in range(D):
            total[k] += log(value[k * size + j * step])


def log_rows(values):
    """Return the sum of the logarithms of each row of (K, D)."""
    cdef Py_ssize_t K = values.shape[0], D = values.shape[1]
    cdef cnp.ndarray out = new(1, K)
    sum_logs(K, D, data(values, K * D), D, 1, data(out, K))
    return out


def log_norms(weights, log_det, Py_ssize_t D):
    """Return log weights_k + log_det_k - D / 2 log 2 pi; -inf for a weight of zero."""
    cdef Py_ssize_t K = weights.shape[0]
    cdef cnp.ndarray out = new(1, K)
    normalise(K, D, data(weights, K), data(log_det, K), data(out, K))
    return out


cdef void normalise(Py_ssize_t K, Py_ssize_t D, const double *weight, const double *det,
                    double *log_norm) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(K):
        log_norm[k] = (log(weight[k]) + det[k] if weight[k] > 0 else -INFINITY) - 0.5 * D * LOG_2PI
