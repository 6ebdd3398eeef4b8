"""full (mclust: VVV): each component has its own covariance, Sigma_k = W_k / n_k."""

from fastgmm.covariance import _matrices
from fastgmm.covariance.base import Family
from fastgmm.engine._coordinates import from_log_cholesky, log_cholesky
from fastgmm.engine._linalg import log_diagonals, per_mass

__all__ = ["Full"]


class Full(Family):
    """Each component has its own unrestricted covariance matrix."""

    name = "full"
    kind = "full"
    summary = "each component its own matrix"
    container = "full"
    stepped = True

    def covariance_shape(self, n_components, n_features):
        return n_components, n_features, n_features

    def n_parameters(self, n_components, n_features):
        return n_components * n_features * (n_features + 1) // 2

    def maximise_covariances(self, stats, mass, reg_covar):
        return per_mass(stats.within(), mass, reg_covar)

    def floored(self, covariances, floor):
        return floor.raise_matrices(covariances)

    def from_covariances(self, covariances, n_components, n_features):
        return _matrices.factor_of_inverse(covariances)

    def lift(self, covariances, n_components, n_features):
        return _matrices.lift(covariances)

    def from_precisions(self, precisions, n_components, n_features):
        return _matrices.from_precisions(precisions, "full precision")

    def precisions(self, precisions_cholesky):
        return precisions_cholesky @ precisions_cholesky.transpose(0, 2, 1)

    def factors(self, params):
        W = _matrices.lower(params.precisions_cholesky)
        return self.kind, W, log_diagonals(W)

    def to_coordinates(self, precisions_cholesky, scale):
        return log_cholesky(precisions_cholesky, scale)

    def from_coordinates(self, coordinates, scale):
        return from_log_cholesky(coordinates, scale)

    def dense_covariances(self, covariances, n_components, n_features):
        return covariances

    def scale_draws(self, params, component, normal):
        return _matrices.scale(params.precisions_cholesky[component], normal)
