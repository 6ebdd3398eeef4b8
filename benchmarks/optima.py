"""Where fits end, and how soon: fastgmm's optima against scikit-learn's and mclust's.

    python -m benchmarks.optima              # run all data sets, store, rewrite the table in docs/optima.md
    python -m benchmarks.optima --table      # rewrite the table from what is stored
    python -m benchmarks.optima --check      # fail unless the table is that of what is stored

Every library fits full covariances to the same rows with its own starts, and what a fit returns is scored by one
function. Fits take turns, round by round. `ten` is ten starts with default settings; fastgmm lets them race, takes
those that go on as far as `STEADY` says, and the best of these as far as `CAREFUL` does. Time to quality is what
fastgmm needs, with one start and then ten at a time, until it is at the log-likelihood that scikit-learn's ten starts
came to. Times are the processor's: with one thread what the clock says where nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import environment, libraries, machine, passes, report

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks" / "results" / "optima.json"
PAGE = ROOT / "docs" / "optima.md"
SAME = 1e-6  # nats per row
N_THREADS = 1  # of every library: few rows keep one busy, and scikit-learn suffers from more where others work
FIRST, RACE = "kmeans-scaled", ["kmeans", "kmeans-scaled", "kmeans"]  # of one start, and of ten
STEADY = {"acceleration": "lbfgs", "tol": 1e-4}
CAREFUL = {"acceleration": "lbfgs", "stopping": "aitken", "tol": 1e-6, "max_iter": 1000}
WAYS = ("scikit-learn", "fastgmm", "scikit-learn ten", "fastgmm ten", "mclust")
STARTS, MOST_STARTS, ROUNDS = 10, 51, 5
SEED = 0
LONG = 3.0  # seconds: what takes longer is run once
TARGETS = {"ten": 10.0, "quality": 30.0}  # scikit-learn's time over ours


@dataclass(frozen=True)
class Problem:
    """Rows and number of components; the family is full."""

    name: str
    load: Callable[[], np.ndarray]
    n_components: int


@dataclass(frozen=True)
class Outcome:
    """What one problem gave: mean log-likelihoods and seconds (all rounds) by way of fitting.

    Ways are "scikit-learn", "scikit-learn ten", "fastgmm", "fastgmm ten" and, where it runs, "mclust"; seconds know
    "quality" too: of fastgmm until it reached what scikit-learn's ten starts came to, of `n_starts` starts; None if
    `MOST_STARTS` did not.
    """

    name: str
    n_rows: int
    n_features: int
    n_components: int
    reached: dict[str, float]
    seconds: dict[str, list[float]]
    n_starts: int | None


def _of_passes() -> tuple[Problem, ...]:
    """Return the rows of `benchmarks.passes` that it fits full covariances to, and further ones of the same kinds."""
    full = [case for case in passes.CASES if case.covariance_type == "full"]
    return tuple(Problem(case.name, case.load, case.n_components) for case in full)


PROBLEMS = (
    *_of_passes(),
    Problem("wine", passes.WINE, 3),
    Problem("digits, PCA", passes.DIGITS_16, 10),
    Problem("synthetic, more rows", passes.draws(20_000, 8, 10, 1.5), 10),
)


class ScikitLearn:
    """scikit-learn's GaussianMixture."""

    def __init__(self) -> None:
        from sklearn.mixture import GaussianMixture

        self._estimator = GaussianMixture

    def fit(self, X: np.ndarray, n_components: int, n_init: int) -> Any:
        return self._estimator(n_components, n_init=n_init, random_state=SEED).fit(X)


class FastGMM:
    """fastgmm's GaussianMixture, and its fits of `CAREFUL`."""

    def __init__(self) -> None:
        import fastgmm
        from fastgmm.fitting import run

        self._estimator, self._run = fastgmm.GaussianMixture, run

    def fit(self, X: np.ndarray, n_components: int, n_init: int) -> Any:
        more = {"random_state": SEED, "n_threads": N_THREADS}
        if n_init == 1:
            return self._estimator(n_components, **more).fit(X)
        model = self._estimator(n_components, n_init=n_init, init_params=RACE, **STEADY, **more).fit(X)
        return model.set_params(warm_start=True, **CAREFUL).fit(X)

    def reach(self, X: np.ndarray, n_components: int, target: float, most: int = MOST_STARTS) -> int | None:
        """Fit from one start, then from ten raced ones again and again, until a mean log-likelihood is reached.

        Return the number of starts. Each fit goes on beyond the default tolerance.
        """
        more = {"callback": lambda state: state.lower_bound >= target, "n_threads": N_THREADS}
        starts = {"n_init": 1, "init_params": FIRST}
        n = 0
        while n < most:
            n += starts["n_init"]
            found = self._run(X, n_components, random_state=np.random.default_rng([SEED, n]), **starts, **more)
            if found.lower_bound < target:
                found = self._run(X, n_components, start=found.mixture.parameters, **CAREFUL, **more)
            if found.lower_bound >= target:
                return n
            starts = {"n_init": STARTS, "init_params": RACE}
        return None


