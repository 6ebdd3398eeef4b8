"""Small dense algebra on K matrices of D x D, compiled: no LAPACK call per component, no BLAS threads beside ours."""

from libc.math cimport INFINITY, isfinite, log, sqrt

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError

cimport numpy as cnp

from fastgmm.engine._core cimport active_leaves, float64_values, triangle

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
    cdef Py_ssize_t K = A.shape[0], D = A.shape[1], k
    cdef cnp.ndarray out = new(3, K, D, D), work = new(2, D, D)
    cdef double *covariance = data(A, K * D * D)
    cdef double *W = data(out, K * D * D)
    cdef double *scratch = data(work, D * D)
    for k in range(K):
        if active_leaves(False).cholesky_inverse(D, covariance + k * D * D, scratch, W + k * D * D):
            raise IllDefinedCovarianceError(k)
    return out.swapaxes(1, 2)


def unpack_triangles(packed, Py_ssize_t K, Py_ssize_t D):
    """Split K packed triangles of [1, x] [1, x]^T sums into n (K,), s (K, D) and symmetric S (K, D, D)."""
    cdef cnp.ndarray n = new(1, K), s = new(2, K, D), S = new(3, K, D, D)
    cdef double *mass = data(n, K)
    cdef double *sums = data(s, K * D)
    cdef double *moments = data(S, K * D * D)
    cdef double *value = data(packed, K * triangle(D + 1))
    cdef Py_ssize_t k, i, j
    for k in range(K):
        mass[k] = value[0]
        value += 1
        for i in range(D):
            sums[i] = value[0]
            value += 1
            for j in range(i + 1):
                moments[i * D + j] = moments[j * D + i] = value[j]
            value += i + 1
        sums += D
        moments += D * D
    return n, s, S


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
    cdef Py_ssize_t size = array.size, i
    cdef double *value = data(array, size)
    for i in range(size):
        if not isfinite(value[i]):
            return False
    return True


def shares(n, double smallest):
    """Return n over its sum, the sum, and whether a share is at most `smallest`."""
    cdef Py_ssize_t K = n.shape[0], k
    cdef double *mass = data(n, K)
    cdef cnp.ndarray out = new(1, K)
    cdef double *share = data(out, K)
    cdef double total = 0
    cdef bint any_small = False
    for k in range(K):
        total += mass[k]
    for k in range(K):
        share[k] = mass[k] / total
        any_small |= not mass[k] > smallest * total
    return out, total, any_small


def means(cnp.ndarray n, cnp.ndarray s, cnp.ndarray pivot):
    """Return pivot + s / n, (K, D); the pivot where n is zero."""
    cdef Py_ssize_t K = s.shape[0], D = s.shape[1], k, j
    cdef cnp.ndarray out = new(2, K, D)
    cdef double *mean = data(out, K * D)
    cdef double *mass = data(n, K)
    cdef double *sums = data(s, K * D)
    cdef double *start = data(pivot, K * D)
    for k in range(K):
        for j in range(k * D, (k + 1) * D):
            mean[j] = start[j] + (sums[j] / mass[k] if mass[k] > 0 else 0.0)
    return out


cdef double grown(double factor, double before, double after) noexcept nogil:
    """The larger of factor and before / after: by how much a difference cancelled."""
    if after > 0:
        return max(factor, before / after)
    return INFINITY if before > 0 else factor


def within_full(cnp.ndarray n, cnp.ndarray s, cnp.ndarray S):
    """Return S - s s^T / n, symmetric (K, D, D), and the largest factor by which its diagonal cancelled."""
    cdef Py_ssize_t K = s.shape[0], D = s.shape[1], k, i, j
    cdef cnp.ndarray out = new(3, K, D, D)
    cdef double *W = data(out, K * D * D)
    cdef double *mass = data(n, K)
    cdef double *sums = data(s, K * D)
    cdef double *before = data(S, K * D * D)
    cdef double factor = 1, offset
    for k in range(K):
        for i in range(D):
            offset = sums[i] / mass[k] if mass[k] > 0 else sums[i]
            for j in range(i + 1):
                W[i * D + j] = W[j * D + i] = before[i * D + j] - sums[j] * offset
            factor = grown(factor, before[i * D + i], W[i * D + i])
        W += D * D
        before += D * D
        sums += D
    return out, factor


def within_diagonal(cnp.ndarray n, cnp.ndarray s, cnp.ndarray S):
    """Return S - s^2 / n, (K, D), not below zero, and the largest factor by which it cancelled."""
    cdef Py_ssize_t K = s.shape[0], D = s.shape[1], k, j
    cdef cnp.ndarray out = new(2, K, D)
    cdef double *W = data(out, K * D)
    cdef double *mass = data(n, K)
    cdef double *sums = data(s, K * D)
    cdef double *before = data(S, K * D)
    cdef double factor = 1
    for k in range(K):
        for j in range(k * D, (k + 1) * D):
            W[j] = max(before[j] - sums[j] * (sums[j] / mass[k] if mass[k] > 0 else sums[j]), 0.0)
            factor = grown(factor, before[j], W[j])
    return out, factor


