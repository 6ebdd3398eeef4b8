"""How F of _axes.pyx changes where axes are turned: its derivatives, and Newton's step in all planes at once.

Axes A become A exp(X) with a skew-symmetric X (D, D): P = D (D - 1) / 2 planes a < b in the order of
`numpy.triu_indices`, with X_ab = -X_ba in plane (a, b). To second order diag(exp(-X) T exp(X)) is
diag(T) + 2 diag(T X) + diag(T X^2 - X T X).
"""

from libc.math cimport exp, log, sqrt
from libc.string cimport memset

import numpy as np

cimport numpy as cnp

from fastgmm.engine._core cimport float64_values
from fastgmm.engine._dense cimport newton_step, newton_work
from fastgmm.engine._linalg cimport data, new

cnp.import_array()

cdef double MAX_TURN = 0.5  # radian, of an axis in a step


cdef void log_means(Py_ssize_t K, Py_ssize_t D, const double *T, double *log_mean) noexcept nogil:
    """The mean logarithm of the diagonal of each T_k."""
    cdef Py_ssize_t k, j
    for k in range(K):
        log_mean[k] = 0
        for j in range(D):
            log_mean[k] += log(T[(k * D + j) * D + j])
        log_mean[k] /= D


cdef void geometric_weights(Py_ssize_t K, const double *n, const double *log_mean, double *weight) noexcept nogil:
    """Set n_k g_k, scaled to the sum of the n_k."""
    cdef Py_ssize_t k
    cdef double sum = 0, total = 0, largest = log_mean[0]
    for k in range(K):
        largest = max(largest, log_mean[k])
    for k in range(K):
        weight[k] = n[k] * exp(log_mean[k] - largest)
        sum += weight[k]
        total += n[k]
    for k in range(K):
        weight[k] *= total / sum


