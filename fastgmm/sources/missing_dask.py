"""Rows with gaps in Dask collections.

Each task sorts its partition by patterns of gaps and completes the statistics there (`fastgmm.engine.gaps`); what is
added up is the same as without gaps.
"""

import operator

import numpy as np

from fastgmm import engine
from fastgmm.engine.gaps import GappedRows
from fastgmm.engine.rows import Rows
from fastgmm.sources.array import ArraySource
from fastgmm.sources.dask_source import DaskSource, features_checked, partition
from fastgmm.sources.gapped import Gapped, counts_of
from fastgmm.sources.missing import moments_by, observed_sums

__all__ = ["GappedDaskSource"]


class GappedDaskSource(Gapped, DaskSource):
    """Rows of a Dask collection in which NaN may be: a `DaskSource` with gaps.

    The Gaussian that fills gaps for starts is fitted to all rows by EM, which takes some passes more. Starts are made
    of a sample of the rows, with its gaps filled; k-means|| needs rows without gaps.

    Parameters
    ----------
    X, sample_weight, n_threads
        As those of `DaskSource`; what is missing of data frames is a gap too. Weights have none.

    Attributes
    ----------
    has_gaps : bool
        Whether there are gaps; takes a pass if none was made, as do the others.
    n_missing : int
        Values that are missing.
    n_unobserved : int
        Rows of which nothing was observed: see `MissingSource`. All three are of the rows with positive weight.

    Raises
    ------
    TypeError, ValueError
        As of `DaskSource`.

    Examples
    --------
    >>> import numpy as np, fastgmm
    >>> import dask.array
    >>> X = np.array([[0.0, 1.0], [2.0, np.nan], [np.nan, 2.0], [1.0, 3.0]])
    >>> source = fastgmm.distributed.GappedDaskSource(dask.array.from_array(X, chunks=(2, 2)))
    >>> fastgmm.fit(source, covariance_type="diag", tol=1e-9).mixture.means.round(3)
    array([[1., 2.]])
    >>> source.n_missing
    2
    """

    def _counts(self):
        return self._passed(_count, operator.add)

    def _observed_moments(self):
        return moments_by(lambda mean: self._passed(_observed, operator.add, mean))

    def _accumulate(self, constants, *, pivot=None):
        return DaskSource.accumulate(self, constants, pivot=pivot)

    @property
    def _accumulating(self):
        return super()._accumulating if self._known_without_gaps() else _accumulate_gapped

    @property
    def _scoring(self):
        return super()._scoring if self._known_without_gaps() else _score_gapped

    def sample(self, n_rows, rng):
        """Return a reservoir sample of the rows, in one pass, with gaps as `MissingSource`: see `Reservoir`."""
        rows, weights = self._reservoir(n_rows, rng).drawn()
        rows = Rows(rows)
        if not rows.has_gaps():
            return ArraySource(rows, weights)
        return self._of_sample(GappedRows(rows, weights))

    def cluster(self, n_clusters, rng):
        """Return candidates for centres of k-means, or None if there are gaps: see `DaskSource.cluster`."""
        return None if self.has_gaps else super().cluster(n_clusters, rng)


def _count(number, part, weights, dtype, n_threads):
    found = partition(number, part, weights, dtype)
    if found is None:
        return None
    source = ArraySource(*found)
    found[0].has_gaps()  # what is infinite is reported here
    return counts_of(source.on_kept_rows(np.asarray(found[0].array, dtype=dtype)), source.weights())


def _gapped(number, part, weights, dtype, n_threads, n_features):
    """Return a partition as GappedRows, or as Rows and Weights if it has no gaps; None if it has no rows."""
    found = partition(number, part, weights, dtype)
    if found is None:
        return None
    features_checked(number, found[0], n_features)
    return GappedRows.of(*found, n_threads=n_threads) or found


def _observed(number, part, weights, dtype, n_threads, mean):
    found = partition(number, part, weights, dtype)
    return None if found is None else observed_sums(GappedRows(*found, n_threads=n_threads), mean)


def _accumulate_gapped(number, part, weights, dtype, n_threads, constants, pivot):
    found = _gapped(number, part, weights, dtype, n_threads, constants.n_features)
    if isinstance(found, GappedRows):
        return found.accumulate(constants, pivot=pivot)
    if found is None:
        return None
    return engine.accumulate(found[0], constants, sample_weight=found[1], pivot=pivot, n_threads=n_threads)


def _score_gapped(number, part, weights, dtype, n_threads, constants):
    found = _gapped(number, part, weights, dtype, n_threads, constants.n_features)
    if found is None:
        return None
    if isinstance(found, GappedRows):
        scores = found.score(constants)
    else:
        scores = engine.score(found[0], constants, sample_weight=found[1], n_threads=n_threads)
    return scores.log_likelihood, scores.total_weight
