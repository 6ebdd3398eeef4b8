"""Rows with gaps: exact EM where values are missing at random.

A pass takes the expectation over what is missing too (`fastgmm.engine.gaps`), so EM sees completed statistics and knows
of no gaps. Starts want rows without gaps, so theirs are filled: with the expectation of what is missing under one
Gaussian, fitted to all rows by EM first. Statistics under given labels get that Gaussian's conditional covariances too,
else clusters would start too narrow.
"""

from dataclasses import dataclass, replace

import numpy as np

from fastgmm import covariance
from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.covariance import Parameters
from fastgmm.engine.gaps import GappedRows, Marginal
from fastgmm.engine.rows import Rows
from fastgmm.sources.array import ArraySource, check_known_labels

__all__ = ["MissingSource", "OneGaussian", "UnfilledRows", "moments_by", "observed_moments", "observed_sums"]

FULL_FEATURES = (
    64  # of more, the Gaussian of the starts has no correlations: D^3 for each pattern would outweigh the fit
)
ITERATIONS, TOL = 50, 1e-4  # of that Gaussian; it is a start
LEAST_DEVIATION = 1e-8  # of a feature that does not vary, in the size of its mean


class MissingSource(ArraySource):
    """Rows with gaps, with weights.

    What starts ask for comes from the filled rows, what EM asks for from the rows as they are.

    Parameters
    ----------
    gapped : GappedRows
    known_labels : (N,) array of int, optional
        The component of each row, -1 where it is not known: see `ArraySource`.
    one : OneGaussian, optional
        What gaps are filled by for starts; default: fitted to the rows.

    Attributes
    ----------
    n_unobserved : int
        Rows of which nothing was observed, not even the component: they follow the weights and say nothing about them.

    Raises
    ------
    ValueError
        If nothing was observed of a feature.
    """

    has_gaps = takes_gaps = True

    def __init__(self, gapped, *, known_labels=None, one=None):
        self._gapped = gapped
        self._one = one or OneGaussian.fit(gapped.accumulate, *observed_moments(lambda: [gapped], gapped.n_features))
        options = {"known_labels": known_labels, "n_threads": gapped.n_threads}
        super().__init__(Rows(self._filled()), gapped.weights, **options)
        self._moments = *self._one.moments(), sum(p.mass for p in gapped.patterns)
        self.n_unobserved = _n_unobserved(gapped, self.known_labels)

    def accumulate(self, constants, *, pivot=None):
        """Return the Statistics of all completed rows under a mixture: see `fastgmm.accumulate`."""
        return self._gapped.accumulate(constants, pivot=pivot, known_labels=self.known_labels)

    def steps(self, kind, n_components, shift, reg_covar, limits, structure=None):
        """Return None: a pass over rows with gaps is not short."""

    def score(self, constants, **wanted):
        """Return the Scores of all rows under a mixture, by their marginal densities: see `fastgmm.engine.score`."""
        return self._gapped.score(constants, known_labels=self.known_labels, **wanted)

    def accumulate_given(self, kind, pivot, **given):
        """Return the Statistics of all rows under given labels or responsibilities, completed by one Gaussian."""
        stats = super().accumulate_given(kind, pivot, **given)
        labels, resp = given.get("labels"), given.get("resp")
        constants, D = self._one.constants(), self.n_features
        correlated = kind in ("full", "rotated", "low_rank")
        spread = np.zeros((len(pivot), D, D) if correlated else (len(pivot), D))
        for p in self._gapped.patterns:
            if not len(p.missing):
                continue
            weights = p.weight_of_rows()
            if resp is not None:
                n = weights @ resp[p.rows]
            elif labels is not None:
                own = labels[p.rows]
                inside = (own >= 0) & (own < len(pivot))
                n = np.bincount(own[inside], weights[inside], minlength=len(pivot))
            else:
                n = np.full(len(pivot), weights.sum())
            C = Marginal(constants, p.observed, p.missing).conditional[0]
            if not correlated:
                spread[:, p.missing] += n[:, None] * (C if C.ndim == 1 else np.diagonal(C))
            else:
                dense = np.diag(C) if C.ndim == 1 else C
                spread[:, p.missing[:, None], p.missing] += n[:, None, None] * dense
        if kind == "low_rank":
            spread = np.concatenate([np.diagonal(spread, axis1=1, axis2=2)[:, None], stats.axes @ spread], axis=1)
        elif kind in ("rotated", "spherical"):
            spread = spread.sum(axis=0 if kind == "rotated" else 1)
        return replace(stats, S=stats.S + spread)

    def map_rows(self, function, width, dtype):
        """Return what a function makes of every row, gaps and all: see `Source.map_rows`."""
        return function(self._gapped.rows)

    def sum_over(self, function, n_rows=1):
        """Return what a function makes of the rows, gaps and all: see `Source.sum_over`."""
        return function(self.on_kept_rows(self._gapped.rows.array), self.weights())

    def unknown(self):
        """Return the source of the rows whose component is not known, None without such rows: see `Source.unknown`."""
        if self.known_labels is None:
            return self
        weights = self._weights_of_unknown()
        gapped = GappedRows(self._gapped.rows, weights, n_threads=self._gapped.n_threads) if weights.any() else None
        return None if gapped is None else MissingSource(gapped, one=self._one)

    def only(self, fold_of_row, fold, *, inside):
        """Return the source of the rows of one fold, or of all others: see `Source.only`.

        The others are as if there were no fold. Of the fold nothing may be known of a feature: gaps are filled as here.
        """
        weights = self._weights_of_fold(fold_of_row, fold, inside)
        gapped = GappedRows(self._gapped.rows, weights, n_threads=self._gapped.n_threads)
        return MissingSource(gapped, known_labels=self.known_labels, one=self._one if inside else None)

    def sorted_by(self, labels):
        """Return the source itself: rows are visited pattern by pattern."""
        return self

    def _filled(self):
        """Return the rows (N, D) with the expectation of what is missing under one Gaussian."""
        constants = self._one.constants()
        mean = constants.means[0]
        filled = np.empty((self._gapped.n_rows, self._gapped.n_features), dtype=self._gapped.dtype)
        for p in (*self._gapped.patterns, *self._gapped.weightless):
            expected = np.broadcast_to(mean[p.missing], (len(p.rows), len(p.missing)))
            if p.values is not None:
                filled[p.rows[:, None], p.observed] = p.values.array
                B = Marginal(constants, p.observed, p.missing).regression
                if B is not None:
                    expected = expected + (p.values.array - mean[p.observed]) @ B[0].T
            filled[p.rows[:, None], p.missing] = expected
        return filled


