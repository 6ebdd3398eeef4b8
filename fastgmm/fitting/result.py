"""What a fit returns."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fastgmm.fitting.convergence import Progress
from fastgmm.fitting.mstep import Collapse
from fastgmm.mixture import Mixture

__all__ = ["FitResult", "Optimum", "StartHistory", "optima"]


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
    stopped_by : str or None
        Why it stopped, if it did not fail: as in `FitResult`.
    """

    lower_bounds: list[float]
    converged: bool
    n_iter: int
    error: str | None = None
    stopped_by: str | None = None

    def as_tuple(self):
        """Return the attributes in their order, to make the same again."""
        return list(self.lower_bounds), self.converged, self.n_iter, self.error, self.stopped_by


class Optimum(NamedTuple):
    """An optimum that starts came to: its mean log-likelihood, and how many starts ended there."""

    lower_bound: float
    n_starts: int


def optima(histories, within):
    """Return the optima that starts came to, the best first.

    Parameters
    ----------
    histories : list of StartHistory
        Those that failed, or made no iteration, do not count.
    within : float
        Ends that are no further apart, in nats per row, are one optimum.

    Returns
    -------
    list of Optimum
    """
    found = []
    for end in sorted((each.lower_bounds[-1] for each in histories if each.lower_bounds), reverse=True):
        if found and found[-1].lower_bound - end <= within:
            found[-1] = Optimum(found[-1].lower_bound, found[-1].n_starts + 1)
        else:
            found.append(Optimum(end, 1))
    return found


@dataclass(frozen=True)
class FitResult:
    """A fitted mixture and how it was found. Results of equal bits are equal; labels, which follow, do not count.

    Attributes
    ----------
    mixture : Mixture
        The best of all starts.
    converged : bool
        Whether the rule of stopping was met.
    n_iter : int
        Iterations of the best start.
    lower_bound : float
        Mean log-likelihood per unit of weight, equal to ``mixture.score(X, sample_weight)`` bit for bit. With a prior
        it is what the fit maximises instead: the log-likelihood of all rows plus the log-density of the prior at the
        parameters, but for a constant, per unit of weight. Gains and what remains are of the same.
    log_likelihood : float
        Mean log-likelihood per unit of weight: `lower_bound`, unless there is a prior.
    lower_bounds : list of float
        The bound after each iteration of the best start; the last is `lower_bound`.
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
    stopped_by : str
        Why the best start stopped: "tol" or "aitken" if it converged by `stopping`, else "max_iter", "max_time" or
        "callback".
    n_unobserved : int
        Rows with nothing but gaps, with ``missing="em"``: they follow the weights and say nothing else.
    total_weight : float
        Of all rows.
    progress : Progress
        What its last iterations told.
    gradient_norm : float
        Norm of the gradient of the mean log-likelihood in the metric of the complete-data information, at the point
        that the last step of EM was taken from: the length of that step (Xu and Jordan 1996; see
        `fastgmm.fitting.coordinates`), which does not depend on the units of the features, nor on n_rows. 1e-3 is
        means that move by a thousandth of a standard deviation. It is nan before a step, and where the last one put a
        component anew or removed one.
    path : tuple or None
        The state of an acceleration. With `progress` and it, a fit can be continued as if it had not stopped.
    """

    mixture: Mixture
    converged: bool
    n_iter: int
    lower_bound: float
    log_likelihood: float
    lower_bounds: list[float] = field(repr=False)
    n_failed_inits: int
    best_init: int
    histories: list[StartHistory] = field(repr=False)
    labels: np.ndarray | None = field(default=None, repr=False, compare=False)
    collapses: list[Collapse] = field(default_factory=list, repr=False)
    stopped_by: str = "max_iter"
    n_unobserved: int = 0
    progress: Progress = field(default=Progress(), repr=False, compare=False)
    total_weight: float = field(default=0.0, repr=False, compare=False)
    path: tuple | None = field(default=None, repr=False, compare=False)
    gradient_norm: float = field(default=math.nan, repr=False, compare=False)

    def optima(self, within=1e-3):
        """Return the optima that the starts came to, the best first: how many there are, and how often each was found.

        Parameters
        ----------
        within : float, default=1e-3
            Ends that are no further apart, in nats per row, are one optimum: not less than what `tol` leaves.

        Returns
        -------
        list of Optimum
            Each with `lower_bound` and `n_starts`.
        """
        return optima(self.histories, within)

    @property
    def last_gain(self):
        """Gain of the mean log-likelihood by the last step of EM that was seen from both ends; infinite before one."""
        return self.progress.gain

    @property
    def convergence_rate(self):
        """The share of each gain that the next one is likely to be; nan where it is not known."""
        return self.progress.rate

    @property
    def remaining_gain(self):
        """Aitken's estimate of the mean log-likelihood that EM would still gain; infinite where it is not known."""
        return self.progress.remaining
