"""Eigenvalues, solutions and rotations of single small matrices, where a call of LAPACK's takes longer than they do."""

from libc.math cimport fabs, isfinite, sqrt
from libc.string cimport memcpy

import numpy as np

cimport numpy as cnp

from fastgmm.engine._linalg cimport data, new

cnp.import_array()

cdef enum:
    SMALL = 16  # rows of a matrix up to which the work is done here
    SMALL_SQUARE = 256

cdef int MAX_SWEEPS = 30
cdef double PARALLEL = 1e-16  # cosine of two axes, in the metric of the matrix, that rounding does not tell from zero


cdef int eigh(Py_ssize_t D, const double *A, double *values, double *vectors) except -1:
    """Eigenvalues (D), rising, and eigenvectors (D, D), as columns, of symmetric A (D, D).

    Of small matrices by Jacobi's rotations, which give small eigenvalues of positive definite ones as many digits as
    the matrix determines (Demmel and Veselic 1992, SIAM J. Matrix Anal. Appl. 13:1204).
    """
    if D <= SMALL:
        jacobi(D, A, values, vectors)
        return 0
    found = np.linalg.eigh(array_of(2, D, A))
    axes = np.ascontiguousarray(found[1])
    memcpy(values, data(found[0], D), D * sizeof(double))
    memcpy(vectors, data(axes, D * D), D * D * sizeof(double))
    return 0


cdef cnp.ndarray array_of(int ndim, Py_ssize_t n, const double *value):
    """A copy of n numbers, or n x n, as an array for NumPy."""
    cdef cnp.ndarray array = new(ndim, n, n)
    cdef Py_ssize_t size = n if ndim == 1 else n * n
    memcpy(data(array, size), value, size * sizeof(double))
    return array


cdef void jacobi(Py_ssize_t D, const double *A, double *values, double *vectors) noexcept nogil:
    """What `eigh` says, of up to SMALL rows: pairs of axes in turn, until a round leaves all as they are."""
    cdef double T[SMALL_SQUARE]
    cdef Py_ssize_t i, j, m, least
    cdef double a, c, s, t, x, y
    cdef bint turned = True
    cdef int _sweep
    memcpy(T, A, D * D * sizeof(double))
    for i in range(D):
        for j in range(D):
            vectors[i * D + j] = 1.0 if i == j else 0.0
    for _sweep in range(MAX_SWEEPS):
        if not turned:
            break
        turned = False
        for i in range(1, D):
            for j in range(i):
                a, x, y = T[i * D + j], T[i * D + i], T[j * D + j]
                if fabs(a) <= PARALLEL * sqrt(fabs(x)) * sqrt(fabs(y)):
                    continue
                turned = True
                t = (y - x) / (2 * a)
                t = (1.0 if t >= 0 else -1.0) / (fabs(t) + sqrt(t * t + 1))
                c = 1 / sqrt(t * t + 1)
                s = t * c
                T[i * D + i], T[j * D + j] = x - t * a, y + t * a
                T[i * D + j] = T[j * D + i] = 0
                for m in range(D):
                    if m != i and m != j:
                        x, y = T[i * D + m], T[j * D + m]
                        T[i * D + m] = T[m * D + i] = c * x - s * y
                        T[j * D + m] = T[m * D + j] = s * x + c * y
                    x, y = vectors[m * D + i], vectors[m * D + j]
                    vectors[m * D + i], vectors[m * D + j] = c * x - s * y, s * x + c * y
    for i in range(D):
        values[i] = T[i * D + i]
    for i in range(D - 1):
        least = i
        for j in range(i + 1, D):
            if values[j] < values[least]:
                least = j
        if least != i:
            values[i], values[least] = values[least], values[i]
            for m in range(D):
                j = m * D
                vectors[j + i], vectors[j + least] = vectors[j + least], vectors[j + i]


