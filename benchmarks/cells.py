"""The cells of the kernel grid: EM iterations on made data, timed one by one.

Unlike the tasks in `tasks.py`, whose fits of two lengths cancel start-up for any library, a cell watches single
iterations from within: fastgmm through its callback, scikit-learn through its M-step. That needs one short fit where
two lengths need two long ones, and leaves time for the whole grid of shapes.

=========  =================================================================  =====================================
part       what runs                                                          compared first
=========  =================================================================  =====================================
levels     fastgmm: every SIMD level, both dtypes, one and two threads; two   log-likelihoods with the first variant
           fits side by side that share nothing
ratio      scikit-learn, fastgmm at its best level and at x86-64's baseline   log-likelihoods with scikit-learn
skipping   separated data, rows in the order of fits and as they come         log-likelihoods of the two
peers      every library that is installed, on named problems, two threads    log-likelihoods with scikit-learn
=========  =================================================================  =====================================

The levels part also times matrix products of both dtypes on one and two threads, time and again in the same run, and
one that OpenBLAS makes without AVX-512: a processor that splits 512-bit operations takes as long over
the one as over the other.
"""

from __future__ import annotations

import functools
import gc
import itertools
import math
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import libraries, measure, peers
from benchmarks.problems import PROBLEMS, Start
from benchmarks.tasks import EqualModels

ROOT = Path(__file__).resolve().parent.parent
N_FEATURES = (1, 2, 3, 5, 8, 10, 16, 17, 32, 33, 64, 128, 256)
N_COMPONENTS = (1, 3, 10, 32, 128)
FAMILIES = ("full", "tied", "diag", "spherical")
DTYPES = ("float64", "float32")
THREADS = (1, 2)
BASELINE = "x86-64"  # what every processor of the architecture has; the level below, plain C, is for other ones

SCIKIT_LEARN_SECONDS = 0.12  # about what an iteration of scikit-learn takes in a cell
LEAST_ROWS, MOST_ROWS = 6144, 1_000_000  # eight groups of rows where K D^2 is large, so that two threads share evenly
QUICK_ROWS = 1500
SAMPLE_SECONDS = 0.06  # a variant's iterations are repeated until they have taken this long
SLOW = 0.3  # seconds of an iteration from which one is enough
ROUNDS = 3
ITERATIONS = 4  # of a run of fastgmm; the first is not timed, and a second thread may join late in the next
TOO_LONG = 3.0  # seconds of an iteration of scikit-learn from which it is left out: D = 256 with K = 128, full
LARGE = 10e9  # multiply-adds of an iteration above which levels below the best are left out
FEW_ITERATIONS, MANY_ITERATIONS = (1, 3), (10, 60)  # two lengths of runs of peers: from SMALL_ROWS rows on, and below
SMALL_ROWS = 10_000
GEMM_SIZE = 1024
PAIR = "pair/float64"  # of two fits side by side, at the best level with one thread each
GEMM_AVX2 = "float64/1/avx2"
GEMM_K = 10  # the cells that time a matrix product: often enough to see a processor that changes its clock
TOLERANCE = {"float64": 1e-8, "float32": 1e-5}  # of mean log-likelihoods, relative to one nat per feature at the least


@dataclass(frozen=True)
class Cell:
    """One shape: what is measured, covariance family, features and components."""

    part: str
    family: str
    D: int
    K: int

    @property
    def id(self) -> str:
        return f"{self.part}/{self.family}/D{self.D}/K{self.K}"


@dataclass(frozen=True)
class PeerCell:
    """A named problem that every installed library runs."""

    problem: str
    family: str
    D: int
    part: str = "peers"

    @property
    def id(self) -> str:
        return f"{self.part}/{self.problem}/{self.family}"


@dataclass(frozen=True)
class Outcome:
    """Seconds of every timed iteration by variant, rate of matrix products (multiply-adds per second), agreement."""

    n_rows: int
    seconds: dict[str, list[float]]
    agreement: float
    gemm: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)  # of peers
    left_out: dict[str, str] = field(default_factory=dict)  # peer -> why


