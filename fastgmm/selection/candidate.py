"""One cell of a sweep: a family with a number of components, fitted, abandoned or failed."""

from __future__ import annotations

import dataclasses
import math

from fastgmm import fitting
from fastgmm.mixture import Mixture

from .criteria import CRITERIA, Measured

__all__ = ["Candidate"]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One family with one number of components, fitted or failed.

    Attributes
    ----------
    covariance_type : str
        As it was asked for.
    n_components : int
    seconds : float
        Wall time spent on it.
    result : FitResult or None
        The fit; None if it failed.
    measured : Measured or None
        What criteria are made of; None if the fit failed.
    error : Exception or None
        Why it failed.
    abandoned : str or None
        Why it was given up before it had converged, if it was: it had no chance of being the best. Its numbers are
        those that it had come to.
    """

    covariance_type: str
    n_components: int
    seconds: float
    result: fitting.FitResult | None = None
    measured: Measured | None = None
    error: Exception | None = None
    abandoned: str | None = None

    @property
    def mixture(self) -> Mixture | None:
        """The fitted mixture; None if the fit failed."""
        return None if self.result is None else self.result.mixture

    @property
    def log_likelihood(self) -> float:
        """Log-likelihood of all rows together, in nats; NaN if the fit failed."""
        return math.nan if self.measured is None else self.measured.log_likelihood

    def value(self, criterion: str) -> float:
        """The criterion of that name; NaN if the fit failed, or what it needs was not measured."""
        return math.nan if self.measured is None else CRITERIA[criterion](self.measured)

    def loss(self, criterion: str) -> float:
        """The criterion with the sign by which lower is better; infinite where there is none."""
        value = CRITERIA[criterion].loss(self.value(criterion))
        return math.inf if math.isnan(value) else value

    def record(self) -> dict[str, object]:
        """The candidate as plain values."""
        result = self.result
        return {
            "covariance_type": self.covariance_type,
            "n_components": self.n_components,
            "n_parameters": None if result is None else result.mixture.n_parameters,
            "log_likelihood": self.log_likelihood,
            "entropy": math.nan if self.measured is None else self.measured.entropy,
            **{name: self.value(name) for name in CRITERIA},
            "n_iter": None if result is None else int(result.n_iter),
            "converged": None if result is None else bool(result.converged),
            "seconds": self.seconds,
            "error": None if self.error is None else str(self.error) or type(self.error).__name__,
            "abandoned": self.abandoned,
        }
