"""k-means: greedy k-means++ seeding and Lloyd's algorithm, each a few passes of the engine.

Arthur and Vassilvitskii (2007), "k-means++: the advantages of careful seeding"; the greedy variant draws several
candidates for each centre and keeps the one that lowers the inertia most. Lloyd (1982), IEEE Trans. Inform. Theory
28:129.
"""

import math

import numpy as np

from fastgmm.fitting.comparable import Frame

__all__ = ["cluster", "cluster_comparable", "lloyd", "seed"]

MAX_ITER = 300
GAIN = 3e-4  # share of the inertia: where an iteration of Lloyd's algorithm lowers it by less, EM goes on as well

# Where rows are many, centres are sought among a few of them, several times for less than once among all. The best go
# on among more and more rows, which move them less and less.
SAMPLE_ROWS = 512
SAMPLE_ROWS_PER_CLUSTER = 32
SAMPLE_SHARE, MOST_SAMPLE_ROWS = 16, 4096  # of more rows the smallest sample is a sixteenth
SAMPLE_GROWTH = 4
ENOUGH_ROWS_PER_FEATURE = 32  # in every cluster, from which a second sample is the last: EM needs no better start
TRIES, TRY_ITERATIONS, TRY_GAIN = 6, 12, 1e-3
SAME = 1e-9  # of inertias, so that not rounding decides between tries that found the same centres in another order
FRAME_ROWS = 4096  # from which comparable coordinates come, and in them centres
FRAME_ROWS_PER_CLUSTER = 128


def cluster(source, n_clusters, rng, *, labels=True):
    """Return centres (K, D), labels and inertia of k-means over all rows; parameters are those of `cluster_many`."""
    rows, centres, found, inertia = cluster_many(source, n_clusters, rng, labels=labels)
    return (centres, found, inertia) if rows is source else lloyd(source, centres, max_iter=1, labels=labels)


