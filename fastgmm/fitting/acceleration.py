"""Where the next pass is made: at what the last M-step led to, or further along.

SQUAREM (Varadhan and Roland 2008, Scand. J. Statist. 35:335) takes two steps of EM, r = t1 - t0 and t2 - t1 = r + v,
and makes the next pass at t0 + 2 a r + a^2 v with a = |r| / |v|: the fixed point, if EM were linear with one rate.
Coordinates t are free of constraints (`Family.to_coordinates`), so every such point is a mixture.

A trial that turns out to be worse than t1 is given up for t2, at the price of the pass made there. So the
log-likelihood of the points that are kept never falls, and what a fit returns always comes from an M-step.
"""

import math
import zlib
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError, InvalidParameterError
from fastgmm.covariance import Parameters

__all__ = ["NAMES", "Plain", "Squarem", "begin", "check_acceleration"]

NAMES = ("squarem",)
PLAIN_STEPS = 3  # the first steps from a start are large and follow no rate
FIRST_CAP, MIN_CAP, CAP_GROWTH = 4.0, 2.0, 4.0
LEAST_FACTOR = 1.05  # a trial so near to t2 is not worth its price
SLACK = 1e-12  # of the log-likelihood: what rounding may take
MAX_PAUSE = 8  # plain steps between two trials where trials keep failing


def check_acceleration(acceleration):
    """Return None or the name of an acceleration; raise InvalidParameterError if there is none of that name."""
    if acceleration is None or (isinstance(acceleration, str) and acceleration in NAMES):
        return acceleration
    raise InvalidParameterError(
        f"acceleration must be None or one of {', '.join(map(repr, NAMES))}, got {acceleration!r}"
    )


def begin(acceleration, family, start, source, state=None, feasible=lambda parameters: parameters):
    """Return the path that a fit takes from a start.

    Parameters
    ----------
    acceleration : {None, "squarem"}
    family : Family
    start : Parameters
    source : object with ``moments()`` and ``dtype``
    state : tuple, optional
        `Squarem.state` of a fit that ended. If it ended at this start, over the same rows, it goes on.
    feasible : callable, optional
        Returns Parameters that a fit may come to, close to others.

    Returns
    -------
    Plain or Squarem
    """
    if acceleration is None:
        return Plain(start)
    path = Squarem(start, start, family, feasible, Units.of(source.moments()))
    if state is None:
        return path
    mark, moments, kept, trial, *numbers = state
    same_rows = all(np.array_equal(a, b) for a, b in zip(moments, path.units.moments, strict=True))
    if not same_rows or mark != _mark(start, source.dtype):
        return path
    point = start if trial is None else path.parameters_at(trial)
    return Squarem(point, start, family, feasible, path.units, None, kept, trial, *numbers)


def _mark(params, dtype):
    """Return a number that tells parameters, as arrays of a dtype, from others."""
    return zlib.crc32(b"".join(array.astype(dtype).tobytes() for array in params.arrays()))


class Plain(NamedTuple):
    """EM itself: the next pass is made at what the last M-step led to.

    Attributes
    ----------
    point : Parameters
        Where the next pass is made.
    bound : float
        Mean log-likelihood at the last point that was kept.
    """

    point: Parameters
    bound: float = -np.inf
    on_trial = False
    rate = None

    @property
    def parameters(self):
        """What the last M-step led to."""
        return self.point

    def accepts(self, bound):
        """Whether a point of this bound is kept: it always is."""
        return True

    def afresh(self, start):
        """Return a path from a start that no step of EM has led to."""
        return Plain(start)

    def after(self, bound, mapped):
        """Return the path after a pass at `point`, which is kept.

        Parameters
        ----------
        bound : float
            Mean log-likelihood at `point`.
        mapped : Parameters
            What EM maps `point` to.
        """
        return Plain(mapped, bound)

    def state(self, dtype):
        """Return None: nothing is needed to go on."""


class Units(NamedTuple):
    """Origin (D,) and units (D,) of the coordinates, and the moments of the rows that they come from."""

    centre: np.ndarray
    scale: np.ndarray
    moments: tuple

    @classmethod
    def of(cls, moments):
        """Return those of rows with a mean, variances and total weight; a constant feature has the unit one."""
        mean, variances, _ = moments
        return cls(mean, np.where(variances > 0, np.sqrt(variances), 1.0), moments)


