"""Criteria of model choice, as methods of estimators."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from fastgmm.engine.rows import Rows
from fastgmm.mixture import Mixture
from fastgmm.sources import Source


class CriteriaMixin:
    """What every estimator whose fitted attributes are a mixture says of rows by a criterion."""

    n_threads: int | None
    missing: str

    def _prepare(self, X: Any) -> tuple[Mixture, Rows | Source]:
        """Return the mixture and checked rows for it: estimators say how."""
        raise NotImplementedError

    def bic(self, X: Any, *, sample_weight: npt.ArrayLike | None = None) -> float:
        """Return the Bayesian information criterion, -2 log-likelihood + m log n (Schwarz 1978); lower is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), path, pyarrow data set or Source
            Rows.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; n is their sum.

        Returns
        -------
        bic : float
            With m the number of free parameters.

        Raises
        ------
        NotFittedError
            Before a fit.
        ValueError
            If X is not what the mixture was fitted on, or the weights are not weights for it.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> X = [[-1.0], [1.0]]
        >>> round(GaussianMixture(reg_covar=0.0).fit(X).bic(X), 4)
        7.062
        """
        mixture, rows = self._prepare(X)
        return mixture.bic(rows, sample_weight, n_threads=self.n_threads, missing=self.missing)

    def aic(self, X: Any, *, sample_weight: npt.ArrayLike | None = None) -> float:
        """Return Akaike's information criterion, -2 log-likelihood + 2 m (Akaike 1974); lower is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), path, pyarrow data set or Source
            Rows.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        aic : float
            With m the number of free parameters.

        Raises
        ------
        NotFittedError
            Before a fit.
        ValueError
            If X is not what the mixture was fitted on, or the weights are not weights for it.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> X = [[-1.0], [1.0]]
        >>> round(GaussianMixture(reg_covar=0.0).fit(X).aic(X), 4)
        9.6758
        """
        mixture, rows = self._prepare(X)
        return mixture.aic(rows, sample_weight, n_threads=self.n_threads, missing=self.missing)

    def icl(self, X: Any, *, sample_weight: npt.ArrayLike | None = None) -> float:
        """Return the integrated complete-data likelihood criterion (Biernacki et al. 2000); lower is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        icl : float
            BIC - 2 sum_i log max_k r_ik: where components overlap it is larger than the BIC.

        Raises
        ------
        NotFittedError
            Before a fit.
        ValueError
            If X is not what the mixture was fitted on, or the weights are not weights for it.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> model = GaussianMixture(reg_covar=0.0).fit([[-1.0], [1.0]])
        >>> model.icl([[-1.0], [1.0]]) == model.bic([[-1.0], [1.0]])
        True
        """
        mixture, rows = self._prepare(X)
        return mixture.icl(rows, sample_weight, n_threads=self.n_threads, missing=self.missing)

    def criterion(self, X: Any, name: str = "bic", *, sample_weight: npt.ArrayLike | None = None) -> float:
        """Return a criterion of model choice by its name: see `fastgmm.Mixture.criterion`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        name : {"bic", "aic", "aicc", "sabic", "icl", "icl_entropy", "nec", "mclust_bic", "mclust_icl"}, default="bic"
            Which; lower is better, but for those with mclust's sign.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        value : float

        Raises
        ------
        NotFittedError
            Before a fit.
        InvalidParameterError
            If there is no such criterion.
        ValueError
            If X is not what the mixture was fitted on, or the weights are not weights for it.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> X = [[-1.0], [1.0], [4.0]]
        >>> model = GaussianMixture().fit(X)
        >>> model.criterion(X, "sabic") < model.criterion(X, "bic")
        True
        """
        mixture, rows = self._prepare(X)
        return mixture.criterion(rows, name, sample_weight, n_threads=self.n_threads, missing=self.missing)
