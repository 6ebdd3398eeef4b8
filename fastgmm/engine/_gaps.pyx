"""Marginals and regressions of Gaussians for rows with gaps, and statistics completed with them.

Of a row of component k let o be the features that were observed and m the missing ones. With W (D, D) any factor of
the precision, W^T W = Sigma^-1, and Q R = [W_m, W_o] its columns in the order missing, observed,

    |W (x - mu)|^2 = |R_mm e_m + R_mo e_o|^2 + |R_oo e_o|^2,    e = x - mu.

So R_oo is the factor of the marginal of x_o, and x_m given x_o is Gaussian with mean mu_m + B e_o, B = -R_mm^-1 R_mo,
and covariance C = R_mm^-1 R_mm^-T. No covariance is formed and none inverted: the digits lost are those of the square
root of its condition number. A triangle with reversed columns and rows is a triangle again, hence the observed columns
come in reversed order.

From the sums over the rows of one pattern, n = sum_i r_i, s = sum_i r_i u_i and S = sum_i r_i u_i u_i^T of the offsets
u_i = x_io - p_o from a pivot, the sums of the completed rows follow without the rows. With E[x_im - p_m] = B u_i + c,
c = mu_m - p_m - B (mu_o - p_o):

    s_m = B s + n c,    S_mo = B S + c s^T,    S_mm = B S B^T + c (B s)^T + (B s) c^T + n (c c^T + C).

Where one W serves all components, B and C are common too, and the scatter of all completed rows about a point h follows
from that of their observed features, T = sum_i w_i (x_io - h_o) (x_io - h_o)^T, without second moments of components:
with E[x_im - h_m] = B (x_io - h_o) + e_k, e_k = mu_km - h_m - B (mu_ko - h_o), and t_k = sum_i r_ik (x_io - h_o),

    T_mo = B T + sum_k e_k t_k^T,    T_mm = B T B^T + sum_k (e_k (B t_k)^T + (B t_k) e_k^T + n_k (e_k e_k^T + C)).

Dempster, Laird and Rubin (1977), section 4.1; Little and Rubin, Statistical Analysis with Missing Data, chapter 11.
"""

from libc.math cimport copysign, fabs, log, sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import numpy as np

cimport numpy as cnp

from fastgmm.engine._core cimport float64_values

cnp.import_array()

cdef double HALF_LOG_2PI = 0.91893853320467274178


cdef double *data(cnp.ndarray array, Py_ssize_t size) except NULL:
    """The values of a C-contiguous float64 array of a size."""
    if cnp.PyArray_SIZE(array) != size:
        raise ValueError(f"expected an array of {size} values, got {<object> array!r}")
    return float64_values(array)


cdef const Py_ssize_t *indices(cnp.ndarray array, Py_ssize_t D) except? NULL:
    """The values of a contiguous array of intp; ValueError if one is no column of D."""
    if cnp.PyArray_TYPE(array) != cnp.NPY_INTP or not cnp.PyArray_IS_C_CONTIGUOUS(array):
        raise TypeError(f"expected a contiguous array of intp, got {<object> array!r}")
    cdef const Py_ssize_t *value = <const Py_ssize_t *> cnp.PyArray_DATA(array)
    cdef Py_ssize_t i
    for i in range(cnp.PyArray_SIZE(array)):
        if not 0 <= value[i] < D:
            raise ValueError(f"expected columns below {D}, got {<object> array!r}")
    return value


cdef void triangularise(Py_ssize_t D, double *A) noexcept nogil:
    """Turn A (D, D), its columns one behind the other, into the R of A = Q R (Householder); the lower part is left."""
    cdef Py_ssize_t i, j, q
    cdef double *v
    cdef double *column
    cdef double square, root, scale, dot
    for j in range(D - 1):
        v = A + j * D
        square = 0
        for i in range(j, D):
            square += v[i] * v[i]
        if square == 0:
            continue
        root = -copysign(sqrt(square), v[j])
        v[j] -= root
        scale = -1 / (root * v[j])  # 2 / v^T v
        for q in range(j + 1, D):
            column = A + q * D
            dot = 0
            for i in range(j, D):
                dot += v[i] * column[i]
            dot *= scale
            for i in range(j, D):
                column[i] -= dot * v[i]
        v[j] = root


