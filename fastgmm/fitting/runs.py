"""The runs of a fit: each from where it begins to where EM ends, scored there, and the best of them as a result."""

import time
from dataclasses import replace
from math import isfinite
from typing import NamedTuple

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.covariance import Parameters
from fastgmm.engine import Scores
from fastgmm.fitting import log
from fastgmm.fitting.acceleration import state
from fastgmm.fitting.em import Run, expectation_maximisation, steps_ahead
from fastgmm.fitting.mstep import penalised
from fastgmm.fitting.result import FitResult, StartHistory
from fastgmm.mixture import Mixture
from fastgmm.sources import ArraySource

__all__ = ["Ended", "Runs"]


class Ended(NamedTuple):
    """One run that has ended.

    Attributes
    ----------
    init : int
        Number of its start.
    run : Run
    parameters : Parameters
        Those of its end, in the dtype of the rows.
    scores : Scores
        Of all rows under them.
    lower_bound : float
        The same per unit of weight; with a prior, the log-posterior.
    """

    init: int
    run: Run
    parameters: Parameters
    scores: Scores
    lower_bound: float

    @property
    def lower_bounds(self):
        """Mean log-likelihood after each iteration."""
        return [*self.run.bounds[1:], self.lower_bound] if self.run.bounds else []

    @property
    def n_iter(self):
        """Number of iterations."""
        return len(self.run.bounds)


class Runs:
    """The runs of one fit.

    Parameters
    ----------
    source : Source
        All rows, as their scores see them.
    ordered : Source
        The same rows in the order that EM visits them in.
    family : Family
    begin : Beginnings
    options : dict
        Arguments of `expectation_maximisation`.
    prior : Prior or None
    mend : bool
        Whether covariances that float32 makes singular are mended.

    Attributes
    ----------
    best : Ended or None
    histories : list of StartHistory
    errors : list of IllDefinedCovarianceError
        Why starts have failed.
    """

    def __init__(self, source, ordered, family, begin, options, prior, mend):
        self._source, self._ordered, self._family, self._begin = source, ordered, family, begin
        self._options, self._prior, self._mend = options, prior, mend
        how = (options[name] for name in ("reg_covar", "tol", "stopping", "acceleration"))
        self._ahead = steps_ahead(ordered, family, *how)
        self.best, self.histories, self.errors = None, [], []

    def make_all(self, seeds, split_merge, rng, before_start, labels):
        """Make a run from each start, then split-and-merge moves out of the best optimum as long as they lead on.

        Parameters
        ----------
        seeds : list of int or None
            Of the starts.
        split_merge : int
            Largest number of moves.
        rng : numpy.random.Generator
            Of the moves.
        before_start : callable or None
            Called with the number of each start before it is made; a false value ends the fit.
        labels : bool
            Whether the scores of a single run shall hold labels.
        """
        deadline, n_first = self._options["deadline"], len(seeds)
        for init in range(n_first + split_merge):
            if init >= n_first and self._moves_on(init, n_first, deadline):
                self._options.update(progress=None, path=None)
                best = Mixture.from_parameters(self.best.parameters, self._family)
                seeds = [*seeds, *self._begin.move(best, rng, deadline)]
            if init == len(seeds) or not (init == 0 or time.monotonic() < deadline):
                break
            if before_start is not None and not before_start(init):
                break
            self._make(init, seeds[init], labels and len(seeds) == 1)

    def _moves_on(self, init, n_first, deadline):
        """Return whether a move is tried: the first, or one after a move that found a better optimum."""
        best = self.best
        return best is not None and time.monotonic() < deadline and (init == n_first or best.init == init - 1)

    def _make(self, init, seed, labels):
        """Make a run from a start, and keep it if it is the best."""
        log.start_begins(init)
        try:
            parameters, mstep, progress = self._begin.at(seed)
            options = self._options if progress is None else {**self._options, "progress": progress}
            run = expectation_maximisation(
                self._ordered, self._family, parameters, mstep=mstep, init=init, ahead=self._ahead, **options
            )
            ended = self._scored(init, run, labels, self._ahead if mstep is None else None)
        except IllDefinedCovarianceError as error:
            log.start_fails(init, error)
            self.errors.append(error)
            self.histories.append(StartHistory([], False, 0, str(error)))
            return
        log.start_ends(ended)
        self.histories.append(StartHistory(ended.lower_bounds, run.converged, ended.n_iter, stopped_by=run.stopped_by))
        if self.best is None or ended.lower_bound > self.best.lower_bound:
            self.best = ended

    def _scored(self, init, run, labels, ahead):
        """Return a run as it has ended: its parameters in the dtype of the rows, scored once more."""
        source, family = self._source, self._family
        single = source.dtype.itemsize == 4
        parameters = run.parameters.astype(source.dtype)
        if single:
            try:
                family.from_covariances(parameters.covariances, parameters.n_components, parameters.n_features)
            except IllDefinedCovarianceError:
                if not self._mend:
                    raise
                parameters = replace(family.complete(*parameters.arrays()[:3], mend=True), noise=parameters.noise)
        scores = None if labels or ahead is None else ahead.scores(parameters)
        if scores is None:
            constants = family.constants(parameters, dtype=source.dtype)
            scores = source.score(constants, labels=True) if labels else source.score(constants)
        bound = penalised(scores.log_likelihood, scores.total_weight, parameters, family, self._prior)
        if not isfinite(bound):
            raise IllDefinedCovarianceError(single_precision=single)
        return Ended(init, run, parameters, scores, bound)

    def result(self, labels, n_threads, missing, feature_names=None):
        """Return the FitResult of the best run.

        Parameters
        ----------
        labels : bool
            Whether it shall hold the component of each row.
        n_threads, missing
            Those of the fit, for rows that are not in an array.
        feature_names : sequence of str, optional
            Names of the columns, which the mixture keeps.

        Raises
        ------
        IllDefinedCovarianceError
            If every start has failed.
        """
        best, source = self.best, self._source
        if best is None:
            raise IllDefinedCovarianceError(self.errors[0].component, source.dtype == np.float32) from self.errors[0]
        run, scores = best.run, best.scores
        mixture = Mixture.from_parameters(best.parameters, self._family, feature_names=feature_names)
        named = mixture.named(scores.labels)
        if labels and named is None:
            named = _labels(source, mixture, n_threads, missing)
        result = FitResult(
            mixture=mixture,
            converged=run.converged,
            n_iter=best.n_iter,
            lower_bound=best.lower_bound,
            log_likelihood=scores.log_likelihood / scores.total_weight,
            lower_bounds=best.lower_bounds,
            n_failed_inits=len(self.errors),
            best_init=best.init,
            histories=self.histories,
            labels=named,
            collapses=run.collapses,
            stopped_by=run.stopped_by,
            n_unobserved=source.n_unobserved,
            progress=run.progress,
            total_weight=scores.total_weight,
            path=state(run.path, source.dtype),
            gradient_norm=run.gradient_norm,
        )
        log.fit_ends(result, len(self.histories))
        return result


def _labels(source, mixture, n_threads, missing):
    """Return the component (N,) of each row of a source, that which is known where it is."""
    if isinstance(source, ArraySource):
        return mixture.named(source.score(mixture.constants(source.dtype), labels=True).labels)
    labels = mixture.predict(source, n_threads=n_threads, missing="em" if source.has_gaps else missing)
    return source.with_known(labels)
