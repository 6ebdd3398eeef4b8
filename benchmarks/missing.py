"""Rows with gaps: what is recovered, what published packages find, what a pass costs.

    python -m benchmarks.missing              # run everything, store, rewrite the tables in docs/missing.md
    python -m benchmarks.missing --packages   # only what packages find; the rest stays as it is stored
    python -m benchmarks.missing --table      # rewrite the tables from what is stored
    python -m benchmarks.missing --check      # fail unless the tables are those of what is stored

Packages that are not installed are left as they are stored: `pip install stepmix` (3.0), `apt-get install
r-cran-lavaan` (0.6). Of tables in R, `mix`, `norm`, `missMDA`, `MixtureMissing` and `MGMM` are on CRAN alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastgmm
from benchmarks import machine, report
from benchmarks.missing_page import tables

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks" / "results" / "missing.json"
PAGE = ROOT / "docs" / "missing.md"
LAVAAN = ROOT / "benchmarks" / "peer_lavaan.R"

FAMILIES = ("full", "tied", "diag", "spherical")
SHARES = (0.0, 0.05, 0.3)
N_ROWS, N_FEATURES, N_COMPONENTS, N_SETS = 5_000, 5, 3, 10
EXACT = {"reg_covar": 0.0, "tol": 1e-13, "stopping": "aitken", "max_iter": 100_000}

COST_ROWS, COST_FEATURES, COST_COMPONENTS, COST_PATTERNS, COST_SHARE, COST_ROUNDS = (
    100_000,
    10,
    (2, 5, 16),
    60,
    0.1,
    100,
)
HOLES, PACKAGE_HOLES = 0.2, (0.05, 0.1, 0.3)  # of iris and wine, for imputation and beside packages


def punched(X: np.ndarray, share: float, seed: Any) -> np.ndarray:
    """Return the rows with a share of their values missing at random; rows that would lose all of them keep them."""
    holes = np.random.default_rng(seed).random(X.shape) < share
    holes[holes.all(axis=1)] = False
    return np.where(holes, np.nan, X)


# ------------------------------------------------------------------------------------------------- recovery


def truth(family: str, seed: int) -> fastgmm.Mixture:
    """Return a mixture whose components overlap a little, of condition about ten."""
    rng = np.random.default_rng([seed, FAMILIES.index(family)])
    K, D = N_COMPONENTS, N_FEATURES
    means = 2.5 * rng.standard_normal((K, D))
    variances = rng.uniform(0.3, 2.0, (K, D))
    axes = np.linalg.qr(rng.standard_normal((K, D, D)))[0]
    dense = axes * variances[:, None, :] @ axes.transpose(0, 2, 1)
    covariances = {"full": dense, "tied": dense[0], "diag": variances, "spherical": variances[:, 0]}[family]
    return fastgmm.Mixture([0.2, 0.3, 0.5], means, covariances, family)


def errors(found: fastgmm.Mixture, true: fastgmm.Mixture) -> list[float]:
    """Return the errors of weights, of means in standard deviations and of covariances, largest over components.

    That of a mean is its Mahalanobis distance; that of a covariance is |U^T Sigma U - 1| / sqrt(D) with U U^T the true
    precision. Components are matched by their means.
    """
    K, D = true.means.shape
    order = np.argmin(((true.means[:, None] - found.means) ** 2).sum(axis=2), axis=1)
    dense = [each.family.dense_covariances(each.covariances, K, D) for each in (true, found)]
    U = np.linalg.inv(np.linalg.cholesky(dense[0])).transpose(0, 2, 1)
    white = U.transpose(0, 2, 1) @ dense[1][order] @ U
    step = np.einsum("kde,kd->ke", U, found.means[order] - true.means)
    return [
        float(np.abs(found.weights[order] - true.weights).max()),
        float(np.linalg.norm(step, axis=1).max()),
        float((np.linalg.norm(white - np.eye(D), axis=(1, 2)) / np.sqrt(D)).max()),
    ]


def recover(family: str, share: float, n_sets: int = N_SETS) -> dict[str, Any]:
    """Return the mean errors of fits to all rows with gaps, and of fits to those rows alone that have none."""
    ours, complete, left = [], [], []
    for seed in range(n_sets):
        true = truth(family, seed)
        X = punched(true.sample(N_ROWS, random_state=seed)[0], share, [seed, 1])
        options = {"covariance_type": family, "random_state": 0, "n_init": 5, "tol": 1e-8, "max_iter": 2000}
        whole = X[~np.isnan(X).any(axis=1)]
        left.append(len(whole) / N_ROWS)
        ours.append(errors(fastgmm.fit(X, N_COMPONENTS, missing="em", **options).mixture, true))
        complete.append(errors(fastgmm.fit(whole, N_COMPONENTS, **options).mixture, true))
    return {
        "family": family,
        "share": share,
        "rows_left": float(np.mean(left)),
        "errors": np.mean(ours, axis=0).tolist(),
        "errors_of_complete_rows": np.mean(complete, axis=0).tolist(),
    }


# ------------------------------------------------------------------------------------------------- packages


def table(name: str, share: float) -> np.ndarray:
    """Return the rows of iris or wine in standard deviations, a share of their values missing."""
    from sklearn import datasets

    X = getattr(datasets, f"load_{name}")().data
    return punched((X - X.mean(axis=0)) / X.std(axis=0), share, 0)


def lavaan(X: np.ndarray) -> dict[str, Any] | None:
    """Return what lavaan finds, None without it."""
    if shutil.which("Rscript") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.csv")
        np.savetxt(
            path, X, delimiter=",", header=",".join(f"x{j}" for j in range(X.shape[1])), comments="", fmt="%.17g"
        )
        done = subprocess.run(["Rscript", str(LAVAAN), str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    mean, *covariance, version = done.stdout.strip().splitlines()
    numbers = [[float(each) for each in line.split()] for line in (mean, *covariance)]
    return {
        "package": f"lavaan {version.strip()}",
        "weights": [1.0],
        "means": numbers[:1],
        "covariances": [numbers[1:]],
    }


def stepmix(X: np.ndarray, family: str, n_components: int) -> dict[str, Any] | None:
    """Return what StepMix finds, None without it."""
    try:
        from importlib.metadata import version

        from stepmix.stepmix import StepMix
    except ImportError:
        return None
    options = {"abs_tol": 1e-13, "rel_tol": 0, "max_iter": 20_000, "n_init": 5, "random_state": 0}
    model = StepMix(n_components, measurement=f"gaussian_{family}_nan", verbose=0, progress_bar=0, **options).fit(X)
    found = model.get_parameters()
    variances = np.asarray(found["measurement"]["covariances"])
    return {
        "package": f"StepMix {version('stepmix')}",
        "weights": np.asarray(found["weights"]).tolist(),
        "means": np.asarray(found["measurement"]["means"]).tolist(),
        "covariances": (variances if family == "diag" else variances[:, 0]).tolist(),
        "log_likelihood": float(model.score(X) * len(X)),
    }


PACKAGES: dict[str, Callable[[np.ndarray, str, int], dict[str, Any] | None]] = {
    "full": lambda X, family, K: lavaan(X),
    "diag": stepmix,
    "spherical": stepmix,
}

CASES: tuple[tuple[str, float, str, int], ...] = tuple(
    (name, share, family, 1 if family == "full" else 3)
    for name in ("iris", "wine")
    for share in PACKAGE_HOLES
    for family in PACKAGES
)


def compare(
    name: str, share: float, family: str, n_components: int, stored: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Return what a package finds, and what fastgmm makes of that: see `judged`."""
    X = table(name, share)
    found = PACKAGES[family](X, family, n_components)
    if found is None:
        return stored
    case = {"name": name, "share": share, "family": family, "n_components": n_components}
    return {**case, **found, **judged(X, family, found)}


