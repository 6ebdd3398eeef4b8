"""One block of rows through the leaves: log-densities, responsibilities, and what is asked for of them.

Sums of a block (float64) are added to those of its group: log-likelihood, weight, then the moments of each component as
the leaf of its kind lays them out.
"""

from libc.math cimport INFINITY, exp, isfinite, log
from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset

from fastgmm.engine._core cimport (
    FG_ALIGN, FG_BOUNDS, FG_DIAGONAL, FG_FULL, FG_LOW_RANK, FG_OUTER_FROM, FG_PANEL, FG_ROTATED, FG_ROW_STRIDE,
    FG_SPHERICAL, Model, padded,
)

cdef double LN2 = 0.69314718055994530942
cdef double LOG2E = 1.4426950408889634074


cdef inline bint across_features(const Model *m) noexcept nogil:
    """Whether second moments are summed with vectors across features instead of across rows."""
    return m.kind == FG_LOW_RANK or (m.kind == FG_FULL and m.D >= FG_OUTER_FROM)


cdef Scratch lay_out(const Model *m, char *base, Py_ssize_t *size) noexcept nogil:
    """Cut a thread's scratch into its parts; size receives the bytes of them all."""
    cdef Scratch s
    cdef Py_ssize_t rows = m.panels * FG_PANEL, at = 0
    s.z = base
    at += padded(rows * m.D * m.item)
    s.y = s.z
    if m.kind == FG_ROTATED:
        s.y = base + at
        at += padded(rows * m.D * m.item)
    s.logit = base + at
    at += padded(rows * m.K * m.item)
    s.rows = base + at
    if across_features(m):
        at += padded(rows * FG_ROW_STRIDE(m.D, m.item) * m.item)
        s.u = base + at
        at += padded(((1 + rows) * FG_ROW_STRIDE(m.D, m.item) + (1 + m.rank) * rows) * m.item)
    else:
        s.u = base + at
        at += padded(rows * (m.D + 1) * m.item)
    s.w = base + at
    at += padded(rows * m.item)
    s.work = base + at
    at += padded(2 * (m.D + m.rank) * FG_ALIGN)
    s.lse = <double *> (base + at)
    at += padded(rows * 8)
    s.far = <double *> (base + at)
    at += padded((2 * m.D + m.rank + m.K) * 8)
    s.label = <int32_t *> (base + at)
    at += padded(FG_PANEL * 4)
    s.upper = base + at
    at += padded(FG_BOUNDS(m.K) * m.item)
    s.active = <int32_t *> (base + at)
    at += padded(m.K * 4)
    size[0] = at
    return s


# ------------------------------------------------------------------------------------------------ REAL, either type

cdef inline double get(const void *p, Py_ssize_t i, bint single) noexcept nogil:
    return (<const float *> p)[i] if single else (<const double *> p)[i]


cdef inline void put(void *p, Py_ssize_t i, bint single, double value) noexcept nogil:
    if single:
        (<float *> p)[i] = <float> value
    else:
        (<double *> p)[i] = value


# ------------------------------------------------------------------------------------------------------- one block

cdef void load_weights(const Job *job, Py_ssize_t first, Py_ssize_t n, Scratch *s) noexcept nogil:
    # what the loops read stands in variables of their own: behind a pointer it might be what they write
    cdef Py_ssize_t i, full = (n + FG_PANEL - 1) // FG_PANEL * FG_PANEL
    cdef const double *weights = job.weights
    cdef double unit = job.unit
    cdef bint single = job.model.single
    cdef char *w = s.w
    if weights == NULL:
        for i in range(n):
            put(w, i, single, 1.0)
    else:
        for i in range(n):
            put(w, i, single, weights[first + i] / unit)
    for i in range(n, full):
        put(w, i, single, 0.0)


cdef bint load_rows(const Job *job, Py_ssize_t first, Py_ssize_t n, Scratch *s) noexcept nogil:
    """Have a block and its weights where the leaves read them; False if a row is not finite."""
    cdef const Model *m = &job.model
    if job.packed != NULL:
        s.z = <char *> job.packed + first * m.D * m.item
        s.w = <char *> job.packed_weights + first * m.item
        return True
    if not m.leaf.pack(&job.rows, first, n, m.D, m.shift, s.z):
        return False
    if job.task != SCORE:
        load_weights(job, first, n, s)
    return True


