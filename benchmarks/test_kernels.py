"""The passes alone, in useful multiply-adds per second on one thread, and the time of a call for one row.

    pytest benchmarks/test_kernels.py --benchmark-enable --benchmark-columns=median,iqr --benchmark-json=kernels.json

Every pass runs for every kernel kind, both dtypes and every SIMD level that the processor has. `gfma_per_second` in
the extra information counts the multiply-adds that the mathematics needs (triangles, not squares; no padding, no exp,
no packing), so that levels and versions can be compared and the peak of a core is the ceiling.
"""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import fastgmm
from fastgmm import covariance, engine
from fastgmm.engine import simd

FAMILIES = {"full": "full", "tied": "rotated", "diag": "diagonal", "spherical": "spherical"}  # family -> kernel kind
N_COMPONENTS = 16
N_FEATURES = (2, 10, 32, 64)
MULTIPLY_ADDS = 40e6  # about the size of one run
ROUNDS = 7


def useful_multiply_adds(kind: str, K: int, D: int, *, update: bool) -> float:
    """Return multiply-adds per row: log-densities of K components, and with `update` also their weighted sums."""
    triangle = (D + 1) * (D + 2) / 2
    log_density, sums = {
        "full": (K * triangle, K * triangle),
        "rotated": (D * (D + 1) / 2 + K * D, K * D),
        "diagonal": (2 * K * D, 2 * K * D),
        "spherical": (K * D, K * (D + 1)),
    }[kind]
    return log_density + sums if update else log_density


def make_rows(n_rows: int, D: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(D).normal(size=(n_rows, D)).astype(dtype)


def make_constants(family_name: str, D: int, dtype: str) -> engine.KernelConstants:
    """Return constants of a mixture whose components overlap: the centres are as far apart as the rows."""
    family = covariance.get(family_name)
    K = N_COMPONENTS
    rng = np.random.default_rng([K, D])
    factors = np.tril(rng.normal(size=(K, D, D)), -1) / (2 * np.sqrt(D)) + np.eye(D)
    precisions = factors @ factors.transpose(0, 2, 1)
    by_family = {"full": precisions, "tied": precisions[0], "diag": np.ones((K, D)), "spherical": np.ones(K)}
    covariances, precisions_cholesky = family.from_precisions(by_family[family_name], K, D)
    means = rng.normal(size=(K, D))
    parameters = covariance.Parameters(np.full(K, 1 / K), means, covariances, precisions_cholesky)
    return family.constants(parameters, dtype=np.dtype(dtype))


@pytest.fixture(params=simd.levels())
def level(request):
    """Run the benchmark at one SIMD level and restore the level after it."""
    before = simd.active()
    simd.use(request.param)
    yield request.param
    simd.use(before)


def run(benchmark, multiply_adds_per_row: float, n_rows: int, call, **labels) -> None:
    """Time `call`, and say how many useful multiply-adds a second the median makes."""
    benchmark.group = " ".join(str(value) for name, value in labels.items() if name != "level")
    benchmark.extra_info.update(labels, n_rows=n_rows, n_components=N_COMPONENTS)
    benchmark.pedantic(call, rounds=ROUNDS, warmup_rounds=1)
    if benchmark.enabled:
        rate = multiply_adds_per_row * n_rows / benchmark.stats.stats.median
        benchmark.extra_info["gfma_per_second"] = round(rate / 1e9, 3)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("D", N_FEATURES)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("work", ["accumulate", "score"])
def test_mixture_pass(benchmark, work, family, D, dtype, level):
    kind = FAMILIES[family]
    per_row = useful_multiply_adds(kind, N_COMPONENTS, D, update=work == "accumulate")
    n_rows = max(2_000, int(MULTIPLY_ADDS / per_row))
    X, constants = make_rows(n_rows, D, dtype), make_constants(family, D, dtype)
    known = {}
    if kind == "rotated":  # a fit takes the total scatter once, so that it is no part of an iteration
        known["scatter"] = engine.total_scatter(X, constants.shift, group=constants.group_rows, n_threads=1)
    calls = {
        "accumulate": lambda: engine.accumulate(X, constants, n_threads=1, **known),
        "score": lambda: engine.score(X, constants, log_density=True, n_threads=1),
    }
    run(benchmark, per_row, n_rows, calls[work], work=work, kind=kind, D=D, dtype=dtype, level=level)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("D", N_FEATURES)
def test_nearest_pass(benchmark, D, dtype, level):
    per_row = float(N_COMPONENTS * D)  # the sums go to one centre a row and cost little
    n_rows = int(MULTIPLY_ADDS / per_row)
    X, centres = make_rows(n_rows, D, dtype), make_rows(N_COMPONENTS, D, "float64")
    run(
        benchmark,
        per_row,
        n_rows,
        lambda: engine.nearest(X, centres, labels=True, sums=True, n_threads=1),
        work="nearest",
        kind="nearest",
        D=D,
        dtype=dtype,
        level=level,
    )


ONE_ROW = {
    "scorer: log-density": lambda it: it.scorer.score(it.row, log_density=it.log_density),
    "scorer: responsibilities": lambda it: it.scorer.score(it.row, resp=it.resp),
    "mixture: score_samples": lambda it: it.mixture.score_samples(it.row),
    "mixture: predict_proba": lambda it: it.mixture.predict_proba(it.row),
    "estimator: score_samples": lambda it: it.estimator.score_samples(it.row),
    "estimator: predict_proba": lambda it: it.estimator.predict_proba(it.row),
}


@pytest.fixture(scope="module")
def ten_by_ten():
    """Return what scores a row in D = 10 with K = 10, full, and the arrays to score into."""
    X = make_rows(500, 10, "float64")
    with warnings.catch_warnings(category=fastgmm.ConvergenceWarning, action="ignore"):
        estimator = fastgmm.GaussianMixture(10, max_iter=2, random_state=0).fit(X)
    mixture = estimator.to_mixture()
    return SimpleNamespace(
        estimator=estimator,
        mixture=mixture,
        scorer=mixture.scorer(),
        row=X[:1],
        log_density=np.empty(1),
        resp=np.empty(10),
    )


@pytest.mark.parametrize("call", ONE_ROW)
def test_one_row(benchmark, call, ten_by_ten):
    benchmark.group = "one row"
    benchmark.pedantic(ONE_ROW[call], (ten_by_ten,), rounds=ROUNDS, iterations=1000, warmup_rounds=1)
