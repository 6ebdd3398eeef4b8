"""diag (mclust: VVI): each component has its own variance in each feature, Sigma_k = diag(W_k) / n_k."""

import numpy as np

from fastgmm.covariance import _variances
from fastgmm.covariance.base import MIN_MASS, Family

__all__ = ["Diag"]


class Diag(Family):
    """Each component has its own diagonal covariance matrix."""

    name = "diag"
    summary = "each component its own variances, no correlations"

    def covariance_shape(self, n_components, n_features):
        return n_components, n_features

    def n_parameters(self, n_components, n_features):
        return n_components * n_features

    def statistics_kind(self):
        return "diagonal"

    def maximise_covariances(self, stats, reg_covar, previous):
        empty = stats.n <= MIN_MASS * stats.n.sum()
        variances = stats.within() / np.where(empty, 1.0, stats.n)[:, None] + reg_covar
        if previous is not None and empty.any():
            variances[empty] = previous[empty]
        return variances

    def from_covariances(self, covariances, n_components, n_features):
        return _variances.factor_of_inverse(covariances)

    def from_precisions(self, precisions, n_components, n_features):
        return _variances.from_precisions(precisions, "diag precision")

    def precisions(self, precisions_cholesky):
        return precisions_cholesky**2

    def factors(self, params):
        inverse = params.precisions_cholesky.astype(np.float64)
        return "diagonal", inverse, np.log(inverse).sum(axis=1)

    def dense_covariances(self, covariances, n_components, n_features):
        return covariances[:, :, None] * np.eye(n_features, dtype=covariances.dtype)

    def scale_draws(self, params, component, normal):
        return normal / params.precisions_cholesky[component].astype(np.float64)
