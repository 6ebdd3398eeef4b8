"""k-means in one call, where passes are short."""

import numpy as np

from fastgmm.engine import _kmeans
from fastgmm.engine._kmeans import heap_of, positions
from fastgmm.engine._steps import is_short
from fastgmm.engine.constants import point_kernel
from fastgmm.engine.nearest import Nearest
from fastgmm.engine.visits import on_all_rows

__all__ = ["heap_of", "lloyd", "positions", "seed"]


def lloyd(rows, weights, centres, *, shift, max_iter, gain, labels):
    """Return centres (K, D) and the `Nearest` of them after Lloyd's algorithm, or None if it has to go pass by pass.

    Parameters
    ----------
    rows : Rows
        To be read in place.
    weights : Weights
    centres : (K, D) array
    shift : (D,) array
        Taken off rows and centres first.
    max_iter : int
    gain : float
        It stops when an iteration has lowered the inertia by no more than this share of it.
    labels : bool
        Whether labels are wanted.
    """
    centres = np.array(centres, dtype=np.float64, order="C")
    kernel = point_kernel("spherical", centres, shift, rows.dtype.itemsize == 4)
    n_visits = rows.n_rows if weights.kept is None else len(weights.kept)
    if not is_short(kernel, n_visits):
        return None
    found = np.empty(n_visits, np.int64) if labels else None
    inertia = _kmeans.lloyd(kernel, rows.array, weights.kept, weights, centres, max_iter, gain, found)
    if inertia is None:
        return None
    return centres, Nearest(inertia, on_all_rows(found, weights.kept, rows.n_rows, -1))


def seed(rows, weights, first, draws, *, shift):
    """Return the positions (K,) of the rows that greedy k-means++ takes, or None if it has to go pass by pass.

    Parameters
    ----------
    rows, weights, shift
        As in `lloyd`.
    first : int
        Position of the first centre among the rows with positive weight.
    draws : (K - 1, n_trials) array
        Numbers in [0, 1) that say which candidates each further centre has.
    """
    anywhere = np.empty((draws.shape[1], len(shift)))
    anywhere[:] = shift
    one, some = (
        point_kernel("spherical", points, shift, rows.dtype.itemsize == 4) for points in (anywhere[:1], anywhere)
    )
    if not is_short(some, rows.n_rows if weights.kept is None else len(weights.kept)):
        return None
    return _kmeans.seed(one, some, rows.array, weights.kept, weights, first, draws)
