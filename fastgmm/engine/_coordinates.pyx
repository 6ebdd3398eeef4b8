"""Algebra of coordinates and steps (fitting/coordinates.py), compiled: no BLAS, whose threads spin beside our own.

A pass over a few hundred rows takes less time than NumPy takes for the few sums between two of them. And beyond some
ten thousand numbers NumPy's products wake the threads of its BLAS, which go on spinning for tens of milliseconds, and
so take the processors from the passes that follow.
"""

from libc.math cimport exp, log, sqrt

import numpy as np

cimport numpy as cnp

from fastgmm.engine._core cimport float64_values
from fastgmm.engine._linalg cimport data, new

cnp.import_array()

cdef double ROOT2 = 1.4142135623730950488


def log_cholesky(factors, scale):
    """Return upper-triangular U_k (K, D, D), of any strides, with rows times scale (D,), the diagonal as logarithms."""
    cdef cnp.ndarray U = np.ascontiguousarray(factors, dtype=np.float64)
    cdef Py_ssize_t K = U.shape[0], D = U.shape[1], i, j
    cdef cnp.ndarray out = new(3, K, D, D)
    cdef double *u = data(U, K * D * D)
    cdef double *x = data(out, K * D * D)
    cdef double *unit = data(scale, D)
    for _ in range(K):
        for i in range(D):
            for j in range(D):
                x[i * D + j] = u[i * D + j] * unit[i]
            x[i * D + i] = log(x[i * D + i])
        u, x = u + D * D, x + D * D
    return out


def from_log_cholesky(coordinates, scale):
    """Return covariances and factors of which `log_cholesky` gives coordinates.

    Row by row, C = U^-T follows from U^T C = 1 by forward substitution, and Sigma = C C^T.
    """
    cdef cnp.ndarray X = np.ascontiguousarray(coordinates, dtype=np.float64)
    cdef Py_ssize_t K = X.shape[0], D = X.shape[1], i, j, m
    cdef cnp.ndarray covariances = new(3, K, D, D), factors = new(3, K, D, D), work = new(2, D, D)
    cdef double *x = data(X, K * D * D)
    cdef double *S = data(covariances, K * D * D)
    cdef double *u = data(factors, K * D * D)
    cdef double *C = data(work, D * D)
    cdef double *unit = data(scale, D)
    cdef double sum
    for _ in range(K):
        for i in range(D):
            for j in range(D):
                u[i * D + j] = x[i * D + j]
            u[i * D + i] = exp(x[i * D + i])
            for j in range(i):
                sum = 0
                for m in range(j, i):
                    sum -= u[m * D + i] * C[m * D + j]
                C[i * D + j] = sum / u[i * D + i]
            C[i * D + i] = 1 / u[i * D + i]
        for i in range(D):
            for j in range(i + 1):
                sum = 0
                for m in range(j + 1):
                    sum += C[i * D + m] * C[j * D + m]
                S[i * D + j] = S[j * D + i] = sum * unit[i] * unit[j]
            for j in range(D):
                u[i * D + j] /= unit[i]
        x, S, u = x + D * D, S + D * D, u + D * D
    return covariances, factors


