"""Model-based agglomeration: rows, each a cluster at first, are merged two by two where that costs least likelihood.

A cluster has a weight n, a mean m and a scatter W about it. Merging i and j gives

    n = n_i + n_j,    W = W_i + W_j + n_i n_j / n d d^T,    d = m_i - m_j.

`merge_free` minimises the criterion of a covariance for each cluster (VVV), sum_k n_k log|(W_k + I) / n_k|: the
matrix I stands for one row of the data's covariance, in whose units rows have to come, so that clusters of few rows
have a determinant. `merge_shared` minimises that of one covariance for all (EEE), log|I + sum_k W_k|, where a merger
costs n_i n_j / n d^T M d to first order, M = (I + sum_k W_k)^-1. M is renewed whenever a tenth of the clusters has
gone, and distances are those of its last renewal in between.

Costs of all pairs are kept, and for every cluster the cheapest of its partners with a higher number (Muellner 2013,
J. Stat. Softw. 53(9), the generic algorithm). Of equal costs the pair with the lowest numbers is merged.

Fraley (1998), SIAM J. Sci. Comput. 20:270; Banfield and Raftery (1993), Biometrics 49:803.
"""

from libc.math cimport INFINITY, log, sqrt

import numpy as np

cdef double RENEWAL = 0.9  # of the clusters that there were when the shared metric was last made


cdef struct Forest:
    Py_ssize_t n, d
    double *weight  # (n,)
    double *mean  # (n, d)
    double *scatter  # (n, d, d): W, lower triangles
    double *factor  # (n, d, d): Cholesky factors of W + I, lower triangles
    double *term  # (n,): n log|(W + I) / n|
    double *cost  # (n, n): of pairs i < j
    Py_ssize_t *partner  # (n,): the cheapest j > i, -1 if there is none
    double *cheapest  # (n,)
    Py_ssize_t *rows  # (n,): of the data, -1 for more than one
    Py_ssize_t *alive  # (n,): numbers of the clusters that are left, ascending
    Py_ssize_t n_alive
    double *work  # (d + d * d,)


cdef double factorise(Py_ssize_t d, const double *A, double *L) noexcept nogil:
    """Write the lower Cholesky factor of A (d, d) to L; return log|A|."""
    cdef Py_ssize_t i, j, k
    cdef double value, logarithm = 0
    for i in range(d):
        for j in range(i + 1):
            value = A[i * d + j]
            for k in range(j):
                value -= L[i * d + k] * L[j * d + k]
            if i > j:
                L[i * d + j] = value / L[j * d + j]
            else:
                L[i * d + i] = sqrt(value)
                logarithm += log(value)
    return logarithm


cdef double solved_length2(Py_ssize_t d, const double *L, const double *offset, double *x) noexcept nogil:
    """Return |L^-1 offset|^2, with x (d,) for work."""
    cdef Py_ssize_t i, k
    cdef double value, length2 = 0
    for i in range(d):
        value = offset[i]
        for k in range(i):
            value -= L[i * d + k] * x[k]
        x[i] = value / L[i * d + i]
        length2 += x[i] * x[i]
    return length2


