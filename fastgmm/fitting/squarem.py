"""SQUAREM: two steps of EM say where many would lead (Varadhan and Roland 2008, Scand. J. Statist. 35:335).

With steps r = t1 - t0 and t2 - t1 = r + v the next pass is made at t0 + 2 a r + a^2 v with a = |r| / |v|: the fixed
point, if EM were linear with one rate. A trial that gains less over t1 than half of what t2 promises is given up for
t2, at the price of the pass made there. No trial is longer than a radius, and none is made where EM's own steps are as
long, nor where more passes would be lost than may be.
"""

import math
from dataclasses import dataclass

import numpy as np

from fastgmm.covariance import Parameters
from fastgmm.engine._coordinates import inner
from fastgmm.fitting.convergence import ROUNDING
from fastgmm.fitting.coordinates import Coordinates
from fastgmm.fitting.path import LEAST_REACH, RADIUS, Path

__all__ = ["Squarem"]

FIRST_CAP, MIN_CAP, CAP_GROWTH = 4.0, 2.0, 4.0
LEAST_GAIN = 0.5  # of a trial, in what a step of EM promises
MAX_GROWTH = 1.5  # of a step of EM over the one before: beyond that EM leaves a saddle, and is soon away
LEAST_FACTOR = 1.05  # a trial so near to t2 is not worth its price


@dataclass(frozen=True, eq=False)
class Squarem(Path):
    """A path of SQUAREM between two passes. Nothing in it changes, so that a fit can be continued from it twice.

    Attributes
    ----------
    point, bound
        As in `Plain`.
    parameters : Parameters
        What EM maps the last point that was kept to.
    coordinates : Coordinates
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
    promised : float
        What a step of EM in place of the trial would gain: the log-likelihood gains the square of a step's length.
    passes, lost : int
        Passes so far, and those at trials that were given up.
    rate : float or None
        Rate of gains that the last step shows. The direction that EM is slowest in takes at least the share 1 - |v| /
        |r| of a step to the next, and gains are quadratic in the distance from the optimum.
    """

    point: Parameters
    parameters: Parameters
    coordinates: Coordinates
    image: np.ndarray | None = None
    kept: np.ndarray | None = None
    trial: np.ndarray | None = None
    bound: float = -np.inf
    factor: float = 1.0
    cap: float = FIRST_CAP
    promised: float = 0.0
    passes: int = 0
    lost: int = 0
    rate: float | None = None
    name = "squarem"
    gain = None

    @classmethod
    def resume(cls, start, coordinates, numbers):
        """Return the path that `state` tells of, at the start that it led to."""
        kept, trial, *others = numbers
        point = start if trial is None else coordinates.at(trial, start)
        return cls(point, start, coordinates, None, kept, trial, *others)

    def state(self):
        """Return what `resume` needs, in plain values."""
        numbers = self.bound, self.factor, self.cap, self.promised, self.passes, self.lost, self.rate
        return self.kept, self.trial, *numbers

    def accepts(self, bound):
        """Whether a point of this bound is kept: a trial is not, if it gains less than a part of a step of EM."""
        return not self.on_trial or bound >= self.bound + LEAST_GAIN * self.promised

    def back(self):
        """Return the path after a trial that is given up, for what EM led to before it."""
        counts = {"passes": self.passes + 1, "lost": self.lost + 1}
        return self.changed(point=self.parameters, trial=None, cap=max(self.cap / 2, MIN_CAP), **counts)

    def after(self, bound, mapped):
        """Return the path after a pass at `point`, which is kept: as `Plain.after`."""
        if self.on_trial:
            cap = self.cap * CAP_GROWTH if self.factor == self.cap else self.cap
            kept = {"kept": self.trial, "bound": bound, "parameters": mapped, "image": None}
            return self.changed(point=mapped, trial=None, cap=cap, passes=self.passes + 1, **kept)
        here = self.coordinates.of(self.point) if self.image is None else self.image
        image = self.coordinates.of(mapped)
        path = Squarem(mapped, mapped, self.coordinates, image, here, bound=bound)
        path = path.changed(cap=self.cap, passes=self.passes + 1, lost=self.lost)
        if self.kept is None:
            return path
        with np.errstate(invalid="ignore"):  # a component without mass has no coordinates: inf - inf
            step = here - self.kept
            next_step = image - here
            bend = next_step - step
            length, bent = math.sqrt(inner(step, step)), math.sqrt(inner(bend, bend))
        if not (math.isfinite(length) and math.isfinite(bent) and min(length, bent) > 0):
            return path
        path = path.changed(rate=max(1 - bent / length, 0.0) ** 2)
        growth = math.sqrt(inner(next_step, next_step)) / length
        gain = bound - self.bound
        most = RADIUS / math.sqrt(gain) if gain > ROUNDING * abs(bound) else 0.0
        factor = min(length / bent, self.cap, most)
        if growth > MAX_GROWTH or most < LEAST_REACH or factor < LEAST_FACTOR or not path.affords():
            return path
        path = path.changed(promised=gain * growth**2)
        return path._on_trial(self.kept + 2 * factor * step + factor**2 * bend, factor)

    def _on_trial(self, trial, factor):
        """Return the path with the next pass at coordinates, or near them; without a trial if no mixture is there."""
        found = self.coordinates.trial(trial, self.parameters)
        return self if found is None else self.changed(point=found[0], trial=found[1], factor=factor)
