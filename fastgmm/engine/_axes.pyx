"""Axes that K covariances share, where an M-step has no closed form. Sweeps run without the GIL, and never raise F.

With T_k = A^T S_k A the objective at the best variances along axes A is, but for constants,

    F = sum_k n_k sum_j log T_k,jj  (VVE),    F = n D log sum_k n_k g_k,  g_k = prod_j T_k,jj^(1/D)  (EVE).

Both are concave in the T_k,jj, with derivatives proportional to c_k / T_k,jj where c_k = n_k or n_k g_k. So the
tangent majorises F (Browne and McNicholas 2014, Statistics and Computing 24:203), and within the plane of two axes i
and j it is minimised in closed form: with a_k = c_k (1 / T_k,ii - 1 / T_k,jj), the rotation by t changes it to

    P cos 2t + Q sin 2t,    P = 1/2 sum_k a_k (T_k,ii - T_k,jj),    Q = sum_k a_k T_k,ij,

so that 2t = atan2(-Q, -P). Planes are taken in turn, as Flury and Gautschi (1986, SIAM J. Sci. Stat. Comput. 7:169)
take them. In each, Newton's step for F itself is tried beside, and the better of both is made. Sweeps end when what
all planes promise to gain, Q^2 / |P|, is less than a share of n. Where that takes long, `covariance._axes.common` makes
Newton's steps in all planes at once between sweeps.
"""

from libc.math cimport NAN, atan2, cos, exp, fabs, isfinite, log, sin

import numpy as np


cdef void turn(
    Py_ssize_t K, Py_ssize_t D, Py_ssize_t i, Py_ssize_t j, double angle, double *T, double *A
) noexcept nogil:
    """Turn axes i and j of A by an angle, and the T_k with them."""
    cdef double c = cos(angle), s = sin(angle), x, y
    cdef Py_ssize_t _k, m
    for m in range(D):
        x, y = A[m * D + i], A[m * D + j]
        A[m * D + i], A[m * D + j] = c * x + s * y, c * y - s * x
    for _k in range(K):
        for m in range(D):
            x, y = T[m * D + i], T[m * D + j]
            T[m * D + i], T[m * D + j] = c * x + s * y, c * y - s * x
        for m in range(D):
            x, y = T[i * D + m], T[j * D + m]
            T[i * D + m], T[j * D + m] = c * x + s * y, c * y - s * x
        T += D * D


