"""k-means in one call, for passes so short that what Python does between them takes most of the time.

Both functions do what `fastgmm.fitting.kmeans` does pass by pass, by the same passes in the same order, and so to the
same bits.
"""

from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.string cimport memset

import numpy as np

cimport numpy as cnp

from fastgmm.engine._block cimport FINE, NEAREST, POTENTIAL, Job, element
from fastgmm.engine._core cimport Kernel, float64_values
from fastgmm.engine._pass cimport new_job, run

cnp.import_array()


def lloyd(Kernel kernel, x, rows, weights, cnp.ndarray centres, Py_ssize_t max_iter, double gain, labels):
    """Move centres (K, D) in place by Lloyd's algorithm, then write labels (int64) if they are given; return inertia.

    kernel is that of the centres, of the spherical kind; x, rows, weights are as in `accumulate`. None is returned if a
    centre has lost its rows, or a row is not finite: then centres and labels are not to be used.
    """
    cdef Py_ssize_t K = kernel.model.K, D = kernel.model.D, k, j
    cdef const double *shift = kernel.model.shift
    cdef const double *factors = kernel.model.factors
    cdef const double *log_norm = kernel.model.log_norm
    cdef Job job = new_job(kernel, NEAREST, x, rows, weights)
    job.sums, job.partial_size = True, 2 + K * (1 + D)
    cdef cnp.ndarray total = np.empty(job.partial_size)
    cdef double *sums = float64_values(total)
    cdef double *here = float64_values(centres)
    cdef double *s
    cdef double before = INFINITY
    cdef bint goes_on = True
    while goes_on and max_iter > 0:
        max_iter -= 1
        kernel.place(here, factors, log_norm)
        job.model = kernel.model
        memset(sums, 0, job.partial_size * sizeof(double))
        if run(&job, 1, sums) != FINE:
            return None
        for k in range(K):
            s = sums + 2 + k * (1 + D)
            if not s[0] > 0:
                return None
            for j in range(D):
                here[k * D + j] = shift[j] + s[1 + j] / s[0]
        goes_on = before - sums[0] > gain * sums[0]
        before = sums[0]
    kernel.place(here, factors, log_norm)
    job.model, job.sums, job.partial_size = kernel.model, False, 2
    job.labels = NULL if labels is None else <int64_t *> cnp.PyArray_DATA(labels)
    memset(sums, 0, 2 * sizeof(double))
    return sums[0] if run(&job, 1, sums) == FINE else None


cdef void pile(Py_ssize_t n, const double *closest, const double *weights, double *heap) noexcept nogil:
    cdef double sum = 0
    cdef Py_ssize_t i
    for i in range(n):
        sum += closest[i] * weights[i] if weights != NULL else closest[i]
        heap[i] = sum


def heap_of(cnp.ndarray closest, weights):
    """Return the masses of rows, squared distances (n,) times weights if these are given, each added to all before."""
    cdef cnp.ndarray out = np.empty(closest.size)
    pile(closest.size, float64_values(closest), NULL if weights is None else float64_values(weights),
         float64_values(out))
    return out


cdef Py_ssize_t drawn(Py_ssize_t n, const double *heap, double draw) noexcept nogil:
    """The first position whose heap is above a share of the whole; in proportion to the number where all is zero."""
    cdef Py_ssize_t low = 0, high = n, middle
    if not heap[n - 1] > 0:
        return min(n - 1, <Py_ssize_t> (draw * n))
    draw *= heap[n - 1]
    while low < high:
        middle = (low + high) // 2
        if heap[middle] > draw:
            high = middle
        else:
            low = middle + 1
    return min(low, n - 1)


def positions(cnp.ndarray heap, cnp.ndarray draws):
    """Return the positions that draws in [0, 1) have among rows whose masses add up to a heap (n,)."""
    cdef const double *draw = float64_values(draws)
    cdef const double *masses = float64_values(heap)
    cdef cnp.ndarray out = np.empty(draws.size, np.intp)
    cdef Py_ssize_t *place = <Py_ssize_t *> cnp.PyArray_DATA(out)
    cdef Py_ssize_t i
    for i in range(draws.size):
        place[i] = drawn(heap.size, masses, draw[i])
    return out


def seed(Kernel one, Kernel some, x, rows, weights, Py_ssize_t first, cnp.ndarray draws):
    """Return the positions (K,) of the rows that greedy k-means++ takes as centres; None if a row is not finite.

    one and some are kernels of a single centre and of n_trials, of the spherical kind, about the same shift; x, rows,
    weights are as in `accumulate`. first is the position of the first centre, draws (K - 1, n_trials) are in [0, 1).
    """
    cdef Py_ssize_t K = 1 + draws.shape[0], T = draws.shape[1], D = one.model.D, t, k, best
    cdef Job far = new_job(one, NEAREST, x, rows, weights), price = new_job(some, POTENTIAL, x, rows, weights)
    cdef Py_ssize_t n = far.n_rows, i
    price.partial_size = 2 + T
    # distances of the last centre and of the closest, masses added up, candidates, and sums of a pass
    cdef cnp.ndarray room = np.empty(3 * n + T * D + 2 + T), places = np.empty(T, np.intp), out = np.empty(K, np.intp)
    cdef double *last = float64_values(room)
    cdef double *closest = last + n
    cdef double *heap = closest + n
    cdef double *points = heap + n
    cdef double *sums = points + T * D
    cdef Py_ssize_t *place = <Py_ssize_t *> cnp.PyArray_DATA(places)
    cdef Py_ssize_t *chosen = <Py_ssize_t *> cnp.PyArray_DATA(out)
    cdef const double *draw = float64_values(draws)
    chosen[0] = first
    memset(sums, 0, 2 * sizeof(double))
    for k in range(1, K):
        take(&far, chosen[k - 1], points)
        one.place(points, one.model.factors, one.model.log_norm)
        far.model, far.distance = one.model, last
        if run(&far, 1, sums) != FINE:
            return None
        for i in range(n):
            closest[i] = last[i] if k == 1 else min(closest[i], last[i])
        pile(n, closest, far.weights, heap)
        for t in range(T):
            place[t] = drawn(n, heap, draw[(k - 1) * T + t])
            take(&far, place[t], points + t * D)
        some.place(points, some.model.factors, some.model.log_norm)
        price.model, price.distance = some.model, closest
        memset(sums, 0, (2 + T) * sizeof(double))
        if run(&price, 1, sums) != FINE:
            return None
        best = 0
        for t in range(1, T):
            if sums[2 + t] < sums[2 + best]:
                best = t
        chosen[k] = place[best]
    return out


cdef void take(const Job *job, Py_ssize_t position, double *row) noexcept nogil:
    """Copy one of the visited rows (D,)."""
    cdef Py_ssize_t j
    for j in range(job.model.D):
        row[j] = element(&job.rows, position, j)