cdef void triangle_of(Py_ssize_t D, const double *W, Py_ssize_t m, const Py_ssize_t *missing,
                      const Py_ssize_t *observed, double *A) noexcept nogil:
    """R (D, D), its columns one behind the other, of the lower triangle W with the observed columns reversed.

    Columns are divided by their largest entry in between, so that no square overflows or is lost.
    """
    cdef Py_ssize_t i, q, from_
    cdef double *column
    cdef double *largest = A + D * D
    for q in range(D):
        from_ = missing[q] if q < m else observed[D - 1 - q]
        column = A + q * D
        largest[q] = 0
        for i in range(D):
            column[i] = W[i * D + from_] if i >= from_ else 0
            largest[q] = max(largest[q], fabs(column[i]))
        for i in range(D):
            column[i] /= largest[q]
    triangularise(D, A)
    for q in range(D):
        for i in range(q + 1):
            A[q * D + i] *= largest[q]


cdef void condition(Py_ssize_t D, Py_ssize_t m, const double *R, double *V, double *W, double *B,
                    double *C) noexcept nogil:
    """W (d, d) lower, B (m, d) and C (m, m) of R (D, D), its columns one behind the other; V (m, m) to work in."""
    cdef Py_ssize_t d = D - m, i, j, h, q, r
    cdef double sum, sign
    for i in range(d):
        r = D - 1 - i
        sign = copysign(1.0, R[r * D + r])
        for j in range(d):
            W[i * d + j] = sign * R[(D - 1 - j) * D + r] if j <= i else 0
    for j in range(d):
        q = D - 1 - j
        for i in range(m - 1, -1, -1):
            sum = -R[q * D + i]
            for h in range(i + 1, m):
                sum -= R[h * D + i] * B[h * d + j]
            B[i * d + j] = sum / R[i * D + i]
    for j in range(m):  # V = R_mm^-1, upper
        for i in range(m - 1, -1, -1):
            sum = 1.0 if i == j else 0.0
            for h in range(i + 1, j + 1):
                sum -= R[h * D + i] * V[h * m + j]
            V[i * m + j] = sum / R[i * D + i] if i <= j else 0
    for i in range(m):
        for j in range(i + 1):
            sum = 0
            for h in range(i, m):
                sum += V[i * m + h] * V[j * m + h]
            C[i * m + j] = C[j * m + i] = sum


cdef void pick(Py_ssize_t K, Py_ssize_t D, Py_ssize_t d, const Py_ssize_t *columns, const double *values,
               double *out) noexcept nogil:
    """Some columns (K, d) of values (K, D)."""
    cdef Py_ssize_t k, j
    for k in range(K):
        for j in range(d):
            out[k * d + j] = values[k * D + columns[j]]


