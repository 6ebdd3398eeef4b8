"""How sure a choice is: bootstrap likelihood ratio tests, frequencies of the chosen model, intervals of parameters.

All replicates start from the fit of the data (McLachlan 1987, Applied Statistics 36:318), so that a few iterations are
enough, and run beside each other. One that fails is drawn anew, and counted.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from fastgmm import fitting
from fastgmm._checks import check_number
from fastgmm._errors import IllDefinedCovarianceError, InvalidParameterError
from fastgmm._random import generator
from fastgmm.engine import check_sample_weight
from fastgmm.engine.rows import Rows
from fastgmm.engine.threads import resolve
from fastgmm.mixture import Mixture
from fastgmm.sources import ArraySource

from .search import NothingFittedError
from .selection import Records, Selection
from .starts import Few, race
from .sweep import select

__all__ = [
    "LikelihoodRatioTest",
    "ParameterBootstrap",
    "bootstrap_choice",
    "bootstrap_lrt",
    "bootstrap_parameters",
]

MAX_REDRAWS = 10  # of one replicate
RACE_ITERATIONS = 5
_FIT = {"tol": 1e-5, "max_iter": 1000, "reg_covar": 0.0}

_Replicate = TypeVar("_Replicate")


@dataclasses.dataclass(frozen=True)
class LikelihoodRatioTest:
    """A bootstrap test of K against K + 1 components.

    Attributes
    ----------
    n_components : int
        K, the number under the hypothesis.
    statistic : float
        2 (l_(K+1) - l_K) of the data.
    replicates : ndarray of shape (n_replicates,)
        The same of rows drawn from the fit with K components.
    p_value : float
        (1 + number of replicates that reach the statistic) / (1 + number of replicates).
    n_failed : int
        Replicates that could not be fitted and were drawn anew.
    """

    n_components: int
    statistic: float
    replicates: npt.NDArray[np.float64] = dataclasses.field(repr=False)
    p_value: float
    n_failed: int


@dataclasses.dataclass(frozen=True)
class ParameterBootstrap:
    """Parameters of replicates, components in the order of the fit.

    Attributes
    ----------
    mixture : Mixture
        The fit.
    weights : ndarray of shape (n_replicates, K)
    means : ndarray of shape (n_replicates, K, D)
    covariances : ndarray of shape (n_replicates, ...)
        In the shape of the family.
    n_failed : int
        Replicates that could not be fitted and were drawn anew.
    """

    mixture: Mixture
    weights: npt.NDArray[np.float64] = dataclasses.field(repr=False)
    means: npt.NDArray[np.float64] = dataclasses.field(repr=False)
    covariances: npt.NDArray[np.float64] = dataclasses.field(repr=False)
    n_failed: int

    def intervals(self, level: float = 0.95) -> dict[str, npt.NDArray[np.float64]]:
        """Return percentile intervals.

        Parameters
        ----------
        level : float, default=0.95
            Share of the replicates between the ends, in (0, 1).

        Returns
        -------
        intervals : dict
            "weights", "means" and "covariances": arrays of which the first axis is (low, high).
        """
        if not 0 < check_number(level, "level", Real, 0) < 1:
            raise InvalidParameterError(f"level must be a number in (0, 1), got {level!r}")
        ends = [(1 - level) / 2, (1 + level) / 2]
        return {name: np.quantile(getattr(self, name), ends, axis=0) for name in _PARAMETERS}

    def standard_errors(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return the standard deviations over the replicates, by name."""
        return {name: getattr(self, name).std(axis=0, ddof=1) for name in _PARAMETERS}


_PARAMETERS = ("weights", "means", "covariances")