cdef double free_cost(Forest *f, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    """Return what the merger of i and j adds to sum_k n_k log|(W_k + I) / n_k|."""
    cdef Py_ssize_t d = f.d, a, b
    cdef double n = f.weight[i] + f.weight[j]
    cdef double share = f.weight[i] * f.weight[j] / n, log_det
    cdef double *offset = f.work
    cdef double *A = f.work + d
    cdef const double *Wi = f.scatter + i * d * d
    cdef const double *Wj = f.scatter + j * d * d
    for a in range(d):
        offset[a] = f.mean[i * d + a] - f.mean[j * d + a]
    if f.rows[i] >= 0 or f.rows[j] >= 0:  # one has no scatter: |A + s d d^T| = |A| (1 + s d^T A^-1 d)
        if f.rows[j] < 0:
            i, j = j, i
        log_det = f.term[i] / f.weight[i] + d * log(f.weight[i])
        log_det += log(1 + share * solved_length2(d, f.factor + i * d * d, offset, A))
    else:
        for a in range(d):
            for b in range(a + 1):
                A[a * d + b] = Wi[a * d + b] + Wj[a * d + b] + share * offset[a] * offset[b]
            A[a * d + a] += 1
        log_det = factorise(d, A, A)
    return n * (log_det - d * log(n)) - f.term[i] - f.term[j]


cdef double shared_cost(Forest *f, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    """Return n_i n_j / n |m_i - m_j|^2, the means being in the metric of the last renewal."""
    cdef Py_ssize_t d = f.d, a
    cdef double distance2 = 0, offset
    for a in range(d):
        offset = f.mean[i * d + a] - f.mean[j * d + a]
        distance2 += offset * offset
    return f.weight[i] * f.weight[j] / (f.weight[i] + f.weight[j]) * distance2


cdef void find_partner(Forest *f, Py_ssize_t i, Py_ssize_t place) noexcept nogil:
    """Note the cheapest partner of i, whose place among those alive is given."""
    cdef Py_ssize_t at, j
    cdef double cost
    f.partner[i], f.cheapest[i] = -1, INFINITY
    for at in range(place + 1, f.n_alive):
        j = f.alive[at]
        cost = f.cost[i * f.n + j]
        if cost < f.cheapest[i]:
            f.partner[i], f.cheapest[i] = j, cost


cdef void price_all(Forest *f, bint shared) noexcept nogil:
    """Compute the costs of all pairs."""
    cdef Py_ssize_t at, to, i, j
    for at in range(f.n_alive):
        i = f.alive[at]
        for to in range(at + 1, f.n_alive):
            j = f.alive[to]
            f.cost[i * f.n + j] = shared_cost(f, i, j) if shared else free_cost(f, i, j)
        find_partner(f, i, at)


cdef Py_ssize_t best_place(Forest *f) noexcept nogil:
    """Return the place of the cluster whose merger with its partner costs least."""
    cdef Py_ssize_t at, best = 0
    for at in range(1, f.n_alive):
        if f.cheapest[f.alive[at]] < f.cheapest[f.alive[best]]:
            best = at
    return best


cdef void unite(Forest *f, Py_ssize_t i, Py_ssize_t j, bint shared) noexcept nogil:
    """Make i the union of i and j."""
    cdef Py_ssize_t d = f.d, a, b
    cdef double n = f.weight[i] + f.weight[j]
    cdef double share = f.weight[i] * f.weight[j] / n
    cdef double *offset = f.work
    cdef double *A = f.work + d
    cdef double *Wi = f.scatter + i * d * d
    cdef const double *Wj = f.scatter + j * d * d
    for a in range(d):
        offset[a] = f.mean[j * d + a] - f.mean[i * d + a]
    if not shared:
        for a in range(d):
            for b in range(a + 1):
                Wi[a * d + b] += Wj[a * d + b] + share * offset[a] * offset[b]
                A[a * d + b] = Wi[a * d + b]
            A[a * d + a] += 1
        f.term[i] = n * (factorise(d, A, f.factor + i * d * d) - d * log(n))
    for a in range(d):
        f.mean[i * d + a] += f.weight[j] / n * offset[a]
    f.weight[i] = n
    f.rows[i] = -1


cdef void merge(Forest *f, Py_ssize_t place, bint shared) noexcept nogil:
    """Merge the cluster at a place with its partner, and look for partners where that has changed them."""
    cdef Py_ssize_t i = f.alive[place], j = f.partner[i], at, k, low, high
    cdef double cost
    unite(f, i, j, shared)
    low = place
    while f.alive[low] != j:
        low += 1
    f.n_alive -= 1
    for at in range(low, f.n_alive):
        f.alive[at] = f.alive[at + 1]
    for at in range(f.n_alive):
        k = f.alive[at]
        if k == i:
            continue
        low, high = (k, i) if k < i else (i, k)
        cost = shared_cost(f, low, high) if shared else free_cost(f, low, high)
        f.cost[low * f.n + high] = cost
        if f.partner[k] == j or f.partner[k] == i:
            find_partner(f, k, at)
        elif k == low and (cost < f.cheapest[k] or (cost == f.cheapest[k] and i < f.partner[k])):
            f.partner[k], f.cheapest[k] = i, cost
    find_partner(f, i, place)


cdef class _Clusters:
    """The memory of a `Forest`, and the tree that grows in it."""

    cdef Forest f
    cdef double[::1] weight, term, cheapest, work
    cdef double[:, ::1] mean, cost
    cdef double[:, :, ::1] scatter, factor
    cdef Py_ssize_t[::1] partner, rows, alive, parent

    def __init__(self, double[:, ::1] rows, double[::1] weights, bint shared):
        cdef Py_ssize_t n = rows.shape[0], d = rows.shape[1], n_scatters = 1 if shared else n
        self.weight, self.mean = np.array(weights), np.array(rows)
        self.scatter = np.zeros((n_scatters, d, d))
        self.factor = np.tile(np.eye(d), (n_scatters, 1, 1))
        self.term = -d * np.asarray(weights) * np.log(weights)
        self.cost, self.cheapest = np.empty((n, n)), np.empty(n)
        self.partner = np.empty(n, dtype=np.intp)
        self.rows, self.alive, self.parent = (np.arange(n, dtype=np.intp) for _ in range(3))
        self.work = np.empty(d + d * d)
        self.f = Forest(
            n, d, &self.weight[0], &self.mean[0, 0], &self.scatter[0, 0, 0], &self.factor[0, 0, 0], &self.term[0],
            &self.cost[0, 0], &self.partner[0], &self.cheapest[0], &self.rows[0], &self.alive[0], n, &self.work[0],
        )

    cdef void merge_to(self, Py_ssize_t n_clusters, bint shared) noexcept nogil:
        """Merge until so many clusters are left; all costs are known."""
        cdef Py_ssize_t place
        while self.f.n_alive > n_clusters:
            place = best_place(&self.f)
            self.parent[self.f.partner[self.f.alive[place]]] = self.f.alive[place]
            merge(&self.f, place, shared)

    def labels(self):
        """Return the cluster of each row: (n,) numbers from 0, by the first row of each."""
        parent = np.asarray(self.parent)
        while not np.array_equal(parent, parent[parent]):
            parent = parent[parent]
        return np.unique(parent, return_inverse=True)[1]


def merge_free(double[:, ::1] rows, double[::1] weights, Py_ssize_t n_clusters):
    """Return labels (n,) of rows (n, d) in clusters with a covariance each.

    Parameters
    ----------
    rows : (n, d) array
        In units of the data's covariance.
    weights : (n,) array
        Positive.
    n_clusters : int
        At most n.
    """
    cdef _Clusters clusters = _Clusters(rows, weights, False)
    with nogil:
        price_all(&clusters.f, False)
        clusters.merge_to(n_clusters, False)
    return clusters.labels()


def merge_shared(double[:, ::1] rows, double[::1] weights, Py_ssize_t n_clusters):
    """Return labels (n,) of rows (n, d) in clusters with one covariance: see `merge_free`."""
    cdef _Clusters clusters = _Clusters(rows, weights, True)
    cdef Py_ssize_t left = rows.shape[0]
    mass = np.asarray(weights)
    while left > n_clusters:
        labels = clusters.labels()
        n = np.bincount(labels, mass)
        means = np.stack([np.bincount(labels, mass * column) for column in np.asarray(rows).T], axis=1) / n[:, None]
        offsets = np.asarray(rows) - means[labels]
        pooled = np.eye(rows.shape[1]) + (mass[:, None] * offsets).T @ offsets
        alive = np.asarray(clusters.alive)[:left]
        np.asarray(clusters.mean)[alive] = np.linalg.solve(np.linalg.cholesky(pooled), means.T).T
        left = max(n_clusters, min(left - 1, int(RENEWAL * left)))
        with nogil:
            price_all(&clusters.f, True)
            clusters.merge_to(left, True)
    return clusters.labels()
