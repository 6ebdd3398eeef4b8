"""Coordinates that are free of constraints, in which accelerations take their steps, and the length of steps.

Coordinates are logarithms of the weights, means in standard deviations of the rows, and those that families give their
covariances (`Family.to_coordinates`). So every point is a mixture, and units of the features do not matter.

The length of a step is that of the complete-data information, which says how far two mixtures of labelled rows can be
told apart. With precisions U_k U_k^T before the step and V_k V_k^T after it, and B_k = U_k^-1 V_k,

    |step|^2 = sum_k (rho_k - pi_k)^2 / pi_k + pi_k |U_k^T (nu_k - mu_k)|^2 + pi_k (2 |log diag B_k|^2 + |off B_k|^2),

where rho_k and nu_k are weights and means after it (`Family.scaled_step`). A step of EM is the gradient of the mean
log-likelihood divided by that information (Xu and Jordan 1996, Neural Computation 8:129): to first order in the
logarithms. So its length is the gradient's norm, and near an optimum it gains between half the square of that and its
square.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.covariance import Parameters
from fastgmm.engine._coordinates import inner, join, part, weighted_step
from fastgmm.engine._linalg import all_finite, is_plain

__all__ = ["Coordinates", "length", "step"]


class Coordinates(NamedTuple):
    """Free coordinates of the mixtures that a fit may come to.

    Attributes
    ----------
    family : Family
    feasible : callable
        Returns Parameters that a fit may come to, close to others.
    centre, scale : (D,) arrays
        Origin and units of the means.
    moments : tuple
        Mean, variances and total weight of the rows, which the units come from.
    """

    family: object
    feasible: object
    centre: np.ndarray
    scale: np.ndarray
    moments: tuple

    @classmethod
    def about(cls, family, moments, feasible):
        """Return those for rows with a mean, variances and total weight; a constant feature has the unit one."""
        mean, variances, _ = moments
        return cls(family, feasible, mean, np.where(variances > 0, np.sqrt(variances), 1.0), moments)

    def of(self, params):
        """Return the coordinates of Parameters; a component without mass has infinite ones."""
        covariances = self.family.to_coordinates(params.precisions_cholesky, self.scale)
        coordinates = join(params.weights, params.means, self.centre, self.scale, covariances)
        return coordinates if params.noise is None else np.append(coordinates, _odds(params.noise))

    def at(self, coordinates, like):
        """Return the Parameters at coordinates, in the shapes of others; None if a number there overflows."""
        before = like.weights.size + like.means.size
        after = before + like.precisions_cholesky.size
        weights, means = part(coordinates, like.weights.size, self.centre, self.scale)
        with np.errstate(all="ignore"):
            shaped = coordinates[before:after].reshape(like.precisions_cholesky.shape)
            params = Parameters(weights, means, *self.family.from_coordinates(shaped, self.scale))
            if like.noise is not None:
                share = 1 / (1 + np.exp(-coordinates[after]))
                params = replace(params, noise=like.noise.of_weight(share)) if 0 <= share < 1 else None
        if params is None:
            return None
        return params if all(map(_is_finite, params.arrays())) else None

    def trial(self, coordinates, like):
        """Return (Parameters, coordinates) of a trial at coordinates or near them; None if no mixture is there."""
        point = self.at(coordinates, like)
        if point is None:
            return None
        try:
            feasible = self.feasible(point)
        except IllDefinedCovarianceError:
            return None
        if feasible is point:
            return point, coordinates
        coordinates = self.of(feasible)
        point = self.at(coordinates, like)
        return None if point is None else (point, coordinates)


def _odds(noise):
    """Return the coordinate of the share of the noise."""
    with np.errstate(divide="ignore"):
        return np.log(noise.weight) - np.log1p(-noise.weight)


def _is_finite(array):
    """Return whether all numbers of an array are finite."""
    return all_finite(array) if is_plain(array) else bool(np.isfinite(array).all())


def step(family, before, after):
    """Return the step from one mixture to another as a vector whose length is that above.

    Parameters
    ----------
    family : Family
    before, after : Parameters

    Returns
    -------
    (n,) array
        Not finite where a covariance has lost all its width. A component without mass has no part in it.
    """
    means, covariances = family.scaled_step(before, after)
    return weighted_step(before.weights, after.weights, means, covariances, family.shared)


def length(vector):
    """Return the length of a vector (n,) as a float."""
    return math.sqrt(inner(vector, vector))
