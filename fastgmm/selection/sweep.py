"""Fits of every family with every number of components, and the best of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm import covariance, fitting
from fastgmm._checks import check_missing
from fastgmm._errors import InvalidParameterError
from fastgmm._random import generator
from fastgmm.engine.rows import Rows
from fastgmm.mixture import Mixture
from fastgmm.sources import MissingSource, Source, as_source, is_elsewhere

from .criteria import CRITERIA, Criterion, Measured, check_criterion

__all__ = ["Candidate", "Sweep", "sweep"]

# What the numbers of one candidate may bring about; anything else is wrong for all of them.
_FAILURES = (ValueError, ArithmeticError, MemoryError)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One family with one number of components, fitted or failed.

    Attributes
    ----------
    covariance_type : str
    n_components : int
    n_rows : float
        Number of rows, or their total weight.
    seconds : float
        Wall time of the fit.
    result : FitResult or None
        The fit; None if it failed.
    error : Exception or None
        Why it failed.
    """

    covariance_type: str
    n_components: int
    n_rows: float
    seconds: float
    result: fitting.FitResult | None = None
    error: Exception | None = None

    @property
    def mixture(self) -> Mixture | None:
        """The fitted mixture; None if the fit failed."""
        return None if self.result is None else self.result.mixture

    @property
    def log_likelihood(self) -> float:
        """Log-likelihood of all rows together, in nats; NaN if the fit failed."""
        return np.nan if self.result is None else float(self.result.lower_bound) * self.n_rows

    def value(self, criterion: str) -> float:
        """The criterion called `criterion`, lower for better candidates; NaN if the fit failed."""
        if self.result is None:
            return np.nan
        return CRITERIA[criterion](Measured(self.log_likelihood, self.result.mixture.n_parameters, self.n_rows))


@dataclasses.dataclass(frozen=True)
class Sweep:
    """All candidates and the criterion that ranks them.

    Attributes
    ----------
    candidates : tuple of Candidate
        In the order in which they were fitted: by number of components, then by family.
    criterion : Criterion
        The measure; lower is better.
    """

    candidates: tuple[Candidate, ...]
    criterion: Criterion

    @property
    def ranked(self) -> list[Candidate]:
        """The candidates that could be fitted, the best first; among equals the one fitted first."""
        values = [(candidate.value(self.criterion.name), candidate) for candidate in self.candidates]
        return [candidate for value, candidate in sorted(values, key=lambda pair: pair[0]) if np.isfinite(value)]

    @property
    def best(self) -> Candidate:
        """The candidate with the lowest criterion."""
        return self.ranked[0]


def sweep(
    X: Any,
    n_components: Iterable[int] = range(1, 10),
    covariance_types: Iterable[str] | None = None,
    *,
    criterion: str = "bic",
    sample_weight: npt.ArrayLike | None = None,
    random_state: Any = None,
    progress: Callable[[Candidate], object] | None = None,
    **options: Any,
) -> Sweep:
    """Fit every family with every number of components.

    A candidate that fails is kept with its error and does not stop the others. Each is what `fastgmm.fit` gives for the
    same seed and options, bit for bit.

    Parameters
    ----------
    X : array-like of shape (N, D), path, pyarrow data set or Source
        Rows.
    n_components : iterable of int, default=range(1, 10)
        Numbers of components.
    covariance_types : iterable of str, default=None
        Covariance families; None for those of scikit-learn.
    criterion : {"bic", "aic"}, default="bic"
        What ranks the candidates.
    sample_weight : array-like of shape (N,), default=None
        Weight of each row.
    random_state : None, int, RandomState, Generator or SeedSequence, default=None
        One seed, used for every candidate, is drawn from it; an int is that seed.
    progress : callable, default=None
        Called with each `Candidate` when it is done.
    **options
        Of `fastgmm.fit`: tol, reg_covar, max_iter, n_init, init_params, n_threads, missing, callback.

    Returns
    -------
    sweep : Sweep

    Raises
    ------
    InvalidParameterError
        If an option or the criterion is out of range.
    ValueError
        If no candidate could be fitted: the error of the first.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(-5, 1, (50, 2)), rng.normal(5, 1, (50, 2))])
    >>> best = sweep(X, range(1, 4), random_state=0).best
    >>> best.covariance_type, best.n_components
    ('spherical', 2)
    """
    check_criterion(criterion)
    if is_elsewhere(X):
        rows = as_source(X, sample_weight, n_threads=options.get("n_threads"))
        n_rows, sample_weight = rows.moments()[2], None
    else:
        rows = X if isinstance(X, Rows) else Rows(X, min_rows=2)
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight, dtype=np.float64)
        missing = check_missing(options.get("missing", "raise"))
        source = as_source(rows, sample_weight, n_threads=options.get("n_threads"), missing=missing)
        source.moments()  # what is wrong with the data is wrong for every candidate
        n_rows = float(rows.n_rows) if sample_weight is None else float(sample_weight.sum())
        if isinstance(source, MissingSource):
            rows, sample_weight = source, None  # sorted by their gaps once for all candidates
    families = covariance.SKLEARN if covariance_types is None else tuple(covariance_types)
    options = {**options, "random_state": _seed(random_state), "sample_weight": sample_weight}
    candidates = []
    for candidate in _fits(rows, tuple(n_components), families, n_rows, options):
        candidates.append(candidate)
        if progress is not None:
            progress(candidate)
    done = Sweep(tuple(candidates), CRITERIA[criterion])
    if not done.ranked:
        raise next((c.error for c in candidates if c.error), ValueError("There are no candidates to fit."))
    return done


def _seed(random_state: Any) -> int:
    """One seed for all candidates."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(generator(random_state).integers(2**32))


def _fits(
    rows: Rows | Source,
    n_components: tuple[int, ...],
    families: tuple[str, ...],
    n_rows: float,
    options: dict[str, Any],
) -> Iterator[Candidate]:
    """The candidates, one fit after the other."""
    for K in n_components:
        for family in families:
            start = time.perf_counter()
            try:
                result = fitting.run(rows, K, covariance_type=family, **options)
                outcome = {"result": result}
            except InvalidParameterError:
                raise
            except _FAILURES as error:
                outcome = {"error": error}
            yield Candidate(family, K, n_rows, time.perf_counter() - start, **outcome)
