"""Rows with gaps that come block by block.

Each chunk is sorted by its patterns of gaps and gives completed statistics (`fastgmm.engine.gaps`), which are added up
in the order of the chunks: the sums of `MissingSource` in another order. Chunks without gaps continue the accumulation
as those of a `BatchSource` do, so that rows without gaps have its bits.
"""

from fastgmm import engine
from fastgmm.engine import Scores
from fastgmm.engine.gaps import MAX_PARTS, PARTS_BYTES, GappedRows
from fastgmm.engine.rows import Rows, check_sample_weight
from fastgmm.sources.base import NO_ROWS
from fastgmm.sources.batches import BatchSource
from fastgmm.sources.gapped import Counts, Gapped, counts_of
from fastgmm.sources.missing import observed_moments

__all__ = ["GappedBatchSource"]

PATTERN_BYTES = 2048  # of a pattern, beside its rows


class GappedBatchSource(Gapped, BatchSource):
    """Rows with gaps that are read again in each pass and never held whole: a `BatchSource` in which NaN may be.

    The Gaussian that fills gaps for starts is fitted to all rows by EM, which takes some passes more. Starts are made
    of a sample of the rows, with its gaps filled.

    Parameters
    ----------
    X, sample_weight, known_labels, columns, weights, labels, spool, max_memory, n_threads, progress
        As those of `BatchSource`; nulls of Arrow data and what is missing in CSV files are gaps too. Weights have none.

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
        As of `BatchSource`.

    Examples
    --------
    >>> import numpy as np, fastgmm
    >>> from fastgmm.sources import GappedBatchSource
    >>> batches = [np.array([[0.0, 1.0], [2.0, np.nan]]), np.array([[np.nan, 2.0], [1.0, 3.0]])]
    >>> source = GappedBatchSource(batches)
    >>> fastgmm.fit(source, covariance_type="diag", tol=1e-9).mixture.means.round(3)
    array([[1., 2.]])
    >>> source.n_missing
    2
    """

    _gaps = True

    def _counts(self):
        found = Counts()
        for chunk in self.chunks():
            found += counts_of(*chunk)
            del chunk
        if not found.n_rows:
            raise ValueError(NO_ROWS)
        self._known_rows = found.n_rows
        return found

    def _observed_moments(self):
        return observed_moments(self._gapped, self.n_features)

    def _sample_bytes(self, n_rows):
        """Return what `BatchSource` does, and what the sample takes sorted by patterns and with its gaps filled."""
        return super()._sample_bytes(n_rows) + 2 * n_rows * self.n_features * self.dtype.itemsize

    def _memory(self, row, group):
        """Return the bytes that passes take: those of `BatchSource`, and what sorting by patterns takes."""
        fixed, of_row = super()._memory(row, group)
        _, K, *_ = self._model
        D = self.n_features
        parts = min(PARTS_BYTES, MAX_PARTS * 8 * K * (1 + D + D * D))
        marginals = self._n_threads * 8 * K * 4 * D * D
        words = -(-D // 64)
        sorting = (
            D * self.dtype.itemsize + 8 * D + 8 * (3 * words + 4) + min(1.0, 2.0 ** min(D, 60) / group) * PATTERN_BYTES
        )
        return fixed + parts + marginals, of_row + int(sorting)

    def _gapped(self, group=1):
        """Yield all rows with positive weight as GappedRows, chunk by chunk."""
        for chunk in self.chunks(group):
            weights = check_sample_weight(chunk.weights, len(chunk.values))
            gapped = GappedRows(Rows(chunk.values), weights, n_threads=self._n_threads)
            del chunk, weights
            yield gapped
            del gapped

    def _accumulate(self, constants, *, pivot=None, labelled=True):
        return self._passed(constants.group_rows, self._accumulating(constants, pivot, labelled))

    def _accumulating(self, constants, pivot=None, labelled=True):
        if self._known_without_gaps():
            return super()._accumulating(constants, pivot)

        def step(rows, known, options, before):
            gapped, known = GappedRows.of(rows, **options), known if labelled else None
            if gapped is None:
                return engine.accumulate(rows, constants, into=before, pivot=pivot, known_labels=known, **options)
            stats = gapped.accumulate(constants, pivot=pivot, known_labels=known)
            return stats if before is None else before + stats

        return step

    def _learn(self, constants, stats):
        if self._known_without_gaps():
            super()._learn(constants, stats)

    def sample(self, n_rows, rng):
        """Return a reservoir sample of the rows, in one pass, with gaps as `MissingSource`: see `Reservoir`."""
        return self._of_sample(self._reservoir(n_rows, rng), self._n_threads)

    def _scoring(self, constants):
        def step(rows, known, options, before):
            gapped = GappedRows.of(rows, **options)
            if gapped is None:
                return engine.score(rows, constants, into=before, known_labels=known, **options)
            found = gapped.score(constants, known_labels=known)
            if before is None:
                return found
            return Scores(before.log_likelihood + found.log_likelihood, before.total_weight + found.total_weight)

        return step
