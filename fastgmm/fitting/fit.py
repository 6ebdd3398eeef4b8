"""fit: starts, EM from each of them, and the best result."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm import covariance
from fastgmm._checks import (
    check_enough_rows,
    check_means,
    check_missing,
    check_number,
    check_shape,
    check_weights,
    floats,
)
from fastgmm._errors import (
    ConvergenceWarning,
    IllDefinedCovarianceError,
    InvalidParameterError,
    NothingObservedWarning,
)
from fastgmm._forms import check_structure
from fastgmm._random import generator
from fastgmm.fitting import log
from fastgmm.fitting.acceleration import check_acceleration, state
from fastgmm.fitting.arrangement import arranged
from fastgmm.fitting.bar import ProgressBar, check_progress
from fastgmm.fitting.beginnings import Beginnings
from fastgmm.fitting.convergence import check_stopping
from fastgmm.fitting.em import FitState, expectation_maximisation
from fastgmm.fitting.held import check_fixed
from fastgmm.fitting.mstep import check_floor, floor_of, noise_of, penalised
from fastgmm.fitting.race import Race, n_kept
from fastgmm.fitting.result import FitResult, StartHistory
from fastgmm.fitting.starts import check_init_params, is_raced, start_rows
from fastgmm.fitting.watch import Told, Watch, check_callback
from fastgmm.mixture import Mixture
from fastgmm.sources import ArraySource, as_source, is_elsewhere

__all__ = ["NOTHING_OBSERVED", "NOT_CONVERGED", "fit", "n_starts", "run"]

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
        of the boxes around the rows along the features and along their principal axes. See docs/knowledge.md.
    random_state : None, int, RandomState, Generator or SeedSequence, default=None
    sample_weight : (n_rows,) array or number, optional
    known_labels : (n_rows,) array of int, optional
        The component that each row is known to belong to, from 0 on, or -1 where it is not known. Rows that are known
        belong to theirs alone; in bounds they count with its density times its weight. Rows have to be in an array.
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


def run(
    X,
    n_components=1,
    *,
    covariance_type="full",
    tol=1e-3,
    reg_covar=1e-6,
    max_iter=100,
    n_init=1,
    init_params="kmeans",
    split_merge=0,
    weights_init=None,
    means_init=None,
    precisions_init=None,
    on_collapse="raise",
    covariance_floor=None,
    fixed=None,
    equal_weights=False,
    prior=None,
    noise=None,
    random_state=None,
    sample_weight=None,
    known_labels=None,
    n_threads=None,
    missing="raise",
    callback=None,
    acceleration=None,
    stopping="gain",
    max_time=None,
    max_memory=None,
    before_start=None,
    start=None,
    progress=None,
    path=None,
    labels=False,
):
    """Fit as `fit` does, without its warning, and with what estimators need beside.

    Parameters
    ----------
    before_start : callable, optional
        Called with the number of each start before it is made; a false value ends the fit with the starts made so far.
    start : Parameters, optional
        Where to continue from, in one run, instead of making starts.
    progress, path : optional
        With `start`, those of the `FitResult` that is continued: the fit goes on as if it had not stopped.
    labels : bool, default=False
        Whether to fill `FitResult.labels`.

    Returns
    -------
    FitResult
    """
    family = covariance.get(covariance_type)
    n_components = check_number(n_components, "n_components", Integral, 1)
    max_iter = check_number(max_iter, "max_iter", Integral, 0)
    n_init = check_number(n_init, "n_init", Integral, 1)
    split_merge = _check_split_merge(split_merge, fixed, noise)
    tol = check_number(tol, "tol", Real, 0)
    reg_covar = check_number(reg_covar, "reg_covar", Real, 0)
    share = check_floor(on_collapse, covariance_floor)
    acceleration, stopping = check_acceleration(acceleration), check_stopping(stopping)
    deadline = np.inf if max_time is None else time.monotonic() + check_number(max_time, "max_time", Real, 0)
    check_callback(callback)
    source = as_source(
        X,
        sample_weight,
        known_labels=known_labels,
        n_threads=n_threads,
        max_memory=max_memory,
        missing=check_missing(missing),
    )
    _check_known(source, n_components, on_collapse)
    n_start_rows = start_rows(n_components, source.n_features)
    source.reserve(family.statistics_kind(), n_components, n_start_rows, family.rank)
    check_enough_rows(source.n_rows, n_components)
    family.check_features(source.n_features)
    given = _check_given_parameters(family, n_components, source.n_features, weights_init, means_init, precisions_init)
    starting = {"weights_init": weights_init, "means_init": means_init, "precisions_init": precisions_init}
    if start is not None:
        starting.update(means_init=start, precisions_init=start, weights_init=None if equal_weights else start)
    masks = check_fixed(fixed, equal_weights, family, n_components, starting)
    init_params = check_init_params(init_params, source, n_components)
    rng = generator(random_state)
    source.moments()  # every value is looked at before any work: what is not finite is reported here
    floor = None if share is None else floor_of(source, family, share)
    prior = covariance.prior_of(prior, family, n_components, source)
    noise = noise_of(noise, source, masks, start)

    seeds = [None] if start is not None or len(given) == 3 else rng.integers(2**63, size=n_init).tolist()
    settings = {"tol": tol, "max_iter": max_iter, "acceleration": acceleration, "stopping": stopping}
    log.fit_begins(source, family, n_components, len(seeds), settings)
    options = {
        **settings,
        "reg_covar": reg_covar,
        "callback": log.following(callback),
        "deadline": deadline,
        "progress": progress,
        "path": path,
    }
    special = (
        floor is not None
        or prior is not None
        or noise is not None
        or equal_weights
        or any(mask.any() for mask in masks.values())
    )
    constraints = {
        "masks": masks,
        "equal_weights": equal_weights,
        "reg_covar": reg_covar,
        "floor": floor,
        "prior": prior,
        "noise": noise,
        "on_collapse": on_collapse,
        "max_iter": max_iter,
        "continued": start is not None,
    }
    few = source  # what starts are made of, and components that are put anew
    if not isinstance(source, ArraySource) and (seeds != [None] or split_merge or on_collapse == "reseed"):
        few = source.sample(n_start_rows, rng)
        few.sample_of = source if few.n_rows < source.n_rows else None
    ordered = arranged(source, family.kind, n_components) if max_iter and noise is None else source
    begin = Beginnings(few, family, n_components, init_params, start, given, constraints, special)
    if isinstance(init_params, Race) and seeds != [None]:
        seeds = begin.race(init_params, n_init, rng, deadline)
    best, histories, errors = None, [], []
    n_first = len(seeds)
    for init in range(n_first + split_merge):
        if init >= n_first and _moves_on(best, init, n_first, deadline):
            seeds = [*seeds, *begin.move(best.mixture, rng, deadline)]
            options.update(progress=None, path=None)
        if init == len(seeds) or not _begins(init, deadline, before_start):
            break
        log.start_begins(init)
        try:
            parameters, mstep = begin.at(seeds[init])
            found = expectation_maximisation(ordered, family, parameters, mstep=mstep, init=init, **options)
            at_once = labels and len(seeds) == 1 and isinstance(source, ArraySource)
            candidate = _finish(source, family, found, init, at_once, prior, mend=floor is not None)
            log.start_ends(init, candidate)
            histories.append(
                StartHistory(
                    candidate.lower_bounds, candidate.converged, candidate.n_iter, stopped_by=candidate.stopped_by
                )
            )
        except IllDefinedCovarianceError as error:
            log.start_fails(init, error)
            errors.append(error)
            histories.append(StartHistory([], False, 0, str(error)))
            continue
        if best is None or candidate.lower_bound > best.lower_bound:
            best = candidate
    if best is None:
        raise IllDefinedCovarianceError(errors[0].component, source.dtype == np.float32) from errors[0]
    if labels and best.labels is None:
        best = replace(best, labels=_labels(source, best.mixture, n_threads, missing))
    best = replace(best, n_failed_inits=len(errors), histories=histories, n_unobserved=source.n_unobserved)
    log.fit_ends(best, len(histories))
    return best


def _check_known(source, n_components, on_collapse):
    """Raise ValueError if rows are known to belong to components that there are not, or that may be moved."""
    known = source.known_labels
    if known is None:
        return
    if known.max() >= n_components:
        raise ValueError(
            f"known_labels must be below n_components={n_components}, or -1 where they are not known, got {known.max()}"
        )
    if on_collapse in ("reseed", "drop"):
        raise ValueError(
            f"known_labels name components, so that on_collapse must be 'raise' or 'floor', got {on_collapse!r}"
        )


def n_starts(n_init, init_params, *given, start=None):
    """Return the largest number of runs: one from a given point, else one a start, or those that a race leaves."""
    if start is not None or all(part is not None for part in given):
        return 1
    return n_kept(n_init) if is_raced(init_params) else n_init


def _check_split_merge(split_merge, fixed, noise):
    """Return the largest number of split-and-merge moves, if there may be any."""
    split_merge = check_number(split_merge, "split_merge", Integral, 0)
    if split_merge and fixed is not None:
        raise InvalidParameterError("split_merge moves components freely, so it goes with no fixed parameters")
    if split_merge and noise is not None:
        raise InvalidParameterError("split_merge moves components of Gaussians alone, so it goes with no noise")
    return split_merge


def _moves_on(best, init, n_first, deadline):
    """Return whether a split-and-merge move is tried: the first, or one after a move that found a better optimum."""
    return best is not None and time.monotonic() < deadline and (init == n_first or best.best_init == init - 1)


def _begins(init, deadline, before_start):
    """Return whether a start begins: there is time for it, or it is the first, and nobody objects."""
    in_time = init == 0 or time.monotonic() < deadline
    return in_time and (before_start is None or before_start(init))


def _finish(source, family, found, init, labels, prior, mend):
    """Return the FitResult of one run: its parameters in the dtype of the rows, scored once more."""
    parameters = found.parameters.astype(source.dtype)
    if source.dtype == np.float32:
        try:
            family.from_covariances(parameters.covariances, parameters.n_components, parameters.n_features)
        except IllDefinedCovarianceError:
            if not mend:
                raise
            parameters = replace(family.complete(*parameters.arrays()[:3], mend=True), noise=parameters.noise)
    mixture = Mixture.from_parameters(parameters, family)
    scores = source.score(mixture.constants(source.dtype), **({"labels": True} if labels else {}))
    bound = penalised(scores.log_likelihood, scores.total_weight, parameters, family, prior)
    if not np.isfinite(bound):
        raise IllDefinedCovarianceError(single_precision=source.dtype == np.float32)
    n_iter = len(found.bounds)
    return FitResult(
        mixture=mixture,
        converged=found.converged,
        n_iter=n_iter,
        lower_bound=bound,
        log_likelihood=scores.log_likelihood / scores.total_weight,
        lower_bounds=[*found.bounds[1:], bound] if n_iter else [],
        n_failed_inits=0,
        best_init=init,
        histories=[],
        labels=mixture.named(scores.labels),
        collapses=found.collapses,
        stopped_by=found.stopped_by,
        progress=found.progress,
        total_weight=scores.total_weight,
        path=state(found.path, source.dtype),
        gradient_norm=found.gradient_norm,
    )


def _labels(source, mixture, n_threads, missing):
    """Return the component (N,) of each row of a source, that which is known where it is."""
    if isinstance(source, ArraySource):
        return source.score(mixture.constants(source.dtype), labels=True).labels
    return mixture.predict(source, n_threads=n_threads, missing="em" if source.has_gaps else missing)


def _check_given_parameters(family, n_components, n_features, weights, means, precisions):
    """Return the given starting parameters that are not None, by name, checked, float64."""
    given = {}
    if weights is not None:
        given["weights"] = check_weights(weights, n_components).astype(np.float64)
    if means is not None:
        given["means"] = check_means(means, n_components, n_features).astype(np.float64)
    if precisions is not None:
        precisions = floats(precisions, f"{family.name} precision")
        check_shape(precisions, family.covariance_shape(n_components, n_features), f"{family.name} precision")
        made = family.from_precisions(precisions.astype(np.float64), n_components, n_features)
        check_structure(family, *made, np.finfo(precisions.dtype).eps, "precision")
        given["precisions"] = made
    return given