@dataclass(frozen=True, eq=False)
class Squarem:
    """A path of SQUAREM between two passes. Nothing in it changes, so that a fit can be continued from it twice.

    Attributes
    ----------
    point, bound
        As in `Plain`.
    parameters : Parameters
        What EM maps the last point that was kept to.
    family : Family
    feasible : callable
        As in `begin`.
    units : Units
    image : array or None
        Coordinates of `parameters`, if they are known.
    kept : array or None
        Coordinates of the last point that was kept, None before the first pass.
    trial : array or None
        Coordinates of `point`, if that is a trial.
    factor : float
        The trial's a.
    cap : float
        Largest a of the next trial.
    wait : int
        Plain steps still to make before a trial.
    pause : int
        Plain steps to make after the next failure: doubled by each in a row.
    rate : float or None
        Rate of gains that the last step shows. The direction that EM is slowest in takes at least the share 1 - |v| /
        |r| of a step to the next, and gains are quadratic in the distance from the optimum.
    """

    point: Parameters
    parameters: Parameters
    family: object
    feasible: object
    units: Units
    image: np.ndarray | None = None
    kept: np.ndarray | None = None
    trial: np.ndarray | None = None
    bound: float = -np.inf
    factor: float = 1.0
    cap: float = FIRST_CAP
    wait: int = PLAIN_STEPS
    pause: int = 0
    rate: float | None = None

    @property
    def on_trial(self):
        """Whether the next pass is made at a point that may be given up."""
        return self.trial is not None

    def state(self, dtype):
        """Return what `begin` needs to go on, in plain values, if what is returned is `parameters` of a dtype."""
        numbers = self.bound, self.factor, self.cap, self.wait, self.pause, self.rate
        return _mark(self.parameters, dtype), self.units.moments, self.kept, self.trial, *numbers

    def accepts(self, bound):
        """Whether a point of this bound is kept: a trial is not, if it is worse than the point before."""
        return not self.on_trial or bound >= self.bound - SLACK * abs(self.bound)

    def afresh(self, start):
        """Return a path from a start that no step of EM has led to."""
        return Squarem(start, start, self.family, self.feasible, self.units)

    def back(self):
        """Return the path after a trial that is given up, for what EM led to before it."""
        waits = {"wait": self.pause, "pause": min(max(2 * self.pause, 1), MAX_PAUSE)}
        return replace(self, point=self.parameters, trial=None, cap=max(self.cap / 2, MIN_CAP), **waits)

    def after(self, bound, mapped):
        """Return the path after a pass at `point`, which is kept: as `Plain.after`."""
        if self.on_trial:
            cap = self.cap * CAP_GROWTH if self.factor == self.cap else self.cap
            kept = {"kept": self.trial, "bound": bound, "parameters": mapped, "image": None}
            return replace(self, point=mapped, trial=None, cap=cap, pause=0, **kept)
        here = self._coordinates(self.point) if self.image is None else self.image
        image = self._coordinates(mapped)
        path = Squarem(mapped, mapped, self.family, self.feasible, self.units, image, here, bound=bound)
        path = replace(path, cap=self.cap, wait=max(self.wait - 1, 0), pause=self.pause)
        if self.kept is None:
            return path
        with np.errstate(invalid="ignore"):  # a component without mass has no coordinates: inf - inf
            step = here - self.kept
            bend = image - here - step
            length, bent = math.sqrt(step @ step), math.sqrt(bend @ bend)
        if not (math.isfinite(length) and math.isfinite(bent) and min(length, bent) > 0):
            return path
        rate, factor = max(1 - bent / length, 0.0) ** 2, min(length / bent, self.cap)
        if self.wait > 0 or factor < LEAST_FACTOR:
            return replace(path, rate=rate)
        return replace(path, rate=rate)._on_trial(self.kept + 2 * factor * step + factor**2 * bend, factor)

    def _on_trial(self, trial, factor):
        """Return the path with the next pass at coordinates, or near them; without a trial if no mixture is there."""
        point = self.parameters_at(trial)
        if point is None:
            return self
        try:
            feasible = self.feasible(point)
        except IllDefinedCovarianceError:
            return self
        if feasible is not point:
            trial = self._coordinates(feasible)
            point = self.parameters_at(trial)
        return replace(self, point=point, trial=trial, factor=factor)

    def _coordinates(self, params):
        """Return free coordinates: logarithms of weights, means in standard deviations of the rows, covariances."""
        centre, scale, _ = self.units
        with np.errstate(divide="ignore"):
            log_weights = np.log(params.weights)
        covariances = self.family.to_coordinates(params.precisions_cholesky, scale)
        return np.concatenate([log_weights, ((params.means - centre) / scale).ravel(), covariances.ravel()])

    def parameters_at(self, coordinates):
        """Return the Parameters at coordinates; None if a number there overflows."""
        like, (centre, scale, _) = self.parameters, self.units
        K, before = like.weights.size, like.weights.size + like.means.size
        with np.errstate(all="ignore"):
            weights = np.exp(coordinates[:K] - coordinates[:K].max())
            means = centre + scale * coordinates[K:before].reshape(like.means.shape)
            shaped = coordinates[before:].reshape(like.precisions_cholesky.shape)
            params = Parameters(weights / weights.sum(), means, *self.family.from_coordinates(shaped, scale))
        return params if all(np.isfinite(array).all() for array in params.arrays()) else None
