"""What is measured: every task is one kind of work on one problem with one covariance type.

=============== ============================================ =================================== ==================
work            every library does                           values                              equal first
=============== ============================================ =================================== ==================
iteration       EM from the common start, two lengths        seconds per iteration               log-likelihood
fit             a default fit: own start, own stopping       seconds; log-likelihood reached     (reported)
start           the k-means run that starts a default fit    seconds; inertia reached            (reported)
score_samples   log-densities under the same model           seconds                             log-densities
predict_proba   responsibilities under the same model        seconds                             responsibilities
memory          EM from the common start, in a child process peak bytes beyond the data          log-likelihood
=============== ============================================ =================================== ==================
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import libraries, measure, memory
from benchmarks.libraries import Library
from benchmarks.problems import PROBLEMS, Problem

SCORING_ITERATIONS = 5  # enough that the responsibilities are neither uniform nor all 0 and 1
MEMORY_ITERATIONS = 2  # peak memory is that of the first iteration; the second shows that nothing piles up
FEW_ROWS, SHORT_FITS = 1000, 50  # fits of so few rows are over before caches are warm: a sample is so many of them
START_ROUNDS = 15  # k-means ends in one optimum or another: fewer runs would compare luck
MEMORY_ROUNDS = 3  # the peak hardly varies


@dataclass(frozen=True)
class Task:
    """One row of the table."""

    work: str
    problem: str
    covariance_type: str

    @property
    def id(self) -> str:
        return f"{self.work}/{self.problem}/{self.covariance_type}"


@dataclass(frozen=True)
class Row:
    """What a task gave: `values` and `quality` hold one number per round and library.

    `agreement` is the largest relative difference between the libraries' answers, None where each goes its own way
    and `quality` (mean log-likelihood of a fit, inertia of a start) says how far it came.
    """

    id: str
    work: str
    label: str
    covariance_type: str
    unit: str
    values: dict[str, list[float]]
    agreement: float | None = None
    quality: dict[str, list[float]] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """How to measure: rounds per task, threads on every side, and whether to shrink the problems."""

    rounds: int
    n_threads: int
    quick: bool = False


def _row(task: Task, X: np.ndarray, unit: str, values: dict[str, list[float]], **more: Any) -> Row:
    label = PROBLEMS[task.problem].label(X)
    return Row(task.id, task.work, label, task.covariance_type, unit, values, **more)


@dataclass(frozen=True)
class EqualModels:
    """Models of the libraries that agree after equal work, how well they agree, and why others were left out."""

    models: dict[str, Any]
    agreement: float
    left_out: dict[str, str]

    @classmethod
    def after(
        cls, n_iter: int, problem: Problem, X: np.ndarray, covariance_type: str, libs: Sequence[Library]
    ) -> EqualModels:
        """Run `n_iter` iterations from the common start.

        An optional library that fails or differs is left out; the two that the table compares have to agree, else
        UnequalAnswers is raised.
        """
        start = problem.start(X, covariance_type)
        models: dict[str, Any] = {}
        reached: dict[str, float] = {}
        left_out: dict[str, str] = {}
        agreement = 0.0
        for lib in libs:
            try:
                model = lib.iterate(X, start, covariance_type, n_iter)
                if lib.n_iter(model) != n_iter:
                    raise measure.UnequalAnswers(f"{lib.name} ran {lib.n_iter(model)} iterations, not {n_iter}")
                answer = lib.log_likelihood(model, X)
                difference = measure.require_equal({**reached, lib.name: answer})
            except (measure.UnequalAnswers, RuntimeError, ValueError) as error:
                if lib.name in (libraries.REFERENCE, libraries.SUBJECT):
                    raise
                left_out[lib.name] = str(error).splitlines()[0]
            else:
                models[lib.name], reached[lib.name] = model, answer
                agreement = max(agreement, difference)
        return cls(models, agreement, left_out)


def time_iterations(task: Task, libs: Sequence[Library], settings: Settings) -> Row:
    """Measure seconds per EM iteration from the common start."""
    problem = PROBLEMS[task.problem]
    X = problem.data(settings.quick)
    few, many = problem.iterations
    equal = EqualModels.after(many, problem, X, task.covariance_type, libs)
    libs = [lib for lib in libs if lib.name in equal.models]
    start = problem.start(X, task.covariance_type)

    def run(lib: Library, n_iter: int) -> Callable[[int], Any]:
        return lambda _: lib.iterate(X, start, task.covariance_type, n_iter)

    timed = measure.interleave({(lib.name, n): run(lib, n) for lib in libs for n in (few, many)}, settings.rounds)
    values = {
        lib.name: measure.per_iteration(timed.seconds[lib.name, few], timed.seconds[lib.name, many], (few, many))
        for lib in libs
    }
    totals = {lib.name: {str(n): timed.seconds[lib.name, n] for n in (few, many)} for lib in libs}
    details = {"iterations": [few, many], "seconds": totals, "left_out": equal.left_out}
    return _row(task, X, "s", values, agreement=equal.agreement, details=details)


def time_fits(task: Task, libs: Sequence[Library], settings: Settings) -> Row:
    """Measure whole default fits, a new random state every round; of few rows many in a row, each with its own."""
    problem = PROBLEMS[task.problem]
    X = problem.data(settings.quick)
    calls = SHORT_FITS if len(X) < FEW_ROWS else 1

    def run(lib: Library) -> Callable[[int], Any]:
        def action(number: int) -> Any:
            for seed in range(number * calls, (number + 1) * calls):
                model = lib.fit(X, problem.n_components, task.covariance_type, seed)
            return model

        return action

    by_name = {lib.name: lib for lib in libs}
    timed = measure.interleave(
        {lib.name: run(lib) for lib in libs},
        settings.rounds,
        after=lambda name, model: (by_name[name].log_likelihood(model, X), by_name[name].n_iter(model)),
    )
    quality = {name: [reached for reached, _ in outcomes] for name, outcomes in timed.outcomes.items()}
    n_iter = {name: [n for _, n in outcomes] for name, outcomes in timed.outcomes.items()}
    values = {name: [seconds / calls for seconds in rounds] for name, rounds in timed.seconds.items()}
    return _row(task, X, "s", values, quality=quality, details={"n_iter": n_iter, "calls": calls})


def inertia(X: np.ndarray, centres: np.ndarray) -> float:
    """Return the sum of squared distances to the nearest centre, by one formula for every library's centres."""
    total = 0.0
    for first in range(0, len(X), 65_536):
        block = X[first : first + 65_536]
        distances = [np.sum((block - centre) ** 2, axis=1) for centre in centres]
        total += float(np.sum(np.minimum.reduce(distances)))
    return total


