"""A pass as its blocks see it: what is done to the rows, and one thread's room to do it in."""

from libc.stdint cimport int32_t, int64_t

from fastgmm.engine._core cimport Model, fg_rows


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
    const char *packed         # in, (P, D, FG_PANEL) REAL: the rows as the leaves read them, instead of `rows`
    const char *packed_weights  # in, (P, FG_PANEL) REAL, with these: in their unit, 0 for padded rows
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


cdef Scratch lay_out(const Model *m, char *base, Py_ssize_t *size) noexcept nogil
cdef int run_block(const Job *job, Py_ssize_t first, Py_ssize_t n, Scratch *s, double *sums) noexcept nogil


cdef inline double element(const fg_rows *x, Py_ssize_t row, Py_ssize_t j) noexcept nogil:
    """A number of a visited row."""
    cdef const char *p = x.data + (x.rows[row] if x.rows != NULL else row) * x.row_stride + j * x.col_stride
    return (<const float *> p)[0] if x.is_f32 else (<const double *> p)[0]
