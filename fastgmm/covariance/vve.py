"""VVE: ellipsoids of one orientation, Sigma_k = lambda_k D A_k D^T.

Given D, lambda_k A_k = diag(D^T W_k D) / n_k. What that leaves to minimise over D, sum_k n_k log|diag(D^T W_k D)|, is
the criterion of common principal components (Flury 1984, J. Am. Stat. Assoc. 79:892). It is minimised by rotations in
planes and Newton's steps: see `fastgmm.engine._axes`.
"""

from fastgmm.covariance import _axes, _shapes
from fastgmm.covariance.coupled import Oriented

__all__ = ["VVE"]


class VVE(Oriented):
    """All components share the eigenvectors of their covariance matrices; each has its own eigenvalues."""

    name = "VVE"
    summary = "one orientation, each component its own volume and shape"

    def n_parameters(self, n_components, n_features):
        return n_components * n_features + n_features * (n_features - 1) // 2

    def nearest_with_eigenvalues(self, covariances, mass, previous, least, most):
        return _axes.above(_shapes.varying, self.structure, covariances, mass, previous, least)
