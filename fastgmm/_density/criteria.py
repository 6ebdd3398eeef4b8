"""Criteria of model choice of a mixture and rows, and what they are made of."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm._checks import check_missing
from fastgmm._criteria import Entropies, Measured, check_criterion, xlogx
from fastgmm._errors import InvalidParameterError
from fastgmm.engine.rows import Rows, check_sample_weight
from fastgmm.sources import MissingSource, as_source, is_elsewhere

from .scoring import Scoring

__all__ = ["Criteria"]

_RESP_VALUES = 1 << 19  # responsibilities at once, where only sums over rows are wanted
_SETTLED = 1e-9  # share of a log-likelihood that EM gains no more


class Criteria(Scoring):
    """What a mixture is worth for rows that it was fitted to."""

    __slots__ = ()

    @property
    def n_parameters(self) -> int:
        """Number of free parameters: of the covariances, K D means, K - 1 weights, and two of a noise component."""
        k, d = self._parameters.means.shape
        noise = 0 if self._parameters.noise is None else 2  # its weight and its volume, as mclust counts
        return self._family.n_parameters(k, d) + k * d + k - 1 + noise

    def bic(
        self,
        X: Any,
        sample_weight: npt.ArrayLike | None = None,
        *,
        n_threads: int | None = None,
        missing: str = "raise",
    ) -> float:
        """Return the Bayesian information criterion, -2 log-likelihood + m log n (Schwarz 1978); lower is better.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), path, pyarrow data set or Source
            Rows.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows; n is their sum.
        n_threads : int, default=None
            Threads; None takes as many as are worth it. No effect on the result.
        missing : {"raise", "em"}, default="raise"
            What happens to gaps in X, NaN: an error, or rows count by the marginal density of what was observed.

        Returns
        -------
        bic : float
            With m = `n_parameters` and n the number of rows, or the sum of their weights.

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> round(Mixture([1.0], [[0.0]], [1.0], "spherical").bic([[0.0], [1.0]]), 4)
        6.062
        """
        return self.criterion(X, "bic", sample_weight, n_threads=n_threads, missing=missing)

    def aic(
        self,
        X: Any,
        sample_weight: npt.ArrayLike | None = None,
        *,
        n_threads: int | None = None,
        missing: str = "raise",
    ) -> float:
        """Return Akaike's information criterion, -2 log-likelihood + 2 m (Akaike 1974); lower is better.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), path, pyarrow data set or Source
            Rows.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.
        n_threads : int, default=None
            Threads; None takes as many as are worth it. No effect on the result.
        missing : {"raise", "em"}, default="raise"
            What happens to gaps in X, NaN: an error, or rows count by the marginal density of what was observed.

        Returns
        -------
        aic : float
            With m = `n_parameters`.

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> round(Mixture([1.0], [[0.0]], [1.0], "spherical").aic([[0.0], [1.0]]), 6)
        8.675754
        """
        return self.criterion(X, "aic", sample_weight, n_threads=n_threads, missing=missing)

    def icl(
        self,
        X: Any,
        sample_weight: npt.ArrayLike | None = None,
        *,
        n_threads: int | None = None,
        missing: str = "raise",
    ) -> float:
        """Return the integrated complete-data likelihood criterion, BIC - 2 sum_i log max_k r_ik; lower is better.

        It asks for components that are clusters: rows between two of them cost (Biernacki, Celeux and Govaert 2000).

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), path, pyarrow data set, Dask collection or Source
            Rows.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.
        n_threads : int, default=None
            Threads; None takes as many as are worth it. No effect on the result.
        missing : {"raise", "em"}, default="raise"
            What happens to gaps in X, NaN: an error, or rows count by the marginal density of what was observed.

        Returns
        -------
        icl : float
            The BIC where there is one component.

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> mixture = Mixture([0.5, 0.5], [[0.0], [1.0]], [1.0, 1.0], "spherical")
        >>> round(mixture.icl([[0.5]]) - mixture.bic([[0.5]]), 6)
        1.386294
        """
        return self.criterion(X, "icl", sample_weight, n_threads=n_threads, missing=missing)

    def criterion(
        self,
        X: Any,
        name: str = "bic",
        sample_weight: npt.ArrayLike | None = None,
        *,
        n_threads: int | None = None,
        missing: str = "raise",
    ) -> float:
        """Return a criterion of model choice by its name.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), path, pyarrow data set, Dask collection or Source
            Rows that the mixture was fitted to.
        name : {"bic", "aic", "aicc", "sabic", "icl", "icl_entropy", "nec", "mclust_bic", "mclust_icl"}, default="bic"
            Which; lower is better, but for those with mclust's sign. Formulas and sources are in docs/selection.md.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows; their sum is the number of rows n.
        n_threads : int, default=None
            Threads; None takes as many as are worth it. No effect on the result.
        missing : {"raise", "em"}, default="raise"
            What happens to gaps in X, NaN: an error, or rows count by the marginal density of what was observed.

        Returns
        -------
        value : float
            Infinite where the criterion does not exist, as AICc with as many parameters as rows.

        Raises
        ------
        InvalidParameterError
            If there is no such criterion, or it needs more than a mixture and rows, as "cv" does.

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> mixture = Mixture([1.0], [[0.0]], [1.0], "spherical")
        >>> mixture.criterion([[0.0], [1.0]], "bic") == -mixture.criterion([[0.0], [1.0]], "mclust_bic")
        True
        """
        wanted = check_criterion(name)
        if wanted.needs == "held_out":
            raise InvalidParameterError(
                f"criterion {name!r} is no property of a fitted mixture: use fastgmm.selection.cross_validate, or "
                "fastgmm.select with this criterion"
            )
        of_one = math.nan
        if wanted.needs == "of_one":
            if is_elsewhere(X):
                raise InvalidParameterError(
                    f"criterion {name!r} fits one component too, which needs the rows in an array: use fastgmm.select "
                    "with this criterion"
                )
            of_one = self._single(X, sample_weight, n_threads, missing)
        entropy = bool(wanted.needs)
        return wanted(
            self.measured(X, sample_weight, entropy=entropy, of_one=of_one, n_threads=n_threads, missing=missing)
        )

    def measured(
        self,
        X: Any,
        sample_weight: npt.ArrayLike | None = None,
        *,
        entropy: bool = True,
        of_one: float = math.nan,
        n_threads: int | None = None,
        missing: str = "raise",
    ) -> Measured:
        """Return what criteria are made of: log-likelihood, sizes, and entropies of the responsibilities.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), path, pyarrow data set, Dask collection or Source
            Rows.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.
        entropy : bool, default=True
            Whether the entropies are wanted, which take another pass.
        of_one : float, default=nan
            Log-likelihood of a single component of the same structure.
        n_threads : int, default=None
            Threads; None takes as many as are worth it. No effect on the result.
        missing : {"raise", "em"}, default="raise"
            What happens to gaps in X, NaN: an error, or rows count by the marginal density of what was observed.

        Returns
        -------
        measured : Measured

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> round(Mixture([0.5, 0.5], [[0.0], [1.0]], [1.0, 1.0], "spherical").measured([[0.5]]).entropy, 6)
        0.693147
        """
        rows = X
        if is_elsewhere(X):
            source = as_source(X, sample_weight, n_threads=n_threads, missing=check_missing(missing))
            rows, sample_weight = self._checked_source(X, source), None
        scores = self._score(rows, n_threads, missing, sample_weight=sample_weight)
        k = self._parameters.n_components
        uncertain = {}
        if entropy:
            uncertain = self.entropies(rows, sample_weight, n_threads=n_threads, missing=missing)._asdict()
        return Measured(
            scores.log_likelihood, self.n_parameters, scores.total_weight, n_components=k, of_one=of_one, **uncertain
        )

    def entropies(
        self,
        X: Any,
        sample_weight: npt.ArrayLike | None = None,
        *,
        n_threads: int | None = None,
        missing: str = "raise",
    ) -> Entropies:
        """Return how uncertain the components of the rows are, in nats, one pass; those that are known are certain.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), path, pyarrow data set, Dask collection or Source
            Rows.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.
        n_threads : int, default=None
            Threads; None takes as many as are worth it. No effect on the result.
        missing : {"raise", "em"}, default="raise"
            What happens to gaps in X, NaN: an error, or rows count by the marginal density of what was observed.

        Returns
        -------
        entropies : Entropies
            Its `entropy` is -sum_i w_i sum_k r_ik log r_ik, its `doubt` -sum_i w_i log max_k r_ik, and `among` is the
            entropy among the clusters, noise aside.

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> found = Mixture([0.5, 0.5], [[0.0], [1.0]], [1.0, 1.0], "spherical").entropies([[0.5]])
        >>> round(found.entropy, 6), round(found.doubt, 6)
        (0.693147, 0.693147)
        """
        nothing = Entropies(0.0, 0.0, 0.0)
        if self._parameters.n_components == 1 and self._parameters.noise is None:
            return nothing
        if not is_elsewhere(X):
            return self._entropies(self._checked_source(X, Rows.of(X)), sample_weight, n_threads, missing)
        source = as_source(X, sample_weight, n_threads=n_threads, missing=check_missing(missing))
        source = self._checked_source(X, source).unknown()
        if source is None:
            return nothing
        missing = "em" if source.has_gaps else missing
        return Entropies(*source.sum_over(functools.partial(_entropies_of, self, n_threads, missing)).tolist())

    def _entropies(self, rows: Rows, sample_weight: Any, n_threads: int | None, missing: str) -> Entropies:
        """Return the entropies of rows in an array, a few megabytes of r_ik at a time."""
        weights = check_sample_weight(sample_weight, rows.n_rows)
        kept = weights.indices(rows.n_rows)
        step = max(1, _RESP_VALUES // self._parameters.n_components)
        K, noise = self._parameters.n_components, self._parameters.noise
        entropy = doubt = among = 0.0
        for first in range(0, len(kept), step):
            here = kept[first : first + step]
            piece = rows.array[here[0] : here[-1] + 1] if weights.kept is None else rows.array[here]
            resp = self._score(piece, n_threads, missing, resp=True).resp.astype(np.float64)
            w = np.ones(len(here)) if weights.values is None else weights.values[first : first + step]
            entropy -= float(w @ xlogx(resp).sum(axis=1))
            doubt -= float(w @ np.log(resp.max(axis=1)))
            if noise is not None:
                own = resp[:, :K]
                among += float(w @ (xlogx(own.sum(axis=1)) - xlogx(own).sum(axis=1)))
        among = entropy if noise is None else among
        return Entropies(max(entropy, 0.0), max(doubt, 0.0), max(among, 0.0))

    def _single(self, X: Any, sample_weight: npt.ArrayLike | None, n_threads: int | None, missing: str) -> float:
        """Return the log-likelihood of the one component of the same structure that is most likely.

        Beside noise it is where EM leads to from all clusters made one, with the noise that there is.
        """
        family, noise, missing = self._family, self._parameters.noise, check_missing(missing)
        source = as_source(Rows.of(X), sample_weight, n_threads=n_threads, missing=missing)
        steps = family.rank or noise is not None or isinstance(source, MissingSource)  # of others one is all
        given: dict[str, Any] = {"labels": None}
        if noise is not None:
            resp = source.score(self.constants(source.dtype), resp=True).resp
            given = {"resp": resp[:, :-1].sum(axis=1, keepdims=True)}
        stats = family.first_statistics(source, source.moments()[0][None], given)
        parameters, log_likelihood = replace(family.maximise(stats), noise=noise), -math.inf
        while True:
            scores = source.score(family.constants(parameters, dtype=source.dtype))
            gain, log_likelihood = scores.log_likelihood - log_likelihood, scores.log_likelihood
            if not (steps and gain > _SETTLED * abs(log_likelihood)):
                return log_likelihood
            stats = source.accumulate(family.constants(parameters, dtype=source.dtype))
            parameters = family.maximise(stats, previous=parameters)


def _entropies_of(
    density: Criteria, n_threads: int | None, missing: str, rows: npt.NDArray[Any], weights: Any
) -> npt.NDArray[np.float64]:
    """Return both entropies of some rows: what a source is given to sum up, here or elsewhere."""
    return np.array(density._entropies(Rows.of(rows), weights, n_threads, missing))
