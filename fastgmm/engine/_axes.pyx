"""Axes that K covariances share, where an M-step has no closed form. No step raises F.

With T_k = A^T S_k A the objective at the best variances along axes A is, but for constants,

    F = sum_k n_k sum_j log T_k,jj  (VVE),    F = n D log sum_k n_k g_k,  g_k = prod_j T_k,jj^(1/D)  (EVE).

Both are concave in the T_k,jj, with derivatives proportional to c_k / T_k,jj where c_k = n_k or n_k g_k. So the
tangent majorises F (Browne and McNicholas 2014, Statistics and Computing 24:203), and within the plane of two axes i
and j it is minimised in closed form: with a_k = c_k (1 / T_k,ii - 1 / T_k,jj), the rotation by t changes it to

    P cos 2t + Q sin 2t,    P = 1/2 sum_k a_k (T_k,ii - T_k,jj),    Q = sum_k a_k T_k,ij,

so that 2t = atan2(-Q, -P). Planes are taken in turn, as Flury and Gautschi (1986, SIAM J. Sci. Stat. Comput. 7:169)
take them. In each, Newton's step for F itself is tried beside, and the better of both is made. Between rounds of such
sweeps Newton's step in all planes at once (_turning.pyx) is made, as far as it gains. The search ends when what all
planes promise to gain, Q^2 / |P|, is less than a share of n, or what they gain is lost in rounding.
"""

from libc.math cimport INFINITY, NAN, atan2, cos, exp, fabs, isfinite, log, sin
from libc.string cimport memcpy

import numpy as np

cimport numpy as cnp

from fastgmm.engine._core cimport float64_values
from fastgmm.engine._dense cimport cayley, eigh
from fastgmm.engine._linalg cimport data, new
from fastgmm.engine._turning cimport Turning, geometric_weights, log_means

cnp.import_array()

cdef double PROMISE = 1e-18  # share of n: what the planes of all pairs of axes promise to gain at the end
cdef int SWEEPS = 8  # of planes, between two steps of Newton's
cdef int MAX_ROUNDS = 50
cdef Py_ssize_t MAX_PLANES = 600  # of more, a step of Newton's costs more than the sweeps that it saves
cdef int LENGTHS = 6  # shares of a step that are tried, each a fourth of the one before, until one gains


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


cdef void multiply(Py_ssize_t D, const double *left, bint transposed, const double *right, double *out) noexcept nogil:
    """out = left right, or left^T right, all (D, D)."""
    cdef Py_ssize_t i, j, m
    cdef double factor
    for i in range(D):
        for j in range(D):
            out[i * D + j] = 0
        for m in range(D):
            factor = left[m * D + i] if transposed else left[i * D + m]
            for j in range(D):
                out[i * D + j] += factor * right[m * D + j]


