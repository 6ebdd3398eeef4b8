"""Exact conversion to and from `sklearn.mixture.GaussianMixture`."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from fastgmm import covariance
from fastgmm.fitting import Progress
from fastgmm.mixture import Mixture

from ._attributes import is_fitted
from ._protocol import InvalidParameterError

if TYPE_CHECKING:
    import sklearn.mixture

    from .gaussian_mixture import GaussianMixture

    _Estimator = TypeVar("_Estimator", bound=GaussianMixture)

SHARED = (
    "weights_",
    "means_",
    "covariances_",
    "precisions_cholesky_",
    "precisions_",
    "converged_",
    "n_iter_",
    "lower_bound_",
    "lower_bounds_",
    "n_features_in_",
    "feature_names_in_",
)
"""Fitted attributes that both estimators have."""

OURS_ALONE = (
    "on_collapse",
    "covariance_floor",
    "fixed",
    "split_merge",
    "equal_weights",
    "prior",
    "noise",
    "n_threads",
    "missing",
    "acceleration",
    "stopping",
    "max_time",
    "callback",
    "progress",
    "max_memory",
    "step_decay",
    "forgetting",
)
"""Parameters that scikit-learn's estimator has not; they matter to fits, not to what is fitted."""


def to_sklearn(estimator: GaussianMixture) -> sklearn.mixture.GaussianMixture:
    """Return scikit-learn's estimator of the same parameters and attributes.

    Parameters
    ----------
    estimator : GaussianMixture
        Fitted or not.

    Returns
    -------
    sklearn.mixture.GaussianMixture

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    InvalidParameterError
        A ValueError and a TypeError: if a parameter has a value that scikit-learn's estimator does not accept.
    TypeError
        If the estimator is of a subclass with parameters of its own.
    ValueError
        If its attributes were edited such that they describe no mixture, or there is noise.

    Examples
    --------
    >>> from fastgmm import GaussianMixture
    >>> from fastgmm.estimators._convert import to_sklearn
    >>> to_sklearn(GaussianMixture(3)).n_components
    3
    """
    Theirs = _their_class()
    theirs = Theirs(**_shared_params(estimator, Theirs))
    try:
        theirs._validate_params()
    except ValueError as error:
        raise InvalidParameterError(
            f"to_sklearn() needs parameters that scikit-learn's estimator has too. {error} Set another value first."
        ) from error
    if is_fitted(vars(estimator)):
        # Edited attributes are checked, and brought into agreement, before they leave.
        if estimator.to_mixture().noise is not None:
            raise ValueError(
                "scikit-learn's estimator has no noise component, and no density like that of this mixture: use the "
                "mixture as it is, or fit with noise=None first"
            )
        _copy_attributes(estimator, theirs)
        _as_dense(estimator.to_mixture(), theirs)
        theirs.n_components = len(theirs.weights_)  # fewer than asked for, where components were dropped
    return theirs


def from_sklearn(cls: type[_Estimator], estimator: Any) -> _Estimator:
    """Return an estimator of class `cls` with the parameters and attributes of scikit-learn's.

    Parameters
    ----------
    cls : type
        The class to make.
    estimator : sklearn.mixture.GaussianMixture
        Fitted or not.

    Returns
    -------
    GaussianMixture

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    TypeError
        If it is another estimator, or of a subclass with parameters of its own.
    ValueError
        If its attributes describe no mixture.

    Examples
    --------
    >>> import sklearn.mixture
    >>> from fastgmm import GaussianMixture
    >>> from fastgmm.estimators._convert import from_sklearn
    >>> from_sklearn(GaussianMixture, sklearn.mixture.GaussianMixture(3)).n_components
    3
    """
    Theirs = _their_class()
    if not isinstance(estimator, Theirs):
        raise TypeError(f"estimator must be a sklearn.mixture.GaussianMixture. Got {estimator!r} instead.")
    ours = cls(**_shared_params(estimator, Theirs))
    if is_fitted(vars(estimator)):
        _copy_attributes(estimator, ours)
        ours.collapses_, ours.n_failed_inits_ = [], 0
        # Theirs belongs to the parameters before the last M-step: what a warm start continues from.
        progress = Progress().at(vars(estimator).get("lower_bound_", -np.inf))
        ours._progress = list(progress)
        ours.stopped_by_ = "tol" if vars(estimator).get("converged_") else "max_iter"
        ours.last_gain_, ours.convergence_rate_, ours.remaining_gain_ = progress.gain, progress.rate, progress.remaining
        ours.gradient_norm_ = np.nan
        ours.to_mixture()
    return ours


