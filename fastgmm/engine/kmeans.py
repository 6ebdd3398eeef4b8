"""k-means of few rows, packed once."""

import numpy as np

from fastgmm.engine import _kmeans
from fastgmm.engine._kmeans import seed
from fastgmm.engine._panels import PANEL, Panels
from fastgmm.engine.visits import on_all_rows

__all__ = ["lloyd", "pack", "seed"]

MOST_VALUES = 1 << 21  # of rows, their distances to candidates and to centres
VALUES_PER_ROW = 8  # beside its features


def pack(rows, weights, shift):
    """Return the rows that weigh anything as `Panels`, None if they are too many.

    Parameters
    ----------
    rows : Rows
    weights : Weights
    shift : (D,) array
        Taken off rows and centres first.

    Raises
    ------
    ValueError
        If a row is not finite.
    """
    n_visits = rows.n_rows if weights.kept is None else len(weights.kept)
    if n_visits * (rows.n_features + VALUES_PER_ROW) > MOST_VALUES:
        return None
    panels = Panels(n_visits, shift, rows.dtype.itemsize == 4, weights.unit)
    for piece, part, first, last in rows.slabs(weights.kept, PANEL):
        if not panels.fill(first, piece, part, weights.part(first, last).values):
            rows.raise_not_finite()
    return panels


def lloyd(panels, rows, weights, centres, *, max_iter, gain, labels, n_threads):
    """Return centres (K, D), labels (N,) or None, and inertia after Lloyd's algorithm.

    Parameters
    ----------
    panels, rows, weights
        What `pack` returned, and of what.
    centres : (K, D) array
    max_iter : int
        One at least.
    gain : float
        It stops when an iteration has lowered the inertia by no more than this share of it.
    labels : bool
        Whether labels are wanted.
    n_threads : int
    """
    offsets = np.ascontiguousarray(centres - panels.shift)
    n_visits = rows.n_rows if weights.kept is None else len(weights.kept)
    found = np.empty(n_visits, np.int64) if labels else None
    inertia = _kmeans.lloyd(panels, offsets, max_iter, gain, found, n_threads)
    return panels.shift + offsets, on_all_rows(found, weights.kept, rows.n_rows, -1), inertia
