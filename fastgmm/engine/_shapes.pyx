"""Shapes that K covariances share, where an M-step has no closed form. The search runs without the GIL.

It minimises sum_k n_k (log|Sigma_k| + tr(Sigma_k^-1 S_k)), n = sum_k n_k, and never raises it, for Sigma_k = lambda_k B
with B diagonal (`equal_shapes`) and Sigma_k = lambda_k C (`equal_matrices`).

Given the lambda_k, C = sum_k n_k S_k / (n lambda_k). With u_k = log lambda_k and M_k = n_k C^-1/2 S_k C^-1/2 /
(n lambda_k), whose sum over k is the identity, what is left to minimise is convex (for C: along geodesics), with

    gradient  D n_k - n tr M_k,    Hessian  n (tr M_k [k = l] - tr M_k M_l).

Newton's steps are taken where they do not raise it, else that of Celeux and Govaert (1995), which is coordinate
descent: u_k + log(n tr M_k / (D n_k)). They end when every lambda_k is, to a relative `TOLERANCE`, the one that C asks
for.
"""

from libc.math cimport NAN, exp, fabs, isfinite, log, sqrt

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError

from fastgmm.engine._core cimport active_leaves

cdef double TOLERANCE = 1e-13
cdef int MAX_ROUNDS = 1000


cdef bint solve_pinned(Py_ssize_t K, Py_ssize_t pin, double *H, double *g) noexcept nogil:
    """Solve H x = g in place with x[pin] = 0, H (K, K) symmetric; return whether H is positive definite without it."""
    cdef Py_ssize_t i, j, k
    cdef double pivot, smallest = 0
    for i in range(K):
        if i == pin:
            continue
        for j in range(i + 1):
            if j == pin:
                continue
            pivot = H[i * K + j]
            for k in range(j):
                if k != pin:
                    pivot -= H[i * K + k] * H[j * K + k]
            if i > j:
                H[i * K + j] = pivot / H[j * K + j]
            else:
                smallest = 1e-15 * H[i * K + i]
                if not pivot > smallest:
                    return False
                H[i * K + i] = sqrt(pivot)
    g[pin] = 0
    for i in range(K):
        if i == pin:
            continue
        for k in range(i):
            if k != pin:
                g[i] -= H[i * K + k] * g[k]
        g[i] /= H[i * K + i]
    for i in range(K - 1, -1, -1):
        if i == pin:
            continue
        for k in range(i + 1, K):
            if k != pin:
                g[i] -= H[k * K + i] * g[k]
        g[i] /= H[i * K + i]
    return True


cdef class Scales:
    """The search for u_k = log lambda_k, (K,): `value`, `rows` n tr M_k and `H` at the last point are of a subclass."""

    cdef Py_ssize_t K, D
    cdef double[::1] mass, u, rows
    cdef double[:, ::1] H
    cdef double n, value

    def __init__(self, Py_ssize_t K, Py_ssize_t D, mass, start):
        self.K, self.D = K, D
        self.mass = np.ascontiguousarray(mass, dtype=np.float64)
        self.u = np.log(start)
        self.rows, self.H = np.empty(K), np.empty((K, K))
        self.n = np.sum(mass)

    cdef void evaluate(self, double *u) noexcept nogil:
        """Set `value`, `rows` and `H` for some u."""

    cdef double off(self) noexcept nogil:
        """The largest relative distance of a lambda_k from the one that C asks for."""
        cdef double largest = 0, distance
        cdef Py_ssize_t k
        for k in range(self.K):
            distance = fabs(self.rows[k] / (self.D * self.mass[k]) - 1)
            if not isfinite(distance):
                return NAN
            largest = max(largest, distance)
        return largest

    def search(self):
        """Take steps until they end; `u` and what `evaluate` sets are of one point then."""
        cdef double[::1] newton = np.empty(self.K), descent = np.empty(self.K)
        with nogil:
            self.steps(&newton[0], &descent[0])

    cdef void steps(self, double *newton, double *descent) noexcept nogil:
        """Do what `search` does, with two arrays (K,) to work in."""
        cdef Py_ssize_t K = self.K, k, pin = 0
        cdef double before, off
        cdef int _round
        cdef bint stepped
        for k in range(1, K):
            if self.mass[k] > self.mass[pin]:
                pin = k
        self.evaluate(&self.u[0])
        for _round in range(MAX_ROUNDS):
            off, before = self.off(), self.value
            if off <= TOLERANCE or not isfinite(off) or not isfinite(before):
                return
            for k in range(K):
                newton[k] = self.rows[k] - self.D * self.mass[k]
                descent[k] = self.u[k] + log(self.rows[k] / (self.D * self.mass[k]))
            stepped = False
            if solve_pinned(K, pin, &self.H[0, 0], newton):
                for k in range(K):
                    newton[k] += self.u[k]
                self.evaluate(newton)
                # at the end rounding hides what a step gains: there, that it comes nearer is enough
                stepped = self.value < before or (self.value <= before + 1e-15 * fabs(before) and self.off() < off)
            if stepped:
                for k in range(K):
                    self.u[k] = newton[k]
                continue
            self.evaluate(descent)
            if self.off() >= off and not self.value < before:
                self.evaluate(&self.u[0])
                return
            for k in range(K):
                self.u[k] = descent[k]