def judged(X: np.ndarray, family: str, found: dict[str, Any]) -> dict[str, float]:
    """Return the log-likelihood here at what a package found, and what EM from there to convergence makes of it.

    `moved` is by how much that moves the means at most, in standard deviations of the features.
    """
    weights = np.array(found["weights"]) / np.sum(found["weights"])
    covariances = np.array(found["covariances"])
    theirs = fastgmm.Mixture(weights, found["means"], covariances, family)
    start = {"weights_init": theirs.weights, "means_init": theirs.means, "precisions_init": theirs.precisions}
    end = fastgmm.fit(X, theirs.n_components, covariance_type=family, missing="em", **start, **EXACT)
    return {
        "ours_at_theirs": theirs.score(X, missing="em") * len(X),
        "ours": end.lower_bound * len(X),
        "moved": float(np.abs(end.mixture.means - theirs.means).max()),
    }


def impute(name: str) -> dict[str, Any]:
    """Return the errors of imputed values, root mean squares in standard deviations of the features."""
    from sklearn import datasets
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401 (makes the next import possible)
    from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

    X = getattr(datasets, f"load_{name}")().data
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "column means": lambda Y: SimpleImputer().fit_transform(Y),
        "5 nearest rows": lambda Y: KNNImputer().fit_transform(Y),
        "chained regressions": lambda Y: IterativeImputer(max_iter=100, random_state=0).fit_transform(Y),
        **{f"fastgmm, {family}, K = {K}": _imputer(family, K) for family, K in (("full", 1), ("tied", 3), ("diag", 3))},
    }
    squares: dict[str, list[float]] = {way: [] for way in ways}
    for seed in range(20):
        Y = punched(X, HOLES, seed)
        for way, filled in ways.items():
            squares[way].append(float(np.mean((filled(Y) - X)[np.isnan(Y)] ** 2)))
    return {"name": name, "errors": {way: float(np.sqrt(np.mean(values))) for way, values in squares.items()}}


