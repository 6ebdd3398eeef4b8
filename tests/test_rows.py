"""Rows of any layout give the bits of a contiguous copy, are never copied whole and never changed."""

import tracemalloc

import numpy as np
import problems
import pytest
import reference
from problems import kernel_constants, random_constants

from fastgmm.engine import accumulate, accumulate_given, nearest, score
from fastgmm.engine.rows import Rows
from fastgmm.fitting import run

N_ROWS, N_FEATURES, N_COMPONENTS = 203, 5, 3


def values(dtype):
    """Small integers, so that every dtype holds the same numbers."""
    X = np.random.default_rng(1).integers(0, 8, (N_ROWS, N_FEATURES))
    return (X % 2 if np.dtype(dtype) == bool else X).astype(dtype)


def read_only(X):
    X.flags.writeable = False
    return X


def unaligned(X):
    """The same rows one byte past an aligned address."""
    raw = bytearray(X.nbytes + 1)
    raw[1:] = X.tobytes()
    moved = np.frombuffer(raw, dtype=X.dtype, offset=1).reshape(X.shape)
    assert not moved.flags.aligned or X.itemsize == 1
    return moved


def inside(X, row_step, column_step):
    """The same rows as every ``row_step``-th row and ``column_step``-th column of a larger array."""
    big = np.full((X.shape[0] * abs(row_step), X.shape[1] * abs(column_step)), 99, dtype=X.dtype)
    view = big[::row_step, ::column_step]
    view[...] = X
    return view


LAYOUTS = {
    "C": lambda X: X,
    "Fortran": np.asfortranarray,
    "transposed": lambda X: np.ascontiguousarray(X.T).T,
    "row steps": lambda X: inside(X, 3, 1),
    "column steps": lambda X: inside(X, 1, 2),
    "both steps": lambda X: inside(X, 2, 3),
    "rows backwards": lambda X: inside(X, -1, 1),
    "all backwards": lambda X: inside(X, -2, -1),
    "unaligned": unaligned,
    "unaligned Fortran": lambda X: unaligned(np.ascontiguousarray(X.T)).T,
    "read-only": read_only,
    "big-endian": lambda X: X.astype(X.dtype.newbyteorder(">")),
    "big-endian steps": lambda X: inside(X.astype(X.dtype.newbyteorder(">")), 2, -1),
    "equal rows": lambda X: np.broadcast_to(X[:1], X.shape),
}


def every_pass(X, dtype):
    """The bytes of all that every pass returns for X."""
    constants = random_constants("full", 2, N_FEATURES, N_COMPONENTS)
    theirs = kernel_constants(constants, dtype)
    scores = score(X, theirs, log_density=True, resp=True, labels=True, joint=True)
    close = nearest(X, constants.means, labels=True, distances2=True, sums=True)
    labels = np.arange(N_ROWS) % N_COMPONENTS
    return (
        accumulate(X, theirs).to_bytes(),
        accumulate_given(X, "full", constants.means, labels=labels, shift=constants.shift).to_bytes(),
        *(getattr(scores, name).tobytes() for name in ("log_density", "resp", "labels", "joint")),
        *(getattr(close, name).tobytes() for name in ("labels", "distances2", "n", "s")),
    )


def assert_like_a_copy(X, compute_dtype):
    """All passes over X give the bits of a contiguous copy, and leave X and its flags as they were."""
    before, flags = X.tobytes(), str(X.flags)
    copy = np.array(X, dtype=compute_dtype, order="C")
    assert Rows(X).dtype == compute_dtype
    assert every_pass(X, compute_dtype) == every_pass(copy, compute_dtype)
    assert (X.tobytes(), str(X.flags)) == (before, flags)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_agnosticism(layout, dtype):
    X = LAYOUTS[layout](values(dtype))
    native = X.dtype.isnative or dtype == "float64"
    assert_like_a_copy(X, np.dtype(dtype) if native else Rows(X).dtype)


