"""Rows in Dask collections: passes are made where the partitions live, and only parameters and statistics travel.

Scheduling, placement and retries are Dask's. A pass is one task for each partition and a tree of additions, the same
one each time, so that equal parameters give equal bits.
"""

import copy
import functools
import operator
import pickle
import sys
import uuid

import numpy as np

from fastgmm import engine
from fastgmm.engine.rows import Rows, check_sample_weight, check_weight_values, numbers
from fastgmm.sources.array import ArraySource
from fastgmm.sources.base import NO_ROWS, Source
from fastgmm.sources.reservoir import Reservoir

__all__ = ["DaskSource", "is_dask"]

BRANCHES = 16  # of the tree of additions
SENT_BYTES = 1 << 18  # of parameters that go out with every task: of more, a task of their own sends them to workers
SEEDING_ROUNDS = 5  # of k-means||, and candidates per component in each: Bahmani et al. find 5 and 2 enough
SEEDING_FACTOR = 2


def is_dask(X):
    """Whether X is a Dask array or data frame."""
    return type(X).__module__.partition(".")[0] in ("dask", "dask_expr")


class DaskSource(Source):
    """Rows of a Dask array or data frame.

    Passes run on the scheduler that is in use: the cluster of a ``dask.distributed.Client`` if there is one, else
    threads of this process. Each reads the collection again, unless it was persisted.

    Parameters
    ----------
    X : dask array of shape (n_rows, n_features) or dask data frame of numbers
        Partitions may be empty, and their lengths unknown.
    sample_weight : dask array or series, array-like, or number, optional
        Weights of the rows, in the partitions of X or as many as there are rows.
    n_threads : int, default=1
        Of each task; Dask runs as many tasks at a time as it has threads.

    Attributes
    ----------
    dtype : numpy.dtype
        The type that rows are computed in: float32 if they are float32, else float64.
    n_features : int
    n_rows : int
        Rows with positive weight; takes a pass if none was made.

    Raises
    ------
    TypeError, ValueError
        If X is no such collection. What is wrong with a partition is raised by the pass that meets it, names the
        partition, and leaves the cluster as it was.

    References
    ----------
    Starts by k-means||: Bahmani, Moseley, Vattani, Kumar and Vassilvitskii (2012), Proc. VLDB 5:622.

    Examples
    --------
    >>> import numpy as np, fastgmm
    >>> import dask.array
    >>> X = dask.array.from_array(np.arange(10.0)[:, None], chunks=(5, 1))
    >>> fastgmm.fit(fastgmm.distributed.DaskSource(X), 1).mixture.means
    array([[4.5]])
    """

    def __init__(self, X, sample_weight=None, *, n_threads=None):
        if not is_dask(X) or getattr(X, "ndim", 0) != 2:
            raise TypeError(f"X must be a Dask array of two dimensions or a Dask data frame, got {type(X)}")
        self._n_threads = 1 if n_threads is None else n_threads
        self.column_names = None
        if hasattr(X, "to_dask_array"):
            self.column_names = list(X.columns)
            dtypes = {np.dtype(dtype) for dtype in X.dtypes}
            self.dtype = np.dtype(np.float32 if dtypes == {np.dtype(np.float32)} else np.float64)
            self.n_features, self._lengths = len(self.column_names), [np.nan] * X.npartitions
        else:
            X = X.rechunk({1: -1})
            self.dtype = np.dtype(np.float32 if X.dtype == np.float32 else np.float64)
            self.n_features, self._lengths = X.shape[1], X.chunks[0]
        self._parts, self._graph = _parts_of(X)
        self._weights = _weights_of(sample_weight, X, len(self._parts))
        if is_dask(self._weights):
            self._weights, graph = _parts_of(self._weights)
            self._graph = {**self._graph, **graph}

    def _passed(self, step, merge, *shared):
        """Return what merging in a tree makes of step(values, weights, ..., *shared) of every partition, in order.

        The tasks are written down as Dask's graphs are, and not one by one as delayed calls, which would take longer
        than a pass over few rows.
        """
        from dask.delayed import Delayed

        run = uuid.uuid4().hex
        name, merged, graph = f"fastgmm{step.__name__}-{run}", f"fastgmm-add-{run}", dict(self._graph)
        given = Parcel(shared)
        if len(pickle.dumps(given)) > SENT_BYTES:
            graph[f"fastgmm-given-{run}"], given = given, f"fastgmm-given-{run}"
        for number, (part, weights) in enumerate(zip(self._parts, self._weights, strict=True)):
            call = functools.partial(_on_partition, step, number, self.dtype, self._n_threads)
            graph[name, number] = call, part, weights, given
        layer, level = [(name, number) for number in range(len(self._parts))], 0
        while len(layer) > 1:
            groups, level = [layer[i : i + BRANCHES] for i in range(0, len(layer), BRANCHES)], level + 1
            layer = [(merged, level, number) for number in range(len(groups))]
            call = functools.partial(_merged, merge)
            graph.update((key, (call, group)) for key, group in zip(layer, groups, strict=True))
        made = Delayed(layer[0], graph).compute()
        if made is None:
            raise ValueError(NO_ROWS)
        return made.content

    def accumulate(self, constants, *, pivot=None):
        """Return the Statistics of all rows under a mixture: see `fastgmm.accumulate`."""
        return self._passed(self._accumulating, operator.add, constants, pivot)

    def accumulate_nearest(self, kind, centres):
        """Return the Statistics of all rows, each given to the nearest of some centres (K, D), about these."""
        return self._passed(_accumulate_nearest, operator.add, kind, centres)

    def score(self, constants):
        """Return the Scores of all rows under a mixture: their log-likelihood and weight."""
        return engine.Scores(*self._passed(self._scoring, add_pairs, constants))

    @property
    def _accumulating(self):
        """What accumulates a partition."""
        return _accumulate

    @property
    def _scoring(self):
        """What scores a partition."""
        return _score

    def together(self, asked):
        """Return what several calls of `accumulate` and `score` return, of one task each partition."""
        steps = {"accumulate": self._accumulating, "score": self._scoring}
        many = [(steps[name], (constants, None) if name == "accumulate" else (constants,)) for name, constants in asked]
        found = self._passed(_together, _add_each, many)
        return [engine.Scores(*each) if isinstance(each, tuple) else each for each in found]

    def sample(self, n_rows, rng):
        """Return a reservoir sample of the rows: see `Reservoir`."""
        return self._reservoir(n_rows, rng).source()

    def _reservoir(self, n_rows, rng, centres=None):
        """Return a Reservoir by which all rows came, by weights, times distances from centres if there are any."""
        return self._passed(_reservoir, _merge, n_rows, int(rng.integers(2**63)), centres)

    def cluster(self, n_clusters, rng):
        """Return candidates for centres of k-means, weighted by the rows near to them: k-means||.

        Each round draws rows in proportion to their squared distances from the candidates so far, as many as twice the
        clusters.

        Parameters
        ----------
        n_clusters : int
        rng : numpy.random.Generator

        Returns
        -------
        ArraySource
        """
        candidates = self.sample(1, rng).array
        for _ in range(SEEDING_ROUNDS):
            drawn = self._reservoir(SEEDING_FACTOR * n_clusters, rng, candidates)
            candidates = np.concatenate([candidates, drawn.source().array])
        candidates = np.unique(candidates, axis=0)
        near = self._passed(_weigh, operator.add, candidates)
        return ArraySource(candidates, near)

    def sum_over(self, function, n_rows=1):
        """Return the sum of what a function makes of parts of the rows, where they lie: see `Source.sum_over`."""
        return self._passed(_sum_over, operator.add, function)

    def map_rows(self, function, width, dtype):
        """Return a Dask array of what a function makes of every row, not yet computed: see `Source.map_rows`."""
        import dask.array

        empty = np.empty((0,) if width is None else (0, width), dtype)
        name, given = f"fastgmm-map-{uuid.uuid4().hex}", f"fastgmm-given-{uuid.uuid4().hex}"
        graph = {**self._graph, given: Parcel(function)}  # once for all tasks
        places = [(name, number, *(0,) * (empty.ndim - 1)) for number in range(len(self._parts))]
        step = functools.partial(_map, empty)
        graph.update((place, (step, given, part)) for place, part in zip(places, self._parts, strict=True))
        chunks = tuple(self._lengths), *((n,) for n in empty.shape[1:])
        return dask.array.Array(graph, name, chunks, meta=empty)