class UnfilledRows:
    """Rows with gaps as they are, for passes alone: nothing is filled, and a feature may be missing altogether.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features) or Rows
    sample_weight : array-like of shape (n_rows,), number, or None
    known_labels : (n_rows,) array of int, optional
        See `ArraySource`.
    n_threads : int or None, default=None

    Attributes
    ----------
    dtype, known_labels, n_named
        See `ArraySource`.
    n_unobserved : int
        See `MissingSource`.
    """

    def __init__(self, X, sample_weight=None, *, known_labels=None, n_threads=None):
        self._gapped = GappedRows(Rows.of(X), sample_weight, n_threads=n_threads)
        self.dtype, weights = self._gapped.dtype, self._gapped.weights
        self.known_labels = check_known_labels(known_labels, weights, self._gapped.n_rows)
        self.n_named = 0 if self.known_labels is None else int(self.known_labels.max()) + 1
        self.n_unobserved = _n_unobserved(self._gapped, self.known_labels)

    def accumulate(self, constants, *, pivot=None):
        """Return the Statistics of all completed rows under a mixture: see `fastgmm.accumulate`."""
        return self._gapped.accumulate(constants, pivot=pivot, known_labels=self.known_labels)

    def score(self, constants):
        """Return the Scores of all rows under a mixture, by their marginal densities: see `fastgmm.engine.score`."""
        return self._gapped.score(constants, known_labels=self.known_labels)

    def kept(self):
        """Return what `ArraySource.kept` does, gaps and all."""
        rows, weights = self._gapped.kept()
        kept = self._gapped.weights.indices(self._gapped.n_rows)
        return rows, weights, None if self.known_labels is None else self.known_labels[kept]


