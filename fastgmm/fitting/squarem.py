"""SQUAREM: two steps of EM say where many would lead (Varadhan and Roland 2008, Scand. J. Statist. 35:335).

With steps r = t1 - t0 and t2 - t1 = r + v the next pass is made at t0 + 2 a r + a^2 v with a = |r| / |v|: the fixed
point, if EM were linear with one rate. A trial that turns out to be worse than t1 is given up for t2, at the price of
the pass made there.
"""

import math
from dataclasses import dataclass

import numpy as np

from fastgmm.covariance import Parameters
from fastgmm.engine._coordinates import inner
from fastgmm.fitting.coordinates import SLACK, Coordinates
from fastgmm.fitting.path import Path

__all__ = ["Squarem"]

PLAIN_STEPS = 3  # the first steps from a start are large and follow no rate
FIRST_CAP, MIN_CAP, CAP_GROWTH = 4.0, 2.0, 4.0
LEAST_FACTOR = 1.05  # a trial so near to t2 is not worth its price
MAX_PAUSE = 8  # plain steps between two trials where trials keep failing


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
    coordinates: Coordinates
    image: np.ndarray | None = None
    kept: np.ndarray | None = None
    trial: np.ndarray | None = None
    bound: float = -np.inf
    factor: float = 1.0
    cap: float = FIRST_CAP
    wait: int = PLAIN_STEPS
    pause: int = 0
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
        return self.kept, self.trial, self.bound, self.factor, self.cap, self.wait, self.pause, self.rate

    def accepts(self, bound):
        """Whether a point of this bound is kept: a trial is not, if it is worse than the point before."""
        return not self.on_trial or bound >= self.bound - SLACK * abs(self.bound)

    def back(self):
        """Return the path after a trial that is given up, for what EM led to before it."""
        waits = {"wait": self.pause, "pause": min(max(2 * self.pause, 1), MAX_PAUSE)}
        return self.changed(point=self.parameters, trial=None, cap=max(self.cap / 2, MIN_CAP), **waits)

    def after(self, bound, mapped):
        """Return the path after a pass at `point`, which is kept: as `Plain.after`."""
        if self.on_trial:
            cap = self.cap * CAP_GROWTH if self.factor == self.cap else self.cap
            kept = {"kept": self.trial, "bound": bound, "parameters": mapped, "image": None}
            return self.changed(point=mapped, trial=None, cap=cap, pause=0, **kept)
        here = self.coordinates.of(self.point) if self.image is None else self.image
        image = self.coordinates.of(mapped)
        path = Squarem(mapped, mapped, self.coordinates, image, here, bound=bound)
        path = path.changed(cap=self.cap, wait=max(self.wait - 1, 0), pause=self.pause)
        if self.kept is None:
            return path
        with np.errstate(invalid="ignore"):  # a component without mass has no coordinates: inf - inf
            step = here - self.kept
            bend = image - here - step
            length, bent = math.sqrt(inner(step, step)), math.sqrt(inner(bend, bend))
        if not (math.isfinite(length) and math.isfinite(bent) and min(length, bent) > 0):
            return path
        rate, factor = max(1 - bent / length, 0.0) ** 2, min(length / bent, self.cap)
        if self.wait > 0 or factor < LEAST_FACTOR:
            return path.changed(rate=rate)
        return path.changed(rate=rate)._on_trial(self.kept + 2 * factor * step + factor**2 * bend, factor)

    def _on_trial(self, trial, factor):
        """Return the path with the next pass at coordinates, or near them; without a trial if no mixture is there."""
        found = self.coordinates.trial(trial, self.parameters)
        return self if found is None else self.changed(point=found[0], trial=found[1], factor=factor)
