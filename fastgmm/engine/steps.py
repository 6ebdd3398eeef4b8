"""Several steps of EM in one call, where passes are short."""

from typing import NamedTuple

import numpy as np

from fastgmm.engine._steps import Steps, is_short
from fastgmm.engine.constants import point_kernel
from fastgmm.engine.visits import known_of_visits

__all__ = ["Limits", "steps_over"]


class Limits(NamedTuple):
    """What a step of EM may meet without asking for more than a pass and an M-step.

    Attributes
    ----------
    least_share : float
        Of the weight: a component of less has lost its rows.
    most_cancellation : float
        Moments that cancelled by a larger factor are taken again about the new means.
    most_spread : float
        Largest distance of a mean from the shift, in standard deviations, where rows are rotated.
    """

    least_share: float
    most_cancellation: float
    most_spread: float


def steps_over(
    rows, kind, n_components, shift, *, reg_covar, limits, weights, scatter, known_labels=None, structure=None
):
    """Return what makes steps of EM over rows, or None if passes over them are not short.

    Parameters
    ----------
    rows : Rows
        To be read in place.
    kind : str
        Kernel kind, but low-rank.
    n_components : int
    shift : (D,) array
        Of the constants of all steps.
    reg_covar : float
        Added to the diagonals of the covariances.
    limits : Limits
        Steps end before one that meets them.
    weights : Weights
    scatter : callable
        Of the rotated kind: ``scatter(shift, group)`` returns the total scatter (D, D) of the rows about the shift,
        which groups of so many rows are added up to.
    known_labels : (N,) int64 array, optional
        As in `fastgmm.accumulate`.
    structure : str, optional
        What the covariances have in common: see `fastgmm.engine._structures.nearest`.

    Returns
    -------
    Steps or None
    """
    kernel = point_kernel(kind, np.zeros((n_components, len(shift))), shift, rows.dtype.itemsize == 4)
    n_rows = rows.n_rows if weights.kept is None else len(weights.kept)
    if not is_short(kernel, n_rows):
        return None
    total = scatter(shift, kernel.group_rows) if kind == "rotated" else None
    known = known_of_visits(known_labels, weights.kept, 0, n_rows)
    return Steps(kernel, rows.array, weights.kept, weights, known, total, reg_covar, *limits, structure)
