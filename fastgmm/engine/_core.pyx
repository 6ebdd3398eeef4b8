"""Instruction levels, and the constants of a mixture as the leaves read them."""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport uintptr_t
from libc.string cimport memset

import os

cimport numpy as cnp

cnp.import_array()

KINDS = {
    "full": FG_FULL,
    "diagonal": FG_DIAGONAL,
    "spherical": FG_SPHERICAL,
    "rotated": FG_ROTATED,
    "low_rank": FG_LOW_RANK,
}

NEGLIGIBLE = 2.0 ** -FG_NEGLIGIBLE  # sums over rows leave out responsibilities below it

cdef double LOG2E = 1.4426950408889634074
cdef double SQRT_HALF_LOG2E = 0.84932180028801904272

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define FG_OPENMP 1
    #define fg_max_threads omp_get_max_threads
    #else
    #define FG_OPENMP 0
    static int fg_max_threads(void) { return 1; }
    #endif
    """
    int FG_OPENMP
    int fg_max_threads()


def has_openmp():
    """Return whether this build runs on several threads."""
    return FG_OPENMP != 0


def openmp_threads():
    """Return the threads that OpenMP would use: its environment, or what threadpoolctl has set; 1 without OpenMP."""
    return fg_max_threads()


# ---------------------------------------------------------------------------------------------- instruction levels

cdef const fg_level *_active = NULL


cdef const fg_leaves *active_leaves(bint single) noexcept nogil:
    return _active.f32 if single else _active.f64


cdef dict level_table():
    """Return {name: index} of the levels that this processor runs, slowest first."""
    found = {}
    cdef Py_ssize_t i = 0
    while fg_levels[i] != NULL:
        if fg_runs(fg_levels[i]):
            found[fg_levels[i].name.decode()] = i
        i += 1
    return found


def levels():
    """Return the names of the instruction levels that this processor runs, slowest first."""
    return tuple(level_table())


def active():
    """Return the name of the instruction level in use."""
    return _active.name.decode()


def lanes(name):
    """Return how many float64 numbers a vector of the named level holds."""
    return fg_levels[<Py_ssize_t> level_table()[name]].lanes_f64


def use(name):
    """Use the named instruction level from now on; ValueError if it cannot run here."""
    global _active
    table = level_table()
    if name not in table:
        raise ValueError(f"FASTGMM_SIMD must be one of {', '.join(table)} on this machine, got {name!r}")
    _active = fg_levels[<Py_ssize_t> table[name]]


*_, fastest = levels()
use(os.environ.get("FASTGMM_SIMD") or fastest)


# -------------------------------------------------------------------------------------------------- block geometry

cdef Py_ssize_t panels_per_block(Py_ssize_t K, Py_ssize_t D, Py_ssize_t item) noexcept nogil:
    # Offsets and logits of a block stay within 128 KiB each, so that together they live in L2. Where the moments read
    # rows (FG_OUTER_FROM), fewer of them stay in L1. Where the D x D factors and sums of the components do not fit in
    # L2 anyway, more rows to each reading of them are worth more.
    cdef Py_ssize_t room = (128 << 10) if D < 64 else (1 << 20)
    cdef Py_ssize_t most = FG_MAX_PANELS // 2 if FG_OUTER_FROM <= D < 64 else FG_MAX_PANELS
    return max(1, min(most, room // (FG_PANEL * item * max(D + 1, K))))


cdef double row_work(int kind, Py_ssize_t K, Py_ssize_t D, Py_ssize_t rank) noexcept nogil:
    # cost of a row that is packed, roughly in multiplications: of all components, and of rotating it
    return (K * ((<double> D * D if kind == FG_FULL else 0.0) + (6.0 + 4.0 * rank) * D + 24.0)
            + (0.5 * D * D if kind == FG_ROTATED else 0.0))


cdef Py_ssize_t rows_per_group(int kind, Py_ssize_t K, Py_ssize_t D, Py_ssize_t rank, Py_ssize_t item) noexcept nogil:
    # about half a millisecond of work, and rows enough that adding up the group's D x D sums costs little beside it
    cdef Py_ssize_t block = FG_PANEL * panels_per_block(K, D, item)
    cdef Py_ssize_t enough = <Py_ssize_t> (8e6 / row_work(kind, K, D, rank))
    return block * max(1, min(65536, max(enough, 768)) // block)


def group_rows(kind, Py_ssize_t n_components, Py_ssize_t n_features, Py_ssize_t rank, bint single):
    """Return the rows in a group: chunks that are multiples of it accumulate to the same bits as the whole."""
    return rows_per_group(KINDS[kind], n_components, n_features, rank, 4 if single else 8)


# ------------------------------------------------------------------------------------------------- prepared kernels

cdef double *float64_values(cnp.ndarray array) except NULL:
    if cnp.PyArray_TYPE(array) != cnp.NPY_DOUBLE or not cnp.PyArray_ISCARRAY_RO(array):
        raise TypeError(f"expected a C-contiguous, aligned, native array of float64, got {<object> array!r}")
    return <double *> cnp.PyArray_DATA(array)


cdef void rotate_offsets(Py_ssize_t count, Py_ssize_t D, const double *means, const double *origin, const double *W,
                         double *images) noexcept nogil:
    """W (mean - origin) of up to FG_TOGETHER means (count, D), W (D, D) lower-triangular.

    images are (D, FG_TOGETHER), and the offsets behind them: side by side they share the reading of W, and no sum waits
    for another.
    """
    cdef Py_ssize_t c, i, j
    cdef double w, first, second, third, fourth
    cdef double *offsets = images + D * FG_TOGETHER
    cdef double *x
    for j in range(D):
        for c in range(FG_TOGETHER):
            offsets[j * FG_TOGETHER + c] = means[c * D + j] - origin[j] if c < count else 0.0
    for i in range(D):
        first = second = third = fourth = 0
        x = offsets
        for j in range(i + 1):
            w = W[i * D + j]
            first += w * x[0]
            second += w * x[1]
            third += w * x[2]
            fourth += w * x[3]
            x += FG_TOGETHER
        x = images + i * FG_TOGETHER
        x[0], x[1], x[2], x[3] = first, second, third, fourth


cdef class Kernel:
    """Constants of one mixture for one compute type and the instruction level in use.

    Parameters
    ----------
    kind : {"full", "diagonal", "spherical", "rotated", "low_rank"}
    single : bool
        Whether rows are computed in float32.
    means : (K, D), factors : see `fastgmm.engine.KernelConstants`, log_norm : (K,), shift : (D,)
        C-contiguous float64 arrays.
    """

    def __cinit__(self, kind, bint single, cnp.ndarray means, cnp.ndarray factors, cnp.ndarray log_norm,
                  cnp.ndarray shift):
        cdef Model *m = &self.model
        m.kind, m.single, m.item = KINDS[kind], single, 4 if single else 8
        m.K, m.D = means.shape[0], means.shape[1]
        m.rank = factors.shape[1] - 1 if m.kind == FG_LOW_RANK else 0
        m.panels = panels_per_block(m.K, m.D, m.item)
        m.group = rows_per_group(m.kind, m.K, m.D, m.rank, m.item)
        m.leaf = active_leaves(single)
        m.means, m.factors = float64_values(means), float64_values(factors)
        m.log_norm, m.shift = float64_values(log_norm), float64_values(shift)
        self.keep = (means, factors, log_norm, shift)
        self.allocate()
        self.prepare()

    @property
    def group_rows(self):
        return self.model.group

    cdef allocate(self):
        cdef Model *m = &self.model
        cdef Py_ssize_t packed = triangle(m.D), axes = padded(m.K * m.rank * FG_ROW_STRIDE(m.D, m.item) * m.item)
        if m.kind == FG_FULL:
            packed *= m.K
        elif m.kind == FG_DIAGONAL:
            packed = m.K * m.D
        elif m.kind == FG_SPHERICAL:
            packed = m.K
        elif m.kind == FG_LOW_RANK:
            packed = m.K * FG_LOW_RANK_SIZE(m.D, m.rank)
        cdef Py_ssize_t vectors = padded(m.K * m.D * m.item), scalars = padded(m.K * m.item)
        self.slab = <char *> PyMem_RawMalloc(FG_ALIGN + 2 * vectors + 2 * scalars + axes + padded(packed * m.item))
        if self.slab == NULL:
            raise MemoryError("constants of the mixture")
        cdef char *base = <char *> <uintptr_t> padded(<uintptr_t> self.slab)
        m.mu, m.rotated_mu = base, base + vectors
        m.c, m.ones = base + 2 * vectors, base + 2 * vectors + scalars
        m.axes = base + 2 * vectors + 2 * scalars
        m.W = base + 2 * vectors + 2 * scalars + axes

    cdef prepare(self):
        """Put means, factors and log_norm into the form that the leaves read."""
        cdef Model *m = &self.model
        m.leaf.prepare_center(m.K, m.D, m.means, m.shift, m.mu)
        m.top = m.leaf.prepare_c(m.K, m.log_norm, m.c)
        if m.kind == FG_ROTATED:
            self.prepare_rotated()
        else:
            self.prepare_factors()

    cdef place(self, const double *means, const double *factors, const double *log_norm):
        """Make this the kernel of another mixture of the same shape. The caller keeps the arrays alive."""
        self.model.means, self.model.factors, self.model.log_norm = means, factors, log_norm
        self.prepare()

    cdef void prepare_factors(self):
        cdef Model *m = &self.model
        cdef Py_ssize_t k, stride = FG_ROW_STRIDE(m.D, m.item)
        if m.kind == FG_LOW_RANK:
            for k in range(m.K):
                m.leaf.prepare_low_rank(m.D, m.rank, stride, m.factors + k * (1 + m.rank) * m.D,
                                        <char *> m.W + k * FG_LOW_RANK_SIZE(m.D, m.rank) * m.item,
                                        <char *> m.axes + k * m.rank * stride * m.item)
        elif m.kind == FG_FULL:
            for k in range(m.K):
                m.leaf.prepare_triangle(m.D, m.factors + k * m.D * m.D, <char *> m.W + k * triangle(m.D) * m.item)
        elif m.kind == FG_DIAGONAL:
            m.leaf.prepare_scaled(m.K * m.D, m.factors, 0, m.W)
        else:
            m.leaf.prepare_scaled(m.K, m.factors, 1, m.W)

    cdef prepare_rotated(self):
        """Rotated rows come out in log2 units, so the rotated means are put into them too and are scaled by one."""
        cdef Model *m = &self.model
        cdef Py_ssize_t g, k, c, i, count
        # image (K, D), zero (D), unit (K), offsets and their images (D, FG_TOGETHER)
        cdef Py_ssize_t size = m.K * m.D + m.D + m.K + 2 * FG_TOGETHER * m.D
        cdef double *image = <double *> PyMem_RawMalloc(size * sizeof(double))
        if image == NULL:
            raise MemoryError("constants of the mixture")
        cdef double *zero = image + m.K * m.D
        cdef double *unit = zero + m.D
        cdef double *work = unit + m.K
        for g in range((m.K + FG_TOGETHER - 1) // FG_TOGETHER):
            k = g * FG_TOGETHER
            count = min(m.K - k, FG_TOGETHER)
            rotate_offsets(count, m.D, m.means + k * m.D, m.shift, m.factors, work)
            for c in range(count):
                unit[k + c] = 1 / SQRT_HALF_LOG2E
                for i in range(m.D):
                    image[(k + c) * m.D + i] = work[i * FG_TOGETHER + c] * SQRT_HALF_LOG2E
        memset(zero, 0, m.D * sizeof(double))
        m.leaf.prepare_triangle(m.D, m.factors, m.W)
        m.leaf.prepare_center(m.K, m.D, image, zero, m.rotated_mu)
        m.leaf.prepare_scaled(m.K, unit, 1, m.ones)
        PyMem_RawFree(image)

    cdef prepare_bounds(self):
        """What the sparse leaf needs to know of a full kind, once."""
        cdef Model *m = &self.model
        cdef Py_ssize_t k
        if m.bounds != NULL:
            return
        # variance (K), work (3, D, D)
        cdef double *variance = <double *> PyMem_RawMalloc((m.K + 3 * m.D * m.D) * sizeof(double))
        self.bounds_slab = <char *> PyMem_RawMalloc(FG_ALIGN + (m.D + 2) * FG_BOUNDS(m.K) * m.item)
        if variance == NULL or self.bounds_slab == NULL:
            PyMem_RawFree(variance)
            raise MemoryError("bounds of the mixture")
        for k in range(m.K):
            variance[k] = m.leaf.largest_variance(m.D, m.factors + k * m.D * m.D, variance + m.K)
        m.bounds = <void *> <uintptr_t> padded(<uintptr_t> self.bounds_slab)
        m.leaf.prepare_bounds(m.K, m.D, m.mu, m.c, variance, m.bounds)
        PyMem_RawFree(variance)

    def __dealloc__(self):
        PyMem_RawFree(self.slab)
        PyMem_RawFree(self.bounds_slab)
