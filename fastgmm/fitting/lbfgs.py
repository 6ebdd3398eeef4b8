"""Limited-memory BFGS on steps of EM: a trial at every pass, from what the last few steps tell of the curvature.

A step of EM, f = M(t) - t, is the gradient of the log-likelihood over the complete-data information
(`fastgmm.fitting.coordinates`). Where it shrinks along a step s by y = f(t) - f(t + s), that tells the observed
information along s. Nocedal's recursion (1980, Math. Comp. 35:773) turns pairs (s, y) into a quasi-Newton direction.
Inner products are those of the complete-data information, for which EM is steepest ascent, so that the recursion begins
with EM's own step (Jamshidian and Jennrich 1997, J. R. Statist. Soc. B 59:569). A pair belongs to the point where it
was seen; its steps are taken over to others as they are, in units of each component's own spread.

No trial is longer than a radius, and none is made where EM's own steps are as long: there the log-likelihood is no
quadratic, trials fail, and EM is fast. Nor is one made where a step of EM leaves little of the gradient.

A trial is kept if it gains at least a tenth of |f|^2; near an optimum a step of EM gains between half of that square
and all of it. Else it is given up for what EM led to before it, and the pairs are forgotten. Passes lost in this way
may be a fifth of the others. Among those count the passes that other trials save, less what they fall short of EM.
"""

import math
from dataclasses import dataclass

import numpy as np

from fastgmm.covariance import Parameters
from fastgmm.engine._coordinates import inner, quasi_newton
from fastgmm.engine._linalg import all_finite
from fastgmm.fitting.convergence import ROUNDING
from fastgmm.fitting.coordinates import Coordinates, step
from fastgmm.fitting.path import LEAST_REACH, RADIUS, Path

__all__ = ["LBFGS"]

MEMORY = 5  # pairs
LEAST_GAIN = 0.1  # of a trial, in |f|^2
TURN = 0.5  # cosine between two steps of EM that are on one way: before that nothing is tried
MIN_SHARE = 0.1  # of |f|^2 that a step of EM leaves: where it leaves less, there is little to save
MAX_SCALE = 3.0  # of the direction's part that no pair knows
LEAST_CURVATURE = 1e-8  # s.y / y.y of a pair: less is a saddle or rounding