cdef void logits(const Job *job, Py_ssize_t next, Py_ssize_t P, Scratch *s) noexcept nogil:
    """Log-densities of a block; the rows from `next` on, if they lie one behind the other, are fetched meanwhile."""
    cdef const Model *m = &job.model
    cdef const char *ahead = NULL
    cdef Py_ssize_t size = 0
    if job.rows.rows == NULL and job.rows.col_stride > 0 and job.rows.row_stride == m.D * job.rows.col_stride:
        ahead = job.rows.data + next * job.rows.row_stride
        size = min(job.n_rows - next, m.panels * FG_PANEL) * job.rows.row_stride
    if m.kind == FG_FULL:
        m.leaf.logits_full(s.z, P, m.K, m.D, m.mu, m.W, m.c, s.work, s.logit, ahead, size)
    elif m.kind == FG_DIAGONAL:
        m.leaf.logits_diagonal(s.z, P, m.K, m.D, m.mu, m.W, m.c, s.logit, ahead, size)
    elif m.kind == FG_LOW_RANK:
        m.leaf.logits_low_rank(s.z, P, m.K, m.D, m.rank, m.mu, m.W, m.c, s.work, s.logit, ahead, size)
    elif m.kind == FG_SPHERICAL:
        m.leaf.logits_spherical(s.z, P, m.K, m.D, m.mu, m.W, m.c, s.logit, ahead, size)
    else:
        m.leaf.rotate(s.z, P, m.D, m.W, s.y)
        m.leaf.logits_spherical(s.y, P, m.K, m.D, m.rotated_mu, m.ones, m.c, s.logit, ahead, size)


