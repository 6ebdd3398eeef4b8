"""The passes over rows, as Python calls them: arrays in, statistics or scores out."""

from dataclasses import dataclass

import numpy as np

from fastgmm.engine import _linalg, _pass
from fastgmm.engine._core import group_rows
from fastgmm.engine.constants import KernelConstants, as_computed, point_kernel
from fastgmm.engine.rows import Rows, Weights
from fastgmm.engine.statistics import Statistics
from fastgmm.engine.threads import resolve
from fastgmm.engine.visits import check_known, check_shape, known_of_visits, prepare

__all__ = ["Scores", "accumulate", "accumulate_given", "moments", "score", "total_scatter"]

_OUTPUTS = ("log_density", "resp", "labels", "joint")
"""What a scoring pass may write, in the order in which it takes them."""


@dataclass(frozen=True, eq=False)
class Scores:
    """What a scoring pass wrote; None for what was not asked for.

    Attributes
    ----------
    log_likelihood : float
        sum_i w_i log p(x_i).
    total_weight : float
    log_density : (N,) array or None
        log p(x_i).
    resp : (N, K) array or None
        Responsibilities.
    labels : (N,) int64 array or None
        Component with the largest responsibility, the first of equals.
    joint : (N, K) array or None
        log pi_k p(x_i | k).
    """

    log_likelihood: float
    total_weight: float
    log_density: np.ndarray | None = None
    resp: np.ndarray | None = None
    labels: np.ndarray | None = None
    joint: np.ndarray | None = None


def accumulate(
    X,
    constants,
    *,
    sample_weight=None,
    into=None,
    n_threads=None,
    scatter=None,
    pivot=None,
    sparse=False,
    known_labels=None,
):
    """Return the statistics of rows under a mixture: one E-step and the sums that an M-step needs, in one pass.

    Parameters
    ----------
    X : array-like of shape (N, D)
        Rows; read in place if float32 or float64.
    constants : KernelConstants
        The mixture, from ``family.constants(parameters)`` or ``Mixture.constants()``.
    sample_weight : (N,) array or number, optional
    into : Statistics, optional
        Earlier statistics under the same constants, to be continued. If every chunk but the last is a multiple of
        ``constants.group_rows``, chunks accumulate to the same bits as the whole.
    n_threads : int, optional
        The result does not depend on it.
    scatter : (D, D) array, optional
        Rotated kind only: the total scatter of these rows about ``constants.shift`` (and of those in `into`), where
        it is known.
    pivot : (K, D) array, optional
        Points to take moments about instead of the means.
    sparse : bool, default=False
        Whether to look, for the full kind, if a component can be left out of some neighbouring rows, because each of
        them is too far from it for a responsibility that counts. The result does not depend on it. It pays where
        neighbouring rows belong to few of many components.
    known_labels : (N,) int64 array, optional
        The component of each row, negative where it is not known. Rows that are known belong to theirs alone, and count
        with its density times its weight.

    Returns
    -------
    Statistics

    Raises
    ------
    ValueError
        If X or the weights are not valid, naming the first row and column that is not finite.

    Examples
    --------
    >>> import fastgmm
    >>> mixture = fastgmm.Mixture([0.5, 0.5], [[0.0], [9.0]], [1.0, 1.0], "spherical")
    >>> fastgmm.accumulate([[0.0], [1.0], [9.0]], mixture.constants()).n.round(6)
    array([2., 1.])
    """
    rows, weights = prepare(X, constants.n_features, sample_weight)
    kernel, n_threads = constants.kernel(), resolve(n_threads)
    centers = constants.pivot()
    if pivot is not None:
        check_shape("pivot", pivot, centers.shape)
        local = np.ascontiguousarray(pivot - constants.shift, dtype=constants.dtype)
        centers, pivot = constants.shift + local, local
    total = _total_of(into, constants.kind, centers, constants.axes())
    known_labels = check_known(known_labels, rows.n_rows, constants.n_components)
    n_rows = 0 if into is None else into.n_rows
    for piece, part, first, last in rows.slabs(weights.kept, kernel.group_rows):
        w, known = weights.part(first, last), known_of_visits(known_labels, weights.kept, first, last)
        if not _pass.accumulate(kernel, piece, part, w, pivot, sparse, known, total, n_threads):
            rows.raise_not_finite()
        n_rows += last - first
    if constants.kind == "rotated" and scatter is None:
        scatter = total_scatter(
            rows,
            constants.shift,
            group=constants.group_rows,
            sample_weight=weights,
            into=None if into is None else into.S,
            n_threads=n_threads,
        )
    return _statistics(total, constants.kind, centers, constants.shift, n_rows, scatter, constants.axes())


