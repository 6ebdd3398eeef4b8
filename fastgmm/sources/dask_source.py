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
from fastgmm._checks import as_array, check_label_type
from fastgmm.engine import KernelConstants
from fastgmm.engine.rows import numbers
from fastgmm.sources import dask_tasks as tasks
from fastgmm.sources.array import ArraySource
from fastgmm.sources.base import NO_ROWS, Source

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
    known_labels : dask array or series, or array-like of int, optional
        The component that each row is known to belong to, -1 where it is not known: see `ArraySource`. In the
        partitions of X, or as many as there are rows.
    n_threads : int, default=1
        Of each task; Dask runs as many tasks at a time as it has threads.

    Attributes
    ----------
    dtype : numpy.dtype
        The type that rows are computed in: float32 if they are float32, else float64.
    n_features : int
    n_rows : int
        Rows with positive weight; takes a pass if none was made.
    n_named, n_known : int
        Components that known labels name, and rows that they are of; takes a pass of its own.

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

    # What is left out, one after the other: `tasks.KNOWN`, or by the number of a partition a bit for each row that is
    # left until then, packed: which of them stay.
    _left_out = ()

    def __init__(self, X, sample_weight=None, *, known_labels=None, n_threads=None):
        if not is_dask(X) or getattr(X, "ndim", 0) != 2:
            raise TypeError(f"X must be a Dask array of two dimensions or a Dask data frame, got {type(X)}")
        self._n_threads = 1 if n_threads is None else n_threads
        self.column_names = None
        if hasattr(X, "to_dask_array"):
            self.column_names = list(X.columns)
            single = all(dtype == np.float32 for dtype in X.dtypes)  # some types of pandas are none of NumPy's
            self.dtype = np.dtype(np.float32 if single else np.float64)
            self.n_features, self._lengths = len(self.column_names), [np.nan] * X.npartitions
        else:
            X = X.rechunk({1: -1})
            self.dtype = np.dtype(np.float32 if X.dtype == np.float32 else np.float64)
            self.n_features, self._lengths = X.shape[1], X.chunks[0]
        self._parts, self._graph = _parts_of(X)
        self._weights = self._beside(_weights_of(sample_weight, X), "sample_weight")
        self._labels = self._beside(_labels_of(known_labels, X), "known_labels")
        self._is_labelled = known_labels is not None

    def _beside(self, values, name):
        """Return what goes with the rows, partition by partition: keys, which the graph makes too, or one for all."""
        if not is_dask(values):
            return [values] * len(self._parts)
        parts, graph = _parts_of(values)
        if len(parts) != len(self._parts):
            raise ValueError(f"{name} must have the {len(self._parts)} partitions of X, got {len(parts)}")
        self._graph = {**self._graph, **graph}
        return parts

    def _passed(self, step, merge, *shared):
        """Return what merging in a tree makes of step(partition, *shared) of every `Partition`, in order.

        The tasks are written down as Dask's graphs are, and not one by one as delayed calls, which would take longer
        than a pass over few rows.
        """
        from dask.delayed import Delayed

        run = uuid.uuid4().hex
        name, merged, graph = f"fastgmm-{step.__name__}-{run}", f"fastgmm-add-{run}", dict(self._graph)
        given = tasks.Parcel(shared)
        if len(pickle.dumps(given)) > SENT_BYTES:
            graph[f"fastgmm-given-{run}"], given = given, f"fastgmm-given-{run}"
        for number, columns in enumerate(zip(self._parts, self._weights, self._labels, strict=True)):
            left_out = [each if each is tasks.KNOWN else each.get(number) for each in self._left_out]
            how = {"dtype": self.dtype, "n_threads": self._n_threads, "left_out": left_out}
            graph[name, number] = functools.partial(tasks.on_partition, step, number, how), *columns, given
        layer, level = [(name, number) for number in range(len(self._parts))], 0
        while len(layer) > 1:
            groups, level = [layer[i : i + BRANCHES] for i in range(0, len(layer), BRANCHES)], level + 1
            layer = [(merged, level, number) for number in range(len(groups))]
            call = functools.partial(tasks.merged, merge)
            graph.update((key, (call, group)) for key, group in zip(layer, groups, strict=True))
        made = Delayed(layer[0], graph).compute()
        if made is None:
            raise ValueError(NO_ROWS)
        return made.content

    def accumulate(self, constants, *, pivot=None):
        """Return the Statistics of all rows under a mixture: see `fastgmm.accumulate`."""
        return self._accumulate(constants, pivot=pivot)

    def _accumulate(self, constants, *, pivot=None, labelled=True):
        return self._passed(self._accumulating, operator.add, constants, pivot, labelled)

    def accumulate_all(self, kind, point):
        """Return the Statistics of all rows as one component, about a point (D,): see `Source.accumulate_all`."""
        return self._accumulate(KernelConstants.points(kind, point[None], point, self.dtype), labelled=False)

    @property
    def n_named(self):
        """Number of components that known labels name, from 0 on."""
        return self._names()[0]

    @property
    def n_known(self):
        """Number of rows with positive weight whose component is known."""
        return self._names()[1]

    def _names(self):
        """Return how many components are named, and how many rows are known; in one pass, once."""
        if not self._is_labelled:
            return 0, 0
        if not hasattr(self, "_named"):
            self._named = self._passed(tasks.names, tasks.both_names)
        return self._named

    def unknown(self):
        """Return the source of the rows whose component is not known, None without such rows: see `Source.unknown`."""
        if not self.n_known:
            return self
        if self.n_known == self.n_rows:
            return None
        rest = self._without(tasks.KNOWN)
        rest._is_labelled = False
        return rest

    def only(self, fold_of_row, fold, *, inside):
        """Return the source of the rows of one fold, or of all others: see `Source.only`."""
        if not hasattr(self, "_counted"):
            self._counted = self._passed(tasks.count, operator.or_)
        first, staying = 0, {}
        for number, n_rows in sorted(self._counted.items()):
            mask = (fold_of_row[first : first + n_rows] == fold) == inside
            staying[number], first = np.packbits(mask), first + n_rows
        return self._without(staying)

    def _without(self, what):
        """Return a source of the same partitions that leaves more out, and knows nothing of the rows yet."""
        rest = copy.copy(self)
        rest._left_out = (*self._left_out, what)
        for found in ("_moments", "_scanned", "_named", "_counted"):
            vars(rest).pop(found, None)
        return rest

    def with_known(self, labels):
        """Return a Dask array of labels of all rows with those that are known in their places, not yet computed."""
        import dask.array

        if not self._is_labelled:
            return labels
        name, (parts, graph) = f"fastgmm-known-{uuid.uuid4().hex}", _parts_of(labels)
        graph = {**self._graph, **graph}
        for number, columns in enumerate(zip(parts, self._labels, self._weights, strict=True)):
            graph[name, number] = functools.partial(tasks.with_known, number), *columns
        return dask.array.Array(graph, name, labels.chunks, meta=np.empty(0, np.int64))

    def accumulate_nearest(self, kind, centres):
        """Return the Statistics of all rows, each given to the nearest of some centres (K, D), about these."""
        return self._passed(tasks.accumulate_nearest, operator.add, kind, centres)

    def score(self, constants):
        """Return the Scores of all rows under a mixture: their log-likelihood and weight."""
        return engine.Scores(*self._passed(self._scoring, tasks.add_pairs, constants))

    @property
    def _accumulating(self):
        """What accumulates a partition."""
        return tasks.accumulate

    @property
    def _scoring(self):
        """What scores a partition."""
        return tasks.score

    def together(self, asked):
        """Return what several calls of `accumulate` and `score` return, of one task each partition."""
        steps = {"accumulate": self._accumulating, "score": self._scoring}
        many = [(steps[name], (constants, None) if name == "accumulate" else (constants,)) for name, constants in asked]
        found = self._passed(tasks.together, tasks.add_each, many)
        return [engine.Scores(*each) if isinstance(each, tuple) else each for each in found]

    def sample(self, n_rows, rng):
        """Return a reservoir sample of the rows: see `Reservoir`."""
        return self._reservoir(n_rows, rng).source()

    def _reservoir(self, n_rows, rng, centres=None):
        """Return a Reservoir by which all rows came, by weights, times distances from centres if there are any."""
        return self._passed(tasks.reservoir, tasks.merge, n_rows, int(rng.integers(2**63)), centres)

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
        near = self._passed(tasks.weigh, operator.add, candidates)
        return ArraySource(candidates, near)

    def sum_over(self, function, n_rows=1):
        """Return the sum of what a function makes of parts of the rows, where they lie: see `Source.sum_over`."""
        return self._passed(tasks.sum_over, operator.add, function)

    def map_rows(self, function, width, dtype):
        """Return a Dask array of what a function makes of every row, not yet computed: see `Source.map_rows`."""
        import dask.array

        empty = np.empty((0,) if width is None else (0, width), dtype)
        name, given = f"fastgmm-map-{uuid.uuid4().hex}", f"fastgmm-given-{uuid.uuid4().hex}"
        graph = {**self._graph, given: tasks.Parcel(function)}  # once for all tasks
        places = [(name, number, *(0,) * (empty.ndim - 1)) for number in range(len(self._parts))]
        step = functools.partial(tasks.mapped, empty)
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


