"""The noise component: a uniform density for rows that belong to no cluster (Banfield and Raftery 1993).

With the share p of the noise and the volume V that it fills, the density of a mixture with noise is

    f(x) = p / V + (1 - p) sum_k pi_k N(x; mu_k, Sigma_k),    sum_k pi_k = 1,

constant over all of space, which is a density inside V. The M-step adds p = n_0 / n to that of the components, whose
weights pi_k are their shares of what is not noise.
"""

from dataclasses import dataclass
from math import exp, isfinite
from numbers import Real

import numpy as np

from fastgmm._checks import is_number
from fastgmm._errors import InvalidParameterError

__all__ = ["START_WEIGHT", "Noise", "log_volume_of"]

START_WEIGHT = 0.05
"""The share of the noise that EM starts from."""

MAX_VALUES = 1 << 20  # of rows that are turned at a time


@dataclass(frozen=True)
class Noise:
    """The noise component of a mixture.

    Parameters
    ----------
    weight : float
        Its share of the rows, in [0, 1).
    log_volume : float
        Natural logarithm of the volume that it fills, in the units of the features.

    Raises
    ------
    InvalidParameterError
        If the weight is no share, or the logarithm not finite.

    Examples
    --------
    >>> from fastgmm import Mixture, Noise
    >>> mixture = Mixture([1.0], [[0.0]], [1.0], "spherical", noise=Noise(0.1, log_volume=3.0))
    >>> mixture.predict([[0.0], [9.0]])
    array([ 0, -1])
    """

    weight: float
    log_volume: float

    def __post_init__(self):
        """Check both, and hold plain floats."""
        if not is_number(self.weight, Real, 0) or not self.weight < 1:
            raise InvalidParameterError(f"weight of the noise must be in [0, 1), got {self.weight!r}")
        if not is_number(self.log_volume, Real, -np.inf):
            raise InvalidParameterError(f"log_volume of the noise must be a finite number, got {self.log_volume!r}")
        object.__setattr__(self, "weight", float(self.weight))
        object.__setattr__(self, "log_volume", float(self.log_volume))

    @property
    def volume(self):
        """The volume; infinite where float64 does not hold it."""
        return exp(self.log_volume) if self.log_volume < 709 else np.inf

    @property
    def log_density(self):
        """Weighted log-density: log(weight / volume)."""
        with np.errstate(divide="ignore"):
            return float(np.log(self.weight)) - self.log_volume


def log_volume_of(array, mean, covariance):
    """Return the log-volume of the smaller of two boxes around rows: along the features, and their principal axes.

    mclust's hypvol, without reciprocal.

    Parameters
    ----------
    array : (N, D) array
    mean, covariance : (D,) and (D, D) arrays
        Of the rows.

    Raises
    ------
    InvalidParameterError
        If the rows fill no volume.
    """
    axes = np.linalg.eigh(covariance)[1]
    step = max(1, MAX_VALUES // array.shape[1])
    bounds = []
    for first in range(0, len(array), step):
        offsets = np.asarray(array[first : first + step], dtype=np.float64) - mean
        bounds.append([[box.min(axis=0), box.max(axis=0)] for box in (offsets, offsets @ axes)])
    found = np.array(bounds)  # (pieces, 2 boxes, least and largest, D)
    sides = found[:, :, 1].max(axis=0) - found[:, :, 0].min(axis=0)
    with np.errstate(divide="ignore"):
        volume = float(np.log(sides).sum(axis=1).min())
    if not isfinite(volume) or sides.min() <= 0:
        raise InvalidParameterError(
            "noise=True takes the volume of a box around the rows, but they fill none: give it, noise=volume"
        )
    return volume
