"""VEV: ellipsoids of one shape, each with its own volume and turned its own way, Sigma_k = lambda_k D_k A D_k^T.

With W_k = L_k Omega_k L_k^T and eigenvalues in the same order for all k, D_k = L_k; the lambda_k and A are those of VEI
with Omega_k in place of diag(W_k) (Celeux and Govaert 1995).
"""

import numpy as np

from fastgmm.covariance import _axes, _shapes
from fastgmm.covariance.coupled import Oriented

__all__ = ["VEV"]


class VEV(Oriented):
    """The eigenvalues of each component are a multiple of those of any other; each has its own eigenvectors."""

    name = "VEV"
    summary = "one shape, each component its own volume and orientation"

    def n_parameters(self, n_components, n_features):
        return n_components + n_features - 1 + n_components * (n_features * (n_features - 1) // 2)

    def nearest_with_eigenvalues(self, covariances, mass, previous, least, most):
        variances, axes = _axes.principal(covariances)
        scales = None if previous is None else np.trace(previous, axis1=1, axis2=2)
        return axes, _shapes.equal_shapes(variances, mass, least, start=scales)
