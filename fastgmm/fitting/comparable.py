"""Coordinates in which features are comparable, so that a start does not depend on their units.

With m the mean and s the standard deviations of the rows, coordinates are

    scaled      z = (x - m) / s
    whitened    z = L^-1 (x - m) / s,    L L^T the correlation matrix of the rows,

so squared distances are sum_j ((x_j - y_j) / s_j)^2, or (x - y)^T S^-1 (x - y) with S the covariance of all rows. The
second does not change under any affine map of the rows; Art, Gnanadesikan and Kettenring (1982), Utilitas Math. 21A:75,
compare both. Coordinates are rounded, so that rows in other units, which differ in their last bits, have the same ones.
"""

import numpy as np

from fastgmm.engine import KernelConstants
from fastgmm.sources import ArraySource

__all__ = ["Frame"]

FLAT = 1e-10  # standard deviation, as a share of the mean, of a feature that is taken to be constant
RIDGE = 1e-8  # added to correlations of one: features that follow from others have no direction of their own
GRID = 2.0**-30  # that coordinates are rounded to


class Frame:
    """Coordinates of rows.

    Parameters
    ----------
    few : ArraySource
        Rows whose mean and covariance decide.
    whitened : bool
        Whether the coordinates are uncorrelated too.

    Attributes
    ----------
    mean : (D,) array
    deviations, inverse_deviations : (D,) arrays
        Standard deviations and their inverses: both 0 for features that do not vary.
    correlation : (D, D) array or None
        Of the rows, with a ridge; where whitened.
    """

    def __init__(self, few, *, whitened):
        self.mean, variances, _ = few.moments()
        deviations = np.sqrt(variances)
        varies = deviations > FLAT * np.abs(self.mean)
        self.deviations = np.where(varies, deviations, 0.0)
        self.inverse_deviations = np.divide(1, deviations, out=np.zeros_like(deviations), where=varies)
        self.correlation = None
        if whitened:
            scaled = few.covariance() * self.inverse_deviations * self.inverse_deviations[:, None]
            self.correlation = scaled + np.diag(np.where(varies, RIDGE, 1.0))
            self._factor = np.linalg.cholesky(self.correlation)

    def scaled(self, rows):
        """Return rows (n, D) in units of their standard deviations, about their mean."""
        return (rows - self.mean) * self.inverse_deviations

    def coordinates(self, rows):
        """Return the coordinates (n, D) of rows (n, D)."""
        scaled = self.scaled(rows)
        if self.correlation is not None:
            scaled = np.linalg.solve(self._factor, scaled.T).T
        return np.ascontiguousarray(np.round(scaled / GRID) * GRID)

    def space(self, few):
        """Return a source of the rows of another in these coordinates."""
        rows = few.rows_at(np.arange(few.n_rows))
        return ArraySource(self.coordinates(rows), few.weights(), n_threads=few.n_threads)

    def rows(self, coordinates):
        """Return the rows (n, D) that have these coordinates; features that do not vary are at their mean."""
        scaled = coordinates if self.correlation is None else coordinates @ self._factor.T
        return self.mean + scaled * self.deviations

    def nearest(self, source, centres):
        """Return the labels (N,) of all rows of a source: the nearest of some rows (K, D), by these coordinates."""
        K = len(centres)
        if self.correlation is None:
            kind, factors = "diagonal", np.tile(self.inverse_deviations, (K, 1))
        else:
            kind, factors = "rotated", np.linalg.inv(self._factor) * self.inverse_deviations
        constants = KernelConstants(kind, centres, np.ascontiguousarray(factors), np.zeros(K), self.mean, source.dtype)
        return source.most_likely(constants)
