"""Several steps of EM in one call, for passes so short that what Python does between them takes most of the time.

A step is what `Family.constants`, `accumulate` and `Family.maximise` do one after the other, by the same functions in
the same order, and so to the same bits. Covariances are the second moments of a pass per unit of weight, or what is
nearest to them among those that have something in common (_structures.pyx). A step that asks for more than that (a
component has lost its rows, a matrix is not positive definite, moments cancelled) is not made here: the steps end
before it.
"""

from libc.math cimport fabs
from libc.stdint cimport int64_t
from libc.string cimport memset

import numpy as np

cimport numpy as cnp

from fastgmm.engine._block cimport ACCUMULATE, FINE, SCORE, Job
from fastgmm.engine._core cimport (
    FG_DIAGONAL, FG_FULL, FG_ROTATED, FG_SPHERICAL, FG_TOGETHER, Kernel, Model, float64_values, row_work,
)
from fastgmm.engine._linalg cimport (
    centre, centre_diagonal, centre_full, centre_rotated, centre_spherical, divide, finite, invert, invert_variances,
    normalise, reach, share, sum_logs, unpack,
)
from fastgmm.engine._panels cimport Panels
from fastgmm.engine._pass cimport add_layout, data_of, new_job, run
from fastgmm.engine._structures cimport Nearest

cnp.import_array()


cdef Py_ssize_t MOST_PACKED = 1 << 20  # bytes of rows that are packed once for all steps
cdef double SHORT_WORK = 2e6  # about a tenth of a millisecond: ten times what Python takes between two passes


def is_short(Kernel kernel, Py_ssize_t n_rows):
    """Return whether a pass over so many rows is so short that what Python does between two of them matters."""
    cdef Model *m = &kernel.model
    return n_rows * row_work(m.kind, m.K, m.D, m.rank) < SHORT_WORK


