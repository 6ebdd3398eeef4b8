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

Of a box around rows the `scales` are its sides. Where its `centre` is known, noise has draws and fills gaps. Where it
is turned, to `axes` A of its own, it has no uniform marginals, as a density that is constant over all of space needs
them. Rows with gaps then see the box along the features that has its centre, its volume, and sides in proportion to
the standard deviations of what is uniform in it,

    log h_j = log V / D + log t_j - mean_i log t_i,    t_j^2 = sum_l A_jl^2 s_l^2.
"""

import copy
import functools
from dataclasses import dataclass
from math import exp
from numbers import Real

import numpy as np

from fastgmm._checks import is_number
from fastgmm._errors import InvalidParameterError

__all__ = ["START_WEIGHT", "Noise", "without_noise"]

START_WEIGHT = 0.05
"""The share of the noise that EM starts from."""

MOST_NOISE = 1 - 1e-9
ORTHONORMAL = 1e-6  # largest error of products of axes
NO_PLACE = (
    "{} of this mixture need to know where its noise is, but its volume alone is known: fit with noise=True, or give "
    "fastgmm.Noise(weight, log_volume, scales, centre)"
)


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
        Numbers to which the sides of that volume, as a box, are in proportion: for rows with gaps, of which the density
        is that of the observed sides, and for draws. None if they are not known.
    centre : tuple of D float, default=None
        The centre of the box, in the units of the features: for draws, and for gaps that are filled. It needs scales.
        None if it is not known.
    axes : tuple of D tuples of D float, default=None
        A matrix with orthonormal columns, along which the sides are; None for a box along the features. They need
        scales. In the place of one that is turned, rows with gaps see a box along the features: of its centre and
        volume, with sides in proportion to the standard deviations of what is uniform in it.

    Raises
    ------
    InvalidParameterError
        If the weight is no share, the logarithm not finite, scales are not positive, the centre is not finite, axes are
        not orthonormal, or their numbers do not fit together.

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
    centre: tuple[float, ...] | None = None
    axes: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self):
        """Check all, and hold plain floats."""
        if not is_number(self.weight, Real, 0) or not self.weight < 1:
            raise InvalidParameterError(f"weight of the noise must be in [0, 1), got {self.weight!r}")
        if not is_number(self.log_volume, Real, -np.inf):
            raise InvalidParameterError(f"log_volume of the noise must be a finite number, got {self.log_volume!r}")
        if self.scales is not None:
            scales = np.asarray(self.scales, dtype=np.float64)
            if scales.ndim != 1 or not (np.isfinite(scales) & (scales > 0)).all():
                raise InvalidParameterError(f"scales of the noise must be finite numbers > 0, got {self.scales!r}")
            object.__setattr__(self, "scales", tuple(scales.tolist()))
        self._check_place()
        object.__setattr__(self, "weight", float(self.weight))
        object.__setattr__(self, "log_volume", float(self.log_volume))

    @property
    def volume(self):
        """The volume; infinite where float64 does not hold it."""
        return exp(self.log_volume) if self.log_volume < 709 else np.inf

    def _check_place(self):
        """Check where the box is, and hold plain floats."""
        if self.scales is None:
            if self.centre is not None or self.axes is not None:
                raise InvalidParameterError("centre and axes of the noise need its scales, got None")
            return
        D = len(self.scales)
        if self.centre is not None:
            centre = np.asarray(self.centre, dtype=np.float64)
            if centre.shape != (D,) or not np.isfinite(centre).all():
                raise InvalidParameterError(f"centre of the noise must be {D} finite numbers, got {self.centre!r}")
            object.__setattr__(self, "centre", tuple(centre.tolist()))
        if self.axes is not None:
            axes = np.asarray(self.axes, dtype=np.float64)
            if axes.shape != (D, D) or not np.abs(axes.T @ axes - np.eye(D)).max() < ORTHONORMAL:
                raise InvalidParameterError(f"axes of the noise must be {D} orthonormal columns, got {self.axes!r}")
            object.__setattr__(self, "axes", tuple(map(tuple, axes.tolist())))

    def of_weight(self, weight):
        """Return the same noise with another weight, which is not checked: EM makes one in every step."""
        made = copy.copy(self)
        object.__setattr__(made, "weight", float(weight))
        return made

    @functools.cached_property
    def _log_lengths(self):
        """Logarithms (D,) of the sides of the box, however it is turned."""
        logs = np.log(self.scales)
        return logs - logs.mean() + self.log_volume / len(logs)

    def log_sides(self):
        """Return the logarithms (D,) of the sides of the box along the features, which rows with gaps see.

        None if they are not known.
        """
        if self.scales is None or self.axes is None:
            return None if self.scales is None else self._log_lengths
        lengths = np.exp(self._log_lengths - self._log_lengths.max())
        logs = np.log(np.array(self.axes) ** 2 @ lengths**2) / 2
        return logs - logs.mean() + self.log_volume / len(logs)

    def draw(self, n, rng):
        """Return n rows (n, D), float64, drawn uniformly from the box.

        Parameters
        ----------
        n : int
        rng : numpy.random.Generator

        Raises
        ------
        ValueError
            If it is not known where the box is.
        """
        if self.centre is None:
            raise ValueError(NO_PLACE.format("draws"))
        offsets = (rng.random((n, len(self.centre))) - 0.5) * np.exp(self._log_lengths)
        return np.array(self.centre) + (offsets if self.axes is None else offsets @ np.array(self.axes).T)

    @property
    def log_density(self):
        """Weighted log-density: log(weight / volume)."""
        with np.errstate(divide="ignore"):
            return float(np.log(self.weight)) - self.log_volume


def without_noise(stats, noise):
    """Return the Statistics of the components alone, and the Noise, the last of all, after its M-step."""
    return stats.without_last(), noise.of_weight(min(stats.n[-1] / stats.n.sum(), MOST_NOISE))
