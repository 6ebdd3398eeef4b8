"""The conjugate prior of means and covariances, and the M-step's posterior mode (Fraley and Raftery 2007).

With the shrinkage kappa, the mean m, the degrees of freedom nu and the scale Lambda,

    mu_k | Sigma_k ~ N(m, Sigma_k / kappa),    Sigma_k ~ inverse Wishart(nu, Lambda),

and for variances, sigma^2 ~ inverse gamma(nu / 2, lambda / 2) of each: of each feature where covariances are diagonal,
of each component where they are spherical. So the log-prior of a component is, but for a constant,

    -1/2 [kappa > 0] (log|Sigma_k| + kappa (mu_k - m)^T Sigma_k^-1 (mu_k - m))
    -1/2 (a log|Sigma_k| + tr(Sigma_k^-1 Lambda)),

with a = nu + D + 1 for matrices, nu + 2 for variances of the features and (nu + 2) / D for one variance, where Lambda
is I lambda / D. That has the form of the M-step's objective: its maximum is that of the likelihood with

    mu_k = (n_k x_k + kappa m) / (n_k + kappa)                          x_k the mean of the component's rows
    n_k + [kappa > 0] + a                                               in place of n_k
    W_k + kappa (mu_k - m)(mu_k - m)^T + Lambda                         in place of W_k, about mu_k

and pi_k = n_k / n as ever. It holds for every structure, since none was used; where all components have the same
covariance, a and Lambda count once and not K times. For VVV, EEE, VVI, EEI, VII and EII this is the posterior mode of
Fraley and Raftery. For the other structures the prior of each component is restricted to the structure.
"""

from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
import numpy.typing as npt

from fastgmm._checks import floats, is_number
from fastgmm._errors import IllDefinedCovarianceError, InvalidParameterError
from fastgmm.covariance._matrices import check_symmetric
from fastgmm.engine._linalg import inverse_cholesky

__all__ = ["ConjugatePrior", "Prior", "prior_of"]

MATRICES = ("full", "tied")  # containers of families whose covariances are matrices


