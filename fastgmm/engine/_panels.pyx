"""Few rows as the leaves read them, packed once and then passed over many times.

They lie in panels, z (P, D, FG_PANEL) minus shift, and in groups of panels, whose size is always the same.
"""

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from libc.stdint cimport uintptr_t

cimport numpy as cnp

from fastgmm.engine._core cimport FG_ALIGN, FG_PANEL, active_leaves, fg_rows, float64_values, padded
from fastgmm.engine._pass cimport data_of

cnp.import_array()

PANEL = FG_PANEL  # rows

cdef Py_ssize_t GROUP = 32  # panels
cdef double LIGHT = 1e-6  # of the largest weight, which the unit is next to


cdef class _Room:
    """Zeroed memory that goes with the object."""

    def __cinit__(self, Py_ssize_t size):
        self.size = size
        self.memory = <char *> PyMem_RawCalloc(FG_ALIGN + size, 1)
        if self.memory == NULL:
            raise MemoryError("packed rows")
        self.base = <char *> <uintptr_t> padded(<uintptr_t> self.memory)

    def __dealloc__(self):
        PyMem_RawFree(self.memory)

    cdef void *take(self, Py_ssize_t n_bytes) noexcept:
        cdef void *part = self.base + self.taken
        self.taken += padded(n_bytes)
        return part


cdef class Panels:
    """Few rows, with their weights.

    Parameters
    ----------
    n_rows : int
    shift : (D,) float64 array
    single : bool
        Whether to compute in float32.
    unit : float
        Power of two that weights are divided by.

    Attributes
    ----------
    shift : (D,) float64 array
    """

    def __cinit__(self, Py_ssize_t n_rows, cnp.ndarray shift, bint single, double unit):
        cdef Packed *r = &self.rows
        float64_values(shift)
        self.shift, r.single, r.unit, r.item = shift, single, unit, 4 if single else 8
        r.leaf = active_leaves(single)
        r.n, r.D = n_rows, shift.size
        r.P = (n_rows + FG_PANEL - 1) // FG_PANEL
        r.per_group = GROUP
        r.groups = (r.P + GROUP - 1) // GROUP
        self.room = _Room((r.P * r.D + r.P) * FG_PANEL * r.item + 2 * FG_ALIGN)
        r.z = <char *> self.room.take(r.P * r.D * FG_PANEL * r.item)
        r.w = <char *> self.room.take(r.P * FG_PANEL * r.item)

    def fill(self, Py_ssize_t first, x, visited, values):
        """Pack rows from position `first`, a multiple of the rows of a panel; return whether they are finite.

        x is a native aligned (n, D) float array of any strides; visited (intp) picks rows of it; values (float64) are
        the weights of those, None if all are one.
        """
        cdef Packed *r = &self.rows
        cdef fg_rows source
        cdef Py_ssize_t n = cnp.PyArray_DIM(x if visited is None else visited, 0), i
        source.data = <const char *> cnp.PyArray_DATA(x)
        source.row_stride, source.col_stride = cnp.PyArray_STRIDE(x, 0), cnp.PyArray_STRIDE(x, 1)
        source.is_f32 = x.dtype.itemsize == 4
        source.rows = <const Py_ssize_t *> data_of(visited)
        if r.single:
            fill_weights[float](<float *> r.w + first, n, <const double *> data_of(values), r.unit)
        else:
            fill_weights[double](<double *> r.w + first, n, <const double *> data_of(values), r.unit)
        for i in range(first, first + n):
            r.uneven = r.uneven or weight(r, i) < LIGHT
        return r.leaf.pack(&source, 0, n, r.D, float64_values(self.shift), r.z + first * r.D * r.item) != 0

    cdef _Room points(self, Py_ssize_t K, Points *points):
        """_Room for centres or candidates, whose places are still to be filled in."""
        cdef Py_ssize_t item = self.rows.item, k
        cdef _Room room = _Room((K * self.rows.D + 2 * K) * item + 3 * FG_ALIGN)
        points.K = K
        points.mu = <char *> room.take(K * self.rows.D * item)
        points.scale, points.zero = <char *> room.take(K * item), <char *> room.take(K * item)
        for k in range(K):
            if self.rows.single:
                (<float *> points.scale)[k] = 1
            else:
                (<double *> points.scale)[k] = 1
        return room


cdef void fill_weights(real *w, Py_ssize_t n, const double *values, double unit) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        w[i] = <real> (1.0 if values == NULL else values[i] / unit)
