"""k-means of few rows, packed: greedy k-means++ seeding and Lloyd's algorithm.

One thread works through a group of panels and leaves its sums there; they are added up in the order of the groups. So
no result depends on the number of threads.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, isfinite
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

import numpy as np

cimport numpy as cnp

from fastgmm.engine._core cimport FG_ALIGN, FG_PANEL, FG_SPHERICAL, float64_values, padded, row_work
from fastgmm.engine._panels cimport Packed, Panels, Points, _Room, real, value, weight

cnp.import_array()

cdef double SERIAL_WORK = 4e7  # of a pass (see `row_work`), below which a second thread is hardly there in time

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1


cdef struct Partition:
    # what an iteration of Lloyd's algorithm knows of the one before
    int32_t *label           # (P, FG_PANEL), -1 before the first
    double *distance2        # (P, FG_PANEL) to the nearest centre
    double *sums             # (groups, K, 1 + D): weight, and weighted sum of the rows minus shift
    int64_t *count           # (groups, K) rows
    double *inertia          # (groups)
    char *logit              # (threads, K, FG_PANEL) REAL
    int32_t *found           # (threads, FG_PANEL): labels of one panel


def seed(Panels panels, Py_ssize_t first, cnp.ndarray draws, int n_threads):
    """Return the positions (K,) of the rows that greedy k-means++ takes as centres.

    first is the position of the first centre, draws (K - 1, n_trials) in [0, 1) say which candidates each further
    one has.
    """
    cdef const Packed *r = &panels.rows
    cdef Py_ssize_t K = 1 + draws.shape[0], T = draws.shape[1], i, k, t, best
    cdef Points points
    cdef _Room _held = panels.points(T, &points)
    cdef _Room room = _Room(r.P * T * FG_PANEL * r.item + r.P * (FG_PANEL + 1) * 8 + r.groups * T * 8
                            + 4 * FG_ALIGN)
    cdef char *logit = <char *> room.take(r.P * T * FG_PANEL * r.item)  # of all candidates
    cdef double *closest = <double *> room.take(r.P * FG_PANEL * 8)  # squared distance to the closest centre
    cdef double *heap = <double *> room.take(r.P * 8)  # of weights times these, panels added up
    cdef double *sums = <double *> room.take(r.groups * T * 8)
    cdef cnp.ndarray out = np.empty(K, np.intp), places = np.empty(T, np.intp)
    cdef Py_ssize_t *chosen = <Py_ssize_t *> cnp.PyArray_DATA(out)
    cdef Py_ssize_t *place = <Py_ssize_t *> cnp.PyArray_DATA(places)
    cdef const double *draw = float64_values(draws)
    cdef Py_ssize_t trials = 1  # there is no choice of the first
    n_threads = threads_of(r, T, n_threads)
    place[0] = first
    for i in range(r.P * FG_PANEL):
        closest[i] = INFINITY if i < r.n else 0
    for k in range(K):
        points.K, best = trials, 0
        with nogil:
            for t in range(trials):
                take(r, place[t], points.mu, t)
            price(r, &points, logit, closest, sums, n_threads)
        for t in range(1, trials):
            if sums[t] < sums[best]:
                best = t
        chosen[k] = place[best]
        if k + 1 < K:
            come_closer(r, trials, best, logit, closest, heap)
            trials = T
            for t in range(T):
                place[t] = drawn(r, closest, heap, draw[k * T + t])
        PyErr_CheckSignals()
    return out


def lloyd(Panels panels, cnp.ndarray centres, Py_ssize_t max_iter, double gain, labels, int n_threads):
    """Move centres (K, D), minus shift, in place by Lloyd's algorithm, and return the inertia before the last move.

    The centres are then the means of the clusters that labels (int64, if they are given) name.
    """
    cdef const Packed *r = &panels.rows
    cdef Py_ssize_t K = centres.shape[0], D = r.D, i
    cdef Points points
    cdef Partition parts
    cdef _Room _held = panels.points(K, &points)
    n_threads = threads_of(r, K, n_threads)
    cdef _Room room = _Room(r.P * FG_PANEL * 12 + r.groups * (K * (2 + D) + 1) * 8
                            + n_threads * (padded(K * FG_PANEL * r.item) + FG_PANEL * 4) + 7 * FG_ALIGN)
    cdef double *here = float64_values(centres)
    cdef double before = INFINITY, inertia = INFINITY
    cdef int64_t *out = NULL if labels is None else <int64_t *> cnp.PyArray_DATA(labels)
    parts.label = <int32_t *> room.take(r.P * FG_PANEL * 4)
    parts.distance2 = <double *> room.take(r.P * FG_PANEL * 8)
    parts.sums = <double *> room.take(r.groups * K * (1 + D) * 8)
    parts.count = <int64_t *> room.take(r.groups * K * 8)
    parts.inertia = <double *> room.take(r.groups * 8)
    parts.logit = <char *> room.take(n_threads * padded(K * FG_PANEL * r.item))
    parts.found = <int32_t *> room.take(n_threads * FG_PANEL * 4)
    memset(parts.label, -1, r.P * FG_PANEL * 4)
    while max_iter > 0:
        max_iter -= 1
        for i in range(K * D):
            if r.single:
                (<float *> points.mu)[i] = <float> here[i]
            else:
                (<double *> points.mu)[i] = here[i]
        with nogil:
            inertia = assign(r, &points, &parts, n_threads)
            move(r, K, &parts, here)
        PyErr_CheckSignals()
        if not before - inertia > gain * inertia:  # nor where it overflowed
            break
        before = inertia
    if out != NULL:
        for i in range(r.n):
            out[i] = parts.label[i]
    return inertia * r.unit


cdef int threads_of(const Packed *r, Py_ssize_t K, int n_threads) noexcept nogil:
    return 1 if r.n * row_work(FG_SPHERICAL, K, r.D, 0) < SERIAL_WORK else <int> min(n_threads, r.groups)


cdef void take(const Packed *r, Py_ssize_t i, char *mu, Py_ssize_t k) noexcept nogil:
    """Make row i the k-th point."""
    cdef Py_ssize_t j
    for j in range(r.D):
        if r.single:
            (<float *> mu)[k * r.D + j] = <float> value(r, i, j)
        else:
            (<double *> mu)[k * r.D + j] = value(r, i, j)


# ----------------------------------------------------------------------------------------------------------- seeding

cdef void price_group(const Packed *r, const Points *points, Py_ssize_t group, char *logit, const double *closest,
                      double *sums) noexcept nogil:
    cdef Py_ssize_t first = group * r.per_group, last = min(r.P, first + r.per_group), p, T = points.K
    memset(sums, 0, T * sizeof(double))
    r.leaf.logits_spherical(r.z + first * r.D * FG_PANEL * r.item, last - first, T, r.D, points.mu, points.scale,
                            points.zero, logit + first * T * FG_PANEL * r.item, NULL, 0)
    for p in range(first, last):
        r.leaf.potential(logit + p * T * FG_PANEL * r.item, T, closest + p * FG_PANEL, r.w + p * FG_PANEL * r.item,
                         sums)


cdef void price(const Packed *r, const Points *points, char *logit, const double *closest, double *sums,
                int n_threads) noexcept nogil:
    """sums (T) <- the inertia if each of the T points became a centre, logit (P, T, FG_PANEL) their distances."""
    cdef Py_ssize_t T = points.K, group, t
    if n_threads == 1:
        for group in range(r.groups):
            price_group(r, points, group, logit, closest, sums + group * T)
    else:
        for group in prange(r.groups, schedule="dynamic", chunksize=1, num_threads=n_threads):
            price_group(r, points, group, logit, closest, sums + group * T)
    for group in range(1, r.groups):
        for t in range(T):
            sums[t] += sums[group * T + t]


cdef void closer(const real *w, const real *logit, Py_ssize_t P, Py_ssize_t stride, double *closest,
                 double *heap) noexcept nogil:
    cdef Py_ssize_t p, i
    cdef double sum, all = 0, distance
    for p in range(P):
        sum = 0
        for i in range(FG_PANEL):
            distance = -<double> logit[p * stride + i]
            if distance < closest[p * FG_PANEL + i]:
                closest[p * FG_PANEL + i] = distance
            sum += w[p * FG_PANEL + i] * closest[p * FG_PANEL + i]
        all += sum
        heap[p] = all


cdef void come_closer(const Packed *r, Py_ssize_t T, Py_ssize_t best, const char *logit, double *closest,
                      double *heap) noexcept nogil:
    """Make one of T points a centre."""
    logit += best * FG_PANEL * r.item
    if r.single:
        closer[float](<const float *> r.w, <const float *> logit, r.P, T * FG_PANEL, closest, heap)
    else:
        closer[double](<const double *> r.w, <const double *> logit, r.P, T * FG_PANEL, closest, heap)


cdef Py_ssize_t drawn(const Packed *r, const double *closest, const double *heap, double draw) noexcept nogil:
    """The first row whose heap is above a share of the whole; in proportion to the number where all is zero."""
    cdef Py_ssize_t low = 0, high = r.P - 1, middle, i, last
    cdef double all = heap[r.P - 1]
    if not (all > 0 and isfinite(all)):
        return min(r.n - 1, <Py_ssize_t> (draw * r.n))
    draw *= all
    while low < high:
        middle = (low + high) // 2
        if heap[middle] > draw:
            high = middle
        else:
            low = middle + 1
    draw -= heap[low - 1] if low > 0 else 0
    last = min(r.n, (low + 1) * FG_PANEL) - 1
    for i in range(low * FG_PANEL, last + 1):
        draw -= weight(r, i) * closest[i]
        if draw < 0:
            return i
    while last > low * FG_PANEL and not weight(r, last) * closest[last] > 0:  # only rounding comes here
        last -= 1
    return last


# ------------------------------------------------------------------------------------------------ Lloyd's algorithm

cdef void add_row(const real *z, Py_ssize_t D, double w, double *sums) noexcept nogil:
    """Add w times a row, whose features lie FG_PANEL apart, to weight and sums."""
    cdef Py_ssize_t j
    sums[0] += w
    for j in range(D):
        sums[1 + j] += w * z[j * FG_PANEL]


cdef void relabel(const Packed *r, Py_ssize_t p, const int32_t *found, int32_t *label, double *sums,
                  int64_t *count) noexcept nogil:
    """Move the rows of one panel from the clusters that they were in to those they are found in."""
    cdef Py_ssize_t i, size = 1 + r.D, at = p * r.D * FG_PANEL
    cdef double w
    for i in range(min(FG_PANEL, r.n - p * FG_PANEL)):
        if found[i] == label[i]:
            continue
        w = weight(r, p * FG_PANEL + i)
        if r.single:
            add_row[float](<const float *> r.z + at + i, r.D, w, sums + found[i] * size)
        else:
            add_row[double](<const double *> r.z + at + i, r.D, w, sums + found[i] * size)
        count[found[i]] += 1
        if label[i] >= 0:
            if r.single:
                add_row[float](<const float *> r.z + at + i, r.D, -w, sums + label[i] * size)
            else:
                add_row[double](<const double *> r.z + at + i, r.D, -w, sums + label[i] * size)
            count[label[i]] -= 1
        label[i] = found[i]


cdef void assign_group(const Packed *r, const Points *points, Py_ssize_t group, char *logit, int32_t *found,
                       Partition *parts) noexcept nogil:
    cdef Py_ssize_t first = group * r.per_group, last = min(r.P, first + r.per_group), p, i, K = points.K
    cdef double inertia[4]
    cdef double *distance2
    cdef double *sums = parts.sums + group * K * (1 + r.D)
    cdef int64_t *count = parts.count + group * K
    for i in range(4):
        inertia[i] = 0
    if r.uneven:  # what heavy rows leave behind as they go might be more than light ones weigh
        memset(parts.label + first * FG_PANEL, -1, (last - first) * FG_PANEL * 4)
        memset(sums, 0, K * (1 + r.D) * 8)
        memset(count, 0, K * 8)
    for p in range(first, last):
        distance2 = parts.distance2 + p * FG_PANEL
        r.leaf.logits_spherical(r.z + p * r.D * FG_PANEL * r.item, 1, K, r.D, points.mu, points.scale, points.zero,
                                logit, NULL, 0)
        r.leaf.nearest(logit, K, found, distance2)
        for i in range(FG_PANEL):
            distance2[i] = -distance2[i]
        for i in range(0, FG_PANEL, 4):
            inertia[0] += weight(r, p * FG_PANEL + i) * distance2[i]
            inertia[1] += weight(r, p * FG_PANEL + i + 1) * distance2[i + 1]
            inertia[2] += weight(r, p * FG_PANEL + i + 2) * distance2[i + 2]
            inertia[3] += weight(r, p * FG_PANEL + i + 3) * distance2[i + 3]
        relabel(r, p, found, parts.label + p * FG_PANEL, sums, count)
    parts.inertia[group] = (inertia[0] + inertia[1]) + (inertia[2] + inertia[3])


cdef double assign(const Packed *r, const Points *points, Partition *parts, int n_threads) noexcept nogil:
    """Give every row to its nearest centre; return the inertia, in the unit of weights."""
    cdef Py_ssize_t group, stride = padded(points.K * FG_PANEL * r.item)
    cdef double inertia = 0
    if n_threads == 1:
        for group in range(r.groups):
            assign_group(r, points, group, parts.logit, parts.found, parts)
    else:
        for group in prange(r.groups, schedule="dynamic", chunksize=1, num_threads=n_threads):
            assign_group(r, points, group, parts.logit + threadid() * stride, parts.found + threadid() * FG_PANEL,
                         parts)
    for group in range(r.groups):
        inertia = inertia + parts.inertia[group]
    return inertia


cdef void move(const Packed *r, Py_ssize_t K, Partition *parts, double *centres) noexcept nogil:
    """Put centres (K, D) at the means of their rows; those that have none at the rows farthest from theirs."""
    cdef Py_ssize_t k, j, group, size = 1 + r.D, row
    cdef int64_t count
    cdef double n
    for k in range(K):
        n, count = 0, 0
        for group in range(r.groups):
            count += parts.count[group * K + k]
            n += parts.sums[(group * K + k) * size]
        if count == 0:
            row = farthest(r, parts.distance2)
            for j in range(r.D):
                centres[k * r.D + j] = value(r, row, j)
            parts.distance2[row] = 0
            continue
        for j in range(r.D):
            centres[k * r.D + j] = 0
        for group in range(r.groups):
            if parts.count[group * K + k] > 0:
                for j in range(r.D):
                    centres[k * r.D + j] += parts.sums[(group * K + k) * size + 1 + j]
        for j in range(r.D):
            centres[k * r.D + j] /= n


cdef Py_ssize_t farthest(const Packed *r, const double *distance2) noexcept nogil:
    cdef Py_ssize_t i, best = 0
    for i in range(1, r.n):
        if distance2[i] > distance2[best]:
            best = i
    return best
