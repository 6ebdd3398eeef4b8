"""What structures share whose components have something in common: a volume, a shape, an orientation.

Banfield and Raftery (1993, Biometrics 49:803) write Sigma_k = lambda_k D_k A_k D_k^T with volumes lambda_k, orthogonal
orientations D_k and diagonal shapes A_k of determinant one. The letters of a structure say of each, in this order,
whether it is equal, varies, or is the identity.

The M-step looks for the covariances of the structure that minimise

    sum_k n_k (log|Sigma_k| + tr(Sigma_k^-1 S_k)),    S_k = W_k / n_k,

which are the nearest to the sample covariances S_k in Kullback-Leibler divergence. So one function, `nearest`, is the
M-step, brings covariances into the structure, and says whether they are in it already. The formulas are those of Celeux
and Govaert (1995, Pattern Recognition 28:781). Without a floor it is compiled: `fastgmm.engine._structures`.

`reg_covar` is added to the diagonals of the S_k, as if rows were blurred: added to the covariances, it would lead out
of most structures. For full, tied, diag and spherical both are the same. A component without rows takes part with what
it had, and no weight.

A structure whose minimisation is affine equivariant has the floor that the full family has. Where axes are orthogonal
in the units of the features (EVE, VVE, EEV, VEV), rescaling a feature leads out of the structure: there the floor is
the same in all directions, `Floor.isotropic`.
"""

from abc import abstractmethod

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.covariance import _axes
from fastgmm.covariance.base import MIN_MASS, Family
from fastgmm.covariance.full import Full
from fastgmm.engine._linalg import inverse_cholesky
from fastgmm.engine._structures import nearest

__all__ = ["Coupled", "CoupledMatrices", "CoupledVariances", "Oriented"]

CEILING = 1e2
"""Largest variance of a component along any axis, in units of the data's, where volumes are equal and there is a floor.
One of few rows, at the floor along most of its axes, would be stretched along the others beyond what float64 holds."""

SLACK = 1e-13
"""Covariances that are below a floor by less than this share of it, or of their own variances, are so by rounding."""


class Coupled(Family):
    """A family whose components have something in common."""

    coupled = True
    stepped = True

    @property
    def structure(self):
        """The letters of the structure."""
        return self.general or self.name

    @abstractmethod
    def nearest_above(self, covariances, mass, previous, floor):
        """Return `nearest` where some of what is nearest without a floor lies below it."""

    @abstractmethod
    def holds(self, covariances, floor, slack=0.0):
        """Return whether finite covariances are above a `Floor`, or below by no more than a share of it."""

    def nearest(self, covariances, mass, *, previous=None, floor=None):
        """Return the covariances of the structure that minimise sum_k n_k (log|Sigma_k| + tr(Sigma_k^-1 S_k)).

        Parameters
        ----------
        covariances : array
            The S_k, in the shape of the family.
        mass : (K,) array
            The n_k, positive.
        previous : array, optional
            Covariances of the structure, near to what is looked for, where iterations begin.
        floor : Floor, optional
            The least covariances.

        Raises
        ------
        IllDefinedCovarianceError
            If they do not exist. They may also be not positive definite, or NaN.
        """
        with np.errstate(all="ignore"):
            if floor is None:
                return nearest(self.structure, covariances, mass, previous)
            try:
                best = nearest(self.structure, covariances, mass, previous)
                if self.holds(best, floor):
                    return best
            except IllDefinedCovarianceError:
                pass
            if not np.isfinite(covariances).all():
                raise IllDefinedCovarianceError
            return self.nearest_above(covariances, mass, previous, floor)

    def estimate_covariances(self, stats, mass, empty, *, reg_covar, previous, floor):
        """Return the covariances of `estimate`."""
        options = {"reg_covar": reg_covar, "previous": previous, "floor": floor}
        free = super().estimate_covariances(stats, mass, empty, **options)
        if empty is not None:
            if previous is None:
                free[empty] = np.average(free[~empty], axis=0, weights=mass[~empty])
            mass = np.where(empty, MIN_MASS * mass[~empty].sum(), mass)
        before = None if previous is None else previous.covariances
        try:
            return self.nearest(free, mass, previous=before, floor=floor)
        except IllDefinedCovarianceError:
            if not reg_covar > 0:
                raise
            lifted, _ = self.lift(free, *stats.s.shape)
            return self.nearest(lifted, mass, previous=before, floor=floor)

    def floored(self, covariances, floor):
        """Return covariances above a floor, and which met it: see `Family.floored`."""
        if not self.holds(covariances, floor, SLACK):
            covariances = self.nearest(covariances, np.ones(len(covariances)), floor=floor)
        return covariances, super().floored(covariances, floor)[1]


