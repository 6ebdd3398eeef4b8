"""Which share of a default fit its start takes: k-means on samples of the rows, beside the whole fit.

    python -m benchmarks.starts_share

Fits are those of `GaussianMixture(K).fit(X)` with several random states, and after each the start alone with the same
one. Rewrites the table in docs/start_time.md.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import libraries, machine, measure, report
from benchmarks.problems import PROBLEMS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "start_time.md"
N_THREADS = 2
STATES, ROUNDS = range(5), 3
SHORT = 0.02  # seconds of a fit below which it is repeated
REPEATS = 20


def seconds(action: Callable[[], Any]) -> float:
    """Return the seconds that an action takes: the median, where it is short."""
    taken = []
    while len(taken) < (REPEATS if not taken or taken[0] < SHORT else 1):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return measure.Spread.of(taken).median


def pairs(X: np.ndarray, n_components: int) -> Iterator[tuple[float, float]]:
    """Yield the seconds of a start and of its fit, for each random state time and again."""
    import fastgmm
    from fastgmm.fitting import kmeans
    from fastgmm.sources import ArraySource

    def start(state: int) -> None:
        kmeans.cluster_many(ArraySource(X, n_threads=N_THREADS), n_components, np.random.default_rng(state))

    for state in [*STATES] * ROUNDS:
        model = fastgmm.GaussianMixture(n_components, random_state=state, n_threads=N_THREADS)
        fit = seconds(lambda: model.fit(X))  # noqa: B023
        yield seconds(lambda: start(state)), fit  # noqa: B023


def table(conditions: str, quick: bool = False) -> str:
    """Return the table of all problems in Markdown, and a sentence under it; `quick` on few rows of the first."""
    lines = ["| problem | rows | start | whole fit | share of the start |", "| --- | ---: | ---: | ---: | ---: |"]
    for problem in list(PROBLEMS.values())[: 1 if quick else None]:
        X = problem.data(quick)
        start, fit = (
            measure.Spread.of(list(each)).median for each in zip(*pairs(X, problem.n_components), strict=True)
        )
        lines.append(
            f"| {problem.source}, {X.shape[1]} features, K = {problem.n_components} | {len(X):,} | "
            f"{report.quantity(start, 's')} | {report.quantity(fit, 's')} | {100 * start / fit:.0f} % |"
        )
    return "\n".join(lines) + f"\n\n{conditions}"


def main() -> int:
    """Measure and rewrite the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        about = machine.describe([libraries.make(libraries.SUBJECT, N_THREADS)], N_THREADS)
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        new = table(f"Medians of several random states, two threads; {about['cpu']}; {versions}.")
    PAGE.write_text(report.replace_table(PAGE.read_text(encoding="utf-8"), new), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
