"""Shapes that K covariances share, where an M-step has no closed form. The search runs without the GIL.

It minimises sum_k n_k (log|Sigma_k| + tr(Sigma_k^-1 S_k)), n = sum_k n_k, and never raises it, for Sigma_k = lambda_k B
with B diagonal (`DiagonalScales`) and Sigma_k = lambda_k C (`MatrixScales`).

Given the lambda_k, C = sum_k n_k S_k / (n lambda_k). With u_k = log lambda_k and M_k = n_k C^-1/2 S_k C^-1/2 /
(n lambda_k), whose sum over k is the identity, what is left to minimise is convex (for C: along geodesics), with

    gradient  D n_k - n tr M_k,    Hessian  n (tr M_k [k = l] - tr M_k M_l).

Newton's steps are taken where they do not raise it, else that of Celeux and Govaert (1995), which is coordinate
descent: u_k + log(n tr M_k / (D n_k)). They end when every lambda_k is, to a relative `TOLERANCE`, the one that C asks
for.
"""

from libc.math cimport NAN, exp, fabs, isfinite, log

import numpy as np

from fastgmm.engine._core cimport active_leaves, float64_values
from fastgmm.engine._dense cimport solve_positive

cdef double TOLERANCE = 1e-13
cdef int MAX_ROUNDS = 1000


cdef class Scales:
    """The search for u_k = log lambda_k: `value`, `rows`, `H` and `shape` at the last point are of a subclass."""

    def __cinit__(self, Py_ssize_t K, Py_ssize_t D):
        cdef Py_ssize_t size = D * D if isinstance(self, MatrixScales) else D
        cdef double *at
        self.K, self.D = K, D
        self.room = np.empty(4 * K + K * K + K * size + 3 * size)
        self.u = at = float64_values(self.room)
        self.rows = at = at + K
        self.newton = at = at + K
        self.descent = at = at + K
        self.H = at = at + K
        self.M = at = at + K * K
        self.shape = at = at + K * size
        self.W = at = at + size
        self.scratch = at + size

    cdef void search(self, const double *S, const double *mass, const double *start) noexcept nogil:
        """Search from lambda_k that are expected, but for a common factor; `u` and `shape` are of one point then.

        They are not finite where there is no minimum.
        """
        cdef Py_ssize_t k
        cdef double mean = 0
        self.S, self.mass, self.n = S, mass, 0
        for k in range(self.K):
            self.n += mass[k]
            mean += start[k] / self.K
        for k in range(self.K):
            self.u[k] = log(start[k] / mean)
        self.steps()

    cdef void evaluate(self, const double *u) noexcept nogil:
        """Set `value`, `rows`, `H` and `shape` for some u."""

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

    cdef void steps(self) noexcept nogil:
        """Take steps until they end."""
        cdef Py_ssize_t K = self.K, k, pin = 0
        cdef double *newton = self.newton
        cdef double *descent = self.descent
        cdef double before, off
        cdef int _round
        cdef bint stepped
        for k in range(1, K):
            if self.mass[k] > self.mass[pin]:
                pin = k
        self.evaluate(self.u)
        for _round in range(MAX_ROUNDS):
            off, before = self.off(), self.value
            if off <= TOLERANCE or not isfinite(off) or not isfinite(before):
                return
            for k in range(K):
                newton[k] = self.rows[k] - self.D * self.mass[k]
                descent[k] = self.u[k] + log(self.rows[k] / (self.D * self.mass[k]))
            stepped = False
            if solve_positive(K, pin, self.H, newton):
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
                self.evaluate(self.u)
                return
            for k in range(K):
                self.u[k] = descent[k]


cdef class DiagonalScales(Scales):
    """Those of Sigma_k = lambda_k B with sample variances S (K, D)."""

    cdef void evaluate(self, const double *u) noexcept nogil:
        cdef Py_ssize_t K = self.K, D = self.D, k, m, j
        cdef double sum, share, scale
        self.value = 0
        for j in range(D):
            self.shape[j] = 0
        for k in range(K):
            scale = self.mass[k] / self.n * exp(-u[k])
            for j in range(D):
                self.M[k * D + j] = scale * self.S[k * D + j]
                self.shape[j] += self.M[k * D + j]
        for j in range(D):
            self.value += self.n * log(self.shape[j])
        for k in range(K):
            self.value += D * self.mass[k] * u[k]
            sum = 0
            for j in range(D):
                self.M[k * D + j] /= self.shape[j]
                sum += self.M[k * D + j]
            self.rows[k] = self.n * sum
            for m in range(k + 1):
                share = 0
                for j in range(D):
                    share += self.M[k * D + j] * self.M[m * D + j]
                self.H[k * K + m] = self.n * ((sum if k == m else 0) - share)


cdef class MatrixScales(Scales):
    """Those of Sigma_k = lambda_k C with sample covariances S (K, D, D)."""

    cdef void evaluate(self, const double *u) noexcept nogil:
        cdef Py_ssize_t K = self.K, D = self.D, k, other, i, j, m
        cdef double weight, sum, share
        cdef const double *S
        cdef double *M
        cdef double *N
        for i in range(D * D):
            self.shape[i] = 0
        for k in range(K):
            weight = self.mass[k] / self.n * exp(-u[k])
            for i in range(D * D):
                self.shape[i] += weight * self.S[k * D * D + i]
        if active_leaves(False).cholesky_inverse(D, self.shape, self.scratch, self.W):
            self.value = NAN
            return
        self.value = 0
        for i in range(D):
            self.value -= 2 * self.n * log(self.W[i * D + i])
        for k in range(K):
            self.value += D * self.mass[k] * u[k]
            weight = self.mass[k] / self.n * exp(-u[k])
            S, M = self.S + k * D * D, self.M + k * D * D
            for i in range(D):  # scratch = W S_k, then M_k = scratch W^T
                for j in range(D):
                    sum = 0
                    for m in range(i + 1):
                        sum += self.W[i * D + m] * S[m * D + j]
                    self.scratch[i * D + j] = weight * sum
            share = 0
            for i in range(D):
                for j in range(i + 1):
                    sum = 0
                    for m in range(j + 1):
                        sum += self.scratch[i * D + m] * self.W[j * D + m]
                    M[i * D + j] = sum
                share += M[i * D + i]
            self.rows[k] = self.n * share
        for k in range(K):
            M = self.M + k * D * D
            for other in range(k + 1):
                N = self.M + other * D * D
                sum = 0
                for i in range(D):
                    for j in range(i):
                        sum += 2 * M[i * D + j] * N[i * D + j]
                    sum += M[i * D + i] * N[i * D + i]
                self.H[k * K + other] = (self.rows[k] if k == other else 0) - self.n * sum
