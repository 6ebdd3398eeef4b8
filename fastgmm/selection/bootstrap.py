"""How sure a choice is: frequencies of the chosen model, and intervals of parameters, over replicates of the rows."""

from __future__ import annotations

import collections
import dataclasses
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from fastgmm._checks import check_choice, check_number
from fastgmm._errors import InvalidParameterError
from fastgmm._random import generator
from fastgmm.engine import check_sample_weight
from fastgmm.engine.rows import Rows
from fastgmm.mixture import Mixture, as_mixture

from .checks import check_rows
from .replicates import refit, replicates
from .selection import Records, Selection
from .sweep import select

__all__ = ["ParameterBootstrap", "bootstrap_choice", "bootstrap_parameters"]


_PARAMETERS = ("weights", "means", "covariances")


@dataclasses.dataclass(frozen=True)
class ParameterBootstrap:
    """Parameters of replicates, components in the order of the fit.

    Attributes
    ----------
    mixture : Mixture
        The fit.
    weights : ndarray of shape (n_replicates, K)
        With noise the shares of what is not noise, as in the fit.
    means : ndarray of shape (n_replicates, K, D)
    covariances : ndarray of shape (n_replicates, ...)
        In the shape of the family.
    n_failed : int
        Replicates that could not be fitted and were drawn anew.
    noise : ndarray of shape (n_replicates,) or None
        Weight of the noise; None without noise.
    """

    mixture: Mixture
    weights: npt.NDArray[np.float64] = dataclasses.field(repr=False)
    means: npt.NDArray[np.float64] = dataclasses.field(repr=False)
    covariances: npt.NDArray[np.float64] = dataclasses.field(repr=False)
    n_failed: int
    noise: npt.NDArray[np.float64] | None = dataclasses.field(default=None, repr=False)

    def intervals(self, level: float = 0.95) -> dict[str, npt.NDArray[np.float64]]:
        """Return percentile intervals.

        Parameters
        ----------
        level : float, default=0.95
            Share of the replicates between the ends, in (0, 1).

        Returns
        -------
        intervals : dict
            "weights", "means", "covariances", and "noise" where there is any: arrays of which the first axis is
            (low, high).
        """
        if not 0 < check_number(level, "level", Real, 0) < 1:
            raise InvalidParameterError(f"level must be a number in (0, 1), got {level!r}")
        ends = [(1 - level) / 2, (1 + level) / 2]
        return {name: np.quantile(values, ends, axis=0) for name, values in self._drawn().items()}

    def standard_errors(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return the standard deviations over the replicates, by name."""
        return {name: values.std(axis=0, ddof=1) for name, values in self._drawn().items()}

    def _drawn(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return the parameters of all replicates by name."""
        names = _PARAMETERS if self.noise is None else (*_PARAMETERS, "noise")
        return {name: getattr(self, name) for name in names}


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
    rows = Rows.of(X, min_rows=2)
    weights = check_sample_weight(sample_weight, rows.n_rows).of_rows(rows.n_rows)
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

    found, _ = replicates(replicate, n_replicates, generator(random_state), n_threads)
    names = "covariance_type", "n_components", "count", "share"
    counts = collections.Counter(found).most_common()
    return Records(dict(zip(names, (*model, n, n / n_replicates), strict=True)) for model, n in counts)


def bootstrap_parameters(
    X: Any,
    mixture: Any,
    *,
    kind: str = "weighted",
    n_replicates: int = 200,
    sample_weight: npt.ArrayLike | None = None,
    random_state: Any = None,
    n_threads: int | None = None,
) -> ParameterBootstrap:
    """Return parameters of replicates of a fit, for standard errors and percentile intervals.

    Components are matched to those of the fit by the rows that they share. Noise keeps its volume; "parametric" draws
    from its box too, and needs to know where that is.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features)
        Rows that the mixture was fitted to.
    mixture : Mixture, fitted estimator or FitResult
        The fit.
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
    check_choice(kind, "kind", ("weighted", "parametric"))
    mixture = as_mixture(mixture)
    n_replicates = check_number(n_replicates, "n_replicates", Integral, 2)
    rows = check_rows(X, mixture, min_rows=2)
    weights = check_sample_weight(sample_weight, rows.n_rows).of_rows(rows.n_rows)
    resp = mixture.predict_proba(rows).astype(np.float64)[:, : mixture.n_components]

    def replicate(rng: np.random.Generator) -> Mixture:
        if kind == "weighted":
            again = refit(rows, mixture, sample_weight=weights * rng.exponential(size=len(weights)))
        else:
            again = refit(Rows(mixture.sample(round(weights.sum()), rng)[0]), mixture)
        return again.mixture

    found, n_failed = replicates(replicate, n_replicates, generator(random_state), n_threads)
    matched = [
        _matched(again, again.predict_proba(rows)[:, : again.n_components], weights[:, None] * resp) for again in found
    ]
    noise = np.array([again.noise.weight for again in found if again.noise is not None])
    parameters = map(np.array, zip(*matched, strict=True))
    return ParameterBootstrap(mixture, *parameters, n_failed, None if mixture.noise is None else noise)


def _matched(again: Mixture, resp: Any, weighted: Any) -> tuple[Any, ...]:
    """Weights, means and covariances in the order of the fit whose weighted responsibilities (N, K) are given."""
    order = linear_sum_assignment(weighted.T @ resp, maximize=True)[1]
    covariances = again.covariances if again.family.shared else again.covariances[order]
    return again.weights[order], again.means[order], covariances
