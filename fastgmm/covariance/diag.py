"""diag (mclust: VVI): each component has its own variance in each feature, Sigma_k = diag(W_k) / n_k."""

import numpy as np

from fastgmm.covariance import _variances
from fastgmm.covariance.base import Family
from fastgmm.engine._linalg import log_rows, per_mass

__all__ = ["Diag"]


class Diag(Family):
    """Each component has its own diagonal covariance matrix."""

    name = "diag"
    kind = "diagonal"
    summary = "each component its own variances, no correlations"
    container = "diag"
    stepped = True

    def covariance_shape(self, n_components, n_features):
        return n_components, n_features

    def n_parameters(self, n_components, n_features):
        return n_components * n_features

    def maximise_covariances(self, stats, mass, reg_covar):
        return per_mass(stats.within(), mass, reg_covar)

    def floored(self, covariances, floor):
        return floor.raise_variances(covariances, self.least(floor), floor.varies)

    def least(self, floor):
        """Return the least variances (D,) above a floor."""
        return floor.share * floor.deviations**2

    def from_covariances(self, covariances, n_components, n_features):
        return _variances.factor_of_inverse(covariances)

    def from_precisions(self, precisions, n_components, n_features):
        return _variances.from_precisions(precisions, "diag precision")

    def precisions(self, precisions_cholesky):
        return precisions_cholesky**2

    def factors(self, params):
        inverse = np.ascontiguousarray(params.precisions_cholesky, dtype=np.float64)
        return self.kind, inverse, log_rows(inverse)

    def to_coordinates(self, precisions_cholesky, scale):
        return np.log(precisions_cholesky * scale)

    def from_coordinates(self, coordinates, scale):
        return np.exp(-2 * coordinates) * scale**2, np.exp(coordinates) / scale

    def dense_covariances(self, covariances, n_components, n_features):
        return covariances[:, :, None] * np.eye(n_features, dtype=covariances.dtype)

    def scale_draws(self, params, component, normal):
        return normal / params.precisions_cholesky[component].astype(np.float64)
