"""Several steps of EM in one call, where passes are short."""

from typing import NamedTuple

from fastgmm.engine._steps import Steps, is_short
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


def steps_over(rows, constants, *, reg_covar, limits, weights, scatter=None, known_labels=None):
    """Return what makes steps of EM over rows, or None if passes over them are not short.

    Parameters
    ----------
    rows : Rows
        To be read in place.
    constants : KernelConstants
        Of any mixture of the kind and shape, with the shift of all; not of the low-rank kind.
    reg_covar : float
        Added to the diagonals of the covariances.
    limits : Limits
        Steps end before one that meets them.
    weights : Weights
    scatter : (D, D) array, optional
        Of the rotated kind: the total scatter of the rows about the shift.
    known_labels : (N,) int64 array, optional
        As in `fastgmm.accumulate`.

    Returns
    -------
    Steps or None
    """
    kernel = constants.kernel()
    n_rows = rows.n_rows if weights.kept is None else len(weights.kept)
    if not is_short(kernel, n_rows):
        return None
    known = known_of_visits(known_labels, weights.kept, 0, n_rows)
    return Steps(kernel, rows.array, weights.kept, weights, known, scatter, reg_covar, *limits)
