"""Whether one component more is worth it: the likelihood ratio against its bootstrap distribution."""

from __future__ import annotations

import dataclasses
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm._checks import check_number
from fastgmm._errors import IllDefinedCovarianceError
from fastgmm._random import generator
from fastgmm.engine.rows import Rows
from fastgmm.sources import ArraySource

from .replicates import refit, replicates
from .search import NothingFittedError
from .starts import Few, race
from .sweep import select

__all__ = ["LikelihoodRatioTest", "bootstrap_lrt"]

RACE_ITERATIONS = 5


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
        with_k = refit(rows, small)
        few = Few(ArraySource(rows, n_threads=1), K + 1, rng)
        starts = [given.parameters(large.family, 0.0) for given in few.splits(with_k.mixture)]
        starts = [large.parameters.astype(np.float64), *(start for start in starts if start is not None)]
        runners = race(
            few.source,
            large.family,
            starts,
            n_iter=RACE_ITERATIONS,
            reg_covar=0.0,
            are_thin=lambda _, several: [False] * len(several),
        )
        more = [refit(rows, large, runner.parameters).lower_bound for runner in runners[:1]]
        if not more:
            raise IllDefinedCovarianceError
        return 2 * n_rows * max(more[0] - with_k.lower_bound, 0.0)

    found, n_failed = replicates(replicate, n_replicates, rng, n_threads)
    ratios = np.array(found)
    statistic = 2 * (both.candidates[1].log_likelihood - both.candidates[0].log_likelihood)
    p_value = (1 + int((ratios >= statistic).sum())) / (1 + n_replicates)
    return LikelihoodRatioTest(int(K), statistic, ratios, p_value, n_failed)
