"""GaussianMixture: scikit-learn's estimator of that name, over fastgmm's engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from fastgmm import covariance, fitting
from fastgmm._checks import MISSING

from . import _parameters
from ._base import MixtureEstimator
from ._convert import ConvertMixin
from ._fit import FitMixin
from ._protocol import HAS_SKLEARN, with_callbacks
from ._stream import StreamMixin


class GaussianMixture(FitMixin, StreamMixin, ConvertMixin, MixtureEstimator):
    """Gaussian mixture fitted by expectation-maximisation.

    A drop-in for `sklearn.mixture.GaussianMixture`: the same parameters, attributes, methods and messages. It fits
    with weights, uses all cores, gives the same bits for every number of threads, and keeps its digits for data far
    from the origin.

    Parameters
    ----------
    n_components : int, default=1
        Number of components K.
    covariance_type : str, default="full"
        What the covariances are: "full", one matrix for each component; "tied", one for all; "diag", variances of the
        features; "spherical", one variance; one of mclust's structures such as "VEV": see docs/structures.md; of rank
        q "mfa:q", factor analysers, or "mppca:q", principal components: see docs/low_rank.md.
    tol : float, default=1e-3
        The fit stops when the mean log-likelihood per row changes by less: see `stopping`.
    reg_covar : float, default=1e-6
        Added to the variances, in units of the data squared, so that no component collapses.
    max_iter : int, default=100
        Largest number of iterations of each start; 0 only initialises.
    n_init : int, default=1
        Number of starts; the one with the largest log-likelihood is kept. A start that fails is skipped and counted.
    init_params : str, array-like, callable or list, default="kmeans"
        The start: "kmeans", "kmeans-scaled", "kmeans-whitened", "agglomerative", "agglomerative-tied", "k-means++",
        "random" or "random_from_data" (see docs/starts.md); or labels of shape (n_samples,); or responsibilities of
        shape (n_samples, n_components); or a function of X, n_components and random_state that returns labels,
        responsibilities or means; or a list of such names and functions, which are raced; or "race", which races
        several kinds. Of a race's starts, `n_init` or one of each kind, the best third goes on.
    split_merge : int, default=0
        Largest number of split-and-merge moves out of the best optimum that the starts came to, for three components or
        more. Each is one more run, after a race of twelve moves on few rows; one that finds nothing better is the last.
    weights_init : array-like of shape (n_components,), default=None
        Starting weights in place of those of `init_params`.
    means_init : array-like of shape (n_components, n_features), default=None
        Starting means in place of those of `init_params`.
    precisions_init : array-like, default=None
        Starting precisions in place of those of `init_params`: (K, D, D) for "full", (D, D) for "tied", (K, D) for
        "diag", (K,) for "spherical", and for a structure the shape of that of these which contains it.
    on_collapse : {"raise", "floor", "reseed", "drop"}, default="raise"
        What happens to a component that loses its rows, its width or its difference from another. "raise": a covariance
        that is not positive definite fails the start. The others keep all covariances above a floor, `covariance_floor`
        or 1e-6 of the data's; "reseed" puts the component anew at rows that are badly explained, "drop" removes it, so
        that there are fewer than `n_components`.
    covariance_floor : float, default=None
        Share of the data's covariance below which no component's shall be: eigenvalues relative to it, in (0, 1]. It
        does not depend on the units of the features, as `reg_covar` does.
    fixed : mapping, default=None
        Parameters that stay at their starting values: "weights", "means" or "covariances" to True or a mask of shape
        (n_components,). The starting values have to be given.
    equal_weights : bool, default=False
        Whether all components weigh the same.
    prior : {None, "conjugate"} or ConjugatePrior, default=None
        Prior of means and covariances, whose posterior density is maximised instead of the likelihood; "conjugate" is
        that with mclust's defaults. `lower_bound_` and gains are then of the posterior; scores and criteria are not.
    noise : None, True or float, default=None
        Whether there is a uniform component beside, for outliers, and the volume that it fills; True takes the smaller
        of the boxes around the rows along the features and along their principal axes, with gaps the first. `predict`
        then gives -1 for noise, `predict_proba` one more column, the last.
    random_state : None, int, RandomState, Generator or SeedSequence, default=None
        Randomness of the starts and of `sample`. An int gives the same results on every call.
    warm_start : bool, default=False
        Whether a fit continues from the attributes of the previous one; `n_init` then counts for the first fit only.
        Fits of a and then b iterations give the bits of one of a + b, for float32 rows but for the rounding of the
        attributes to float32 in between.
    verbose : int or bool, default=0
        1 prints starts and iterations, 2 also their times and log-likelihoods.
    verbose_interval : int, default=10
        Number of iterations between two prints.
    n_threads : int, default=None
        Number of threads; None takes as many as are worth it. It never changes a result.
    missing : {"raise", "em"}, default="raise"
        What happens to gaps in X, NaN: "raise" an error, or "em" takes the expectation over them too, which is exact
        where values are missing at random; rows are then predicted and scored by what was observed of them.
    acceleration : {None, "lbfgs", "squarem"}, default=None
        None is EM. The others extrapolate its steps and need a fraction of the iterations where they are many; the
        log-likelihood does not fall either, but the optimum may be another one.
    stopping : {"gain", "aitken"}, default="gain"
        What has to be below `tol`: the gain of the last iteration, as in scikit-learn, or Aitken's estimate of all that
        is still to gain.
    max_time : float, default=None
        Seconds after which no further iteration or start begins; the first iteration of the first start always does.
    callback : callable, default=None
        Called with a `fastgmm.fitting.FitState` after each iteration; a true value stops that start. scikit-learn's
        callbacks, where it has them, go to `set_callbacks`.
    progress : bool, default=False
        Whether to show a progress bar on standard error: start, iteration, log-likelihood, time left. It needs tqdm.
    max_memory : int or str, default=None
        Bytes, or a string such as "500 MB", that a fit takes at most beyond the interpreter, its libraries and X. Rows
        are then read block by block, also those of arrays such as memory maps: see `fastgmm.sources.BatchSource`.
    step_decay : float, default=0.7
        Of `partial_fit`, in (0.5, 1]: how fast its steps shrink. 1 forgets nothing, less forgets what was learned under
        early parameters.
    forgetting : float, default=0.0
        Of `partial_fit`, in [0, 1): the least step of a row, so that about 1 / `forgetting` rows are remembered and a
        stream that drifts is followed.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        Mixing proportions.
    means_ : ndarray of shape (n_components, n_features)
        Means.
    covariances_, precisions_, precisions_cholesky_ : ndarray
        Covariances, their inverses, and upper triangular factors U of these, with precision = U U^T (1/sigma for
        "diag" and "spherical"); shapes as for `precisions_init`. All five follow the type of X: float32 or float64.
        They may be edited: what is computed follows them, after a check.
    converged_ : bool
        Whether the kept start met `tol`.
    stopped_by_ : str
        Why the kept start stopped: "tol" or "aitken" if it converged by `stopping`, else "max_iter", "max_time" or
        "callback"; "stream" after `partial_fit`.
    last_gain_ : float
        Gain of the mean log-likelihood by the last step of EM that was seen from both ends; infinite before one.
    convergence_rate_ : float
        The share of each gain that the next one is likely to be; nan where it is not known.
    remaining_gain_ : float
        Aitken's estimate of the mean log-likelihood that EM would still gain; infinite where it is not known.
    gradient_norm_ : float
        Norm of the gradient of the mean log-likelihood where the last step of EM was taken from, whatever the units of
        the features; nan before one. See `fastgmm.fitting.FitResult`.
    n_iter_ : int
        Iterations of the kept start, of the last call.
    lower_bound_ : float
        Mean log-likelihood per unit of weight of the fitted mixture: `score` of the rows it was fitted on, exactly.
        With a `prior`, the mean log-posterior but for a constant.
    lower_bounds_ : list of float
        The same after each iteration of the kept start.
    collapses_ : list of Collapse
        Components of the kept start that collapsed: iteration, component, cause and action. Empty unless `on_collapse`
        or `covariance_floor` say what to do.
    n_failed_inits_ : int
        Number of starts that ended in covariances that are not positive definite.
    best_init_ : int
        Number of the kept start, from 0.
    noise_weight_, noise_log_volume_ : float
        Share of the noise and the logarithm of its volume, if there is one: `weights_` are shares of the rest.
    noise_scales_, noise_centre_, noise_axes_ : tuple or None
        Numbers to which the sides of the box of that volume are in proportion, its centre, and the axes along which it
        lies, if these are not the features; None where they are not known: see `fastgmm.Noise`.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where X was a data frame with names that are all strings.

    Notes
    -----
    The algorithm is that of Dempster, Laird and Rubin, "Maximum Likelihood from Incomplete Data via the EM Algorithm"
    (1977). Starts "k-means++" and "random_from_data" give each row to the nearest of the drawn rows, where scikit-learn
    leaves all other rows out.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixture
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> model = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> sorted(model.means_.round(6).tolist())
    [[1.0, 2.0], [10.0, 2.0]]
    >>> first, second = model.predict([[0, 0], [12, 3]])
    >>> bool(first != second)
    True
    """

    _rules: ClassVar = {
        "n_components": _parameters.POSITIVE_INT,
        "covariance_type": (_parameters.FamilyName(covariance.known()),),
        "tol": _parameters.NON_NEGATIVE,
        "reg_covar": _parameters.NON_NEGATIVE,
        "max_iter": _parameters.NON_NEGATIVE_INT,
        "n_init": _parameters.POSITIVE_INT,
        "init_params": (
            _parameters.Choice((*fitting.STARTS, fitting.RACE)),
            _parameters.ArrayLike(),
            _parameters.Function(),
        ),
        "split_merge": _parameters.NON_NEGATIVE_INT,
        "weights_init": _parameters.OPTIONAL_ARRAY,
        "means_init": _parameters.OPTIONAL_ARRAY,
        "precisions_init": _parameters.OPTIONAL_ARRAY,
        "on_collapse": (_parameters.Choice(fitting.POLICIES),),
        "covariance_floor": _parameters.OPTIONAL_SHARE,
        "fixed": (_parameters.Instance(Mapping), _parameters.Nothing()),
        "equal_weights": _parameters.BOOLEAN,
        "prior": (
            _parameters.Choice(("conjugate",)),
            _parameters.Instance(covariance.ConjugatePrior),
            _parameters.Nothing(),
        ),
        "noise": (
            _parameters.Instance(bool),
            _parameters.Number(Real, 0.0, open_low=True),
            _parameters.Nothing(),
        ),
        "random_state": _parameters.RANDOM_STATE,
        "warm_start": _parameters.BOOLEAN,
        "verbose": _parameters.VERBOSE,
        "verbose_interval": _parameters.POSITIVE_INT,
        "n_threads": (*_parameters.POSITIVE_INT, _parameters.Nothing()),
        "missing": (_parameters.Choice(MISSING),),
        "acceleration": (_parameters.Choice(fitting.ACCELERATIONS), _parameters.Nothing()),
        "stopping": (_parameters.Choice(fitting.STOPPING),),
        "max_time": (*_parameters.NON_NEGATIVE, _parameters.Nothing()),
        "callback": (_parameters.Function(), _parameters.Nothing()),
        "progress": (_parameters.Instance(bool),),
        "max_memory": (*_parameters.POSITIVE_INT, _parameters.Instance(str), _parameters.Nothing()),
        "step_decay": (_parameters.Number(Real, 0.5, 1, open_low=True),),
        "forgetting": (_parameters.Number(Real, 0.0, 1, open_high=True),),
    }
    if HAS_SKLEARN:
        _parameter_constraints: ClassVar[dict[str, list[Any]]] = _parameters.as_sklearn(_rules)

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str | npt.ArrayLike | Callable[..., Any] = "kmeans",
        split_merge: int = 0,
        weights_init: npt.ArrayLike | None = None,
        means_init: npt.ArrayLike | None = None,
        precisions_init: npt.ArrayLike | None = None,
        on_collapse: str = "raise",
        covariance_floor: float | None = None,
        fixed: Mapping[str, npt.ArrayLike] | None = None,
        equal_weights: bool = False,
        prior: str | covariance.ConjugatePrior | None = None,
        noise: bool | float | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int | bool = 0,
        verbose_interval: int = 10,
        n_threads: int | None = None,
        missing: str = "raise",
        acceleration: str | None = None,
        stopping: str = "gain",
        max_time: float | None = None,
        callback: Callable[[fitting.FitState], Any] | None = None,
        progress: bool = False,
        max_memory: int | str | None = None,
        step_decay: float = 0.7,
        forgetting: float = 0.0,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.split_merge = split_merge
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.on_collapse = on_collapse
        self.covariance_floor = covariance_floor
        self.fixed = fixed
        self.equal_weights = equal_weights
        self.prior = prior
        self.noise = noise
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.n_threads = n_threads
        self.missing = missing
        self.acceleration = acceleration
        self.stopping = stopping
        self.max_time = max_time
        self.callback = callback
        self.progress = progress
        self.max_memory = max_memory
        self.step_decay = step_decay
        self.forgetting = forgetting

    _defaults: ClassVar = __init__.__kwdefaults__

    @with_callbacks
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        sample_weight: npt.ArrayLike | None = None,
        known_labels: npt.ArrayLike | None = None,
    ) -> Self:
        """Estimate the parameters from rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows: at least two, and at least `n_components`. float32 stays float32; anything else becomes float64.
        y : Ignored
            Present by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows: an integer weight is that many rows, weight zero is none. None weighs each row by one.
        known_labels : array-like of shape (n_samples,), default=None
            The component that each row is known to belong to, from 0 on, or -1 where it is not known. Rows that are
            known belong to theirs alone, and count in `lower_bound_` with its density times its weight. Of rows of a
            Dask collection also a Dask array or series.

        Returns
        -------
        self : GaussianMixture
            With all attributes set; if anything is raised, as it was before.

        Raises
        ------
        InvalidParameterError
            A ValueError and a TypeError: if a parameter of the constructor has a wrong type or is out of range.
        ValueError
            If X, the weights or starting parameters are not what is expected, or every start failed.
        TypeError
            If X is sparse.

        Warns
        -----
        ConvergenceWarning
            If the kept start did not converge within `max_iter` iterations and `max_time` seconds.
        NothingObservedWarning
            If rows hold nothing but gaps.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> GaussianMixture().fit([[0.0], [2.0]], sample_weight=[3.0, 1.0]).means_
        array([[0.5]])
        """
        self._fit(X, y, sample_weight, known_labels)
        return self

    @with_callbacks
    def fit_predict(
        self,
        X: Any,
        y: Any = None,
        *,
        sample_weight: npt.ArrayLike | None = None,
        known_labels: npt.ArrayLike | None = None,
    ) -> npt.NDArray[np.int64]:
        """Estimate the parameters from rows and return the most probable component of each.

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
            What `predict` of the same rows returns.

        Raises
        ------
        ValueError, TypeError
            As `fit`.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> GaussianMixture().fit_predict([[0.0], [2.0]])
        array([0, 0])
        """
        return self._fit(X, y, sample_weight, known_labels, labels=True).labels
