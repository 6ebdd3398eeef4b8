"""Small dense algebra on K matrices of D x D, compiled: no LAPACK call per component, no BLAS threads beside ours."""

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError

from fastgmm.engine._core cimport active_leaves, triangle


def inverse_cholesky(covariances):
    """Return the upper-triangular U_k with U_k U_k^T = inverse of covariance k.

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
    cdef const double[:, :, ::1] A = np.ascontiguousarray(covariances, dtype=np.float64)
    cdef Py_ssize_t K = A.shape[0], D = A.shape[1], k
    out = np.empty((K, D, D))
    cdef double[:, :, ::1] V = out
    cdef double[:, ::1] work = np.empty((D, D))
    for k in range(K):
        if active_leaves(False).cholesky_inverse(D, &A[k, 0, 0], &work[0, 0], &V[k, 0, 0]):
            raise IllDefinedCovarianceError(k)
    return out


def unpack_triangles(const double[::1] packed, Py_ssize_t K, Py_ssize_t D):
    """Split K packed triangles of [1, x] [1, x]^T sums into n (K,), s (K, D) and symmetric S (K, D, D)."""
    n, s, S = np.empty(K), np.empty((K, D)), np.empty((K, D, D))
    cdef double[::1] n_view = n
    cdef double[:, ::1] s_view = s
    cdef double[:, :, ::1] S_view = S
    cdef Py_ssize_t k, i, j, at = 0
    for k in range(K):
        n_view[k] = packed[at]
        at += 1
        for i in range(D):
            s_view[k, i] = packed[at]
            at += 1
            for j in range(i + 1):
                S_view[k, i, j] = S_view[k, j, i] = packed[at]
                at += 1
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