def variant(level: str, dtype: str, n_threads: int) -> str:
    """Return the name under which the seconds of one way to run fastgmm are stored."""
    return f"{level}/{dtype}/{n_threads}"


def multiply_adds(family: str, D: int, K: int) -> float:
    """Return the multiply-adds that one row needs in an E-step and an M-step: triangles, no padding, no exp."""
    return {
        "full": K * D * (D + 1),
        "tied": D * (D + 1) / 2 + 2 * K * D,
        "diag": 4 * K * D,
        "spherical": K * (2 * D + 3),
    }[family]


def scikit_learn_seconds(family: str, D: int, K: int) -> float:
    """Return about what scikit-learn takes per row and iteration; rough figures, which choose sizes only."""
    per_feature = {"full": 14e-9 + 4e-11 * D, "tied": 7e-9}.get(family, 0.2e-9)
    return K * (60e-9 + per_feature * D)


def n_rows(cell: Cell, quick: bool) -> int:
    """Return so many rows that an iteration of scikit-learn takes SCIKIT_LEARN_SECONDS, within bounds."""
    rows = SCIKIT_LEARN_SECONDS / scikit_learn_seconds(cell.family, cell.D, cell.K)
    return QUICK_ROWS if quick else round(min(max(rows, LEAST_ROWS), MOST_ROWS))


def make(cell: Cell, quick: bool) -> tuple[np.ndarray, Start]:
    """Return rows of a mixture that overlaps, and a start from which no component loses its rows in three iterations.

    Where rows are few for D x D covariances, every row draws the covariance of its component towards itself, and
    differences between components grow by about D^2 / N an iteration: there they begin small.
    """
    rng = np.random.default_rng([cell.D, cell.K])
    N, D, K = n_rows(cell, quick), cell.D, cell.K
    X = rng.normal(size=(N, D))
    X += (rng.normal(size=(K, D)) * 2 / math.sqrt(D))[rng.integers(K, size=N)]
    apart = 0.3 * min(1.0, N / D**2) ** 2
    means = X.mean(axis=0) + rng.normal(size=(K, D)) * apart / math.sqrt(D)
    variance = float(X.var())
    shapes = {"full": np.broadcast_to(np.eye(D), (K, D, D)), "tied": np.eye(D), "diag": np.ones((K, D))}
    return X, Start(np.full(K, 1 / K), means, shapes.get(cell.family, np.ones(K)) / variance)


@dataclass(frozen=True)
class Watched:
    """A short run: seconds of its iterations but the first, and the mean log-likelihood before each M-step."""

    seconds: list[float]
    bounds: list[float]


def _arguments(start: Start, n_iter: int) -> dict[str, Any]:
    return {
        "weights_init": start.weights,
        "means_init": start.means,
        "precisions_init": start.precisions,
        "max_iter": n_iter,
        "tol": 0.0,
        "reg_covar": 0.0,
    }


def _watched(run: Callable[[Callable[[float], None]], None]) -> Watched:
    """Return what `run(note)` notes: the log-likelihood of every iteration, at the iteration's end."""
    ends, bounds = [], []

    def note(bound: float) -> None:
        ends.append(time.perf_counter())
        bounds.append(float(bound))

    run(note)
    return Watched([later - earlier for earlier, later in itertools.pairwise(ends)], bounds)


def watch_fastgmm(X: np.ndarray, start: Start, family: str, n_iter: int, n_threads: int) -> Watched:
    """Run `n_iter` EM iterations of fastgmm at the SIMD level in use."""
    import fastgmm

    return _watched(
        lambda note: fastgmm.fit(
            X,
            len(start.weights),
            covariance_type=family,
            n_threads=n_threads,
            callback=lambda state: note(state.lower_bound),
            **_arguments(start, n_iter),
        )
    )


def watch_pair(X: np.ndarray, start: Start, family: str, n_iter: int) -> Watched:
    """Run two fits of fastgmm side by side that share nothing, of one thread each: what the machine has for two."""
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(watch_fastgmm, rows, start, family, n_iter, 1) for rows in (X, X.copy())]
        first, second = (each.result() for each in both)
    return Watched(first.seconds + second.seconds, first.bounds)


