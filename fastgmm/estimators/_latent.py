"""Latent coordinates of families of low rank: `transform`, and what scikit-learn asks of a transformer beside it.

All of it is there only where the covariance family is of low rank, as if scikit-learn's `available_if` had made it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from fastgmm import covariance
from fastgmm.covariance.low_rank import NO_LATENT

from ._protocol import in_container


class _if_low_rank:
    """A method that estimators have whose family is of low rank."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        functools.update_wrapper(self, method)

    def __get__(self, instance: Any, owner: type) -> Any:
        """The bound method, or an AttributeError."""
        if instance is None:
            return self._method
        name = instance.covariance_type
        if not (covariance.is_known(name) and covariance.get(name).rank):
            raise AttributeError(NO_LATENT.format(name))
        return self._method.__get__(instance, owner)


class LatentMixin:
    """Latent coordinates, and their names and containers, of an estimator of families of low rank."""

    _sklearn_auto_wrap_output_keys: ClassVar = {"transform"}
    """By which scikit-learn knows that `set_output` counts."""

    @_if_low_rank
    def transform(self, X: Any) -> npt.NDArray[np.floating]:
        """Return the posterior latent coordinates of each row, in its most probable component.

        Only of families of low rank, "mfa:q" and "mppca:q". Coordinates of different components have nothing to do with
        each other: see `predict`. Noise has none: rows that are rather noise have those in the most probable of the
        others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        latent : ndarray of shape (n_samples, q)
            See `fastgmm.Mixture.transform`; a data frame if `set_output` says so.

        Raises
        ------
        AttributeError
            If `covariance_type` is another family.
        NotFittedError
            Before a fit.
        ValueError
            If X is not what the mixture was fitted on.

        Examples
        --------
        >>> import numpy as np
        >>> from fastgmm import GaussianMixture
        >>> X = np.random.default_rng(0).normal(size=(100, 3))
        >>> GaussianMixture(covariance_type="mfa:1").fit(X).transform(X).shape
        (100, 1)
        """
        mixture, rows = self._prepare(X)
        return in_container(mixture.transform(rows, n_threads=self.n_threads), X, self)

    @_if_low_rank
    def fit_transform(
        self, X: Any, y: Any = None, *, sample_weight: npt.ArrayLike | None = None, known_labels: Any = None
    ) -> npt.NDArray[np.floating]:
        """Fit, and return the latent coordinates of the rows: see `fit` and `transform`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : Ignored
            Present by convention.
        sample_weight, known_labels : array-like of shape (n_samples,), default=None
            As for `fit`.

        Returns
        -------
        latent : ndarray of shape (n_samples, q)

        Raises
        ------
        AttributeError
            If `covariance_type` is another family.
        ValueError, TypeError
            As `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from fastgmm import GaussianMixture
        >>> X = np.random.default_rng(0).normal(size=(100, 3))
        >>> GaussianMixture(covariance_type="mfa:2").fit_transform(X).shape
        (100, 2)
        """
        return self.fit(X, y, sample_weight=sample_weight, known_labels=known_labels).transform(X)

    @_if_low_rank
    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return the names of the latent coordinates: that of the class and a number.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the features, which have to be those of the fit.

        Returns
        -------
        names : ndarray of shape (q,), dtype object

        Raises
        ------
        AttributeError
            If `covariance_type` is another family.
        NotFittedError
            Before a fit.
        ValueError
            If they are not.

        Examples
        --------
        >>> import numpy as np
        >>> from fastgmm import GaussianMixture
        >>> X = np.random.default_rng(0).normal(size=(100, 3))
        >>> GaussianMixture(covariance_type="mfa:2").fit(X).get_feature_names_out().tolist()
        ['gaussianmixture0', 'gaussianmixture1']
        """
        mixture, name = self.to_mixture(), type(self).__name__.lower()
        given = mixture.feature_names if input_features is None else tuple(input_features)
        if given is not None and len(given) != mixture.n_features:
            raise ValueError(
                f"input_features should have length equal to number of features ({mixture.n_features}), "
                f"got {len(given)}"
            )
        if mixture.feature_names not in (None, given):
            raise ValueError("input_features is not equal to feature_names_in_")
        return np.array([f"{name}{j}" for j in range(mixture.family.rank)], dtype=object)

    @_if_low_rank
    def set_output(self, *, transform: str | None = None) -> Self:
        """Say what `transform` returns; without scikit-learn it is an array.

        Parameters
        ----------
        transform : {"default", "pandas", "polars", None}, default=None
            An array, or a data frame with the names of `get_feature_names_out`; None leaves it as it is.

        Returns
        -------
        self : object

        Raises
        ------
        AttributeError
            If `covariance_type` is another family.

        Examples
        --------
        >>> import numpy as np
        >>> from fastgmm import GaussianMixture
        >>> X = np.random.default_rng(0).normal(size=(100, 3))
        >>> model = GaussianMixture(covariance_type="mfa:1").set_output(transform="pandas")
        >>> model.fit(X).transform(X).columns.tolist()
        ['gaussianmixture0']
        """
        if transform is not None:
            self._sklearn_output_config = {**vars(self).get("_sklearn_output_config", {}), "transform": transform}
        return self

    def __sklearn_tags__(self) -> Any:
        """scikit-learn's tags: with a family of low rank an estimator is a transformer too."""
        tags = super().__sklearn_tags__()
        if hasattr(self, "transform"):
            from sklearn.utils import TransformerTags

            tags.transformer_tags = TransformerTags(preserves_dtype=["float64", "float32"])
        return tags
