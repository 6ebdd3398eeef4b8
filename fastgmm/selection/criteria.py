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
from fastgmm.sources import as_source, is_elsewhere

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
    rng, in_array = generator(random_state), not is_elsewhere(X)
    X = Rows.of(X, min_rows=2) if in_array else X
    source = as_source(
        X,
        sample_weight,
        known_labels=known_labels,
        n_threads=n_threads,
        max_memory=options.pop("max_memory", None),
        missing=check_missing(options.pop("missing", "raise")),
    )
    if not source.gives_folds:
        raise InvalidParameterError(f"X must be able to leave rows out, got a {type(source).__name__} without `only`")
    fold_of_row = _drawn(source.n_rows, n_folds, rng)
    options |= {"reg_covar": reg_covar, "random_state": int(rng.integers(2**32)), "n_threads": n_threads}
    options["missing"] = "em" if source.takes_gaps else "raise"
    if start is None:
        start = fitting.run(source, n_components, covariance_type=covariance_type, **options).mixture
    elif options.get("noise") and start.noise is None:
        raise InvalidParameterError(f"noise must be None where start has none, got {options['noise']!r}")
    options["noise"] = None if start.noise is None else True  # of the volume that it has
    parts = [source.only(fold_of_row, fold, inside=True) for fold in range(n_folds)]
    scores = []
    for fold, parameters in enumerate(_first_steps(parts, start, reg_covar)):
        mixture = Mixture.from_parameters(parameters.astype(source.dtype), start.family)
        if source.has_gaps or not _is_closed(start, options):
            others = source.only(fold_of_row, fold, inside=False)
            same = {"covariance_type": start.family, "start": parameters}
            mixture = fitting.run(others, start.n_components, **same, **options).mixture
        scores.append(parts[fold].score(mixture.constants(source.dtype)))
    return CrossValidation(
        float(sum(score.log_likelihood for score in scores)),
        np.array([score.log_likelihood / score.total_weight for score in scores]),
        _of_all_rows(fold_of_row, sample_weight, X.n_rows) if in_array else fold_of_row,
    )


def _of_all_rows(fold_of_row: npt.NDArray[Any], sample_weight: Any, n_rows: int) -> npt.NDArray[np.int64]:
    """Return the folds of all rows, -1 for those of weight zero."""
    folds = np.full(n_rows, -1)
    folds[check_sample_weight(sample_weight, n_rows).indices(n_rows)] = fold_of_row
    return folds


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