def time_starts(task: Task, libs: Sequence[Library], settings: Settings) -> Row:
    """Measure the k-means run that starts a default fit, a new random state every round."""
    problem = PROBLEMS[task.problem]
    X = problem.data(settings.quick)

    def run(lib: Library) -> Callable[[int], Any]:
        return lambda seed: lib.kmeans(X, problem.n_components, seed)

    for lib in libs:
        run(lib)(0)  # warm up
    rounds = max(settings.rounds, START_ROUNDS)
    timed = measure.interleave(
        {lib.name: run(lib) for lib in libs}, rounds, after=lambda _, centres: inertia(X, centres)
    )
    return _row(task, X, "s", timed.seconds, quality=timed.outcomes)


def time_scoring(task: Task, libs: Sequence[Library], settings: Settings) -> Row:
    """Measure one scoring method, named by the task's work, under models that agree."""
    problem = PROBLEMS[task.problem]
    X = problem.data(settings.quick)
    models = EqualModels.after(SCORING_ITERATIONS, problem, X, task.covariance_type, libs).models
    once = {lib.name: (lambda lib=lib: getattr(lib, task.work)(models[lib.name], X)) for lib in libs}
    agreement = measure.require_equal_arrays({name: call() for name, call in once.items()})
    calls = {name: measure.repeated(call) for name, call in once.items()}

    def run(name: str) -> Callable[[int], None]:
        def action(_: int) -> None:
            for _ in range(calls[name]):
                once[name]()

        return action

    timed = measure.interleave({name: run(name) for name in once}, settings.rounds)
    values = {name: [seconds / calls[name] for seconds in timed.seconds[name]] for name in once}
    return _row(task, X, "s", values, agreement=agreement, details={"calls": calls})


