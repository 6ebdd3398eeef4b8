"""Tables that are read block by block, as often as they are asked for, and never held whole.

`open_blocks` looks at what it is given once, says the names and the type of the columns, and then each call of `read`
goes through the rows from the first to the last.
"""

import itertools
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from fastgmm._checks import ONE_PASS, as_array, check_labels

from ._arrays import NPY_MAGIC, PARQUET_MAGIC, check_text, read_npy
from ._arrow import (
    as_dataset,
    beside_from_arrow,
    chosen_columns,
    decoder_bytes,
    from_arrow,
    is_arrow,
    parquet_dataset,
    record_batches,
)
from ._columns import PIECE_BYTES, TableError, as_labels, choose
from ._mapped import cuts, reader, row_bytes
from ._text import TextReader

__all__ = [
    "LABELS_THERE",
    "PIECE_BYTES",
    "WEIGHTS_THERE",
    "Block",
    "Blocks",
    "cuts",
    "first_batch",
    "of_batches",
    "open_blocks",
    "refuse_beside",
    "refuse_given",
]

WEIGHTS_THERE = "weights stand beside the rows, in a column, BatchSource(X, weights='w'), or in batches (rows, weights)"
LABELS_THERE = (
    "labels stand beside the rows, in a column, BatchSource(X, labels='y'), or in batches (rows, weights or None, "
    "labels)"
)


class Block(NamedTuple):
    """Consecutive rows of a table.

    Attributes
    ----------
    values : (n, D) array
    weights : (n,) array-like or None
    name : str
        What error messages call the rows.
    first : int
        Number of the first row in what has that name.
    labels : (n,) array-like or None
        Components of rows that are known, -1 for others.
    """

    values: np.ndarray
    weights: Any
    name: str
    first: int
    labels: Any = None


class Blocks(NamedTuple):
    """A table that is read block by block.

    Attributes
    ----------
    read : callable
        ``read(n_rows)`` returns an iterator over all rows, in `Block` of n_rows rows where these are taken as they are,
        else of at most so many and about `PIECE_BYTES`, or of the sizes in which they come.
    dtype : numpy.dtype
        float32 if the values are, else float64.
    names : list of str or None
        Names of the columns; of files without names x1, x2, ...; None of arrays and batches without.
    block_bytes : int
        Memory that reading takes beside the blocks: what is not cut by `read` but comes as a whole.
    n_columns : int
    weighted, labelled : bool
        Whether the rows are known to have weights and labels.
    named : bool
        Whether the names stand in what is read.
    batch_copies : int
        How many batches of the user's take memory at a time; 0 where there are none, or these are there all the time.
    """

    read: Callable[[int], Iterable[Block]]
    dtype: np.dtype
    names: list | None
    n_columns: int
    block_bytes: int = 0
    weighted: bool = False
    labelled: bool = False
    named: bool = True
    batch_copies: int = 0


class _Columns(NamedTuple):
    """Which columns are read, and how: see `open_blocks`."""

    columns: Any
    weights: str | None
    labels: str | None
    dtype: np.dtype | None
    if_named: Any
    gaps: bool


def open_blocks(
    X,
    *,
    columns=None,
    weights=None,
    labels=None,
    sample_weight=None,
    known_labels=None,
    dtype=None,
    if_named=None,
    gaps=False,
):
    """Return what X holds as `Blocks`.

    Parameters
    ----------
    X : path, array, pyarrow data set or table, iterable of batches, function that returns one, or Blocks
        Paths are those of CSV, NPY and Parquet files, and of folders of Parquet files. A batch is an array, a data
        frame or an Arrow record batch, or a tuple of one and its weights, or of one, weights or None, and labels.
    columns : sequence of str, optional
        Names of the columns to read, of files and Arrow data.
    weights, labels : str, optional
        Names of the columns of weights and labels, of files and Arrow data.
    sample_weight, known_labels : (n_rows,) array, optional
        Weights and labels of the rows of an array or NPY file.
    dtype : numpy dtype, optional
        Of the values; default: float32 where the data are, else float64.
    if_named : sequence of str, optional
        What `columns` defaults to where the data have names.
    gaps : bool, default=False
        Whether values of files and Arrow data may be missing: they are NaN then. Weights may not, labels may always.

    Raises
    ------
    TypeError
        If X is none of these, or an iterator that can be consumed only once.
    TableError
        If a file is damaged, empty or no table, or a column is unknown or not of numbers.
    OSError
        If there is no such file.
    """
    if isinstance(X, Blocks):
        return X
    how = _Columns(columns, weights, labels, None if dtype is None else np.dtype(dtype), if_named, gaps)
    if isinstance(X, str | os.PathLike):
        return _open_path(os.fspath(X), how, sample_weight, known_labels)
    if isinstance(X, np.ndarray):
        refuse_given("an array", "rows have no names", columns=columns, weights=weights, labels=labels)
        return _of_array(X, sample_weight, known_labels)
    refuse_beside("no array or NPY file", sample_weight, known_labels)
    if is_arrow(X):
        return _of_arrow(as_dataset(X), "X", how)
    if hasattr(X, "columns") and hasattr(X, "shape"):
        raise TypeError("X is a data frame, which is one batch: give [X], or X itself to a fit")
    if callable(X) or isinstance(X, Iterable):
        refuse_given("batches", "they are taken whole", columns=columns, weights=weights, labels=labels)
    if callable(X):
        return of_batches(X, gaps)
    if isinstance(X, Iterable):
        if iter(X) is X:
            raise TypeError(ONE_PASS.format(what="X"))
        return of_batches(lambda: X, gaps, held=isinstance(X, list | tuple))
    raise TypeError(f"X must be a path, an array, Arrow data, batches or a function that returns them, got {type(X)}")