cdef class Axes:
    """Axes A (D, D), the T_k along them, and what a sweep over the planes of two of them needs: see `common_axes`."""

    cdef Py_ssize_t K, D
    cdef double[:, ::1] A, fixed
    cdef double[:, :, ::1] T
    cdef double[::1] n, weight, log_mean, x, y, z
    cdef double total
    cdef bint equal_volumes, free

    def __init__(self, covariances, mass, axes, bint equal_volumes, inverse):
        self.K, self.D = covariances.shape[0], covariances.shape[1]
        self.A = np.array(axes, dtype=np.float64, order="C")
        self.T = np.ascontiguousarray(axes.T @ covariances @ axes)
        self.n, self.weight = np.ascontiguousarray(mass, dtype=np.float64), np.array(mass, dtype=np.float64)
        self.log_mean = np.log(np.diagonal(self.T, axis1=1, axis2=2)).mean(axis=1)
        self.x, self.y, self.z = np.empty(self.K), np.empty(self.K), np.empty(self.K)
        self.total, self.equal_volumes, self.free = np.sum(mass), equal_volumes, inverse is None
        self.fixed = None if inverse is None else np.ascontiguousarray(inverse)

    cdef double sweep(self) noexcept nogil:
        """Turn each pair of axes in turn; return the share of n that this promised to gain, NaN if it cannot go on."""
        cdef Py_ssize_t i, j, k
        cdef double promised = 0, P, Q, bend, a, angle
        for i in range(self.D):
            for j in range(i):
                P = Q = bend = 0
                if self.equal_volumes and self.free:
                    geometric_weights(self.n, self.log_mean, self.weight, self.total)
                for k in range(self.K):
                    self.x[k], self.y[k], self.z[k] = self.T[k, i, i], self.T[k, j, j], self.T[k, i, j]
                    if self.free:
                        a = self.weight[k] * (1 / self.x[k] - 1 / self.y[k])
                    else:
                        a = self.weight[k] * (self.fixed[k, i] - self.fixed[k, j])
                    P += 0.5 * a * (self.x[k] - self.y[k])
                    Q += a * self.z[k]
                    bend += self.weight[k] * self.z[k] ** 2 * (1 / self.x[k] ** 2 + 1 / self.y[k] ** 2)
                if not isfinite(Q):
                    return NAN
                if Q == 0:
                    continue
                promised += Q * Q / max(fabs(P), fabs(Q))
                angle = 0.5 * atan2(-Q, -P)
                if self.free:
                    angle = self.better(angle, -2 * Q, -4 * P - 4 * bend)
                turn(self.K, self.D, i, j, angle, &self.T[0, 0, 0], &self.A[0, 0])
                for k in range(self.K):
                    self.log_mean[k] += log(self.T[k, i, i] / self.x[k] * (self.T[k, j, j] / self.y[k])) / self.D
        return promised / self.total

    cdef double better(self, double angle, double slope, double bend) noexcept nogil:
        """Return the angle of Newton's step, slope / bend, where F falls further by it."""
        cdef double newton = slope / bend
        if bend > 0 and fabs(newton) < 1 and self.gain(newton) > self.gain(angle):
            return newton
        return angle

    cdef double gain(self, double angle) noexcept nogil:
        """By how much F falls when axes with T_ii = x, T_jj = y and T_ij = z are turned by an angle."""
        cdef double c = cos(angle), s = sin(angle), before = 0, after = 0, ratio, x, y, z
        cdef Py_ssize_t k
        for k in range(self.K):
            x, y, z = self.x[k], self.y[k], self.z[k]
            ratio = (c * c * x + 2 * c * s * z + s * s * y) / x * ((s * s * x - 2 * c * s * z + c * c * y) / y)
            if self.equal_volumes:
                after += self.weight[k] * exp(log(ratio) / self.D)
                before += self.weight[k]
            else:
                after += self.weight[k] * log(ratio)
        return log(before / after) * self.D * before if self.equal_volumes else -after


def common_axes(covariances, mass, axes, bint equal_volumes, double share, int max_sweeps, inverse=None):
    """Return axes (D, D), as columns, nearer to those along which variances minimise the objective.

    Parameters
    ----------
    covariances : (K, D, D) array
        Sample covariances S_k.
    mass : (K,) array
    axes : (D, D) array
        Where to begin: orthogonal.
    equal_volumes : bool
        Whether the variances have a product that is the same for all components (EVE) or not (VVE).
    share : float
        Sweeps end when all planes together promised to gain less than this share of n in the last one.
    max_sweeps : int
    inverse : (K, D) array, optional
        Of variances along the axes that stay as they are, in place of the best: above a floor they are not S's own.

    Returns
    -------
    axes : (D, D) array
    turned : (K, D, D) array
        The T_k: sample covariances in coordinates along the axes, symmetric but for rounding.
    promised : float
        Share of n that the last sweep promised; NaN where sample variances along an axis are zero.
    """
    cdef Axes found = Axes(covariances, mass, axes, equal_volumes, inverse)
    cdef double promised = 0
    cdef int _sweep
    with nogil:
        for _sweep in range(max_sweeps):
            promised = found.sweep()
            if not promised > share:
                break
    return np.asarray(found.A), np.asarray(found.T), promised


