"""Rows with gaps in Dask collections.

Each task sorts its partition by patterns of gaps and completes the statistics there (`fastgmm.engine.gaps`); what is
added up is the same as without gaps.
"""

import operator

import numpy as np

from fastgmm.engine.gaps import GappedRows
from fastgmm.sources.dask_source import DaskSource
from fastgmm.sources.dask_tasks import accumulate, score
from fastgmm.sources.gapped import Gapped, counts_of
from fastgmm.sources.missing import moments_by, observed_sums

__all__ = ["GappedDaskSource"]


class GappedDaskSource(Gapped, DaskSource):
    """Rows of a Dask collection in which NaN may be: a `DaskSource` with gaps.

    The Gaussian that fills gaps for starts is fitted to all rows by EM, which takes some passes more. Starts are made
    of a sample of the rows, with its gaps filled; k-means|| needs rows without gaps.

    Parameters
    ----------
    X, sample_weight, known_labels, n_threads
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

    @property
    def _accumulating(self):
        return super()._accumulating if self._known_without_gaps() else _accumulate_gapped

    @property
    def _scoring(self):
        return super()._scoring if self._known_without_gaps() else _score_gapped

    def sample(self, n_rows, rng):
        """Return a reservoir sample of the rows, in one pass, with gaps as `MissingSource`: see `Reservoir`."""
        return self._of_sample(self._reservoir(n_rows, rng))

    def cluster(self, n_clusters, rng):
        """Return candidates for centres of k-means, or None if there are gaps: see `DaskSource.cluster`."""
        return None if self.has_gaps else super().cluster(n_clusters, rng)


def _count(part):
    part.rows.has_gaps()  # what is infinite is reported here
    rows, weights, labels = part.kept()
    return counts_of(np.asarray(rows, dtype=part.rows.dtype), weights, labels)


def _gapped(part, n_features):
    """Return a partition as GappedRows, or None if it has no gaps."""
    part.check_features(n_features)
    return GappedRows.of(part.rows, part.weights, n_threads=part.n_threads)


def _observed(part, mean):
    return observed_sums(GappedRows(part.rows, part.weights, n_threads=part.n_threads), mean)


def _accumulate_gapped(part, constants, pivot, labelled=True):
    gapped = _gapped(part, constants.n_features)
    if gapped is None:
        return accumulate(part, constants, pivot, labelled)
    return gapped.accumulate(constants, pivot=pivot, known_labels=part.labels if labelled else None)


def _score_gapped(part, constants):
    gapped = _gapped(part, constants.n_features)
    if gapped is None:
        return score(part, constants)
    scores = gapped.score(constants, known_labels=part.labels)
    return scores.log_likelihood, scores.total_weight