@pytest.mark.parametrize("dtype", ["float16", "longdouble", "int8", "uint8", "int32", "int64", "uint64", "bool", ">i4"])
@pytest.mark.parametrize("layout", ["C", "Fortran", "both steps", "unaligned"])
def test_dtype_agnosticism(dtype, layout):
    assert_like_a_copy(LAYOUTS[layout](values(dtype)), np.dtype(np.float64))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_memory_map_agnosticism(order, mode, tmp_path):
    np.save(tmp_path / "rows.npy", np.asarray(values("float64"), order=order))
    assert_like_a_copy(np.load(tmp_path / "rows.npy", mmap_mode=mode), np.dtype(np.float64))


def test_lists_and_array_interfaces_are_rows():
    class Wrapped:
        def __array__(self, dtype=None, copy=None):
            return values("float64")

    want = every_pass(values("float64"), np.float64)
    assert every_pass(values("int64").tolist(), np.float64) == want
    assert every_pass(Wrapped(), np.float64) == want


@pytest.mark.parametrize("layout", ["Fortran", "both steps", "unaligned", "big-endian", "read-only"])
def test_fit_is_layout_agnostic(layout):
    """A whole fit, k-means start included; row and feature steps reach every function between X and the engine."""
    X = problems.rows(3, 400, N_FEATURES, N_COMPONENTS)
    other = LAYOUTS[layout](X.copy())
    options = {"covariance_type": "full", "random_state": 5, "max_iter": 5, "tol": 0}
    problems.assert_same_parameters(run(other, 3, **options).mixture, run(X, 3, **options).mixture)


@pytest.mark.parametrize("layout", ["C", "Fortran", "both steps", "unaligned", "big-endian", "float16", "int16"])
def test_no_pass_copies_the_rows(layout):
    """64 MB of rows (or their float64 values); no pass may allocate more than 8 MiB, were X ever so far from plain."""
    K, D, n_rows = 2, 8, 1_000_000
    X = np.ones((n_rows, D)) if layout in LAYOUTS else np.ones((n_rows, D), dtype=layout)
    X = LAYOUTS.get(layout, LAYOUTS["C"])(X)
    constants = random_constants("diagonal", 4, D, K)
    theirs, labels = kernel_constants(constants), np.zeros(n_rows, dtype=np.int64)
    passes = {
        "accumulate": lambda: accumulate(X, theirs),
        "score": lambda: score(X, theirs),
        "accumulate_given": lambda: accumulate_given(X, "diagonal", constants.means, labels=labels),
    }
    for name, one_pass in passes.items():
        tracemalloc.start()
        one_pass()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 8 * 2**20, f"{name}: {peak / 2**20:.0f} MiB"


RESIDENT = """
import resource, sys
import numpy as np
from fastgmm.fitting import run

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

rng = np.random.default_rng(0)
run(rng.standard_normal((1000, 8)), 16, covariance_type="full", max_iter=1, tol=0)  # libraries load here
X = np.empty((2_000_000, 8))
for part in np.array_split(X, 100):
    rng.standard_normal(out=part)
before = peak()
run(X, 16, covariance_type="full", max_iter=2, tol=0, random_state=0{start})
print(peak() - before)
"""


@pytest.mark.parametrize("start", ["", ", init_params=lambda X, K, r: X[:K]"], ids=["kmeans", "given means"])
def test_fit_needs_at_most_64_mib_beyond_the_rows(start, run_python):
    """N = 2M, D = 8, K = 16, full; the resident peak sees allocations of every kind."""
    assert int(run_python(RESIDENT.replace("{start}", start))) <= 64 * 2**20


def test_index_beyond_int32():
    """N K and N D past 2**31 with a stride-0 array: predict only, labels only."""
    limit = 2**31
    constants = random_constants("spherical", 6, 1, 1024)
    X = np.broadcast_to(np.array([[0.3]]), (limit // 1024 + 5, 1))
    labels = score(X, kernel_constants(constants), labels=True).labels
    assert (labels == reference.log_joint(constants, X[:1]).argmax()).all()
    constants = random_constants("spherical", 7, 1024, 2)
    X = np.broadcast_to(constants.means[1], (limit // 1024 + 5, 1024))
    labels = score(X, kernel_constants(constants), labels=True).labels
    assert (labels == 1).all()
