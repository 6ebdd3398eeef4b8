"""Single rows scored without overhead, from Python and, through a table of functions, from C.

A scorer is a plan that nothing changes once it is made; what a call needs beside is on its stack. So any number of
threads may use one at once.
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int64_t, uintptr_t

import numpy as np

cimport numpy as cnp

from fastgmm.engine._core cimport FG_ALIGN, FG_LOW_RANK, active_leaves, fg_leaves, fg_row_form, float64_values, padded

from fastgmm.engine import _core

cnp.import_array()

cdef extern from "fastgmm/scoring.h":
    const int FASTGMM_SCORING_ABI
    const char *FASTGMM_SCORING_CAPSULE
    const int FASTGMM_OK, FASTGMM_NO_MEMORY, FASTGMM_WRONG_TYPE

    ctypedef struct fastgmm_scorer:
        pass

    ctypedef struct fastgmm_scoring_api:
        int abi
        const fastgmm_scorer *(*borrow)(object) except NULL
        Py_ssize_t (*n_components)(const fastgmm_scorer *) noexcept nogil
        Py_ssize_t (*n_features)(const fastgmm_scorer *) noexcept nogil
        int (*is_float32)(const fastgmm_scorer *) noexcept nogil
        int (*score_f64)(const fastgmm_scorer *, const double *, Py_ssize_t, double *, double *,
                         int64_t *) noexcept nogil
        int (*score_f32)(const fastgmm_scorer *, const float *, Py_ssize_t, float *, float *, int64_t *) noexcept nogil

cdef enum:
    STACK = 16384  # bytes of scratch that a call takes from its stack; a row that needs more takes it from the heap


cdef struct Plan:
    # What C sees as fastgmm_scorer.
    fg_row_form form
    const fg_leaves *leaf
    bint single
    bint uniform             # whether the last component is noise, whose label is -1
    Py_ssize_t item          # bytes of a REAL: float if single, else double
    Py_ssize_t work_size


cdef int score_rows(const Plan *p, const char *rows, Py_ssize_t n_rows, char *log_density, char *resp,
                    int64_t *labels) noexcept nogil:
    cdef char[STACK + FG_ALIGN] stack
    cdef char *heap = NULL
    cdef char *work = stack
    if p.work_size > STACK:
        heap = <char *> PyMem_RawMalloc(p.work_size + FG_ALIGN)
        if heap == NULL:
            return FASTGMM_NO_MEMORY
        work = heap
    work = <char *> <uintptr_t> padded(<uintptr_t> work)
    while n_rows > 0:
        p.leaf.score_row(&p.form, rows, work, log_density, resp, labels)
        rows += p.form.D * p.item
        if log_density != NULL:
            log_density += p.item
        if resp != NULL:
            resp += p.form.K * p.item
        if labels != NULL:
            if p.uniform and labels[0] == p.form.K - 1:
                labels[0] = -1
            labels += 1
        n_rows -= 1
    PyMem_RawFree(heap)
    return FASTGMM_OK


# ----------------------------------------------------------------------------------------------------- from Python

cdef void *buffer(name, array, int type_number, Py_ssize_t size) except? NULL:
    """Where the caller wants `size` numbers written; NULL for None."""
    if array is None:
        return NULL
    if not (cnp.PyArray_Check(array) and cnp.PyArray_TYPE(array) == type_number and cnp.PyArray_ISCARRAY(array)):
        raise TypeError(f"{name} must be a writeable, aligned C-contiguous array of "
                        f"{cnp.PyArray_DescrFromType(type_number)}, got {described(array)}")
    if cnp.PyArray_SIZE(array) != size:
        raise ValueError(f"{name} must have room for just {size} numbers, got {described(array)}")
    return cnp.PyArray_DATA(array)


cdef described(thing):
    """What an error message says of what came."""
    if not cnp.PyArray_Check(thing):
        return type(thing).__name__
    flags = thing.flags
    faults = {"not C-contiguous": flags.c_contiguous, "not aligned": flags.aligned, "read-only": flags.writeable}
    return ", ".join([f"an array of {thing.dtype} with the shape {thing.shape}",
                      *(fault for fault, absent in faults.items() if not absent)])


cdef class Scorer:
    """Scores rows of one mixture into the caller's arrays: a microsecond a row, safe to share between threads.

    Made by `Mixture.scorer`. It does not change, and the instruction level in use when it was made stays its own.

    Parameters
    ----------
    kind, single, means, factors, log_norm, shift
        As for `fastgmm.engine._core.Kernel`.
    uniform : bool
        Whether the last component is noise, whose label is -1.

    Attributes
    ----------
    n_components, n_features : int
        Noise counts as a component: so many responsibilities has a row.
    dtype : numpy.dtype
        Type of the rows, of the arithmetic, and of log-densities and responsibilities: float32 or float64.
    """

    cdef Plan plan
    cdef char *slab          # memory behind the form
    cdef int type_number     # NumPy's, of a REAL
    cdef object keep         # owners of the float64 constants

    def __cinit__(self, kind, bint single, cnp.ndarray means, cnp.ndarray factors, cnp.ndarray log_norm,
                  cnp.ndarray shift, bint uniform):
        cdef Plan *p = &self.plan
        p.uniform = uniform
        p.single, p.item, p.leaf = single, 4 if single else 8, active_leaves(single)
        self.type_number = cnp.NPY_FLOAT if single else cnp.NPY_DOUBLE
        p.form.kind, p.form.K, p.form.D = _core.KINDS[kind], means.shape[0], means.shape[1]
        p.form.rank = factors.shape[1] - 1 if p.form.kind == FG_LOW_RANK else 0
        p.form.means, p.form.factors = float64_values(means), float64_values(factors)
        p.form.log_norm, p.form.shift = float64_values(log_norm), float64_values(shift)
        self.keep = (means, factors, log_norm, shift)
        p.work_size = p.leaf.row_work_size(p.form.K, p.form.D, p.form.rank)
        self.slab = <char *> PyMem_RawMalloc(
            FG_ALIGN + p.leaf.row_form_size(p.form.kind, p.form.K, p.form.D, p.form.rank)
        )
        if self.slab == NULL:
            raise MemoryError("constants of the scorer")
        p.form.form = <char *> <uintptr_t> padded(<uintptr_t> self.slab)
        p.leaf.prepare_row(&p.form)

    def __dealloc__(self):
        PyMem_RawFree(self.slab)

    def __repr__(self):
        return f"Scorer(n_components={self.n_components}, n_features={self.n_features}, dtype={self.dtype.name!r})"

    @property
    def n_components(self):
        """Number of components, noise among them."""
        return self.plan.form.K

    @property
    def n_features(self):
        """Number of features."""
        return self.plan.form.D

    @property
    def dtype(self):
        """Type of rows and results."""
        return np.dtype(np.float32 if self.plan.single else np.float64)

    def score(self, X, log_density=None, resp=None, labels=None):
        """Score one row or several, into arrays of the caller.

        All arrays are C-contiguous and of the type of the scorer, labels of int64. The GIL is released. Nothing else
        is checked: a row that holds NaN or infinity gets NaN and label -1.

        Parameters
        ----------
        X : ndarray of shape (n_features,) or (n_rows, n_features)
            The rows.
        log_density : ndarray with room for n_rows numbers, default=None
            Receives log p(x), as `Mixture.score_samples` gives it.
        resp : ndarray with room for n_rows times n_components numbers, default=None
            Receives the responsibilities, row by row, as `Mixture.predict_proba` gives them: of noise the last.
        labels : ndarray of int64 with room for n_rows numbers, default=None
            Receives the most probable components, as `Mixture.predict` gives them: -1 for noise.

        Raises
        ------
        TypeError
            If an array has not the type or the layout.
        ValueError
            If an array has not the size.

        Examples
        --------
        >>> import numpy as np
        >>> from fastgmm import Mixture
        >>> scorer = Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical").scorer()
        >>> resp = np.empty(2)
        >>> scorer.score(np.array([2.0]), resp=resp)
        >>> resp
        array([0.5, 0.5])
        """
        cdef const Plan *p = &self.plan
        cdef Py_ssize_t n_rows = 1
        cdef int n_axes, status
        cdef char *out
        cdef char *shares
        cdef const char *rows
        cdef int64_t *named
        if not (cnp.PyArray_Check(X) and cnp.PyArray_TYPE(X) == self.type_number and cnp.PyArray_ISCARRAY_RO(X)):
            raise TypeError(f"X must be an aligned C-contiguous array of {self.dtype}, got {described(X)}")
        n_axes = cnp.PyArray_NDIM(X)
        if n_axes == 2:
            n_rows = cnp.PyArray_DIM(X, 0)
        if not 1 <= n_axes <= 2 or cnp.PyArray_DIM(X, n_axes - 1) != p.form.D:
            raise ValueError(f"X must have the shape ({p.form.D},) or (n_rows, {p.form.D}), got {described(X)}")
        rows = <const char *> cnp.PyArray_DATA(X)
        out = <char *> buffer("log_density", log_density, self.type_number, n_rows)
        shares = <char *> buffer("resp", resp, self.type_number, n_rows * p.form.K)
        named = <int64_t *> buffer("labels", labels, cnp.NPY_INT64, n_rows)
        with nogil:
            status = score_rows(p, rows, n_rows, out, shares, named)
        if status != FASTGMM_OK:
            raise MemoryError("scratch of a row")


# ---------------------------------------------------------------------------------------- from C: fastgmm/scoring.h

cdef const fastgmm_scorer *borrow(object scorer) except NULL:
    if not isinstance(scorer, Scorer):
        raise TypeError(f"expected what Mixture.scorer() returns, got {type(scorer).__name__}")
    return <const fastgmm_scorer *> &(<Scorer> scorer).plan


cdef Py_ssize_t n_components(const fastgmm_scorer *scorer) noexcept nogil:
    return (<const Plan *> scorer).form.K


cdef Py_ssize_t n_features(const fastgmm_scorer *scorer) noexcept nogil:
    return (<const Plan *> scorer).form.D


cdef int is_float32(const fastgmm_scorer *scorer) noexcept nogil:
    return (<const Plan *> scorer).single


cdef int score_f64(const fastgmm_scorer *scorer, const double *rows, Py_ssize_t n_rows, double *log_density,
                   double *resp, int64_t *labels) noexcept nogil:
    if (<const Plan *> scorer).single:
        return FASTGMM_WRONG_TYPE
    return score_rows(<const Plan *> scorer, <const char *> rows, n_rows, <char *> log_density, <char *> resp, labels)


cdef int score_f32(const fastgmm_scorer *scorer, const float *rows, Py_ssize_t n_rows, float *log_density,
                   float *resp, int64_t *labels) noexcept nogil:
    if not (<const Plan *> scorer).single:
        return FASTGMM_WRONG_TYPE
    return score_rows(<const Plan *> scorer, <const char *> rows, n_rows, <char *> log_density, <char *> resp, labels)


cdef fastgmm_scoring_api api = fastgmm_scoring_api(
    FASTGMM_SCORING_ABI, borrow, n_components, n_features, is_float32, score_f64, score_f32)
_C_API = PyCapsule_New(&api, FASTGMM_SCORING_CAPSULE, NULL)
