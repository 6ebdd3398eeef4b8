"""Covariances that have something in common: those that are nearest to sample covariances, which is their M-step.

With Sigma_k = lambda_k D_k A_k D_k^T (Banfield and Raftery 1993, Biometrics 49:803) the letters of a structure say of
volumes lambda_k, shapes A_k and orientations D_k, in this order, whether they are equal (E), vary (V) or are the
identity (I). What is found minimises

    sum_k n_k (log|Sigma_k| + tr(Sigma_k^-1 S_k))

over the structure (Celeux and Govaert 1995, Pattern Recognition 28:781). With S_kj the sample variances along axes that
are known, n = sum_k n_k and g_k = prod_j S_kj^(1/D), the variances along them are

    EE: sum_k n_k S_kj / n,    EV: S_kj / g_k sum_l n_l g_l / n,    VE: lambda_k b_j (_shapes.pyx),    VV: S_kj.

Axes are those of the features (I), of each S_k (V), or common (E: _axes.pyx). VEE are multiples of one matrix
(_shapes.pyx); EVV is as EV with |S_k|^(1/D) for g_k.
"""

from libc.math cimport exp, isfinite, log, sqrt
from libc.string cimport memcpy

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError

cimport numpy as cnp

from fastgmm.engine._axes cimport Axes
from fastgmm.engine._core cimport active_leaves, float64_values
from fastgmm.engine._dense cimport eigh
from fastgmm.engine._linalg cimport data, finite
from fastgmm.engine._shapes cimport DiagonalScales, MatrixScales

cnp.import_array()


