"""Steps of EM that are made before they are asked for: several in one call where passes are short.

On a few hundred rows a pass takes less time than the Python around it. What comes out is what single steps give, to the
bit, so that whoever goes from step to step need not know. Steps that turn out not to be wanted cost little: few are
made at first, then as many as have been taken before, up to a limit, and none beyond what the rule of stopping is
likely to say.
"""

import math
from typing import NamedTuple

import numpy as np

from fastgmm.covariance import Parameters
from fastgmm.covariance.base import MIN_MASS, MOST_SPREAD, is_shifted
from fastgmm.engine import Scores
from fastgmm.engine.steps import Limits

__all__ = ["MAX_CANCELLATION", "Ahead"]

MAX_CANCELLATION = 1e6  # beyond this factor an M-step's statistics are taken again about the new means
AT_ONCE = 16, 64  # steps, the second where parameters are few
MOST_VALUES = 1 << 16  # of the parameters after as many steps


def _parameters(made, at):
    """Return the Parameters after a step."""
    weights, means, covariances, factors = made
    return Parameters(weights[at], means[at], covariances[at], factors[at])


def _at_once(point):
    """Return how many steps one call makes at the most."""
    few, many = AT_ONCE
    return min(max(MOST_VALUES // (point.means.size + 2 * point.covariances.size), few), many)


class Stretch(NamedTuple):
    """Steps of EM that were made in one call.

    Attributes
    ----------
    start : Parameters
    bounds : list of float
        Mean log-likelihood before each step.
    made : list of arrays
        Weights, means, covariances and factors after each step of the call, along the first axis.
    first : int
        Where the first of these steps is there.
    end : Parameters
        After the last step.
    """

    start: Parameters
    bounds: list
    made: list
    first: int
    end: Parameters

    def step(self, number):
        """Return the Parameters before and after a step."""
        before = _parameters(self.made, self.first + number - 1) if number else self.start
        is_last = number == len(self.bounds) - 1
        return before, self.end if is_last else _parameters(self.made, self.first + number)


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
        if not self._is_ready(point, most):
            return None
        self._bound, self._last = self._bounds[self._at], _parameters(self._made, self._at)
        self._at += 1
        return self._bound, self._last

    def stretch(self, point, most):
        """Return a Stretch of as many steps from Parameters as are made in one call, as `next` would give them."""
        if not self._is_ready(point, most):
            return None
        first, self._at = self._at, len(self._bounds)
        self._bound, self._last = self._bounds[-1], _parameters(self._made, self._at - 1)
        return Stretch(point, self._bounds[first:], self._made, first, self._last)

    def scores(self, parameters):
        """Return the Scores of all rows under Parameters, as their source gives them, where steps have been made.

        None where they have not, and where kernels take a shift off the rows, which is another one in a `Mixture`.
        """
        if self._steps is None or is_shifted(self._family.kind, self._source.dtype):
            return None
        found = self._steps.score(parameters.weights, parameters.means, self._family.factors(parameters)[1])
        return None if found is None else Scores(*found)

    def _is_ready(self, point, most):
        """Return whether a step from a point is made, after making some if there is none."""
        if not self._goes:
            return False
        if point is not self._last:
            self._bound, self._count = -math.inf, self._at_first
            self._make(point, min(self._count, most))
        elif self._at == len(self._bounds):
            self._count = min(2 * self._count, _at_once(point))
            self._make(point, min(self._count, most))
        return self._at < len(self._bounds)

    def _make(self, point, count):
        """Make up to so many steps from a point."""
        self._bounds, self._at = [], 0
        if self._steps is None:
            kind, dtype = self._family.kind, self._source.dtype
            shift = self._shift if is_shifted(kind, dtype) else np.zeros(len(self._shift))
            limits = Limits(MIN_MASS, MAX_CANCELLATION, MOST_SPREAD[dtype.itemsize])
            options = self._reg_covar, limits, self._family.structure
            self._steps = self._source.steps(kind, point.n_components, shift, *options)
            self._goes = self._steps is not None
        if self._goes:
            covariances = np.ascontiguousarray(point.covariances, dtype=np.float64)
            arrays = point.weights, point.means, covariances, self._family.factors(point)[1]
            self._bounds, *self._made = self._steps.run(*arrays, count, self._bound, self._enough)
            if self._family.container in ("full", "tied"):  # U is the transposed of what the kernels read
                self._made[3] = self._made[3].swapaxes(-1, -2)
