"""spherical (mclust: VII): each component has one variance for all features, Sigma_k = I tr(W_k) / (n_k D)."""

import numpy as np

from fastgmm.covariance import _variances
from fastgmm.covariance.base import Family
from fastgmm.engine._linalg import log_rows, per_mass

__all__ = ["Spherical"]


class Spherical(Family):
    """Each component has its own single variance."""

    name = "spherical"
    kind = "spherical"
    summary = "each component its own single variance"
    container = "spherical"
    stepped = True

    def covariance_shape(self, n_components, n_features):
        return (n_components,)

    def n_parameters(self, n_components, n_features):
        return n_components

    def maximise_covariances(self, stats, mass, reg_covar):
        return per_mass(stats.within(), mass * stats.n_features, reg_covar)

    def floored(self, covariances, floor):
        return floor.raise_variances(covariances, self.least(floor), floor.varies.any())

    def least(self, floor):
        """Return the least variance above a floor."""
        return floor.share * floor.mean_variance

    def from_covariances(self, covariances, n_components, n_features):
        return _variances.factor_of_inverse(covariances)

    def from_precisions(self, precisions, n_components, n_features):
        return _variances.from_precisions(precisions, "spherical precision")

    def precisions(self, precisions_cholesky):
        return precisions_cholesky**2

    def factors(self, params):
        inverse = np.ascontiguousarray(params.precisions_cholesky, dtype=np.float64)
        return self.kind, inverse, params.n_features * log_rows(inverse[:, None])

    def to_coordinates(self, precisions_cholesky, scale):
        return np.log(precisions_cholesky)

    def from_coordinates(self, coordinates, scale):
        return np.exp(-2 * coordinates), np.exp(coordinates)

    def dense_covariances(self, covariances, n_components, n_features):
        return covariances[:, None, None] * np.eye(n_features, dtype=covariances.dtype)

    def scale_draws(self, params, component, normal):
        return normal / float(params.precisions_cholesky[component])
