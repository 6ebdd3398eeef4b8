"""Fits of single cells of a search: a race of starts, EM over all rows, and what criteria need of the result."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fastgmm import fitting
from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.covariance import Family, Floor, Parameters
from fastgmm.engine import check_sample_weight
from fastgmm.fitting.mstep import noise_of
from fastgmm.mixture import Mixture
from fastgmm.sources import is_elsewhere

from .candidate import Candidate
from .collapse import CollapsedError, are_thin, thin_floor
from .criteria import Measured, cross_validate
from .hope import Hope, Hopeless, Interrupted
from .problem import Problem
from .starts import Few, race

__all__ = ["Fits"]

RACE_ITERATIONS = 3
RACE_KEPT = 2


class Fits:
    """Makes the fits of a search, from any thread.

    Parameters
    ----------
    problem : Problem
    cells : mapping of (str, int) to Candidate
        What the search has found so far, by structure and number of components, as it grows: NEC compares with one
        component.
    n_threads : int
        Within a fit.
    tell : callable
        Is told, as a text, what is going on.

    Attributes
    ----------
    few : Few
        The rows among which starts race.
    stop : threading.Event
        Set, all fits in progress stop after their iteration and raise `Interrupted`.
    """

    def __init__(
        self,
        problem: Problem,
        cells: Mapping[tuple[str, int], Candidate],
        n_threads: int,
        tell: Callable[[str], None],
    ) -> None:
        self._problem, self._cells, self._n_threads, self._tell = problem, cells, n_threads, tell
        self._n_rows = problem.source.moments()[2]
        self._source = problem.fitted(n_threads)
        self.stop = threading.Event()
        free = {"weights": np.zeros(0, dtype=bool)}
        self._noise = noise_of(problem.plan["noise"], problem.source, free, None)
        rng = np.random.default_rng([problem.plan["seed"], 0])
        self.few = Few(problem.source, problem.numbers[-1], rng, self._noise)
        self._floor = self._least()

    def _least(self) -> Floor | None:
        """Return the covariances below which a component has collapsed, None where the user says what happens then."""
        settings = self._problem.settings
        if settings["on_collapse"] != "raise" or settings["covariance_floor"] is not None:
            return None
        return thin_floor(self.few, self._problem.source.dtype)

    def _are_thin(self, family: Family, several: list[Parameters]) -> list[bool]:
        return are_thin(self._floor, family, several)

    def hope(self, name: str, K: int, target: float) -> Hope:
        """Return the hope of a fit to come below a loss; where no fit is abandoned, any will do."""
        return Hope(self._loss_of(name, K), target if self._problem.abandons else math.inf)

    def best_of(
        self, name: str, K: int, starts: list[Parameters], target: float, only_better: bool = False
    ) -> Candidate:
        """Return the fit from the start that wins a race, or from the first after it that does not fail.

        `target` is the loss that a fit must have a chance to come below, else it is given up; `only_better` raises
        `CollapsedError` where the race has shown that no start has one.
        """
        problem = self._problem
        plan = problem.plan
        plain = {"init_params": plan["init_params"], "n_init": plan["n_init"], "random_state": plan["seed"]}
        n_moves = 0 if only_better else plan["split_merge"]
        hope = self.hope(name, K, math.inf if n_moves else target)
        error: Exception = CollapsedError()
        if problem.is_raced and not only_better:
            try:
                return self.one(name, None, self.hope(name, K, math.inf), K=K, split_merge=n_moves, **plain)
            except IllDefinedCovarianceError as failed:
                error = failed
        starts = [replace(start, noise=self._noise) for start in starts]
        if K > 1:
            starts, is_lost = self._raced(name, starts, hope)
            if is_lost and only_better:
                starts = []
        for start, moves in itertools.product(starts, dict.fromkeys((n_moves, 0))):  # moves may end in a collapse
            try:
                return self.one(name, start, hope, K=K, split_merge=moves, random_state=plan["seed"])
            except IllDefinedCovarianceError as failed:
                error = failed
        # the user says what happens to components that collapse, or which rows they begin with
        if not only_better and (self._floor is None or problem.source.n_named):
            return self.one(name, None, hope, K=K, split_merge=n_moves, **plain)
        raise error

    def _raced(self, name: str, starts: list[Parameters], hope: Hope) -> tuple[list[Parameters], bool]:
        """Return the starts after a race, the best first, and whether all is lost: all run, then those ahead run on."""
        problem = self._problem
        few, family = self.few.source, problem.families[name]
        options = {"reg_covar": problem.plan["reg_covar"], "are_thin": self._are_thin}
        runners = race(few, family, starts, n_iter=RACE_ITERATIONS, **options)
        ahead = [runner.parameters for runner in runners[:RACE_KEPT]]
        is_lost = bool(runners) and self.few.is_all and hope.is_lost(runners[0].bounds)
        if len(runners) > 1 and not is_lost:
            again = race(few, family, ahead, n_iter=RACE_ITERATIONS, **options)
            ahead = [runner.parameters for runner in again]
        return ahead + [runner.parameters for runner in runners[RACE_KEPT:]], is_lost

    def _loss_of(self, name: str, K: int) -> Callable[[float], float]:
        """Return the criterion as a function of the mean log-likelihood, at its best: without entropy."""
        problem = self._problem
        D = problem.source.n_features
        m = problem.families[name].n_parameters(K, D) + K * D + K - 1 + (0 if self._noise is None else 2)
        return lambda bound: problem.criterion.loss(
            problem.criterion(Measured(bound * self._n_rows, m, self._n_rows, K, 0.0, 0.0))
        )

    def one(self, name: str, start: Parameters | None, hope: Hope, *, K: int, **options: Any) -> Candidate:
        """Return the cell after EM over all rows from one start; without one, from those that `fastgmm.fit` makes."""
        problem = self._problem
        family = problem.families[name]
        watch = Hopeless(hope, self.stop, lambda text: self._tell(f"{name} {K}: {text}"))
        result = fitting.run(
            self._source,
            K,
            covariance_type=family,
            start=start,
            callback=watch,
            **{**problem.settings, **options},
        )
        if self.stop.is_set():
            raise Interrupted
        if self._are_thin(family, [result.mixture.parameters])[0]:
            raise CollapsedError
        return Candidate(name, K, 0.0, result, self._measured(name, result), abandoned=watch.why)

    def _measured(self, name: str, result: fitting.FitResult) -> Measured:
        """Return what criteria need."""
        problem, mixture = self._problem, result.mixture
        one = self._cells.get((name, 1))
        of_one = math.nan if one is None else one.log_likelihood
        options = {"of_one": of_one, "n_threads": self._n_threads, "missing": problem.plan["missing"]}
        if is_elsewhere(problem.rows):
            return self._measured_elsewhere(result, options)
        if problem.source.n_named:
            measured = self._measured_known(result, options)
        else:
            measured = mixture.measured(problem.rows, problem.sample_weight, **options)
        if problem.criterion.needs == "held_out":
            measured = self._with_held_out(measured, mixture)
        return measured

    def _with_held_out(self, measured: Measured, mixture: Mixture) -> Measured:
        """Return what was measured, and the log-likelihood of rows held out."""
        plan = self._problem.plan
        how = {"n_folds": plan["n_folds"], "random_state": plan["seed"], "n_threads": self._n_threads}
        folds = cross_validate(self._source, start=mixture, **how, **self._problem.settings)
        return replace(measured, held_out=folds.log_likelihood)

    def _measured_elsewhere(self, result: fitting.FitResult, options: dict[str, Any]) -> Measured:
        """Return what criteria need, without a pass that the criterion of the search does not need."""
        mixture, total = result.mixture, result.total_weight
        found = Measured(result.log_likelihood * total, mixture.n_parameters, total, mixture.n_components)
        if self._problem.criterion.needs == "held_out":
            found = self._with_held_out(found, mixture)
        elif self._problem.criterion.needs:
            entropies = mixture.entropies(
                self._problem.source, n_threads=options["n_threads"], missing=options["missing"]
            )
            found = replace(found, **entropies._asdict())
        return replace(found, of_one=options["of_one"])

    def _measured_known(self, result: fitting.FitResult, options: dict[str, Any]) -> Measured:
        """Return what criteria need: the likelihood of rows and labels, and entropies of rows that are not known."""
        problem = self._problem
        weights = check_sample_weight(problem.sample_weight, problem.rows.n_rows).of_rows(problem.rows.n_rows)
        weights[problem.source.known_labels >= 0] = 0.0
        measured = Measured(0.0, result.mixture.n_parameters, 0.0, result.mixture.n_components, 0.0, 0.0, among=0.0)
        if weights.any():
            measured = result.mixture.measured(problem.rows, weights, **options)
        total = result.total_weight
        return replace(measured, log_likelihood=result.log_likelihood * total, n_rows=total)
