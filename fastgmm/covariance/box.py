"""The box around rows that noise fills: the smaller of two, along the features and along their principal axes.

mclust's hypvol, without reciprocal. Where rows have gaps there is the first alone, around what was observed: a box
along other axes has no marginals that are uniform.

Bounds of parts of the rows add up to those of the whole, so rows may be anywhere. Coordinates along other axes are
products of matrices, which round differently where rows are cut differently: hence they are cut into the same pieces
everywhere.
"""

import functools
from dataclasses import dataclass
from math import isfinite

import numpy as np

from fastgmm._errors import InvalidParameterError
from fastgmm.covariance.noise import START_WEIGHT, Noise

__all__ = ["Bounds", "noise_around"]

FLAT = "noise=True takes the volume of a box around the rows, but they fill none: give it, noise=volume"
NO_ROWS = (
    "noise=True takes the volume of a box around the rows, but their source gives no rows (it has no method sum_over): "
    "give the volume, noise=volume"
)
MAX_VALUES = 1 << 17  # of rows that are turned at a time: a megabyte
EVEN_ROWS = 64  # a multiple of the rows that products of matrices take together: then cuts between pieces round nothing


@dataclass(frozen=True, eq=False)
class Bounds:
    """The least and the largest value of coordinates of rows; NaN where none was observed.

    Sums are the bounds of both; with zero, the bounds themselves, so that `sum` adds them up.

    Parameters
    ----------
    least, largest : arrays of one shape
    """

    least: np.ndarray
    largest: np.ndarray

    def __add__(self, other):
        """Bounds of both."""
        return Bounds(np.fmin(self.least, other.least), np.fmax(self.largest, other.largest))

    def __radd__(self, zero):
        """The bounds themselves, behind the zero that sums begin with."""
        return self

    @property
    def sides(self):
        """Lengths from the least to the largest, float64."""
        return self.largest.astype(np.float64) - self.least

    @property
    def middle(self):
        """Halfway from the least to the largest, float64."""
        return self.least + self.sides / 2


def noise_around(source, scales=None):
    """Return the Noise that EM starts from, in the box around the rows of a source: two passes.

    Parameters
    ----------
    source : Source
    scales : tuple of D float, optional
        Of rows with gaps: those of the box, which has the volume and the centre of that around what was observed.

    Raises
    ------
    InvalidParameterError
        If the rows fill no volume, or the source gives no rows.
    """
    if not source.gives_rows:
        raise InvalidParameterError(NO_ROWS)
    if scales is not None:
        bounds, offset, turned = source.sum_over(bounds_of_observed), 0.0, (None,)
    else:
        offset, axes = source.moments()[0], np.linalg.eigh(source.covariance())[1]
        bounds = source.sum_over(functools.partial(bounds_in_boxes, offset, axes), piece_rows(source.n_features))
        turned = None, axes
    sides = bounds.sides
    if not sides.min() > 0:
        raise InvalidParameterError(FLAT)
    volumes = np.log(sides).sum(axis=1)
    smallest = int(volumes.argmin())
    if not isfinite(volumes[smallest]):
        raise InvalidParameterError(FLAT)
    axes, middle = turned[smallest], bounds.middle[smallest]
    centre = offset + (middle if axes is None else axes @ middle)
    return Noise(START_WEIGHT, float(volumes[smallest]), sides[smallest] if scales is None else scales, centre, axes)


def piece_rows(n_features):
    """Return how many rows are turned at a time."""
    return max(1, MAX_VALUES // n_features // EVEN_ROWS) * EVEN_ROWS


def bounds_in_boxes(mean, axes, rows, weights=None):
    """Return the Bounds (2, D) of offsets of rows from a mean: along the features, and along axes.

    Parameters
    ----------
    mean : (D,) array
    axes : (D, D) array
        Orthonormal columns.
    rows : (n, D) array
    weights : ignored
        All rows have some: `Source.sum_over` gives them.
    """
    step, found = piece_rows(rows.shape[1]), 0
    for first in range(0, len(rows), step):
        offsets = np.array(rows[first : first + step], dtype=np.float64, order="C")
        offsets -= mean
        boxes = offsets, offsets @ axes
        found = found + Bounds(*(np.array([edge(box, axis=0) for box in boxes]) for edge in (np.min, np.max)))
    return found


def bounds_of_observed(rows, weights=None):
    """Return the Bounds (1, D) of what was observed of rows (n, D), gaps NaN; weights as for `bounds_in_boxes`."""
    return Bounds(np.fmin.reduce(rows, axis=0)[None], np.fmax.reduce(rows, axis=0)[None])