cdef void geometric_weights(double[::1] n, double[::1] log_mean, double[::1] weight, double total) noexcept nogil:
    """Set n_k g_k, scaled to the sum of the n_k."""
    cdef Py_ssize_t K = n.shape[0], k
    cdef double sum = 0, largest = log_mean[0]
    for k in range(K):
        largest = max(largest, log_mean[k])
    for k in range(K):
        weight[k] = n[k] * exp(log_mean[k] - largest)
        sum += weight[k]
    for k in range(K):
        weight[k] *= total / sum


def turning(turned, mass, bint equal_volumes):
    """Return slope (P,) and bend (P, P) of F where axes are turned by A exp(X): its gradient and Hessian in X.

    P = D (D - 1) / 2 planes a < b in the order of `numpy.triu_indices`, with X_ab = -X_ba in plane (a, b). To second
    order diag(exp(-X) T exp(X)) is diag(T) + 2 diag(T X) + diag(T X^2 - X T X).

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
    cdef Py_ssize_t K = turned.shape[0], D = turned.shape[1], P = D * (D - 1) // 2, k, p, q, a, b, c, d, j
    cdef double[:, :, ::1] T = np.ascontiguousarray(turned)
    cdef double[::1] n = np.ascontiguousarray(mass, dtype=np.float64), weight = np.array(mass, dtype=np.float64)
    cdef double[:, :, ::1] R = np.zeros((D, D, D))  # R_j = sum_k c_k T_k / T_k,jj
    cdef double[:, ::1] change = np.zeros((K, P))  # of sum_j log T_k,jj
    cdef double[::1] slope = np.zeros(P)
    cdef double[:, ::1] bend = np.zeros((P, P))
    cdef double inverse, x, total = np.sum(mass)
    if equal_volumes:
        geometric_weights(n, np.log(np.diagonal(turned, axis1=1, axis2=2)).mean(axis=1), weight, total)
    with nogil:
        for k in range(K):
            for j in range(D):
                inverse = weight[k] / T[k, j, j]
                for a in range(D):
                    for b in range(D):
                        R[j, a, b] += inverse * T[k, a, b]
            p = 0
            for a in range(D):
                for b in range(a + 1, D):
                    change[k, p] = 2 * T[k, a, b] * (1 / T[k, b, b] - 1 / T[k, a, a])
                    slope[p] += weight[k] * change[k, p]
                    p += 1
        p = 0
        for a in range(D):
            for b in range(a + 1, D):
                q = 0
                for c in range(a + 1):
                    for d in range(c + 1, D):
                        if q > p:
                            break
                        x = 0
                        if b == d:
                            x += R[b, a, c] + R[b, c, a] - R[c, c, a] - R[a, a, c] - curving(T, weight, b, a, c)
                        if a == c:
                            x += R[a, b, d] + R[a, d, b] - R[d, d, b] - R[b, b, d] - curving(T, weight, a, b, d)
                        if a == d:
                            x += R[c, c, b] + R[b, b, c] - R[a, b, c] - R[a, c, b] + curving(T, weight, a, b, c)
                        if b == c:
                            x += R[d, d, a] + R[a, a, d] - R[b, a, d] - R[b, d, a] + curving(T, weight, b, a, d)
                        if equal_volumes:
                            for k in range(K):
                                x += weight[k] * change[k, p] * change[k, q] / D
                            x -= slope[p] * slope[q] / (total * D)
                        bend[p, q] = bend[q, p] = x
                        q += 1
                p += 1
    return np.asarray(slope), np.asarray(bend)


cdef double curving(double[:, :, ::1] T, double[::1] weight, Py_ssize_t j, Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """The part of the second derivative of log T_jj that its first one makes, in planes (a, j) and (b, j)."""
    cdef double sum = 0
    cdef Py_ssize_t k
    for k in range(T.shape[0]):
        sum += weight[k] * 4 * T[k, a, j] * T[k, b, j] / (T[k, j, j] * T[k, j, j])
    return sum
