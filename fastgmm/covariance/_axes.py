"""Algebra of orientations, which structures share: the axes D_k of covariances, (K, D, D)."""

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError

__all__ = ["along", "principal"]


def principal(covariances):
    """Return eigenvalues (K, D), rising and not below zero, and eigenvectors (K, D, D) as columns.

    Raises
    ------
    IllDefinedCovarianceError
        If a matrix is not finite.
    """
    if not np.isfinite(covariances).all():
        raise IllDefinedCovarianceError
    variances, axes = np.linalg.eigh(covariances)
    return np.maximum(variances, 0.0), axes


def along(axes, variances):
    """Return the matrices of some variances (K, D) along axes, columns of (K, D, D): symmetric to the last bit."""
    half = axes * np.sqrt(variances)[:, None, :]
    full = half @ half.transpose(0, 2, 1)
    return (full + full.transpose(0, 2, 1)) / 2