def marginals(cnp.ndarray factors, cnp.ndarray means, cnp.ndarray log_norm, cnp.ndarray observed, cnp.ndarray missing):
    """Return a mixture of the full kind as rows of one pattern see it.

    Parameters
    ----------
    factors : (K, D, D) array, or (1, D, D) for all components
        Lower-triangular.
    means, log_norm : (K, D), (K,) arrays
    observed, missing : (d,), (m,) intp arrays
        Rising, and together all columns.

    Returns
    -------
    means, factors, log_norm : (K, d), (K, d, d), (K,) arrays
        Of the marginals.
    regression, conditional : (K, m, d), (K, m, m) arrays
        B and C. They and factors are as many as those that were given.
    """
    cdef Py_ssize_t n_factors = factors.shape[0], K = means.shape[0]
    cdef Py_ssize_t D = factors.shape[1], d = observed.shape[0], m = missing.shape[0], k, f, i
    if d + m != D:
        raise ValueError(f"expected {D} columns, got {d} observed and {m} missing")
    cdef const Py_ssize_t *o = indices(observed, D)
    cdef const Py_ssize_t *gaps = indices(missing, D)
    if n_factors not in (1, K):
        raise ValueError(f"expected factors of {K} components or one, got {n_factors}")
    cdef const double *W = data(factors, n_factors * D * D)
    cdef const double *mu = data(means, K * D)
    cdef const double *norm = data(log_norm, K)
    own_means, marginal, own_norm = np.empty((K, d)), np.empty((n_factors, d, d)), np.empty(K)
    regression, conditional = np.empty((n_factors, m, d)), np.empty((n_factors, m, m))
    cdef double *out_means = data(own_means, K * d)
    cdef double *out_norm = data(own_norm, K)
    cdef double *out = data(marginal, n_factors * d * d)
    cdef double *B = data(regression, n_factors * m * d)
    cdef double *C = data(conditional, n_factors * m * m)
    cdef double log_det = 0
    cdef double *work = <double *> malloc((D * D + D + m * m) * sizeof(double))
    if work == NULL:
        raise MemoryError("marginals")
    with nogil:
        pick(K, D, d, o, mu, out_means)
        for f in range(n_factors):
            triangle_of(D, W + f * D * D, m, gaps, o, work)
            condition(D, m, work, work + D * D + D, out + f * d * d, B + f * m * d, C + f * m * m)
            log_det = 0
            for i in range(m):  # |W| = |R_mm| |R_oo|
                log_det += log(fabs(work[i * D + i]))
            for k in range(f, f + 1 if n_factors == K else K):
                out_norm[k] = norm[k] + m * HALF_LOG_2PI - log_det
    free(work)
    return own_means, marginal, own_norm, regression, conditional


def independent_marginals(cnp.ndarray scales, cnp.ndarray means, cnp.ndarray log_norm, cnp.ndarray observed,
                          cnp.ndarray missing):
    """Return means (K, d), scales (K, d) and log_norm (K,) of the marginals, and variances (K, m) of what is missing.

    scales (K, D) are 1 / sigma; else as `marginals`.
    """
    cdef Py_ssize_t K = scales.shape[0], D = scales.shape[1], d = observed.shape[0], m = missing.shape[0], k, j
    if d + m != D:
        raise ValueError(f"expected {D} columns, got {d} observed and {m} missing")
    cdef const Py_ssize_t *o = indices(observed, D)
    cdef const Py_ssize_t *gaps = indices(missing, D)
    cdef const double *scale = data(scales, K * D)
    cdef const double *mu = data(means, K * D)
    cdef const double *norm = data(log_norm, K)
    own_means, own_scales, own_norm, variances = np.empty((K, d)), np.empty((K, d)), np.empty(K), np.empty((K, m))
    cdef double *out_norm = data(own_norm, K)
    cdef double *variance = data(variances, K * m)
    cdef double one
    pick(K, D, d, o, mu, data(own_means, K * d))
    pick(K, D, d, o, scale, data(own_scales, K * d))
    for k in range(K):
        out_norm[k] = norm[k] + m * HALF_LOG_2PI
        for j in range(m):
            one = scale[k * D + gaps[j]]
            variance[k * m + j] = 1 / (one * one)
            out_norm[k] -= log(one)
    return own_means, own_scales, own_norm, variances