@dataclass(frozen=True)
class ConjugatePrior:
    """The conjugate prior of means and covariances (Fraley and Raftery 2007), with mclust's defaults.

    A fit with it finds the largest posterior density instead of the largest likelihood. No covariance can become
    singular, so that a fit survives too many components, few rows and duplicates.

    Parameters
    ----------
    shrinkage : float, default=0.01
        As how many rows at `mean` the prior of each component's mean counts. 0 for none.
    mean : (n_features,) array, optional
        Where means are shrunk to; default: the mean of the rows.
    dof : float, optional
        Degrees of freedom of the inverse Wishart or inverse gamma density; default: n_features + 2. More than
        n_features - 1 where components have matrices, more than 0 where they have variances.
    scale : number, (n_features,) array or (n_features, n_features) array, optional
        Scale of that density, in the units of the features squared: a number stands for all features; families
        without correlations take no matrix, families of one variance only a number. Default: the covariance of the
        rows, their variances, or the mean of these, as the family needs it, divided by n_components**(2 / n_features).
        So units of features change nothing but units. mclust takes the mean of the variances for all features of
        diagonal families too.

    Raises
    ------
    InvalidParameterError
        If a number is not in its range, or an array not finite.

    References
    ----------
    Fraley and Raftery (2007), J. Classification 24:155.

    Examples
    --------
    >>> import fastgmm
    >>> X = [[0.0], [0.0], [0.0], [5.0], [5.0], [5.0]]
    >>> prior = fastgmm.ConjugatePrior(dof=3, scale=1.0)
    >>> result = fastgmm.fit(X, 2, covariance_type="V", prior=prior, reg_covar=0.0, random_state=0)
    >>> result.mixture.covariances.round(3)
    array([0.118, 0.118])
    """

    shrinkage: float = 0.01
    mean: npt.ArrayLike | None = None
    dof: float | None = None
    scale: npt.ArrayLike | None = None

    def __post_init__(self):
        """Check what does not depend on rows and families; arrays become tuples, which nobody can change."""
        if not is_number(self.shrinkage, Real, 0):
            raise InvalidParameterError(f"shrinkage must be a finite number >= 0, got {self.shrinkage!r}")
        if self.dof is not None and not (is_number(self.dof, Real, 0) and self.dof > 0):
            raise InvalidParameterError(f"dof must be None or a finite number > 0, got {self.dof!r}")
        for name in ("mean", "scale"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _as_tuples(floats(getattr(self, name), name).tolist()))

    def check(self, family, n_features):
        """Raise InvalidParameterError if a hyperparameter is impossible for a family and these features."""
        name, D = family.name, n_features
        if family.rank:
            raise InvalidParameterError(
                f"prior must be None for covariance_type={name!r}: a prior of matrices is not one of their factors"
            )
        least = D - 1 if family.container in MATRICES else 0
        if self.dof is not None and not self.dof > least:
            raise InvalidParameterError(
                f"dof of the prior must be > {least} for {name!r} and {D} features, got {self.dof!r}"
            )
        if self.mean is not None and np.shape(self.mean) != (D,):
            raise InvalidParameterError(f"mean of the prior must have the shape ({D},), got {np.shape(self.mean)}")
        if self.scale is None:
            return
        shapes = {"diag": ((), (D,)), "spherical": ((),)}.get(family.container, ((), (D,), (D, D)))
        scale = np.asarray(self.scale, dtype=np.float64)
        if scale.shape not in shapes:
            expected = " or ".join(str(shape) if shape else "a number" for shape in shapes)
            raise InvalidParameterError(
                f"scale of the prior must be {expected} for {name!r} and {D} features, got the shape {scale.shape}"
            )
        definite = (
            (scale > 0).all() if scale.ndim < 2 else np.allclose(scale, scale.T, rtol=1e-8) and _is_definite(scale)
        )
        if not definite:
            raise InvalidParameterError(f"scale of the prior must be positive definite, got {self.scale!r}")

    def of(self, family, n_components, rows):
        """Return the Prior for a family, with what is not given taken from rows.

        Parameters
        ----------
        family : Family
        n_components : int
        rows : Source

        Raises
        ------
        InvalidParameterError
            If a hyperparameter is impossible for the family or these features.
        IllDefinedCovarianceError
            If the covariance of the rows overflows float64.
        """
        n_features = rows.n_features
        self.check(family, n_features)
        mean = rows.moments()[0] if self.mean is None else floats(self.mean, "mean").astype(np.float64)
        if self.scale is None:
            scatter = _spread(family, rows) / n_components ** (2 / n_features)
        else:
            scatter = floats(self.scale, "scale").astype(np.float64)
        dof = n_features + 2.0 if self.dof is None else float(self.dof)
        if family.container in MATRICES:
            mass = dof + n_features + 1
            if scatter.ndim < 2:
                scatter = scatter * np.eye(n_features)
        elif family.container == "diag":
            mass, scatter = dof + 2, np.broadcast_to(scatter, (n_features,))
        else:
            mass = (dof + 2) / n_features
        return Prior(mean, float(self.shrinkage), mass, scatter, family.equal)


def prior_of(prior, family, n_components, rows):
    """Return the Prior of a ConjugatePrior for a family and rows; "conjugate" is ConjugatePrior(), and None is None.

    Raises
    ------
    InvalidParameterError
        If it is none of these, or impossible for the family or the rows.
    """
    if prior is None:
        return None
    if isinstance(prior, str) and prior == "conjugate":
        prior = ConjugatePrior()
    if not isinstance(prior, ConjugatePrior):
        raise InvalidParameterError(f"prior must be None, 'conjugate' or a ConjugatePrior, got {prior!r}")
    return prior.of(family, n_components, rows)


def _as_tuples(values):
    """Return nested lists as nested tuples."""
    return tuple(map(_as_tuples, values)) if isinstance(values, list) else values


def _is_definite(matrix):
    """Whether a matrix is symmetric and positive definite."""
    try:
        check_symmetric(matrix[None], "scale")
        inverse_cholesky(matrix[None])
    except ValueError:
        return False
    return True


