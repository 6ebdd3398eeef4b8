"""Passes over the rows until EM is near the optimum, plain and accelerated, from the same start.

    python -m benchmarks.passes              # run all cases, store, rewrite the table in docs/convergence.md
    python -m benchmarks.passes --table      # rewrite the table from what is stored
    python -m benchmarks.passes --check      # fail unless the table is that of what is stored

Passes do not depend on how busy a computer is, and rounding aside not on which it is. Every case is run to convergence
in every way; the best log-likelihood that any of them reached counts as the optimum. The covariances keep a floor that
is relative to the data (`on_collapse="floor"`) and `reg_covar` is 0, so that the log-likelihood has a maximum. Beside
the cases of the table there are random fits, many of them from poor starts, of which only the summary tells.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks import report

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks" / "results" / "passes.json"
PAGE = ROOT / "docs" / "convergence.md"
DISTANCES = (1e-3, 1e-4, 1e-6)  # nats per row
ENOUGH = 1e-9  # what may be left to gain, by the fit's own estimate, at the end of a run
MAX_PASSES = 30_000
IMAGE_ROWS = 6_000
SEED = 0
WAYS = {"plain": None, "squarem": "squarem", "lbfgs": "lbfgs"}
TITLES = {"plain": "EM", "squarem": "SQUAREM", "lbfgs": "L-BFGS"}
N_RANDOM = 100


@dataclass(frozen=True)
class Case:
    """Rows, number of components and family of one fit."""

    name: str
    load: Callable[[], np.ndarray]
    n_components: int
    covariance_type: str
    init_params: str = "kmeans"


@dataclass(frozen=True)
class Outcome:
    """What one case gave: passes by way of fitting, one for each distance, None where it ends in a worse optimum.

    `own` are the passes to the optimum that the way itself leads to, `reached` the final mean log-likelihoods.
    """

    name: str
    n_rows: int
    n_features: int
    n_components: int
    covariance_type: str
    passes: dict[str, list[int | None]]
    own: dict[str, list[int]]
    reached: dict[str, float]


def principal(X: np.ndarray, n_features: int) -> np.ndarray:
    """Return the rows projected on their leading principal components."""
    X = X - X.mean(axis=0)
    _, _, directions = np.linalg.svd(X, full_matrices=False)
    return X @ directions[:n_features].T


def _table(name: str, n_principal: int | None = None, columns: list[int] | None = None) -> Callable[[], np.ndarray]:
    def load() -> np.ndarray:
        from sklearn import datasets

        X = getattr(datasets, f"load_{name}")().data
        X = X if columns is None else X[:, columns]
        return X if n_principal is None else principal(X, n_principal)

    return load


def _image(name: str) -> Callable[[], np.ndarray]:
    def load() -> np.ndarray:
        from sklearn import datasets

        pixels = datasets.load_sample_image(name).reshape(-1, 3) / 255
        return pixels[:: len(pixels) // IMAGE_ROWS]

    return load


def _faithful() -> np.ndarray:
    with (ROOT / "examples" / "old_faithful.csv").open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    return np.array(rows, dtype=np.float64)


def draws(
    n_rows: int, n_features: int, n_components: int, separation: float, *, units: float = 0.0, sizes: float = 0.0
) -> Callable[[], np.ndarray]:
    """Return a loader of rows from a mixture.

    `separation` is that of the centres in standard deviations, `units` how many decades the features' units differ by,
    `sizes` the logarithm of the ratio of the components' widths and of their weights.
    """

    def load() -> np.ndarray:
        rng = np.random.default_rng([n_rows, n_features, n_components])
        centres = separation * rng.standard_normal((n_components, n_features))
        factors = np.eye(n_features) + 0.4 * rng.standard_normal((n_components, n_features, n_features)) / np.sqrt(
            n_features
        )
        spread = np.linspace(-0.5, 0.5, n_components)
        factors *= np.exp(sizes * rng.permutation(spread))[:, None, None]
        weights = np.exp(sizes * rng.permutation(spread))
        component = rng.choice(n_components, n_rows, p=weights / weights.sum())
        X = centres[component] + np.einsum("nd,nde->ne", rng.standard_normal((n_rows, n_features)), factors[component])
        return X * 10 ** (units * np.linspace(-0.5, 0.5, n_features))

    return load


IRIS, WINE, FAITHFUL = _table("iris"), _table("wine"), _faithful
CANCER, DIABETES = _table("breast_cancer", 8), _table("diabetes", columns=[0, 2, 3, 4, 5])
DIGITS_10, DIGITS_16 = _table("digits", 10), _table("digits", 16)
CHINA, FLOWER = _image("china.jpg"), _image("flower.jpg")
STRONG_4, STRONG_8 = draws(4_000, 4, 8, 1.0), draws(4_000, 8, 8, 1.0)
CASES = (
    *(Case("old faithful", FAITHFUL, K, "full") for K in (2, 3)),
    *(Case("iris", IRIS, K, "full") for K in (2, 3, 5)),
    Case("iris", IRIS, 5, "diag"),
    *(Case("wine", WINE, K, family) for K, family in ((3, "tied"), (3, "diag"), (6, "diag"))),
    *(Case("breast cancer, PCA", CANCER, K, "full") for K in (2, 4)),
    *(Case("diabetes, 5 features", DIABETES, K, "full") for K in (3, 5)),
    *(Case("digits, PCA", DIGITS_10, K, "full") for K in (10, 15)),
    Case("digits, PCA", DIGITS_16, 20, "tied"),
    *(Case("china.jpg pixels", CHINA, K, family) for K, family in ((4, "full"), (8, "full"), (16, "spherical"))),
    *(Case("flower.jpg pixels", FLOWER, K, family) for K, family in ((8, "full"), (8, "diag"))),
    Case("synthetic, weak overlap", draws(3_000, 5, 5, 3.0), 5, "full"),
    Case("synthetic, one feature", draws(2_000, 1, 3, 2.0), 3, "full"),
    Case("synthetic, strong overlap", STRONG_4, 8, "full"),
    *(Case("synthetic, strong overlap", STRONG_8, 8, family) for family in ("full", "tied", "diag", "spherical")),
    Case("synthetic, unequal units", draws(3_000, 4, 6, 2.0, units=6.0), 6, "full"),
    Case("synthetic, tiny and huge components", draws(5_000, 3, 6, 2.0, sizes=4.0), 6, "full"),
)


def random_case(seed: int) -> Case:
    """Return a small fit whose sizes, overlap, family and start are drawn."""
    rng = np.random.default_rng([7, seed])
    n_rows, n_features, n_components = int(rng.integers(50, 1000)), int(rng.integers(1, 7)), int(rng.integers(2, 8))
    separation, sizes = rng.choice([0.5, 1.0, 2.0, 4.0]), rng.choice([0.0, 2.0])
    family = str(rng.choice(["full", "tied", "diag", "spherical"]))
    init_params = str(rng.choice(["kmeans", "random", "random_from_data"]))
    load = draws(n_rows, n_features, n_components, separation, sizes=sizes)
    return Case(f"random {seed}", load, n_components, family, init_params)


RANDOM = tuple(map(random_case, range(N_RANDOM)))


def count(case: Case, max_passes: int = MAX_PASSES) -> Outcome:
    """Run a case to convergence in all ways and count passes."""
    from fastgmm.fitting import run

    X = np.ascontiguousarray(case.load(), dtype=np.float64)
    options = {"covariance_type": case.covariance_type, "random_state": SEED, "reg_covar": 0.0, "on_collapse": "floor"}
    first = run(X, case.n_components, max_iter=0, init_params=case.init_params, **options)
    options |= {"start": first.mixture.parameters, "stopping": "aitken", "tol": ENOUGH, "max_iter": max_passes}
    fits = {name: run(X, case.n_components, acceleration=way, **options) for name, way in WAYS.items()}
    seen = {name: [first.lower_bound, *fit.lower_bounds] for name, fit in fits.items()}
    reached = {name: fit.lower_bound for name, fit in fits.items()}
    best = max(reached.values())
    passes = {name: [passes_to(best - distance, bounds) for distance in DISTANCES] for name, bounds in seen.items()}
    own = {name: [passes_to(bounds[-1] - distance, bounds) for distance in DISTANCES] for name, bounds in seen.items()}
    return Outcome(case.name, *X.shape, case.n_components, case.covariance_type, passes, own, reached)


def passes_to(bound: float, bounds: list[float]) -> int | None:
    """Return the number of the pass that sees a point of a bound or better, None if none does.

    `bounds` are those that passes have seen, in order. What a fit of so many passes returns is better still.
    """
    return next((number for number, seen in enumerate(bounds, start=1) if seen >= bound), None)


def ratio(outcome: Outcome, place: int, way: str) -> float | None:
    """Return how many times fewer passes a way needs to a distance than EM, None if one of them never comes there."""
    plain, fast = (outcome.passes[name][place] for name in ("plain", way))
    if plain is None or fast is None:
        return None
    return plain / fast


def geometric_mean(values: list[float]) -> float:
    """Return the geometric mean of some positive numbers."""
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def table(outcomes: list[Outcome]) -> str:
    """Return the table in Markdown with its summary."""
    heads = [f"{distance:.0e}".replace("e-0", "e-") for distance in DISTANCES]
    lines = [
        f"| rows | shape | K | family | EM, to {' / '.join(heads)} | SQUAREM | L-BFGS | fewer at {heads[-1]}: SQUAREM, "
        "L-BFGS | ℓ − ℓ of EM |",
        "|---|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    random = [each for each in outcomes if each.name.startswith("random ")]
    cases = [each for each in outcomes if each not in random]
    for each in cases:
        passes = " | ".join(" / ".join("–" if n is None else f"{n:,}" for n in each.passes[name]) for name in WAYS)
        fewer = [ratio(each, len(DISTANCES) - 1, way) for way in ("squarem", "lbfgs")]
        gaps = [each.reached[way] - each.reached["plain"] for way in ("squarem", "lbfgs")]
        lines.append(
            f"| {each.name} | {each.n_rows:,} × {each.n_features} | {each.n_components} | {each.covariance_type} | "
            f"{passes} | {', '.join('–' if r is None else f'{r:.1f}×' for r in fewer)} | "
            f"{', '.join('0' if abs(gap) < DISTANCES[-1] else f'{gap:+.4f}' for gap in gaps)} |"
        )
    parts = [summary(cases, way) for way in ("lbfgs", "squarem")]
    if random:
        parts.append(f"The same of {len(random)} random fits, many of them from poor starts:")
        parts += [summary(random, way) for way in ("lbfgs", "squarem")]
    return "\n\n".join(["\n".join(lines), *parts])


def summary(outcomes: list[Outcome], way: str) -> str:
    """Return the sentences under the table about one way."""
    parts = []
    for place, distance in enumerate(DISTANCES):
        ratios = [r for r in (ratio(each, place, way) for each in outcomes) if r is not None]
        parts.append(f"{geometric_mean(ratios):.2f}× to {distance:.0e} (least {min(ratios):.2f}×)".replace("e-0", "e-"))
    gaps = [each.reached[way] - each.reached["plain"] for each in outcomes]
    better, worse = (sum(sign * gap > DISTANCES[-1] for gap in gaps) for sign in (1, -1))
    slow = [each for each in outcomes if (each.passes["plain"][-1] or 0) >= 100 and ratio(each, -1, way) is not None]
    hard = geometric_mean([ratio(each, -1, way) for each in slow])
    own = [each.own["plain"][-1] / each.own[way][-1] for each in outcomes]
    return (
        f"**{TITLES[way]}.** Geometric mean of the ratios of passes, over fits where both come as far as the best: "
        f"{', '.join(parts)}; {hard:.2f}× to the last where EM takes a hundred passes or more. Over all fits, each to "
        f"the optimum that it comes to itself: {geometric_mean(own):.2f}× to 1e-6 (least {min(own):.2f}×). Of "
        f"{len(outcomes)} fits, it ends in a better optimum than EM in {better} and in a worse one in {worse}."
    )


def load() -> list[Outcome]:
    """Return what is stored."""
    return [Outcome(**each) for each in json.loads(RECORD.read_text(encoding="utf-8"))]


def shown_is_stored() -> bool:
    """Whether the page shows the table of what is stored."""
    return report.shown_table(PAGE.read_text(encoding="utf-8")) == table(load())


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, or 1 if the page is out of date."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.passes", description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="only rewrite the table from what is stored")
    parser.add_argument("--check", action="store_true", help="fail unless the table is that of what is stored")
    args = parser.parse_args(arguments)
    if args.check:
        return int(not shown_is_stored())
    if not args.table:
        outcomes = []
        cases = (*CASES, *RANDOM)
        for number, case in enumerate(cases, start=1):
            about = f"{case.name}, K = {case.n_components}, {case.covariance_type}"
            print(f"[{number}/{len(cases)}] {about}", file=sys.stderr)
            outcomes.append(count(case))
        lines = ",\n".join(json.dumps(asdict(outcome), ensure_ascii=False) for outcome in outcomes)
        RECORD.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    PAGE.write_text(report.replace_table(PAGE.read_text(encoding="utf-8"), table(load())), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
