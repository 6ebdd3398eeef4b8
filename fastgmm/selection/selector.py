"""GaussianMixtureSelector: the search for the best mixture as a scikit-learn estimator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from fastgmm import covariance, fitting
from fastgmm._checks import MISSING
from fastgmm._criteria import CRITERIA
from fastgmm.engine import check_sample_weight
from fastgmm.engine.rows import Rows
from fastgmm.estimators import _parameters
from fastgmm.estimators._base import MixtureEstimator
from fastgmm.estimators._protocol import HAS_SKLEARN
from fastgmm.mixture import Mixture
from fastgmm.sources import as_source, is_elsewhere
from fastgmm.sources.array import check_known_labels

from .selection import Selection
from .sweep import select

__all__ = ["GaussianMixtureSelector"]


class GaussianMixtureSelector(MixtureEstimator):
    """Gaussian mixture whose number of components and covariance structure are chosen by a criterion.

    `fit` is `fastgmm.select`; all that a fitted `GaussianMixture` computes is then done by the best one.

    Parameters
    ----------
    n_components : int or sequence of int, default=(1, 2, 3, 4, 5, 6, 7, 8, 9)
        Numbers of components to try.
    covariance_type : str or sequence of str, default="all"
        Structures to try: names that `GaussianMixture` knows, or "all" of mclust's.
    criterion : str, default="bic"
        What ranks them: "bic", "aic", "aicc", "sabic", "icl", "icl_entropy", "nec", "cv", "mclust_bic" or "mclust_icl".
        (The method of this name, of a `GaussianMixture`, is that of `best_estimator_`.)
    n_init : int, default=1
        Starts of each kind, for each number of components.
    init_params : str or list, default="kmeans"
        How starts are made: see `fastgmm.select`.
    split_merge : int, default=0
        Largest number of split-and-merge moves of each fit, as in `GaussianMixture`.
    tol : float, default=1e-5
        Of each fit, as in `GaussianMixture`.
    max_iter : int, default=1000
        Of each fit, as in `GaussianMixture`.
    reg_covar : float, default=0.0
        Added to the variances, in units of the data squared.
    on_collapse : {"raise", "floor", "reseed", "drop"}, default="raise"
        What happens to a component that collapses: see `GaussianMixture`. "raise" fails the fit, not the search.
    prior : {None, "conjugate"} or ConjugatePrior, default=None
        Prior of means and covariances of each fit: see `GaussianMixture`.
    noise : None, True or float, default=None
        Whether there is a uniform component for outliers, and its volume: see `GaussianMixture`.
    missing : {"raise", "em"}, default="raise"
        What happens to gaps in X, NaN, in `fit` and in all that is computed of rows: see `GaussianMixture`.
    abandon : bool, default=True
        Whether fits that have no chance of being the best are given up early.
    n_folds : int, default=10
        For the criterion "cv".
    random_state : None, int, RandomState, Generator or SeedSequence, default=None
        Randomness of the starts and of `sample`.
    n_threads : int, default=None
        Number of threads; None takes as many as are worth it. It never changes a result.

    Attributes
    ----------
    selection_ : Selection
        All that was found: `selection_.report()`, `selection_.table`, `selection_.plot()`.
    best_estimator_ : GaussianMixture
        The best, fitted.
    n_components_ : int
        Its number of components.
    covariance_type_ : str
        Its structure.
    weights_, means_, covariances_, precisions_, precisions_cholesky_ : ndarray
        Its parameters, in the shapes of that structure.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where X was a data frame with names that are all strings.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixtureSelector
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(-5, 1, (80, 2)), rng.normal(5, 1, (80, 2))])
    >>> model = GaussianMixtureSelector([1, 2, 3], random_state=0).fit(X)
    >>> model.n_components_, model.covariance_type_
    (2, 'EII')
    """

    _rules: ClassVar = {
        "n_components": (_parameters.Number(Integral, 1), _parameters.ArrayLike()),
        "covariance_type": (_parameters.Choice(("all", *covariance.known())), _parameters.ArrayLike()),
        "criterion": (_parameters.Choice(tuple(CRITERIA)),),
        "n_init": _parameters.POSITIVE_INT,
        "init_params": (_parameters.Choice((*fitting.STARTS, fitting.RACE)), _parameters.ArrayLike()),
        "split_merge": _parameters.NON_NEGATIVE_INT,
        "tol": _parameters.NON_NEGATIVE,
        "max_iter": _parameters.POSITIVE_INT,
        "reg_covar": _parameters.NON_NEGATIVE,
        "on_collapse": (_parameters.Choice(fitting.POLICIES),),
        "prior": (
            _parameters.Choice(("conjugate",)),
            _parameters.Instance(covariance.ConjugatePrior),
            _parameters.Nothing(),
        ),
        "noise": (_parameters.Instance(bool), _parameters.Number(Real, 0.0, open_low=True), _parameters.Nothing()),
        "missing": (_parameters.Choice(MISSING),),
        "abandon": _parameters.BOOLEAN,
        "n_folds": (_parameters.Number(Integral, 2),),
        "random_state": _parameters.RANDOM_STATE,
        "n_threads": (*_parameters.POSITIVE_INT, _parameters.Nothing()),
    }
    if HAS_SKLEARN:
        _parameter_constraints: ClassVar[dict[str, list[Any]]] = _parameters.as_sklearn(_rules)

    def __init__(
        self,
        n_components: Any = (1, 2, 3, 4, 5, 6, 7, 8, 9),
        *,
        covariance_type: Any = "all",
        criterion: str = "bic",
        n_init: int = 1,
        init_params: str | Sequence[Any] = "kmeans",
        split_merge: int = 0,
        tol: float = 1e-5,
        max_iter: int = 1000,
        reg_covar: float = 0.0,
        on_collapse: str = "raise",
        prior: str | covariance.ConjugatePrior | None = None,
        noise: bool | float | None = None,
        missing: str = "raise",
        abandon: bool = True,
        n_folds: int = 10,
        random_state: Any = None,
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.criterion = criterion
        self.n_init = n_init
        self.init_params = init_params
        self.split_merge = split_merge
        self.tol = tol
        self.max_iter = max_iter
        self.reg_covar = reg_covar
        self.on_collapse = on_collapse
        self.prior = prior
        self.noise = noise
        self.missing = missing
        self.abandon = abandon
        self.n_folds = n_folds
        self.random_state = random_state
        self.n_threads = n_threads

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        sample_weight: npt.ArrayLike | None = None,
        known_labels: npt.ArrayLike | None = None,
    ) -> Self:
        """Choose and estimate a mixture.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), path, pyarrow data set, Dask collection or Source
            Rows.
        y : Ignored
            Present by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows: an integer weight is that many rows, weight zero is none.
        known_labels : array-like of shape (n_samples,), default=None
            The component that each row is known to belong to, -1 where it is not known: see `fastgmm.select`.

        Returns
        -------
        self : GaussianMixtureSelector
            With all attributes set; if anything is raised, as it was before.

        Raises
        ------
        InvalidParameterError
            A ValueError and a TypeError: if a parameter of the constructor has a wrong type or is out of range.
        ValueError
            If X or the weights are not what is expected, or nothing could be fitted.

        Examples
        --------
        >>> from fastgmm import GaussianMixtureSelector
        >>> GaussianMixtureSelector(1, covariance_type="EII").fit([[0.0, 0.0], [2.0, 2.0]]).means_
        array([[1., 1.]])
        """
        self._validate_params()
        rows = X if is_elsewhere(X) else Rows(X, min_rows=2, estimator=type(self).__name__)
        found = select(rows, sample_weight=sample_weight, known_labels=known_labels, **self.get_params(deep=False))
        if found.interrupted:
            raise KeyboardInterrupt
        self._publish(found)
        return self

    def fit_predict(
        self,
        X: Any,
        y: Any = None,
        *,
        sample_weight: npt.ArrayLike | None = None,
        known_labels: npt.ArrayLike | None = None,
    ) -> npt.NDArray[np.int64]:
        """Choose and estimate a mixture, and return the most probable component of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as for `fit`.
        y : Ignored
            Present by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, as for `fit`.
        known_labels : array-like of shape (n_samples,), default=None
            Components of rows that are known, as for `fit`: what is returned for these rows.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            What `predict` of the same rows returns, where they are not known.

        Raises
        ------
        ValueError, TypeError
            As `fit`.

        Examples
        --------
        >>> from fastgmm import GaussianMixtureSelector
        >>> GaussianMixtureSelector(1, covariance_type="EII").fit_predict([[0.0, 0.0], [2.0, 2.0]])
        array([0, 0])
        """
        labels = self.fit(X, y, sample_weight=sample_weight, known_labels=known_labels).predict(X)
        if is_elsewhere(X):
            return as_source(X, sample_weight, known_labels=known_labels, missing=self.missing).with_known(labels)
        known = check_known_labels(known_labels, check_sample_weight(sample_weight, len(labels)), len(labels))
        return labels if known is None else np.where(known >= 0, known, labels)

    def _publish(self, found: Selection) -> None:
        """Set the fitted attributes, all in one step that no signal divides."""
        best = found.best
        attributes = {
            **vars(self),
            "selection_": found,
            "best_estimator_": best,
            "n_components_": best.n_components,
            "covariance_type_": best.covariance_type,
            "n_features_in_": best.n_features_in_,
        }
        attributes.pop("feature_names_in_", None)
        if found.feature_names is not None:
            attributes["feature_names_in_"] = found.feature_names
        self.__dict__ = attributes

    def to_mixture(self) -> Mixture:
        """Return the best mixture: see `GaussianMixture.to_mixture`.

        Returns
        -------
        Mixture

        Raises
        ------
        NotFittedError
            Before a fit.

        Examples
        --------
        >>> from fastgmm import GaussianMixtureSelector
        >>> GaussianMixtureSelector(1, covariance_type="EII").fit([[0.0, 0.0], [2.0, 2.0]]).to_mixture().n_components
        1
        """
        best = vars(self).get("best_estimator_")
        return super().to_mixture() if best is None else best.to_mixture()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the best mixture to a model file: see `Mixture.save`.

        Parameters
        ----------
        path : str or path-like
            The file; one that exists is replaced as a whole.

        Raises
        ------
        NotFittedError
            Before a fit.
        OSError
            If the file cannot be written.
        """
        self.to_mixture().save(path)

    def __getattr__(self, name: str) -> Any:
        """The parameters of the best, under the names that they have there."""
        if name in _OF_BEST and "best_estimator_" in vars(self):
            return getattr(self.best_estimator_, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


_OF_BEST = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_", "converged_", "lower_bound_")
