"""The pass: blocks of rows through the leaves, on several threads, to the same bits whatever their number.

Rows are cut into blocks of a few panels and blocks into groups, both of a size that depends on kind, K, D and dtype
only. One thread works through one group and leaves its sums in that group's slot; slots are added to the total in the
order of their groups. Threads decide who works, never what is added to what, and a total can be continued with
further rows. Between waves of groups, and where a wave is long also in between, the calling thread looks for signals,
so that Ctrl-C stops a pass of any length.

Sums of a group (float64): log-likelihood, weight, then the moments of each component as the leaf of its kind lays them
out.
"""

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc
from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, exp, isfinite, log
from libc.stdint cimport int32_t, int64_t, uintptr_t
from libc.string cimport memcpy, memset

cimport numpy as cnp

from fastgmm.engine._core cimport (
    FG_ALIGN, FG_BOUNDS, FG_DIAGONAL, FG_FULL, FG_LOW_RANK, FG_OUTER_FROM, FG_PANEL, FG_ROTATED, FG_ROW_STRIDE,
    FG_SPHERICAL, Kernel, Model, fg_rows, padded, row_work, triangle,
)

cnp.import_array()

cdef double LN2 = 0.69314718055994530942
cdef double LOG2E = 1.4426950408889634074
cdef Py_ssize_t SHARED_SUM = 1 << 17  # numbers that are added up by one thread as fast as by several
cdef double WATCH_WORK = 8e8  # some fifty milliseconds (see `row_work`); waiting for the GIL may take five

cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept  # -1 with an exception set if a handler raised

cdef enum Status:
    FINE = 0
    NOT_FINITE = 1   # a row holds NaN or infinity
    STOPPED = 2      # a signal handler raised


cdef enum Task:
    SCORE        # responsibilities of the model; write what is asked for
    ACCUMULATE   # the same, and moments
    GIVEN        # moments under given labels or responsibilities
    NEAREST      # nearest centre, and moments by label if asked for
    POTENTIAL    # seeding: the sum of squared distances if each candidate became a centre


cdef struct Job:
    # One pass. The arrays hold one entry per visited row, in the order of the visit; NULL where there is none.
    Model model
    Task task
    fg_rows rows
    Py_ssize_t n_rows
    const double *weights      # in
    double unit                # power of two that weights are divided by before anything else, and sums multiplied by
    const void *pivot          # in, (K, D) REAL, minus shift
    const double *given        # in, responsibilities (n_rows, K)
    const int64_t *known       # in, SCORE and ACCUMULATE: the component of a row, negative where it is not known
    int64_t *labels            # in for GIVEN, else out
    void *log_density          # out, REAL
    void *resp                 # out, REAL (n_rows, K)
    void *joint                # out, REAL (n_rows, K)
    double *distance           # NEAREST: out, squared; POTENTIAL: in, squared distance to the closest centre so far
    bint sparse                # ACCUMULATE: whether responsibilities are mostly zero, panel by panel
    bint sums                  # whether NEAREST adds up the rows of each centre
    Py_ssize_t moment_size     # float64 numbers of one component
    Py_ssize_t partial_size    # float64 numbers of a slot
    Py_ssize_t scratch_size    # bytes of one thread's scratch
    double work                # of the calling thread since it looked for signals
    volatile int stopped       # set by the calling thread where a signal handler raised, read by all


cdef struct Scratch:
    char *z          # (P, D, FG_PANEL) REAL
    char *y          # the same, rotated; z itself for other kinds
    char *logit      # (P, K, FG_PANEL) REAL
    char *rows       # (P * FG_PANEL, stride) REAL: z row by row, where moments are taken across features
    char *u          # what the moments of the kind need
    char *w          # (P, FG_PANEL) REAL: row weights, 0 for padded rows
    char *work       # 2 * (D + rank) vectors
    double *lse      # (P * FG_PANEL)
    double *far      # D of the row, D + rank to work in, K of its log-densities
    int32_t *label   # (FG_PANEL)
    char *upper      # (FG_BOUNDS(K)) REAL
    int32_t *active  # (K)


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