cdef void complete_one(Py_ssize_t D, Py_ssize_t d, Py_ssize_t m, const Py_ssize_t *o, const Py_ssize_t *gaps, double n,
                       const double *s, const double *S, const double *B, const double *C, const double *delta,
                       double *work, double *total_s, double *total_S) noexcept nogil:
    cdef Py_ssize_t i, j, h
    cdef double *t = work           # B s (m)
    cdef double *c = work + m       # c (m)
    cdef double *BS = work + 2 * m  # B S (m, d)
    cdef double sum
    for i in range(d):
        total_s[o[i]] += s[i]
        for j in range(d):
            total_S[o[i] * D + o[j]] += S[i * d + j]
    for i in range(m):
        t[i] = 0
        c[i] = delta[gaps[i]]
        for j in range(d):
            c[i] -= B[i * d + j] * delta[o[j]]
            t[i] += B[i * d + j] * s[j]
            BS[i * d + j] = 0
        for h in range(d):
            for j in range(d):
                BS[i * d + j] += B[i * d + h] * S[h * d + j]
        total_s[gaps[i]] += t[i] + n * c[i]
        for j in range(d):
            sum = BS[i * d + j] + c[i] * s[j]
            total_S[gaps[i] * D + o[j]] += sum
            total_S[o[j] * D + gaps[i]] += sum
    for i in range(m):
        for j in range(i + 1):
            sum = n * C[i * m + j] + c[i] * t[j] + c[j] * (t[i] + n * c[i])
            for h in range(d):
                sum += BS[i * d + h] * B[j * d + h]
            total_S[gaps[i] * D + gaps[j]] += sum
            if i != j:
                total_S[gaps[j] * D + gaps[i]] += sum


def complete(n, s, S, regression, conditional, delta, cnp.ndarray observed, cnp.ndarray missing, total_n, total_s,
             total_S):
    """Add the sums of completed rows to totals: see the head of this module.

    Parameters
    ----------
    n, s, S : (K,), (K, d), (K, d, d) arrays
        Sums over the rows of one pattern, of their observed features.
    regression, conditional : (K, m, d), (K, m, m) arrays
        B and C.
    delta : (K, D) array
        mu - p.
    observed, missing : (d,), (m,) intp arrays
    total_n, total_s, total_S : (K,), (K, D), (K, D, D) arrays
        Changed in place.
    """
    cdef Py_ssize_t K = total_s.shape[0], D = total_s.shape[1], d = observed.shape[0], m = missing.shape[0], k
    cdef const Py_ssize_t *o = indices(observed, D)
    cdef const Py_ssize_t *gaps = indices(missing, D)
    cdef const double *mass = data(n, K)
    cdef const double *sums = data(s, K * d)
    cdef const double *moments = data(S, K * d * d)
    cdef const double *B = data(regression, K * m * d)
    cdef const double *C = data(conditional, K * m * m)
    cdef const double *apart = data(delta, K * D)
    cdef double *all_n = data(total_n, K)
    cdef double *all_s = data(total_s, K * D)
    cdef double *all_S = data(total_S, K * D * D)
    cdef double *work = <double *> malloc((2 * m + m * d + 1) * sizeof(double))
    if work == NULL:
        raise MemoryError("completed statistics")
    with nogil:
        for k in range(K):
            all_n[k] += mass[k]
            complete_one(D, d, m, o, gaps, mass[k], sums + k * d, moments + k * d * d, B + k * m * d, C + k * m * m,
                         apart + k * D, work, all_s + k * D, all_S + k * D * D)
    free(work)


def complete_independent(n, s, S, variances, delta, cnp.ndarray observed, cnp.ndarray missing, total_n, total_s,
                         total_S):
    """As complete, where features are independent given the component.

    S and total_S are (K, d) and (K, D), or both (K,), the traces of these; variances are (K, m).
    """
    cdef Py_ssize_t K = total_s.shape[0], D = total_s.shape[1], d = observed.shape[0], m = missing.shape[0], k, j, at
    cdef bint traces = total_S.ndim == 1
    cdef const Py_ssize_t *o = indices(observed, D)
    cdef const Py_ssize_t *gaps = indices(missing, D)
    cdef const double *mass = data(n, K)
    cdef const double *sums = data(s, K * d)
    cdef const double *moments = data(S, K if traces else K * d)
    cdef const double *variance = data(variances, K * m)
    cdef const double *apart = data(delta, K * D)
    cdef double *all_n = data(total_n, K)
    cdef double *all_s = data(total_s, K * D)
    cdef double *all_S = data(total_S, K if traces else K * D)
    for k in range(K):
        all_n[k] += mass[k]
        if traces:
            all_S[k] += moments[k]
        for j in range(d):
            all_s[k * D + o[j]] += sums[k * d + j]
            if not traces:
                all_S[k * D + o[j]] += moments[k * d + j]
        for j in range(m):
            at = k * D + gaps[j]
            all_s[at] += mass[k] * apart[at]
            all_S[k if traces else at] += mass[k] * (variance[k * m + j] + apart[at] * apart[at])


