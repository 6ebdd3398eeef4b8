"""Starts of EM: from rows to first parameters.

Every start ends in labels or responsibilities, and the M-step turns those into parameters. Statistics of a start are
taken about the centres that it found, in two passes where it has none, so that data far from the origin lose nothing.
"""

import numpy as np

from fastgmm._checks import as_array
from fastgmm._errors import InvalidParameterError
from fastgmm.fitting import agglomerative, kmeans
from fastgmm.fitting.race import Race
from fastgmm.sources import ArraySource

__all__ = ["NAMES", "RACE", "Race", "check_init_params", "first_parameters", "start_rows"]

# Rows that starts are made of where the rows do not lie in an array, and how many values they hold together at most.
START_ROWS = 65536
START_VALUES = 1 << 22
START_ROWS_PER_COMPONENT = 64

ROWS_PER_FEATURE = 8  # in every cluster of a part of the rows whose moments EM starts from


def _kmeans(source, n_components, rng):
    """Where clusters among a part of the rows are large, their moments are as good a start as those of all rows."""
    rows, centres, labels, _ = kmeans.cluster_many(source, n_components, rng)
    if rows is not source:
        sizes = np.bincount(labels[labels >= 0], minlength=n_components)
        if source.known_labels is None and sizes.min() >= ROWS_PER_FEATURE * source.n_features:
            return {"labels": labels, "rows": rows}, centres
        centres, labels, _ = kmeans.lloyd(source, centres, max_iter=1)
    return {"labels": labels}, centres


def _comparable(*, whitened):
    def start(source, n_components, rng):
        labels, centres = kmeans.cluster_comparable(source, n_components, rng, whitened=whitened)
        return {"labels": labels}, centres

    return start


def _agglomerative(*, shared):
    def start(source, n_components, rng):
        labels, centres = agglomerative.cluster(source, n_components, rng, shared=shared)
        return {"labels": labels}, centres

    return start


def _kmeans_plusplus(source, n_components, rng):
    return _nearest_seed(source, kmeans.seed(source, n_components, rng))


def _random_from_data(source, n_components, rng):
    weights = source.weights()
    if weights is None:
        drawn = rng.choice(source.n_rows, n_components, replace=False)
    else:  # in proportion to the weights: the first to arrive (Efraimidis and Spirakis 2006)
        with np.errstate(over="ignore", divide="ignore"):
            arrival = rng.exponential(size=len(weights)) / (weights / weights.max())
        first = np.argpartition(arrival, n_components - 1)[:n_components]
        drawn = first[np.argsort(arrival[first])]
    return _nearest_seed(source, source.rows_at(drawn))


def _nearest_seed(source, centres):
    """Each row belongs to the nearest seed; scikit-learn gives rows that are no seed to nobody, which fits nothing."""
    labels = source.nearest(centres, shift=source.moments()[0], labels=True).labels
    return {"labels": labels}, centres


def _random(source, n_components, rng):
    centre = np.tile(source.moments()[0], (n_components, 1))
    return {"resp": RandomResponsibilities(source, n_components, int(rng.integers(2**63)))}, centre


_STARTS = {
    "kmeans": _kmeans,
    "kmeans-scaled": _comparable(whitened=False),
    "kmeans-whitened": _comparable(whitened=True),
    "agglomerative": _agglomerative(shared=False),
    "agglomerative-tied": _agglomerative(shared=True),
    "k-means++": _kmeans_plusplus,
    "random": _random,
    "random_from_data": _random_from_data,
}

ONCE = frozenset({"agglomerative", "agglomerative-tied"})  # hardly random: a race draws them once

RACED = ("kmeans", "kmeans-scaled", "kmeans-whitened", "agglomerative-tied")
"""What "race" races."""

NAMES = tuple(_STARTS)
RACE = "race"


class RandomResponsibilities:
    """Uniform random responsibilities, normalised, made for whatever rows are asked for: never N x K at once.

    A row's responsibilities depend on its place among the rows with positive weight, and not on how rows are cut into
    pieces, because each stretch of rows has its own stream.
    """

    STRETCH = 4096

    def __init__(self, source, n_components, seed):
        self.shape = source.n_all_rows, n_components
        self._place, self._seed = source.place, seed

    def __getitem__(self, rows):
        places = self._place(np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows)
        out = np.empty((len(places), self.shape[1]))
        stretch = places // self.STRETCH
        for number in np.unique(stretch):
            draws = np.random.default_rng([self._seed, int(number)]).random((self.STRETCH, self.shape[1]))
            here = stretch == number
            out[here] = draws[places[here] % self.STRETCH]
        return out / out.sum(axis=1, keepdims=True)


