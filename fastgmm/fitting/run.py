"""run: starts, EM from each of them, and the best result."""

import time
from numbers import Integral, Real

import numpy as np

from fastgmm import covariance
from fastgmm._checks import check_enough_rows, check_missing, check_number
from fastgmm._names import feature_names
from fastgmm._random import generator
from fastgmm.engine.threads import Between
from fastgmm.fitting import log
from fastgmm.fitting.acceleration import check_acceleration
from fastgmm.fitting.arguments import check_given_parameters, check_known, check_split_merge
from fastgmm.fitting.arrangement import arranged
from fastgmm.fitting.beginnings import Beginnings
from fastgmm.fitting.convergence import check_stopping
from fastgmm.fitting.held import check_fixed
from fastgmm.fitting.mstep import check_floor, floor_of, noise_of
from fastgmm.fitting.race import Race, n_kept
from fastgmm.fitting.runs import Runs
from fastgmm.fitting.starts import check_init_params, is_raced, start_rows
from fastgmm.fitting.watch import check_callback
from fastgmm.sources import ArraySource, as_source, is_elsewhere

__all__ = ["n_starts", "run"]


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
    split_merge = check_split_merge(split_merge, fixed, noise)
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
    n_start_rows = start_rows(n_components, source.n_features)
    n_all = n_components + (noise is not None and noise is not False)  # noise is one component more
    source.reserve(family.statistics_kind(), n_all, n_start_rows, family.rank, acceleration)
    check_enough_rows(source.n_rows, n_components)
    check_known(source, n_components, on_collapse, split_merge)
    family.check_features(source.n_features)
    given = check_given_parameters(family, n_components, source.n_features, weights_init, means_init, precisions_init)
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

    seeds = [None] if start is not None or len(given) == 3 else [int(rng.integers(2**63)) for _ in range(n_init)]
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
    special = floor is not None or prior is not None or noise is not None or equal_weights
    special = special or (fixed is not None and any(mask.any() for mask in masks.values()))
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
        few = source.sample(n_start_rows, np.random.default_rng([seeds[0] or 0, 2]))  # draws of starts are an array's
        few.sample_of = source if few.n_rows < source.n_rows else None
    ordered = arranged(source, family.kind, n_components) if max_iter and noise is None else source
    begin = Beginnings(few, family, n_components, init_params, start, given, constraints, special)
    runs = Runs(source, ordered, family, begin, options, prior, floor is not None)
    with Between(source.n_threads):
        if isinstance(init_params, Race) and seeds != [None]:
            seeds = begin.race(init_params, n_init, rng, deadline)
        runs.make_all(seeds, split_merge, rng, before_start, labels and isinstance(source, ArraySource))
    return runs.result(labels, n_threads, missing, feature_names(source if is_elsewhere(X) else X))


def n_starts(n_init, init_params, *given, start=None):
    """Return the largest number of runs: one from a given point, else one a start, or those that a race leaves."""
    if start is not None or all(part is not None for part in given):
        return 1
    return n_kept(n_init) if is_raced(init_params) else n_init