class CoupledVariances(Coupled):
    """A coupled family of variances: (K, D), along the features, or (K,)."""

    @abstractmethod
    def nearest_with_variances(self, covariances, mass, previous, least):
        """Return `nearest` where no variance may be below `least`, in the shape of one component."""

    def holds(self, covariances, floor, slack=0.0):
        """Return whether variances are above a `Floor`, or below by no more than a share of it."""
        return bool(((covariances >= (1 - slack) * self.least(floor)) & (covariances < np.inf)).all())

    def nearest_above(self, covariances, mass, previous, floor):
        """Return `nearest` above a floor."""
        return self.nearest_with_variances(covariances, mass, previous, self.least(floor))


class CoupledMatrices(Coupled, Full):
    """A coupled family of matrices (K, D, D).

    Attributes
    ----------
    stretches : bool
        Whether a component that lies at the floor along some axes becomes the longer along the others, since its volume
        is that of all. With a floor there is a ceiling then: `CEILING`.
    """

    stretches = False

    def metric(self, floor):
        """Return a floor as the structure can keep to it: in coordinates that lead to no other structure."""
        return floor

    @abstractmethod
    def nearest_with_eigenvalues(self, covariances, mass, previous, least, most):
        """Return the eigenvectors (K or 1, D, D) and eigenvalues (K, D) of `nearest` between bounds.

        No eigenvalue is below `least` nor, if the family `stretches`, above `most`.
        """

    def holds(self, covariances, floor, slack=0.0):
        """Return whether covariances are above a `Floor`, or below by no more than a share of it."""
        floor = self.metric(floor)
        if self.stretches:
            white = _moved(covariances, floor.whiten)
            most = (1 + slack) * _ceiling(floor)
            if not np.isfinite(white).all() or np.linalg.eigvalsh(white)[:, -1].max() > most:
                return False
        above = covariances - (1 - slack) * floor.share * (floor.root @ floor.root.T)
        if slack:
            diagonal = np.arange(covariances.shape[1])
            above[:, diagonal, diagonal] += slack * covariances[:, diagonal, diagonal]
        try:
            inverse_cholesky(above)
        except IllDefinedCovarianceError:
            return False
        return True

    def nearest_above(self, covariances, mass, previous, floor):
        """Return `nearest` above a floor, found where the floor is a multiple of the identity."""
        floor = self.metric(floor)
        white = _moved(covariances, floor.whiten)
        before = None if previous is None else _moved(previous, floor.whiten)
        within = floor.share, _ceiling(floor)
        axes, variances = self.nearest_with_eigenvalues(white, mass, before, *within)
        # A variance that is small in the units of the data is lost in sums of large ones: roots hold more of it.
        return _axes.along(floor.root @ axes, variances)

    def floored(self, covariances, floor):
        """Return covariances above a floor, and which met it: see `Family.floored`."""
        return super().floored(covariances, self.metric(floor))

    def feasible(self, params):
        """Return Parameters with the covariances of the structure that are nearest.

        Where its coordinates lead out of it by rounding alone that counts too: long steps multiply it time and again.
        """
        mass = np.maximum(params.weights, MIN_MASS)
        covariances = self.nearest(params.covariances, mass, previous=params.covariances)
        return self.complete(params.weights, params.means, covariances, mend=False)


class Oriented(CoupledMatrices):
    """A coupled family of matrices whose axes are orthogonal in the units of the features."""

    def metric(self, floor):
        """Return a floor that is the same in all directions."""
        return floor.isotropic


def _ceiling(floor):
    """Return the largest eigenvalue in the coordinates of a floor: in float32 not much more than the data's."""
    hundred = CEILING if floor.resolution == 0 else min(CEILING, max(floor.share / floor.resolution, 1.0))
    return hundred * floor.spread


def _moved(covariances, root):
    """Return root Sigma_k root^T, symmetric."""
    moved = root @ covariances @ root.T
    return (moved + moved.transpose(0, 2, 1)) / 2
