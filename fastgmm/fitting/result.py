"""What a fit returns."""

from dataclasses import dataclass, field

import numpy as np

from fastgmm.fitting.mstep import Collapse
from fastgmm.mixture import Mixture

__all__ = ["FitResult", "StartHistory"]


@dataclass(frozen=True)
class StartHistory:
    """How one start went.

    Attributes
    ----------
    lower_bounds : list of float
        Mean log-likelihood after each iteration.
    converged : bool
    n_iter : int
    error : str or None
        Why it failed, if it did.
    """

    lower_bounds: list[float]
    converged: bool
    n_iter: int
    error: str | None = None


@dataclass(frozen=True)
class FitResult:
    """A fitted mixture and how it was found. Results of equal bits are equal; labels, which follow, do not count.

    Attributes
    ----------
    mixture : Mixture
        The best of all starts.
    converged : bool
        Whether its mean log-likelihood changed by less than `tol` in the last iteration.
    n_iter : int
        Iterations of the best start.
    lower_bound : float
        Mean log-likelihood per unit of weight, equal to ``mixture.score(X, sample_weight)`` bit for bit.
    lower_bounds : list of float
        The same after each iteration of the best start; the last is `lower_bound`.
    n_failed_inits : int
        Starts that ended in a covariance that is not positive definite.
    best_init : int
        Number of the best start, from 0.
    histories : list of StartHistory
        All starts in order.
    labels : (N,) int64 array or None
        Component of each row, where `run` was asked for labels.
    collapses : list of Collapse
        Components of the best start that collapsed, and what was done, in order; empty unless `on_collapse` or
        `covariance_floor` say what to do.
    previous_bound : float
        Mean log-likelihood one iteration before the result: with it a fit can be continued as if it had not stopped.
    """

    mixture: Mixture
    converged: bool
    n_iter: int
    lower_bound: float
    lower_bounds: list[float] = field(repr=False)
    n_failed_inits: int
    best_init: int
    histories: list[StartHistory] = field(repr=False)
    labels: np.ndarray | None = field(default=None, repr=False, compare=False)
    collapses: list[Collapse] = field(default_factory=list, repr=False)
    previous_bound: float = field(default=-np.inf, repr=False)