def scaled_step(means, means_after, factors, factors_after):
    """Return the step from some means and upper-triangular factors U to others, in units of the first.

    Parameters
    ----------
    means, means_after : (K, D) arrays
    factors, factors_after : (K, D, D) arrays, or (D, D) where components share one

    Returns
    -------
    (K, D) array
        U_k^T (means_after - means).
    array of the shape of `factors`
        V_k^T U_k^-T, lower-triangular, with sqrt(2) log of it in place of its diagonal.
    """
    cdef cnp.ndarray mu = np.ascontiguousarray(means, dtype=np.float64)
    cdef cnp.ndarray nu = np.ascontiguousarray(means_after, dtype=np.float64)
    cdef cnp.ndarray W = np.ascontiguousarray(np.asarray(factors, dtype=np.float64).swapaxes(-1, -2))
    cdef cnp.ndarray V = np.ascontiguousarray(np.asarray(factors_after, dtype=np.float64).swapaxes(-1, -2))
    cdef Py_ssize_t K = mu.shape[0], D = mu.shape[1], size = cnp.PyArray_SIZE(W), k, i, j, m
    cdef Py_ssize_t stride = D * D if size == K * D * D else 0
    cdef cnp.ndarray steps = new(2, K, D), out = np.empty_like(W)
    cdef double *from_ = data(mu, K * D)
    cdef double *to = data(nu, K * D)
    cdef double *w = data(W, size)
    cdef double *v = data(V, size)
    cdef double *y = data(steps, K * D)
    cdef double *x = data(out, size)
    cdef double sum
    for k in range(K):
        for i in range(D):
            sum = 0
            for j in range(i + 1):
                sum += w[k * stride + i * D + j] * (to[k * D + j] - from_[k * D + j])
            y[k * D + i] = sum
    for _ in range(size // (D * D)):
        for i in range(D):
            for j in range(i + 1, D):
                x[i * D + j] = 0
            for j in range(i, -1, -1):
                sum = v[i * D + j]
                for m in range(j + 1, i + 1):
                    sum -= x[i * D + m] * w[m * D + j]
                x[i * D + j] = sum / w[j * D + j]
        for i in range(D):
            x[i * D + i] = ROOT2 * log(x[i * D + i])
        w, v, x = w + D * D, v + D * D, x + D * D
    return steps, out


# ------------------------------------------------------------------------------- vectors of coordinates and of steps

cdef cnp.ndarray plain(values):
    """An array as a C-contiguous one of float64: itself if it is one."""
    return np.ascontiguousarray(values, dtype=np.float64)


cdef double dot(Py_ssize_t n, const double *a, const double *b) noexcept nogil:
    """The sum of products, in four partial sums that do not wait for each other."""
    cdef double s0 = 0, s1 = 0, s2 = 0, s3 = 0
    cdef Py_ssize_t i
    for i in range(0, n - 3, 4):
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
    for i in range(n - n % 4, n):
        s0 += a[i] * b[i]
    return (s0 + s1) + (s2 + s3)


cdef void add(Py_ssize_t n, double factor, const double *a, double *to) noexcept nogil:
    """to (n,) += factor * a (n,)."""
    cdef Py_ssize_t i
    for i in range(n):
        to[i] += factor * a[i]


cdef void copy(Py_ssize_t n, double factor, const double *a, double *to) noexcept nogil:
    """to (n,) = factor * a (n,)."""
    cdef Py_ssize_t i
    for i in range(n):
        to[i] = factor * a[i]


def inner(cnp.ndarray a, cnp.ndarray b):
    """Return the inner product of two vectors (n,) as a float."""
    cdef Py_ssize_t n = cnp.PyArray_SIZE(a)
    return dot(n, data(a, n), data(b, n))


def join(weights, means, centre, scale, covariances):
    """Return log weights (K,), (means (K, D) - centre) / scale, and coordinates of covariances as one vector."""
    cdef cnp.ndarray w = plain(weights), m = plain(means), c = plain(covariances)
    cdef Py_ssize_t K = cnp.PyArray_SIZE(w), D = cnp.PyArray_SIZE(m) // K, size = cnp.PyArray_SIZE(c), k, j
    cdef cnp.ndarray out = new(1, K + K * D + size)
    cdef const double *weight = data(w, K)
    cdef const double *mean = data(m, K * D)
    cdef const double *origin = data(centre, D)
    cdef const double *unit = data(scale, D)
    cdef double *x = float64_values(out)
    for k in range(K):
        x[k] = log(weight[k])
        for j in range(D):
            x[K + k * D + j] = (mean[k * D + j] - origin[j]) / unit[j]
    copy(size, 1, float64_values(c), x + K + K * D)
    return out


def part(coordinates, Py_ssize_t K, centre, scale):
    """Return (weights (K,), means (K, D)) of what `join` returns; weights have the sum one."""
    cdef Py_ssize_t D = cnp.PyArray_SIZE(centre), k, j
    cdef cnp.ndarray x = coordinates, weights = new(1, K), means = new(2, K, D)
    cdef const double *at = float64_values(x)
    cdef const double *origin = data(centre, D)
    cdef const double *unit = data(scale, D)
    cdef double *weight = float64_values(weights)
    cdef double *mean = float64_values(means)
    cdef double most, total = 0
    if cnp.PyArray_SIZE(x) < K + K * D:
        raise ValueError(f"expected at least {K + K * D} coordinates, got {cnp.PyArray_SIZE(x)}")
    most = at[0]
    for k in range(1, K):
        most = max(most, at[k])
    for k in range(K):
        weight[k] = exp(at[k] - most)
        total += weight[k]
        for j in range(D):
            mean[k * D + j] = origin[j] + unit[j] * at[K + k * D + j]
    for k in range(K):
        weight[k] /= total
    return weights, means


def weighted_step(before, after, means, covariances, bint shared):
    """Return the step between weights (K,), of means (K, D) and of covariances as one vector in its own length.

    Its parts count by the weights before it: those of covariances too, unless they share one. A component without
    mass has no part in the step of weights.
    """
    cdef cnp.ndarray w = plain(before), v = plain(after), m = plain(means), c = plain(covariances)
    cdef Py_ssize_t K = cnp.PyArray_SIZE(w), D = cnp.PyArray_SIZE(m) // K, size = cnp.PyArray_SIZE(c), k
    cdef Py_ssize_t each = size if shared else size // K
    cdef cnp.ndarray out = new(1, K + K * D + size)
    cdef const double *weight = data(w, K)
    cdef const double *next = data(v, K)
    cdef const double *mean = data(m, K * D)
    cdef const double *covariance = data(c, each if shared else K * each)
    cdef double *x = float64_values(out)
    cdef double root
    for k in range(K):
        root = sqrt(weight[k])
        x[k] = (next[k] - weight[k]) / root if weight[k] != 0 else 0
        copy(D, root, mean + k * D, x + K + k * D)
        if not shared:
            copy(each, root, covariance + k * each, x + K + K * D + k * each)
    if shared:
        copy(each, 1, covariance, x + K + K * D)
    return out


def quasi_newton(tuple pairs, f, em, double most_scale):
    """Return the quasi-Newton direction, in coordinates (n,) and as a step (m,) of known length: Nocedal's recursion.

    Parameters
    ----------
    pairs : tuple of (s (n,), y (n,), s (m,), y (m,))
        The oldest first: steps, and what EM's step shrank by along each, in coordinates and as steps of known length.
    f, em : (n,), (m,) arrays
        EM's step from the point where the direction is sought.
    most_scale : float
        Largest multiple of what no pair knows.
    """
    cdef cnp.ndarray first = plain(f).copy(), second = plain(em).copy()
    cdef Py_ssize_t n = cnp.PyArray_SIZE(first), m = cnp.PyArray_SIZE(second), count = len(pairs), i
    cdef cnp.ndarray s, y, s_length, y_length, factors = new(1, count), curvatures = new(1, count)
    cdef double *ahead = float64_values(first)
    cdef double *length = float64_values(second)
    cdef double *factor = float64_values(factors)
    cdef double *curvature = float64_values(curvatures)  # s'y
    cdef double scale, rest
    for i in range(count - 1, -1, -1):
        _, y, s_length, y_length = pairs[i]
        curvature[i] = dot(m, data(s_length, m), data(y_length, m))
        factor[i] = dot(m, data(s_length, m), length) / curvature[i]
        add(n, -factor[i], data(y, n), ahead)
        add(m, -factor[i], data(y_length, m), length)
    y_length = pairs[count - 1][3]
    scale = min(curvature[count - 1] / dot(m, data(y_length, m), data(y_length, m)), most_scale)
    copy(n, scale, ahead, ahead)
    copy(m, scale, length, length)
    for i in range(count):
        s, _, s_length, y_length = pairs[i]
        rest = factor[i] - dot(m, data(y_length, m), length) / curvature[i]
        add(n, rest, data(s, n), ahead)
        add(m, rest, data(s_length, m), length)
    return first, second
