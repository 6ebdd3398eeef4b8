"""Mixtures seen in fewer dimensions: linear images of Gaussians are Gaussians, so the image is a mixture too."""

from __future__ import annotations

import dataclasses
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm._checks import is_number
from fastgmm._errors import InvalidParameterError
from fastgmm.mixture import Mixture, as_mixture

__all__ = ["Plane", "cluster_directions", "marginal", "plane_of", "project", "wide"]

_Array = npt.NDArray[np.floating]

_RANK = 1e-12  # of eigenvalues that are at most 2, above which a direction is more than rounding


def project(mixture: Mixture, directions: npt.ArrayLike) -> Mixture:
    """The distribution of ``x @ directions`` where x has the distribution `mixture`.

    Parameters
    ----------
    mixture : Mixture
        Of D features.
    directions : array-like of shape (D, d)
        Columns that are linearly independent.

    Returns
    -------
    image : Mixture
        Of d features, family "full": means ``mu_k @ A``, covariances ``A.T @ Sigma_k @ A``.

    Examples
    --------
    >>> import fastgmm
    >>> mixture = fastgmm.Mixture([1.0], [[1.0, 2.0]], [[[2.0, 1.0], [1.0, 3.0]]])
    >>> image = project(mixture, [[1.0], [1.0]])
    >>> float(image.means[0, 0]), float(image.covariances[0, 0, 0])
    (3.0, 7.0)
    """
    A = np.asarray(directions, dtype=np.float64)
    weights, means, covariances = wide(mixture)
    image = A.T @ covariances @ A
    image = (image + image.transpose(0, 2, 1)) / 2  # rounding must not make it unsymmetric
    return Mixture(weights, means @ A, image)


def marginal(mixture: Mixture, features: npt.ArrayLike) -> Mixture:
    """The distribution of some of the features.

    Parameters
    ----------
    mixture : Mixture
    features : sequence of int
        Which, in the order wanted.

    Returns
    -------
    marginal : Mixture
        Family "full".
    """
    return project(mixture, np.eye(mixture.n_features)[:, np.asarray(features)])


def wide(mixture: Mixture) -> tuple[_Array, _Array, _Array]:
    """Weights (K,), means (K, D) and covariances (K, D, D) in float64, whatever the family and the dtype."""
    K, D = mixture.means.shape
    weights = mixture.weights.astype(np.float64)
    covariances = mixture.family.dense_covariances(mixture.covariances, K, D).astype(np.float64)
    return weights / weights.sum(), mixture.means.astype(np.float64), covariances


def _spread(mixture: Mixture) -> tuple[_Array, _Array, _Array]:
    """Mean (D,) of a mixture, covariance (D, D) of its components' means, and mean of their covariances."""
    weights, means, covariances = wide(mixture)
    centre = weights @ means
    offsets = means - centre
    return centre, (weights[:, None] * offsets).T @ offsets, np.tensordot(weights, covariances, 1)


