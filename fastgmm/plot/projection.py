"""Mixtures seen in fewer dimensions: linear images of Gaussians are Gaussians, so the image is a mixture too."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from fastgmm.mixture import Mixture

__all__ = ["Plane", "marginal", "principal_plane", "project", "wide"]

_Array = npt.NDArray[np.floating]


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


@dataclasses.dataclass(frozen=True)
class Plane:
    """Two directions to look at D features from.

    Attributes
    ----------
    directions : ndarray of shape (D, 2)
        For ``(x - centre) @ directions``.
    centre : ndarray of shape (D,)
    share : ndarray of shape (2,)
        Of the variance of the standardised features, seen along each direction.
    """

    directions: _Array
    centre: _Array
    share: _Array

    def rows(self, X: _Array) -> _Array:
        """The rows as seen in the plane, of shape (N, 2)."""
        return (np.asarray(X, dtype=np.float64) - self.centre) @ self.directions

    def mixture(self, mixture: Mixture) -> Mixture:
        """The mixture as seen in the plane."""
        weights, means, covariances = wide(mixture)
        return project(Mixture(weights, means - self.centre, covariances), self.directions)


def principal_plane(mixture: Mixture) -> Plane:
    """The plane of the first two principal axes of the mixture, all features brought to unit variance first.

    Parameters
    ----------
    mixture : Mixture
        Of two features or more.

    Returns
    -------
    plane : Plane
        Signs are such that the largest entry of a direction is positive.
    """
    weights, means, covariances = wide(mixture)
    centre = weights @ means
    offsets = means - centre
    sigma = np.einsum("k,kij->ij", weights, covariances) + (weights[:, None] * offsets).T @ offsets
    scale = np.sqrt(np.diag(sigma))
    values, vectors = np.linalg.eigh(sigma / np.outer(scale, scale))
    values, vectors = values[:-3:-1], vectors[:, :-3:-1]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), [0, 1]])
    return Plane(vectors / scale[:, None], centre, values / len(sigma))