@dataclass(frozen=True, eq=False)
class LBFGS(Path):
    """A path of L-BFGS between two passes. Nothing in it changes, so that a fit can be continued from it twice.

    Attributes
    ----------
    point, bound, gain
        As in `Plain`.
    parameters : Parameters
        What EM maps the last point that was kept to.
    coordinates : Coordinates
    kept, image : array or None
        Coordinates of the last point that was kept, None before the first pass, and of `parameters`.
    trial : array or None
        Coordinates of `point`, if that is a trial.
    ahead : array or None
        The `step` from the last point that was kept to the trial.
    em : array or None
        The `step` of EM at the last point that was kept.
    pairs : tuple
        Pairs (s, y), the oldest first: each in coordinates and as steps of known length.
    radius : float
        Largest length of a trial, where that is `LEAST_REACH` steps of EM or more.
    reach : float
        Length of the last trial.
    passes, lost, saved : int, int, float
        Passes so far, those at trials that were given up, and those that other trials have saved.
    rate : float or None
        As in `Plain`: the square of the share of the step of EM that is left after the last step, along that.
    """

    point: Parameters
    parameters: Parameters
    coordinates: Coordinates
    kept: np.ndarray | None = None
    image: np.ndarray | None = None
    trial: np.ndarray | None = None
    ahead: np.ndarray | None = None
    em: np.ndarray | None = None
    pairs: tuple = ()
    bound: float = -np.inf
    radius: float = RADIUS
    reach: float = 0.0
    passes: int = 0
    lost: int = 0
    saved: float = 0.0
    rate: float | None = None
    name = "lbfgs"

    @classmethod
    def resume(cls, start, coordinates, numbers):
        """Return the path that `state` tells of, at the start that it led to."""
        kept, image, trial, *others = numbers
        point = start if trial is None else coordinates.at(trial, start)
        return cls(point, start, coordinates, kept, image, trial, *others)

    def state(self):
        """Return what `resume` needs, in plain values."""
        places = self.kept, self.image, self.trial, self.ahead, self.em, self.pairs
        return *places, self.bound, self.radius, self.reach, self.passes, self.lost, self.saved, self.rate

    @property
    def gain(self):
        """What a step of EM from the last point that was kept gains at most, near an optimum."""
        return inner(self.em, self.em)

    def accepts(self, bound):
        """Whether a point of this bound is kept: a trial is not, if it gains less than a part of a step of EM."""
        if not self.on_trial:
            return True
        return bound >= self.bound - ROUNDING * abs(self.bound) + LEAST_GAIN * self.gain

    def back(self):
        """Return the path after a trial that is given up, for what EM led to before it."""
        counts = {"passes": self.passes + 1, "lost": self.lost + 1}
        return self.changed(point=self.parameters, trial=None, pairs=(), radius=self.reach / 2, **counts)

    def after(self, bound, mapped):
        """Return the path after a pass at `point`, which is kept: as `Plain.after`."""
        family, tried = self.coordinates.family, self.on_trial
        if tried:
            here, ahead = self.trial, self.ahead
        else:
            here, ahead = self.coordinates.of(self.point) if self.image is None else self.image, self.em
        image, em = self.coordinates.of(mapped), step(family, self.point, mapped)
        saved, radius = self.saved, self.radius
        if tried:
            saved += min((bound - self.bound) / self.gain, self.reach / math.sqrt(self.gain)) - 1
            radius = min(2 * self.reach, RADIUS) if self.reach >= radius else radius
        places = {"point": mapped, "parameters": mapped, "kept": here, "image": image, "em": em, "trial": None}
        counts = {"passes": self.passes + 1, "saved": saved, "radius": radius}
        path = self.changed(bound=bound, rate=None, **places, **counts)
        if self.kept is None or not (all_finite(image) and all_finite(here) and all_finite(em)):
            return path.changed(pairs=())
        pair = here - self.kept, (self.image - self.kept) - (image - here), ahead, self.em - em
        return path._learn(pair, self.point, tried)

    def _learn(self, pair, here, tried):
        """Return the path with one more pair, and a trial if there is reason for one; `here` is the point kept."""
        _, _, s_length, y_length = pair
        curvature, length = inner(s_length, y_length), inner(s_length, s_length)
        if not (math.isfinite(curvature) and 0 < length < math.inf):
            return self.changed(pairs=())
        pairs = self.pairs
        if curvature > LEAST_CURVATURE * inner(y_length, y_length):
            pairs = (*pairs[-MEMORY + 1 :], pair)
        path = self.changed(pairs=pairs, rate=max(1 - curvature / length, 0.0) ** 2)
        return path._try(here) if pairs and (tried or self._is_slow(y_length)) and path.affords(self.saved) else path

    def _is_slow(self, change):
        """Whether the last two steps of EM went one way, and left much to do; the later is less by `change`."""
        before = self.em + change
        gain, square = self.gain, inner(before, before)
        return gain >= MIN_SHARE * square and inner(self.em, before) >= TURN * math.sqrt(gain * square)

    def _try(self, here):
        """Return the path with the next pass at a trial; without one if no direction leads up, or to a mixture."""
        ahead, length = quasi_newton(self.pairs, self.image - self.kept, self.em, MAX_SCALE)
        least, wanted = LEAST_REACH * math.sqrt(self.gain), math.sqrt(inner(length, length))
        if not (0 < least <= RADIUS and inner(length, self.em) > 0 and math.isfinite(wanted)):
            return self
        reach = min(wanted, max(self.radius, least))
        found = self.coordinates.trial(self.kept + ahead * (reach / wanted), self.parameters)
        if found is None:
            return self
        point, trial = found
        return self.changed(point=point, trial=trial, ahead=step(self.coordinates.family, here, point), reach=reach)
