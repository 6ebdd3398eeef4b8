"""Base classes and error types: scikit-learn's where it is installed, stand-ins of our own where it is not.

The choice is made once, when this module is imported. Our error types are also scikit-learn's, so that code which
catches either of the two catches them.
"""

from __future__ import annotations

from typing import Any

from fastgmm import _errors

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, DensityMixin
    from sklearn.exceptions import ConvergenceWarning as _TheirConvergenceWarning
    from sklearn.exceptions import NotFittedError as _TheirNotFittedError
    from sklearn.utils._param_validation import InvalidParameterError as _TheirInvalidParameterError
    from sklearn.utils._set_output import _wrap_data_with_container
except ImportError:
    from ._standalone import BaseEstimator, ClassifierMixin, DensityMixin, in_container

    HAS_SKLEARN = False
    ConvergenceWarning = _errors.ConvergenceWarning
    InvalidParameterError = _errors.InvalidParameterError
    NotFittedError = _errors.NotFittedError
else:
    HAS_SKLEARN = True

    def in_container(values: Any, X: Any, estimator: Any) -> Any:
        """What `transform` makes of X, in the container that the user asked scikit-learn for."""
        return _wrap_data_with_container("transform", values, X, estimator)

    class ConvergenceWarning(_errors.ConvergenceWarning, _TheirConvergenceWarning):
        """A fit stopped before its convergence criterion was met."""

    class InvalidParameterError(_errors.InvalidParameterError, _TheirInvalidParameterError):
        """A parameter has a value of the wrong type or outside its range."""

    class NotFittedError(_errors.NotFittedError, _TheirNotFittedError):
        """An estimator was used before it was fitted."""


try:
    # Since scikit-learn 1.9.
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:
    from ._standalone import CallbackSupportMixin, with_callbacks

__all__ = [
    "HAS_SKLEARN",
    "BaseEstimator",
    "CallbackSupportMixin",
    "ClassifierMixin",
    "ConvergenceWarning",
    "DensityMixin",
    "InvalidParameterError",
    "NotFittedError",
    "in_container",
    "not_fitted",
    "with_callbacks",
]


def not_fitted(estimator: object) -> NotFittedError:
    """Return the error of an estimator that is used before its fit, in scikit-learn's words."""
    return NotFittedError(
        f"This {type(estimator).__name__} instance is not fitted yet. Call 'fit' with appropriate arguments before "
        "using this estimator."
    )
