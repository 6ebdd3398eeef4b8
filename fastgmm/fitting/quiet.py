"""Rows that starts are made of where there is noise: those that their neighbours tell from it.

k-means puts centres at outliers, and EM does not get them away from there. So a start of a mixture with noise leaves
out the rows that are noise by a first estimate of the density, that of nearest neighbours (Byers and Raftery 1998,
J. Amer. Statist. Assoc. 93:577, who compare distances),

    f(x) = m / (W v_D r^D),

where r is the distance within which the weight m of all W lies, in units of the standard deviations, and v_D the volume
of the unit ball. With the share p and the volume V of the noise a row is rather noise than not where f(x) < 2 p / V;
the share of such rows is p, which falls from 1/2 until both agree.
"""

from math import lgamma, log, pi

import numpy as np

from fastgmm.fitting.race import sampled
from fastgmm.sources import ArraySource

__all__ = ["quiet_rows"]

ROWS, ROWS_PER_COMPONENT = 4096, 128  # whose neighbours are sought, if there are twice as many
NEIGHBOURS = 5
MOST = 0.5  # share of the noise
TREE_FEATURES = 10  # with more of them a tree looks at all rows, and products of matrices do so faster
DISTANCES = 1 << 19  # that are held at a time: with what is made of them some 16 MB


def quiet_rows(source, noise, n_components, rng):
    """Return the source of the rows that are no noise by their neighbours, of a sample of them where they are many.

    Parameters
    ----------
    source : ArraySource
    noise : Noise
        Its volume counts.
    n_components : int
    rng : numpy.random.Generator

    Returns
    -------
    ArraySource
        The source itself where too few rows would be left. Rows that are known stay.
    """
    few = sampled(source, max(ROWS, ROWS_PER_COMPONENT * n_components), rng)
    if few.n_rows <= NEIGHBOURS:
        return source
    rows, weights = few.rows_at(np.arange(few.n_rows)), few.weights()
    known = None if few.known_labels is None else few.on_kept_rows(few.known_labels)
    suspect = _suspects(rows, np.ones(len(rows)) if weights is None else weights, few.moments()[1], noise.log_volume)
    quiet = ~suspect if known is None else ~suspect | (known >= 0)
    if quiet.all() or quiet.sum() < max(n_components, 2):
        return source
    return ArraySource(
        rows[quiet].astype(few.dtype),
        None if weights is None else weights[quiet],
        known_labels=None if known is None else known[quiet],
        n_threads=few.n_threads,
    )


def _suspects(rows, weights, variances, log_volume):
    """Return which rows (n,) are rather noise than not."""
    n, D = rows.shape
    scale = np.sqrt(np.where(variances > 0, variances, 1.0))
    distances, neighbours = _nearest((rows - rows.mean(axis=0)) / scale)
    mass = np.cumsum(weights[neighbours], axis=1)
    last = np.minimum((mass < NEIGHBOURS * weights.mean()).sum(axis=1), NEIGHBOURS - 1)[:, None]
    radius = np.take_along_axis(distances, last, axis=1)[:, 0]
    inside = np.take_along_axis(mass, last, axis=1)[:, 0]
    log_ball = D / 2 * log(pi) - lgamma(D / 2 + 1) + float(np.log(scale).sum())
    with np.errstate(divide="ignore"):
        log_density = np.log(inside / weights.sum()) - log_ball - D * np.log(radius)
    order = np.argsort(log_density, kind="stable")
    shares = np.concatenate([[0.0], np.cumsum(weights[order])]) / weights.sum()
    share = MOST
    while share > 0:
        n_below = int(np.searchsorted(log_density[order], log(2 * share) - log_volume))
        found = min(share, float(shares[n_below]))
        if found == share:
            break
        share = found
    suspect = np.zeros(n, dtype=bool)
    if share > 0:
        suspect[order[:n_below]] = True
    return suspect


def _nearest(rows):
    """Return the distances of the nearest other rows, rising, and which they are: (n, NEIGHBOURS) each."""
    if rows.shape[1] <= TREE_FEATURES:
        from scipy.spatial import KDTree  # loaded where it is used

        distances, neighbours = KDTree(rows).query(rows, NEIGHBOURS + 1)  # the first is the row itself
        return distances[:, 1:], neighbours[:, 1:]
    squares, found, step = (rows**2).sum(axis=1), [], max(1, DISTANCES // len(rows))
    for first in range(0, len(rows), step):
        here = np.arange(first, min(first + step, len(rows)))
        distances2 = squares[here, None] + squares - 2 * rows[here] @ rows.T
        distances2[np.arange(len(here)), here] = np.inf
        nearest = np.argpartition(distances2, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        distances2 = np.take_along_axis(distances2, nearest, axis=1)
        order = np.argsort(distances2, axis=1, kind="stable")
        nearest = np.take_along_axis(nearest, order, axis=1)
        found.append((np.sqrt(np.maximum(np.take_along_axis(distances2, order, axis=1), 0.0)), nearest))
    return tuple(np.concatenate(each) for each in zip(*found, strict=True))