def accumulate_given(
    X,
    kind,
    pivot,
    *,
    labels=None,
    resp=None,
    shift=None,
    sample_weight=None,
    into=None,
    n_threads=None,
    group=0,
    factors=None,
):
    """Return the statistics of rows under given labels or responsibilities.

    Parameters
    ----------
    X : array-like of shape (N, D)
    kind : {"full", "diagonal", "spherical", "rotated", "low_rank"}
    pivot : (K, D) array
        Points to take moments about, near the means.
    labels : (N,) int array, optional
        A component per row; a label outside 0..K-1 belongs to none.
    resp : (N, K) array, optional
    shift : (D,) array, optional
        Taken off the rows first; default: the mean of the pivots.
    sample_weight, into, n_threads
        As in `accumulate`.
    group : int, default=0
        Rows per group; 0 for the kind's own.
    factors : (K, 1 + q, D) array, optional
        Low-rank kind only: as in `KernelConstants`; they decide the axes.

    Returns
    -------
    Statistics
    """
    rows = Rows.of(X)
    check_shape("pivot", pivot, (len(pivot), rows.n_features))
    rows, weights = prepare(rows, rows.n_features, sample_weight)
    shift = pivot.mean(axis=0) if shift is None else shift
    if labels is not None:
        check_shape("labels", labels, (rows.n_rows,))
    if resp is not None:
        check_shape("resp", resp, (rows.n_rows, len(pivot)))
    single, n_threads = rows.dtype.itemsize == 4, resolve(n_threads)
    if kind == "low_rank":
        constants = KernelConstants.points(kind, pivot, shift, rows.dtype, factors)
        kernel, axes = constants.kernel(), constants.axes()
    else:
        kernel, axes = point_kernel(kind, pivot, shift, single), None
    centers, group = as_computed(pivot, shift, single), group or kernel.group_rows
    total = _total_of(into, kind, centers, axes)
    n_rows = 0 if into is None else into.n_rows
    for piece, part, first, last in rows.slabs(weights.kept, group):
        visited = slice(first, last) if weights.kept is None else weights.kept[first:last]
        given = None if resp is None else np.ascontiguousarray(resp[visited], dtype=np.float64)
        named = None if labels is None else np.ascontiguousarray(labels[visited], dtype=np.int64)
        w = weights.part(first, last)
        if not _pass.accumulate_given(kernel, piece, part, w, named, given, total, n_threads, group):
            rows.raise_not_finite()
        n_rows += last - first
    scatter = None
    if kind == "rotated":
        before = None if into is None else into.S
        scatter = total_scatter(rows, shift, group=group, sample_weight=weights, into=before, n_threads=n_threads)
    return _statistics(total, kind, centers, shift, n_rows, scatter, axes)


