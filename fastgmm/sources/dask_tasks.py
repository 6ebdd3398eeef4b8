"""What is done where a partition of a Dask collection lies, and how what comes out is added up.

Everything here travels to the workers by its name.
"""

import copy
import functools
import operator
import pickle
from typing import NamedTuple

import numpy as np

from fastgmm import engine
from fastgmm.engine.rows import Rows, Weights, check_sample_weight, check_weight_values, numbers
from fastgmm.sources.array import ArraySource
from fastgmm.sources.chunks import known_of
from fastgmm.sources.reservoir import Reservoir

PARTITION = "partition {} (counted from 0)"
KNOWN = "known"  # leaves out the rows whose component is known


class Parcel:
    """What is sent from process to process in one piece; for Dask one thing, in which it looks for no keys.

    Dask sends arrays as views of what came over the network, at any byte: the engine wants them aligned.
    """

    def __init__(self, content):
        self.content = content

    def __reduce__(self):
        """Be one string of bytes on the way."""
        return _unpacked, (pickle.dumps(self.content, protocol=pickle.HIGHEST_PROTOCOL),)


def _unpacked(sent):
    return Parcel(pickle.loads(sent))


def on_partition(step, number, how, part, weights, labels, given):
    """Return what a step makes of a partition and of what is given, None of a partition without rows."""
    found = partition(number, part, weights, labels, **how)
    made = None if found is None else step(found, *given.content)
    return None if made is None else Parcel(made)


def merged(merge, parcels):
    """What merging makes of the contents, in order; None if there is nothing."""
    made = [parcel.content for parcel in parcels if parcel is not None]
    return Parcel(functools.reduce(merge, made)) if made else None


class Partition(NamedTuple):
    """What lies in one partition that has rows of positive weight.

    Attributes
    ----------
    number : int
    rows : Rows
    weights : Weights
    labels : (n,) int64 array or None
        Components of rows that are known, -1 for others.
    n_threads : int
    """

    number: int
    rows: Rows
    weights: Weights
    labels: np.ndarray | None
    n_threads: int

    @property
    def options(self):
        """Arguments of passes."""
        return {"sample_weight": self.weights, "n_threads": self.n_threads}

    def source(self):
        """Return its rows as a source, of which none is known."""
        return ArraySource(self.rows, self.weights, n_threads=self.n_threads)

    def kept(self):
        """Return rows, weights and labels of the rows with positive weight; weights and labels may be None."""
        source = self.source()
        labels = None if self.labels is None else source.on_kept_rows(self.labels)
        return source.on_kept_rows(self.rows.array), source.weights(), labels

    def check_features(self, n_features):
        """Raise ValueError if it has another number of columns."""
        if self.rows.n_features != n_features:
            name = PARTITION.format(self.number)
            raise ValueError(f"{name} has {self.rows.n_features} columns, expected {n_features}")


def partition(number, part, weights, labels, *, dtype, n_threads, left_out):
    """Return a checked Partition, None if it has no rows of positive weight.

    `left_out` says what is left out, one after the other: `KNOWN`, or a bit for each row that is left until then,
    packed, of which those with a zero go; None where there are no such rows.
    """
    name = PARTITION.format(number)
    if not len(part):
        return None
    rows = Rows(part, name=name)
    if rows.dtype != dtype:
        raise ValueError(f"{name} has the dtype {rows.dtype}, expected {dtype}")
    weights = _weights_of(weights, rows.n_rows, name)
    labels = known_of(labels, rows.n_rows, name, weights)
    for what in left_out:
        weights = np.ones(rows.n_rows) if weights is None else weights.copy()
        kept = np.flatnonzero(weights)
        if not len(kept):
            return None
        weights[kept[labels[kept] >= 0 if what is KNOWN else np.unpackbits(what, count=len(kept)) == 0]] = 0.0
        labels = None if what is KNOWN else labels
    if weights is not None and not weights.any():
        return None
    return Partition(number, rows, check_sample_weight(weights, rows.n_rows), labels, n_threads)


