"""Checks of parameters that users give: starting parameters of a fit, and those of a `Mixture`.

The words are scikit-learn's, where its users know them. What only a covariance family can judge (its shapes, positive
definiteness) is checked by the family.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from ._errors import InvalidParameterError

WEIGHT_SUM_TOLERANCE = {np.dtype(np.float64): 1e-8, np.dtype(np.float32): 1e-6}
"""How far from one the sum of weights may lie, by their type."""


ONE_PASS = (
    "{what} is an iterator, which can be consumed only once, but a fit takes several passes. "
    "fastgmm.sources.BatchSource(..., spool=True) writes its rows to a temporary file. Or give a list of batches, "
    "an object whose __iter__ begins anew, or a function that returns a new iterator, as in BatchSource(lambda: "
    "read_batches()); or give each batch to partial_fit as it comes."
)
"""What is said of rows that can be read once."""


def is_number(value: Any, kind: type[Any], low: float) -> bool:
    """Whether a value is of a kind, Integral or Real, finite as a float, and >= `low`."""
    plain = type(value) is int or (type(value) is float and kind is not Integral)
    if not plain and (not isinstance(value, kind) or isinstance(value, bool)):
        return False
    try:
        return math.isfinite(value) and bool(low <= value)
    except OverflowError:  # an int beyond the range of float
        return False


def check_number(value: Any, name: str, kind: type[Any], low: float) -> Any:
    """Return a number of a kind, Integral or Real, as a plain int or float.

    NumPy's integers of few bits overflow where we compute with them, and exact fractions make arrays of objects.

    Raises
    ------
    InvalidParameterError
        Unless the value is of that kind, finite and >= `low`.
    """
    if not is_number(value, kind, low):
        what = "an int" if kind is Integral else "a finite number"
        raise InvalidParameterError(f"{name} must be {what} >= {low}, got {value!r}")
    return int(value) if kind is Integral else float(value)


def check_choice(value: Any, name: str, known: Iterable[str]) -> str:
    """Return one of the known words.

    Raises
    ------
    InvalidParameterError
        If it is none of them.
    """
    known = tuple(known)
    if not isinstance(value, str) or value not in known:
        raise InvalidParameterError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
    return value


def check_enough_rows(n_rows: int, n_components: int) -> None:
    """Raise a ValueError if there are fewer rows than components."""
    if n_rows < n_components:
        raise ValueError(
            f"Expected n_samples >= n_components but got n_components = {n_components}, n_samples = {n_rows}"
        )


MISSING = ("raise", "em")
"""What may happen to gaps in rows, NaN: see `fastgmm.fit`, ``missing``."""


def check_missing(missing: Any) -> str:
    """Return what happens to gaps in rows.

    Raises
    ------
    InvalidParameterError
        Unless it is one of `MISSING`.
    """
    return check_choice(missing, "missing", MISSING)


def check_labels(labels: Any, n_rows: int, name: str = "known_labels") -> npt.NDArray[Any]:
    """Return what a user passes as components of rows that are known, (n_rows,) integers.

    Raises
    ------
    ValueError, TypeError
        If they are no integers, or not one for each row.
    """
    labels = as_array(labels, name)
    if labels.shape != (n_rows,):
        raise ValueError(f"{name} must have the shape ({n_rows},), one for each row of X, got {labels.shape}")
    check_label_type(labels.dtype, name)
    return labels


def check_label_type(dtype: Any, name: str = "known_labels") -> None:
    """Raise TypeError if a type of labels is none of integers."""
    if dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, -1 where they are not known, got {dtype}")


def check_label_values(labels: npt.NDArray[Any], name: str = "known_labels") -> None:
    """Raise ValueError if labels (n,) are below -1, or so large that they would be as int64."""
    for label in (labels.min(), labels.max()) if len(labels) else ():
        if not -1 <= int(label) < 2**63:
            raise ValueError(f"{name} must be components, or -1 where they are not known, got {label}")


def known_of_weights(labels: Any, weights: Any) -> Any:
    """Return known labels (n,) with -1 on rows of weight zero, which are as if they were not there; None of None."""
    return labels if labels is None or weights is None else np.where(weights > 0, labels, -1)


def as_array(values: Any, name: str) -> npt.NDArray[Any]:
    """Return what a user passes as an array, of whatever type it holds; one that is an array already is not copied.

    Parameters
    ----------
    values : array-like
        Data or a parameter.
    name : str
        Its name for messages.

    Returns
    -------
    array : ndarray

    Raises
    ------
    TypeError
        If the values are sparse, or some of them are masked: what lies under a mask is no data.
    ValueError
        If lists in them have different lengths.

    Examples
    --------
    >>> from fastgmm._checks import as_array
    >>> as_array([1, 2], "X")
    array([1, 2])
    """
    if type(values) is np.ndarray:
        return values
    if hasattr(values, "tocsr"):
        raise TypeError(
            f"Sparse data was passed for {name}, but dense data is required. Use '.toarray()' to convert to a dense "
            "numpy array."
        )
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        n_masked = np.ma.count_masked(values)
        raise TypeError(
            f"{name} has {n_masked} masked values, but an array without gaps is expected. In {name}.filled(numpy.nan) "
            "of a float array gaps are NaN."
        )
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array of numbers, but {error}") from error
    except TypeError as error:  # columns of types that have none in common, such as numbers and dates
        raise TypeError(f"{name} must be a rectangular array of numbers, but {error}") from error


def floats(values: Any, name: str) -> npt.NDArray[np.floating]:
    """Return a parameter as a new finite array: float32 if it was float32, else float64.

    Parameters
    ----------
    values : array-like
        The parameter.
    name : str
        Its name for messages.

    Returns
    -------
    array : ndarray
        A copy in C order and native byte order.

    Raises
    ------
    ValueError
        If the values are not real, finite numbers in a rectangular array.
    TypeError
        If they are sparse, or some of them are masked.

    Examples
    --------
    >>> from fastgmm._checks import floats
    >>> floats([1, 2], "weights")
    array([1., 2.])
    """
    array = as_array(values, name)
    try:
        if array.dtype.kind == "c":
            raise ValueError("Complex data not supported")
        if array.dtype.kind in "SUMmV":
            raise TypeError(f"it has the type {array.dtype}")
        dtype = np.float32 if array.dtype == np.float32 else np.float64
        array = np.array(array, dtype=dtype, order="C")
    except (TypeError, ValueError) as error:
        raise ValueError(f"The parameter '{name}' should be an array of real numbers, but {error}") from error
    if not np.isfinite(array).all():
        what = "NaN" if np.isnan(array).any() else "infinity"
        raise ValueError(f"The parameter '{name}' should be finite, but it contains {what}.")
    return array


def common_dtype(*arrays: npt.NDArray[np.floating]) -> np.dtype:
    """Return float32 if all arrays are float32, else float64."""
    return np.result_type(*arrays)


def check_shape(array: npt.NDArray[np.floating], shape: tuple[int, ...], name: str) -> None:
    """Raise a ValueError naming the parameter if the array has another shape."""
    if array.shape != shape:
        raise ValueError(f"The parameter '{name}' should have the shape of {shape}, but got {array.shape}")


def check_weights(weights: Any, n_components: int) -> npt.NDArray[np.floating]:
    """Return mixing proportions as an array, or raise a ValueError that says what is wrong with them.

    Parameters
    ----------
    weights : array-like of shape (n_components,)
        Proportions: in [0, 1], with sum one within `WEIGHT_SUM_TOLERANCE`.
    n_components : int
        Number of components.

    Returns
    -------
    weights : ndarray of shape (n_components,)

    Raises
    ------
    ValueError
        If they are not such proportions.

    Examples
    --------
    >>> from fastgmm._checks import check_weights
    >>> check_weights([0.25, 0.75], 2)
    array([0.25, 0.75])
    """
    weights = floats(weights, "weights")
    check_shape(weights, (n_components,), "weights")
    tolerance = WEIGHT_SUM_TOLERANCE[weights.dtype]
    if weights.min() < 0.0 or weights.max() > 1.0 + tolerance:
        raise ValueError(
            f"The parameter 'weights' should be in the range [0, 1], but got max value {weights.max():.5f}, "
            f"min value {weights.min():.5f}"
        )
    total = weights.sum(dtype=np.float64)
    if abs(1.0 - total) > tolerance:
        digits = 5 if abs(1.0 - total) > 1e-5 else 10  # scikit-learn's five would often say that the sum is 1.00000
        raise ValueError(f"The parameter 'weights' should be normalized, but got sum(weights) = {total:.{digits}f}")
    return weights


def check_means(means: Any, n_components: int, n_features: int) -> npt.NDArray[np.floating]:
    """Return means as an array of shape (n_components, n_features), or raise a ValueError naming the shapes."""
    means = floats(means, "means")
    check_shape(means, (n_components, n_features), "means")
    return means