def complete_rotated(n, s, S, regression, conditional, delta, from_shift, cnp.ndarray observed, cnp.ndarray missing,
                     total_n, total_s, total_S):
    """As complete, where all components have one regression and the scatter is pooled: see the head of this module.

    Parameters
    ----------
    n, s, S : (K,), (K, d), (d, d) arrays
        Weights and sums over the rows of one pattern, and T.
    regression, conditional : (m, d), (m, m) arrays
        B and C.
    delta, from_shift : (K, D) arrays
        mu - p and mu - h.
    observed, missing : (d,), (m,) intp arrays
    total_n, total_s, total_S : (K,), (K, D), (D, D) arrays
        Changed in place.
    """
    cdef Py_ssize_t K = total_s.shape[0], D = total_s.shape[1], d = observed.shape[0], m = missing.shape[0], k, i, j
    cdef const Py_ssize_t *o = indices(observed, D)
    cdef const Py_ssize_t *gaps = indices(missing, D)
    cdef const double *mass = data(n, K)
    cdef const double *sums = data(s, K * d)
    cdef const double *B = data(regression, m * d)
    cdef const double *apart = data(delta, K * D)
    cdef const double *away = data(from_shift, K * D)
    cdef double *all_n = data(total_n, K)
    cdef double *all_s = data(total_s, K * D)
    cdef double *all_S = data(total_S, D * D)
    cdef double *work = <double *> malloc((4 * m + m * d + 2 * D + 1) * sizeof(double))
    if work == NULL:
        raise MemoryError("completed statistics")
    cdef double *e = work + 2 * m + m * d  # (m); what is before it is for complete_one
    cdef double *Bt = e + m                # (m)
    cdef double *t = Bt + m                # (D)
    cdef double *ignored = t + D           # (D)
    cdef const double *T = data(S, d * d)
    cdef const double *C = data(conditional, m * m)
    cdef double total = 0, Bs
    with nogil:
        memset(t, 0, 2 * D * sizeof(double))
        for k in range(K):
            total += mass[k]
        # with T for S, and sums of zero: T, B T and B T B^T + n C
        complete_one(D, d, m, o, gaps, total, t, T, B, C, t, work, ignored, all_S)
        for k in range(K):
            all_n[k] += mass[k]
            for j in range(d):
                all_s[k * D + o[j]] += sums[k * d + j]
                t[j] = sums[k * d + j] + mass[k] * (away[k * D + o[j]] - apart[k * D + o[j]])
            for i in range(m):
                e[i] = away[k * D + gaps[i]]
                Bs = mass[k] * apart[k * D + gaps[i]]
                Bt[i] = 0
                for j in range(d):
                    e[i] -= B[i * d + j] * away[k * D + o[j]]
                    Bs += B[i * d + j] * (sums[k * d + j] - mass[k] * apart[k * D + o[j]])
                    Bt[i] += B[i * d + j] * t[j]
                all_s[k * D + gaps[i]] += Bs
                for j in range(d):
                    all_S[gaps[i] * D + o[j]] += e[i] * t[j]
                    all_S[o[j] * D + gaps[i]] += e[i] * t[j]
            for i in range(m):
                for j in range(m):
                    all_S[gaps[i] * D + gaps[j]] += e[i] * Bt[j] + Bt[i] * e[j] + mass[k] * e[i] * e[j]
    free(work)
