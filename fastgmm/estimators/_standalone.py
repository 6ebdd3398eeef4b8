"""What estimators inherit where scikit-learn is not installed, or is older than its callbacks.

Constructor parameters are what `__init__` names; they are stored untouched under the same names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Self

import numpy as np


class BaseEstimator:
    """Parameters by name, and a representation that shows those that were changed."""

    @classmethod
    def _get_param_names(cls) -> list[str]:
        """Names of the constructor's parameters, sorted."""
        return sorted(name for name in inspect.signature(cls.__init__).parameters if name != "self")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's parameters and their values.

        Parameters
        ----------
        deep : bool, default=True
            Accepted for scikit-learn's interface; no parameter of these estimators is itself an estimator.

        Returns
        -------
        params : dict
            Values by name.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> GaussianMixture(3).get_params()["n_components"]
        3
        """
        return {name: getattr(self, name) for name in self._get_param_names()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters of the constructor; a fit checks them.

        Parameters
        ----------
        **params : dict
            Values by name.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If there is no parameter of that name.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> GaussianMixture().set_params(n_components=3).n_components
        3
        """
        names = self._get_param_names()
        for name in params:
            if name not in names:
                raise ValueError(f"Invalid parameter {name!r} for estimator {self!r}. Valid parameters are: {names!r}.")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """The call that makes an equal estimator: parameters that are not the default."""
        defaults = inspect.signature(type(self).__init__).parameters
        changed = (
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if value is not defaults[name].default and repr(value) != repr(defaults[name].default)
        )
        return f"{type(self).__name__}({', '.join(changed)})"


class ClassifierMixin:
    """The accuracy of a classifier."""

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of the rows, by weight, whose class is found.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float

        Examples
        --------
        >>> from fastgmm import GaussianMixtureClassifier
        >>> X, y = [[0.0], [1.0], [4.0], [5.0]], [0, 0, 1, 1]
        >>> GaussianMixtureClassifier().fit(X, y).score(X, y)
        1.0
        """
        return float(np.average(self.predict(X) == np.asarray(y), weights=sample_weight))  # type: ignore[attr-defined]


class DensityMixin:
    """The mark of a density estimator; without scikit-learn nobody asks for it."""


class CallbackSupportMixin:
    """Without scikit-learn 1.9 or later there are no callbacks to support."""


def in_container(values: Any, X: Any, estimator: Any) -> Any:
    """Return what `transform` makes of X as it is: nobody can ask for another container."""
    return values


def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method as it is: there are no callbacks to tear down after it."""
    return method
