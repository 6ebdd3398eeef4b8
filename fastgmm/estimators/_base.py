"""What every mixture estimator does with its fitted attributes: predict, score, draw and save.

How the attributes come about is for the estimators.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fastgmm.engine.rows import Rows
from fastgmm.mixture import Mixture
from fastgmm.sources import Source, as_source, is_elsewhere

from ._attributes import LiveMixture, is_fitted
from ._criteria import CriteriaMixin
from ._feature_names import check_feature_names
from ._latent import LatentMixin
from ._parameters import Rule, validate
from ._protocol import BaseEstimator, CallbackSupportMixin, DensityMixin, not_fitted


class MixtureEstimator(CallbackSupportMixin, CriteriaMixin, LatentMixin, DensityMixin, BaseEstimator):
    """An estimator whose fitted attributes are a Gaussian mixture."""

    _rules: ClassVar[Mapping[str, tuple[Rule, ...]]]
    """The rules for the constructor's parameters."""

    _defaults: ClassVar[Mapping[str, Any]] = {}
    """Defaults of the constructor, which meet the rules."""

    covariance_type: str
    n_threads: int | None
    missing: str = "raise"
    random_state: Any

    @classmethod
    @functools.cache
    def _get_param_names(cls) -> list[str]:
        """Names of the constructor's parameters, which scikit-learn looks up in every call of get_params."""
        return super()._get_param_names()

    def _validate_params(self) -> None:
        """Raise an InvalidParameterError for the first constructor parameter that is out of range.

        scikit-learn's base class has a method of this name, which its meta-estimators may call.
        """
        # Most parameters of most fits are defaults, and to look at them all takes a tenth of a small fit.
        values, defaults = vars(self), self._defaults
        set_ = [name for name in self._rules if values.get(name, self) is not defaults.get(name, values)]
        rules = {name: self._rules[name] for name in set_}
        validate(rules, {name: getattr(self, name) for name in set_}, type(self).__name__)

    def to_mixture(self) -> Mixture:
        """Return the fitted distribution as an immutable `fastgmm.Mixture`.

        Returns
        -------
        Mixture
            With all computations on rows that the estimator has, and no scikit-learn.

        Raises
        ------
        NotFittedError
            Before a fit.
        ValueError
            If attributes were edited such that they describe no mixture.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> GaussianMixture().fit([[0.0], [2.0]]).to_mixture().means
        array([[1.]])
        """
        attributes = self.__dict__
        if not is_fitted(attributes):
            raise not_fitted(self)
        live = attributes.get("_live")
        if live is None:
            # Attributes that were set by hand or unpickled.
            live = self._live = LiveMixture()
        return live.current(attributes, self.covariance_type)

    def _prepare(self, X: Any) -> tuple[Mixture, Rows | Source]:
        """Return the mixture and checked rows for it, or the source of rows that are elsewhere."""
        mixture = self.to_mixture()
        name = type(self).__name__
        how = {"n_threads": self.n_threads, "missing": self.missing}
        rows = as_source(X, **how) if is_elsewhere(X) else Rows(X, estimator=name)
        check_feature_names(vars(self).get("feature_names_in_"), rows, name)
        if rows.n_features != mixture.n_features:
            raise ValueError(
                f"X has {rows.n_features} features, but {name} is expecting {mixture.n_features} features as input."
            )
        return mixture, rows

    def predict(self, X: Any) -> npt.NDArray[np.int64]:
        """Return the most probable component of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), path, pyarrow data set or Source
            Rows.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            The index with the largest responsibility; ties go to the lowest index.

        Raises
        ------
        NotFittedError
            Before a fit.
        ValueError
            If X is not what the mixture was fitted on.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> GaussianMixture().fit([[0.0], [2.0]]).predict([[1.0]])
        array([0])
        """
        mixture, rows = self._prepare(X)
        return mixture.predict(rows, n_threads=self.n_threads, missing=self.missing)

    def predict_proba(self, X: Any) -> npt.NDArray[np.floating]:
        """Return the responsibility of every component for every row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), path, pyarrow data set or Source
            Rows.

        Returns
        -------
        resp : ndarray of shape (n_samples, n_components)
            Posterior probabilities; each row has sum one, also for rows far from every mean.

        Raises
        ------
        NotFittedError
            Before a fit.
        ValueError
            If X is not what the mixture was fitted on.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> GaussianMixture().fit([[0.0], [2.0]]).predict_proba([[1.0]])
        array([[1.]])
        """
        mixture, rows = self._prepare(X)
        return mixture.predict_proba(rows, n_threads=self.n_threads, missing=self.missing)

    def score_samples(self, X: Any) -> npt.NDArray[np.floating]:
        """Return the log-density of every row (natural logarithm).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), path, pyarrow data set or Source
            Rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            log p(x).

        Raises
        ------
        NotFittedError
            Before a fit.
        ValueError
            If X is not what the mixture was fitted on.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> GaussianMixture(reg_covar=0.0).fit([[-1.0], [1.0]]).score_samples([[0.0]]).round(6)
        array([-0.918939])
        """
        mixture, rows = self._prepare(X)
        return mixture.score_samples(rows, n_threads=self.n_threads, missing=self.missing)

    def score(self, X: Any, y: Any = None, *, sample_weight: npt.ArrayLike | None = None) -> float:
        """Return the mean log-likelihood per unit of weight.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), path, pyarrow data set or Source
            Rows.
        y : Ignored
            Present by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; None weighs each row by one.

        Returns
        -------
        score : float
            sum_i w_i log p(x_i) / sum_i w_i. For the rows of the fit it is `lower_bound_`, bit for bit.

        Raises
        ------
        NotFittedError
            Before a fit.
        ValueError
            If X is not what the mixture was fitted on, or the weights are not weights for it.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> round(GaussianMixture(reg_covar=0.0).fit([[-1.0], [1.0]]).score([[-1.0], [1.0]]), 6)
        -1.418939
        """
        mixture, rows = self._prepare(X)
        return mixture.score(rows, sample_weight, n_threads=self.n_threads, missing=self.missing)

    def impute(self, X: Any, draws: int | None = None, random_state: Any = None) -> npt.NDArray[np.floating]:
        """Fill gaps in rows from what was observed of them: by their expectation, or by draws.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; gaps are NaN.
        draws : int, default=None
            How many draws; None for the expectation.
        random_state : None, int, RandomState, Generator or SeedSequence, default=None
            Randomness of the draws; None takes the estimator's.

        Returns
        -------
        filled : ndarray of shape (n_samples, n_features), or (draws, n_samples, n_features)
            Copies of X without gaps: see `Mixture.impute`.

        Raises
        ------
        NotFittedError
            Before a fit.
        InvalidParameterError
            If `draws` is neither None nor an int of at least one.
        ValueError
            If X is not what the mixture was fitted on, or holds infinities.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> X = [[0.0, 0.0], [1.0, 1.5], [2.0, 1.5], [3.0, float("nan")]]
        >>> GaussianMixture(missing="em", tol=1e-9).fit(X).impute(X)[3].round(2)
        array([3. , 2.5])
        """
        mixture, rows = self._prepare(X)
        chosen = self.random_state if random_state is None else random_state
        return mixture.impute(rows, draws, chosen, n_threads=self.n_threads)

    def sample(self, n_samples: int = 1, *, shuffle: bool = False) -> tuple[np.ndarray, npt.NDArray[np.int64]]:
        """Draw rows from the fitted mixture, with the estimator's `random_state`.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        shuffle : bool, default=False
            Whether to put the rows in random order; else they are grouped by component.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), float64
            The rows. An int `random_state` gives the same rows on every call.
        y : ndarray of shape (n_samples,), int64
            The component of each row.

        Raises
        ------
        NotFittedError
            Before a fit.
        ValueError
            If `n_samples` is less than one.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> X, y = GaussianMixture(random_state=0).fit([[0.0], [2.0]]).sample(5)
        >>> X.shape, y
        ((5, 1), array([0, 0, 0, 0, 0]))
        """
        return self.to_mixture().sample(n_samples, self.random_state, shuffle)

    def __sklearn_tags__(self) -> Any:
        """scikit-learn's tags: gaps are allowed if they are not errors."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "em"
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Plain arrays and scalars only: what was derived from them is made again where it is needed."""
        if "_live" in vars(self):
            # Forms of the covariances that follow an edited one are set before they part with it. An edit that is
            # wrong is reported where it is used; until then it can be pickled like anything else.
            with contextlib.suppress(ValueError):
                self.to_mixture()
        state = dict(super().__getstate__())
        state.pop("_live", None)
        return state