cdef bint solve_positive(Py_ssize_t n, Py_ssize_t pin, double *H, double *g) noexcept nogil:
    """Solve H x = g in place, H (n, n) symmetric; return whether it is positive definite.

    With `pin` from 0 on, x[pin] is zero and H taken without that row and column.
    """
    cdef Py_ssize_t i, j, k
    cdef double pivot
    for i in range(n):
        if i == pin:
            continue
        for j in range(i + 1):
            if j == pin:
                continue
            pivot = H[i * n + j]
            for k in range(j):
                if k != pin:
                    pivot -= H[i * n + k] * H[j * n + k]
            if i > j:
                H[i * n + j] = pivot / H[j * n + j]
            else:
                if not pivot > 1e-15 * H[i * n + i]:
                    return False
                H[i * n + i] = sqrt(pivot)
    if pin >= 0:
        g[pin] = 0
    for i in range(n):
        if i == pin:
            continue
        for k in range(i):
            if k != pin:
                g[i] -= H[i * n + k] * g[k]
        g[i] /= H[i * n + i]
    for i in range(n - 1, -1, -1):
        if i == pin:
            continue
        for k in range(i + 1, n):
            if k != pin:
                g[i] -= H[k * n + i] * g[k]
        g[i] /= H[i * n + i]
    return True


cdef Py_ssize_t newton_work(Py_ssize_t n) noexcept nogil:
    """Numbers that `newton_step` works in."""
    return n * n + 2 * n


cdef bint newton_step(Py_ssize_t n, const double *H, const double *g, double *work, double *x) except -1:
    """x = -H^-1 g; return whether there is one: all of H has to be finite.

    Directions in which what is minimised bends down are taken as if it bent up by as much.
    """
    cdef double *vectors = work
    cdef double *values = work + n * n
    cdef double *along = values + n
    cdef double largest = 0, least
    cdef Py_ssize_t i, j
    for i in range(n * n):
        if not isfinite(H[i]):
            return False
    if n <= SMALL:
        memcpy(vectors, H, n * n * sizeof(double))
        for i in range(n):
            x[i] = -g[i]
        if solve_positive(n, -1, vectors, x):
            return True
    else:
        try:
            bend = array_of(2, n, H)
            np.linalg.cholesky(bend)
            solved = np.linalg.solve(bend, array_of(1, n, g))
            for i in range(n):
                x[i] = -data(solved, n)[i]
            return True
        except np.linalg.LinAlgError:
            pass
    eigh(n, H, values, vectors)
    for j in range(n):
        largest = max(largest, fabs(values[j]))
        along[j] = x[j] = 0
    for i in range(n):
        for j in range(n):
            along[j] += vectors[i * n + j] * g[i]
    least = 1e-12 * largest
    for i in range(n):
        for j in range(n):
            x[i] -= vectors[i * n + j] * along[j] / max(fabs(values[j]), least)
    return True


cdef void cayley(Py_ssize_t D, const double *X, double *work, double *R) noexcept nogil:
    """R = (I - X / 2)^-1 (I + X / 2), orthogonal, of skew-symmetric X (D, D); work (D, D).

    The symmetric part of what is inverted is the identity, so that elimination needs no pivots.
    """
    cdef Py_ssize_t i, j, k
    cdef double factor
    for i in range(D * D):
        work[i], R[i] = -0.5 * X[i], 0.5 * X[i]
    for i in range(D):
        work[i * D + i] = R[i * D + i] = 1
    for k in range(D):
        for i in range(k + 1, D):
            factor = work[i * D + k] / work[k * D + k]
            for j in range(k + 1, D):
                work[i * D + j] -= factor * work[k * D + j]
            for j in range(D):
                R[i * D + j] -= factor * R[k * D + j]
    for k in range(D - 1, -1, -1):
        for i in range(k + 1, D):
            for j in range(D):
                R[k * D + j] -= work[k * D + i] * R[i * D + j]
        for j in range(D):
            R[k * D + j] /= work[k * D + k]
