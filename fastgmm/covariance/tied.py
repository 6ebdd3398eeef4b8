"""tied (mclust: EEE): one covariance for all components, Sigma = W / n with W = sum_k W_k.

W is the total scatter less the scatter between components, and the total does not depend on the responsibilities: a
pass needs no second moments. Evaluation rotates each row once by the common factor and is spherical from there on.
"""

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.covariance import _matrices
from fastgmm.covariance.base import Family
from fastgmm.engine._coordinates import from_log_cholesky, log_cholesky
from fastgmm.engine._linalg import log_diagonals, per_mass, shares

__all__ = ["Tied"]


class Tied(Family):
    """All components share one unrestricted covariance matrix."""

    name = "tied"
    kind = "rotated"
    summary = "one matrix for all components"
    container = "tied"
    stepped = True
    shared = coupled = equal = True

    def covariance_shape(self, n_components, n_features):
        return n_features, n_features

    def n_parameters(self, n_components, n_features):
        return n_features * (n_features + 1) // 2

    def statistics_kind(self):
        # labels may come with components far apart, where total minus between would cancel
        return "full"

    def maximise_covariances(self, stats, mass, reg_covar):
        within = stats.within()
        pooled = within.sum(axis=0) if stats.kind == "full" else within
        return per_mass(pooled[None], np.array([shares(stats.n, 0.0)[1]]), reg_covar)[0]

    def floored(self, covariances, floor):
        raised, met = floor.raise_matrices(covariances[None])
        return raised[0], met

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
        W = _matrices.lower(params.precisions_cholesky)
        return self.kind, W, np.full(params.n_components, log_diagonals(W[None])[0])

    def to_coordinates(self, precisions_cholesky, scale):
        return log_cholesky(precisions_cholesky[None], scale)[0]

    def from_coordinates(self, coordinates, scale):
        covariances, factors = from_log_cholesky(coordinates[None], scale)
        return covariances[0], factors[0]

    def dense_covariances(self, covariances, n_components, n_features):
        return np.broadcast_to(covariances, (n_components, n_features, n_features))

    def scale_draws(self, params, component, normal):
        return _matrices.scale(params.precisions_cholesky, normal)
