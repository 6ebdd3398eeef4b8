"""Algebra of orientations, which structures share: the axes D_k of covariances, (K, D, D)."""

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.engine._axes import common_axes, shared_axes
from fastgmm.engine._structures import nearest

__all__ = ["above", "along", "principal"]

SWEEPS = 8  # of planes, between two looks at the variances
MAX_ROUNDS = 50


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
    """Return the matrices of some variances (K, D) along axes, columns of (K, D, D): symmetric to the last bit.

    Axes need not be orthogonal.
    """
    half = axes * np.sqrt(variances)[:, None, :]
    full = half @ half.transpose(0, 2, 1)
    return (full + full.transpose(0, 2, 1)) / 2


def above(shaped, structure, covariances, mass, previous, least):
    """Return common axes (1, D, D), and variances (K, D) along them not below `least`, that minimise: a local minimum.

    Variances, which `shaped` of `_shapes` gives, and axes are looked for in turn. They begin at the axes of `previous`;
    without them at those that are best without a floor for rows blurred by it.
    """
    D = covariances.shape[1]
    if previous is None:
        previous = nearest(structure, covariances + least * np.eye(D), mass)
    axes = shared_axes(previous)
    least, before = np.full(D, least), np.inf
    for _ in range(MAX_ROUNDS):
        own = np.diagonal(axes.T @ covariances @ axes, axis1=1, axis2=2)
        variances = shaped(own, mass, least)
        left = float(mass @ (np.log(variances) + own / variances).sum(axis=1))
        if not before - left > 1e-13 * mass.sum():
            break
        before = left
        axes = common_axes(covariances, mass, axes, False, 0.0, SWEEPS, 1 / variances)[0]
    return axes[None], variances