cdef class Axes:
    """The search for axes A (D, D), and the T_k along them; with equal volumes EVE's, else VVE's."""

    def __cinit__(self, Py_ssize_t K, Py_ssize_t D, bint equal_volumes):
        cdef Py_ssize_t square = D * D
        cdef double *at
        self.K, self.D, self.equal_volumes, self.fixed = K, D, equal_volumes, NULL
        self.room = np.empty(6 * square + K * square + 5 * K + D)
        self.A = at = float64_values(self.room)
        self.T = at = at + square
        self.weight = at = at + K * square
        self.log_mean = at = at + K
        self.x = at = at + K
        self.y = at = at + K
        self.z = at = at + K
        self.best = at = at + K
        self.tried = at = at + square
        self.turn = at = at + square
        self.rotation = at = at + square
        self.work = at = at + square
        self.values = at + square

    cdef Py_ssize_t find(self, const double *S, const double *n, const double *previous) except -1:
        """Find axes that are a local minimum of F; return the first component without variance along
        one, K if there is none.

        The search begins at the axes of `previous`, covariances (K, D, D) that share them; without them at those of
        each S_k and those of all together, of which the best are kept.
        """
        cdef Py_ssize_t k, j
        self.load(S, n)
        if previous == NULL:
            self.begin_anew()
        else:
            self.share(previous, self.A)
        self.settle(MAX_ROUNDS)
        for k in range(self.K):
            for j in range(self.D):
                if not self.T[(k * self.D + j) * self.D + j] > 0:
                    return k
        return self.K

    cdef void load(self, const double *S, const double *n) noexcept nogil:
        """Take sample covariances and masses."""
        cdef Py_ssize_t k
        self.S, self.n, self.total = S, n, 0
        for k in range(self.K):
            self.weight[k] = n[k]
            self.total += n[k]

    cdef void begin(self, const double *axes) noexcept nogil:
        memcpy(self.A, axes, self.D * self.D * sizeof(double))

    cdef int begin_anew(self) except -1:
        """Begin at the axes of the S_k or of their sum, those that a round of sweeps makes the best."""
        cdef Py_ssize_t K = self.K, square = self.D * self.D, k, m
        cdef const double *matrix = self.tried
        cdef double lowest = INFINITY, left
        for m in range(square):
            self.tried[m] = 0
            for k in range(K):
                self.tried[m] += self.n[k] * self.S[k * square + m]
        for k in range(K + 1):
            if k > 0:
                matrix = self.S + (k - 1) * square
            eigh(self.D, matrix, self.values, self.A)
            self.settle(1)
            left = self.left()
            if k == 0 or left < lowest:
                lowest = left
                memcpy(self.best, self.A, square * sizeof(double))
        self.begin(self.best)
        return 0

    cdef int share(self, const double *covariances, double *axes) except -1:
        """The axes (D, D) of covariances that share them: those of any of their averages."""
        cdef Py_ssize_t square = self.D * self.D, k, j, m
        cdef double trace
        for m in range(square):
            self.tried[m] = 0
        for k in range(self.K):
            trace = 0
            for j in range(self.D):
                trace += covariances[j * self.D + j]
            for m in range(square):
                self.tried[m] += (k + 1) / trace * covariances[m]
            covariances += square
        return eigh(self.D, self.tried, self.values, axes)

    cdef int settle(self, int max_rounds) except -1:
        """Make rounds of sweeps, with a step of Newton's between two rounds as far as it gains."""
        cdef double before = INFINITY, rounding = 1e-15 * self.D * self.total, promised, left
        cdef int number
        for number in range(1, max_rounds + 1):
            with nogil:
                self.turn_all(self.A)
                promised = self.sweeps(PROMISE, SWEEPS)
                self.orthogonalise()
            if not promised > PROMISE or number == max_rounds:
                break
            left = self.left()
            if not before - left > rounding:  # NaN too
                break
            before = left
            if self.D * (self.D - 1) // 2 <= MAX_PLANES:
                self.nearer(left, rounding)
        return 0

    cdef bint nearer(self, double left, double rounding) except -1:
        """Make Newton's step from axes whose F is given, or the longest of some shares of it that does not raise F."""
        cdef Py_ssize_t square = self.D * self.D, m
        cdef int _length
        if self.turning is None:
            self.turning = Turning(self.K, self.D, self.equal_volumes)
        if not self.turning.step(self.T, self.n, self.turn):
            return False
        for _length in range(LENGTHS):
            cayley(self.D, self.turn, self.work, self.rotation)
            multiply(self.D, self.A, False, self.rotation, self.tried)
            self.turn_all(self.tried)
            if self.left() <= left + rounding:
                self.begin(self.tried)
                return True
            for m in range(square):
                self.turn[m] /= 4
        return False

    cdef void turn_all(self, const double *axes) noexcept nogil:
        """Set the T_k along some axes."""
        cdef Py_ssize_t square = self.D * self.D, k
        for k in range(self.K):
            multiply(self.D, self.S + k * square, False, axes, self.work)
            multiply(self.D, axes, True, self.work, self.T + k * square)

    cdef void orthogonalise(self) noexcept nogil:
        """Make axes that rounding has made not quite orthogonal so to the last bits: a step of Newton-Schulz."""
        cdef Py_ssize_t square = self.D * self.D, m
        multiply(self.D, self.A, True, self.A, self.work)
        multiply(self.D, self.A, False, self.work, self.rotation)
        for m in range(square):
            self.A[m] = 1.5 * self.A[m] - 0.5 * self.rotation[m]

    cdef double left(self) noexcept nogil:
        """F along the axes of the T_k."""
        cdef Py_ssize_t k
        cdef double sum = 0
        log_means(self.K, self.D, self.T, self.log_mean)
        for k in range(self.K):
            sum += self.n[k] * (exp(self.log_mean[k]) if self.equal_volumes else self.log_mean[k])
        return self.D * (self.total * log(sum / self.total) if self.equal_volumes else sum)

    cdef double sweeps(self, double share, int most) noexcept nogil:
        """Make sweeps until one promised to gain less than a share of n; return what it promised."""
        cdef double promised = 0
        cdef int _sweep
        log_means(self.K, self.D, self.T, self.log_mean)
        for _sweep in range(most):
            promised = self.sweep()
            if not promised > share:
                break
        return promised

    cdef double sweep(self) noexcept nogil:
        """Turn each pair of axes in turn; return the share of n that this promised to gain, NaN if it cannot go on."""
        cdef Py_ssize_t K = self.K, D = self.D, i, j, k
        cdef double promised = 0, P, Q, bend, a, angle
        cdef double *T
        cdef bint free = self.fixed == NULL
        for i in range(D):
            for j in range(i):
                P = Q = bend = 0
                if self.equal_volumes and free:
                    geometric_weights(K, self.n, self.log_mean, self.weight)
                for k in range(K):
                    T = self.T + k * D * D
                    self.x[k], self.y[k], self.z[k] = T[i * D + i], T[j * D + j], T[i * D + j]
                    if free:
                        a = self.weight[k] * (1 / self.x[k] - 1 / self.y[k])
                    else:
                        a = self.weight[k] * (self.fixed[k * D + i] - self.fixed[k * D + j])
                    P += 0.5 * a * (self.x[k] - self.y[k])
                    Q += a * self.z[k]
                    bend += self.weight[k] * self.z[k] ** 2 * (1 / self.x[k] ** 2 + 1 / self.y[k] ** 2)
                if not isfinite(Q):
                    return NAN
                if Q == 0:
                    continue
                promised += Q * Q / max(fabs(P), fabs(Q))
                angle = 0.5 * atan2(-Q, -P)
                if free:
                    angle = self.better(angle, -2 * Q, -4 * P - 4 * bend)
                turn(K, D, i, j, angle, self.T, self.A)
                for k in range(K):
                    T = self.T + k * D * D
                    self.log_mean[k] += log(T[i * D + i] / self.x[k] * (T[j * D + j] / self.y[k])) / D
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


