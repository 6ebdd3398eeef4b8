"""What sources of rows with gaps that are read again in every pass have in common, wherever they read from.

Rows are counted first. If there are gaps, one Gaussian is fitted to all rows by EM; its moments are those of the rows,
and it completes the statistics that starts ask for.
"""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from fastgmm import covariance
from fastgmm.engine.gaps import GappedRows
from fastgmm.engine.rows import Rows
from fastgmm.sources.array import ArraySource
from fastgmm.sources.missing import MissingSource, OneGaussian

__all__ = ["Counts", "Gapped", "counts_of"]


class Counts(NamedTuple):
    """Counts of the rows with positive weight."""

    n_rows: int = 0
    n_missing: int = 0
    n_unobserved: int = 0
    total_weight: float = 0.0

    def __add__(self, other):
        """Counts of both."""
        return Counts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def counts_of(rows, weights, labels):
    """Return the Counts of rows (n, D) with positive weights (n,) and known labels (n,), each of which may be None."""
    missing = np.isnan(rows).sum(axis=1)
    weight = float(len(rows)) if weights is None else float(weights.sum())
    unobserved = missing == rows.shape[1]
    if labels is not None:
        unobserved &= labels < 0
    return Counts(len(rows), int(missing.sum()), int(unobserved.sum()), weight)


class Gapped:
    """Before a class of sources among the bases of one whose rows may have gaps.

    That class gives `_counts()`, the Counts of the rows; `_observed_moments()` as `observed_moments` returns them; and
    `_accumulate(constants, pivot=None, labelled=True)`, the Statistics of rows that may have gaps, by known labels or
    not.
    """

    takes_gaps = True

    @property
    def has_gaps(self):
        """Whether values are missing of rows with positive weight."""
        return self.n_missing > 0

    @property
    def n_missing(self):
        """Number of values that are missing of rows with positive weight."""
        return self._scan().n_missing

    @property
    def n_unobserved(self):
        """Number of rows with positive weight of which nothing was observed."""
        return self._scan().n_unobserved

    @property
    def n_rows(self):
        """Number of rows with positive weight."""
        return self._scan().n_rows

    @property
    def total_weight(self):
        """Sum of the weights."""
        return self._scan().total_weight

    def _scan(self):
        """Count rows and gaps, in one pass, once."""
        if not hasattr(self, "_scanned"):
            self._scanned = self._counts()
        return self._scanned

    def _known_without_gaps(self):
        """Whether rows were counted already, and there are no gaps."""
        return hasattr(self, "_scanned") and not self._scanned.n_missing

    def _first_pass(self):
        """Moments and number of rows, once: those of one Gaussian if there are gaps."""
        if not hasattr(self, "_moments"):
            found = self._scan()
            if not found.n_missing:
                return super()._first_pass()
            accumulate = partial(self._accumulate, labelled=False)
            self._one = OneGaussian.fit(accumulate, *self._observed_moments())
            self._moments = (*self._one.moments(), found.total_weight), found.n_rows
        return self._moments

    def accumulate(self, constants, *, pivot=None):
        """Return the Statistics of all completed rows under a mixture: see `fastgmm.accumulate`."""
        if self._known_without_gaps():
            return super().accumulate(constants, pivot=pivot)
        return self._accumulate(constants, pivot=pivot)

    def accumulate_all(self, kind, point):
        """Return the Statistics of all rows as one component, about a point (D,), completed by one Gaussian."""
        if not self.has_gaps:
            return super().accumulate_all(kind, point)
        self._first_pass()
        full, parameters = covariance.get("full"), self._one.parameters
        dense = self._one.dense()[None]
        one = replace(parameters, covariances=dense, precisions_cholesky=full.from_covariances(dense, 1, len(point)))
        stats = self._accumulate(full.constants(one), pivot=point[None], labelled=False)
        return stats if kind == "full" else replace(stats, kind=kind, S=np.diagonal(stats.S, axis1=1, axis2=2).copy())

    def _of_sample(self, reservoir, n_threads=None):
        """Return the source of the rows in a Reservoir, their gaps filled for starts."""
        rows, weights, labels = reservoir.drawn()
        rows = Rows(rows)
        if not rows.has_gaps():
            return ArraySource(rows, weights, known_labels=labels, n_threads=n_threads)
        self._first_pass()
        return MissingSource(GappedRows(rows, weights, n_threads=n_threads), known_labels=labels, one=self._one)