def _imputer(family: str, n_components: int) -> Callable[[np.ndarray], np.ndarray]:
    options = {"covariance_type": family, "reg_covar": 1e-3, "tol": 1e-6, "max_iter": 2000, "n_init": 5}
    return lambda Y: fastgmm.fit(Y, n_components, missing="em", random_state=0, **options).mixture.impute(Y)


# ----------------------------------------------------------------------------------------------------- cost


def patterns() -> np.ndarray:
    """Return the gaps (patterns, D) of rows without gaps and of others, a share of all values together."""
    rng = np.random.default_rng(0)
    found = {(False,) * COST_FEATURES}
    while len(found) < COST_PATTERNS:
        found.add(tuple(bool(gap) for gap in rng.random(COST_FEATURES) < 2 * COST_SHARE))
    return np.array(sorted(found))


def cost(family: str, n_components: int, n_threads: int) -> dict[str, Any]:
    """Return the least seconds of passes over the same rows with and without gaps, taken in turn."""
    from fastgmm.engine import Rows
    from fastgmm.engine.gaps import GappedRows
    from fastgmm.sources import ArraySource

    K, D = n_components, COST_FEATURES
    rng = np.random.default_rng(1)
    gaps = patterns()
    share = gaps.mean(axis=1)
    X = rng.standard_normal((COST_ROWS, D))
    few = share > 0  # rows with gaps are as many as give the share of all values
    p = np.where(few, COST_SHARE / share[few].mean() / few.sum(), 0.0)
    p[~few] = 1 - p.sum()
    Y = np.where(gaps[rng.choice(len(gaps), COST_ROWS, p=p)], np.nan, X)
    shape = {"full": np.stack([np.eye(D)] * K), "tied": np.eye(D), "diag": np.ones((K, D)), "spherical": np.ones(K)}
    mixture = fastgmm.Mixture(np.full(K, 1 / K), rng.standard_normal((K, D)), shape[family], family)
    whole, gapped = ArraySource(X, n_threads=n_threads), GappedRows(Rows(Y), n_threads=n_threads)
    constants = mixture.constants()
    passes = {
        "without": lambda: whole.accumulate(constants),
        "with": lambda: gapped.accumulate(constants),
    }
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for number in range(COST_ROUNDS + 1):
        for name, run in passes.items():
            start = time.perf_counter()
            run()
            if number:  # the first warms up
                seconds[name].append(time.perf_counter() - start)
    return {
        "family": family,
        "n_components": K,
        "n_threads": n_threads,
        "share": float(np.isnan(Y).mean()),
        "n_patterns": len(gapped.patterns),
        "rounds": COST_ROUNDS,
        "seconds": {name: min(each) for name, each in seconds.items()},
    }


# ------------------------------------------------------------------------------------------------- commands


def compare_all(stored: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what packages find; that of those which are not here as it is stored."""
    before = {(each["name"], each["share"], each["family"]): each for each in stored.get("packages", [])}
    compared = [compare(*case, before.get(case[:3])) for case in CASES]
    return [each for each in compared if each is not None]


def run(stored: dict[str, Any]) -> dict[str, Any]:
    """Return all results; what needs a package that is not here stays as it is stored."""
    return {
        "packages": compare_all(stored),
        "machine": {"cpu": machine.describe([], 2)["cpu"]},
        "recovery": [recover(family, share) for family in FAMILIES for share in SHARES],
        "imputation": [impute(name) for name in ("iris", "wine")],
        "cost": [cost(family, K, n) for family in FAMILIES for K in COST_COMPONENTS for n in (1, 2)],
    }


def load() -> dict[str, Any]:
    """Return what is stored."""
    return json.loads(RECORD.read_text(encoding="utf-8"))


def shown_is_stored() -> bool:
    """Whether the page shows the tables of what is stored."""
    return report.shown_table(PAGE.read_text(encoding="utf-8")) == tables(load())


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, or 1 if the page is out of date."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.missing", description=__doc__.splitlines()[0])
    parser.add_argument("--packages", action="store_true", help="only run packages, and rewrite the tables")
    parser.add_argument("--table", action="store_true", help="only rewrite the tables from what is stored")
    parser.add_argument("--check", action="store_true", help="fail unless the tables are those of what is stored")
    args = parser.parse_args(arguments)
    if args.check:
        return int(not shown_is_stored())
    if not args.table:
        before = load() if RECORD.exists() else {}
        results = {**before, "packages": compare_all(before)} if args.packages else run(before)
        RECORD.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(report.replace_table(PAGE.read_text(encoding="utf-8"), tables(load())), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