def bootstrap_lrt(
    X: Any,
    n_components: int,
    *,
    covariance_type: str = "full",
    n_replicates: int = 999,
    sample_weight: npt.ArrayLike | None = None,
    random_state: Any = None,
    n_threads: int | None = None,
) -> LikelihoodRatioTest:
    """Test K components against K + 1 by the parametric bootstrap of the likelihood ratio.

    The ratio has no chi-squared distribution here. So rows are drawn from the fit with K components, as many as there
    are, and both models are fitted to them, from the fits of the data; with K + 1 also from splits of the other.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features)
        Rows.
    n_components : int
        K.
    covariance_type : str, default="full"
    n_replicates : int, default=999
    sample_weight : array-like of shape (n_rows,), default=None
        Weights that are counts: replicates have as many rows as their sum.
    random_state : None, int, RandomState, Generator or SeedSequence, default=None
    n_threads : int, default=None
        Replicates beside each other. No result depends on it.

    Returns
    -------
    LikelihoodRatioTest
        For a number of components, test from 1 on, up to the first p-value above the level.

    Raises
    ------
    InvalidParameterError
        If an argument is out of range.
    ValueError
        If either number cannot be fitted.

    References
    ----------
    McLachlan (1987), Applied Statistics 36:318.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(-3, 1, (60, 1)), rng.normal(3, 1, (60, 1))])
    >>> one, two = (bootstrap_lrt(X, K, n_replicates=19, random_state=0) for K in (1, 2))
    >>> one.p_value, two.p_value > 0.05
    (0.05, True)
    """
    n_replicates = check_number(n_replicates, "n_replicates", Integral, 1)
    K = check_number(n_components, "n_components", Integral, 1)
    rng = generator(random_state)
    options = {"sample_weight": sample_weight, "random_state": int(rng.integers(2**32)), "n_threads": n_threads}
    try:
        both = select(X, [K, K + 1], covariance_type, abandon=False, **options)
    except NothingFittedError as error:
        raise ValueError(f"{K} components cannot be fitted: {error.errors[0]}") from error
    for cell in both.candidates:
        if cell.error is not None:
            raise ValueError(f"{cell.n_components} components cannot be fitted: {cell.error}") from cell.error
    small, large = (cell.mixture for cell in both.candidates)
    n_rows = round(both.n_rows)

    def replicate(rng: np.random.Generator) -> float:
        rows = Rows(small.sample(n_rows, rng)[0])
        with_k = _refit(rows, small)
        few = Few(ArraySource(rows, n_threads=1), K + 1, rng)
        starts = [given.parameters(large.family, 0.0) for given in few.splits(with_k.mixture)]
        starts = [large.parameters.astype(np.float64), *(start for start in starts if start is not None)]
        runners = race(
            few.source, large.family, starts, n_iter=RACE_ITERATIONS, reg_covar=0.0, is_thin=lambda *_: False
        )
        more = [_refit(rows, large, runner.parameters).lower_bound for runner in runners[:1]]
        if not more:
            raise IllDefinedCovarianceError
        return 2 * n_rows * max(more[0] - with_k.lower_bound, 0.0)

    found, n_failed = _replicates(replicate, n_replicates, rng, n_threads)
    replicates = np.array(found)
    statistic = 2 * (both.candidates[1].log_likelihood - both.candidates[0].log_likelihood)
    p_value = (1 + int((replicates >= statistic).sum())) / (1 + n_replicates)
    return LikelihoodRatioTest(int(K), statistic, replicates, p_value, n_failed)


def bootstrap_choice(
    X: Any,
    selection: Selection,
    *,
    n_replicates: int = 100,
    sample_weight: npt.ArrayLike | None = None,
    random_state: Any = None,
    n_threads: int | None = None,
) -> Records:
    """Return how often each model is chosen if rows are drawn anew from the rows.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features)
        The rows of the selection.
    selection : Selection
        Whose candidates are tried again, with its settings.
    n_replicates : int, default=100
    sample_weight : array-like of shape (n_rows,), default=None
        The weights of the selection: a row is drawn in proportion to it.
    random_state : None, int, RandomState, Generator or SeedSequence, default=None
    n_threads : int, default=None
        No result depends on it.

    Returns
    -------
    frequencies : list of dict
        Records of "covariance_type", "n_components", "count" and "share", the most frequent first.

    Raises
    ------
    InvalidParameterError
        If an argument is out of range.

    References
    ----------
    Efron (1979), Annals of Statistics 7:1.

    Examples
    --------
    >>> import fastgmm, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(-5, 1, (50, 1)), rng.normal(5, 1, (50, 1))])
    >>> found = fastgmm.select(X, [1, 2], "E", random_state=0)
    >>> bootstrap_choice(X, found, n_replicates=5, random_state=0)
    [{'covariance_type': 'E', 'n_components': 2, 'count': 5, 'share': 1.0}]
    """
    if not isinstance(selection, Selection):
        raise InvalidParameterError(f"selection must be a Selection, got {type(selection).__name__}")
    n_replicates = check_number(n_replicates, "n_replicates", Integral, 1)
    rows = X if isinstance(X, Rows) else Rows(X, min_rows=2)
    weights = _weights(rows, sample_weight)
    numbers = sorted({each.n_components for each in selection.candidates})
    families = list(dict.fromkeys(each.covariance_type for each in selection.candidates))
    settings = {name: value for name, value in selection.settings.items() if name != "seed"}

    def replicate(rng: np.random.Generator) -> tuple[str, int]:
        drawn = rng.multinomial(round(weights.sum()), weights / weights.sum())
        again = select(
            rows,
            numbers,
            families,
            sample_weight=drawn,
            random_state=int(rng.integers(2**32)),
            n_threads=1,
            **settings,
        )
        if again.interrupted:
            raise KeyboardInterrupt
        return again.chosen.covariance_type, again.chosen.n_components

    found, _ = _replicates(replicate, n_replicates, generator(random_state), n_threads)
    names = "covariance_type", "n_components", "count", "share"
    counts = collections.Counter(found).most_common()
    return Records(dict(zip(names, (*model, n, n / n_replicates), strict=True)) for model, n in counts)