def timed(fit: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds of the processor and what the call returns."""
    begin = time.process_time()
    found = fit()
    return time.process_time() - begin, found


def measure(problem: Problem, mclust: Any = None, rounds: int = ROUNDS) -> Outcome:
    """Fit one problem in all ways."""
    from fastgmm import Mixture

    X = np.ascontiguousarray(problem.load(), dtype=np.float64)
    K, theirs, ours = problem.n_components, ScikitLearn(), FastGMM()
    ways = {
        "scikit-learn": lambda: theirs.fit(X, K, 1),
        "fastgmm": lambda: ours.fit(X, K, 1),
        "scikit-learn ten": lambda: theirs.fit(X, K, STARTS),
        "fastgmm ten": lambda: ours.fit(X, K, STARTS),
    }
    seconds: dict[str, list[float]] = {name: [] for name in (*ways, "quality")}
    reached: dict[str, float] = {}
    n_starts = None
    for _ in range(rounds):
        for name, way in ways.items():
            if seconds[name] and seconds[name][0] > LONG:
                continue  # once is enough
            time_taken, model = timed(way)
            seconds[name].append(time_taken)
            mixture = Mixture(model.weights_, model.means_, model.covariances_, "full")
            reached[name] = float(mixture.score(X))
        if not (seconds["quality"] and seconds["quality"][0] > LONG):
            time_taken, n_starts = timed(lambda: ours.reach(X, K, reached["scikit-learn ten"] - SAME))
            seconds["quality"].append(time_taken)
    if mclust is not None:
        mclust.rows(X)
        begin = time.perf_counter()  # its processor is that of another process
        found = mclust.default_fit(X, "full", K)
        if found is not None:
            reached["mclust"], seconds["mclust"] = found, [time.perf_counter() - begin]
    return Outcome(problem.name, *X.shape, K, reached, seconds, n_starts)


def ratio(outcome: Outcome, way: str) -> float:
    """Return scikit-learn's time of ten starts over that of one of fastgmm's ways, or of one start of each."""
    reference = "scikit-learn" if way == "fastgmm" else "scikit-learn ten"
    return statistics.median(outcome.seconds[reference]) / statistics.median(outcome.seconds[way])


def table(outcomes: list[Outcome]) -> str:
    """Return the table in Markdown with its summary."""
    lines = [
        "| rows | shape | K | scikit-learn | fastgmm | scikit-learn, ten starts | fastgmm, ten starts | mclust | times "
        "faster: one start, ten, to quality |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in outcomes:
        best = max(each.reached.values())
        cells = [_cell(each, way, best) for way in WAYS]
        faster = [f"{ratio(each, 'fastgmm'):.1f}×", f"{ratio(each, 'fastgmm ten'):.1f}×"]
        faster.append("–" if each.n_starts is None else f"**{report.significant(ratio(each, 'quality'))}×**")
        lines.append(
            f"| {each.name} | {each.n_rows:,} × {each.n_features} | {each.n_components} | {' | '.join(cells)} | "
            f"{', '.join(faster)} |"
        )
    return "\n".join([*lines, "", summary(outcomes)])


def _cell(outcome: Outcome, way: str, best: float) -> str:
    """Return a way's log-likelihood, as what it lacks of the best, and its time."""
    if way not in outcome.reached:
        return "–"
    lacks = best - outcome.reached[way]
    value = f"{best:.6f}" if lacks < SAME else f"−{lacks:.6f}"
    return f"{value} in {report.quantity(statistics.median(outcome.seconds[way]), 's')}"


def behind(outcomes: list[Outcome], way: str, reference: str) -> list[str]:
    """Return the names of the problems where a way ends below a reference by more than `SAME`."""
    return [
        f"{each.name}, K = {each.n_components}"
        for each in outcomes
        if reference in each.reached and each.reached[way] < each.reached[reference] - SAME
    ]


def summary(outcomes: list[Outcome]) -> str:
    """Return the sentences under the table, what falls short included."""
    mean, n = passes.geometric_mean, len(outcomes)
    ten = [ratio(each, "fastgmm ten") for each in outcomes]
    came = [each for each in outcomes if each.n_starts is not None]
    quality = [ratio(each, "quality") for each in came]
    sentences = [
        f"Geometric means of scikit-learn's time over fastgmm's: {mean([ratio(e, 'fastgmm') for e in outcomes]):.1f}× "
        f"for default fits, {mean(ten):.1f}× for ten starts (aim: {TARGETS['ten']:.0f}× on every set; "
        f"it is so on {sum(r >= TARGETS['ten'] for r in ten)} of {n}, least {min(ten):.1f}×), {mean(quality):.1f}× to "
        f"the log-likelihood of scikit-learn's ten starts (aim: {TARGETS['quality']:.0f}×), which was reached on "
        f"{len(came)} of {n} sets within {MOST_STARTS} starts."
    ]
    for way, reference, words in (
        ("fastgmm", "scikit-learn", "the default fit ends below scikit-learn's"),
        ("fastgmm ten", "scikit-learn ten", "ten starts end below scikit-learn's ten"),
        ("fastgmm ten", "mclust", "ten starts end below mclust's fit"),
    ):
        worse, compared = behind(outcomes, way, reference), sum(reference in each.reached for each in outcomes)
        places = f" ({'; '.join(worse)})" if worse else ""
        sentences.append(f"By more than {SAME:.0e} nats per row {words} on {len(worse)} of {compared} sets{places}.")
    return " ".join(sentences).replace("e-0", "e-")


def conditions(what: dict[str, Any]) -> str:
    """Return the sentence that says how it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in what["versions"].items())
    return (
        f"Log-likelihoods per row: the best in full, others as what they lack of it. Medians of {what['rounds']} "
        f"rounds (one of what takes more than {LONG:.0f} s) of the processor's time (mclust: the clock's), one thread "
        f"on every side; {what['cpu']}; {versions}."
    )


def stored() -> tuple[list[Outcome], dict[str, Any]]:
    """Return what is stored: outcomes, and what they were measured on."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    return [Outcome(**each) for each in record["outcomes"]], record["machine"]


def shown() -> str:
    """Return what the page has to show."""
    outcomes, what = stored()
    return f"{table(outcomes)}\n\n{conditions(what)}"


def shown_is_stored() -> bool:
    """Whether the page shows the table of what is stored."""
    return report.shown_table(PAGE.read_text(encoding="utf-8")) == shown()


def run_all() -> None:
    """Measure every problem, and store what came out."""
    from benchmarks import peers

    present, make = peers.PEERS["mclust"]
    mclust = make(N_THREADS) if present() else None
    libs = [libraries.make(name, N_THREADS) for name in (libraries.REFERENCE, libraries.SUBJECT)]
    libs += [] if mclust is None else [mclust]
    outcomes = []
    with libraries.thread_limit(N_THREADS), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, problem in enumerate(PROBLEMS, start=1):
            print(f"[{number}/{len(PROBLEMS)}] {problem.name}, K = {problem.n_components}", file=sys.stderr)
            outcomes.append(measure(problem, mclust))
    what = {**machine.describe(libs, N_THREADS), "rounds": ROUNDS}
    lines = ",\n".join(json.dumps(asdict(outcome), ensure_ascii=False) for outcome in outcomes)
    described = json.dumps(what, ensure_ascii=False)
    RECORD.write_text(f'{{"machine": {described},\n"outcomes": [\n{lines}\n]}}\n', encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, or 1 if the page is out of date."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optima", description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="only rewrite the table from what is stored")
    parser.add_argument("--check", action="store_true", help="fail unless the table is that of what is stored")
    args = parser.parse_args(arguments)
    if args.check:
        return int(not shown_is_stored())
    if not args.table:
        run_all()
    PAGE.write_text(report.replace_table(PAGE.read_text(encoding="utf-8"), shown()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    environment.restart_without_misleading_variables("benchmarks.optima")
    sys.exit(main())
