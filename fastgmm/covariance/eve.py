"""EVE: ellipsoids of one volume and one orientation, each with its own shape, Sigma_k = lambda D A_k D^T.

Given D, the lambda A_k are those of EVI with D^T W_k D in place of W_k. What that leaves to minimise over D is done by
rotations in planes and Newton's steps: see `fastgmm.engine._axes`.
"""

from functools import partial

from fastgmm.covariance import _axes, _shapes
from fastgmm.covariance.coupled import Oriented

__all__ = ["EVE"]


class EVE(Oriented):
    """All components share the eigenvectors and the determinant of their covariance matrices."""

    name = "EVE"
    summary = "one volume and orientation, each component its own shape"
    stretches = True

    def n_parameters(self, n_components, n_features):
        return 1 + n_components * (n_features - 1) + n_features * (n_features - 1) // 2

    def nearest_with_eigenvalues(self, covariances, mass, previous, least, most):
        shaped = partial(_shapes.equal_volumes, most=most)
        return _axes.above(shaped, self.structure, covariances, mass, previous, least)