def _weights_of(weights, n_rows, name):
    """Return the weights (n_rows,) of a partition of a name after checks, or None."""
    if weights is None:
        return None
    weights = numbers(weights, f"sample_weight of {name}")
    if weights.ndim == 0:
        weights = np.full(n_rows, weights)
    if weights.shape != (n_rows,):
        raise ValueError(f"sample_weight of {name} has the shape {weights.shape}, expected {(n_rows,)}")
    check_weight_values(weights, f"sample_weight of {name}")
    return weights


def accumulate(part, constants, pivot, labelled=True):
    """Return the Statistics of a partition under a mixture, by its known labels or not."""
    part.check_features(constants.n_features)
    known = part.labels if labelled else None
    return engine.accumulate(part.rows, constants, pivot=pivot, known_labels=known, **part.options)


def accumulate_nearest(part, kind, centres):
    """Return the Statistics of a partition in which each row belongs to the nearest of some centres (K, D)."""
    shift = centres.mean(axis=0)
    labels = part.source().nearest(centres, shift=shift, labels=True).labels
    return engine.accumulate_given(part.rows, kind, centres, labels=labels, shift=shift, **part.options)


def score(part, constants):
    """Return the log-likelihood of a partition under a mixture, and its weight."""
    part.check_features(constants.n_features)
    scores = engine.score(part.rows, constants, known_labels=part.labels, **part.options)
    return scores.log_likelihood, scores.total_weight


def together(part, many):
    """Return what several steps make of a partition."""
    return [step(part, *args) for step, args in many]


def sum_over(part, function):
    """Return what a function makes of the rows and their weights: see `Source.sum_over`."""
    return part.source().sum_over(function)


def count(part):
    """Return the number of rows with positive weight by the number of the partition."""
    return {part.number: len(part.weights.indices(part.rows.n_rows))}


def names(part):
    """Return the number of components that labels name, and of rows with positive weight that they are of."""
    _, _, labels = part.kept()
    return int(labels.max()) + 1, int((labels >= 0).sum())


def reservoir(part, n_rows, seed, centres):
    """Return rows drawn in proportion to their weights, times their squared distances from centres if there are any."""
    rows, weights, labels = part.kept()
    reservoir = Reservoir(n_rows, np.random.default_rng([seed, part.number]))
    if centres is None:
        reservoir.add(rows, weights, labels)
        return reservoir
    source = part.source()
    distances = source.nearest(centres, shift=centres.mean(axis=0), distances2=True).distances2
    mass = source.on_kept_rows(distances) * (1.0 if weights is None else weights)
    away = mass > 0
    if not away.any():
        return None
    reservoir.add(rows[away], mass[away])
    return reservoir


def weigh(part, centres):
    """Return the weight of the rows that are nearest to each centre (K,)."""
    return part.source().nearest(centres, shift=centres.mean(axis=0), sums=True).n


def mapped(empty, given, rows):
    """Return what a function makes of rows; what is empty of none."""
    return given.content(rows) if len(rows) else empty


def with_known(number, labels, known, weights):
    """Return labels (n,) of a partition with those that are known in their places."""
    name, n_rows = PARTITION.format(number), len(labels)
    known = known_of(known, n_rows, name, _weights_of(weights, n_rows, name))
    return np.where(known >= 0, known, labels)


def add_pairs(one, other):
    """Return the sums of two pairs."""
    return one[0] + other[0], one[1] + other[1]


def both_names(one, other):
    """Return what `names` gives of two partitions together."""
    return max(one[0], other[0]), one[1] + other[1]


def add_each(one, other):
    """Return the sums of what `together` gives."""
    return [(add_pairs if isinstance(a, tuple) else operator.add)(a, b) for a, b in zip(one, other, strict=True)]


def merge(one, other):
    """Return two reservoirs as one."""
    both = copy.copy(one)  # what a task has returned may be wanted again
    both.merge(other)
    return both