cdef inline double element(const fg_rows *x, Py_ssize_t row, Py_ssize_t j) noexcept nogil:
    cdef const char *p = x.data + (x.rows[row] if x.rows != NULL else row) * x.row_stride + j * x.col_stride
    return (<const float *> p)[0] if x.is_f32 else (<const double *> p)[0]


# ------------------------------------------------------------------------------------------------------- one block

cdef void load_weights(const Job *job, Py_ssize_t first, Py_ssize_t n, Scratch *s) noexcept nogil:
    cdef Py_ssize_t i, full = (n + FG_PANEL - 1) // FG_PANEL * FG_PANEL
    for i in range(n):
        put(s.w, i, job.model.single, job.weights[first + i] / job.unit if job.weights != NULL else 1.0)
    for i in range(n, full):
        put(s.w, i, job.model.single, 0.0)


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
    cdef double r, largest
    if job.log_density != NULL:
        for i in range(n):
            put(job.log_density, first + i, m.single, (s.lse[i] + m.top) * LN2)
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
    cdef double likelihood = 0, weight = 0, w
    cdef Py_ssize_t i
    for i in range(n):
        w = job.weights[first + i] / job.unit if job.weights != NULL else 1.0
        likelihood += w * ((s.lse[i] + job.model.top) * LN2)
        weight += w
    sums[0] += likelihood
    sums[1] += weight


cdef void add_moments(const Job *job, Py_ssize_t P, Scratch *s, double *moments) noexcept nogil:
    cdef const Model *m = &job.model
    cdef Py_ssize_t k, stride = m.K * FG_PANEL, row_stride = FG_ROW_STRIDE(m.D, m.item)
    cdef char *r
    cdef const char *pivot
    cdef double *A
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
        elif m.kind == FG_FULL:
            m.leaf.moments_full(s.z, P, m.D, r, stride, pivot, s.u, A)
        elif m.kind == FG_DIAGONAL:
            m.leaf.moments_diagonal(s.z, P, m.D, r, stride, pivot, A)
        elif m.kind == FG_SPHERICAL:
            m.leaf.moments_spherical(s.z, P, m.D, r, stride, pivot, A)
        else:
            m.leaf.moments_linear(s.z, P, m.D, r, stride, pivot, A)


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
    cdef const Model *m = &job.model
    cdef Py_ssize_t P = (n + FG_PANEL - 1) // FG_PANEL
    if not m.leaf.pack(&job.rows, first, n, m.D, m.shift, s.z):
        return NOT_FINITE
    if job.task != SCORE:
        load_weights(job, first, n, s)
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


# ------------------------------------------------------------------------------------------ groups, waves, threads

cdef int check_signals() noexcept with gil:
    return PyErr_CheckSignals()


cdef void watch(Job *job, Py_ssize_t n) noexcept nogil:
    """After n more rows of the calling thread, let it look for signals if its last look is long ago."""
    job.work += n * row_work(job.model.kind, job.model.K, job.model.D, job.model.rank)
    if job.work >= WATCH_WORK:
        job.work = 0.0
        if check_signals() != 0:
            job.stopped = 1


cdef int run_group(Job *job, Py_ssize_t group, bint calling, char *scratch, double *slot) noexcept nogil:
    cdef Py_ssize_t size, block = job.model.panels * FG_PANEL
    cdef Py_ssize_t first = group * job.model.group, last = min(job.n_rows, first + job.model.group)
    cdef Scratch s = lay_out(&job.model, scratch, &size)
    memset(slot, 0, job.partial_size * sizeof(double))
    while first < last:
        if job.stopped:
            return STOPPED
        if run_block(job, first, min(block, last - first), &s, slot) != FINE:
            return NOT_FINITE
        first += block
        if calling:
            watch(job, block)
    return FINE


cdef void add_slots(const Job *job, const double *slots, Py_ssize_t count, Py_ssize_t first, Py_ssize_t last,
                    double *total) noexcept nogil:
    """Add the entries first .. last of all slots, in the order of their groups."""
    cdef Py_ssize_t i, j
    for i in range(count):
        for j in range(first, last):
            total[j] += job.unit * slots[i * job.partial_size + j]


