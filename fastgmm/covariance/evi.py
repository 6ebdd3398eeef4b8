"""EVI: diagonal covariances of equal volume, Sigma_k = lambda B_k.

B_k = diag(W_k) / |diag(W_k)|^(1/D) and lambda = sum_k |diag(W_k)|^(1/D) / n (Celeux and Govaert 1995).
"""

from fastgmm.covariance import _shapes
from fastgmm.covariance.coupled import CoupledVariances
from fastgmm.covariance.diag import Diag

__all__ = ["EVI"]


class EVI(CoupledVariances, Diag):
    """Each component has its own diagonal covariance matrix, all of them with the same determinant."""

    name = "EVI"
    summary = "each component its own variances, of equal volume, no correlations"

    def n_parameters(self, n_components, n_features):
        return 1 + n_components * (n_features - 1)

    def nearest_with_variances(self, covariances, mass, previous, least):
        return _shapes.equal_volumes(covariances, mass, least)