def total_scatter(X, shift, *, group, sample_weight=None, into=None, n_threads=None):
    """Return sum_i w_i (x_i - shift) (x_i - shift)^T, computed in float64 also for float32 rows.

    Parameters
    ----------
    X : array-like of shape (N, D)
    shift : (D,) array
    group : int
        Rows per group.
    sample_weight, n_threads
        As in `accumulate`.
    into : (D, D) array, optional
        Earlier scatter to continue.

    Returns
    -------
    (D, D) array
    """
    rows, weights = prepare(X, len(shift), sample_weight)
    kernel = KernelConstants.points("full", shift[None], shift).kernel()
    D = len(shift)
    total = np.zeros(2 + (D + 1) * (D + 2) // 2)
    if into is not None:
        total[2:] = _linalg.pack_triangles(np.zeros(1), np.zeros((1, D)), np.ascontiguousarray(into)[None])
    for piece, part, first, last in rows.slabs(weights.kept, group):
        w = weights.part(first, last)
        if not _pass.accumulate_given(kernel, piece, part, w, None, None, total, resolve(n_threads), group):
            rows.raise_not_finite()
    return _linalg.unpack_triangles(total[2:], 1, D)[2][0]


def score(
    X,
    constants,
    *,
    log_density=False,
    resp=False,
    labels=False,
    joint=False,
    known_labels=None,
    sample_weight=None,
    into=None,
    n_threads=None,
):
    """Return the log-likelihood of rows under a mixture, and per row just what is asked for.

    Parameters
    ----------
    X : array-like of shape (N, D)
    constants : KernelConstants
    log_density, resp, labels, joint : bool, default=False
        Which arrays of `Scores` to fill.
    known_labels : (N,) int64 array, optional
        As in `accumulate`; they have no part in `joint`.
    sample_weight, n_threads
        As in `accumulate`.
    into : Scores, optional
        Earlier scores under the same constants, whose log-likelihood and weight are continued.

    Returns
    -------
    Scores
        Its arrays are of the compute type.
    """
    rows, weights = prepare(X, constants.n_features, sample_weight)
    kernel, n_threads = constants.prepared(), resolve(n_threads)
    known_labels = check_known(known_labels, rows.n_rows, constants.n_components)
    N, K, dtype = rows.n_rows, constants.n_components, constants.dtype
    out = {}
    if log_density:
        out["log_density"] = np.empty(N, dtype)
    if resp:
        out["resp"] = np.empty((N, K), dtype)
    if labels:
        out["labels"] = np.empty(N, np.int64)
    if joint:
        out["joint"] = np.empty((N, K), dtype)
    total = np.zeros(2) if into is None else np.array([into.log_likelihood, into.total_weight])
    if weights.kept is None:
        _score_rows(rows, weights, kernel, out, total, n_threads, known_labels)
    else:
        # rows of weight zero are scored but must not shift the blocks over which the log-likelihood is summed
        _score_rows(rows, weights, kernel, {}, total, n_threads, known_labels)
        if out:
            _score_rows(rows, Weights(), kernel, out, np.zeros(2), n_threads, known_labels)
    return Scores(float(total[0]), float(total[1]), **out)


def _score_rows(rows, weights, kernel, out, total, n_threads, known_labels=None):
    for piece, part, first, last in rows.slabs(weights.kept, kernel.group_rows):
        outputs = [out[name][first:last] if name in out else None for name in _OUTPUTS]
        known = known_of_visits(known_labels, weights.kept, first, last)
        if not _pass.score(kernel, piece, part, weights.part(first, last), *outputs, known, total, n_threads):
            rows.raise_not_finite()


def moments(rows, weights, point, n_threads):
    """Return mean (D,), variances (D,) and total weight of all rows, by sums about a point (D,).

    Parameters
    ----------
    rows : Rows
    weights : Weights
    point : (D,) float64 array
    n_threads : int

    Raises
    ------
    IllDefinedCovarianceError
        If the squares of the rows overflow float64.
    """
    D = len(point)
    kernel = point_kernel("diagonal", point[None], point, rows.dtype.itemsize == 4)
    group = group_rows("diagonal", 1, D, 0, False)
    total = np.zeros(3 + 2 * D)
    for piece, part, first, last in rows.slabs(weights.kept, group):
        w = weights.part(first, last)
        if not _pass.accumulate_given(kernel, piece, part, w, None, None, total, n_threads, group):
            rows.raise_not_finite()
    return _linalg.mean_and_variances(total[2:3], total[None, 3 : 3 + D], total[None, 3 + D :], point[None])


def _total_of(into, kind, centers, axes):
    """Return the sums to start from: those of `into` in the layout of a slot, or zeros."""
    K, D = centers.shape
    total = np.zeros(2 + K * _pass.moments_of(kind, D, 0 if axes is None else axes.shape[1]))
    if into is None:
        return total
    same = into.kind == kind and into.s.shape == (K, D) and np.array_equal(into.pivot, centers)
    if not same or (kind == "low_rank" and not np.array_equal(into.axes, axes)):
        raise ValueError("into must hold statistics under the same constants: kind, shape and pivots differ")
    total[:2] = into.log_likelihood, into.total_weight
    if kind == "full":
        total[2:] = _linalg.pack_triangles(into.n, into.s, into.S)
    else:
        S = into.S.reshape(K, -1) if kind != "rotated" else np.empty((K, 0))
        total[2:] = np.hstack([into.n[:, None], into.s, S]).ravel()
    return total


def _statistics(total, kind, centers, shift, n_rows, scatter, axes):
    """Return the sums of a finished pass as Statistics."""
    K, D = centers.shape
    if kind == "full":
        n, s, S = _linalg.unpack_triangles(total[2:], K, D)
    else:
        table = total[2:].reshape(K, -1)
        n, s, S = table[:, 0].copy(), table[:, 1 : 1 + D].copy(), table[:, 1 + D :].copy()
        if kind == "spherical":
            S = S[:, 0]
        elif kind == "rotated":
            S = scatter
        elif kind == "low_rank":
            S = S.reshape(K, -1, D)
    log_likelihood, weight = total[:2].tolist()
    if kind == "rotated":  # the scatter may be the caller's
        return Statistics(kind, n, s, S, centers, shift, log_likelihood, weight, n_rows)
    return Statistics.of_pass(kind, n, s, S, centers, shift, log_likelihood, weight, n_rows, axes)