cdef class Steps:
    """Steps of EM over the same rows.

    Parameters
    ----------
    kernel : Kernel
        Of any mixture of the kind and shape, with the shift of all. It becomes that of every step in turn.
    x, rows, weights, known
        As `accumulate` takes them.
    scatter : (D, D) array or None
        Of the rotated kind: the total scatter about the shift.
    reg_covar : float
        Added to the diagonals of the covariances.
    least_share : float
        Of the weight: a component of less has lost its rows.
    most_cancellation : float
        Moments that cancelled by a larger factor are taken again.
    most_spread : float
        Of the rotated kind: largest distance of a mean from the shift, in standard deviations.
    structure : str or None
        What the covariances have in common: see `_structures.nearest`.
    """

    cdef Kernel kernel
    cdef Job job
    cdef tuple keep               # owners of what the job points to
    cdef Panels panels            # the rows, None where they are many
    cdef object room              # memory of what follows
    cdef double *total            # sums of a pass
    cdef Nearest nearest          # None where the covariances have nothing in common
    cdef double *n                # (K)
    cdef double *divisor          # (K)
    cdef double *s                # (K, D)
    cdef double *S                # second moments: see `Statistics`
    cdef double *within           # of the size of S
    cdef double *pivot            # (K, D)
    cdef double *log_norm         # (K)
    cdef double *log_det          # (K)
    cdef double *work             # (D, D), and what `reach` needs
    cdef double *scatter          # (D, D)
    cdef Py_ssize_t n_moments     # float64 numbers of S, of the covariances and of the factors
    cdef double reg_covar, least_share, most_cancellation, most_spread

    def __cinit__(self, Kernel kernel, x, rows, weights, known, scatter, double reg_covar, double least_share,
                  double most_cancellation, double most_spread, structure):
        cdef Model *m = &kernel.model
        cdef Py_ssize_t K = m.K, D = m.D
        cdef double *at
        self.kernel, self.keep = kernel, (x, rows, weights, known, scatter)
        self.job = new_job(kernel, ACCUMULATE, x, rows, weights)
        add_layout(&self.job)
        self.job.pivot = m.mu
        self.job.known = <const int64_t *> data_of(known)
        self.pack(x, rows, weights)
        self.scatter = <double *> data_of(scatter)
        self.reg_covar, self.least_share = reg_covar, least_share
        self.most_cancellation, self.most_spread = most_cancellation, most_spread
        self.n_moments = {FG_FULL: K * D * D, FG_DIAGONAL: K * D, FG_SPHERICAL: K, FG_ROTATED: D * D}[m.kind]
        self.nearest = None if structure is None else Nearest(structure, K, D)
        self.room = np.empty(self.job.partial_size + 4 * K + 2 * K * D + 2 * self.n_moments
                             + max(D, 2 * FG_TOGETHER) * D)
        at = float64_values(self.room)
        self.total = at
        self.n = at = at + self.job.partial_size
        self.divisor = at = at + K
        self.log_norm = at = at + K
        self.log_det = at = at + K
        self.s = at = at + K
        self.pivot = at = at + K * D
        self.S = at = at + K * D
        self.within = at = at + self.n_moments
        self.work = at + self.n_moments

    cdef void pack(self, x, rows, weights) except *:
        """Pack the rows once for all steps, if they are few and finite."""
        cdef Model *m = &self.kernel.model
        if self.job.n_rows * m.D * m.item > MOST_PACKED:
            return
        self.panels = Panels(self.job.n_rows, np.array(<double[:m.D]> <double *> m.shift), m.single, weights.unit)
        if self.panels.fill(0, x, rows, weights.values):
            self.job.packed, self.job.packed_weights = self.panels.rows.z, self.panels.rows.w

    def run(self, cnp.ndarray weights, cnp.ndarray means, cnp.ndarray covariances, cnp.ndarray factors,
            Py_ssize_t count, double before, double enough):
        """Make up to count steps.

        Parameters
        ----------
        weights : (K,), means : (K, D), covariances : in the shape of the factors, factors : see `KernelConstants`
            Where they begin.
        count : int
        before : float
            Mean log-likelihood before the last step that was made.
        enough : float
            The steps end with one whose mean log-likelihood differs by less from that of the step before.

        Returns
        -------
        bounds : list of float
            Mean log-likelihood before each of the steps that were made.
        weights, means, covariances, factors : arrays
            After each step, along the first axis; what comes after the last step is not set.
        """
        cdef Py_ssize_t K = self.kernel.model.K, D = self.kernel.model.D, size = self.n_moments, made = 0
        cdef cnp.ndarray all_weights = np.empty((count, K)), all_means = np.empty((count, K, D))
        shape = (count, *(<object> factors).shape)
        cdef cnp.ndarray all_covariances = np.empty(shape), all_factors = np.empty(shape)
        cdef const double *w = float64_values(weights)
        cdef const double *mu = float64_values(means)
        cdef const double *C = float64_values(covariances)
        cdef const double *W = float64_values(factors)
        cdef double *next_w = float64_values(all_weights)
        cdef double *next_mu = float64_values(all_means)
        cdef double *next_W = float64_values(all_factors)
        cdef double *next_C = float64_values(all_covariances)
        cdef double bound
        bounds = []
        while made < count and self.evaluate(w, mu, W) and self.maximise(mu, C, next_w, next_mu, next_C, next_W):
            bound = self.total[0] / self.total[1]
            bounds.append(bound)
            if fabs(bound - before) < enough:
                break
            before, made = bound, made + 1
            w, mu, C, W = next_w, next_mu, next_C, next_W
            next_w, next_mu, next_C, next_W = next_w + K, next_mu + K * D, next_C + size, next_W + size
        return bounds, all_weights, all_means, all_covariances, all_factors

    def score(self, cnp.ndarray weights, cnp.ndarray means, cnp.ndarray factors):
        """Return log-likelihood and weight of the rows under a mixture; None if they are to be had elsewhere."""
        cdef double total[2]
        cdef Job job
        if not self.place(float64_values(weights), float64_values(means), float64_values(factors)):
            return None
        job = self.job
        job.task, job.partial_size, total[0], total[1] = SCORE, 2, 0, 0
        return (total[0], total[1]) if run(&job, 1, total) == FINE else None

    cdef bint evaluate(self, const double *weights, const double *means, const double *factors) except -1:
        """Make the pass under a mixture; False if it has to be made elsewhere."""
        if not self.place(weights, means, factors):
            return False
        memset(self.total, 0, self.job.partial_size * sizeof(double))
        return run(&self.job, 1, self.total) == FINE

    cdef bint place(self, const double *weights, const double *means, const double *factors) except -1:
        """Make the kernel that of a mixture; False if the constants of that are of another kind."""
        cdef Model *m = &self.kernel.model
        cdef Py_ssize_t K = m.K, D = m.D, k
        if m.kind == FG_FULL:
            sum_logs(K, D, factors, D * D, D + 1, self.log_det)
        elif m.kind == FG_DIAGONAL:
            sum_logs(K, D, factors, D, 1, self.log_det)
        elif m.kind == FG_SPHERICAL:
            sum_logs(K, 1, factors, 1, 1, self.log_det)
            for k in range(K):
                self.log_det[k] *= D
        else:
            if reach(K, D, means, m.shift, factors, self.work) > self.most_spread:
                return False
            sum_logs(1, D, factors, D * D, D + 1, self.log_det)
            for k in range(1, K):
                self.log_det[k] = self.log_det[0]
        normalise(K, D, weights, self.log_det, self.log_norm)
        self.kernel.place(means, factors, self.log_norm)
        self.job.model = self.kernel.model
        return True

    cdef bint maximise(self, const double *before, const double *covariances_before, double *weights, double *means,
                       double *covariances, double *factors) except -1:
        """Make the M-step of the pass under what was before; False if it has to be made elsewhere."""
        cdef Model *m = &self.kernel.model
        cdef Py_ssize_t K = m.K, D = m.D, k
        cdef double *free = covariances if self.nearest is None else self.within
        cdef double mass
        self.split(before)
        if share(K, self.n, self.least_share, weights, &mass):
            return False
        centre(K, D, self.n, self.s, self.pivot, means)
        if self.centre_moments(means) > self.most_cancellation or not finite(K * D, means):
            return False
        if m.kind == FG_ROTATED:
            divide(1, D * D, D + 1, self.within, &mass, self.reg_covar, covariances)
            return invert(1, D, covariances, self.work, factors) == 1
        for k in range(K):
            self.divisor[k] = self.n[k] * D if m.kind == FG_SPHERICAL else self.n[k]
        divide(K, self.n_moments // K, D + 1 if m.kind == FG_FULL else 1, self.within, self.divisor, self.reg_covar,
               free)
        if self.nearest is not None and self.nearest.find(free, self.n, covariances_before, covariances) < K:
            return False
        if m.kind == FG_FULL:
            return invert(K, D, covariances, self.work, factors) == K
        return invert_variances(self.n_moments, covariances, factors) == self.n_moments

    cdef void split(self, const double *means) noexcept:
        """Split the sums of the pass into n, s and S, and say what they are about."""
        cdef Model *m = &self.kernel.model
        cdef Py_ssize_t K = m.K, D = m.D, size = self.job.moment_size, k, j
        cdef const double *sums = self.total + 2
        for k in range(K):
            for j in range(D):
                self.pivot[k * D + j] = (
                    m.shift[j] + (<const float *> m.mu)[k * D + j] if m.single else means[k * D + j]
                )
        if m.kind == FG_FULL:
            unpack(K, D, sums, self.n, self.s, self.S)
            return
        for k in range(K):
            self.n[k] = sums[k * size]
            for j in range(D):
                self.s[k * D + j] = sums[k * size + 1 + j]
            for j in range(size - 1 - D):
                self.S[k * (size - 1 - D) + j] = sums[k * size + 1 + D + j]

    cdef double centre_moments(self, const double *means) noexcept:
        """Take the second moments about the means; return the factor by which they cancelled."""
        cdef Model *m = &self.kernel.model
        if m.kind == FG_FULL:
            return centre_full(m.K, m.D, self.n, self.s, self.S, self.within)
        if m.kind == FG_DIAGONAL:
            return centre_diagonal(m.K, m.D, self.n, self.s, self.S, self.within)
        if m.kind == FG_SPHERICAL:
            return centre_spherical(m.K, m.D, self.n, self.s, self.S, self.within)
        return centre_rotated(m.K, m.D, self.n, means, self.scatter, m.shift, self.within)
