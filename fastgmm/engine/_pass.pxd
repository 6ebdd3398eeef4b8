"""Passes, for other compiled modules."""

from fastgmm.engine._block cimport Job, Task
from fastgmm.engine._core cimport Kernel


cdef int run(Job *job, int n_threads, double *total) except -1
cdef Job new_job(Kernel kernel, Task task, x, rows, weights)
cdef void add_layout(Job *job) noexcept
cdef void *data_of(array) except? NULL