def watch_scikit_learn(X: np.ndarray, start: Start, family: str, n_iter: int) -> Watched:
    """Run `n_iter` EM iterations of scikit-learn."""
    from sklearn.mixture import GaussianMixture

    class Noting(GaussianMixture):
        def _m_step(self, *args: Any, **kwargs: Any) -> None:
            super()._m_step(*args, **kwargs)
            note(math.nan)

    def run(given: Callable[[float], None]) -> None:
        nonlocal note, model
        note = given
        model = Noting(len(start.weights), covariance_type=family, **_arguments(start, n_iter)).fit(X)

    note, model = print, None
    seconds = _watched(run).seconds
    return Watched(seconds, [float(bound) for bound in model.lower_bounds_])


def require_equal(expected: list[float], found: list[float], D: int, dtype: str, name: str) -> float:
    """Return how far mean log-likelihoods are apart; raises UnequalAnswers if it is too far."""
    apart = [abs(a - b) / max(abs(a), D) for a, b in zip(expected, found, strict=False)]
    if not all(each <= TOLERANCE[dtype] for each in apart):  # also refuses NaN
        raise measure.UnequalAnswers(f"{name} gives {found} where {expected} is expected")
    return max(apart)


def gemm_rate(dtype: str, size: int) -> float:
    """Return multiply-adds per second of NumPy's matrix product: the best of a few calls."""
    A = np.random.default_rng(0).normal(size=(size, size)).astype(dtype)
    out = np.zeros_like(A)
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        np.dot(A, A, out=out)
        seconds.append(time.perf_counter() - began)
    return size**3 / min(seconds)


