"""The EM loop (Dempster, Laird and Rubin 1977, J. R. Statist. Soc. B 39:1)."""

import math
import time
from dataclasses import dataclass, field

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.covariance import Parameters
from fastgmm.fitting.acceleration import begin
from fastgmm.fitting.ahead import MAX_CANCELLATION, Ahead
from fastgmm.fitting.convergence import Progress
from fastgmm.fitting.coordinates import length, step

__all__ = ["FitState", "Run", "expectation_maximisation", "statistics_under", "steps_ahead"]

CONVERGED = ("tol", "aitken")


@dataclass(frozen=True)
class FitState:
    """Where a fit stands, as a callback sees it.

    Attributes
    ----------
    init : int
        Number of the start, from 0.
    iteration : int
        Number of the iteration, from 1.
    lower_bound : float
        Mean log-likelihood before this iteration's M-step; with a prior, mean log-posterior, as in `FitResult`.
    change : float
        Its gain over the iteration before; infinite in the first, but where a start goes on from a race over all rows,
        and after a component was put anew or removed.
    parameters : Parameters
        Parameters after this iteration's M-step.
    stopped_by : str or None
        "tol", "aitken" or "max_time" if this start stops here for that reason.
    """

    init: int
    iteration: int
    lower_bound: float
    change: float
    parameters: Parameters
    stopped_by: str | None

    @property
    def converged(self):
        """Whether this start stops here because the rule of stopping is met."""
        return self.stopped_by in CONVERGED


@dataclass(frozen=True)
class Run:
    """One run of EM from one start.

    Attributes
    ----------
    parameters : Parameters
        Parameters after the last M-step.
    bounds : list of float
        Mean log-likelihood before each M-step: of the start, and after every iteration but the last.
    stopped_by : str
        "tol", "aitken", "callback", "max_time" or "max_iter".
    progress : Progress
        What the last iterations tell.
    path : Plain, LBFGS or Squarem
        With its state and `progress` the run can be continued as if it had not stopped.
    last_step : tuple or None
        Family, and Parameters before and after the last step of EM; None before one and after a disturbance.
    collapses : list of Collapse
        Components that collapsed, where the M-step takes care of them.
    """

    parameters: Parameters
    bounds: list
    stopped_by: str
    progress: Progress
    path: object
    last_step: tuple | None = None
    collapses: list = field(default_factory=list)

    @property
    def converged(self):
        """Whether the rule of stopping was met."""
        return self.stopped_by in CONVERGED

    @property
    def gradient_norm(self):
        """Norm of the gradient where the last step of EM was taken from: see `FitResult`."""
        return math.nan if self.last_step is None else length(step(*self.last_step))


