"""What a covariance family is, and the parameters that travel between families, fits and mixtures.

A family holds all that is particular to one structure of the covariances Sigma_k, in one file: which kernel kind
evaluates it, its M-step, its number of parameters, its checks, how to draw from it, and the shapes that scikit-learn
gives it.

The M-step is the same for all families in weights and means: with n_k = sum_i r_ik and n = sum_k n_k,

    pi_k = n_k / n,    mu_k = sum_i r_ik x_i / n_k,

and minimises sum_k n_k log|Sigma_k| + tr(Sigma_k^-1 W_k) over the family's covariances, where W_k is the scatter
about mu_k (Celeux and Govaert 1995, Pattern Recognition 28:781).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError, InvalidParameterError
from fastgmm.covariance.noise import Noise, without_noise
from fastgmm.engine import KernelConstants, _linalg
from fastgmm.engine._coordinates import scaled_step

__all__ = ["Family", "Parameters"]

MIN_MASS = 10 * np.finfo(np.float64).eps
"""A component with less than this share of the total weight has no rows to speak of: it stays where it is."""

MOST_SPREAD = {4: 1e2, 8: 1e3}
"""Distance of means from the shift, in standard deviations, up to which rows are rotated; by the bytes of a number."""

MAX_FIRST_CANCELLATION = 1e3  # beyond this factor the statistics of a start are taken again about the means


def is_shifted(kind, dtype):
    """Return whether a point near the data is taken off rows of a type first, which helps float32 and rotated rows.

    float64 rows of other kinds stay as they are, which loses nothing to an outlier far away.
    """
    return kind == "rotated" or dtype.itemsize == 4


@dataclass(frozen=True, eq=False)
class Parameters:
    """Parameters of a mixture, in the shapes that scikit-learn gives them.

    Parameters
    ----------
    weights : (K,) array
    means : (K, D) array
    covariances : array
        full (K, D, D), tied (D, D), diag (K, D), spherical (K,); other families as their `Family.container`, but for
        those of low rank: see `fastgmm.covariance.low_rank`.
    precisions_cholesky : array of the shape of `covariances`
        Upper-triangular U with U U^T the inverse covariance for full and tied, 1 / sigma for diag and spherical.
    noise : Noise, optional
        A uniform component beside: the weights are then shares of what is not noise.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    precisions_cholesky: np.ndarray
    noise: Noise | None = None

    @property
    def n_components(self):
        """Number of components K."""
        return self.means.shape[0]

    @property
    def n_features(self):
        """Number of features D."""
        return self.means.shape[1]

    def arrays(self):
        """Return weights, means, covariances and precisions_cholesky as a tuple."""
        return self.weights, self.means, self.covariances, self.precisions_cholesky

    def astype(self, dtype):
        """Return the parameters with arrays of another type; themselves if they have it.

        Raises
        ------
        IllDefinedCovarianceError
            If the covariances underflow or overflow the type.
        """
        weights, means, covariances, factors = self.arrays()
        if weights.dtype == means.dtype == covariances.dtype == factors.dtype == dtype:
            return self
        with np.errstate(over="ignore", under="ignore"):
            converted = Parameters(*(array.astype(dtype) for array in self.arrays()), noise=self.noise)
        if not all(np.isfinite(array).all() for array in converted.arrays()):
            raise IllDefinedCovarianceError(single_precision=True)
        return converted


