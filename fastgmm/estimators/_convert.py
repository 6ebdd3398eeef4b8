"""Exact conversion to and from `sklearn.mixture.GaussianMixture`."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ._attributes import is_fitted

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

    Examples
    --------
    >>> from fastgmm import GaussianMixture
    >>> from fastgmm.estimators._convert import to_sklearn
    >>> to_sklearn(GaussianMixture(3)).n_components
    3
    """
    from sklearn.mixture import GaussianMixture as Theirs

    params = estimator.get_params(deep=False)
    del params["n_threads"]
    if not isinstance(params["init_params"], str):
        params["init_params"] = "kmeans"
    if isinstance(params["random_state"], np.random.Generator | np.random.SeedSequence):
        params["random_state"] = None
    theirs = Theirs(**params)
    if is_fitted(vars(estimator)):
        # Edited attributes are checked, and brought into agreement, before they leave.
        estimator.to_mixture()
        _copy_attributes(estimator, theirs)
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
    TypeError
        If it is another estimator.
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
    from sklearn.mixture import GaussianMixture as Theirs

    if not isinstance(estimator, Theirs):
        raise TypeError(f"estimator must be a sklearn.mixture.GaussianMixture. Got {estimator!r} instead.")
    ours = cls(**estimator.get_params(deep=False))
    if is_fitted(vars(estimator)):
        _copy_attributes(estimator, ours)
        ours.n_failed_inits_ = 0
        # Theirs belongs to the parameters before the last M-step: what a warm start continues from.
        ours._previous_bound = vars(estimator).get("lower_bound_", -np.inf)
        ours.to_mixture()
    return ours


def _copy_attributes(source: Any, target: Any) -> None:
    """Copy the shared fitted attributes, so that an edit of one estimator does not reach the other."""
    for name in SHARED:
        if name in vars(source):
            setattr(target, name, copy.deepcopy(vars(source)[name]))
