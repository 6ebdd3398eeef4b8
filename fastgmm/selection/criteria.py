"""Criteria of model choice by name, and the one that needs fits of its own: the cross-validated log-likelihood."""

from __future__ import annotations

import dataclasses
import itertools
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm import covariance, fitting
from fastgmm._checks import check_missing, check_number
from fastgmm._criteria import CRITERIA, Criterion, Measured, check_criterion
from fastgmm._errors import IllDefinedCovarianceError, InvalidParameterError
from fastgmm._random import generator
from fastgmm.engine import check_sample_weight
from fastgmm.engine.rows import Rows
from fastgmm.fitting.mstep import check_floor
from fastgmm.mixture import Mixture
from fastgmm.sources import ArraySource, Source, as_source, is_elsewhere
from fastgmm.sources.array import check_known_labels
from fastgmm.sources.missing import UnfilledRows

__all__ = ["CRITERIA", "Criterion", "CrossValidation", "Measured", "check_criterion", "cross_validate"]


@dataclasses.dataclass(frozen=True)
class CrossValidation:
    """Log-likelihoods of rows under fits that have not seen them.

    Attributes
    ----------
    log_likelihood : float
        Of all rows together, in nats.
    folds : ndarray of shape (n_folds,)
        Mean log-likelihood per unit of weight of the rows of each fold.
    fold_of_row : int ndarray of shape (N,)
        Which fold each row was in; -1 for rows of weight zero. Of rows elsewhere than in an array, only of those with
        positive weight, in their order.
    """

    log_likelihood: float
    folds: npt.NDArray[np.float64]
    fold_of_row: npt.NDArray[np.int64]


def cross_validate(
    X: Any,
    n_components: int = 1,
    *,
    covariance_type: str = "full",
    n_folds: int = 10,
    start: Mixture | None = None,
    sample_weight: npt.ArrayLike | None = None,
    known_labels: npt.ArrayLike | None = None,
    reg_covar: float = 1e-6,
    random_state: Any = None,
    n_threads: int | None = None,
    **options: Any,
) -> CrossValidation:
    """Return the cross-validated log-likelihood of a mixture (Smyth 2000, Statistics and Computing 10:63).

    All fits of parts start from the fit of the whole. So they have the first E-step in common: the statistics of each
    fold under it are taken once, and the sum over all folds but one gives the first M-step of that part, exactly. With
    one component that is all there is to do; with more, each part goes on by itself until it has converged.

    The volume of noise is that of the whole in all parts: it says where rows may be, and is not estimated.

    Parameters
    ----------
    X : array-like of shape (N, D), path, pyarrow data set, Dask collection, or fastgmm.sources.Source
        Rows. Elsewhere than in an array every iteration reads all of them, those of the other parts too.
    n_components : int, default=1
    covariance_type : str, default="full"
    n_folds : int, default=10
        From 2 to the number of rows. Folds are drawn at random, of equal numbers of rows.
    start : Mixture, optional
        The fit of the whole, where it is known; `n_components`, `covariance_type` and noise are then its own.
    sample_weight : array-like of shape (N,), optional
        Weight of each row.
    known_labels : array-like of shape (N,), optional
        Components of rows that are known, -1 for others, as in `fastgmm.fit`: such rows count with their component
        where they are held out too.
    reg_covar : float, default=1e-6
        As in `fastgmm.fit`.
    random_state : None, int, RandomState, Generator or SeedSequence, default=None
    n_threads : int, optional
        No result depends on it.
    **options
        Of `fastgmm.fit`.

    Returns
    -------
    CrossValidation

    Raises
    ------
    InvalidParameterError
        If `n_folds` is out of range, or noise is asked for and `start` has none.
    IllDefinedCovarianceError
        If a part cannot be fitted.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 1))
    >>> one, five = (cross_validate(X, K, random_state=0).log_likelihood for K in (1, 5))
    >>> one > five
    True
    """
    n_folds = check_number(n_folds, "n_folds", Integral, 2)
    missing, rng = check_missing(options.get("missing", "raise")), generator(random_state)
    beside = {"known_labels": known_labels, "n_threads": n_threads}
    if is_elsewhere(X):
        beside["max_memory"] = options.pop("max_memory", None)
        halves: _InArray | _Elsewhere = _Elsewhere(as_source(X, sample_weight, missing=missing, **beside))
    else:
        halves = _InArray(X, sample_weight, missing=missing, **beside)
    fold_of_row = halves.draw(n_folds, rng)
    options |= {"reg_covar": reg_covar, "random_state": int(rng.integers(2**32)), "n_threads": n_threads}
    if start is None:
        start = fitting.run(
            **halves.whole(), n_components=n_components, covariance_type=covariance_type, **options
        ).mixture
    elif options.get("noise") and start.noise is None:
        raise InvalidParameterError(f"noise must be None where start has none, got {options['noise']!r}")
    options["noise"] = None if start.noise is None else True  # of the volume that it has
    parts = [halves.part(fold) for fold in range(n_folds)]
    scores = []
    for fold, parameters in enumerate(_first_steps(parts, start, reg_covar)):
        mixture = Mixture.from_parameters(parameters.astype(halves.dtype), start.family)
        if halves.has_gaps or not _is_closed(start, options):
            same = {"n_components": start.n_components, "covariance_type": start.family, "start": parameters}
            mixture = fitting.run(**halves.others(fold), **same, **options).mixture
        scores.append(parts[fold].score(mixture.constants(halves.dtype)))
    return CrossValidation(
        float(sum(score.log_likelihood for score in scores)),
        np.array([score.log_likelihood / score.total_weight for score in scores]),
        fold_of_row,
    )