class Family(ABC):
    """One structure of the covariances.

    Attributes
    ----------
    name : str
        As users name it: ``covariance_type``.
    kind : str
        Kernel kind that evaluates it: see `fastgmm.engine.KernelConstants`.
    summary : str
        One line for tables.
    container : {"full", "tied", "diag", "spherical"}
        The family of scikit-learn that contains this one. But for the low-rank kind, parameters have its shapes, and
        describe the same mixture in either.
    shared : bool
        Whether all components have one covariance, and the arrays hold it once.
    coupled : bool
        Whether the covariances of the components have something in common, so that none can be estimated, held or set
        without the others.
    equal : bool
        Whether all components have the same covariance, wherever that is held.
    stepped : bool
        Whether its covariances are the second moments of a pass per unit of weight, or those of the `structure` that
        are nearest: then several steps of EM can be made at once. See `fastgmm.engine.steps`.
    structure : str or None
        What compiled M-steps know of what the covariances have in common: see `fastgmm.engine._structures.nearest`.
    general : str or None
        Of a family for one feature: the name of the same for more.
    rank : int
        Of a family of low rank, else 0.
    """

    name: str
    kind: str
    summary: str
    container: str
    shared = False
    coupled = False
    equal = False
    stepped = False
    structure = None
    general = None
    rank = 0

    @abstractmethod
    def covariance_shape(self, n_components, n_features):
        """Return the shape of the covariances for K components and D features."""

    @abstractmethod
    def n_parameters(self, n_components, n_features):
        """Return the number of free covariance parameters."""

    def check_features(self, n_features):
        """Raise InvalidParameterError if the family is not for this number of features."""
        if self.general is not None and n_features != 1:
            raise InvalidParameterError(
                f"covariance_type={self.name!r} is for one feature, got {n_features}; for more it is {self.general!r}"
            )

    def statistics_kind(self):
        """Return the kernel kind whose statistics a first M-step, from given labels, wants."""
        return self.kind

    def first_statistics(self, source, pivot, given):
        """Return the statistics that a first M-step wants.

        Parameters
        ----------
        source : object with ``accumulate_given(kind, pivot, *, labels, resp, factors) -> Statistics``
        pivot : (K, D) array
            Points near the means; if they turn out to be far from them, a second pass is made.
        given : dict
            ``labels`` or ``resp``.
        """
        kind = self.statistics_kind()
        stats = source.accumulate_given(kind, pivot, **given)
        if stats.cancellation() > MAX_FIRST_CANCELLATION:
            stats = source.accumulate_given(kind, stats.means(), **given)
        return stats

    @abstractmethod
    def maximise_covariances(self, stats, mass, reg_covar):
        """Return the covariances that maximise the likelihood of `stats`, plus `reg_covar` on the diagonal.

        `mass` (K,) is what to divide by: the weight of each component, one where it has lost its rows.
        """

    @abstractmethod
    def floored(self, covariances, floor):
        """Return the covariances that maximise the likelihood above a `Floor`, and which components met it (K,).

        `covariances` maximise it without the floor, or with it already if they come from `estimate`. Only what lies
        below the floor is changed. Where components share a covariance, the second array has one entry.
        """

    def seeded(self, floor, n_features):
        """Return the covariance of a component that is put anew: the floor itself, of which `share` says how large."""
        return self.floored(np.zeros(self.covariance_shape(1, n_features)), floor)[0][0]

    @abstractmethod
    def from_covariances(self, covariances, n_components, n_features):
        """Return precisions_cholesky of covariances; IllDefinedCovarianceError if they are not positive definite."""

    @abstractmethod
    def from_precisions(self, precisions, n_components, n_features):
        """Return (covariances, precisions_cholesky) of precisions; ValueError if they are not positive definite."""

    @abstractmethod
    def precisions(self, precisions_cholesky):
        """Return the inverse covariances."""

    @abstractmethod
    def factors(self, params):
        """Return (kind, factors, log-determinants (K,)) of the kernel constants."""

    @abstractmethod
    def to_coordinates(self, precisions_cholesky, scale):
        """Return an array of free numbers for the covariances of rows divided by `scale` (D,).

        Steps along it that are straight never leave the family, or not farther than `feasible` brings them back:
        variances enter by their logarithms. Its places count alike in the length of a step.
        """

    @abstractmethod
    def from_coordinates(self, coordinates, scale):
        """Return (covariances, precisions_cholesky) of what `to_coordinates` returns; its inverse."""

    def feasible(self, params):
        """Return what `from_coordinates` led to, brought back into the family where that is needed; else itself.

        Raises
        ------
        IllDefinedCovarianceError
            If covariances are not positive definite.
        """
        return params

    def variances(self, covariances, n_components, n_features):
        """Return the variances of the features in each component (K, D)."""
        return np.diagonal(self.dense_covariances(covariances, n_components, n_features), axis1=1, axis2=2)

    def scaled_step(self, before, after):
        """Return the steps of means (K, D) and of covariances from some Parameters to others, in units of the first.

        Means are in standard deviations of their components. The square of the covariances' part is that of the
        complete-data information of one row: twice that of the logarithms of standard deviations, once that of what is
        off the diagonal of V^T U^-T, with U and V the factors of precisions. Where they share one it comes once.
        """
        U, V = before.precisions_cholesky, after.precisions_cholesky
        if self.container in ("full", "tied"):
            return scaled_step(before.means, after.means, U, V)
        means = after.means - before.means
        with np.errstate(all="ignore"):
            if self.container == "diag":
                return means * U, np.sqrt(2) * np.log(V / U)
            return means * U[:, None], np.sqrt(2 * means.shape[1]) * np.log(V / U)

    @abstractmethod
    def dense_covariances(self, covariances, n_components, n_features):
        """Return the covariances as (K, D, D) matrices."""

    def n_normals(self, n_features):
        """Return of how many standard normal numbers a row is made."""
        return n_features

    @abstractmethod
    def scale_draws(self, params, component, normal):
        """Return standard normal rows (n, `n_normals`) turned into rows of a component about its mean."""

    def maximise(self, stats, *, reg_covar=0.0, previous=None):
        """Return the parameters that maximise the likelihood given the statistics: the M-step.

        Parameters
        ----------
        stats : Statistics
        reg_covar : float, default=0.0
            Added to the diagonal of the covariances, in the units of the features squared. If it is positive, a
            covariance that rounding alone has made indefinite is repaired: see `lift`.
        previous : Parameters, optional
            What a component keeps that has lost all its rows. Without it such a component gets the pivot as its mean
            and `reg_covar` as its variances. If there is noise in it, the statistics have that as their last component.

        Returns
        -------
        params : Parameters

        Raises
        ------
        IllDefinedCovarianceError
            If a covariance is not positive definite.
        """
        noise = None if previous is None else previous.noise
        if noise is not None:
            stats, noise = without_noise(stats, noise)
        made = self.complete(*self.estimate(stats, reg_covar=reg_covar, previous=previous), mend=reg_covar > 0)
        return made if noise is None else replace(made, noise=noise)

    def estimate(self, stats, *, reg_covar=0.0, previous=None, floor=None, prior=None):
        """Return weights, means and covariances of `maximise`, which need not be positive definite.

        A `floor` is for families whose components have something in common: they know the maximum above it only here.
        With a `Prior` they maximise the posterior density; it leaves no component without a covariance.

        Raises
        ------
        IllDefinedCovarianceError
            If means are not finite.
        """
        weights, total, any_empty = _linalg.shares(stats.n, MIN_MASS)
        if prior is not None:
            stats, any_empty = prior.posterior(stats), False
        empty = stats.n <= MIN_MASS * total if any_empty else None
        mass = np.where(empty, 1.0, stats.n) if any_empty else stats.n
        means = stats.means()
        if any_empty and previous is not None:
            means = np.where(empty[:, None], previous.means, means)
        covariances = self.estimate_covariances(stats, mass, empty, reg_covar=reg_covar, previous=previous, floor=floor)
        if not _linalg.all_finite(means):
            raise IllDefinedCovarianceError
        return weights, means, covariances

    def estimate_covariances(self, stats, mass, empty, *, reg_covar, previous, floor):
        """Return the covariances of `estimate`: those of components without rows, `empty` (K,) or None, stay."""
        covariances = self.maximise_covariances(stats, mass, reg_covar)
        if empty is not None and previous is not None and not self.shared:
            covariances[empty] = previous.covariances[empty]
        return covariances

    def complete(self, weights, means, covariances, *, mend):
        """Return Parameters with the factors of the covariances; with `mend`, of covariances that `lift` has repaired.

        Raises
        ------
        IllDefinedCovarianceError
            If a covariance is not positive definite.
        """
        try:
            factors = self.from_covariances(covariances, *means.shape)
        except IllDefinedCovarianceError:
            if not mend:
                raise
            covariances, factors = self.lift(covariances, *means.shape)
        return Parameters(weights, means, covariances, factors)

    def lift(self, covariances, n_components, n_features):
        """Return covariances that rounding may have made indefinite as definite ones, and their factors.

        A regularised covariance is positive definite; beside a variance of 1e18 its arithmetic cannot show it. Where
        a family has correlations, the least share of each variance that makes the matrix definite is added to it, in
        steps from the rounding of float64 up. The share is relative, so that no units of the features are favoured.

        Raises
        ------
        IllDefinedCovarianceError
            If that does not help, since the covariances are not finite or a variance is not positive.
        """
        raise IllDefinedCovarianceError

    def without(self, params, component):
        """Return the parameters without one component; the other weights stay as they are."""
        weights, means = (np.delete(array, component, axis=0) for array in (params.weights, params.means))
        if self.shared:
            return Parameters(weights, means, params.covariances, params.precisions_cholesky)
        others = (np.delete(array, component, axis=0) for array in (params.covariances, params.precisions_cholesky))
        return Parameters(weights, means, *others)

    def constants(self, params, *, dtype=None, shift=None):
        """Return the parameters in the form that the kernels evaluate.

        Parameters
        ----------
        params : Parameters
        dtype : dtype, optional
            The type that rows are computed in; default: that of the parameters.
        shift : (D,) array, optional
            A point near the data; default: the mean of the mixture. It is used where it helps: see `is_shifted`.

        Returns
        -------
        KernelConstants
        """
        dtype = np.dtype(params.means.dtype if dtype is None else dtype)
        weights = np.ascontiguousarray(params.weights, dtype=np.float64)
        means = np.ascontiguousarray(params.means, dtype=np.float64)
        kind, factors, log_det = self.factors(params)
        if not is_shifted(kind, dtype):
            shift = np.zeros(means.shape[1])
        elif shift is None:
            shift = weights @ means
        else:
            shift = np.ascontiguousarray(shift, dtype=np.float64)
        log_norm = _linalg.log_norms(weights, log_det, means.shape[1])
        constants = KernelConstants(kind, means, factors, log_norm, shift, dtype)
        far_apart = kind == "rotated" and _linalg.spread(means, shift, factors) > MOST_SPREAD[dtype.itemsize]
        constants = constants.unpooled() if far_apart else constants
        if params.noise is None:
            return constants
        noise = params.noise
        return constants.with_uniform(np.log1p(-noise.weight), noise.log_density, noise.log_sides())

    def draw(self, params, component, n, rng):
        """Return n rows (n, D), float64, of one component.

        Parameters
        ----------
        params : Parameters
        component : int
        n : int
        rng : numpy.random.Generator
        """
        normal = rng.standard_normal((n, self.n_normals(params.n_features)))
        return params.means[component].astype(np.float64) + self.scale_draws(params, component, normal)
