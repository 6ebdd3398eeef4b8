"""EEI: one diagonal covariance for all components, Sigma_k = diag(W) / n with W = sum_k W_k."""

from fastgmm.covariance import _shapes
from fastgmm.covariance.coupled import CoupledVariances
from fastgmm.covariance.diag import Diag

__all__ = ["EEI"]


class EEI(CoupledVariances, Diag):
    """All components share one diagonal covariance matrix."""

    name = "EEI"
    summary = "one set of variances for all components, no correlations"
    equal = True

    def n_parameters(self, n_components, n_features):
        return n_features

    def nearest_with_variances(self, covariances, mass, previous, least):
        return _shapes.pooled(covariances, mass, least)
