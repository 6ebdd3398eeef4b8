"""VEE: multiples of one matrix, Sigma_k = lambda_k C.

Given the lambda_k, C = sum_k W_k / (n lambda_k); given C, lambda_k = tr(W_k C^-1) / (n_k D) (Celeux and Govaert 1995).
Newton's steps for the lambda_k get to where both hold: see `fastgmm.engine._shapes`.
"""

import numpy as np

from fastgmm.covariance import _axes, _shapes
from fastgmm.covariance.coupled import CoupledMatrices
from fastgmm.engine._coordinates import from_log_cholesky, log_cholesky

__all__ = ["VEE"]

MAX_ROUNDS = 1000  # of coordinate descent where a floor is met


class VEE(CoupledMatrices):
    """The covariance matrix of each component is a multiple of that of any other."""

    name = "VEE"
    summary = "one matrix, each component a multiple"

    def n_parameters(self, n_components, n_features):
        return n_components - 1 + n_features * (n_features + 1) // 2

    def nearest_with_eigenvalues(self, covariances, mass, previous, least, most):
        """lambda_k >= 1 and C with eigenvalues of at least `least` are found in turn."""
        scales = np.ones(len(mass)) if previous is None else np.trace(previous, axis1=1, axis2=2)
        scales = scales / scales.min()
        for _ in range(MAX_ROUNDS):
            pooled = np.einsum("k,kij->ij", mass / (mass.sum() * scales), covariances)
            variances, axes = (part[0] for part in _axes.principal(pooled[None]))
            variances = np.maximum(variances, least)
            own = (axes * (covariances @ axes)).sum(axis=1) / variances
            before, scales = scales, np.maximum(own.mean(axis=1), 1.0)
            if np.abs(scales / before - 1).max() <= _shapes.TOLERANCE:
                break
        return axes[None], scales[:, None] * variances

    def to_coordinates(self, precisions_cholesky, scale):
        """Return those of `Full` with U = V diag(u) by V and log(u): V is common, log(u_k) but for a constant."""
        coordinates = log_cholesky(precisions_cholesky, scale)
        return _divided(coordinates, -1)

    def from_coordinates(self, coordinates, scale):
        """Return (covariances, precisions_cholesky) of what `to_coordinates` returns."""
        return from_log_cholesky(_divided(coordinates, 1), scale)


def _divided(coordinates, sign):
    """Return coordinates with entries above the diagonal times the diagonal's exponential, or its inverse."""
    logs = np.diagonal(coordinates, axis1=1, axis2=2)
    factor = np.exp(sign * logs)[:, None, :]
    return np.where(np.eye(coordinates.shape[1], dtype=bool), coordinates, coordinates * factor)