def _weights_of(sample_weight, X):
    """Return the weights of all rows: a Dask collection in the partitions of X, a number, or None."""
    if sample_weight is None or np.isscalar(sample_weight):
        return None if sample_weight is None else float(sample_weight)
    return _in_partitions(sample_weight, X, "sample_weight", numbers)


def _labels_of(known_labels, X):
    """Return the known labels of all rows as a Dask collection in the partitions of X, or None."""
    if known_labels is None:
        return None
    labels = _in_partitions(known_labels, X, "known_labels", as_array)
    check_label_type(labels.dtype)
    return labels


def _in_partitions(values, X, name, as_values):
    """Return what goes with all rows as a Dask collection in the partitions of X, where their lengths are known."""
    import dask.array

    if not is_dask(values):
        if hasattr(X, "to_dask_array") or np.isnan(X.shape[0]):
            raise TypeError(f"{name} must be a Dask array or series where lengths of partitions are unknown")
        values = as_values(values, name)
    elif values.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got {values.ndim}")
    elif not hasattr(values, "rechunk") or not hasattr(X, "chunks") or np.isnan(X.shape[0]):
        return values
    if values.shape != X.shape[:1]:
        raise ValueError(f"{name}.shape == {values.shape}, expected {X.shape[:1]}!")
    return values.rechunk((X.chunks[0],)) if is_dask(values) else dask.array.from_array(values, chunks=(X.chunks[0],))