def _spread(family, rows):
    """Return what the default scale is made of: covariance (D, D), variances (D,) or their mean, of n - 1 rows."""
    _, variances, weight = rows.moments()
    bessel = weight / max(weight - 1, weight / 2)  # weights below two: no more than twice
    if family.container in MATRICES:
        total = rows.covariance()
        if not np.isfinite(total).all():
            raise IllDefinedCovarianceError
        return bessel * total
    return bessel * (variances if family.container == "diag" else variances.mean())


@dataclass(frozen=True, eq=False)
class Prior:
    """A conjugate prior as the M-step of one family needs it.

    Attributes
    ----------
    mean : (D,) array
    shrinkage : float
    mass : float
        The a of the header.
    scatter : (D, D), (D,) or () array
        Lambda, its diagonal, or lambda, which is its trace.
    once : bool
        Whether the prior of the covariances counts once, since all components have the same.
    held : (K,) array of bool or None
        Which means are held, and not shrunk.
    """

    mean: np.ndarray
    shrinkage: float
    mass: float
    scatter: np.ndarray
    once: bool
    held: np.ndarray | None = None

    def holding(self, held):
        """Return the prior for an M-step with held means (K,)."""
        return replace(self, held=held)

    def posterior(self, stats):
        """Return what stands in place of the Statistics in an M-step: see `Posterior`."""
        n, own = stats.n, stats.means()
        share = np.divide(self.shrinkage, n + self.shrinkage, out=np.zeros_like(n), where=n + self.shrinkage > 0)
        means = own + share[:, None] * (self.mean - own)
        if self.held is not None:
            means = np.where(self.held[:, None], own, means)
        within = stats.with_means(np.ones(len(n), dtype=bool), means).within()
        offsets, K = means - self.mean, len(n)
        per_component = 1 / K if self.once else 1.0
        if stats.kind == "rotated":
            within = within + self.shrinkage * offsets.T @ offsets + self.scatter
        elif stats.kind == "full":
            outer = offsets[:, :, None] * offsets[:, None, :]
            within = within + self.shrinkage * outer + per_component * self.scatter
        elif stats.kind == "diagonal":
            within = within + self.shrinkage * offsets**2 + per_component * self.scatter
        else:
            within = within + self.shrinkage * (offsets**2).sum(axis=1) + per_component * self.scatter
        mass = n + (self.shrinkage > 0) + per_component * self.mass
        return Posterior(stats.kind, mass, stats.s, means, within)

    def log_density(self, params, family):
        """Return the log-density of parameters under the prior, but for a constant."""
        kind, W, half_log_det = family.factors(params)  # W^T W = Sigma^-1, and log|W|
        offsets = params.means.astype(np.float64) - self.mean
        K = len(offsets)
        if kind == "spherical":
            quadratic, trace = W**2 * (offsets**2).sum(axis=1), W**2 * self.scatter
        elif kind == "diagonal":
            quadratic, trace = ((W * offsets) ** 2).sum(axis=1), W**2 @ self.scatter
        else:
            W = np.broadcast_to(W, (K, *W.shape[-2:]))
            quadratic = ((W @ offsets[:, :, None]) ** 2).sum(axis=(1, 2))
            trace = np.einsum("kij,jl,kil->k", W, self.scatter, W, optimize=True)
        of_means = half_log_det - self.shrinkage * quadratic / 2 if self.shrinkage > 0 else np.zeros(K)
        of_covariances = self.mass * half_log_det - trace / 2
        return float(of_means.sum() + (of_covariances.mean() if self.once else of_covariances.sum()))


@dataclass(frozen=True, eq=False)
class Posterior:
    """What an M-step asks of Statistics, with a prior in it.

    Attributes
    ----------
    kind : str
    n : (K,) array
        What covariances are divided by.
    s : (K, D) array
        That of the Statistics.
    """

    kind: str
    n: np.ndarray
    s: np.ndarray
    _means: np.ndarray
    _within: np.ndarray

    @property
    def n_features(self):
        """Number of features."""
        return self.s.shape[1]

    def means(self):
        """Return the means (K, D) of the posterior."""
        return self._means

    def within(self):
        """Return the second moments about them and the prior's, as `Statistics.within`."""
        return self._within