def _their_class() -> type[sklearn.mixture.GaussianMixture]:
    """Return scikit-learn's estimator, or raise an ImportError that says what to install."""
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError as error:
        raise ImportError("Conversion needs scikit-learn: pip install scikit-learn") from error
    return GaussianMixture


def _shared_params(estimator: Any, theirs: type) -> dict[str, Any]:
    """Return copies of the parameters that scikit-learn's estimator has, if those are all that matter.

    Copies, as `sklearn.base.clone` makes them: two estimators that share a RandomState change each other's results.
    """
    shared = theirs().get_params()
    others = sorted({*estimator.get_params(deep=False)} - {*shared, *OURS_ALONE})
    if others:
        raise TypeError(
            "Only the parameters of a sklearn.mixture.GaussianMixture can be converted. "
            f"Got {estimator!r}, which has {', '.join(map(repr, others))} beside."
        )
    params = {name: copy.deepcopy(getattr(estimator, name)) for name in shared}
    if covariance.is_known(params["covariance_type"]):  # theirs has four, one of which contains it
        params["covariance_type"] = covariance.get(params["covariance_type"]).container
    return params


def _as_dense(mixture: Mixture, theirs: Any) -> None:
    """Set covariances of low rank, which scikit-learn does not have, as the matrices that they are."""
    if mixture.family.rank:
        dense = mixture.family.dense_covariances(mixture.covariances, mixture.n_components, mixture.n_features)
        full = Mixture(mixture.weights, mixture.means, dense)
        theirs.covariances_, theirs.precisions_ = np.array(full.covariances), np.array(full.precisions)
        theirs.precisions_cholesky_ = np.array(full.precisions_cholesky)


def _copy_attributes(source: Any, target: Any) -> None:
    """Copy the shared fitted attributes, so that an edit of one estimator does not reach the other."""
    for name in SHARED:
        if name in vars(source):
            setattr(target, name, copy.deepcopy(vars(source)[name]))


class ConvertMixin:
    """The conversions, as methods of `GaussianMixture`."""

    def to_sklearn(self) -> sklearn.mixture.GaussianMixture:
        """Return scikit-learn's estimator with the same parameters and, if fitted, the same attributes to the bit.

        Returns
        -------
        sklearn.mixture.GaussianMixture
            What only fastgmm offers has no place there. Its `lower_bound_` is the score of the parameters, where
            scikit-learn keeps that of one iteration before: a warm start that shall not stop at once needs `tol=0`.

        Raises
        ------
        ImportError
            If scikit-learn is not installed.
        InvalidParameterError
            A ValueError and a TypeError: if `init_params`, `random_state` or another parameter has a value that
            scikit-learn does not accept, such as labels or a Generator.
        TypeError
            If the estimator is of a subclass with parameters of its own.
        ValueError
            If attributes were edited such that they describe no mixture, or there is noise, which scikit-learn does not
            have.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> GaussianMixture().fit([[0.0], [2.0]]).to_sklearn().predict([[1.0]])
        array([0])
        """
        return to_sklearn(self)

    @classmethod
    def from_sklearn(cls, estimator: sklearn.mixture.GaussianMixture) -> Self:
        """Return a fastgmm estimator with the parameters and, if fitted, the attributes of scikit-learn's.

        Parameters
        ----------
        estimator : sklearn.mixture.GaussianMixture
            The estimator to copy.

        Returns
        -------
        GaussianMixture

        Raises
        ------
        ImportError
            If scikit-learn is not installed.
        TypeError
            If it is no `sklearn.mixture.GaussianMixture`, or of a subclass with parameters of its own.
        ValueError
            If its attributes describe no mixture.

        Examples
        --------
        >>> import sklearn.mixture
        >>> from fastgmm import GaussianMixture
        >>> GaussianMixture.from_sklearn(sklearn.mixture.GaussianMixture().fit([[0.0], [2.0]])).means_
        array([[1.]])
        """
        return from_sklearn(cls, estimator)
