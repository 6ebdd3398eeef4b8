"""Inner loops of M-steps that have no closed form: shapes and axes that K covariances share. They run without the GIL.

All minimise sum_k n_k (log|Sigma_k| + tr(Sigma_k^-1 S_k)), n = sum_k n_k, and never raise it.

Shapes (`equal_shapes` for Sigma_k = lambda_k B, B diagonal, and `equal_matrices` for Sigma_k = lambda_k C). Given the
lambda_k, C = sum_k n_k S_k / (n lambda_k). With u_k = log lambda_k and M_k = n_k C^-1/2 S_k C^-1/2 / (n lambda_k),
whose sum over k is the identity, what is left to minimise is convex (for C: along geodesics), with

    gradient  D n_k - n tr M_k,    Hessian  n (tr M_k [k = l] - tr M_k M_l).

Newton's steps are taken where they do not raise it, else that of Celeux and Govaert (1995), which is coordinate
descent: u_k + log(n tr M_k / (D n_k)). They end when every lambda_k is, to a relative `TOLERANCE`, the one that C asks
for.

Axes (`common_axes`). With T_k = A^T S_k A the objective at the best variances along axes A is, but for constants,

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

from libc.math cimport NAN, atan2, cos, exp, fabs, isfinite, log, sin, sqrt

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