def _n_unobserved(gapped, known):
    """Return how many rows with positive weight have nothing observed, not even their component."""
    nothing = np.concatenate([p.rows for p in gapped.patterns if p.values is None] or [np.zeros(0, np.intp)])
    return len(nothing) - (0 if known is None else int((known[nothing] >= 0).sum()))


def observed_moments(passes, n_features):
    """Return means (D,) and variances (D,) of what was observed of each feature, in two passes: see `moments_by`.

    Parameters
    ----------
    passes : callable
        Returns an iterator over all rows as GappedRows.
    n_features : int
    """

    def total(mean):
        sums = np.zeros((2, n_features))
        for gapped in passes():
            sums = observed_sums(gapped, mean, sums)
            del gapped  # one is gone before the next is made
        return sums

    return moments_by(total)


def observed_sums(gapped, mean=None, before=0.0):
    """Return weights, and sums of values or, with a mean (D,), of squares about it, of what was observed: (2, D).

    They are added to those before, (2, D) or zero.
    """
    sums = np.zeros((2, gapped.n_features)) + before
    with np.errstate(over="ignore", invalid="ignore"):
        for p in gapped.patterns:
            if p.values is None:
                continue
            weights = p.weight_of_rows()
            sums[0, p.observed] += p.mass
            for first, piece in p.values.pieces():
                values = piece.astype(np.float64) if mean is None else (piece - mean[p.observed]) ** 2
                sums[1, p.observed] += weights[first : first + len(piece)] @ values
    return sums


def moments_by(total):
    """Return means (D,) and variances (D,) of what was observed of each feature.

    Parameters
    ----------
    total : callable
        Returns the `observed_sums` of all rows, about a mean (D,) or None.

    Raises
    ------
    ValueError
        If nothing was observed of a feature.
    IllDefinedCovarianceError
        If the squares of the rows overflow float64.
    """
    seen, first = total(None)
    if not seen.all():
        raise ValueError(
            f"Input X holds nothing but gaps in column {np.argmin(seen)} (counted from 0): nothing can be said "
            "about it. Leave it out."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        mean = first / seen
        variances = total(mean)[1] / seen
    if not (np.isfinite(mean).all() and np.isfinite(variances).all()):
        raise IllDefinedCovarianceError
    return mean, variances


@dataclass(frozen=True)
class OneGaussian:
    """One Gaussian fitted to all rows, as far as that is well defined.

    Attributes
    ----------
    parameters : Parameters
        Of one component.
    family : Family
        Full, or diag where there are many features.
    """

    parameters: Parameters
    family: covariance.Family

    @classmethod
    def fit(cls, accumulate, mean, variances):
        """Return the Gaussian of rows whose statistics under constants a function returns, from moments (D,)."""
        family = covariance.get("full" if len(mean) <= FULL_FEATURES else "diag")
        tiny = np.sqrt(np.finfo(np.float64).tiny)
        variances = np.maximum(variances, np.maximum(LEAST_DEVIATION * np.abs(mean), tiny) ** 2)
        start = variances[None] if family.name == "diag" else np.diag(variances)[None]
        parameters = Parameters(np.ones(1), mean[None], start, family.from_covariances(start, 1, len(mean)))
        bound = -np.inf
        for _ in range(ITERATIONS):
            stats = accumulate(family.constants(parameters, shift=mean))
            before, bound = bound, stats.log_likelihood / stats.total_weight
            try:
                found = family.maximise(stats, previous=parameters)
            except IllDefinedCovarianceError:
                break  # fewer rows than features, or features that follow from others: the last step had a density
            if bound - before < TOL:
                break
            parameters = found
        return cls(parameters, family)

    def constants(self):
        """Return what passes need of it."""
        return self.family.constants(self.parameters, dtype=np.dtype(np.float64))

    def dense(self):
        """Return the covariance (D, D)."""
        return self.family.dense_covariances(self.parameters.covariances, *self.parameters.means.shape)[0]

    def moments(self):
        """Return mean (D,) and variances (D,)."""
        return self.parameters.means[0], np.diagonal(self.dense()).copy()
