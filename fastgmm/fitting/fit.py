"""fit: a mixture from rows, for users."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from fastgmm import covariance
from fastgmm._checks import check_missing
from fastgmm._errors import ConvergenceWarning, NothingObservedWarning
from fastgmm.fitting.bar import ProgressBar, check_progress
from fastgmm.fitting.em import FitState
from fastgmm.fitting.result import FitResult
from fastgmm.fitting.run import n_starts, run
from fastgmm.fitting.watch import Told, Watch
from fastgmm.sources import as_source, is_elsewhere

__all__ = ["NOTHING_OBSERVED", "NOT_CONVERGED", "fit"]

NOT_CONVERGED = (
    "Best performing initialization did not converge. Try different init parameters, or increase max_iter, tol, or "
    "check for degenerate data."
)


NOTHING_OBSERVED = (
    "{} row(s) of X hold nothing but gaps: they follow the weights of the components and say nothing about them."
)


def fit(
    X: Any,
    n_components: int = 1,
    *,
    covariance_type: str = "full",
    tol: float = 1e-3,
    reg_covar: float = 1e-6,
    max_iter: int = 100,
    n_init: int = 1,
    init_params: str | npt.ArrayLike | Callable[..., npt.ArrayLike] | Sequence[Any] = "kmeans",
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
    sample_weight: npt.ArrayLike | None = None,
    known_labels: npt.ArrayLike | None = None,
    n_threads: int | None = None,
    missing: str = "raise",
    callback: Callable[[FitState], Any] | None = None,
    acceleration: str | None = None,
    stopping: str = "gain",
    max_time: float | None = None,
    max_memory: int | str | None = None,
    progress: bool = False,
) -> FitResult:
    """Fit a Gaussian mixture by EM.

    The same fit as `fastgmm.GaussianMixture`, without scikit-learn and without an estimator around it.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features), path, pyarrow data set, or fastgmm.sources.Source
        float32 and float64 arrays of any strides are read in place, other numbers are converted piece by piece. Files
        (CSV, NPY, Parquet) and data sets are read block by block in every pass: see `fastgmm.sources.BatchSource`.
    n_components : int, default=1
    covariance_type : str, default="full"
        "full", "tied", "diag", "spherical", one of mclust's structures such as "VEV": see docs/structures.md, or of
        rank q "mfa:q" or "mppca:q": see docs/low_rank.md.
    tol : float, default=1e-3
        Stop when the mean log-likelihood per row changes by less: see `stopping`.
    reg_covar : float, default=1e-6
        Added to the diagonal of the covariances, in the units of the features squared.
    max_iter : int, default=100
        Largest number of iterations of each start. Each is one pass over the rows.
    n_init : int, default=1
        Number of starts, of which the best is kept. A start that fails is counted and skipped.
    init_params : str, array, callable or list, default="kmeans"
        "kmeans", "kmeans-scaled", "kmeans-whitened", "agglomerative", "agglomerative-tied", "k-means++", "random" or
        "random_from_data" (see docs/starts.md); or labels (n_rows,); or responsibilities (n_rows, n_components); or a
        callable of (X, n_components, random_state) that returns labels, responsibilities or means; or a list of such
        names and callables, which are raced; or "race", which races several kinds. Of a race's starts, `n_init` or one
        of each kind, the best third goes on.
    split_merge : int, default=0
        Largest number of split-and-merge moves out of the best optimum that the starts came to, for three components or
        more: see docs/starts.md. Each is one more run, after a race of twelve moves on few rows; one that finds nothing
        better is the last. The log-likelihood is never lowered.
    weights_init : (n_components,) array, optional
    means_init : (n_components, n_features) array, optional
    precisions_init : array in the shape of the family, optional
    on_collapse : {"raise", "floor", "reseed", "drop"}, default="raise"
        What happens to a component that loses its rows, its width or its difference from another. "raise": a covariance
        that is not positive definite fails the start. The others keep all covariances above a floor, `covariance_floor`
        or 1e-6 of the data's; "reseed" puts the component anew at rows that are badly explained, "drop" removes it.
    covariance_floor : float, optional
        Share of the data's covariance below which no component's shall be: eigenvalues relative to it, in (0, 1].
    fixed : mapping, optional
        Parameters that stay at their starting values: "weights", "means" or "covariances" to True or a mask
        (n_components,).
    equal_weights : bool, default=False
        Whether all components weigh the same.
    prior : {None, "conjugate"} or ConjugatePrior, default=None
        Prior of means and covariances, whose posterior density is maximised instead of the likelihood; "conjugate" is
        that with mclust's defaults. Bounds are then of the posterior: see `FitResult` and docs/knowledge.md.
    noise : None, True or float, default=None
        Whether there is a uniform component beside, for outliers, and the volume that it fills; True takes the smaller
        of the boxes around the rows along the features and along their principal axes, with gaps the first.
        See docs/knowledge.md.
    random_state : None, int, RandomState, Generator or SeedSequence, default=None
    sample_weight : (n_rows,) array or number, optional
    known_labels : (n_rows,) array of int, optional
        The component that each row is known to belong to, from 0 on, or -1 where it is not known. Rows that are known
        belong to theirs alone; in bounds they count with its density times its weight. Of rows of a Dask
        collection also a Dask array or series.
    n_threads : int, optional
        No result depends on it.
    missing : {"raise", "em"}, default="raise"
        What happens to gaps in X, NaN: "raise" an error, or "em" takes the expectation over them too, which is exact
        where values are missing at random: see docs/missing.md.
    callback : callable, optional
        Called with a `fastgmm.fitting.FitState` after each iteration; a true value stops that start.
    acceleration : {None, "lbfgs", "squarem"}, default=None
        None is EM. The others extrapolate its steps and need a fraction of the iterations where they are many, "lbfgs"
        the least; the log-likelihood does not fall either, but the optimum may be another one.
    stopping : {"gain", "aitken"}, default="gain"
        What has to be below `tol`: the gain of the last iteration, as in scikit-learn, or Aitken's estimate of all that
        is still to gain.
    max_time : float, optional
        Seconds after which no further iteration or start begins; the first iteration of the first start always does.
    progress : bool, default=False
        Whether to show a progress bar on standard error: start, iteration, log-likelihood, time left. It needs tqdm.
    max_memory : int or str, optional
        Bytes, or a string such as "500 MB", that the fit takes at most beyond the interpreter, its libraries and X.
        Arrays, such as memory maps, are then read block by block too, and starts made of a sample of their rows.

    Returns
    -------
    FitResult

    Warns
    -----
    ConvergenceWarning
        If the best start stopped for another reason than `tol`, and `max_iter` is not 0.
    NothingObservedWarning
        If rows hold nothing but gaps.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; if every start fails.
    ImportError
        If `progress` is true and tqdm is not installed.

    References
    ----------
    Dempster, Laird and Rubin (1977), J. R. Statist. Soc. B 39:1. Varadhan and Roland (2008), Scand. J. Statist. 35:335.

    Examples
    --------
    >>> import numpy as np, fastgmm
    >>> X = np.concatenate([np.arange(5.0), np.arange(100.0, 105.0)])[:, None]
    >>> result = fastgmm.fit(X, 2, random_state=0)
    >>> np.sort(result.mixture.means.ravel()).round(6)
    array([  2., 102.])
    """
    observers = [] if callback is None else [Told(callback)]
    if check_progress(progress):
        bar = ProgressBar(
            n_starts(n_init, init_params, weights_init, means_init, precisions_init) + split_merge, max_iter
        )
        observers.append(bar)
        if is_elsewhere(X) or max_memory is not None:
            options = {"known_labels": known_labels, "n_threads": n_threads, "max_memory": max_memory}
            X = as_source(X, sample_weight, **options, missing=check_missing(missing))
            sample_weight = known_labels = max_memory = None
        bar.watch_rows(X)
    result = Watch(observers, max_iter).follow(
        run,
        X,
        n_components,
        covariance_type=covariance_type,
        tol=tol,
        reg_covar=reg_covar,
        max_iter=max_iter,
        n_init=n_init,
        init_params=init_params,
        split_merge=split_merge,
        weights_init=weights_init,
        means_init=means_init,
        precisions_init=precisions_init,
        on_collapse=on_collapse,
        covariance_floor=covariance_floor,
        fixed=fixed,
        equal_weights=equal_weights,
        prior=prior,
        noise=noise,
        random_state=random_state,
        sample_weight=sample_weight,
        known_labels=known_labels,
        n_threads=n_threads,
        missing=missing,
        acceleration=acceleration,
        stopping=stopping,
        max_time=max_time,
        max_memory=max_memory,
    )
    if result.n_unobserved:
        warnings.warn(NOTHING_OBSERVED.format(result.n_unobserved), NothingObservedWarning, stacklevel=2)
    if not result.converged and max_iter > 0:
        warnings.warn(NOT_CONVERGED, ConvergenceWarning, stacklevel=2)
    return result
