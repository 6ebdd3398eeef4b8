"""Where the next pass is made: at what the last M-step led to, or further along the way that EM takes.

`Plain` is EM itself. `LBFGS` and `Squarem` make passes at trials where the last steps of EM promise more. A trial that
does not keep that promise is given up for what EM led to before it, at the price of the pass made there. So the
log-likelihood of the points that are kept never falls, and what a fit returns always comes from an M-step.
"""

import zlib
from typing import NamedTuple

import numpy as np

from fastgmm._errors import InvalidParameterError
from fastgmm.covariance import Parameters
from fastgmm.fitting.coordinates import Coordinates
from fastgmm.fitting.lbfgs import LBFGS
from fastgmm.fitting.squarem import Squarem

__all__ = ["NAMES", "Plain", "begin", "check_acceleration", "state"]

PATHS = {path.name: path for path in (LBFGS, Squarem)}
NAMES = tuple(PATHS)


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
    acceleration : {None, "lbfgs", "squarem"}
    family : Family
    start : Parameters
    source : object with ``moments()`` and ``dtype``
    state : tuple, optional
        `state` of a path that ended. If it ended at this start, over the same rows, it goes on.
    feasible : callable, optional
        Returns Parameters that a fit may come to, close to others.

    Returns
    -------
    Plain, LBFGS or Squarem
    """
    if acceleration is None:
        return Plain(start)
    coordinates = Coordinates.about(family, source.moments(), feasible)
    path = PATHS[acceleration]
    if state is not None:
        name, mark, moments, *numbers = state
        same_rows = all(np.array_equal(a, b) for a, b in zip(moments, coordinates.moments, strict=True))
        if name == acceleration and same_rows and mark == _mark(start, source.dtype):
            return path.resume(start, coordinates, numbers)
    return path.begin(start, coordinates)


def state(path, dtype):
    """Return what `begin` needs to go on, in plain values, if what is returned is `path.parameters` of a dtype."""
    if path.name is None:
        return None
    return path.name, _mark(path.parameters, dtype), path.coordinates.moments, *path.state()


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
    name : str or None
        The acceleration.
    on_trial : bool
        Whether the next pass is made at a point that may be given up.
    rate : float or None
        Rate of gains that the last step shows, where more is known than the ratio of the last two.
    gain : float or None
        What a step of EM from the last point gains, where that is known before it is made.
    """

    point: Parameters
    bound: float = -np.inf
    name = None
    on_trial = False
    rate = None
    gain = None

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
