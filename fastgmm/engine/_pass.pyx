"""The pass: blocks of rows through the leaves, on several threads, to the same bits whatever their number.

Rows are cut into blocks of a few panels and blocks into groups, both of a size that depends on kind, K, D and dtype
only. One thread works through one group and leaves its sums in that group's slot; slots are added to the total in the
order of their groups. Threads decide who works, never what is added to what, and a total can be continued with
further rows. Between waves of groups, and where a wave is long also in between, the calling thread looks for signals,
so that Ctrl-C stops a pass of any length.
"""

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc
from cython.parallel cimport prange, threadid
from libc.stdint cimport int64_t, uintptr_t
from libc.string cimport memset

cimport numpy as cnp

from fastgmm.engine._block cimport (
    ACCUMULATE, FINE, GIVEN, NEAREST, NOT_FINITE, POTENTIAL, SCORE, STOPPED, Job, Scratch, Task, lay_out, run_block,
)
from fastgmm.engine._core cimport (
    FG_ALIGN, FG_DIAGONAL, FG_FULL, FG_LOW_RANK, FG_PANEL, FG_SPHERICAL, Kernel, Model, padded, row_work, triangle,
)

from fastgmm.engine._core import KINDS as _KINDS

cnp.import_array()

cdef Py_ssize_t SHARED_SUM = 1 << 17  # numbers that are added up by one thread as fast as by several
cdef double SERIAL_WORK = 1.5e7  # some 0.8 milliseconds; in half a one a second thread is hardly ever there in time
cdef double READ_WORK = 16.0  # of a feature of a row, which comes from memory and is packed
cdef double WATCH_WORK = 8e8  # some fifty milliseconds (see `row_work`); waiting for the GIL may take five

cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept  # -1 with an exception set if a handler raised


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
    cdef double work = job.n_rows * (row_work(m.kind, m.K, m.D, m.rank) + READ_WORK * m.D)
    if job.task != ACCUMULATE:
        work *= 0.5  # either densities or sums
    n_threads = 1 if work < SERIAL_WORK else <int> min(n_threads, wave)
    if wave < n_groups:
        wave -= wave % n_threads  # no thread waits at the end of a wave for another's last group
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


def moments_of(kind, Py_ssize_t D, Py_ssize_t rank):
    """Return how many numbers a component has in a slot: weight, sums and second moments."""
    return moment_size(_KINDS[kind], D, rank)


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
