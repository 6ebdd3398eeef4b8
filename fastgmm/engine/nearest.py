"""The passes of k-means: nearest centres, and what a candidate for one would gain."""

from dataclasses import dataclass

import numpy as np

from fastgmm.engine import _pass
from fastgmm.engine.constants import point_kernel
from fastgmm.engine.threads import resolve
from fastgmm.engine.visits import on_all_rows, prepare, stretch

__all__ = ["Nearest", "nearest", "potential"]


@dataclass(frozen=True, eq=False)
class Nearest:
    """Nearest centres.

    Attributes
    ----------
    inertia : float
        Weighted sum of squared distances to the nearest centre.
    labels : (N,) int64 array or None
    distances2 : (N,) float64 array or None
        Squared distances.
    n : (K,) array or None
        Weight of the rows nearest to each centre.
    s : (K, D) array or None
        Weighted sums of those rows minus `shift`.
    """

    inertia: float
    labels: np.ndarray | None = None
    distances2: np.ndarray | None = None
    n: np.ndarray | None = None
    s: np.ndarray | None = None


def nearest(X, centres, *, shift=None, sample_weight=None, labels=False, distances2=False, sums=False, n_threads=None):
    """Return the nearest of K centres for each row: the pass of k-means.

    Parameters
    ----------
    X : array-like of shape (N, D)
    centres : (K, D) array
    shift : (D,) array, optional
        Taken off rows and centres first; default: the mean of the centres.
    labels, distances2, sums : bool, default=False
        Which parts of `Nearest` to fill. Rows of weight zero keep label -1 and distance 0.
    sample_weight, n_threads
        As in `accumulate`.

    Returns
    -------
    Nearest
    """
    rows, weights = prepare(X, centres.shape[1], sample_weight)
    K, D = centres.shape
    shift = centres.mean(axis=0) if shift is None else shift
    kernel = point_kernel("spherical", centres, shift, rows.dtype.itemsize == 4)
    n = rows.n_rows if weights.kept is None else len(weights.kept)
    found = np.empty(n, np.int64) if labels else None
    distance = np.empty(n) if distances2 else None
    total = np.zeros(2 + K * (1 + D) if sums else 2)
    for piece, part, first, last in rows.slabs(weights.kept, kernel.group_rows):
        parts = (stretch(array, first, last) for array in (found, distance))
        if not _pass.nearest(kernel, piece, part, weights.part(first, last), *parts, sums, total, resolve(n_threads)):
            rows.raise_not_finite()
    moments = total[2:].reshape(K, 1 + D) if sums else None
    return Nearest(
        float(total[0]),
        on_all_rows(found, weights.kept, rows.n_rows, -1),
        on_all_rows(distance, weights.kept, rows.n_rows, 0),
        None if moments is None else moments[:, 0],
        None if moments is None else moments[:, 1:],
    )


def potential(X, candidates, closest, *, shift, sample_weight=None, n_threads=None):
    """Return sum_i w_i min(closest_i, |x_i - candidate_k|^2) for each of K candidates (k-means++ seeding).

    Parameters
    ----------
    X : array-like of shape (N, D)
    candidates : (K, D) array
    closest : (n,) float64 array
        Squared distance of each row with positive weight to the closest centre so far.
    shift, sample_weight, n_threads
        As in `nearest`.

    Returns
    -------
    (K,) array
    """
    rows, weights = prepare(X, candidates.shape[1], sample_weight)
    kernel = point_kernel("spherical", candidates, shift, rows.dtype.itemsize == 4)
    total = np.zeros(2 + len(candidates))
    for piece, part, first, last in rows.slabs(weights.kept, kernel.group_rows):
        w = weights.part(first, last)
        if not _pass.potential(kernel, piece, part, w, closest[first:last], total, resolve(n_threads)):
            rows.raise_not_finite()
    return total[2:]