def bootstrap_parameters(
    X: Any,
    mixture: Mixture,
    *,
    kind: str = "weighted",
    n_replicates: int = 200,
    sample_weight: npt.ArrayLike | None = None,
    random_state: Any = None,
    n_threads: int | None = None,
) -> ParameterBootstrap:
    """Return parameters of replicates of a fit, for standard errors and percentile intervals.

    Components are matched to those of the fit by the rows that they share.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features)
        Rows that the mixture was fitted to.
    mixture : Mixture
        The fit; of a `GaussianMixture`, its ``to_mixture()``.
    kind : {"weighted", "parametric"}, default="weighted"
        "weighted" gives every row a weight drawn from the exponential distribution, so that no row is left out;
        "parametric" draws rows from the mixture.
    n_replicates : int, default=200
    sample_weight : array-like of shape (n_rows,), default=None
        Weights of the rows.
    random_state : None, int, RandomState, Generator or SeedSequence, default=None
    n_threads : int, default=None
        Replicates beside each other. No result depends on it.

    Returns
    -------
    ParameterBootstrap

    Raises
    ------
    InvalidParameterError
        If an argument is out of range.

    References
    ----------
    Newton and Raftery (1994), J. R. Statist. Soc. B 56:3; O'Hagan, Murphy, Scrucca and Gormley (2019), Computational
    Statistics 34:1779.

    Examples
    --------
    >>> import fastgmm, numpy as np
    >>> X = np.random.default_rng(0).normal(size=(400, 1))
    >>> mixture = fastgmm.fit(X, reg_covar=0.0).mixture
    >>> found = bootstrap_parameters(X, mixture, random_state=0)
    >>> bool(abs(found.standard_errors()["means"][0, 0] - 1 / 20) < 0.01)
    True
    """
    if kind not in ("weighted", "parametric"):
        raise InvalidParameterError(f"kind must be one of 'weighted', 'parametric', got {kind!r}")
    if not isinstance(mixture, Mixture):
        raise InvalidParameterError(f"mixture must be a fastgmm.Mixture, got {type(mixture).__name__}")
    mixture.refuse_noise("a bootstrap")
    n_replicates = check_number(n_replicates, "n_replicates", Integral, 2)
    rows = X if isinstance(X, Rows) else Rows(X, min_rows=2)
    weights = _weights(rows, sample_weight)
    resp = mixture.predict_proba(rows).astype(np.float64)

    def replicate(rng: np.random.Generator) -> Mixture:
        if kind == "weighted":
            again = _refit(rows, mixture, sample_weight=weights * rng.exponential(size=len(weights)))
        else:
            again = _refit(Rows(mixture.sample(round(weights.sum()), rng)[0]), mixture)
        return again.mixture

    found, n_failed = _replicates(replicate, n_replicates, generator(random_state), n_threads)
    matched = [_matched(again, again.predict_proba(rows), weights[:, None] * resp) for again in found]
    return ParameterBootstrap(mixture, *map(np.array, zip(*matched, strict=True)), n_failed)


def _weights(rows: Rows, sample_weight: Any) -> npt.NDArray[np.float64]:
    """The weights (N,), zeros included."""
    given = check_sample_weight(sample_weight, rows.n_rows)
    weights = np.zeros(rows.n_rows)
    weights[slice(None) if given.kept is None else given.kept] = 1.0 if given.values is None else given.values
    return weights


def _refit(rows: Rows, mixture: Mixture, start: Any = None, sample_weight: Any = None) -> fitting.FitResult:
    """The fit of other rows, or of other weights, that starts from a fit."""
    start = mixture.parameters.astype(np.float64) if start is None else start
    return fitting.run(
        rows,
        mixture.n_components,
        covariance_type=mixture.family,
        start=start,
        sample_weight=sample_weight,
        n_threads=1,
        **_FIT,
    )


def _matched(again: Mixture, resp: Any, weighted: Any) -> tuple[Any, ...]:
    """Weights, means and covariances in the order of the fit whose weighted responsibilities (N, K) are given."""
    order = linear_sum_assignment(weighted.T @ resp, maximize=True)[1]
    covariances = again.covariances if again.family.shared else again.covariances[order]
    return again.weights[order], again.means[order], covariances


def _replicates(
    replicate: Callable[[np.random.Generator], _Replicate],
    n_replicates: int,
    rng: np.random.Generator,
    n_threads: int | None,
) -> tuple[list[_Replicate], int]:
    """Return replicates in the order of their seeds, and how many failed before."""
    seeds = rng.integers(2**63, size=n_replicates).tolist()

    def draws(seed: int) -> Iterator[_Replicate | None]:
        for draw in range(MAX_REDRAWS):
            try:
                yield replicate(np.random.default_rng([seed, draw]))
                return
            except InvalidParameterError:
                raise
            except ValueError as error:
                failed = error
                yield None
        raise failed

    with ThreadPoolExecutor(resolve(n_threads)) as pool:
        try:
            found = list(pool.map(lambda seed: list(draws(seed)), seeds))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [each[-1] for each in found], sum(len(each) - 1 for each in found)
