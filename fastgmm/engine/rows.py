"""The one place where a user's array becomes rows that the engine can read."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastgmm._checks import ONE_PASS, as_array
from fastgmm._names import feature_names

__all__ = ["ALL_ZERO", "Rows", "Weights", "check_sample_weight", "check_weight_values", "numbers"]

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

SLAB_BYTES = 3 << 20  # an array in a foreign dtype is converted in pieces of about this size

ALL_ZERO = "sample_weight: all weights are zero. Sample weights must contain at least one non-zero number."
LARGEST_TOTAL_WEIGHT = 1e300  # times a number of features it is still a float64

ONE_DIMENSION = (
    "Expected 2D array, got {kind} array instead:\narray={array}.\nReshape your data either using "
    "array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it contains a single sample."
)
TOO_FEW = "Found array with {n} {what}(s) (shape={shape}) while a minimum of {least} is required{by}."


class Rows:
    """A checked view on a two-dimensional array of numbers; nothing is copied.

    float32 and float64 arrays are read where they are, whatever their strides; other dtypes, byte orders and
    unaligned arrays are converted to float64 piece by piece as a pass goes through them. Whether all values are
    finite is found out by the passes themselves, which then call `raise_not_finite`.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features)
    min_rows : int, default=1
    name : str, default="X"
        How error messages call the array.
    estimator : str, default=""
        Who requires what the messages say.

    Attributes
    ----------
    array : ndarray of shape (n_rows, n_features)
    n_rows, n_features : int
    dtype : numpy.dtype
        The compute type: float32 for float32 arrays, float64 for all others.
    column_names : ndarray of str or None
        Names of the columns, of a data frame.

    Raises
    ------
    TypeError
        For sparse, masked, or other objects that are not dense numbers.
    ValueError
        For complex data, text, or a wrong shape.

    Examples
    --------
    >>> Rows([[1, 2], [3, 4]]).dtype
    dtype('float64')
    """

    __slots__ = ("array", "column_names", "dtype", "n_features", "n_rows", "name", "native")

    def __init__(self, X, *, min_rows=1, name="X", estimator=""):
        array = _as_numbers(X, name)
        _check_shape(array, min_rows, estimator)
        self.array, self.column_names = array, feature_names(X)
        self.name = name
        self.n_rows, self.n_features = array.shape
        self.dtype = _FLOAT32 if array.dtype == _FLOAT32 else _FLOAT64
        self.native = array.dtype == self.dtype and array.flags.aligned

    @classmethod
    def of(cls, X, *, min_rows=1):
        """Return X itself if it is Rows, else Rows(X)."""
        return X if isinstance(X, cls) else cls(X, min_rows=min_rows)

    def slabs(self, kept, group):
        """Yield (piece, kept_piece, first, last): all rows at once if they can be read in place, else converted pieces.

        Parameters
        ----------
        kept : (n_kept,) intp array or None
            The rows to visit.
        group : int
            Pieces are multiples of it, so that they accumulate to the same bits as the whole. A converted piece is
            overwritten by the next one.
        """
        n = self.n_rows if kept is None else len(kept)
        if self.native:
            yield self.array, kept, 0, n
            return
        step = min(n, max(1, SLAB_BYTES // (8 * self.n_features * group)) * group)
        buffer = np.empty((step, self.n_features), dtype=self.dtype)
        for first in range(0, n, step):
            last = min(n, first + step)
            picked = self.array[first:last] if kept is None else self.array[kept[first:last]]
            piece = buffer[: last - first]
            with np.errstate(over="ignore", invalid="ignore"):  # what overflows float64 is reported as infinity
                np.copyto(piece, picked, casting="unsafe")
            yield piece, None, first, last

    def pieces(self):
        """Yield (first, piece): the rows a few megabytes at a time, of the compute type."""
        step = max(1, SLAB_BYTES // (8 * self.n_features))
        for first in range(0, self.n_rows, step):
            with np.errstate(over="ignore", invalid="ignore"):
                piece = np.asarray(self.array[first : first + step], dtype=self.dtype)
            yield first, piece

    def has_gaps(self):
        """Return whether there are NaN among the values; ValueError for infinities."""
        gaps = False
        for first, piece in self.pieces():
            if not np.isfinite(piece).all():
                self._raise_first(first, piece, np.isinf(piece))
                gaps = True
        return gaps

    def raise_not_finite(self, offset=0, gaps=False):
        """Raise ValueError naming the first infinity, or NaN unless gaps may be; rows are counted from `offset`."""
        for first, piece in self.pieces():
            self._raise_first(offset + first, piece, np.isinf(piece) if gaps else ~np.isfinite(piece))
        raise AssertionError("a pass reported a value that is not finite, but all are")

    def _raise_first(self, first, piece, bad):
        """Raise ValueError naming the first bad value of a piece, if there is one."""
        if not bad.any():
            return
        row, column = np.unravel_index(np.argmax(bad), bad.shape)
        gap = np.isnan(piece[row, column])
        what = "NaN" if gap else f"infinity or a value too large for {self.dtype!r}"
        raise ValueError(
            f"Input {self.name} contains {what}. The first is in row {first + row}, column {column} (counted from 0)."
            + (' fastgmm.fit and GaussianMixture take gaps with missing="em".' if gap else "")
        )


def _as_numbers(X, name):
    """Return X as an ndarray of real numbers without copying a numeric array."""
    array = as_array(X, name)
    kind = array.dtype.kind
    if kind == "O" and isinstance(X, Iterator):
        raise TypeError(ONE_PASS.format(what=name))
    if kind == "c":
        raise ValueError(f"Complex data not supported\n{array}\n")
    if kind in "US" and array.ndim:
        raise ValueError(
            f"dtype='numeric' is not compatible with arrays of bytes/strings. Convert {name} to numeric values "
            "explicitly instead."
        )
    if X is None:
        raise ValueError(ONE_DIMENSION.format(kind="scalar", array=X))
    if kind in "OUS" and array.ndim == 0:
        lazy = f": its rows are not there before {name}.collect()" if type(X).__name__ == "LazyFrame" else ""
        raise TypeError(f"{name} must be an array or a data frame, got {type(X).__name__}{lazy}")
    if kind == "O":
        array = _from_objects(array, name)
    elif kind not in "fiub":
        raise TypeError(f"{name} must hold numbers, got dtype {array.dtype}")
    return array


def _from_objects(array, name):
    """Return an array of objects as float64, or raise an error that names the first one that is no number."""
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        gaps = np.frompyfunc(lambda value: type(value).__name__ == "NAType", 1, 1)(array).astype(bool)
        if gaps.any():  # pandas.NA, which is None and NaN to its columns, but no float
            return _from_objects(np.where(gaps, np.nan, array), name)
        for place, value in np.ndenumerate(array):
            try:
                float(value)
            except (TypeError, ValueError, OverflowError) as error:
                where = ", ".join(f"{axis} {i}" for axis, i in zip(("row", "column"), place, strict=False))
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(f"{name} must hold numbers, but {where} (counted from 0) holds none: {error}") from error
        raise


def _check_shape(array, min_rows, estimator):
    by = f" by {estimator}" if estimator else ""
    if array.ndim < 2:
        kind = "scalar" if array.ndim == 0 else "1D"
        raise ValueError(ONE_DIMENSION.format(kind=kind, array=array))
    if array.ndim > 2:
        raise ValueError(f"Found array with dim {array.ndim}, while dim <= 2 is required{by}.")
    for n, what, least in zip(array.shape, ("sample", "feature"), (min_rows, 1), strict=True):
        if n < least:
            raise ValueError(TOO_FEW.format(n=n, what=what, shape=array.shape, least=least, by=by))


class Weights(NamedTuple):
    """Weights of rows as the passes take them.

    Attributes
    ----------
    values : float64 array of shape (n_kept,) or None
        The positive weights; None if none are given, or all are one.
    kept : intp array of shape (n_kept,) or None
        The rows with positive weight, None for all. Rows of weight zero are dropped before blocks are formed, so that
        they change no bit of any result.
    unit : float
        The power of two next to the largest weight. Passes compute in this unit, so that neither float32 rows nor
        sums of squares limit the range of the weights.
    """

    values: np.ndarray | None = None
    kept: np.ndarray | None = None
    unit: float = 1.0

    def part(self, first, last):
        """Return the weights of the visited rows first..last."""
        return self if self.values is None else self._replace(values=self.values[first:last])

    def indices(self, n_rows):
        """Return the rows with positive weight (n_kept,)."""
        return np.arange(n_rows) if self.kept is None else self.kept

    def of_rows(self, n_rows):
        """Return the weight of every row (n_rows,), zeros included."""
        weights = np.zeros(n_rows)
        weights[slice(None) if self.kept is None else self.kept] = 1.0 if self.values is None else self.values
        return weights


def check_sample_weight(sample_weight, n_rows):
    """Return weights as the passes take them.

    Parameters
    ----------
    sample_weight : array-like of shape (n_rows,), number, None, or Weights, which are returned as they are
    n_rows : int

    Returns
    -------
    Weights

    Raises
    ------
    ValueError
        If weights are negative, not finite, all zero, too large to add up, or not one per row.
    """
    if isinstance(sample_weight, Weights):
        return sample_weight
    if sample_weight is None:
        return Weights()
    weights = numbers(sample_weight, "sample_weight")
    if weights.ndim == 0:
        weights = np.full(n_rows, weights)
    if weights.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, got {weights.ndim}D array as sample_weight.")
    if weights.shape != (n_rows,):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(n_rows,)}!")
    check_weight_values(weights)
    if not weights.any():
        raise ValueError(ALL_ZERO)
    with np.errstate(over="ignore"):
        total = weights.sum()
    if total > LARGEST_TOTAL_WEIGHT:
        raise ValueError(f"sample_weight: the sum of the weights is {total}, expected at most {LARGEST_TOTAL_WEIGHT}.")
    positive = weights > 0
    unit = float(np.ldexp(1.0, np.frexp(weights.max())[1] - 1))
    kept = None if positive.all() else np.flatnonzero(positive)
    weights = weights if kept is None else weights[kept]
    return Weights(None, kept) if (weights == 1).all() else Weights(weights, kept, unit)


def numbers(values, name):
    """Return what should be real numbers as a float64 array in C order."""
    array = as_array(values, name)
    if array.dtype.kind == "O":
        array = _from_objects(array, name)
    elif array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold numbers, got dtype {array.dtype}")
    return np.require(array, np.float64, ["C", "A"])


def check_weight_values(weights, name="sample_weight", offset=0):
    """Raise ValueError if weights (n,) are not finite or negative; rows are counted from `offset`."""
    bad = ~np.isfinite(weights)
    if bad.any():
        what = "NaN" if np.isnan(weights[np.argmax(bad)]) else "infinity"
        raise ValueError(
            f"Input {name} contains {what}. The first is in row {offset + np.argmax(bad)} (counted from 0)."
        )
    if (weights < 0).any():
        raise ValueError(
            f"Negative values in data passed to `{name}`: row {offset + np.argmax(weights < 0)} has "
            f"{weights[weights < 0][0]} (rows counted from 0)."
        )