def cluster_many(source, n_clusters, rng, *, labels=True):
    """Return rows, and centres (K, D), labels and inertia of k-means over them: all rows, or many of them.

    Parameters
    ----------
    source : ArraySource
    n_clusters : int
    rng : numpy.random.Generator
    labels : bool, default=True
        Whether labels are wanted.

    Returns
    -------
    rows : ArraySource
        The source, or a sample of 2,048 of its rows or more: an eighth at the least, or `ENOUGH_ROWS_PER_FEATURE`.
    centres, labels, inertia
        As `lloyd` returns them.
    """
    *few, rows = _samples(source, n_clusters, rng)
    shift = source.moments()[0]
    first = few[0] if few else rows
    centres = _sought(first, n_clusters, min(TRIES, source.n_rows // first.n_rows), rng, shift)
    for sample in few:
        centres, _, _ = lloyd(sample, centres, labels=False, shift=shift)
    return rows, *lloyd(rows, centres, labels=labels, shift=shift)


def _samples(source, n_clusters, rng):
    """Return samples of half of the rows at most, each of a share of the next; of few rows they end in all of them."""
    share = min(source.n_rows // SAMPLE_SHARE, MOST_SAMPLE_ROWS)
    sizes = [max(SAMPLE_ROWS, SAMPLE_ROWS_PER_CLUSTER * n_clusters, share)]
    enough = ENOUGH_ROWS_PER_FEATURE * source.n_features * n_clusters
    while 2 * SAMPLE_GROWTH * sizes[-1] < source.n_rows and (len(sizes) == 1 or sizes[-1] < enough):
        sizes.append(SAMPLE_GROWTH * sizes[-1])
    samples = [source]
    for size in reversed(sizes):
        if 2 * size < source.n_rows:
            samples.insert(0, samples[0].sample(size, rng))
    return samples[:-1] if len(samples) > 2 else samples


def _sought(few, n_clusters, n_tries, rng, shift):
    """Return centres (K, D): seeds, or the best of several that some iterations have moved."""
    if n_tries == 1:
        return seed(few, n_clusters, rng, shift=shift)
    options = {"max_iter": TRY_ITERATIONS, "gain": TRY_GAIN, "labels": False, "shift": shift}
    tries = [lloyd(few, seed(few, n_clusters, rng, shift=shift), **options) for _ in range(n_tries)]
    enough = min(inertia for _, _, inertia in tries) * (1 + SAME)
    return next(centres for centres, _, inertia in tries if inertia <= enough)


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
    n_sample = max(FRAME_ROWS, FRAME_ROWS_PER_CLUSTER * n_clusters)
    if source.n_rows <= 2 * n_sample:
        frame, space = source.remembered(("comparable", whitened), lambda: _comparable(source, whitened))
    else:
        frame, space = _comparable(source.sample(n_sample, rng), whitened)
    centres = frame.rows(cluster(space, n_clusters, rng, labels=False)[0])
    return frame.nearest(source, centres), centres


def _comparable(few, whitened):
    """Return a frame and the rows of a source in its coordinates."""
    few = few.gathered()
    frame = Frame(few, whitened=whitened)
    return frame, frame.space(few)


def seed(source, n_clusters, rng, *, shift=None):
    """Return centres (K, D) drawn by greedy k-means++.

    Parameters
    ----------
    source : ArraySource
    n_clusters : int
    rng : numpy.random.Generator
    shift : (D,) array, optional
        About where the rows are, the same in all calls with a source; default: their mean.
    """
    shift = source.moments()[0] if shift is None else shift
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
        candidates = source.rows_at(_drawn(closest if weights is None else closest * weights, draw))
        best = candidates[np.argmin(source.potential(candidates, closest, shift=shift))]
        centres.append(best)
        if len(centres) < n_clusters:
            np.minimum(closest, source.close_rows(best, shift=shift), out=closest)
    return np.array(centres)


def _first(weights, n_rows, rng):
    """Return a position drawn in proportion to weights (None: all alike)."""
    if weights is None:
        return int(rng.integers(n_rows))
    return int(_drawn(weights, rng.random(1))[0])


def _drawn(masses, draws):
    """Return the positions (n_draws,) that draws in [0, 1) have among masses (n,); by their number if all are zero."""
    n, heap = len(masses), np.cumsum(masses)
    if not heap[-1] > 0:
        return np.minimum((draws * n).astype(np.intp), n - 1)
    return np.minimum(np.searchsorted(heap, draws * heap[-1], side="right"), n - 1)


def lloyd(source, centres, *, max_iter=MAX_ITER, gain=GAIN, labels=True, shift=None):
    """Return centres (K, D), labels and inertia after Lloyd's algorithm from given centres.

    Labels are those of the last pass, and centres the means of these clusters; so the inertia is that of the centres
    before they moved last.

    Parameters
    ----------
    source : ArraySource
    centres : (K, D) array
    max_iter : int, default=300
        One at least.
    gain : float, default=3e-4
        Stop when an iteration has lowered the inertia by no more than this share of it.
    labels : bool, default=True
        Whether labels are wanted.
    shift : (D,) array, optional
        As in `seed`.

    Returns
    -------
    centres : (K, D) array
    labels : (N,) int64 array, over all rows of the source's array, or None
    inertia : float
    """
    shift = source.moments()[0] if shift is None else shift
    at_once = source.lloyd(centres, shift=shift, max_iter=max_iter, gain=gain, labels=labels)
    if at_once is not None:
        return at_once
    before = math.inf
    for _ in range(max_iter):
        found = source.nearest(centres, shift=shift, sums=True, labels=labels)
        moved = shift + np.divide(found.s, found.n[:, None], out=centres - shift, where=found.n[:, None] > 0)
        empty = np.flatnonzero(found.n == 0)
        if len(empty):
            moved[empty] = _farthest_rows(source, centres, shift, len(empty))
        centres = moved
        if not before - found.inertia > gain * found.inertia:  # nor where it overflowed
            break
        before = found.inertia
    return centres, found.labels, found.inertia


def _farthest_rows(source, centres, shift, n):
    """Return the n rows farthest from their centres: where a centre that lost its rows is put."""
    distance = source.on_kept_rows(source.nearest(centres, shift=shift, distances2=True).distances2)
    farthest = np.argpartition(distance, len(distance) - n)[len(distance) - n :]
    return source.rows_at(farthest[np.argsort(-distance[farthest], kind="stable")])
