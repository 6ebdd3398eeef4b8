"""The noise component: a uniform density for rows that belong to no cluster (Banfield and Raftery 1993).

With the share p of the noise and the volume V that it fills, the density of a mixture with noise is

    f(x) = p / V + (1 - p) sum_k pi_k N(x; mu_k, Sigma_k),    sum_k pi_k = 1,

constant over all of space, which is a density inside V. The M-step adds p = n_0 / n to that of the components, whose
weights pi_k are their shares of what is not noise.

A row with gaps has the marginal density of what was observed. That of a box along the features with the sides h_j,
prod_j h_j = V, is one over the product of the observed sides. A volume alone does not say how long the sides are: they
are in proportion to the `scales`, which are the standard deviations of the features in the rows of a fit,

    log h_j = log V / D + log s_j - mean_i log s_i,

so that the units of single features do not matter, and they stay as they are while EM runs, which hence never falls.
"""

from dataclasses import dataclass
from math import exp
from numbers import Real

import numpy as np

from fastgmm._checks import is_number
from fastgmm._errors import InvalidParameterError

__all__ = ["START_WEIGHT", "Noise"]

START_WEIGHT = 0.05
"""The share of the noise that EM starts from."""


@dataclass(frozen=True)
class Noise:
    """The noise component of a mixture.

    Parameters
    ----------
    weight : float
        Its share of the rows, in [0, 1).
    log_volume : float
        Natural logarithm of the volume that it fills, in the units of the features.
    scales : tuple of D float, default=None
        Numbers to which the sides of that volume, as a box along the features, are in proportion: for rows with gaps,
        of which the density is that of the observed sides. None where there were no gaps.

    Raises
    ------
    InvalidParameterError
        If the weight is no share, the logarithm not finite, or scales are not positive.

    Examples
    --------
    >>> from fastgmm import Mixture, Noise
    >>> mixture = Mixture([1.0], [[0.0]], [1.0], "spherical", noise=Noise(0.1, log_volume=3.0))
    >>> mixture.predict([[0.0], [9.0]])
    array([ 0, -1])
    """

    weight: float
    log_volume: float
    scales: tuple[float, ...] | None = None

    def __post_init__(self):
        """Check both, and hold plain floats."""
        if not is_number(self.weight, Real, 0) or not self.weight < 1:
            raise InvalidParameterError(f"weight of the noise must be in [0, 1), got {self.weight!r}")
        if not is_number(self.log_volume, Real, -np.inf):
            raise InvalidParameterError(f"log_volume of the noise must be a finite number, got {self.log_volume!r}")
        if self.scales is not None:
            scales = np.asarray(self.scales, dtype=np.float64)
            if scales.ndim != 1 or not (np.isfinite(scales) & (scales > 0)).all():
                raise InvalidParameterError(f"scales of the noise must be finite numbers > 0, got {self.scales!r}")
            object.__setattr__(self, "scales", tuple(scales.tolist()))
        object.__setattr__(self, "weight", float(self.weight))
        object.__setattr__(self, "log_volume", float(self.log_volume))

    @property
    def volume(self):
        """The volume; infinite where float64 does not hold it."""
        return exp(self.log_volume) if self.log_volume < 709 else np.inf

    def log_sides(self):
        """Return the logarithms (D,) of the sides of the box along the features; None without scales."""
        if self.scales is None:
            return None
        logs = np.log(self.scales)
        return logs - logs.mean() + self.log_volume / len(logs)

    @property
    def log_density(self):
        """Weighted log-density: log(weight / volume)."""
        with np.errstate(divide="ignore"):
            return float(np.log(self.weight)) - self.log_volume
