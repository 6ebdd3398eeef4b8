"""The search of `select`: which cell is visited when, from which starts, and what is kept of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from typing import Any

import numpy as np

from fastgmm._checks import check_enough_rows
from fastgmm._errors import InvalidParameterError
from fastgmm.covariance import Parameters
from fastgmm.sources import ArraySource, SharedPasses

from .candidate import Candidate
from .fits import Fits
from .hope import Interrupted
from .problem import Problem
from .progress import Progress
from .selection import Selection

__all__ = ["NothingFittedError", "Search"]

# What the numbers of one cell may bring about; anything else is wrong for all of them.
_FAILURES = (ValueError, ArithmeticError, MemoryError)

MARGIN = 20.0
"""How much worse than the best a fit must be, after all that it may gain, to be abandoned."""
N_IMPROVED = 2  # best cells for which better optima are looked for
MOVE_ROUNDS = 10
POLISHED = 10.0  # worse than the best by less: brought closer to the optimum
POLISH = 1e-2  # of `tol`
SMALL_WORK = 2e6  # flops of a pass below which Python takes longer than the pass: nothing runs beside anything
LARGE_WORK = 5e8  # from here on a pass keeps all threads busy


class NothingFittedError(ValueError):
    """No cell of a sweep could be fitted.

    Attributes
    ----------
    errors : list of Exception
        Of each cell, in order.
    """

    def __init__(self, reasons: str, errors: list[Exception]) -> None:
        super().__init__(f"No cell could be fitted.\n{reasons}")
        self.errors = errors


def _share_threads(problem: Problem) -> tuple[int, int]:
    """Return how many cells are fitted beside each other, and threads within each fit."""
    source = problem.source
    if isinstance(source, SharedPasses):
        return len(problem.families), problem.n_threads
    work = source.n_rows * problem.numbers[-1] * source.n_features * (source.n_features + 4)
    is_here = isinstance(source, ArraySource)
    beside = problem.n_threads if is_here and SMALL_WORK < work < LARGE_WORK else 1
    return beside, problem.n_threads if not is_here or work >= LARGE_WORK else 1


class Search:
    """The state of one search: cells, visits made, and how long it took.

    Parameters
    ----------
    problem : Problem
    """

    def __init__(self, problem: Problem) -> None:
        self._problem, self._progress = problem, Progress()
        self._n_rows = problem.source.moments()[2]  # what is wrong with the data is wrong for every cell
        self._cells: dict[tuple[str, int], Candidate] = {}
        self._visited: set[tuple[str, str, int]] = set()
        self._earlier = 0.0  # seconds
        self._beside, within = _share_threads(problem)
        self._fits = Fits(problem, self._cells, within, self._tell)

    def take_over(self, earlier: Selection) -> None:
        """Begin with the cells of an earlier search."""
        problem = self._problem
        if earlier.fingerprint != problem.fingerprint():
            raise ValueError("resume is a selection for other rows or weights: start afresh with resume=None")
        different = [name for name, value in problem.plan.items() if earlier.settings[name] != value]
        if different:
            name = different[0]
            raise ValueError(
                f"resume is a selection with {name}={earlier.settings[name]!r}, but now it is {problem.plan[name]!r}: "
                "use the same, or start afresh with resume=None"
            )
        wanted = {(name, K) for name in problem.families for K in problem.numbers}
        self._cells.update(
            (key, cell) for cell in earlier.candidates if (key := (cell.covariance_type, cell.n_components)) in wanted
        )
        self._visited = {visit for visit in earlier.visited if visit[1:] in self._cells}
        if any(("up", *key) not in self._visited for key in wanted):
            self._visited = {visit for visit in self._visited if visit[0] == "up"}  # neighbours are new
        self._earlier = earlier.seconds

    def run(self, progress: Progress) -> Selection:
        """Visit all cells, and return what was found, also if that is not all."""
        problem = self._problem
        start, interrupted, self._progress = time.perf_counter(), False, progress
        keys = [(name, K) for K in problem.numbers for name in problem.families]
        moves = not problem.source.n_named  # else components have their numbers
        n_down = len(problem.families) * (len(problem.numbers) - 1) if moves else 0
        with progress.of(len(keys) + n_down):
            try:
                for K in problem.numbers:
                    self._up(K)
                if moves:
                    self._down()
                    self._improve()
            except (KeyboardInterrupt, Interrupted):
                interrupted = True
        found = Selection(
            tuple(self._cells[key] for key in keys if key in self._cells),
            problem.criterion,
            n_rows=self._n_rows,
            n_features=problem.source.n_features,
            seconds=self._earlier + time.perf_counter() - start,
            interrupted=interrupted,
            settings=problem.plan,
            fingerprint=problem.fingerprint(),
            visited=frozenset(self._visited),
            feature_names=problem.feature_names,
        )
        if not found.ranked:
            if interrupted:
                raise KeyboardInterrupt
            raise NothingFittedError(found.reasons(), [cell.error for cell in found.candidates if cell.error])
        return found

    def _each(self, tasks: list[Callable[[], Iterator[tuple[tuple[str, str, int], Candidate]]]]) -> None:
        """Run tasks, beside each other where that pays, and record what they yield."""
        source = self._problem.source
        expect = source.expect if isinstance(source, SharedPasses) else lambda n_fits: None

        def record(task):
            for visit, cell in task():
                self._cells[visit[1:]] = cell
                self._visited.add(visit)
                self._tell("")

        def record_beside(task):
            try:
                record(task)
            finally:
                expect(-1)

        if self._beside == 1:
            for task in tasks:
                record(task)
            return
        begun = []
        expect(len(tasks))  # before the first begins, so that it waits for the others
        with ThreadPoolExecutor(self._beside) as pool:
            try:
                begun.extend(pool.submit(record_beside, task) for task in tasks)
                for done in as_completed(begun):
                    done.result()
            except BaseException:
                self._fits.stop.set()  # fits in progress stop after their iteration
                pool.shutdown(wait=False, cancel_futures=True)
                expect(-(len(tasks) - sum(not each.cancelled() for each in begun)))
                raise

    def _tell(self, text: str) -> None:
        """Tell what is going on; the last phase, of which nobody knows how long it takes, counts for nothing."""
        self._progress.show(len(self._visited), text)

    def _best(self, numbers: Iterable[int]) -> float:
        """The lowest loss of the cells with these numbers of components."""
        losses = [self._loss(cell) for (_, K), cell in self._cells.items() if K in numbers]
        return min(losses, default=math.inf)

    def _loss(self, cell: Candidate) -> float:
        return cell.loss(self._problem.criterion.name)

    def _up(self, K: int) -> None:
        """Visit all families with K components."""
        problem = self._problem
        names = [name for name in problem.families if ("up", name, K) not in self._visited]
        if not names:
            return
        best = self._best(range(K))
        rng = np.random.default_rng([problem.plan["seed"], 1, K])
        shared = []
        if (problem.plan["init_params"] == "kmeans" or problem.is_raced) and not problem.source.n_named:
            shared = self._fits.few.partitions(K, problem.plan["n_init"], rng)

        def task(name):
            begin = time.perf_counter()
            self._tell(f"{name} {K}")
            try:
                cell = self._fits.best_of(name, K, self._starts(name, K, shared), best + MARGIN)
            except InvalidParameterError:
                raise
            except _FAILURES as error:
                cell = Candidate(name, K, 0.0, error=error)
            yield ("up", name, K), replace(cell, seconds=time.perf_counter() - begin)

        self._each([lambda name=name: task(name) for name in names])

    def _starts(self, name: str, K: int, shared: list[Any]) -> list[Parameters]:
        """Parameters that a family with K components may start from, after a race between them."""
        problem = self._problem
        family, plan = problem.families[name], problem.plan
        check_enough_rows(problem.source.n_rows, K)
        if problem.source.n_named:
            return []  # those that `fastgmm.fit` makes
        reg_covar = plan["reg_covar"]
        given = list(shared)
        below = self._cells.get((name, K - 1))
        if below is not None and below.result is not None:
            given += self._fits.few.splits(below.result.mixture)
        starts = [each.parameters(family, reg_covar) for each in given]
        if plan["init_params"] != "kmeans" and not problem.is_raced:
            seed = [plan["seed"], 2, K]
            starts += self._fits.few.drawn(family, K, plan["init_params"], plan["n_init"], seed, reg_covar)
        return [start for start in starts if start is not None]

    def _down(self) -> None:
        """Visit all families again, from many components to few, with what merging says."""
        problem = self._problem
        best = self._best(problem.numbers)

        def task(name):
            for K in reversed(problem.numbers[:-1]):
                if ("down", name, K) not in self._visited:
                    begin = time.perf_counter()
                    cell = self._merged(name, K, best)
                    yield ("down", name, K), replace(cell, seconds=cell.seconds + time.perf_counter() - begin)

        self._each([lambda name=name: task(name) for name in problem.families])

    def _merged(self, name: str, K: int, best: float) -> Candidate:
        """The cell, or a better one whose fit began with two components of K + 1 made one."""
        cell, above = self._cells[name, K], self._cells.get((name, K + 1))
        if K == 1 or above is None or above.result is None:
            return cell
        if self._problem.abandons and min(self._loss(cell), self._loss(above)) > best + 2 * MARGIN:
            return cell
        return self._better(cell, self._fits.few.merges(above.mixture))

    def _improve(self) -> None:
        """Look for better optima of the best cells: two components merged and a third split; then polish them."""
        problem = self._problem
        cells = [cell for cell in self._cells.values() if cell.result is not None and cell.n_components > 1]
        for cell in sorted(cells, key=self._loss)[:N_IMPROVED]:
            key, begin = (cell.covariance_type, cell.n_components), time.perf_counter()
            if cell.n_components > 2 and ("move", *key) not in self._visited:
                cell = self._moved(cell)
            if cell.result.stopped_by == "tol" and self._loss(cell) <= self._best(problem.numbers) + POLISHED:
                cell = self._polished(cell)
            self._visited.add(("move", *key))
            if cell is not self._cells[key]:
                self._cells[key] = replace(cell, seconds=self._cells[key].seconds + time.perf_counter() - begin)

    def _moved(self, cell: Candidate) -> Candidate:
        """The cell, or a better one with as many components."""
        for _ in range(MOVE_ROUNDS):
            moves = self._fits.few.moves(cell.mixture, self._problem.plan["reg_covar"])
            better = self._better(cell, moves)
            if better is cell:
                break
            cell = better
        return cell

    def _better(self, cell: Candidate, given: list[Any]) -> Candidate:
        """The cell, or a better one whose fit began from other responsibilities."""
        problem = self._problem
        name, K = cell.covariance_type, cell.n_components
        starts = [each.parameters(problem.families[name], problem.plan["reg_covar"]) for each in given]
        starts = [start for start in starts if start is not None]
        try:
            found = self._fits.best_of(name, K, starts, self._loss(cell), only_better=True)
        except InvalidParameterError:
            raise
        except _FAILURES:
            return cell
        return _with_starts(found, cell) if self._loss(found) < self._loss(cell) else cell

    def _polished(self, cell: Candidate) -> Candidate:
        """The cell closer to its optimum."""
        problem = self._problem
        name, K = cell.covariance_type, cell.n_components
        finer = {"tol": POLISH * problem.plan["tol"], "acceleration": problem.plan["acceleration"] or "squarem"}
        try:
            hope = self._fits.hope(name, K, math.inf)
            closer = self._fits.one(name, cell.mixture.parameters, hope, K=cell.mixture.n_components, **finer)
        except _FAILURES:
            return cell
        return _with_starts(closer, cell, goes_on=True) if self._loss(closer) < self._loss(cell) else cell


def _with_starts(found: Candidate, cell: Candidate, goes_on: bool = False) -> Candidate:
    """The fit that takes the place of another, with the starts of that beside its own, where that had several.

    One that goes on where the other ended adds to the history of that one's best start.
    """
    result, earlier = found.result, cell.result
    if len(earlier.histories) == 1:
        return found
    histories, best = list(earlier.histories), earlier.best_init
    if goes_on:
        start, rest = histories[best], result.histories[0]
        histories[best] = replace(
            rest, lower_bounds=start.lower_bounds + rest.lower_bounds, n_iter=start.n_iter + rest.n_iter
        )
    else:
        best = len(histories) + result.best_init
        histories += result.histories
    n_failed = earlier.n_failed_inits + result.n_failed_inits
    return replace(found, result=replace(result, histories=histories, best_init=best, n_failed_inits=n_failed))
