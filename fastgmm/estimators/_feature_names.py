"""Names of the columns of what an estimator is fitted with, and of what it is asked about."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm._names import feature_names, refuse_other_names

from ._warn import warn_user


def check_feature_names(fitted: npt.NDArray[np.object_] | None, X: Any, estimator: str) -> None:
    """Compare the names of the columns of X with those that an estimator was fitted with.

    Parameters
    ----------
    fitted : ndarray of str or None
        `feature_names_in_`, if there is one.
    X : object
        What a user passed as data.
    estimator : str
        The estimator's name, for the messages.

    Raises
    ------
    ValueError
        If both have names and they differ. If only one has, a UserWarning is issued.

    Examples
    --------
    >>> from fastgmm.estimators._feature_names import check_feature_names
    >>> check_feature_names(None, [[1.0, 2.0]], "GaussianMixture")
    """
    names = feature_names(X)
    if names is None and fitted is None:
        return
    if fitted is None:
        warn_user(f"X has feature names, but {estimator} was fitted without feature names", UserWarning)
    elif names is None:
        warn_user(f"X does not have valid feature names, but {estimator} was fitted with feature names", UserWarning)
    else:
        refuse_other_names(fitted, names)