cdef class DiagonalScales(Scales):
    """Those of Sigma_k = lambda_k B with sample variances S (K, D)."""

    cdef double[:, ::1] S, M
    cdef double[::1] B

    cdef void evaluate(self, double *u) noexcept nogil:
        cdef Py_ssize_t K = self.K, D = self.D, k, m, j
        cdef double sum, share
        self.value = 0
        for j in range(D):
            sum = 0
            for k in range(K):
                self.M[k, j] = self.mass[k] / self.n * self.S[k, j] * exp(-u[k])
                sum += self.M[k, j]
            self.B[j] = sum
            self.value += self.n * log(sum)
            for k in range(K):
                self.M[k, j] /= sum
        for k in range(K):
            self.value += self.D * self.mass[k] * u[k]
            sum = 0
            for j in range(D):
                sum += self.M[k, j]
            self.rows[k] = self.n * sum
            for m in range(k + 1):
                share = 0
                for j in range(D):
                    share += self.M[k, j] * self.M[m, j]
                self.H[k, m] = self.n * ((sum if k == m else 0) - share)


cdef class MatrixScales(Scales):
    """Those of Sigma_k = lambda_k C with sample covariances S (K, D, D)."""

    cdef double[:, :, ::1] S, M
    cdef double[:, ::1] C, W, scratch

    cdef void evaluate(self, double *u) noexcept nogil:
        cdef Py_ssize_t K = self.K, D = self.D, k, other, i, j, m
        cdef double weight, sum, share
        for i in range(D):
            for j in range(D):
                self.C[i, j] = 0
        for k in range(K):
            weight = self.mass[k] / self.n * exp(-u[k])
            for i in range(D):
                for j in range(D):
                    self.C[i, j] += weight * self.S[k, i, j]
        if active_leaves(False).cholesky_inverse(D, &self.C[0, 0], &self.scratch[0, 0], &self.W[0, 0]):
            self.value = NAN
            return
        self.value = 0
        for i in range(D):
            self.value -= 2 * self.n * log(self.W[i, i])
        for k in range(K):
            self.value += D * self.mass[k] * u[k]
            weight = self.mass[k] / self.n * exp(-u[k])
            for i in range(D):  # scratch = W S_k, then M_k = scratch W^T
                for j in range(D):
                    sum = 0
                    for m in range(i + 1):
                        sum += self.W[i, m] * self.S[k, m, j]
                    self.scratch[i, j] = weight * sum
            share = 0
            for i in range(D):
                for j in range(i + 1):
                    sum = 0
                    for m in range(j + 1):
                        sum += self.scratch[i, m] * self.W[j, m]
                    self.M[k, i, j] = sum
                share += self.M[k, i, i]
            self.rows[k] = self.n * share
        for k in range(K):
            for other in range(k + 1):
                sum = 0
                for i in range(D):
                    for j in range(i):
                        sum += 2 * self.M[k, i, j] * self.M[other, i, j]
                    sum += self.M[k, i, i] * self.M[other, i, i]
                self.H[k, other] = (self.rows[k] if k == other else 0) - self.n * sum


def equal_shapes(variances, mass, start):
    """Return lambda_k (K,) and B (D,) such that the lambda_k B_j minimise the objective.

    Parameters
    ----------
    variances : (K, D) array
        Sample variances S_kj.
    mass : (K,) array
    start : (K,) array
        Where to begin, up to a common factor.

    Returns
    -------
    scales, shape : arrays
        Not finite where there is no minimum.
    """
    K, D = variances.shape
    cdef DiagonalScales search = DiagonalScales(K, D, mass, start)
    search.S = np.ascontiguousarray(variances, dtype=np.float64)
    search.M, search.B = np.empty((K, D)), np.empty(D)
    search.search()
    return np.exp(search.u), np.asarray(search.B)


def equal_matrices(covariances, mass, start):
    """Return lambda_k (K,) and C (D, D) such that the lambda_k C minimise the objective; as `equal_shapes`.

    Raises
    ------
    IllDefinedCovarianceError
        If C is not positive definite.
    """
    K, D = covariances.shape[:2]
    cdef MatrixScales search = MatrixScales(K, D, mass, start)
    search.S = np.ascontiguousarray(covariances, dtype=np.float64)
    search.M, search.C, search.W, search.scratch = (
        np.empty(shape) for shape in ((K, D, D), (D, D), (D, D), (D, D))
    )
    search.search()
    if not isfinite(search.value):
        raise IllDefinedCovarianceError
    return np.exp(search.u), np.asarray(search.C)
