"""Classes of rows as users pass them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm._checks import as_array

from ._protocol import HAS_SKLEARN
from ._warn import warn_user


def checked_targets(y: Any, n_rows: int, estimator: str) -> npt.NDArray[Any]:
    """Return the class of each row, in scikit-learn's words where it is not one.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        Ints, strings, bools, or floats that are whole numbers.
    n_rows : int
        Number of rows of X.
    estimator : str
        The estimator's name, for messages.

    Returns
    -------
    targets : ndarray of shape (n_rows,)

    Raises
    ------
    ValueError
        If y is None, has another shape, is not finite, or holds numbers that are no classes.
    TypeError
        If it holds classes of several kinds, such as strings and NaN.

    Warns
    -----
    DataConversionWarning
        If y is a column; a UserWarning where scikit-learn is not installed.

    Examples
    --------
    >>> from fastgmm.estimators._targets import checked_targets
    >>> checked_targets(["a", "b"], 2, "GaussianMixtureClassifier").tolist()
    ['a', 'b']
    """
    if y is None:
        raise ValueError(f"{estimator} requires y to be passed, but the target y is None.")
    targets = as_array(y, "y")
    if targets.ndim == 2 and targets.shape[1] == 1:
        category: type[Warning] = UserWarning
        if HAS_SKLEARN:
            from sklearn.exceptions import DataConversionWarning as category
        warn_user("A column-vector y was passed when a 1d array was expected.", category)
        targets = targets[:, 0]
    if targets.shape != (n_rows,):
        raise ValueError(f"y must have the shape ({n_rows},), one class for each row of X, got {targets.shape}")
    if targets.dtype.kind in "fc":
        if not np.isfinite(targets).all():
            raise ValueError("Input y contains NaN or infinity.")
        if targets.dtype.kind == "c" or (targets != np.round(targets)).any():
            raise ValueError("Unknown label type: continuous. y must hold classes, which are ints or strings.")
    if targets.dtype.kind == "O":
        try:
            np.unique(targets)
        except TypeError as error:
            kinds = sorted({type(target).__name__ for target in targets})
            raise TypeError(f"y must hold classes of one kind, ints or strings, got {', '.join(kinds)}") from error
    return targets