def _parts_of(X):
    """Return the keys of the partitions of a collection, in order, and the graph that makes them."""
    parts, graph = np.ravel(X.to_delayed()).tolist(), {}
    for each in {id(part.dask): part.dask for part in parts}.values():
        graph.update(each)
    if "distributed" in sys.modules:  # workers hold what is persisted as long as somebody here holds its futures
        from dask.distributed import futures_of

        graph.update((future.key, future) for future in futures_of(X) if future.key not in graph)
    return [part.key for part in parts], graph


def _weights_of(sample_weight, X, n_partitions):
    """Return the weights of each partition: a Dask collection in the partitions of X, or a list of numbers or None."""
    if sample_weight is None:
        return [None] * n_partitions
    if np.isscalar(sample_weight):
        return [float(sample_weight)] * n_partitions
    if not is_dask(sample_weight):
        import dask.array

        if hasattr(X, "to_dask_array") or np.isnan(X.shape[0]):
            raise TypeError("sample_weight must be a Dask array or series where lengths of partitions are unknown")
        weights = numbers(sample_weight, "sample_weight")
        if weights.shape != X.shape[:1]:
            raise ValueError(f"sample_weight.shape == {weights.shape}, expected {X.shape[:1]}!")
        sample_weight = dask.array.from_array(weights, chunks=(X.chunks[0],))
    elif hasattr(sample_weight, "rechunk") and hasattr(X, "chunks") and not np.isnan(X.shape[0]):
        if sample_weight.shape != X.shape[:1]:
            raise ValueError(f"sample_weight.shape == {sample_weight.shape}, expected {X.shape[:1]}!")
        sample_weight = sample_weight.rechunk((X.chunks[0],))
    if sample_weight.npartitions != n_partitions:
        raise ValueError(f"sample_weight must have the {n_partitions} partitions of X, got {sample_weight.npartitions}")
    return sample_weight


