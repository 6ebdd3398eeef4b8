"""Rows in an array: the plainest source of statistics."""

import numpy as np

from fastgmm import engine
from fastgmm._checks import check_label_values, check_labels, known_of_weights
from fastgmm.engine import kmeans
from fastgmm.engine._linalg import all_finite, is_plain
from fastgmm.engine.passes import moments
from fastgmm.engine.rows import Rows, Weights, check_sample_weight
from fastgmm.engine.steps import steps_over
from fastgmm.engine.threads import resolve
from fastgmm.sources.base import Source

__all__ = ["ArraySource", "check_known_labels"]


def check_known_labels(labels, weights, n_rows):
    """Return the components of rows that are known, (N,) int64 with -1 where they are not; None if none is.

    Rows without weight, as `Weights` say, are not known.

    Raises
    ------
    ValueError, TypeError
        If they are no integers, not one for each row, or below -1.
    """
    if labels is None:
        return None
    labels = check_labels(labels, n_rows)
    check_label_values(labels)
    labels = known_of_weights(labels.astype(np.int64), None if weights.kept is None else weights.of_rows(n_rows))
    return labels if (labels >= 0).any() else None


class ArraySource(Source):
    """Rows of one array, with weights. A fit asks it for statistics and never touches a row.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features) or Rows
    sample_weight : array-like of shape (n_rows,), number, or None
        Rows of weight zero are as if they were not there.
    n_threads : int or None, default=None
    known_labels : (n_rows,) array of int, optional
        The component that each row is known to belong to, -1 where it is not known. Rows that are known belong to
        theirs alone, and count with its density times its weight. Labels of rows of weight zero say nothing.
    sparse : bool, default=False
        Whether neighbouring rows belong to few of many components: see `fastgmm.accumulate`.

    Attributes
    ----------
    n_rows : int
        Rows with positive weight.
    n_all_rows : int
        All rows of the array.
    n_features : int
    dtype : numpy.dtype
        The type that rows are computed in.
    known_labels : (n_all_rows,) int64 array or None
        None if no row is known.
    n_named : int
        Components that known labels name, from 0 on.
    n_known : int
        Rows with positive weight whose component is known.

    Raises
    ------
    ValueError, TypeError
        If rows, weights or labels are not as described.
    """

    n_rows = 0  # an attribute, where other sources count them in a pass
    sample_of = None  # the source that this one is a sample of, for a start that looks at all rows

    def __init__(self, X, sample_weight=None, *, known_labels=None, n_threads=None, sparse=False):
        self._sparse = sparse
        self._rows = Rows.of(X)
        self._weights = check_sample_weight(sample_weight, self._rows.n_rows)
        self.known_labels = check_known_labels(known_labels, self._weights, self._rows.n_rows)
        self.n_named = self.n_known = 0
        if self.known_labels is not None:
            self.n_named = int(self.known_labels.max()) + 1
            self.n_known = int((self.known_labels >= 0).sum())
        self._n_threads = resolve(n_threads)
        self._scatter, self._remembered = (None, None), {}
        kept = self._weights.kept
        self.n_rows = self._rows.n_rows if kept is None else len(kept)
        self.n_all_rows, self.n_features, self.dtype = self._rows.n_rows, self._rows.n_features, self._rows.dtype

    @property
    def array(self):
        """All rows (N, D), as starts see them."""
        return self._rows.array

    @property
    def column_names(self):
        """Names of the columns, if X was a data frame."""
        return self._rows.column_names

    @property
    def n_threads(self):
        """Number of threads of its passes."""
        return self._n_threads

    @property
    def _options(self):
        return {"sample_weight": self._weights, "n_threads": self._n_threads}

    def accumulate(self, constants, *, pivot=None):
        """Return the Statistics of all rows under a mixture: see `fastgmm.accumulate`."""
        scatter = self._total_scatter(constants.shift, constants.group_rows) if constants.kind == "rotated" else None
        return engine.accumulate(
            self._rows,
            constants,
            scatter=scatter,
            pivot=pivot,
            sparse=self._sparse,
            known_labels=self.known_labels,
            **self._options,
        )

    def steps(self, kind, n_components, shift, reg_covar, limits, structure=None):
        """Return what makes several steps of EM at once, or None if passes are not short: see `Source.steps`."""
        if self._sparse or not self._rows.native:
            return None
        return steps_over(
            self._rows,
            kind,
            n_components,
            shift,
            reg_covar=reg_covar,
            limits=limits,
            weights=self._weights,
            scatter=self._total_scatter,
            structure=structure,
            known_labels=self.known_labels,
        )

    def _total_scatter(self, shift, group):
        """Return the total scatter about a shift, groups of rows added up: one pass as long as the shift stays."""
        known, scatter = self._scatter
        if known is None or not np.array_equal(known, shift):
            scatter = engine.total_scatter(self._rows, shift, group=group, **self._options)
            self._scatter = shift, scatter
        return scatter

    def accumulate_given(self, kind, pivot, *, labels=None, resp=None, factors=None):
        """Return the Statistics of all rows under given labels or responsibilities.

        Parameters
        ----------
        kind : str
            Kernel kind of the statistics.
        pivot : (K, D) array
        labels : (N,) array over all rows of the array, or None
        resp : (N, K) array or object that gives the responsibilities of the rows in a slice or index array, or None
        factors : (K, 1 + q, D) array, for the low-rank kind alone: along which axes
        """
        return engine.accumulate_given(
            self._rows,
            kind,
            pivot,
            labels=labels,
            resp=resp,
            factors=factors,
            shift=self.moments()[0],
            **self._options,
        )

    def accumulate_all(self, kind, point):
        """Return the Statistics of all rows as one component, about a point (D,): see `Source.accumulate_all`."""
        return self.accumulate_given(kind, point[None])

    def map_rows(self, function, width, dtype):
        """Return what a function makes of every row: see `Source.map_rows`."""
        return function(self._rows)

    def sum_over(self, function, n_rows=1):
        """Return what a function makes of the rows with positive weight: see `Source.sum_over`."""
        return function(self.on_kept_rows(self._rows.array), self.weights())

    def unknown(self):
        """Return the source of the rows whose component is not known, None without such rows: see `Source.unknown`."""
        if self.known_labels is None:
            return self
        weights = self._weights_of_unknown()
        return ArraySource(self._rows, weights, n_threads=self._n_threads) if weights.any() else None

    def only(self, fold_of_row, fold, *, inside):
        """Return the source of the rows of one fold, or of all others: see `Source.only`."""
        weights = self._weights_of_fold(fold_of_row, fold, inside)
        return ArraySource(self._rows, weights, known_labels=self.known_labels, n_threads=self._n_threads)

    def _weights_of_fold(self, fold_of_row, fold, inside):
        """Return the weights (n_all_rows,), zero where `only` leaves rows out."""
        weights = self._weights.of_rows(self.n_all_rows)
        weights[self.numbers()[(fold_of_row == fold) != inside]] = 0.0
        return weights

    def _weights_of_unknown(self):
        """Return the weights (n_all_rows,), zero where the component is known."""
        return np.where(self.known_labels >= 0, 0.0, self._weights.of_rows(self.n_all_rows))

    def with_known(self, labels):
        """Return labels (N,) of all rows with those that are known in their places."""
        return labels if self.known_labels is None else np.where(self.known_labels >= 0, self.known_labels, labels)

    def score(self, constants, **wanted):
        """Return the Scores of all rows under a mixture: see `fastgmm.engine.score`."""
        return engine.score(self._rows, constants, known_labels=self.known_labels, **wanted, **self._options)

    def most_likely(self, constants):
        """Return the most likely component of each row (N,), whether it is known or not, for starts."""
        return engine.score(self._rows, constants, labels=True, **self._options).labels

    def nearest(self, centres, *, shift, **wanted):
        """Return the Nearest of some centres: see `fastgmm.engine.nearest`."""
        return engine.nearest(self._rows, centres, shift=shift, **wanted, **self._options)

    def potential(self, candidates, closest, *, shift):
        """Return the k-means++ potential of each candidate: see `fastgmm.engine.potential`."""
        return engine.potential(self._rows, candidates, closest, shift=shift, **self._options)

    def lloyd(self, centres, *, shift, **how):
        """Return what `fastgmm.engine.kmeans.lloyd` does; None where rows are many, which go pass by pass."""
        panels = self._panels(shift)
        if panels is None:
            return None
        return kmeans.lloyd(panels, self._rows, self._weights, centres, n_threads=self._n_threads, **how)

    def seed(self, first, draws, *, shift):
        """Return the positions of seeds, see `fastgmm.engine.kmeans.seed`; None where rows are many."""
        panels = self._panels(shift)
        return None if panels is None else kmeans.seed(panels, first, draws, self._n_threads)

    def _panels(self, shift):
        """Return the rows as all starts by k-means share them, minus the first shift; None where they are many."""
        return self.remembered("panels", lambda: kmeans.pack(self._rows, self._weights, shift))

    def moments(self):
        """Return mean (D,), variances (D,) and total weight of the rows; the first call takes a pass.

        Raises
        ------
        IllDefinedCovarianceError
            If the squares of the rows overflow float64.
        """
        if not hasattr(self, "_moments"):
            self._moments = moments(self._rows, self._weights, self.rows_at(slice(1))[0], self._n_threads)
        return self._moments

    def remembered(self, name, make):
        """Return what was made of the rows under a name, by a function of no arguments if nothing was: for few rows."""
        if name not in self._remembered:
            self._remembered[name] = make()
        return self._remembered[name]

    def rows_at(self, positions):
        """Return the rows (n, D), float64, at some positions among the rows with positive weight."""
        kept = self._weights.kept
        picked = self._rows.array[positions if kept is None else kept[positions]]
        if not is_plain(picked):
            with np.errstate(over="ignore", invalid="ignore"):
                picked = picked.astype(np.float64, order="C")
        if not all_finite(picked):
            self._rows.raise_not_finite()
        return picked

    def sample(self, n_rows, rng):
        """Return a source of about n_rows of the rows, drawn in proportion to their weights, in their order.

        One row is drawn from each of n_rows stretches of equal weight. A row that is drawn repeatedly has that number
        as its weight; all others weigh one. `weights` is None if none is.

        Parameters
        ----------
        n_rows : int
        rng : numpy.random.Generator

        Returns
        -------
        ArraySource
        """
        kept, weights = self._weights.kept, self._weights.values
        points = (np.arange(n_rows) + rng.random(n_rows)) / n_rows  # of all weight, rising
        if weights is None:
            places = (points * self.n_rows).astype(np.intp)
        else:
            heap = np.cumsum(weights)
            places = np.minimum(np.searchsorted(heap, points * heap[-1], side="right"), self.n_rows - 1)
        np.minimum(places, self.n_rows - 1, out=places)
        first = np.flatnonzero(np.diff(places, prepend=-1))  # of each row that was drawn: they are in order
        counts = np.diff(first, append=n_rows).astype(np.float64) if len(first) < n_rows else None
        places = places[first]
        drawn = Weights(counts, places if kept is None else kept[places], 1.0)
        return ArraySource(self._rows, drawn, known_labels=self.known_labels, n_threads=self._n_threads)

    def gathered(self):
        """Return a source of the same rows, copied together: for few of many rows, to be visited often."""
        known = None if self.known_labels is None else self.on_kept_rows(self.known_labels)
        rows = self.rows_at(np.arange(self.n_rows)).astype(self.dtype)
        return ArraySource(rows, self.weights(), known_labels=known, n_threads=self._n_threads)

    def sorted_by(self, labels):
        """Return a source of the same rows in the order of their labels (N,), to be visited as sparse."""
        weights, kept, unit = self._weights
        order = np.argsort(self.on_kept_rows(labels).astype(np.int32), kind="stable")
        order = Weights(None if weights is None else weights[order], order if kept is None else kept[order], unit)
        arranged = ArraySource(self._rows, order, n_threads=self._n_threads, sparse=True)
        arranged._moments = self.moments()
        return arranged

    def kept(self):
        """Return a copy of the rows with positive weight (n_rows, D), of the compute type, `weights()`, and labels.

        Known labels (n_rows,) are None if no row is known.
        """
        labels = None if self.known_labels is None else self.on_kept_rows(self.known_labels)
        return self.on_kept_rows(self._rows.array).astype(self.dtype), self.weights(), labels

    def weights(self):
        """Return the positive weights, one per row with positive weight, or None if all are one."""
        return self._weights.values

    def place(self, rows):
        """Return the positions, among the rows with positive weight, of some of them given by their row numbers."""
        kept = self._weights.kept
        return rows if kept is None else np.searchsorted(kept, rows)

    def numbers(self):
        """Return the row numbers (n_rows,) of the rows with positive weight."""
        kept = self._weights.kept
        return np.arange(self.n_rows) if kept is None else kept

    def on_kept_rows(self, values):
        """Return the entries of an array over all rows that belong to rows with positive weight."""
        kept = self._weights.kept
        return values if kept is None else values[kept]

    def close_rows(self, centre, *, shift):
        """Return the squared distances (n_rows,) of the rows with positive weight to one centre (D,)."""
        found = self.nearest(centre[None], shift=shift, distances2=True)
        return self.on_kept_rows(found.distances2)
