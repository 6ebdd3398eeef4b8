"""The agglomerative start: clusters of few rows by likelihood, and from them the components of all rows.

As mclust does (Fraley 1998, SIAM J. Sci. Comput. 20:270), on rows in units of their own covariance (Scrucca and Raftery
2015, Adv. Data Anal. Classif. 9:447). An M-step over the clusters and an E-step over all rows give each row to the
component that holds it most likely. Clusters of few rows have a covariance because `OWN` of the covariance of all rows
is added to the scatter of each: mclust adds traces to determinants instead, in units that depend on the number of
features.
"""

import numpy as np

from fastgmm.engine import KernelConstants, _hierarchy
from fastgmm.fitting.comparable import Frame

__all__ = ["cluster"]

ROWS = 1200  # of the hierarchy, whose time and memory grow with the square of them
ROWS_PER_CLUSTER = 2
OWN = 1 / 30  # of 1, 0.3, 0.1, ... 0.001 that with the best optima: docs/starts.md
FEATURES = 12  # of the hierarchy: of more, the leading principal components


def cluster(source, n_clusters, rng, *, shared):
    """Return labels (N,) of all rows, and the means (K, D) of the clusters of few.

    Parameters
    ----------
    source : ArraySource
    n_clusters : int
    rng : numpy.random.Generator
        Draws the few rows where there are more than `ROWS`; nothing else is random.
    shared : bool
        Whether clusters are to have one covariance (EEE) instead of one each (VVV).
    """
    n_rows = max(ROWS, ROWS_PER_CLUSTER * n_clusters)
    is_all = source.n_rows <= n_rows
    few = (source if is_all else source.sample(n_rows, rng)).gathered()
    frame = Frame(few, whitened=True)
    rows, weights = few.rows_at(np.arange(few.n_rows)), few.weights()
    weights = np.ones(len(rows)) if weights is None else weights / weights.mean()
    merge = _hierarchy.merge_shared if shared else _hierarchy.merge_free
    labels = merge(_leading(frame, rows), weights, n_clusters)

    n = np.bincount(labels, weights)
    scaled = frame.scaled(rows)
    means = np.stack([np.bincount(labels, weights * column) for column in scaled.T], axis=1) / n[:, None]
    centres = frame.mean + means * frame.deviations
    if is_all:
        everywhere = np.zeros(source.n_all_rows, dtype=np.int64)
        everywhere[source.numbers()] = labels
        return everywhere, centres
    covariances = _covariances(frame, scaled - means[labels], labels, weights, n, shared)
    constants = _constants(frame, n, centres, covariances, source.dtype)
    return source.most_likely(constants), centres


def _leading(frame, rows):
    """Return the coordinates (n, d) of rows, d at most `FEATURES`, in which what is added to scatters is one."""
    if rows.shape[1] <= FEATURES:
        return frame.coordinates(rows) / np.sqrt(OWN)
    values, directions = np.linalg.eigh(frame.correlation)
    leading = frame.scaled(rows) @ directions[:, -FEATURES:]
    return np.ascontiguousarray(leading / np.sqrt(OWN * values[-FEATURES:]))


def _covariances(frame, offsets, labels, weights, n, shared):
    """Return the covariances (K, D, D), or (D, D) if they share one, of clusters in units of the deviations."""
    if shared:
        return (OWN * frame.correlation + (weights[:, None] * offsets).T @ offsets) / n.sum()
    scatters = np.empty((len(n), *frame.correlation.shape))
    for k in range(len(n)):
        own = labels == k
        scatters[k] = (weights[own, None] * offsets[own]).T @ offsets[own]
    return (OWN * frame.correlation + scatters) / n[:, None, None]


def _constants(frame, n, centres, covariances, dtype):
    """Return clusters as the mixture that the E-step takes."""
    factors = np.linalg.inv(np.linalg.cholesky(covariances))
    log_det = np.log(np.diagonal(factors, axis1=-2, axis2=-1)).sum(axis=-1)
    kind = "full" if factors.ndim == 3 else "rotated"
    factors = np.ascontiguousarray(np.tril(factors * frame.inverse_deviations))
    return KernelConstants(kind, centres, factors, np.log(n / n.sum()) + log_det, frame.mean, dtype)