def expectation_maximisation(
    source,
    family,
    parameters,
    *,
    tol,
    max_iter,
    reg_covar,
    mstep=None,
    init=0,
    stopping="gain",
    acceleration=None,
    deadline=np.inf,
    progress=None,
    path=None,
    callback=None,
    ahead=None,
):
    """Run EM from given parameters.

    Parameters
    ----------
    source : object with ``accumulate(constants, pivot=None) -> Statistics``, ``moments()`` and ``dtype``
    family : Family
    parameters : Parameters
        The start, float64.
    tol : float
        Stop when the mean log-likelihood changes by less: see `stopping`.
    max_iter : int
        Largest number of iterations, of one pass each.
    reg_covar : float
    mstep : MStep, optional
        Where a fit has a floor or holds parameters; default: that of the family.
    init : int, default=0
        Number of the start, for the callback.
    stopping : {"gain", "aitken"}, default="gain"
        Whether `tol` is for the last gain or for the estimate of what is still to gain.
    acceleration : {None, "lbfgs", "squarem"}, default=None
    deadline : float, default=inf
        Time of `time.monotonic` after which no iteration begins but the first.
    progress : Progress, optional
        Where a fit is continued, that of its `Run`.
    path : tuple, optional
        Where a fit is continued, `fastgmm.fitting.acceleration.state` of the path of its `Run`.
    callback : callable, optional
        Called with a `FitState` after every iteration; a true value stops the run.
    ahead : Ahead, optional
        Of the same rows, for an M-step that is the family's: runs one after the other may share it.

    Returns
    -------
    Run
    """
    shift = source.moments()[0]  # stays where it is, so that a source need not compute its total scatter again
    progress = Progress() if progress is None else progress
    if mstep is not None:
        ahead = None
    elif ahead is None:
        ahead = steps_ahead(source, family, reg_covar, tol, stopping, acceleration)
    mstep = PlainMStep(family, reg_covar) if mstep is None else mstep
    path = begin(acceleration, family, parameters, source, path, mstep.feasible)
    leaps = ahead is not None and acceleration is None and callback is None  # nobody looks at single steps
    bounds, reason, em_step = [], None, None

    def end(progress):
        return progress.reason(stopping, tol) or ("max_time" if time.monotonic() >= deadline else None)

    while len(bounds) < max_iter and reason is None:
        most = max_iter - len(bounds)
        stretch = ahead.stretch(path.point, most) if leaps else None
        if stretch is not None:
            within = 1 if time.monotonic() >= deadline else len(stretch.bounds)  # steps, that time allows
            n_taken, progress = progress.along(stretch.bounds[:within], stopping, tol)
            bounds += stretch.bounds[:n_taken]
            em_step, reason = stretch.step(n_taken - 1), end(progress)
            path = path.after(bounds[-1], em_step[1])
            continue
        previous, on_trial = progress.bound, path.on_trial
        made = None if ahead is None or leaps else ahead.next(path.point, most)
        if made is None:
            stats = statistics_under(source, family.constants(path.point, dtype=source.dtype, shift=shift))
            bound = mstep.bound(stats, path.point)
            mapped = _maximise(mstep, stats, path, len(bounds) + 1) if path.accepts(bound) else None
        else:
            bound, mapped = made[0], made[1] if path.accepts(made[0]) else None
        em_step = em_step if mapped is None else (path.point, mapped)
        if mapped is None:
            path, bound = path.back(), path.bound
        else:
            path = path.afresh(mapped) if mstep.disturbed else path.after(bound, mapped)
        if mstep.disturbed:
            progress, em_step = Progress(), None
        elif on_trial and (mapped is None or path.gain is None):
            progress = progress.at(bound)
        else:
            progress = progress.after(bound, path.rate, path.gain)
        bounds.append(bound)
        reason = end(progress)
        if callback is not None:
            state = FitState(init, len(bounds), bound, bound - previous, path.parameters, reason)
            reason = "callback" if callback(state) and reason is None else reason
    last_step = None if em_step is None else (family, *em_step)
    return Run(path.parameters, bounds, reason or "max_iter", progress, path, last_step, list(mstep.collapses))


def steps_ahead(source, family, reg_covar, tol, stopping, acceleration):
    """Return the steps of plain EM that runs with these arguments of `expectation_maximisation` take."""
    enough, at_first = tol if stopping == "gain" else 0.0, 4 if acceleration is None else 1
    return Ahead(source, family, reg_covar, source.moments()[0], enough, at_first)


class PlainMStep:
    """The family's M-step, in the form of `MStep`."""

    disturbed = False
    collapses = ()

    def __init__(self, family, reg_covar):
        self._family, self._reg_covar = family, reg_covar

    def __call__(self, stats, previous, iteration):
        """Return the parameters after an M-step."""
        return self._family.maximise(stats, reg_covar=self._reg_covar, previous=previous)

    def bound(self, stats, parameters):
        """Return what rises, per unit of weight: the log-likelihood of a pass."""
        return stats.log_likelihood / stats.total_weight

    def feasible(self, parameters):
        """Return parameters as M-steps give them: those of the family."""
        return self._family.feasible(parameters)


def _maximise(mstep, stats, path, iteration):
    """Return the parameters after an M-step, None if there are none at a trial."""
    try:
        return mstep(stats, path.point, iteration)
    except IllDefinedCovarianceError:
        if path.on_trial:
            return None
        raise


def statistics_under(source, constants):
    """Return the statistics of a pass, or of two if the first one's points were too far from the new means."""
    stats = source.accumulate(constants)
    if stats.cancellation() > MAX_CANCELLATION:
        stats = source.accumulate(constants.unpooled(), pivot=stats.means())
    return stats