# ------------------------------------------------------------------------------------- what runs where a partition is


class Parcel:
    """What is sent from process to process in one piece; for Dask one thing, in which it looks for no keys.

    Dask sends arrays as views of what came over the network, at any byte: the engine wants them aligned.
    """

    def __init__(self, content):
        self.content = content

    def __reduce__(self):
        return _unpacked, (pickle.dumps(self.content, protocol=pickle.HIGHEST_PROTOCOL),)


def _unpacked(sent):
    return Parcel(pickle.loads(sent))


def _on_partition(step, number, dtype, n_threads, part, weights, given):
    made = step(number, part, weights, dtype, n_threads, *given.content)
    return None if made is None else Parcel(made)


def _merged(merge, parcels):
    """What merging makes of the contents, in order; None if there is nothing."""
    made = [parcel.content for parcel in parcels if parcel is not None]
    return Parcel(functools.reduce(merge, made)) if made else None


def partition(number, part, weights, dtype):
    """Return checked Rows and Weights of a partition, None if it has no rows of positive weight."""
    name = f"partition {number} (counted from 0)"
    if not len(part):
        return None
    rows = Rows(part, name=name)
    if rows.dtype != dtype:
        raise ValueError(f"{name} has the dtype {rows.dtype}, expected {dtype}")
    if weights is None:
        return rows, check_sample_weight(None, rows.n_rows)
    weights = numbers(weights, f"sample_weight of {name}")
    if weights.ndim == 0:
        weights = np.full(rows.n_rows, weights)
    if weights.shape != (rows.n_rows,):
        raise ValueError(f"sample_weight of {name} has the shape {weights.shape}, expected {(rows.n_rows,)}")
    check_weight_values(weights, f"sample_weight of {name}")
    return (rows, check_sample_weight(weights, rows.n_rows)) if weights.any() else None