@functools.cache
def _gemm_rate_of_avx2(size: int) -> float:
    """Return the rate on one thread of OpenBLAS's AVX2 kernels, which it chooses only when it is loaded: once a run."""
    code = f"from benchmarks.cells import gemm_rate; print(gemm_rate('float64', {size}))"
    variables = {**os.environ, "OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=variables, cwd=ROOT, capture_output=True, check=True)
    return float(done.stdout)


def gemm_rates(size: int = GEMM_SIZE) -> dict[str, float]:
    """Return rates of matrix products by dtype and threads, and by AVX2 where the engine's best level is above it."""
    from fastgmm.engine import simd

    rates = {}
    for dtype, n_threads in itertools.product(DTYPES, THREADS):
        with libraries.thread_limit(n_threads):
            rates[f"{dtype}/{n_threads}"] = gemm_rate(dtype, size)
    if simd.levels()[-1] == "avx512":
        rates[GEMM_AVX2] = _gemm_rate_of_avx2(size)
    return rates


def variants(cell: Cell, rows: int) -> list[tuple[str, str, int]]:
    """Return (level, dtype, threads) of all that the levels part measures in a cell, the reference first."""
    from fastgmm.engine import simd

    *lower, best = simd.levels()
    chosen = [best, *reversed(lower)] if multiply_adds(cell.family, cell.D, cell.K) * rows < LARGE else [best]
    found = list(itertools.product(chosen, DTYPES, THREADS))
    # Plain C is there for processors without a level of their own: one column of K and one thread tell enough.
    return [each for each in found if simd.lanes(each[0]) > 1 or (cell.K == 10 and each[2] == 1)]


def _sample(run: Callable[[int], Watched]) -> tuple[list[float], list[float]]:
    """Return log-likelihoods of a first run, and seconds of as many iterations as SAMPLE_SECONDS asks for."""
    first = run(2)
    if first.seconds[0] > SLOW:
        return first.bounds, first.seconds
    n_runs = min(max(math.ceil(SAMPLE_SECONDS / (2 * max(first.seconds[0], 1e-9))), 1), ROUNDS)
    return first.bounds, [seconds for _ in range(n_runs) for seconds in run(ITERATIONS).seconds]


def measure_levels(cell: Cell, quick: bool) -> Outcome:
    """Time fastgmm at every level, in both dtypes, on one and two threads, and two fits side by side."""
    from fastgmm.engine import simd

    X, start = make(cell, quick)
    rows = {"float64": X, "float32": X.astype(np.float32)}
    seconds, agreement, expected, before = {}, 0.0, None, simd.active()
    try:
        for level, dtype, n_threads in variants(cell, len(X)):
            simd.use(level)
            name = variant(level, dtype, n_threads)
            # A start is float64 whatever the rows are.
            bounds, taken = _sample(lambda n: watch_fastgmm(rows[dtype], start, cell.family, n, n_threads))  # noqa: B023
            expected = expected or bounds
            apart = require_equal(expected, bounds, cell.D, dtype, name)
            agreement = max(agreement, apart if dtype == "float64" else 0.0)
            seconds[name] = taken
        simd.use(simd.levels()[-1])
        pair = _sample(lambda n: watch_pair(X, start, cell.family, n))
        require_equal(expected, pair[0], cell.D, "float64", PAIR)
        seconds[PAIR] = pair[1]
    finally:
        simd.use(before)
    gemm = gemm_rates(64 if quick else GEMM_SIZE) if cell.K == GEMM_K or quick else {}
    return Outcome(len(X), seconds, agreement, gemm)


def measure_ratio(cell: Cell, quick: bool) -> Outcome:
    """Time scikit-learn and fastgmm in turn, two threads, float64."""
    from fastgmm.engine import simd

    X, start = make(cell, quick)
    best, n_threads, before = simd.levels()[-1], 2, simd.active()

    def at_level(level: str) -> Callable[[int], Watched]:
        def run(n_iter: int) -> Watched:
            simd.use(level)
            return watch_fastgmm(X, start, cell.family, n_iter, n_threads)

        return run

    runs = {libraries.REFERENCE: lambda n_iter: watch_scikit_learn(X, start, cell.family, n_iter)}
    runs |= {variant(level, "float64", n_threads): at_level(level) for level in {best: 0, BASELINE: 0}
             if level in simd.levels()}  # fmt: skip
    try:
        first = {name: run(2) for name, run in runs.items()}
        expected = first[libraries.REFERENCE].bounds
        agreement = max(require_equal(expected, each.bounds, cell.D, "float64", name) for name, each in first.items())
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(1 if first[libraries.REFERENCE].seconds[0] > 1 else ROUNDS):
            for name, run in runs.items():
                theirs = name == libraries.REFERENCE
                # Of iterations that take microseconds a round has several, and the round's median counts.
                seconds[name].append(measure.Spread.of(run(2 if theirs else ITERATIONS).seconds).median)
                if theirs:
                    time.sleep(measure.SETTLE_SECONDS)
    finally:
        simd.use(before)
    return Outcome(len(X), seconds, agreement)


@functools.cache
def everyone(n_threads: int) -> list[libraries.Library]:
    """Return an adapter of every library that is installed, made once: some compile a program."""
    return [*libraries.installed(n_threads), *peers.installed(n_threads)]


def measure_peers(cell: PeerCell, quick: bool) -> Outcome:
    """Time iterations of every library that is installed, from runs of two lengths."""
    problem, n_threads = PROBLEMS[cell.problem], max(THREADS)
    X = problem.data(quick)
    libs = [lib for lib in everyone(n_threads) if lib.supports("iteration", cell.family)]
    named = {lib.name: peers.HANGS.get((lib.name, cell.problem, cell.family)) for lib in libs}
    hanging = {name: why for name, why in named.items() if why}
    libs = [lib for lib in libs if lib.name not in hanging]
    few, many = MANY_ITERATIONS if len(X) < SMALL_ROWS else FEW_ITERATIONS
    equal = [EqualModels.after(n, problem, X, cell.family, libs) for n in (few, many)]  # compiles what is compiled
    left_out = hanging | equal[0].left_out | equal[1].left_out
    libs = [lib for lib in libs if lib.name not in left_out]
    start = problem.start(X, cell.family)

    def run(lib: libraries.Library, n_iter: int) -> Callable[[int], Any]:
        return lambda _: lib.iterate(X, start, cell.family, n_iter)

    timed = measure.interleave({(lib.name, n): run(lib, n) for lib in libs for n in (few, many)}, ROUNDS)
    seconds = {}
    for lib in libs:
        try:
            seconds[lib.name] = measure.per_iteration(
                timed.seconds[lib.name, few], timed.seconds[lib.name, many], (few, many)
            )
        except measure.NotMeasurable as error:
            left_out[lib.name] = str(error)
    versions = {lib.name: lib.version for lib in libs}
    agreement = max(each.agreement for each in equal)
    return Outcome(len(X), seconds, agreement, versions=versions, left_out=left_out)


def measure_skipping(cell: Cell, quick: bool) -> Outcome:
    """Time full iterations on separated data: rows in the order that fits visit them in, and as they come."""
    from fastgmm import covariance
    from fastgmm.fitting import expectation_maximisation
    from fastgmm.fitting.arrangement import MIN_ROWS_PER_COMPONENT, arranged
    from fastgmm.sources import ArraySource

    rng = np.random.default_rng(0)
    N = MIN_ROWS_PER_COMPONENT * cell.K if quick else MOST_ROWS
    centres = rng.normal(scale=6.0, size=(cell.K, cell.D))
    X = rng.normal(size=(N, cell.D)) + centres[rng.integers(cell.K, size=N)]
    family = covariance.get(cell.family)
    identities = family.from_precisions(np.broadcast_to(np.eye(cell.D), (cell.K, cell.D, cell.D)), cell.K, cell.D)
    start = covariance.Parameters(np.full(cell.K, 1 / cell.K), centres + 0.1, *identities)
    plain = ArraySource(X, n_threads=2)
    found = {}
    for name, source in {"with": arranged(plain, family.kind, cell.K), "without": plain}.items():
        found[name] = _watched(
            lambda note, source=source: expectation_maximisation(
                source, family, start, tol=0.0, max_iter=4, reg_covar=0.0,
                callback=lambda state: note(state.lower_bound),
            )
        )  # fmt: skip
    agreement = require_equal(found["without"].bounds, found["with"].bounds, cell.D, "float64", "skipping")
    return Outcome(N, {name: each.seconds for name, each in found.items()}, agreement)


PARTS: dict[str, Callable[[Any, bool], Outcome]] = {
    "peers": measure_peers,
    "levels": measure_levels,
    "ratio": measure_ratio,
    "skipping": measure_skipping,
}
PEER_CELLS: tuple[PeerCell, ...] = (
    *(PeerCell("200k-10-10", family, 10) for family in FAMILIES),
    *(PeerCell("50k-64-16", family, 64) for family in ("full", "diag")),
    *(PeerCell("china", family, 3) for family in ("full", "diag")),
    *(PeerCell("iris", family, 4) for family in ("full", "diag")),
    PeerCell("50k-32-16", "full", 32),
    PeerCell("digits", "full", 16),
)
GRID: tuple[Cell | PeerCell, ...] = (
    *(Cell("levels", *shape) for shape in itertools.product(FAMILIES, N_FEATURES, N_COMPONENTS)),
    Cell("skipping", "full", 16, 128),
    *(
        Cell("ratio", *shape)
        for shape in itertools.product(FAMILIES, N_FEATURES, N_COMPONENTS)
        if LEAST_ROWS * scikit_learn_seconds(*shape) < TOO_LONG
    ),
    *PEER_CELLS,  # last: some leave threads behind
)


def run(cell: Cell | PeerCell, quick: bool) -> Outcome:
    """Measure one cell; raises UnequalAnswers before anything of it counts."""
    with warnings.catch_warnings(), libraries.thread_limit(max(THREADS)):
        warnings.simplefilter("ignore")  # fits of a fixed length do not converge, and are not meant to
        gc.collect()
        return PARTS[cell.part](cell, quick)
