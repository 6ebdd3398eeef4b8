"""EEV: ellipsoids of one volume and shape, each turned its own way, Sigma_k = lambda D_k A D_k^T.

With W_k = L_k Omega_k L_k^T and eigenvalues in the same order for all k, D_k = L_k and lambda A = sum_k Omega_k / n
(Celeux and Govaert 1995).
"""

from fastgmm.covariance import _axes, _shapes
from fastgmm.covariance.coupled import Oriented

__all__ = ["EEV"]


class EEV(Oriented):
    """All components share the eigenvalues of their covariance matrices; each has its own eigenvectors."""

    name = "EEV"
    summary = "one volume and shape, each component its own orientation"

    def n_parameters(self, n_components, n_features):
        return n_features + n_components * (n_features * (n_features - 1) // 2)

    def nearest_with_eigenvalues(self, covariances, mass, previous, least, most):
        variances, axes = _axes.principal(covariances)
        return axes, _shapes.pooled(variances, mass, least)