def within_spherical(cnp.ndarray n, cnp.ndarray s, cnp.ndarray S):
    """Return S - |s|^2 / n, (K,), not below zero, and the largest factor by which it cancelled."""
    cdef Py_ssize_t K = s.shape[0], D = s.shape[1], k, j
    cdef cnp.ndarray out = new(1, K)
    cdef double *W = data(out, K)
    cdef double *mass = data(n, K)
    cdef double *sums = data(s, K * D)
    cdef double *before = data(S, K)
    cdef double factor = 1, between
    for k in range(K):
        between = 0
        for j in range(k * D, (k + 1) * D):
            between += sums[j] * (sums[j] / mass[k] if mass[k] > 0 else sums[j])
        W[k] = max(before[k] - between, 0.0)
        factor = grown(factor, before[k], W[k])
    return out, factor


def within_rotated(n, mean, S, shift):
    """Return S - sum_k n_k (mean_k - shift) (mean_k - shift)^T, (D, D), and how much its diagonal cancelled."""
    cdef Py_ssize_t K = mean.shape[0], D = mean.shape[1], k, i, j
    cdef cnp.ndarray out = new(2, D, D)
    cdef double *W = data(out, D * D)
    cdef double *mass = data(n, K)
    cdef double *mu = data(mean, K * D)
    cdef double *before = data(S, D * D)
    cdef double *origin = data(shift, D)
    cdef double factor = 1, pull
    for i in range(D * D):
        W[i] = before[i]
    for k in range(K):
        for i in range(D):
            pull = mass[k] * (mu[k * D + i] - origin[i])
            for j in range(i + 1):
                W[i * D + j] -= pull * (mu[k * D + j] - origin[j])
    for i in range(D):
        for j in range(i):
            W[j * D + i] = W[i * D + j]
        factor = grown(factor, before[i * D + i], W[i * D + i])
    return out, factor


def spread(means, shift, W):
    """Return the largest |W (mean_k - shift)|, W (D, D) lower-triangular."""
    cdef Py_ssize_t K = means.shape[0], D = means.shape[1], k, i, j
    cdef double *mu = data(means, K * D)
    cdef double *origin = data(shift, D)
    cdef double *factor = data(W, D * D)
    cdef double largest = 0, squares, sum
    for k in range(K):
        squares = 0
        for i in range(D):
            sum = 0
            for j in range(i + 1):
                sum += factor[i * D + j] * (mu[k * D + j] - origin[j])
            squares += sum * sum
        largest = max(largest, squares)
    return sqrt(largest)


def per_mass(cnp.ndarray within, cnp.ndarray mass, double reg_covar):
    """Return within_k / mass_k with reg_covar added: on the diagonal of matrices (K, D, D), everywhere in (K, D)."""
    cdef Py_ssize_t K = mass.shape[0], size = cnp.PyArray_SIZE(within) // K, k, i
    cdef Py_ssize_t step = cnp.PyArray_DIM(within, 1) + 1 if cnp.PyArray_NDIM(within) == 3 else 1
    cdef cnp.ndarray out = like(within)
    cdef double *W = data(within, K * size)
    cdef double *C = data(out, K * size)
    cdef double *total = data(mass, K)
    for k in range(K):
        for i in range(size):
            C[i] = W[i] / total[k]
        for i in range(0, size, step):
            C[i] += reg_covar
        C += size
        W += size
    return out


def inverse_roots(variances):
    """Return 1 / sqrt(variances), of shape (K, ...).

    Raises
    ------
    IllDefinedCovarianceError
        If one is not positive and finite; its `component` is the index of the first.
    """
    cdef cnp.ndarray A = np.ascontiguousarray(variances, dtype=np.float64)
    cdef Py_ssize_t K = A.shape[0], size = cnp.PyArray_SIZE(A) // K, i
    cdef cnp.ndarray out = like(A)
    cdef double *variance = data(A, K * size)
    cdef double *inverse = data(out, K * size)
    for i in range(K * size):
        if not 0 < variance[i] < INFINITY:
            raise IllDefinedCovarianceError(i // size)
        inverse[i] = 1 / sqrt(variance[i])
    return out


def log_diagonals(factors):
    """Return the sum of the logarithms of the diagonal of each matrix (K, D, D)."""
    cdef Py_ssize_t K = factors.shape[0], D = factors.shape[1], k, j
    cdef cnp.ndarray out = new(1, K)
    cdef double *total = data(out, K)
    cdef double *W = data(factors, K * D * D)
    for k in range(K):
        total[k] = 0
        for j in range(D):
            total[k] += log(W[(k * D + j) * D + j])
    return out


def log_rows(values):
    """Return the sum of the logarithms of each row of (K, D)."""
    cdef Py_ssize_t K = values.shape[0], D = values.shape[1], k, j
    cdef cnp.ndarray out = new(1, K)
    cdef double *total = data(out, K)
    cdef double *value = data(values, K * D)
    for k in range(K):
        total[k] = 0
        for j in range(D):
            total[k] += log(value[k * D + j])
    return out


def log_norms(weights, log_det, Py_ssize_t D):
    """Return log weights_k + log_det_k - D / 2 log 2 pi; -inf for a weight of zero."""
    cdef Py_ssize_t K = weights.shape[0], k
    cdef cnp.ndarray out = new(1, K)
    cdef double *log_norm = data(out, K)
    cdef double *weight = data(weights, K)
    cdef double *det = data(log_det, K)
    for k in range(K):
        log_norm[k] = (log(weight[k]) + det[k] if weight[k] > 0 else -INFINITY) - 0.5 * D * LOG_2PI
    return out
