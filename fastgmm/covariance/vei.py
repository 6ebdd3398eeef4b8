"""VEI: diagonal covariances of equal shape, Sigma_k = lambda_k B.

Given the lambda_k, B = sum_k diag(W_k) / (n lambda_k); given B, lambda_k = tr(W_k B^-1) / (n_k D) (Celeux and Govaert
1995). Newton's steps for the lambda_k get to where both hold: see `fastgmm.engine._shapes`.
"""

from fastgmm.covariance import _shapes
from fastgmm.covariance.coupled import CoupledVariances
from fastgmm.covariance.diag import Diag

__all__ = ["VEI"]


class VEI(CoupledVariances, Diag):
    """The variances of each component are a multiple of those of any other."""

    name = "VEI"
    summary = "one set of variances, each component a multiple, no correlations"

    def n_parameters(self, n_components, n_features):
        return n_components + n_features - 1

    def nearest_with_variances(self, covariances, mass, previous, least):
        scales = None if previous is None else previous[:, 0]
        return _shapes.equal_shapes(covariances, mass, least, start=scales)
