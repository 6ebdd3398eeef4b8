"""k-means: greedy k-means++ seeding and Lloyd's algorithm, each a few passes of the engine.

Arthur and Vassilvitskii (2007), "k-means++: the advantages of careful seeding"; the greedy variant draws several
candidates for each centre and keeps the one that lowers the inertia most. Lloyd (1982), IEEE Trans. Inform. Theory
28:129.
"""

import math

import numpy as np

from fastgmm.engine.kmeans import heap_of, movement, positions
from fastgmm.fitting.comparable import Frame

__all__ = ["cluster", "cluster_comparable", "lloyd", "seed"]

MAX_ITER = 300
TOL = 1e-4  # of the mean variance: the squared movement of all centres at which Lloyd's algorithm stops

# Where rows are many, centres are sought among a few of them, several times for less than once among all: on 200,000
# rows and 10 clusters, the best of four had on average an inertia 4% lower, at a third of the time.
SAMPLE_ROWS = 4096
SAMPLE_ROWS_PER_CLUSTER = 128
SAMPLE_TRIES = 4
SAMPLE_ITERATIONS = 5  # of each try; the best goes on
SAMPLE_GROWTH = 8
ITERATIONS_AFTER_GROWTH = 5  # at most, over all rows, from centres of a grown sample: EM goes on as well from there


def cluster(source, n_clusters, rng):
    """Return centres (K, D), labels and inertia of k-means over all rows: see `lloyd`.

    Where rows are many, centres come from samples; where these grew, all rows move them a few times at most.

    Parameters
    ----------
    source : ArraySource
    n_clusters : int
    rng : numpy.random.Generator
    """
    n_sample = _sample_rows(n_clusters)
    if source.n_rows <= 2 * n_sample:
        return lloyd(source, seed(source, n_clusters, rng))
    centres = _best_of_tries(source.sample(n_sample, rng).gathered(), n_clusters, rng)
    max_iter = MAX_ITER
    while SAMPLE_GROWTH * n_sample <= source.n_rows // 2:  # centres so near their places that all rows move them little
        n_sample *= SAMPLE_GROWTH
        centres, _, _ = lloyd(source.sample(n_sample, rng), centres, labels=False)
        max_iter = ITERATIONS_AFTER_GROWTH
    return lloyd(source, centres, max_iter=max_iter)


def cluster_comparable(source, n_clusters, rng, *, whitened):
    """Return labels (N,) of all rows and centres (K, D) by k-means in comparable coordinates: see `Frame`.

    Centres are found among a sample where rows are many, and a pass over all rows gives each to the nearest.

    Parameters
    ----------
    source : ArraySource
    n_clusters : int
    rng : numpy.random.Generator
    whitened : bool
        Whether coordinates are those of the covariance of all rows, or only of their variances.
    """
    n_sample = _sample_rows(n_clusters)
    is_all = source.n_rows <= 2 * n_sample
    if is_all:
        frame, space = source.remembered(("comparable", whitened), lambda: _comparable(source, whitened))
    else:
        frame, space = _comparable(source.sample(n_sample, rng), whitened)
    if is_all:
        centres, _, _ = lloyd(space, seed(space, n_clusters, rng), labels=False)
    else:
        centres = _best_of_tries(space, n_clusters, rng)
    centres = frame.rows(centres)
    return frame.nearest(source, centres), centres


def _comparable(few, whitened):
    """Return a frame and the rows of a source in its coordinates."""
    few = few.gathered()
    frame = Frame(few, whitened=whitened)
    return frame, frame.space(few)


def _sample_rows(n_clusters):
    """Return how many rows centres are sought among."""
    return max(SAMPLE_ROWS, SAMPLE_ROWS_PER_CLUSTER * n_clusters)


def _best_of_tries(few, n_clusters, rng):
    """Return the centres (K, D) of the best of several tries of k-means."""
    tries = [lloyd(few, seed(few, n_clusters, rng), max_iter=SAMPLE_ITERATIONS) for _ in range(SAMPLE_TRIES)]
    centres, _, _ = min(tries, key=lambda found: found[2])
    return lloyd(few, centres, labels=False)[0]


def seed(source, n_clusters, rng):
    """Return centres (K, D) drawn by greedy k-means++.

    Parameters
    ----------
    source : ArraySource
    n_clusters : int
    rng : numpy.random.Generator
    """
    shift, _, _ = source.moments()
    weights = source.weights()
    n_trials = 2 + int(math.log(n_clusters))
    first = _first(weights, source.n_rows, rng)
    draws = rng.random((n_clusters - 1, n_trials))
    at_once = source.seed(first, draws, shift=shift)
    if at_once is not None:
        return source.rows_at(at_once)
    centres = [source.rows_at([first])[0]]
    closest = source.close_rows(centres[0], shift=shift)
    for draw in draws:
        candidates = source.rows_at(positions(heap_of(closest, weights), draw))
        best = candidates[np.argmin(source.potential(candidates, closest, shift=shift))]
        centres.append(best)
        if len(centres) < n_clusters:
            np.minimum(closest, source.close_rows(best, shift=shift), out=closest)
    return np.array(centres)


def _first(weights, n_rows, rng):
    """Return a position drawn in proportion to weights (None: all alike)."""
    if weights is None:
        return int(rng.integers(n_rows))
    return int(positions(np.cumsum(weights), rng.random(1))[0])


def lloyd(source, centres, *, max_iter=MAX_ITER, tol=TOL, labels=True):
    """Return centres (K, D), labels and inertia after Lloyd's algorithm from given centres.

    Parameters
    ----------
    source : ArraySource
    centres : (K, D) array
    max_iter : int, default=300
    tol : float, default=1e-4
        Stop when the centres move by less than this share of the mean variance, squared and summed; or not at all.

    labels : bool, default=True
        Whether labels are wanted.

    Returns
    -------
    centres : (K, D) array
    labels : (N,) int64 array, over all rows of the source's array, or None
    inertia : float
    """
    shift, variances, _ = source.moments()
    enough = tol * (variances.sum() / len(variances))
    at_once = source.lloyd(centres, shift=shift, max_iter=max_iter, enough=enough, labels=labels)
    if at_once is not None:
        centres, found = at_once
        return centres, found.labels, found.inertia
    for _ in range(max_iter):
        found = source.nearest(centres, shift=shift, sums=True)
        moved = shift + np.divide(found.s, found.n[:, None], out=centres - shift, where=found.n[:, None] > 0)
        empty = np.flatnonzero(found.n == 0)
        if len(empty):
            moved[empty] = _farthest_rows(source, centres, shift, len(empty))
        is_near = movement(centres, moved) <= enough
        centres = moved
        if is_near:
            break
    found = source.nearest(centres, shift=shift, labels=labels)
    return centres, found.labels, found.inertia


def _farthest_rows(source, centres, shift, n):
    """Return the n rows farthest from their centres: where a centre that lost its rows is put."""
    distance = source.on_kept_rows(source.nearest(centres, shift=shift, distances2=True).distances2)
    farthest = np.argpartition(distance, len(distance) - n)[len(distance) - n :]
    return source.rows_at(farthest[np.argsort(-distance[farthest], kind="stable")])