def start_rows(n_components, n_features):
    """Return how many rows starts are made of where the rows do not lie in an array."""
    return max(min(START_ROWS, START_VALUES // n_features), START_ROWS_PER_COMPONENT * n_components)


def check_init_params(init_params, source, n_components):
    """Return init_params as a name, labels, responsibilities, callable or Race.

    Raises
    ------
    InvalidParameterError
        If it is none of them.
    ValueError
        If labels or responsibilities do not fit the rows and components.
    """
    if isinstance(init_params, str):
        if init_params == RACE:
            return Race(RACED, ONCE)
        if init_params in _STARTS:
            return init_params
    elif callable(init_params):
        return init_params
    elif is_raced(init_params):
        for entry in init_params:
            if not callable(entry) and not (isinstance(entry, str) and entry in _STARTS):
                known = ", ".join(map(repr, _STARTS))
                raise InvalidParameterError(
                    f"init_params as a list must hold any of {known} and callables, got {entry!r}"
                )
        return Race(tuple(init_params), ONCE)
    elif init_params is not None:
        if not isinstance(source, ArraySource):
            raise InvalidParameterError(
                "init_params as labels or responsibilities needs the rows in an array; name a start, or give means_init"
            )
        return _check_given(as_array(init_params, "init_params"), source.n_all_rows, n_components, "init_params")
    raise InvalidParameterError(
        f"init_params must be one of {', '.join(map(repr, (*NAMES, RACE)))}, labels (n_rows,), responsibilities "
        f"(n_rows, n_components), a callable or a list of names and callables to be raced, got {init_params!r}"
    )


def is_raced(init_params):
    """Return whether init_params asks for a race: by its name, or as a list of names and callables."""
    if isinstance(init_params, str):
        return init_params == RACE
    return isinstance(init_params, (list, tuple)) and any(isinstance(e, str) or callable(e) for e in init_params)


def _check_given(given, n_rows, n_components, name):
    """Return labels (N,) int64 or responsibilities (N, K) float64 after checks."""
    if given.ndim == 1 and given.dtype.kind in "iu":
        if given.shape != (n_rows,):
            raise ValueError(f"{name} as labels should have the shape of ({n_rows},), but got {given.shape}")
        if given.min() < 0 or given.max() >= n_components:
            raise ValueError(
                f"{name} as labels should lie in 0..{n_components - 1}, but got {given.min()}..{given.max()}"
            )
        missing = np.setdiff1d(np.arange(n_components), given)
        if len(missing):
            raise ValueError(f"{name} as labels should give every component a row, but component {missing[0]} has none")
        return given.astype(np.int64)
    if given.ndim == 2 and given.dtype.kind in "fiub":
        if given.shape != (n_rows, n_components):
            raise ValueError(
                f"{name} as responsibilities should have the shape of ({n_rows}, {n_components}), but got {given.shape}"
            )
        given = given.astype(np.float64)
        sums = given.sum(axis=1)
        if not (np.isfinite(given).all() and (given >= 0).all() and np.allclose(sums, 1, rtol=0, atol=1e-6)):
            raise ValueError(f"{name} as responsibilities should be finite, not negative, with sum 1 in every row")
        return given / sums[:, None]
    raise ValueError(
        f"{name} should be integer labels (n_rows,) or responsibilities (n_rows, n_components), but got an array of "
        f"dtype {given.dtype} and shape {given.shape}"
    )


def first_parameters(source, family, n_components, init_params, rng, *, reg_covar, floor=None, prior=None):
    """Return the Parameters that EM starts from.

    Parameters
    ----------
    source : ArraySource
    family : Family
    n_components : int
    init_params : str, labels, responsibilities or callable
        As `check_init_params` returns it.
    rng : numpy.random.Generator
    reg_covar : float
    floor : Floor, optional
    prior : Prior, optional

    Raises
    ------
    IllDefinedCovarianceError
        If a component's rows do not span a covariance.
    """
    whole = source.sample_of
    if whole is not None and isinstance(init_params, str) and init_params == "kmeans" and n_components > 1:
        stats = None if whole.n_named else _clustered(whole, family, n_components, rng)
        if stats is not None:
            return _parameters_of(stats, family, reg_covar, floor, prior)
    mean = source.moments()[0]
    if n_components == 1 and isinstance(init_params, str):
        given, pivot = {"labels": None}, mean[None]  # nothing to choose, so nothing random
    elif isinstance(init_params, str):
        given, pivot = _STARTS[init_params](source, n_components, rng)
    else:
        given, pivot = _given_start(source, init_params, n_components, rng)
    if source.known_labels is not None:
        given, pivot = _with_known(source, n_components, given, pivot)
    rows = given.pop("rows", source)
    return _parameters_of(family.first_statistics(rows, pivot, given), family, reg_covar, floor, prior)


def _clustered(whole, family, n_components, rng):
    """Return the Statistics of all rows by k-means among candidates that their source names, None if it names none."""
    candidates = whole.cluster(n_components, rng) if not family.rank else None
    if candidates is None:
        return None
    centres, _, _ = kmeans.lloyd(candidates, kmeans.seed(candidates, n_components, rng), labels=False)
    return whole.accumulate_nearest(family.statistics_kind(), centres)


def _parameters_of(stats, family, reg_covar, floor, prior):
    """Return the Parameters of the first M-step."""
    weights, means, covariances = family.estimate(stats, reg_covar=reg_covar, floor=floor, prior=prior)
    if floor is not None:
        covariances, _ = family.floored(covariances, floor)
    return family.complete(weights, means, covariances, mend=reg_covar > 0 or floor is not None)


def _with_known(source, n_components, given, centres):
    """Return a start in which rows that are known belong to their components.

    Where the start is a partition the components of known rows begin at these rows' means and the others at centres of
    the partition, those that are farthest from all that there is; each other row belongs to the nearest.
    """
    known = source.known_labels
    if given.get("resp") is not None:
        return {"resp": _KnownResponsibilities(given["resp"], known)}, centres
    stats = source.accumulate_given("spherical", centres, labels=known)
    taken, mean, variances = stats.n > 0, source.moments()[0], source.moments()[1]
    centres = np.where(taken[:, None], stats.means(), centres)
    if given["labels"] is not None:
        own = source.accumulate_given("spherical", centres, labels=given["labels"]).means()
        scale = np.sqrt(np.where(variances > 0, variances, 1.0))
        for component in np.flatnonzero(~taken):
            distances = (((own[:, None] - centres[taken]) / scale) ** 2).sum(axis=2).min(axis=1)
            centres[component] = own[int(np.argmax(distances))]
            taken[component] = True
    labels = source.nearest(centres, shift=mean, labels=True).labels
    return {"labels": np.where(known >= 0, known, labels)}, centres


class _KnownResponsibilities:
    """Responsibilities, made or given, with those of rows that are known in their places."""

    def __init__(self, resp, known):
        self.shape, self._resp, self._known = np.shape(resp), resp, known

    def __getitem__(self, rows):
        out, known = np.array(self._resp[rows]), self._known[rows]
        there = np.flatnonzero(known >= 0)
        out[there] = 0.0
        out[there, known[there]] = 1.0
        return out


def _given_start(source, init_params, n_components, rng):
    """Labels, responsibilities, or what a callable makes of the rows: labels, responsibilities or centres (K, D)."""
    n_rows = source.n_all_rows
    if callable(init_params):
        seed = int(rng.integers(2**31))
        name = "what the init_params callable returned"
        given = as_array(init_params(source.array, n_components, seed), name)
        means_shape = n_components, source.n_features
        if given.shape == means_shape != (n_rows, n_components) and given.dtype.kind in "fiub":
            if not np.isfinite(given).all():
                raise ValueError("the means that the init_params callable returned should be finite")
            return _nearest_seed(source, given.astype(np.float64))
        init_params = _check_given(given, n_rows, n_components, name)
    name = "labels" if init_params.ndim == 1 else "resp"
    return {name: init_params}, np.tile(source.moments()[0], (n_components, 1))