class _InArray:
    """Rows in an array, their folds, and what fits of parts of them are of."""

    def __init__(self, X: Any, sample_weight: Any, *, missing: str, known_labels: Any, n_threads: int | None) -> None:
        self._rows = Rows.of(X, min_rows=2)
        self._given = check_sample_weight(sample_weight, self._rows.n_rows)
        self._weights = self._given.of_rows(self._rows.n_rows)
        known = check_known_labels(known_labels, self._given, self._rows.n_rows)
        self._beside, self._n_threads = {"known_labels": known}, n_threads
        self.dtype, self.has_gaps = self._rows.dtype, missing == "em" and self._rows.has_gaps()

    def draw(self, n_folds: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        kept = self._given.indices(self._rows.n_rows)
        self._fold_of_row = np.full(self._rows.n_rows, -1)
        self._fold_of_row[kept] = _drawn(len(kept), n_folds, rng)
        return self._fold_of_row

    def whole(self) -> dict[str, Any]:
        return {"X": self._rows, "sample_weight": self._given, **self._beside}

    def part(self, fold: int) -> ArraySource | UnfilledRows:
        kind = UnfilledRows if self.has_gaps else ArraySource
        inside = np.where(self._fold_of_row == fold, self._weights, 0)
        return kind(self._rows, inside, n_threads=self._n_threads, **self._beside)

    def others(self, fold: int) -> dict[str, Any]:
        outside = np.where(self._fold_of_row == fold, 0, self._weights)
        return {"X": self._rows, "sample_weight": outside, **self._beside}


class _Elsewhere:
    """The same of the rows of a source: those with positive weight."""

    def __init__(self, source: Source) -> None:
        if not source.gives_folds:
            raise InvalidParameterError(
                f"X must be able to leave rows out, got a {type(source).__name__} without `only`"
            )
        self._source = source
        self.dtype, self.has_gaps = source.dtype, source.has_gaps

    def draw(self, n_folds: int, rng: np.random.Generator) -> npt.NDArray[Any]:
        self._fold_of_row = _drawn(self._source.n_rows, n_folds, rng)
        return self._fold_of_row

    def whole(self) -> dict[str, Any]:
        return {"X": self._source}

    def part(self, fold: int) -> Source:
        return self._source.only(self._fold_of_row, fold, inside=True)

    def others(self, fold: int) -> dict[str, Any]:
        return {"X": self._source.only(self._fold_of_row, fold, inside=False)}


def _drawn(n_rows: int, n_folds: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Return the fold of each of so many rows: of equal numbers of rows, in bytes as long as they suffice."""
    if n_folds > n_rows:
        raise InvalidParameterError(f"n_folds must be at most the number of rows, {n_rows}, got {n_folds}")
    return rng.permutation(np.resize(np.arange(n_folds, dtype=np.min_scalar_type(-n_folds)), n_rows))


def _is_closed(start: Mixture, options: dict[str, Any]) -> bool:
    """Whether the first M-step of rows without gaps is where EM ends: of one component, if nothing is beside it."""
    beside = start.noise is not None or any(options.get(name) is not None for name in ("prior", "fixed"))
    floor = check_floor(options.get("on_collapse", "raise"), options.get("covariance_floor"))
    return start.n_components == 1 and not start.family.rank and not beside and floor is None


def _first_steps(parts: list[Any], start: Mixture, reg_covar: float) -> list[covariance.Parameters]:
    """Return the parameters after the first M-step of all parts but one, for each part: one pass over all rows."""
    family, parameters = start.family, start.parameters.astype(np.float64)
    shift = start.weights @ start.means
    constants = family.constants(parameters, dtype=parts[0].dtype, shift=shift)
    stats = [part.accumulate(constants) for part in parts]
    before = [None, *itertools.accumulate(stats[:-1])]
    after = [*list(itertools.accumulate(stats[:0:-1]))[::-1], None]
    steps = []
    for fold, (left, right) in enumerate(zip(before, after, strict=True)):
        others = right if left is None else left if right is None else left + right
        try:
            steps.append(family.maximise(others, reg_covar=reg_covar, previous=parameters))
        except IllDefinedCovarianceError as error:
            raise IllDefinedCovarianceError(error.component, parts[fold].dtype == np.float32) from error
    return steps