def shared_axes(covariances):
    """Return the axes (D, D), as columns, of covariances (K, D, D) that share them."""
    cdef cnp.ndarray given = np.ascontiguousarray(covariances, dtype=np.float64)
    cdef Py_ssize_t D = given.shape[1]
    cdef cnp.ndarray out = new(2, D, D)
    cdef Axes found = Axes(given.shape[0], D, False)
    found.share(float64_values(given), data(out, D * D))
    return out


def common_axes(covariances, mass, axes, bint equal_volumes, double share, int max_sweeps, inverse=None):
    """Return axes (D, D), as columns, nearer to those along which variances minimise the objective, after some sweeps.

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
        Orthogonal to the last bits.
    turned : (K, D, D) array
        The T_k: sample covariances in coordinates along the axes, symmetric but for rounding.
    promised : float
        Share of n that the last sweep promised; NaN where sample variances along an axis are zero.
    """
    cdef cnp.ndarray S = np.ascontiguousarray(covariances, dtype=np.float64)
    cdef cnp.ndarray n = np.ascontiguousarray(mass, dtype=np.float64)
    cdef cnp.ndarray start = np.ascontiguousarray(axes, dtype=np.float64)
    cdef cnp.ndarray fixed
    cdef Py_ssize_t K = S.shape[0], D = S.shape[1]
    cdef cnp.ndarray out = new(2, D, D), turned = new(3, K, D, D)
    cdef Axes found = Axes(K, D, equal_volumes)
    cdef double promised
    if inverse is not None:
        fixed = np.ascontiguousarray(inverse, dtype=np.float64)
        found.fixed = data(fixed, K * D)
    found.load(data(S, K * D * D), data(n, K))
    found.begin(data(start, D * D))
    with nogil:
        found.turn_all(found.A)
        promised = found.sweeps(share, max_sweeps)
        found.orthogonalise()
    memcpy(data(out, D * D), found.A, D * D * sizeof(double))
    memcpy(data(turned, K * D * D), found.T, K * D * D * sizeof(double))
    return out, turned, promised
