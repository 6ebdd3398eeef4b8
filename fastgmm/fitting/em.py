"""The EM loop (Dempster, Laird and Rubin 1977, J. R. Statist. Soc. B 39:1)."""

from dataclasses import dataclass, field

import numpy as np

from fastgmm.covariance import Parameters

__all__ = ["FitState", "Run", "expectation_maximisation"]

MAX_CANCELLATION = 1e6  # beyond this factor an M-step's statistics are taken again about the new means


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
        Mean log-likelihood before this iteration's M-step.
    change : float
        Its gain over the iteration before; infinite in the first, and after a component was put anew or removed.
    parameters : Parameters
        Parameters after this iteration's M-step.
    converged : bool
        Whether the fit stops here because the gain is below `tol`.
    """

    init: int
    iteration: int
    lower_bound: float
    change: float
    parameters: Parameters
    converged: bool


@dataclass(frozen=True)
class Run:
    """One run of EM from one start.

    Attributes
    ----------
    parameters : Parameters
        Parameters after the last M-step.
    bounds : list of float
        Mean log-likelihood before each M-step: of the start, and after every iteration but the last.
    converged : bool
    collapses : list of Collapse
        Components that collapsed, where the M-step takes care of them.
    """

    parameters: Parameters
    bounds: list
    converged: bool
    collapses: list = field(default_factory=list)


def expectation_maximisation(
    source, family, parameters, *, tol, max_iter, reg_covar, mstep=None, init=0, previous_bound=-np.inf, callback=None
):
    """Run EM from given parameters.

    Parameters
    ----------
    source : object with ``accumulate(constants, pivot=None) -> Statistics``, ``moments()`` and ``dtype``
    family : Family
    parameters : Parameters
        The start, float64.
    tol : float
        Stop when the mean log-likelihood changes by less.
    max_iter : int
    reg_covar : float
    mstep : MStep, optional
        Where a fit has a floor or holds parameters; default: that of the family.
    init : int, default=0
        Number of the start, for the callback.
    previous_bound : float, default=-inf
        Mean log-likelihood one iteration before the start, where a fit is continued.
    callback : callable, optional
        Called with a `FitState` after every iteration; a true value stops the run.

    Returns
    -------
    Run
    """
    shift = source.moments()[0]  # stays where it is, so that a source need not compute its total scatter again
    bounds, previous = [], previous_bound
    for iteration in range(1, max_iter + 1):
        constants = family.constants(parameters, dtype=source.dtype, shift=shift)
        stats = source.accumulate(constants)
        if stats.cancellation() > MAX_CANCELLATION:
            stats = source.accumulate(constants.unpooled(), pivot=stats.means())
        if mstep is None:
            parameters, disturbed = family.maximise(stats, reg_covar=reg_covar, previous=parameters), False
        else:
            parameters = mstep(stats, parameters, iteration)
            disturbed = mstep.disturbed

        bound = stats.log_likelihood / stats.total_weight
        change, previous = bound - previous, -np.inf if disturbed else bound
        bounds.append(bound)
        converged = abs(change) < tol and not disturbed
        stop = callback is not None and callback(FitState(init, iteration, bound, change, parameters, converged))
        if converged or stop:
            break
    else:
        converged = False
    return Run(parameters, bounds, converged, [] if mstep is None else mstep.collapses)