def cluster_directions(mixture: Any, balance: float = 1.0) -> tuple[_Array, npt.NDArray[np.float64]]:
    """Directions in which the components of a mixture differ most: dimension reduction for clusters.

    With the covariance S = B + W of the mixture, B of the means of its components and W the mean of their covariances,
    directions v are those of M v = l S v,

        M = 2 a B S^-1 B + 2 (1 - a) sum_k weights_k (Sigma_k - W) S^-1 (Sigma_k - W).

    Parameters
    ----------
    mixture : Mixture, fitted estimator or FitResult
        Of D features. With noise, that of the Gaussians alone.
    balance : float, default=1.0
        What counts, in [0, 1]: a = 1 differences of means alone, 0 those of covariances, 0.5 both alike.

    Returns
    -------
    directions : ndarray of shape (D, d)
        For ``X @ directions``: uncorrelated and of unit variance under the mixture, the one with the largest l first;
        d is the rank of M, for `balance` 1 at most K - 1. Signs are such that the largest entry is positive.
    values : ndarray of shape (d,)
        The l. For `balance` 1 the share of the variance in a direction that lies between means is sqrt(l / 2).

    Raises
    ------
    ValueError
        If `balance` is not in [0, 1].

    References
    ----------
    Scrucca (2010), Statistics and Computing 20:471; (2014), Advances in Data Analysis and Classification 8:147: what
    mclust calls `MclustDR`, but for the length of the directions.

    Examples
    --------
    >>> import fastgmm
    >>> mixture = fastgmm.Mixture([0.5, 0.5], [[0.0, 0.0], [4.0, 0.0]], [1.0, 1.0], "spherical")
    >>> directions, values = cluster_directions(mixture)
    >>> directions.round(3).tolist(), values.round(3).tolist()
    ([[0.447], [0.0]], [1.28])
    """
    if not is_number(balance, Real, 0.0) or balance > 1:
        raise InvalidParameterError(f"balance must be a number in the range [0, 1], got {balance!r}")
    mixture = as_mixture(mixture)
    _, between, within = _spread(mixture)
    sigma = between + within
    scale = np.sqrt(np.diag(sigma))
    values, axes = np.linalg.eigh(sigma / np.outer(scale, scale))  # units apart from each other would cost digits
    white = axes / np.sqrt(values) / scale[:, None]  # (D, D): white.T @ sigma @ white is the identity
    between = white.T @ between @ white
    kernel = 2 * balance * between @ between
    if balance < 1:
        weights, _, covariances = wide(mixture)
        deviations = white.T @ (covariances - within) @ white
        kernel += 2 * (1 - balance) * np.tensordot(weights, deviations @ deviations, 1)
    values, vectors = np.linalg.eigh(kernel)
    differ = np.flatnonzero(values > _RANK)[::-1]
    return _upright(white @ vectors[:, differ]), values[differ]


@dataclasses.dataclass(frozen=True)
class Plane:
    """Two directions to look at D features from.

    Attributes
    ----------
    directions : ndarray of shape (D, 2)
        For ``(x - centre) @ directions``.
    centre : ndarray of shape (D,)
    titles : tuple of two str
        What the directions are.
    """

    directions: _Array
    centre: _Array
    titles: tuple[str, ...]

    def rows(self, X: _Array) -> _Array:
        """The rows as seen in the plane, of shape (N, 2)."""
        return (np.asarray(X, dtype=np.float64) - self.centre) @ self.directions

    def mixture(self, mixture: Mixture) -> Mixture:
        """The mixture as seen in the plane."""
        weights, means, covariances = wide(mixture)
        return project(Mixture(weights, means - self.centre, covariances), self.directions)


def plane_of(mixture: Mixture) -> Plane:
    """The plane in which the means of the components are furthest apart.

    Where these lie on a line or are one, principal axes of the mixture, of features brought to unit variance, stand in.

    Parameters
    ----------
    mixture : Mixture
        Of two features or more.

    Returns
    -------
    plane : Plane
    """
    centre, between, within = _spread(mixture)
    sigma = between + within
    scale = np.sqrt(np.diag(sigma))
    directions, values = cluster_directions(mixture)
    directions, shares = directions[:, :2], np.sqrt(values[:2] / 2)
    titles = [f"direction {j + 1} ({share:.0%} of its variance between components)" for j, share in enumerate(shares)]
    # What is left of the features, each in units of its standard deviation, by regression on these directions.
    loadings = sigma @ directions / scale[:, None]
    left = sigma / np.outer(scale, scale) - loadings @ loadings.T
    variances, axes = np.linalg.eigh(left)
    n_more = 2 - len(titles)
    axes, variances = axes[:, ::-1][:, :n_more], variances[::-1][:n_more]
    axes = axes / scale[:, None] - directions @ (loadings.T @ axes)
    titles += [f"principal axis {j + 1} ({part:.0%} of the variance)" for j, part in enumerate(variances / len(sigma))]
    return Plane(np.hstack([directions, _upright(axes)]), centre, tuple(titles))


def _upright(directions: _Array) -> _Array:
    """The directions (D, d), each with such a sign that its largest entry is positive."""
    largest = np.abs(directions).argmax(axis=0)
    return directions * np.sign(directions[largest, np.arange(directions.shape[1])])
