"""full (mclust: VVV): each component has its own covariance, Sigma_k = W_k / n_k."""

import numpy as np

from fastgmm.covariance import _matrices
from fastgmm.covariance.base import MIN_MASS, Family

__all__ = ["Full"]


class Full(Family):
    """Each component has its own unrestricted covariance matrix."""

    name = "full"
    summary = "each component its own matrix"

    def covariance_shape(self, n_components, n_features):
        return n_components, n_features, n_features

    def n_parameters(self, n_components, n_features):
        return n_components * n_features * (n_features + 1) // 2

    def statistics_kind(self):
        return "full"

    def maximise_covariances(self, stats, reg_covar, previous):
        empty = stats.n <= MIN_MASS * stats.n.sum()
        covariances = stats.within() / np.where(empty, 1.0, stats.n)[:, None, None]
        diagonal = np.arange(stats.n_features)
        covariances[:, diagonal, diagonal] += reg_covar
        if previous is not None and empty.any():
            covariances[empty] = previous[empty]
        return covariances

    def from_covariances(self, covariances, n_components, n_features):
        return _matrices.factor_of_inverse(covariances)

    def lift(self, covariances, n_components, n_features):
        return _matrices.lift(covariances)

    def from_precisions(self, precisions, n_components, n_features):
        return _matrices.from_precisions(precisions, "full precision")

    def precisions(self, precisions_cholesky):
        return precisions_cholesky @ precisions_cholesky.transpose(0, 2, 1)

    def factors(self, params):
        U = params.precisions_cholesky
        return "full", _matrices.lower(U), _matrices.log_determinants(U)

    def dense_covariances(self, covariances, n_components, n_features):
        return covariances

    def scale_draws(self, params, component, normal):
        return _matrices.scale(params.precisions_cholesky[component], normal)
