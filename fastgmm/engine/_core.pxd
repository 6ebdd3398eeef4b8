"""The C contract of src_c/fg_leaves.h, and what other compiled modules may use of the engine."""

from libc.stdint cimport int32_t, int64_t

cimport numpy as cnp


cdef extern from "fg_leaves.h" nogil:
    const Py_ssize_t FG_PANEL
    const Py_ssize_t FG_MAX_PANELS
    const Py_ssize_t FG_ALIGN
    const Py_ssize_t FG_OUTER_FROM
    const int FG_NEGLIGIBLE
    const int FG_FULL, FG_DIAGONAL, FG_SPHERICAL, FG_ROTATED, FG_LOW_RANK

    ctypedef struct fg_rows:
        const char *data
        Py_ssize_t row_stride
        Py_ssize_t col_stride
        int is_f32
        const Py_ssize_t *rows

    Py_ssize_t FG_ROW_STRIDE(Py_ssize_t D, Py_ssize_t item)
    Py_ssize_t FG_LOW_RANK_SIZE(Py_ssize_t D, Py_ssize_t rank)
    Py_ssize_t FG_BOUNDS(Py_ssize_t K)

    ctypedef struct fg_row_form:
        int kind
        Py_ssize_t K
        Py_ssize_t D
        Py_ssize_t rank
        const double *means
        const double *factors
        const double *log_norm
        const double *shift
        void *form

    ctypedef struct fg_leaves:
        int (*pack)(const fg_rows *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, void *) noexcept nogil
        void (*prepare_center)(Py_ssize_t, Py_ssize_t, const double *, const double *, void *) noexcept nogil
        double (*prepare_c)(Py_ssize_t, const double *, void *) noexcept nogil
        void (*prepare_triangle)(Py_ssize_t, const double *, void *) noexcept nogil
        void (*prepare_scaled)(Py_ssize_t, const double *, int, void *) noexcept nogil
        void (*prepare_low_rank)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, void *, void *) noexcept nogil
        void (*logits_full)(const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const void *, const void *, const void *,
                            void *, void *, const char *, Py_ssize_t) noexcept nogil
        void (*logits_diagonal)(const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const void *, const void *,
                                const void *, void *, const char *, Py_ssize_t) noexcept nogil
        void (*logits_spherical)(const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const void *, const void *,
                                 const void *, void *, const char *, Py_ssize_t) noexcept nogil
        void (*logits_low_rank)(const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const void *,
                                const void *, const void *, void *, void *, const char *, Py_ssize_t) noexcept nogil
        void (*rotate)(const void *, Py_ssize_t, Py_ssize_t, const void *, void *) noexcept nogil
        int (*softmax)(void *, Py_ssize_t, const void *, double *) noexcept nogil
        void (*prepare_bounds)(Py_ssize_t, Py_ssize_t, const void *, const void *, const double *,
                               void *) noexcept nogil
        int (*sparse_panel)(const void *, Py_ssize_t, Py_ssize_t, const void *, const void *, const void *,
                            const void *, const void *, void *, void *, int32_t *, void *, double *) noexcept nogil
        void (*rows_of_panels)(const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, void *) noexcept nogil
        void (*moments_outer)(const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const void *, Py_ssize_t, const void *,
                              void *, double *) noexcept nogil
        void (*moments_full)(const void *, Py_ssize_t, Py_ssize_t, const void *, Py_ssize_t, const void *, void *,
                             double *) noexcept nogil
        void (*moments_diagonal)(const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const void *, const void *, double *,
                                 Py_ssize_t) noexcept nogil
        void (*moments_spherical)(const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const void *, const void *,
                                  double *, Py_ssize_t) noexcept nogil
        void (*moments_linear)(const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const void *, const void *, double *,
                               Py_ssize_t) noexcept nogil
        void (*moments_low_rank)(const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const void *,
                                 Py_ssize_t, const void *, const void *, void *, double *) noexcept nogil
        void (*nearest)(const void *, Py_ssize_t, int32_t *, double *) noexcept nogil
        void (*potential)(const void *, Py_ssize_t, const double *, const void *, double *) noexcept nogil
        void (*scatter)(const void *, Py_ssize_t, Py_ssize_t, const int32_t *, const void *, double *) noexcept nogil
        int (*far_row)(int, const double *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, const double *,
                       const double *, double *, double *) noexcept nogil
        Py_ssize_t (*row_form_size)(int, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        Py_ssize_t (*row_work_size)(Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*prepare_row)(fg_row_form *) noexcept nogil
        int (*score_row)(const fg_row_form *, const void *, void *, void *, void *, int64_t *) noexcept nogil
        Py_ssize_t (*cholesky_inverse)(Py_ssize_t, const double *, double *, double *) noexcept nogil
        double (*largest_variance)(Py_ssize_t, const double *, double *) noexcept nogil

    ctypedef struct fg_level:
        const char *name
        int lanes_f64
        const fg_leaves *f64
        const fg_leaves *f32

    const fg_level *const *fg_levels
    int fg_runs(const fg_level *)


cdef struct Model:
    # What a pass reads of a mixture. REAL is float if single, else double.
    int kind
    bint single
    Py_ssize_t K
    Py_ssize_t D
    Py_ssize_t rank          # of the low-rank kind, else 0
    Py_ssize_t item          # bytes of a REAL
    Py_ssize_t panels        # panels per block
    Py_ssize_t group         # rows per group
    const fg_leaves *leaf
    void *mu                 # (K, D) REAL, minus shift
    void *W                  # REAL, as the leaf of the kind wants it; for rotated kinds the triangle
    void *c                  # (K) REAL
    void *rotated_mu         # (K, D) REAL, rotated kinds only
    void *axes               # (K, rank, FG_ROW_STRIDE) REAL, low-rank kind only
    void *ones               # (K) REAL, rotated kinds only
    void *bounds             # (D + 2, FG_BOUNDS(K)) REAL if prepare_bounds was called, else NULL
    double top               # what was taken off log_norm, in log2 units
    const double *shift      # (D)
    const double *means      # (K, D)
    const double *factors
    const double *log_norm   # (K)


cdef class Kernel:
    cdef Model model
    cdef char *slab          # memory behind the REAL constants
    cdef char *bounds_slab   # memory behind the bounds
    cdef object keep         # owners of the float64 constants

    cdef allocate(self)
    cdef prepare(self)
    cdef place(self, const double *means, const double *factors, const double *log_norm)
    cdef void prepare_factors(self)
    cdef prepare_rotated(self)
    cdef prepare_bounds(self)


cdef enum:
    FG_TOGETHER = 4  # means that are rotated side by side


cdef double *float64_values(cnp.ndarray array) except NULL
cdef const fg_leaves *active_leaves(bint single) noexcept nogil
cdef Py_ssize_t rows_per_group(int kind, Py_ssize_t K, Py_ssize_t D, Py_ssize_t rank, Py_ssize_t item) noexcept nogil
cdef void rotate_offsets(Py_ssize_t count, Py_ssize_t D, const double *means, const double *origin, const double *W,
                         double *images) noexcept nogil
cdef double row_work(int kind, Py_ssize_t K, Py_ssize_t D, Py_ssize_t rank) noexcept nogil
cdef Py_ssize_t panels_per_block(Py_ssize_t K, Py_ssize_t D, Py_ssize_t item) noexcept nogil


cdef inline Py_ssize_t padded(Py_ssize_t n_bytes) noexcept nogil:
    return (n_bytes + FG_ALIGN - 1) // FG_ALIGN * FG_ALIGN


cdef inline Py_ssize_t triangle(Py_ssize_t n) noexcept nogil:
    return n * (n + 1) // 2