cdef void write_joint(const Job *job, Py_ssize_t first, Py_ssize_t n, Scratch *s) noexcept nogil:
    cdef const Model *m = &job.model
    cdef Py_ssize_t i, k
    for i in range(n):
        for k in range(m.K):
            put(job.joint, (first + i) * m.K + k, m.single,
                (get(s.logit, ((i // FG_PANEL) * m.K + k) * FG_PANEL + i % FG_PANEL, m.single) + m.top) * LN2)


cdef void keep_known(const Job *job, Py_ssize_t first, Py_ssize_t n, Scratch *s) noexcept nogil:
    """Rows whose component is known have no density in the others."""
    cdef const Model *m = &job.model
    cdef Py_ssize_t i, k
    for i in range(n):
        if job.known[first + i] >= 0:
            for k in range(m.K):
                if k != job.known[first + i]:
                    put(s.logit, ((i // FG_PANEL) * m.K + k) * FG_PANEL + i % FG_PANEL, m.single, -INFINITY)


cdef void repair_far_row(const Job *job, Py_ssize_t first, Py_ssize_t i, Scratch *s) noexcept nogil:
    """Responsibilities and log-density of a row whose squared distance overflowed the compute type."""
    cdef const Model *m = &job.model
    cdef double *x = s.far
    cdef double *logit = s.far + 2 * m.D + m.rank
    cdef double top = -INFINITY, total = 0, weight
    cdef Py_ssize_t j, k, at = (i // FG_PANEL) * m.K * FG_PANEL + i % FG_PANEL
    cdef bint finite
    for j in range(m.D):
        x[j] = element(&job.rows, first + i, j)
    finite = m.leaf.far_row(m.kind, x, m.K, m.D, m.rank, m.means, m.factors, m.log_norm, x + m.D, logit)
    if job.known != NULL and job.known[first + i] >= 0:
        for k in range(m.K):
            if k != job.known[first + i]:
                logit[k] = -INFINITY
    for k in range(m.K):
        top = max(top, logit[k])
    for k in range(m.K):
        total += exp(logit[k] - top)
    weight = 1.0 if job.task == SCORE else get(s.w, i, m.single)
    for k in range(m.K):
        put(s.logit, at + k * FG_PANEL, m.single, weight * exp(logit[k] - top) / total)
        if job.joint != NULL:
            put(job.joint, (first + i) * m.K + k, m.single, logit[k] if finite else -INFINITY)
    s.lse[i] = (top + log(total)) * LOG2E - m.top if finite else -INFINITY


cdef void responsibilities(const Job *job, Py_ssize_t first, Py_ssize_t n, Py_ssize_t P, Scratch *s) noexcept nogil:
    cdef const Model *m = &job.model
    cdef Py_ssize_t p, i
    cdef char *logit
    cdef char *w
    for p in range(P):
        logit = s.logit + p * m.K * FG_PANEL * m.item
        w = NULL if job.task == SCORE else s.w + p * FG_PANEL * m.item
        if job.sparse:
            if m.leaf.sparse_panel(s.z + p * m.D * FG_PANEL * m.item, m.K, m.D, m.mu, m.W, m.c, m.bounds, w, s.work,
                                   s.upper, s.active, logit, s.lse + p * FG_PANEL):
                continue
        elif m.leaf.softmax(logit, m.K, w, s.lse + p * FG_PANEL):
            continue
        for i in range(p * FG_PANEL, min(n, (p + 1) * FG_PANEL)):
            if not isfinite(s.lse[i]):
                repair_far_row(job, first, i, s)


cdef void given_responsibilities(const Job *job, Py_ssize_t first, Py_ssize_t n, Py_ssize_t P,
                                 Scratch *s) noexcept nogil:
    cdef const Model *m = &job.model
    cdef Py_ssize_t i, k
    cdef double r
    memset(s.logit, 0, P * m.K * FG_PANEL * m.item)
    for i in range(n):
        for k in range(m.K):
            if job.given != NULL:
                r = job.given[(first + i) * m.K + k]
            else:
                r = job.labels == NULL or job.labels[first + i] == k
            put(s.logit, ((i // FG_PANEL) * m.K + k) * FG_PANEL + i % FG_PANEL, m.single,
                r * get(s.w, i, m.single))


cdef void write_rows(const Job *job, Py_ssize_t first, Py_ssize_t n, Scratch *s) noexcept nogil:
    """What was asked for, of one block, from its responsibilities and log-sum-exps."""
    cdef const Model *m = &job.model
    cdef Py_ssize_t i, k, at, best
    cdef double r, largest, top = m.top
    cdef bint single = m.single
    cdef const double *lse = s.lse
    cdef void *log_density = job.log_density
    if log_density != NULL:
        for i in range(n):
            put(log_density, first + i, single, (lse[i] + top) * LN2)
    if job.resp == NULL and job.labels == NULL:
        return
    for i in range(n):
        at = (i // FG_PANEL) * m.K * FG_PANEL + i % FG_PANEL
        best, largest = 0, -1.0
        for k in range(m.K):
            r = get(s.logit, at + k * FG_PANEL, m.single)
            if r > largest:
                best, largest = k, r
            if job.resp != NULL:
                put(job.resp, (first + i) * m.K + k, m.single, r)
        if job.labels != NULL:
            job.labels[first + i] = best


cdef void add_likelihood(const Job *job, Py_ssize_t first, Py_ssize_t n, Scratch *s, double *sums) noexcept nogil:
    # Four chains of sums, since one addition would have to wait for the one before.
    cdef double likelihood[4]
    cdef double weight = 0, w, top = job.model.top
    cdef Py_ssize_t i, c, fours = n - n % 4
    for c in range(4):
        likelihood[c] = 0
    if job.weights == NULL:
        for i in range(0, fours, 4):
            for c in range(4):
                likelihood[c] += s.lse[i + c] + top
        for i in range(fours, n):
            likelihood[0] += s.lse[i] + top
        weight = n
    else:
        for i in range(n):
            w = job.weights[first + i] / job.unit
            likelihood[i % 4] += w * (s.lse[i] + top)
            weight += w
    sums[0] += ((likelihood[0] + likelihood[1]) + (likelihood[2] + likelihood[3])) * LN2
    sums[1] += weight


cdef void add_moments(const Job *job, Py_ssize_t P, Scratch *s, double *moments) noexcept nogil:
    cdef const Model *m = &job.model
    cdef Py_ssize_t k, stride = m.K * FG_PANEL, row_stride = FG_ROW_STRIDE(m.D, m.item)
    cdef char *r
    cdef const char *pivot
    cdef double *A
    if m.kind == FG_DIAGONAL:
        m.leaf.moments_diagonal(s.z, P, m.K, m.D, s.logit, job.pivot, moments, job.moment_size)
        return
    if m.kind == FG_SPHERICAL:
        m.leaf.moments_spherical(s.z, P, m.K, m.D, s.logit, job.pivot, moments, job.moment_size)
        return
    if m.kind == FG_ROTATED:
        m.leaf.moments_linear(s.z, P, m.K, m.D, s.logit, job.pivot, moments, job.moment_size)
        return
    if across_features(m):
        m.leaf.rows_of_panels(s.z, P, m.D, row_stride, s.rows)
    for k in range(m.K):
        r = s.logit + k * FG_PANEL * m.item
        pivot = <const char *> job.pivot + k * m.D * m.item
        A = moments + k * job.moment_size
        if m.kind == FG_LOW_RANK:
            m.leaf.moments_low_rank(s.rows, P, m.D, m.rank, row_stride, r, stride, pivot,
                                    <char *> m.axes + k * m.rank * row_stride * m.item, s.u, A)
        elif across_features(m):
            m.leaf.moments_outer(s.rows, P, m.D, row_stride, r, stride, pivot, s.u, A)
        else:
            m.leaf.moments_full(s.z, P, m.D, r, stride, pivot, s.u, A)


cdef void nearest_block(const Job *job, Py_ssize_t first, Py_ssize_t n, Py_ssize_t P, Scratch *s,
                        double *sums) noexcept nogil:
    cdef const Model *m = &job.model
    cdef Py_ssize_t p, i, rows, at
    for p in range(P):
        rows = min(n - p * FG_PANEL, FG_PANEL)
        m.leaf.nearest(s.logit + p * m.K * FG_PANEL * m.item, m.K, s.label, s.lse)
        for i in range(rows):
            at = p * FG_PANEL + i
            sums[0] -= get(s.w, at, m.single) * s.lse[i]
            if job.labels != NULL:
                job.labels[first + at] = s.label[i]
            if job.distance != NULL:
                job.distance[first + at] = -s.lse[i]
        if job.sums:
            m.leaf.scatter(s.z + p * m.D * FG_PANEL * m.item, rows, m.D, s.label, s.w + p * FG_PANEL * m.item, sums + 2)


cdef void potential_block(const Job *job, Py_ssize_t first, Py_ssize_t n, Py_ssize_t P, Scratch *s,
                          double *sums) noexcept nogil:
    cdef const Model *m = &job.model
    cdef Py_ssize_t p
    memset(s.lse, 0, P * FG_PANEL * sizeof(double))
    memcpy(s.lse, job.distance + first, n * sizeof(double))
    for p in range(P):
        m.leaf.potential(s.logit + p * m.K * FG_PANEL * m.item, m.K, s.lse + p * FG_PANEL,
                         s.w + p * FG_PANEL * m.item, sums + 2)


cdef int run_block(const Job *job, Py_ssize_t first, Py_ssize_t n, Scratch *s, double *sums) noexcept nogil:
    cdef Py_ssize_t P = (n + FG_PANEL - 1) // FG_PANEL
    if not load_rows(job, first, n, s):
        return NOT_FINITE
    if job.task == GIVEN:
        given_responsibilities(job, first, n, P, s)
        add_moments(job, P, s, sums + 2)
        memset(s.lse, 0, n * sizeof(double))
        add_likelihood(job, first, n, s, sums)
        return FINE
    if not job.sparse:
        logits(job, first + n, P, s)
    if job.task == NEAREST:
        nearest_block(job, first, n, P, s, sums)
    elif job.task == POTENTIAL:
        potential_block(job, first, n, P, s, sums)
    else:
        if job.joint != NULL:
            write_joint(job, first, n, s)
        if job.known != NULL:
            keep_known(job, first, n, s)
        responsibilities(job, first, n, P, s)
        add_likelihood(job, first, n, s, sums)
        if job.task == ACCUMULATE:
            add_moments(job, P, s, sums + 2)
        else:
            write_rows(job, first, n, s)
    return FINE