def refuse_given(what, why, **given):
    """Raise ValueError if something is given that goes with other data."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} must be None where X is {what}: {why}")


def refuse_beside(what, sample_weight, known_labels):
    """Raise ValueError if arrays are given where weights and labels stand among the rows."""
    refuse_given(what, WEIGHTS_THERE, sample_weight=sample_weight)
    refuse_given(what, LABELS_THERE, known_labels=known_labels)


def _open_path(path, how, sample_weight, known_labels):
    """Blocks of a file, or of a folder of Parquet files."""
    if os.path.isdir(path):
        refuse_beside(path, sample_weight, known_labels)
        return _of_arrow(parquet_dataset(path), path, how)
    if os.path.exists(path) and not os.path.isfile(path):
        raise TableError(f"{path} is no file but a pipe or a device, which is read once: a fit takes several passes")
    with open(path, "rb") as file:
        magic = file.read(8)
    if not magic.startswith(NPY_MAGIC):
        refuse_beside(path, sample_weight, known_labels)
    if magic.startswith(PARQUET_MAGIC):
        return _of_arrow(parquet_dataset(path), path, how)
    if magic.startswith(NPY_MAGIC):
        table, names, *_ = read_npy(path, None, None, None)
        places = choose(names, how.columns, how.weights, path, how.labels)
        names = [names[j] for j in places[0]]
        blocks = _of_array(table, sample_weight, known_labels, path, places, how)
        return blocks._replace(names=names, named=False)
    check_text(magic, path)
    return _of_text(path, how)


def compute_dtype(dtype):
    """Return the type that values are computed in."""
    return np.dtype(np.float32 if dtype == np.float32 else np.float64)


def _of_array(array, sample_weight, known_labels, name="X", places=(None, None, None), how=None):
    """Blocks of an array. What is mapped from a file, row by row, is read from it, so that no pages stay mapped."""
    if array.ndim != 2:
        raise ValueError(f"Expected 2D array, got {array.ndim}D array instead: {name} has the shape {array.shape}.")
    given = None if sample_weight is None else as_array(sample_weight, "sample_weight")
    if given is not None and given.shape != array.shape[:1]:
        raise ValueError(f"sample_weight.shape == {given.shape}, expected {array.shape[:1]}!")
    labels = None if known_labels is None else check_labels(known_labels, len(array))
    columns, weight, label = places
    read_array, read_weights, read_labels = (None if a is None else reader(a) for a in (array, given, labels))
    dtype = array.dtype if how is None or how.dtype is None else how.dtype
    row = row_bytes(array)
    as_they_are = columns is None or columns == list(range(array.shape[1]))
    as_they_are &= given is None and array.flags.c_contiguous and array.dtype == dtype == compute_dtype(dtype)

    def read(n_rows):
        piece = max(1, PIECE_BYTES // row) if row else n_rows
        for first, last in cuts(len(array), n_rows, piece, as_they_are):
            rows = read_array(first, last)
            values = rows if columns is None or columns == list(range(rows.shape[1])) else rows[:, columns]
            weights = read_weights(first, last) if given is not None else None if weight is None else rows[:, weight]
            known = read_labels(first, last) if labels is not None else None
            if label is not None:
                known = as_labels(rows[:, label], name, how.labels, first)
            with np.errstate(over="ignore"):  # not around the yield, which may be left from another thread
                values = values.astype(dtype, copy=False)
            block = Block(values, weights, name, first, known)
            del rows, values
            yield block
            del block

    n_columns = array.shape[1] if columns is None else len(columns)
    has = {"weighted": given is not None or weight is not None, "labelled": labels is not None or label is not None}
    return Blocks(read, compute_dtype(dtype), None, n_columns, **has, named=False)


def _of_arrow(dataset, path, how):
    """Blocks of an Arrow data set, of which only the chosen columns are decoded."""
    columns = how.if_named if how.columns is None else how.columns
    wanted, weight, label, single = chosen_columns(dataset.schema, columns, how.weights, how.labels, path)
    dtype = how.dtype or np.dtype(np.float32 if single else np.float64)
    read_columns = [*wanted, *(name for name in (weight, label) if name is not None)]

    def check(schema, name):
        if chosen_columns(schema, wanted, weight, label, name)[-1] != single and how.dtype is None:
            kinds = ("float64", "float32") if single else ("float32", "float64")
            raise TableError("{} has the dtype {}, but the files before it have {}".format(name, *kinds))

    def read(n_rows):
        first = 0
        for batch in record_batches(dataset, read_columns, n_rows, path, check):
            if batch.num_rows:
                values = from_arrow(batch, wanted, path, first, dtype, how.gaps)
                beside = beside_from_arrow(batch, weight, label, path, first)
                first += batch.num_rows
                yield Block(values, beside[0], path, first - batch.num_rows, beside[1])

    has = {"weighted": weight is not None, "labelled": label is not None}
    return Blocks(read, dtype, wanted, len(wanted), decoder_bytes(dataset, set(read_columns), path), **has)


def of_batches(open_batches, gaps, first=None, held=False):
    """Return Blocks of what iterates over batches, anew each time; the first is taken from it if it is not given.

    Where they are not held by the user they are made one after the other: one is there while the next is made, and
    those of data frames and of Arrow data are copied.
    """
    first = first_batch(open_batches) if first is None else first
    one = _as_batch(first, 0, gaps)
    frame, names = first[0] if isinstance(first, tuple) else first, _names_of(first)

    def read(n_rows):
        numbers = itertools.count()  # enumerate would keep each batch while the next is made
        for batch in open_batches():
            block = _as_batch(batch, next(numbers), gaps)
            if names is not None and _names_of(batch) not in (None, names):
                raise ValueError(f"{block.name} has the columns {_names_of(batch)}, but the first has {names}")
            del batch
            yield block
            del block

    values = one.values
    if values.ndim != 2:
        raise ValueError(f"{one.name}: expected a 2D array of rows, got the shape {values.shape}")
    labelled = one.labels is not None
    copies = 2 * (not held) + (not isinstance(frame, np.ndarray))
    how = {"labelled": labelled, "batch_copies": copies}
    return Blocks(read, compute_dtype(values.dtype), names, values.shape[1], copies * values.nbytes, **how)


def first_batch(open_batches):
    """Return the first batch, ValueError if there is none."""
    batches = open_batches()
    if not isinstance(batches, Iterable):
        raise TypeError(f"the function must return an iterable of batches, got {type(batches)}")
    first = next(iter(batches), None)
    if first is None:
        raise ValueError("there are no batches: at least two rows are needed")
    return first


def _names_of(batch):
    """Return the names of the columns of a batch in a list, None if it has none."""
    frame = batch[0] if isinstance(batch, tuple) else batch
    names = frame.schema.names if is_arrow(frame) else getattr(frame, "columns", None)
    return None if names is None else list(names)


def _as_batch(batch, number, gaps):
    """One of the user's batches as a Block."""
    name = f"batch {number} (counted from 0)"
    weights = labels = None
    if isinstance(batch, tuple):
        if len(batch) not in (2, 3):
            raise TypeError(
                f"{name} must be an array, or a tuple of it and weights, or of it, weights or None, and labels, got a "
                f"tuple of {len(batch)}"
            )
        batch, weights, labels = batch if len(batch) == 3 else (*batch, None)
    arrow = is_arrow(batch)
    values = from_arrow(batch, batch.schema.names, name, gaps=gaps) if arrow else as_array(batch, name)
    return Block(values, weights, name, 0, labels)


def _of_text(path, how):
    """Blocks of a CSV file, which is read anew each time."""
    dtype = np.dtype(np.float64) if how.dtype is None else how.dtype
    columns = how.columns, how.weights, dtype, how.if_named, how.gaps, how.labels
    with open(path, "rb") as file:
        reader = TextReader(file, path, *columns)

    def read(n_rows):
        first, n_rows = 0, min(n_rows, max(1, PIECE_BYTES // (8 * len(reader.names))))
        with open(path, "rb") as file:
            for values, weights, labels in TextReader(file, path, *columns).blocks(n_rows):
                yield Block(values, weights, path, first, labels)
                first += len(values)

    has = {"weighted": reader.weight is not None, "labelled": reader.label is not None}
    return Blocks(read, compute_dtype(dtype), reader.names, len(reader.names), **has, named=reader.named)
