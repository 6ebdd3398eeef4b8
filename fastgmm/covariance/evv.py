"""EVV: matrices of equal volume, Sigma_k = lambda W_k / |W_k|^(1/D) with lambda = sum_k |W_k|^(1/D) / n.

(Celeux and Govaert 1995, lambda C_k.)
"""

import numpy as np

from fastgmm.covariance import _axes, _shapes
from fastgmm.covariance.coupled import CoupledMatrices

__all__ = ["EVV"]


class EVV(CoupledMatrices):
    """Each component has its own covariance matrix, all of them with the same determinant."""

    name = "EVV"
    summary = "each component its own matrix, of equal volume"
    stretches = True

    def n_parameters(self, n_components, n_features):
        return 1 + n_components * (n_features * (n_features + 1) // 2 - 1)

    def nearest_with_eigenvalues(self, covariances, mass, previous, least, most):
        variances, axes = _axes.principal(covariances)
        least = np.full(covariances.shape[1], least)
        return axes, _shapes.equal_volumes(variances, mass, least, most)
