"""What races and moves gain: ways to make starts, on the sets of `benchmarks.optima`, beside scikit-learn's ten.

    python -m benchmarks.races               # fit all sets in all ways; rewrites the table in docs/starts.md

Every way fits full covariances to every set with each of a few random states, and what it ends at is compared with
scikit-learn's ten starts of the same random state. Times are the processor's, on one thread.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import environment, libraries, machine, optima, report

PAGE = Path(__file__).resolve().parent.parent / "docs" / "starts.md"
STATES = range(5)
ACCURATE = {"acceleration": "lbfgs", "stopping": "aitken", "tol": 1e-6, "max_iter": 1000}
WAYS: dict[str, dict[str, Any]] = {
    '`init_params="kmeans", n_init=10`': {"init_params": "kmeans", "n_init": 10},
    '`init_params="kmeans-scaled", n_init=10`': {"init_params": "kmeans-scaled", "n_init": 10},
    '`init_params="race", n_init=10`': {"init_params": "race", "n_init": 10},
    '`init_params="race", n_init=10, split_merge=3`': {"init_params": "race", "n_init": 10, "split_merge": 3},
    '`init_params="race", n_init=30`': {"init_params": "race", "n_init": 30},
}
THEIRS, RECIPE = "scikit-learn", "the ten starts of [optima.md](optima.md)"


class Fit(NamedTuple):
    """Seconds that a fit took, and the mean log-likelihood where it ended."""

    seconds: float
    reached: float


def fits(problem: optima.Problem, state: int, quick: bool = False) -> dict[str, Fit]:
    """Fit a problem in all ways with one random state; `quick` with the first way alone."""
    import sklearn.mixture

    import fastgmm

    X, K = np.ascontiguousarray(problem.load(), dtype=np.float64), problem.n_components

    def ours(options: dict[str, Any]) -> Any:
        more = {"random_state": state, "n_threads": optima.N_THREADS}
        return fastgmm.GaussianMixture(K, **{**ACCURATE, **options}, **more).fit(X)

    ways: dict[str, Callable[[], Any]] = {
        THEIRS: lambda: sklearn.mixture.GaussianMixture(K, n_init=10, random_state=state).fit(X)
    }
    for name, options in list(WAYS.items())[: 1 if quick else None]:
        ways[name] = lambda options=options: ours(options)
    if not quick:
        recipe = {
            "n_init": optima.STARTS,
            "init_params": optima.RACE,
            "max_iter": 100,
            "stopping": "gain",
            **optima.STEADY,
        }
        ways[RECIPE] = lambda: ours(recipe).set_params(warm_start=True, **optima.CAREFUL).fit(X)
    found = {}
    for name, way in ways.items():
        seconds, model = optima.timed(way)
        mixture = fastgmm.Mixture(model.weights_, model.means_, model.covariances_, "full")
        found[name] = Fit(seconds, float(mixture.score(X)))
    return found


def table(everything: list[dict[str, Fit]], n_states: int, conditions: str) -> str:
    """Return the table of what `fits` returned for all sets and states, and a sentence under it."""
    lines = ["| | time of a fit of each set | fits that end lower than scikit-learn | mean lead in nats per row |"]
    lines.append("|---|---:|---:|---:|")
    for name in everything[0]:
        seconds = sum(each[name].seconds for each in everything) / n_states
        leads = [each[name].reached - each[THEIRS].reached for each in everything]
        lower = sum(lead < -optima.SAME for lead in leads)
        compared = "–" if name == THEIRS else f"{lower} of {len(leads)}"
        gained = "–" if name == THEIRS else f"{np.mean(leads):.3f}"
        lines.append(f"| {name} | {report.quantity(seconds, 's')} | {compared} | {gained} |")
    return "\n".join(lines) + f"\n\n{conditions}"


def main() -> int:
    """Fit everything and rewrite the table."""
    libs = [libraries.make(name, optima.N_THREADS) for name in (libraries.REFERENCE, libraries.SUBJECT)]
    everything = []
    with libraries.thread_limit(optima.N_THREADS), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, problem in enumerate(optima.PROBLEMS, start=1):
            print(f"[{number}/{len(optima.PROBLEMS)}] {problem.name}, K = {problem.n_components}", file=sys.stderr)
            everything += [fits(problem, state) for state in STATES]
    about = machine.describe(libs, optima.N_THREADS)
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    conditions = f"Seconds of the processor, one thread on every side; {about['cpu']}; {versions}."
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(report.replace_table(text, table(everything, len(STATES), conditions)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    environment.restart_without_misleading_variables("benchmarks.races")
    sys.exit(main())