cdef class Turning:
    """Derivatives of F, EVE's with equal volumes, else VVE's, for K components and D features."""

    def __cinit__(self, Py_ssize_t K, Py_ssize_t D, bint equal_volumes):
        cdef Py_ssize_t P = D * (D - 1) // 2
        cdef double *at
        self.K, self.D, self.P, self.equal_volumes = K, D, P, equal_volumes
        self.room = np.empty(2 * K + D * D * D + K * P + 2 * P + P * P + newton_work(P))
        self.weight = at = float64_values(self.room)
        self.log_mean = at = at + K
        self.R = at = at + K
        self.change = at = at + D * D * D
        self.slope = at = at + K * P
        self.bend = at = at + P
        self.turn = at = at + P * P
        self.work = at + P

    cdef void derive(self, const double *T, const double *n) noexcept nogil:
        """Set slope and bend, F's gradient and Hessian in X."""
        cdef Py_ssize_t K = self.K, D = self.D, P = self.P, k, p = 0, q, a, b, c, d, j
        cdef double inverse, x, total = 0
        for k in range(K):
            self.weight[k] = n[k]
            total += n[k]
        if self.equal_volumes:
            log_means(K, D, T, self.log_mean)
            geometric_weights(K, n, self.log_mean, self.weight)
        memset(self.R, 0, D * D * D * sizeof(double))
        memset(self.slope, 0, P * sizeof(double))
        for k in range(K):
            for j in range(D):
                inverse = self.weight[k] / T[(k * D + j) * D + j]
                for a in range(D * D):
                    self.R[j * D * D + a] += inverse * T[k * D * D + a]
            p = 0
            for a in range(D):
                for b in range(a + 1, D):
                    x = 2 * T[(k * D + a) * D + b] * (1 / T[(k * D + b) * D + b] - 1 / T[(k * D + a) * D + a])
                    self.change[k * P + p] = x
                    self.slope[p] += self.weight[k] * x
                    p += 1
        p = 0
        for a in range(D):
            for b in range(a + 1, D):
                q = 0
                for c in range(a + 1):
                    for d in range(c + 1, D):
                        if q > p:
                            break
                        x = self.second(T, a, b, c, d)
                        if self.equal_volumes:
                            for k in range(K):
                                x += self.weight[k] * self.change[k * P + p] * self.change[k * P + q] / D
                            x -= self.slope[p] * self.slope[q] / (total * D)
                        self.bend[p * P + q] = self.bend[q * P + p] = x
                        q += 1
                p += 1

    cdef double second(self, const double *T, Py_ssize_t a, Py_ssize_t b, Py_ssize_t c, Py_ssize_t d) noexcept nogil:
        """The second derivative of sum_k c_k sum_j log T_k,jj in planes (a, b) and (c, d)."""
        cdef Py_ssize_t D = self.D
        cdef double *R = self.R
        cdef double x = 0
        if b == d:
            x += R[(b * D + a) * D + c] + R[(b * D + c) * D + a] - R[(c * D + c) * D + a] - R[(a * D + a) * D + c]
            x -= self.curving(T, b, a, c)
        if a == c:
            x += R[(a * D + b) * D + d] + R[(a * D + d) * D + b] - R[(d * D + d) * D + b] - R[(b * D + b) * D + d]
            x -= self.curving(T, a, b, d)
        if a == d:
            x += R[(c * D + c) * D + b] + R[(b * D + b) * D + c] - R[(a * D + b) * D + c] - R[(a * D + c) * D + b]
            x += self.curving(T, a, b, c)
        if b == c:
            x += R[(d * D + d) * D + a] + R[(a * D + a) * D + d] - R[(b * D + a) * D + d] - R[(b * D + d) * D + a]
            x += self.curving(T, b, a, d)
        return x

    cdef double curving(self, const double *T, Py_ssize_t j, Py_ssize_t a, Py_ssize_t b) noexcept nogil:
        """The part of the second derivative of log T_jj that its first one makes, in planes (a, j) and (b, j)."""
        cdef Py_ssize_t D = self.D, k
        cdef double sum = 0, own
        for k in range(self.K):
            own = T[j * D + j]
            sum += self.weight[k] * 4 * T[a * D + j] * T[b * D + j] / (own * own)
            T += D * D
        return sum

    cdef bint step(self, const double *T, const double *n, double *X) except -1:
        """Set X (D, D) of Newton's step; return whether there is one.

        Directions in which F bends down are taken as if it bent up by as much, and the step is shortened where it
        turns an axis by more than MAX_TURN.
        """
        cdef Py_ssize_t D = self.D, a, b, p = 0
        cdef double largest = 0, squares, share
        self.derive(T, n)
        if not newton_step(self.P, self.bend, self.slope, self.work, self.turn):
            return False
        memset(X, 0, D * D * sizeof(double))
        for a in range(D):
            for b in range(a + 1, D):
                X[a * D + b], X[b * D + a] = self.turn[p], -self.turn[p]
                p += 1
        for b in range(D):
            squares = 0
            for a in range(D):
                squares += X[a * D + b] * X[a * D + b]
            largest = max(largest, sqrt(squares))
        share = min(1.0, MAX_TURN / largest) if largest > 0 else 1.0
        for a in range(D * D):
            X[a] *= share
        return True


def turning(turned, mass, bint equal_volumes):
    """Return slope (P,) and bend (P, P) of F where axes are turned: its gradient and Hessian.

    Parameters
    ----------
    turned : (K, D, D) array
        The T_k.
    mass : (K,) array
    equal_volumes : bool
        As in `common_axes`.

    Returns
    -------
    slope, bend : arrays
    """
    cdef cnp.ndarray T = np.ascontiguousarray(turned, dtype=np.float64)
    cdef cnp.ndarray n = np.ascontiguousarray(mass, dtype=np.float64)
    cdef Turning made = Turning(T.shape[0], T.shape[1], equal_volumes)
    cdef Py_ssize_t P = made.P, i
    cdef cnp.ndarray slope = new(1, P), bend = new(2, P, P)
    cdef double *first = data(slope, P)
    cdef double *second = data(bend, P * P)
    made.derive(float64_values(T), float64_values(n))
    for i in range(P):
        first[i] = made.slope[i]
    for i in range(P * P):
        second[i] = made.bend[i]
    return slope, bend
