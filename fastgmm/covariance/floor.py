"""A floor under covariances, relative to the data's own: what keeps a component from collapsing onto a few rows.

With T = S R S the covariance of all rows, S its standard deviations and R = Q diag(e) Q^T its correlations,

    G = S Q diag(g) Q^T S = C C^T,    C = S Q diag(g)^1/2,    g = e where e >= LEAST_SPREAD, else 1,

is T but for axes along which the rows hardly vary: these count as if they varied like a single feature. The floor is a
share of G: Sigma_k - share G must be positive semidefinite, which says that all eigenvalues of C^-1 Sigma_k C^-T are
at least the share. In these coordinates the M-step's objective n_k log|Sigma_k| + tr(Sigma_k^-1 W_k) keeps its form,
and its minimiser under the constraint has the eigenvectors of W_k and the eigenvalues max(share, those of W_k / n_k):
for each eigenvalue v on its own, log v + w / v falls until v = w and rises from there. The same holds for one variance
(diag, spherical). A constraint that stays the same for all iterations leaves the log-likelihood no way to fall.

Nothing depends on the units of the features: S takes them out. A feature that does not vary has none to take out; its
standard deviation stands for the geometric mean of the others'.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.engine._linalg import inverse_cholesky

__all__ = ["Floor"]

LEAST_SPREAD = 1e-4
"""Least eigenvalue of the correlations that the floor follows: a share of less could not be told from rounding."""

LEAST_LENGTH = 1e-3
"""Least standard deviation of the data, as a share of the largest, that a floor follows which is the same in all
directions."""

RESOLUTION = 64
"""Least floor of a correlation matrix that can be factorised, in eps of the type of the rows."""


MEETS = 1 + 1e-6
"""Up to this many times the floor a covariance is at the floor, whatever rounding made of it."""


@dataclass(frozen=True, eq=False)
class Floor:
    """The least covariances of a fit.

    Attributes
    ----------
    share : float
        The share of the data's covariance that is the least.
    deviations : (D,) array
        Standard deviations of the features; of constant ones, what stands for them.
    varies : (D,) array of bool
        Which features are not constant.
    mean_variance : float
        Mean variance of the features.
    root, whiten : (D, D) arrays or None
        C and its inverse, where the covariances of the features are known.
    live : (D,) array of bool or None
        Which of the axes of `whiten` the rows vary along. Along the others every component is thin, and none collapsed.
    spread : float
        Largest variance of the data along any axis, in the coordinates of `whiten`.
    resolution : float
        Least share of the largest variance that a matrix of the type of the rows can hold.
    """

    share: float
    deviations: np.ndarray
    varies: np.ndarray
    mean_variance: float
    root: np.ndarray | None = None
    whiten: np.ndarray | None = None
    live: np.ndarray | None = None
    spread: float = 1.0
    resolution: float = 0.0

    @classmethod
    def of(cls, share, total, mean, dtype):
        """Return the floor that is a share of the covariance of some rows.

        Parameters
        ----------
        share : float
        total : (D, D) or (D,) array
            Covariance of the rows, or their variances for families without correlations.
        mean : (D,) array
            Their mean, which sets the scale where all rows are equal.
        dtype : dtype
            Their type: float32 parameters resolve less.
        """
        share = max(share, np.finfo(np.float64).eps)
        variances = np.diagonal(total) if total.ndim == 2 else total
        tiny = np.finfo(np.float64).tiny / share  # the floor itself must not underflow
        varies = variances >= tiny
        if varies.any():
            stand_in, mean_variance = np.exp(np.log(variances[varies]).mean()), variances.mean()
        else:
            with np.errstate(over="ignore", under="ignore"):
                square = np.abs(mean).max() ** 2
            stand_in = mean_variance = square if tiny <= square < np.inf else 1.0
        deviations = np.sqrt(np.where(varies, variances, stand_in))
        if total.ndim == 1:
            return cls(share, deviations, varies, mean_variance)
        resolution = RESOLUTION * np.finfo(dtype).eps
        share = max(share, resolution)
        correlations = total / deviations / deviations[:, None]
        spread, axes = np.linalg.eigh((correlations + correlations.T) / 2)
        live = spread >= LEAST_SPREAD
        scale = np.sqrt(np.where(live, np.maximum(spread, resolution / share), 1.0))
        root, whiten = deviations[:, None] * axes * scale, (axes / scale).T / deviations
        return cls(share, deviations, varies, mean_variance, root, whiten, live, resolution=resolution)

    def of_share(self, share):
        """Return the floor that is another share of the same covariance."""
        return replace(self, share=share)

    @cached_property
    def isotropic(self):
        """The floor that is the same in all directions: the share of the least eigenvalue of G, along axes of its own.

        It is nowhere above this floor, unless a feature is so much smaller than another that both floors together could
        not be told from rounding in one matrix.
        """
        axes = np.linalg.qr(self.root[:, self.live], mode="complete")[0]
        lengths = np.linalg.svd(self.root, compute_uv=False)
        least = max(lengths[-1], max(LEAST_LENGTH, np.sqrt(self.resolution / self.share)) * lengths[0])
        live = np.arange(len(axes)) < self.live.sum()
        spread = self.spread * (lengths[0] / least) ** 2
        return replace(self, root=axes * least, whiten=axes.T / least, live=live, spread=spread)

    def raise_variances(self, variances, least, counts):
        """Return variances (K, D) or (K,), none below `least`, and which components met it (K,), where it `counts`."""
        met = (variances <= MEETS * least) & counts
        return np.maximum(variances, least), met if met.ndim == 1 else met.any(axis=1)

    def raise_matrices(self, covariances):
        """Return covariances (K, D, D), none below the floor, and which met it along live axes (K,)."""
        if not np.isfinite(covariances).all():
            raise IllDefinedCovarianceError
        try:
            inverse_cholesky(covariances - MEETS * self.share * (self.root @ self.root.T))
            return covariances, np.zeros(len(covariances), dtype=bool)  # all above: not a bit changes
        except IllDefinedCovarianceError:
            pass
        white = self.whiten @ covariances @ self.whiten.T
        white = (white + white.transpose(0, 2, 1)) / 2
        values, vectors = np.linalg.eigh(white)
        low = values[:, 0] < self.share
        half = self.root @ (vectors[low] * np.sqrt(np.maximum(values[low], self.share))[:, None, :])
        raised = covariances.copy()
        raised[low] = half @ half.transpose(0, 2, 1)
        raised[low] = (raised[low] + raised[low].transpose(0, 2, 1)) / 2
        if not self.live.any():
            return raised, np.zeros(len(covariances), dtype=bool)
        thinnest = np.linalg.eigvalsh(white[:, self.live][:, :, self.live])[:, 0]
        return raised, thinnest <= MEETS * self.share