def _accumulate(number, part, weights, dtype, n_threads, constants, pivot):
    found = partition(number, part, weights, dtype)
    if found is None:
        return None
    rows, weights = found
    features_checked(number, rows, constants.n_features)
    return engine.accumulate(rows, constants, sample_weight=weights, pivot=pivot, n_threads=n_threads)


def features_checked(number, rows, n_features):
    """Raise ValueError if a partition has another number of columns."""
    if rows.n_features != n_features:
        raise ValueError(f"partition {number} (counted from 0) has {rows.n_features} columns, expected {n_features}")


def _accumulate_nearest(number, part, weights, dtype, n_threads, kind, centres):
    found = partition(number, part, weights, dtype)
    if found is None:
        return None
    source = ArraySource(*found, n_threads=n_threads)
    labels = source.nearest(centres, shift=centres.mean(axis=0), labels=True).labels
    options = {"sample_weight": found[1], "n_threads": n_threads}
    return engine.accumulate_given(found[0], kind, centres, labels=labels, shift=centres.mean(axis=0), **options)


def _score(number, part, weights, dtype, n_threads, constants):
    found = partition(number, part, weights, dtype)
    if found is None:
        return None
    features_checked(number, found[0], constants.n_features)
    scores = engine.score(found[0], constants, sample_weight=found[1], n_threads=n_threads)
    return scores.log_likelihood, scores.total_weight


def _together(number, part, weights, dtype, n_threads, many):
    made = [step(number, part, weights, dtype, n_threads, *args) for step, args in many]
    return None if made[0] is None else made


def _sum_over(number, part, weights, dtype, n_threads, function):
    found = partition(number, part, weights, dtype)
    if found is None:
        return None
    source = ArraySource(*found, n_threads=n_threads)
    return source.sum_over(function)


def _reservoir(number, part, weights, dtype, n_threads, n_rows, seed, centres):
    """Rows drawn in proportion to their weights, times their squared distances from centres if there are any."""
    found = partition(number, part, weights, dtype)
    if found is None:
        return None
    source = ArraySource(*found, n_threads=n_threads)
    rows, weights = source.on_kept_rows(found[0].array), source.weights()
    reservoir = Reservoir(n_rows, np.random.default_rng([seed, number]))
    if centres is None:
        reservoir.add(rows, weights)
        return reservoir
    distances = source.nearest(centres, shift=centres.mean(axis=0), distances2=True).distances2
    mass = source.on_kept_rows(distances) * (1.0 if weights is None else weights)
    away = mass > 0
    if not away.any():
        return None
    reservoir.add(rows[away], mass[away])
    return reservoir


def _weigh(number, part, weights, dtype, n_threads, centres):
    """Weight of the rows that are nearest to each centre (K,)."""
    found = partition(number, part, weights, dtype)
    if found is None:
        return None
    source = ArraySource(*found, n_threads=n_threads)
    return source.nearest(centres, shift=centres.mean(axis=0), sums=True).n


def _map(empty, given, rows):
    """What a function makes of rows; what is empty of none."""
    return given.content(rows) if len(rows) else empty


# ----------------------------------------------------------------------------------------------------- the additions


def add_pairs(one, other):
    """Return the sums of two pairs."""
    return one[0] + other[0], one[1] + other[1]


def _add_each(one, other):
    return [(add_pairs if isinstance(a, tuple) else operator.add)(a, b) for a, b in zip(one, other, strict=True)]


def _merge(one, other):
    both = copy.copy(one)  # what a task has returned may be wanted again
    both.merge(other)
    return both
