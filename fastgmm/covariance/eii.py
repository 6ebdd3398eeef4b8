"""EII: one variance for all components and features, Sigma_k = lambda I with lambda = tr(W) / (n D), W = sum_k W_k."""

from fastgmm.covariance import _shapes
from fastgmm.covariance.coupled import CoupledVariances
from fastgmm.covariance.spherical import Spherical

__all__ = ["EII"]


class EII(CoupledVariances, Spherical):
    """All components share one variance for all features."""

    name = "EII"
    summary = "one single variance for all components"
    equal = True

    def n_parameters(self, n_components, n_features):
        return 1

    def nearest_with_variances(self, covariances, mass, previous, least):
        return _shapes.pooled(covariances, mass, least)
