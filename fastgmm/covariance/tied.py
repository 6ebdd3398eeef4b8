"""tied (mclust: EEE): one covariance for all components, Sigma = W / n with W = sum_k W_k.

W is the total scatter less the scatter between components, and the total does not depend on the responsibilities: a
pass needs no second moments. Evaluation rotates each row once by the common factor and is spherical from there on.
"""

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.covariance import _matrices
from fastgmm.covariance.base import Family

__all__ = ["Tied"]


class Tied(Family):
    """All components share one unrestricted covariance matrix."""

    name = "tied"
    summary = "one matrix for all components"

    def covariance_shape(self, n_components, n_features):
        return n_features, n_features

    def n_parameters(self, n_components, n_features):
        return n_features * (n_features + 1) // 2

    def statistics_kind(self):
        # labels may come with components far apart, where total minus between would cancel
        return "full"

    def maximise_covariances(self, stats, reg_covar, previous):
        within = stats.within()
        if stats.kind == "full":
            within = within.sum(axis=0)
        covariance = within / stats.n.sum()
        covariance[np.diag_indices_from(covariance)] += reg_covar
        return covariance

    def from_covariances(self, covariances, n_components, n_features):
        try:
            return _matrices.factor_of_inverse(covariances[None])[0]
        except IllDefinedCovarianceError:
            raise IllDefinedCovarianceError(None, covariances.dtype == np.float32) from None

    def lift(self, covariances, n_components, n_features):
        lifted, factors = _matrices.lift(covariances[None])
        return lifted[0], factors[0]

    def from_precisions(self, precisions, n_components, n_features):
        covariances, factors = _matrices.from_precisions(precisions[None], "tied precision")
        return covariances[0], factors[0]

    def precisions(self, precisions_cholesky):
        return precisions_cholesky @ precisions_cholesky.T

    def factors(self, params):
        U = params.precisions_cholesky
        log_det = _matrices.log_determinants(U[None])[0]
        return "rotated", _matrices.lower(U), np.full(params.n_components, log_det)

    def dense_covariances(self, covariances, n_components, n_features):
        return np.broadcast_to(covariances, (n_components, n_features, n_features))

    def scale_draws(self, params, component, normal):
        return _matrices.scale(params.precisions_cholesky, normal)
