"""Steps of EM that are made before they are asked for: several in one call where passes are short.

On a few hundred rows a pass takes less time than the Python around it. What comes out is what single steps give, to the
bit, so that whoever goes from step to step need not know. Steps that turn out not to be wanted cost little: few are
made at first, then as many as have been taken before, up to a limit, and none beyond what the rule of stopping is
likely to say.
"""

import math

from fastgmm.covariance import Parameters
from fastgmm.covariance.base import MIN_MASS, MOST_SPREAD
from fastgmm.engine.steps import Limits

__all__ = ["MAX_CANCELLATION", "Ahead"]

MAX_CANCELLATION = 1e6  # beyond this factor an M-step's statistics are taken again about the new means
AT_ONCE = 16  # steps


class Ahead:
    """Steps of plain EM over a source.

    Parameters
    ----------
    source : Source
    family : Family
    reg_covar : float
    shift : (D,) array
    enough : float
        Gain of the mean log-likelihood by which steps are likely to end: 0 if nothing is known of that.
    at_first : int
        How many steps are made of the first point.
    """

    def __init__(self, source, family, reg_covar, shift, enough, at_first):
        self._source, self._family, self._reg_covar = source, family, reg_covar
        self._shift, self._enough = shift, enough
        self._steps = self._made = None
        self._goes = family.stepped
        self._bounds, self._at, self._count, self._at_first = [], 0, at_first, at_first
        self._bound, self._last = -math.inf, None

    def next(self, point, most):
        """Return the mean log-likelihood at Parameters and what EM maps them to; None if that is to be found elsewhere.

        Parameters
        ----------
        point : Parameters
        most : int
            Number of steps that may still be asked for, this one included.
        """
        if not self._goes:
            return None
        if point is not self._last:
            self._bound, self._count = -math.inf, self._at_first
            self._make(point, min(self._count, most))
        elif self._at == len(self._bounds):
            self._count = min(2 * self._count, AT_ONCE)
            self._make(point, min(self._count, most))
        if self._at == len(self._bounds):
            return None
        at, (weights, means, covariances, factors) = self._at, self._made
        self._bound, self._at = self._bounds[at], at + 1
        self._last = Parameters(weights[at], means[at], covariances[at], factors[at])
        return self._bound, self._last

    def _make(self, point, count):
        """Make up to so many steps from a point."""
        self._bounds, self._at = [], 0
        if self._steps is None:
            constants = self._family.constants(point, dtype=self._source.dtype, shift=self._shift)
            limits = Limits(MIN_MASS, MAX_CANCELLATION, MOST_SPREAD[self._source.dtype.itemsize])
            if constants.kind == self._family.kind:
                self._steps = self._source.steps(constants, self._reg_covar, limits)
            self._goes = self._steps is not None
        if self._goes:
            arrays = point.weights, point.means, self._family.factors(point)[1]
            self._bounds, *self._made = self._steps.run(*arrays, count, self._bound, self._enough)
            if self._family.container in ("full", "tied"):  # U is the transposed of what the kernels read
                self._made[3] = self._made[3].swapaxes(-1, -2)