cdef int run_wave(Job *job, Py_ssize_t group, Py_ssize_t count, int n_threads, char *scratch, double *slots,
                  int *status, double *total) noexcept nogil:
    cdef Py_ssize_t i, pieces
    if n_threads == 1 or count == 1:  # no parallel region: nothing to wait for, and safe in a forked child
        for i in range(count):
            status[i] = run_group(job, group + i, True, scratch, slots + i * job.partial_size)
    else:
        for i in prange(count, schedule="dynamic", chunksize=1, num_threads=n_threads):
            status[i] = run_group(job, group + i, threadid() == 0, scratch + threadid() * job.scratch_size,
                                  slots + i * job.partial_size)
    for i in range(count):
        if status[i] != FINE:
            return status[i]
    if n_threads == 1 or count * job.partial_size < SHARED_SUM:
        add_slots(job, slots, count, 0, job.partial_size, total)
    else:
        pieces = 4 * n_threads
        for i in prange(pieces, schedule="static", num_threads=n_threads):
            add_slots(job, slots, count, i * job.partial_size // pieces, (i + 1) * job.partial_size // pieces, total)
    return FINE


cdef double serial_work(int kind) noexcept nogil:
    # Under about half a millisecond a second thread is hardly ever there in time, and on a busy machine much too late.
    return 1e7 if kind == FG_FULL else 4e7


cdef int run(Job *job, int n_threads, double *total) except -1:
    """Add all rows of the job to total; returns a Status. Raises what a signal handler raises."""
    cdef Py_ssize_t n_groups = (job.n_rows + job.model.group - 1) // job.model.group, group = 0
    cdef const Model *m = &job.model
    # slots of one wave: enough to keep threads busy for some ten milliseconds, within 16 MiB
    cdef Py_ssize_t wave = min(n_groups, 32 * n_threads,
                               max(2 * n_threads, (16 << 20) // (job.partial_size * <Py_ssize_t> sizeof(double))))
    cdef char *memory
    cdef char *scratch
    cdef double *slots
    cdef int *states
    cdef int status = FINE
    cdef double work = job.n_rows * row_work(m.kind, m.K, m.D, m.rank)
    n_threads = 1 if work < serial_work(m.kind) else <int> min(n_threads, wave)
    lay_out(&job.model, NULL, &job.scratch_size)
    memory = <char *> PyMem_RawMalloc(FG_ALIGN + n_threads * job.scratch_size
                                      + wave * job.partial_size * <Py_ssize_t> sizeof(double))
    states = <int *> PyMem_RawCalloc(wave, sizeof(int))
    try:
        if memory == NULL or states == NULL:
            raise MemoryError("scratch of a pass")
        scratch = <char *> <uintptr_t> padded(<uintptr_t> memory)
        slots = <double *> (scratch + n_threads * job.scratch_size)
        while group < n_groups and status == FINE:
            with nogil:
                status = run_wave(job, group, min(wave, n_groups - group), n_threads, scratch, slots, states, total)
            group += wave
            if job.stopped or PyErr_CheckSignals() != 0:
                return -1  # with the exception that the handler raised
    finally:
        PyMem_RawFree(memory)
        PyMem_RawFree(states)
    return status


# --------------------------------------------------------------------------------------------- what Python can call

cdef void *data_of(array) except? NULL:
    return NULL if array is None else cnp.PyArray_DATA(array)


cdef void *checked_data(array, int type_number) except? NULL:
    if array is None:
        return NULL
    if cnp.PyArray_TYPE(array) != type_number or not cnp.PyArray_IS_C_CONTIGUOUS(array):
        raise TypeError(f"rows to visit and their weights must be contiguous intp and float64, got {array!r}")
    return cnp.PyArray_DATA(array)


cdef Job new_job(Kernel kernel, Task task, x, rows, weights):
    """A job over x, a native aligned (n, D) float array of any strides; rows (intp) picks the rows to visit.

    weights are `fastgmm.engine.Weights`, one per visited row.
    """
    cdef Job job
    memset(&job, 0, sizeof(Job))
    job.model, job.task = kernel.model, task
    job.rows.data = <const char *> cnp.PyArray_DATA(x)
    job.rows.row_stride, job.rows.col_stride = cnp.PyArray_STRIDE(x, 0), cnp.PyArray_STRIDE(x, 1)
    job.rows.is_f32 = x.dtype.itemsize == 4
    job.rows.rows = <const Py_ssize_t *> checked_data(rows, cnp.NPY_INTP)
    job.n_rows = cnp.PyArray_DIM(x if rows is None else rows, 0)
    job.weights, job.unit = <const double *> checked_data(weights.values, cnp.NPY_DOUBLE), weights.unit
    job.partial_size = 2
    return job


cdef void add_layout(Job *job) noexcept:
    """Room in a slot for the moments of all components."""
    job.moment_size = moment_size(job.model.kind, job.model.D, job.model.rank)
    job.partial_size = 2 + job.model.K * job.moment_size


cdef Py_ssize_t moment_size(int kind, Py_ssize_t D, Py_ssize_t rank) noexcept nogil:
    if kind == FG_LOW_RANK:
        return 1 + (2 + rank) * D
    if kind == FG_FULL:
        return triangle(D + 1)
    if kind == FG_DIAGONAL:
        return 1 + 2 * D
    return 2 + D if kind == FG_SPHERICAL else 1 + D


def accumulate(Kernel kernel, x, rows, weights, pivot, bint sparse, known, double[::1] total, int n_threads):
    """Add statistics under the kernel's mixture to total, in the layout of a slot; False if a row is not finite.

    pivot is (K, D) of the compute type, minus shift, or None for the means. sparse changes no bit: it is worth its cost
    where most components have nothing of most panels. known (int64) holds the components of rows that are known, which
    sparse does not look at.
    """
    cdef Job job = new_job(kernel, ACCUMULATE, x, rows, weights)
    add_layout(&job)
    job.pivot = kernel.model.mu if pivot is None else data_of(pivot)
    job.known = <const int64_t *> data_of(known)
    job.sparse = sparse and known is None and kernel.model.kind == FG_FULL
    if job.sparse:
        kernel.prepare_bounds()
        job.model = kernel.model
    return run(&job, n_threads, &total[0]) == FINE


def accumulate_given(Kernel kernel, x, rows, weights, labels, resp, double[::1] total, int n_threads, Py_ssize_t group):
    """As accumulate about the kernel's means, under given labels (int64) or responsibilities (float64), or all rows
    whole where neither is given. Of the kernel only kind and means matter; group overrides its rows per group unless 0.
    """
    cdef Job job = new_job(kernel, GIVEN, x, rows, weights)
    add_layout(&job)
    job.pivot = kernel.model.mu
    job.labels, job.given = <int64_t *> data_of(labels), <const double *> data_of(resp)
    if group:
        job.model.group = group
    return run(&job, n_threads, &total[0]) == FINE


def score(Kernel kernel, x, rows, weights, log_density, resp, labels, joint, known, double[::1] total, int n_threads):
    """Add log-likelihood and weight to total (2,); write the outputs that are given. False if a row is not finite.

    known is as in accumulate, and has no part in joint.
    """
    cdef Job job = new_job(kernel, SCORE, x, rows, weights)
    job.log_density, job.resp, job.joint = data_of(log_density), data_of(resp), data_of(joint)
    job.labels = <int64_t *> data_of(labels)
    job.known = <const int64_t *> data_of(known)
    return run(&job, n_threads, &total[0]) == FINE


def nearest(Kernel kernel, x, rows, weights, labels, distance, bint sums, double[::1] total, int n_threads):
    """Add inertia, and with sums also [weight, sum of offsets from shift] per centre from total[2] on."""
    cdef Job job = new_job(kernel, NEAREST, x, rows, weights)
    job.labels, job.distance, job.sums = <int64_t *> data_of(labels), <double *> data_of(distance), sums
    if sums:
        job.partial_size = 2 + job.model.K * (1 + job.model.D)
    return run(&job, n_threads, &total[0]) == FINE


def potential(Kernel kernel, x, rows, weights, distance, double[::1] total, int n_threads):
    """Add to total[2:] the sum of min(distance, squared distance to candidate k)."""
    cdef Job job = new_job(kernel, POTENTIAL, x, rows, weights)
    job.distance = <double *> data_of(distance)
    job.partial_size = 2 + job.model.K
    return run(&job, n_threads, &total[0]) == FINE