cdef class Nearest:
    """The search for what is nearest, for K components and D features.

    Parameters
    ----------
    letters : str
        The structure: one of those whose components have something in common, but for EEE.
    """

    def __cinit__(self, str letters, Py_ssize_t K, Py_ssize_t D):
        cdef double *at
        self.K, self.D = K, D
        self.volume, self.shape, self.orientation = (ord(letter) for letter in letters)
        if self.volume == c"V" and self.shape == c"E":
            self.scales = (MatrixScales if self.orientation == c"E" else DiagonalScales)(K, D)
        elif self.orientation == c"E":
            self.common = Axes(K, D, self.volume == c"E")
        n_axes = 0 if self.orientation != c"V" else D * D if self.shape == c"V" else K * D * D
        self.room = np.empty(K * D + K + D * D + n_axes)
        self.values = at = float64_values(self.room)
        self.volumes = at = at + K * D
        self.work = at = at + K
        self.axes = at + D * D

    cdef Py_ssize_t find(self, const double *S, const double *mass, const double *before, double *out) except -2:
        """Set `out` to what is nearest to S, both in the shape that the structure is held in.

        `before`, NULL or of that shape too, is where searches begin. Returns K if all is well, else the first component
        without a covariance of the structure, or -1 where that is not one alone. What is found may be not finite.
        """
        cdef Py_ssize_t K = self.K, D = self.D, j, k, at
        cdef const double *start = NULL
        if self.orientation == c"I":
            if before != NULL:
                for k in range(K):
                    self.volumes[k] = before[k * D if self.shape != c"I" else k]
                start = self.volumes
            return self.shaped(1 if self.shape == c"I" else D, S, mass, start, out)
        if self.volume == c"V" and self.orientation == c"E" and self.shape == c"E":
            return self.multiples(S, mass, before, out)
        if self.shape == c"V" and self.orientation == c"V":
            return self.one_volume(S, mass, out)
        if not finite(K * D * D, S):
            return -1
        if self.orientation == c"V":
            at = self.own_axes(S, mass, before)
            if at == K:
                self.compose(D * D, self.axes, out)
            return at
        at = self.common.find(S, mass, before)
        if at < K:
            return at
        for k in range(K):
            for j in range(D):
                self.values[k * D + j] = self.common.T[(k * D + j) * D + j]
        self.shaped(D, self.values, mass, NULL, self.values)
        self.compose(0, self.common.A, out)
        return K

    cdef Py_ssize_t shaped(self, Py_ssize_t width, const double *S, const double *mass, const double *start,
                           double *out) noexcept nogil:
        """Variances (K, width) along axes that are known, from sample variances, which may be in the same place.

        `start`, NULL or (K): lambda_k that are expected, but for a common factor.
        """
        cdef Py_ssize_t K = self.K, k, j
        cdef double total = 0, sum = 0, largest
        if self.volume == c"V" and self.shape == c"V":
            if out != S:
                memcpy(out, S, K * width * sizeof(double))
            return K
        for k in range(K):
            total += mass[k]
        if self.volume == c"E" and self.shape == c"V":
            for k in range(K):
                self.volumes[k] = 0
                for j in range(width):
                    self.volumes[k] += log(S[k * width + j])
                self.volumes[k] = exp(self.volumes[k] / width)
                sum += mass[k] * self.volumes[k]
            for k in range(K):
                for j in range(width):
                    out[k * width + j] = S[k * width + j] * (sum / total / self.volumes[k])
        elif self.volume == c"E":
            for j in range(width):
                sum = 0
                for k in range(K):
                    sum += mass[k] * S[k * width + j]
                for k in range(K):
                    out[k * width + j] = sum / total
        else:
            for k in range(K):
                largest = sum = 0
                for j in range(width):
                    largest = max(largest, S[k * width + j])
                    sum += S[k * width + j]
                if not largest > 0:
                    return k
                if start == NULL:
                    self.volumes[k] = sum
            if start == NULL:
                start = self.volumes
            self.scales.search(S, mass, start)
            for k in range(K):
                for j in range(width):
                    out[k * width + j] = exp(self.scales.u[k]) * self.scales.shape[j]
        return K

    cdef Py_ssize_t own_axes(self, const double *S, const double *mass, const double *before) except -2:
        """Find the axes of each S_k, and the variances along them."""
        cdef Py_ssize_t K = self.K, D = self.D, k, j
        cdef const double *start = NULL
        for k in range(K):
            eigh(D, S + k * D * D, self.values + k * D, self.axes + k * D * D)
            for j in range(k * D, (k + 1) * D):
                self.values[j] = max(self.values[j], 0.0)
        if before != NULL:
            start = self.traces(before)
        return self.shaped(D, self.values, mass, start, self.values)

    cdef Py_ssize_t multiples(self, const double *S, const double *mass, const double *before,
                              double *out) noexcept nogil:
        """Multiples of one matrix."""
        cdef Py_ssize_t size = self.D * self.D, k, m
        self.scales.search(S, mass, self.traces(S if before == NULL else before))
        if not isfinite(self.scales.value):
            return -1
        for k in range(self.K):
            for m in range(size):
                out[k * size + m] = exp(self.scales.u[k]) * self.scales.shape[m]
        return self.K

    cdef Py_ssize_t one_volume(self, const double *S, const double *mass, double *out) noexcept nogil:
        """Each S_k, scaled to the volume of all."""
        cdef Py_ssize_t K = self.K, D = self.D, size = self.D * self.D, k, m
        cdef double total = 0, sum = 0
        for k in range(K):
            if active_leaves(False).cholesky_inverse(D, S + k * size, self.axes, self.work):
                return k
            self.volumes[k] = 0
            for m in range(D):
                self.volumes[k] -= log(self.work[m * D + m])
            self.volumes[k] = exp(self.volumes[k] * 2 / D)
            total += mass[k]
            sum += mass[k] * self.volumes[k]
        for k in range(K):
            for m in range(size):
                out[k * size + m] = S[k * size + m] * (sum / total / self.volumes[k])
        return K

    cdef void compose(self, Py_ssize_t apart, const double *axes, double *out) noexcept nogil:
        """The matrices (K, D, D) of `values` along axes, columns of matrices so many numbers apart."""
        cdef Py_ssize_t K = self.K, D = self.D, k, i, j, m
        cdef double sum
        for k in range(K):
            for i in range(D):
                for m in range(D):
                    self.work[i * D + m] = axes[i * D + m] * sqrt(self.values[k * D + m])
            for i in range(D):
                for j in range(i + 1):
                    sum = 0
                    for m in range(D):
                        sum += self.work[i * D + m] * self.work[j * D + m]
                    out[i * D + j] = out[j * D + i] = sum
            axes += apart
            out += D * D

    cdef const double *traces(self, const double *matrices) noexcept nogil:
        """The traces of matrices (K, D, D), in `volumes`."""
        cdef Py_ssize_t D = self.D, k, j
        for k in range(self.K):
            self.volumes[k] = 0
            for j in range(D):
                self.volumes[k] += matrices[(k * D + j) * D + j]
        return self.volumes


def nearest(str letters, covariances, mass, previous=None):
    """Return the covariances of a structure that are nearest to given ones, in the same shape.

    Parameters
    ----------
    letters : {"EII", "EEI", "VEI", "EVI", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV"}
        The structure.
    covariances : array
        The S_k: (K,) for EII, (K, D) along the features for structures with an I in the third place, else (K, D, D).
    mass : (K,) array
        The n_k, positive.
    previous : array, optional
        Covariances of the structure, near to what is looked for, where searches begin.

    Raises
    ------
    IllDefinedCovarianceError
        If they do not exist. They may also be not positive definite, or NaN.
    """
    cdef cnp.ndarray S = np.ascontiguousarray(covariances, dtype=np.float64)
    cdef cnp.ndarray n = np.ascontiguousarray(mass, dtype=np.float64)
    cdef Py_ssize_t K = S.shape[0], size = cnp.PyArray_SIZE(S), at
    cdef Nearest found = Nearest(letters, K, S.shape[1] if cnp.PyArray_NDIM(S) > 1 else 1)
    cdef cnp.ndarray out = np.empty_like(S), before
    cdef const double *start = NULL
    if previous is not None:
        before = np.ascontiguousarray(previous, dtype=np.float64)
        start = data(before, size)
    at = found.find(data(S, size), data(n, K), start, data(out, size))
    if at < K:
        raise IllDefinedCovarianceError(at if at >= 0 else None)
    return out
