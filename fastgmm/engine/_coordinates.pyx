"""Algebra of coordinates and steps (fitting/coordinates.py), compiled: no BLAS, whose threads spin beside our own.

Beyond some ten thousand numbers NumPy's products wake the threads of its BLAS, which go on spinning for tens of
milliseconds, and so take the processors from the passes that follow.
"""

from libc.math cimport exp, log

import numpy as np

cimport numpy as cnp

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


def ratios(before, after):
    """Return V_k W_k^-1 of lower-triangular W (K, D, D) and V, with sqrt(2) log of it in place of its diagonal."""
    cdef cnp.ndarray W = before, V = after
    cdef Py_ssize_t K = W.shape[0], D = W.shape[1], i, j, m
    cdef cnp.ndarray out = new(3, K, D, D)
    cdef double *w = data(W, K * D * D)
    cdef double *v = data(V, K * D * D)
    cdef double *x = data(out, K * D * D)
    cdef double sum
    for _ in range(K):
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
    return out


def images(cnp.ndarray W, cnp.ndarray X):
    """Return W_k x_k (K, D) of matrices (K, D, D), or one (1, D, D) for all, and vectors (K, D)."""
    cdef Py_ssize_t K = X.shape[0], D = X.shape[1], step = D * D if W.shape[0] > 1 else 0, k, i, j
    cdef cnp.ndarray out = new(2, K, D)
    cdef double *w = data(W, D * D * W.shape[0])
    cdef double *x = data(X, K * D)
    cdef double *y = data(out, K * D)
    cdef double sum
    if step and W.shape[0] != K:
        raise ValueError(f"expected {K} matrices or one, got {W.shape[0]}")
    for k in range(K):
        for i in range(D):
            sum = 0
            for j in range(D):
                sum += w[k * step + i * D + j] * x[k * D + j]
            y[k * D + i] = sum
    return out


def inner(cnp.ndarray a, cnp.ndarray b):
    """Return the inner product of two vectors (n,) as a float: four sums, added up in pairs."""
    cdef Py_ssize_t n = cnp.PyArray_SIZE(a), i = 0
    cdef double *x = data(a, n)
    cdef double *y = data(b, n)
    cdef double s0 = 0, s1 = 0, s2 = 0, s3 = 0
    while i + 4 <= n:
        s0 += x[i] * y[i]
        s1 += x[i + 1] * y[i + 1]
        s2 += x[i + 2] * y[i + 2]
        s3 += x[i + 3] * y[i + 3]
        i += 4
    while i < n:
        s0 += x[i] * y[i]
        i += 1
    return (s0 + s1) + (s2 + s3)