def weigh_fit(task: Task, libs: Sequence[Library], settings: Settings) -> Row:
    """Measure the peak memory of a fit beyond its data, every fit in a process of its own."""
    rounds = min(settings.rounds, MEMORY_ROUNDS)
    results: dict[str, list[dict[str, float]]] = {lib.name: [] for lib in libs}
    for _ in range(rounds):
        for lib in libs:
            result = memory.fit_in_child(
                lib.name,
                task.problem,
                task.covariance_type,
                n_iter=MEMORY_ITERATIONS,
                n_threads=settings.n_threads,
                quick=settings.quick,
            )
            results[lib.name].append(result)
    agreement = measure.require_equal({name: runs[0]["log_likelihood"] for name, runs in results.items()})
    values = {name: [run["extra_bytes"] for run in runs] for name, runs in results.items()}
    data_bytes = results[libs[0].name][0]["data_bytes"]
    X = PROBLEMS[task.problem].data(settings.quick)
    details = {"iterations": MEMORY_ITERATIONS, "data_bytes": data_bytes}
    return _row(task, X, "bytes", values, agreement=agreement, details=details)


WORK: dict[str, Callable[[Task, Sequence[Library], Settings], Row]] = {
    "iteration": time_iterations,
    "fit": time_fits,
    "start": time_starts,
    "score_samples": time_scoring,
    "predict_proba": time_scoring,
    "memory": weigh_fit,
}

_FAMILIES = ("full", "tied", "diag", "spherical")
GRID: tuple[Task, ...] = (
    *(Task("iteration", "200k-10-10", family) for family in _FAMILIES),
    Task("iteration", "1M-2-3", "full"),
    Task("iteration", "50k-32-16", "full"),
    *(Task("iteration", name, "full") for name in ("china", "digits", "iris")),
    Task("iteration", "wine", "tied"),  # 59 rows per component are too few for plain EM with 13 x 13 covariances each
    *(Task("fit", name, "full") for name in ("200k-10-10", "china", "digits", "wine", "iris", "geyser")),
    *(Task("start", name, "full") for name in ("200k-10-10", "50k-32-16", "china")),
    *(Task("score_samples", "200k-10-10", family) for family in _FAMILIES),
    *(Task("predict_proba", "200k-10-10", family) for family in _FAMILIES),
    Task("memory", "2M-8-16", "full"),
)


def select(patterns: Sequence[str]) -> list[Task]:
    """Return the tasks of the grid whose id contains one of `patterns`, all without patterns.

    Raises
    ------
    ValueError
        If a pattern selects nothing.
    """
    for pattern in patterns:
        if not any(pattern in task.id for task in GRID):
            raise ValueError(f"no task matches {pattern!r}; known: {', '.join(task.id for task in GRID)}")
    return [task for task in GRID if not patterns or any(pattern in task.id for pattern in patterns)]


def run(task: Task, libs: Sequence[Library], settings: Settings) -> Row:
    """Measure one task with every library that can do it; raises UnequalAnswers before the clock starts."""
    able = [lib for lib in libs if lib.supports(task.work, task.covariance_type)]
    with warnings.catch_warnings(), libraries.thread_limit(settings.n_threads):
        warnings.simplefilter("ignore")  # fits of a fixed length do not converge, and are not meant to
        return WORK[task.work](task, able, settings)
