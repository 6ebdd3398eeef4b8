"""GaussianMixtureClassifier: discriminant analysis, a mixture for each class (Hastie and Tibshirani 1996).

With one component for each class and a structure that their covariances have in common it is eigenvalue decomposition
discriminant analysis (EDDA; Bensmail and Celeux 1996), of which linear and quadratic discriminant analysis are the
structures EEE and VVV. All that classes have in common is estimated in one M-step from their rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from fastgmm import covariance, fitting
from fastgmm._checks import check_number, check_weights
from fastgmm._criteria import CRITERIA, Measured
from fastgmm._names import feature_names
from fastgmm.engine.rows import Rows, check_sample_weight
from fastgmm.mixture import Mixture

from . import _parameters
from ._classes import fit_each, fit_together
from ._feature_names import check_feature_names
from ._parameters import validate
from ._protocol import (
    HAS_SKLEARN,
    BaseEstimator,
    ClassifierMixin,
    ConvergenceWarning,
    InvalidParameterError,
    not_fitted,
)
from ._targets import checked_targets
from ._warn import warn_user


class GaussianMixtureClassifier(ClassifierMixin, BaseEstimator):
    """Classifier that describes each class by a Gaussian mixture, and takes the class of largest probability.

    Parameters
    ----------
    n_components : int or sequence of int, default=1
        Components of each class; a sequence gives those of each in the order of `classes_`. With one for each class
        (EDDA) the classes share what the structure says is equal: "EEE" is linear, "VVV" quadratic discriminant
        analysis. With more (MDA) each class is fitted by itself.
    covariance_type : str, default="full"
        Structure of the covariances, as in `GaussianMixture`: of all classes together if each has one component, else
        of each class.
    priors : array-like of shape (n_classes,), default=None
        Probabilities of the classes, with sum one; None for their shares of the rows.
    prior : {None, "conjugate"} or ConjugatePrior, default=None
        Prior of means and covariances, as in `GaussianMixture`.
    tol, max_iter, n_init, init_params
        Of the fits of classes with several components, as in `GaussianMixture`.
    reg_covar : float, default=1e-6
        Added to the variances, in units of the data squared.
    random_state : None, int, RandomState, Generator or SeedSequence, default=None
        Randomness of the starts of classes with several components.
    n_threads : int, default=None
        Number of threads; None takes as many as are worth it. It never changes a result.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes, sorted.
    class_prior_ : ndarray of shape (n_classes,)
        Probabilities of the classes.
    component_class_ : ndarray of shape (n_components_in_all,), int64
        Class, as an index of `classes_`, of each component of `to_mixture()`.
    n_parameters_ : int
        Number of free parameters: of all classes, and of `class_prior_` unless it was given.
    lower_bound_ : float
        Mean of log p(x, class) over the rows of the fit, per unit of weight.
    converged_ : bool
        Whether the fits of all classes converged.
    n_iter_ : int
        Most iterations that a class took; 1 where every class has one component.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where X was a data frame with names that are all strings.

    References
    ----------
    Hastie and Tibshirani (1996), J. R. Statist. Soc. B 58:155. Bensmail and Celeux (1996), J. Amer. Statist. Assoc.
    91:1743. Fraley and Raftery (2002), J. Amer. Statist. Assoc. 97:611.

    Examples
    --------
    >>> from fastgmm import GaussianMixtureClassifier
    >>> X = [[0.0, 0.0], [1.0, 0.5], [0.0, 1.0], [5.0, 5.0], [6.0, 5.5], [5.0, 6.0]]
    >>> model = GaussianMixtureClassifier(covariance_type="EEE").fit(X, ["a", "a", "a", "b", "b", "b"])
    >>> model.predict([[1.0, 1.0], [5.0, 4.0]]).tolist()
    ['a', 'b']
    """

    _rules: ClassVar = {
        "n_components": (*_parameters.POSITIVE_INT, _parameters.ArrayLike()),
        "covariance_type": (_parameters.FamilyName(covariance.known()),),
        "priors": _parameters.OPTIONAL_ARRAY,
        "prior": (
            _parameters.Choice(("conjugate",)),
            _parameters.Instance(covariance.ConjugatePrior),
            _parameters.Nothing(),
        ),
        "tol": _parameters.NON_NEGATIVE,
        "reg_covar": _parameters.NON_NEGATIVE,
        "max_iter": _parameters.NON_NEGATIVE_INT,
        "n_init": _parameters.POSITIVE_INT,
        "init_params": (_parameters.Choice(fitting.STARTS),),
        "random_state": _parameters.RANDOM_STATE,
        "n_threads": (*_parameters.POSITIVE_INT, _parameters.Nothing()),
    }
    if HAS_SKLEARN:
        _parameter_constraints: ClassVar[dict[str, list[Any]]] = _parameters.as_sklearn(_rules)

    def __init__(
        self,
        n_components: int | Sequence[int] = 1,
        *,
        covariance_type: str = "full",
        priors: npt.ArrayLike | None = None,
        prior: str | covariance.ConjugatePrior | None = None,
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        random_state: Any = None,
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.priors = priors
        self.prior = prior
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.random_state = random_state
        self.n_threads = n_threads

    def fit(self, X: Any, y: Any, *, sample_weight: npt.ArrayLike | None = None) -> Self:
        """Estimate the mixture of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            The class of each row.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; rows of weight zero are as if they were not there.

        Returns
        -------
        self : GaussianMixtureClassifier

        Raises
        ------
        InvalidParameterError
            If a parameter of the constructor is out of range, or does not fit the classes.
        ValueError
            If X, y or the weights are not what is expected, or a class cannot be fitted.

        Warns
        -----
        ConvergenceWarning
            If the fit of a class did not converge.

        Examples
        --------
        >>> from fastgmm import GaussianMixtureClassifier
        >>> GaussianMixtureClassifier().fit([[0.0], [1.0], [4.0], [5.0]], [0, 0, 1, 1]).class_prior_
        array([0.5, 0.5])
        """
        validate(self._rules, self.get_params(deep=False), type(self).__name__)
        names, rows = feature_names(X), Rows(X, estimator=type(self).__name__)
        targets = checked_targets(y, rows.n_rows, type(self).__name__)
        weights = check_sample_weight(sample_weight, rows.n_rows)
        there = weights.indices(rows.n_rows)
        own = np.ones(len(there)) if weights.values is None else weights.values
        classes, codes = np.unique(targets[there], return_inverse=True)
        counts = self._counts(len(classes))
        shares = np.bincount(codes, own)
        priors = shares / shares.sum() if self.priors is None else self._given_priors(len(classes))
        kept = Rows(rows.array[there]) if weights.kept is not None else rows
        fit = fit_together if (counts == 1).all() else fit_each
        mixture, n_parameters, converged, n_iter = fit(self, kept, codes, own, counts, priors)
        attributes = {
            "classes_": classes,
            "class_prior_": priors,
            "component_class_": np.repeat(np.arange(len(classes)), counts),
            "n_parameters_": n_parameters + (len(classes) - 1 if self.priors is None else 0),
            "converged_": converged,
            "n_iter_": n_iter,
            "n_features_in_": rows.n_features,
            "_mixture": mixture,
        }
        if not converged:
            warn_user(fitting.NOT_CONVERGED, ConvergenceWarning)
        vars(self).pop("feature_names_in_", None)
        if names is not None:
            attributes["feature_names_in_"] = names
        vars(self).update(attributes)
        self.lower_bound_ = self._log_likelihood(kept, codes, own) / own.sum()
        return self

    def _counts(self, n_classes: int) -> npt.NDArray[np.intp]:
        """The number of components of each class."""
        given = self.n_components
        many = [given] * n_classes if np.ndim(given) == 0 else list(given)
        if len(many) != n_classes:
            raise InvalidParameterError(
                f"n_components must be an int or {n_classes}, one for each class, got {given!r}"
            )
        return np.array([check_number(each, "n_components", Integral, 1) for each in many], dtype=np.intp)

    def _given_priors(self, n_classes: int) -> npt.NDArray[np.float64]:
        """The probabilities of the classes that were given."""
        try:
            return check_weights(self.priors, n_classes).astype(np.float64)
        except ValueError as error:
            raise InvalidParameterError(f"priors must be {n_classes} probabilities of sum one: {error}") from error

    def to_mixture(self) -> Mixture:
        """Return the distribution of the rows of all classes: the components of all, weighted by `class_prior_`.

        Returns
        -------
        Mixture
            `component_class_` says to which class its components belong.

        Raises
        ------
        NotFittedError
            Before a fit.

        Examples
        --------
        >>> from fastgmm import GaussianMixtureClassifier
        >>> GaussianMixtureClassifier().fit([[0.0], [1.0], [4.0], [5.0]], [0, 0, 1, 1]).to_mixture().means.tolist()
        [[0.5], [4.5]]
        """
        if "_mixture" not in vars(self):
            raise not_fitted(self)
        return self._mixture

    def _prepare(self, X: Any) -> tuple[Mixture, Rows]:
        """The mixture, and checked rows for it."""
        mixture, name = self.to_mixture(), type(self).__name__
        check_feature_names(vars(self).get("feature_names_in_"), X, name)
        rows = Rows(X, estimator=name)
        if rows.n_features != mixture.n_features:
            raise ValueError(
                f"X has {rows.n_features} features, but {name} is expecting {mixture.n_features} features as input."
            )
        return mixture, rows

    def predict_proba(self, X: Any) -> npt.NDArray[np.floating]:
        """Return the probability of every class for every row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; each row has sum one.

        Raises
        ------
        NotFittedError
            Before a fit.
        ValueError
            If X is not what the classifier was fitted on.

        Examples
        --------
        >>> from fastgmm import GaussianMixtureClassifier
        >>> model = GaussianMixtureClassifier(covariance_type="EII")
        >>> model.fit([[0.0], [1.0], [4.0], [5.0]], [0, 0, 1, 1]).predict_proba([[2.5]])
        array([[0.5, 0.5]])
        """
        mixture, rows = self._prepare(X)
        resp = mixture.predict_proba(rows, n_threads=self.n_threads)
        return np.add.reduceat(resp, self._firsts(), axis=1)

    def _firsts(self) -> npt.NDArray[np.intp]:
        """The first component of each class."""
        return np.searchsorted(self.component_class_, np.arange(len(self.classes_)))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Of `classes_`; ties go to the first.

        Raises
        ------
        NotFittedError
            Before a fit.
        ValueError
            If X is not what the classifier was fitted on.

        Examples
        --------
        >>> from fastgmm import GaussianMixtureClassifier
        >>> model = GaussianMixtureClassifier().fit([[0.0], [1.0], [4.0], [5.0]], ["low", "low", "high", "high"])
        >>> model.predict([[0.7]]).tolist()
        ['low']
        """
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def predict_log_proba(self, X: Any) -> npt.NDArray[np.floating]:
        """Return the logarithms of `predict_proba`; minus infinity where a probability is below the smallest number.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)

        Raises
        ------
        NotFittedError
            Before a fit.
        ValueError
            If X is not what the classifier was fitted on.

        Examples
        --------
        >>> from fastgmm import GaussianMixtureClassifier
        >>> model = GaussianMixtureClassifier().fit([[0.0], [1.0], [4.0], [5.0]], [0, 0, 1, 1])
        >>> model.predict_log_proba([[2.5]]).round(3)
        array([[-0.693, -0.693]])
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def score_samples(self, X: Any) -> npt.NDArray[np.floating]:
        """Return the log-density of every row, whatever its class: low for rows that are like no class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)

        Raises
        ------
        NotFittedError
            Before a fit.
        ValueError
            If X is not what the classifier was fitted on.

        Examples
        --------
        >>> from fastgmm import GaussianMixtureClassifier
        >>> model = GaussianMixtureClassifier().fit([[0.0], [1.0], [4.0], [5.0]], [0, 0, 1, 1])
        >>> near, far = model.score_samples([[0.5], [50.0]])
        >>> bool(far < near)
        True
        """
        mixture, rows = self._prepare(X)
        return mixture.score_samples(rows, n_threads=self.n_threads)

    def _log_likelihood(self, rows: Rows, codes: npt.NDArray[np.intp], weights: npt.NDArray[np.float64]) -> float:
        """sum_i w_i log p(x_i, class_i)."""
        joint = self._mixture.component_logpdf(rows, n_threads=self.n_threads).astype(np.float64)
        own = np.where(self.component_class_ == codes[:, None], joint, -np.inf)
        return float(weights @ np.logaddexp.reduce(own, axis=1))

    def criterion(self, X: Any, y: Any, name: str = "bic", *, sample_weight: npt.ArrayLike | None = None) -> float:
        """Return a criterion of model choice for rows and their classes, from the log-likelihood sum log p(x, class).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that the classifier was fitted on.
        y : array-like of shape (n_samples,)
            Their classes.
        name : {"bic", "aic", "aicc", "sabic", "mclust_bic"}, default="bic"
            Which; lower is better, but for that with mclust's sign.
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
            If there is no such criterion, or it is one of partitions.
        ValueError
            If X, y or the weights are not what is expected.

        Examples
        --------
        >>> from fastgmm import GaussianMixtureClassifier
        >>> X, y = [[0.0], [1.0], [4.0], [5.0]], [0, 0, 1, 1]
        >>> equal, own = (GaussianMixtureClassifier(covariance_type=each).fit(X, y) for each in ("E", "V"))
        >>> equal.criterion(X, y) < own.criterion(X, y)
        True
        """
        known = [each for each, criterion in CRITERIA.items() if not criterion.needs]
        if name not in known:
            raise InvalidParameterError(f"name must be one of {', '.join(map(repr, known))}, got {name!r}")
        mixture, rows = self._prepare(X)
        targets = checked_targets(y, rows.n_rows, type(self).__name__)
        unknown = np.setdiff1d(targets, self.classes_)
        if len(unknown):
            raise ValueError(f"y must hold no other classes than those of the fit, got {unknown.tolist()[0]!r}")
        own = check_sample_weight(sample_weight, rows.n_rows).of_rows(rows.n_rows)
        value = self._log_likelihood(rows, np.searchsorted(self.classes_, targets), own)
        return CRITERIA[name](Measured(value, self.n_parameters_, float(own.sum()), mixture.n_components))
