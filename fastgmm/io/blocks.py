"""Tables that are read block by block, as often as they are asked for, and never held whole.

`open_blocks` looks at what it is given once, says the names and the type of the columns, and then each call of `read`
goes through the rows from the first to the last.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from fastgmm._checks import ONE_PASS, as_array

from ._arrays import NPY_MAGIC, PARQUET_MAGIC, check_text, import_parquet, is_numeric, read_npy
from ._columns import TableError, choose
from ._text import TextReader

__all__ = [
    "WEIGHTS_THERE",
    "Block",
    "Blocks",
    "chosen_columns",
    "first_batch",
    "from_arrow",
    "is_arrow",
    "of_batches",
    "open_blocks",
    "refuse_given",
]

BATCH_BYTES = 1 << 20  # of rows that are decoded at a time
DECODER_BYTES = 24 << 20  # beside the row groups of a Parquet file

WEIGHTS_THERE = "weights stand beside the rows, in a column, BatchSource(X, weights='w'), or in batches (rows, weights)"


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
    """

    values: np.ndarray
    weights: Any
    name: str
    first: int


class Blocks(NamedTuple):
    """A table that is read block by block.

    Attributes
    ----------
    read : callable
        ``read(n_rows)`` returns an iterator over all rows, in `Block` of at most n_rows rows, or of the sizes in which
        they come.
    dtype : numpy.dtype
        float32 if the values are, else float64.
    names : list of str or None
        Names of the columns; of files without names x1, x2, ...; None of arrays and batches without.
    block_bytes : int
        Memory that reading takes beside the blocks: what is not cut by `read` but comes as a whole.
    n_columns : int
    weighted : bool
        Whether the rows are known to have weights.
    named : bool
        Whether the names stand in what is read.
    """

    read: Callable[[int], Iterable[Block]]
    dtype: np.dtype
    names: list | None
    n_columns: int
    block_bytes: int = 0
    weighted: bool = False
    named: bool = True


def open_blocks(X, *, columns=None, weights=None, sample_weight=None, dtype=None, if_named=None, gaps=False):
    """Return what X holds as `Blocks`.

    Parameters
    ----------
    X : path, array, pyarrow data set or table, iterable of batches, function that returns one, or Blocks
        Paths are those of CSV, NPY and Parquet files, and of folders of Parquet files. A batch is an array, a data
        frame or an Arrow record batch, or a tuple of one and its weights.
    columns : sequence of str, optional
        Names of the columns to read, of files and Arrow data.
    weights : str, optional
        Name of the column of weights, of files and Arrow data.
    sample_weight : (n_rows,) array, optional
        Weights of the rows of an array or NPY file.
    dtype : numpy dtype, optional
        Of the values; default: float32 where the data are, else float64.
    if_named : sequence of str, optional
        What `columns` defaults to where the data have names.
    gaps : bool, default=False
        Whether values of files and Arrow data may be missing: they are NaN then. Weights may not.

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
    chosen = columns, weights, None if dtype is None else np.dtype(dtype), if_named, gaps
    if isinstance(X, str | os.PathLike):
        return _open_path(os.fspath(X), *chosen, sample_weight)
    if isinstance(X, np.ndarray):
        refuse_given("an array", "rows have no names", columns=columns, weights=weights)
        return _of_array(X, sample_weight)
    refuse_given("no array or NPY file", WEIGHTS_THERE, sample_weight=sample_weight)
    if is_arrow(X):
        return _of_arrow(_as_dataset(X), "X", *chosen)
    if callable(X) or isinstance(X, Iterable):
        refuse_given("batches", "they are taken whole", columns=columns, weights=weights)
    if callable(X):
        return of_batches(X, gaps)
    if isinstance(X, Iterable):
        if iter(X) is X:
            raise TypeError(ONE_PASS.format(what="X"))
        return of_batches(lambda: X, gaps)
    raise TypeError(f"X must be a path, an array, Arrow data, batches or a function that returns them, got {type(X)}")


def refuse_given(what, why, **given):
    """Raise ValueError if something is given that goes with other data."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} must be None where X is {what}: {why}")


def is_arrow(X):
    """Whether X is Arrow data that `open_blocks` reads by name of columns."""
    return type(X).__module__.partition(".")[0] == "pyarrow"


def _open_path(path, columns, weights, dtype, if_named, gaps, sample_weight):
    """Blocks of a file, or of a folder of Parquet files."""
    if os.path.isdir(path):
        refuse_given(path, WEIGHTS_THERE, sample_weight=sample_weight)
        return _of_arrow(_dataset(path), path, columns, weights, dtype, if_named, gaps)
    with open(path, "rb") as file:
        magic = file.read(8)
    if not magic.startswith(NPY_MAGIC):
        refuse_given(path, WEIGHTS_THERE, sample_weight=sample_weight)
    if magic.startswith(PARQUET_MAGIC):
        return _of_arrow(_dataset(path), path, columns, weights, dtype, if_named, gaps)
    if magic.startswith(NPY_MAGIC):
        table, names, _ = read_npy(path, None, None, None)
        chosen, weight = choose(names, columns, weights, path)
        names = [names[j] for j in chosen]
        return _of_array(table, sample_weight, path, (chosen, weight), dtype)._replace(names=names, named=False)
    check_text(magic, path)
    return _of_text(path, columns, weights, dtype, if_named, gaps)


def compute_dtype(dtype):
    """Return the type that values are computed in."""
    return np.dtype(np.float32 if dtype == np.float32 else np.float64)


def _of_array(array, sample_weight, name="X", choice=None, dtype=None):
    """Blocks of an array. What is mapped from a file, row by row, is read from it, so that no pages stay mapped."""
    if array.ndim != 2:
        raise ValueError(f"Expected 2D array, got {array.ndim}D array instead: {name} has the shape {array.shape}.")
    given = None if sample_weight is None else as_array(sample_weight, "sample_weight")
    if given is not None and given.shape != array.shape[:1]:
        raise ValueError(f"sample_weight.shape == {given.shape}, expected {array.shape[:1]}!")
    columns, weight = (None, None) if choice is None else choice
    at = _place_in_file(array)
    dtype = array.dtype if dtype is None else dtype

    def read(n_rows):
        for first in range(0, len(array), n_rows):
            last = min(len(array), first + n_rows)
            rows = array[first:last] if at is None else _read_rows(*at, array, first, last)
            values = rows if columns in (None, list(range(rows.shape[1]))) else rows[:, columns]
            weights = given[first:last] if given is not None else None if weight is None else rows[:, weight]
            with np.errstate(over="ignore"):
                yield Block(values.astype(dtype, copy=False), weights, name, first)

    n_columns = array.shape[1] if columns is None else len(columns)
    weighted = given is not None or weight is not None
    return Blocks(read, compute_dtype(dtype), None, n_columns, weighted=weighted, named=False)


def _place_in_file(array):
    """Return file name and offset of a memory-mapped array in C order, None for others."""
    whole = array
    while isinstance(whole.base, np.memmap):
        whole = whole.base
    if not isinstance(whole, np.memmap) or whole.filename is None or whole.mode == "c":
        return None
    if not array.flags.c_contiguous:
        return None
    start = whole.offset + array.ctypes.data - whole.ctypes.data
    return whole.filename, start


def _read_rows(filename, offset, like, first, last):
    """Rows first .. last of an array in a file."""
    rows = np.empty((last - first, like.shape[1]), dtype=like.dtype)
    left = memoryview(rows).cast("B")
    with open(filename, "rb", buffering=0) as file:
        file.seek(offset + first * like.shape[1] * like.itemsize)
        while left:
            n = file.readinto(left)
            if not n:
                raise TableError(f"{filename} ends before row {last} of {len(like)}: it was cut short")
            left = left[n:]
    return rows


def _dataset(path):
    """The Parquet files at a path as a data set."""
    pyarrow, _ = import_parquet()
    from pyarrow.dataset import dataset

    try:
        return dataset(path, format="parquet")
    except pyarrow.ArrowException as error:
        raise TableError(f"{path} is not a readable Parquet file: {error}") from error


def _as_dataset(X):
    """What is given as Arrow data as a data set."""
    import_parquet()
    import pyarrow.dataset
    from pyarrow import parquet

    if isinstance(X, pyarrow.RecordBatchReader):
        raise TypeError(ONE_PASS.format(what="A RecordBatchReader"))
    if isinstance(X, pyarrow.Table | pyarrow.RecordBatch):
        return pyarrow.dataset.dataset(X)
    if isinstance(X, parquet.ParquetFile):
        raise TypeError("X is an open ParquetFile, which is read once: give its path, or a pyarrow.dataset of it")
    if isinstance(X, pyarrow.dataset.Dataset):
        return X
    raise TypeError(f"X must be a path, an array, Arrow data, batches or a function that returns them, got {type(X)}")


def _of_arrow(dataset, path, columns, weights, dtype, if_named, gaps):
    """Blocks of an Arrow data set, of which only the chosen columns are decoded."""
    import pyarrow
    import pyarrow.dataset

    wanted, weight, single = chosen_columns(dataset.schema, if_named if columns is None else columns, weights, path)
    dtype = dtype or np.dtype(np.float32 if single else np.float64)
    read_columns = wanted if weight is None else [*wanted, weight]

    def read(n_rows):
        first = 0
        try:
            for batch in _record_batches(dataset, read_columns, n_rows):
                if batch.num_rows:
                    values = from_arrow(batch, wanted, path, first, dtype, gaps)
                    given = None if weight is None else from_arrow(batch, [weight], path, first, float)[:, 0]
                    first += batch.num_rows
                    yield Block(values, given, path, first - batch.num_rows)
        except (pyarrow.ArrowException, OSError) as error:
            raise TableError(f"{path} is not a readable Parquet file: {error}") from error

    return Blocks(read, dtype, wanted, len(wanted), _decoder_bytes(dataset, set(read_columns)), weight is not None)


def chosen_columns(schema, columns, weights, path):
    """Return the names of the columns to read of Arrow data, that of the weights or None, and if all are float32.

    Raises
    ------
    TableError
        If a column is unknown, or not of numbers.
    """
    import pyarrow

    names = schema.names
    chosen, weight = choose(names, columns, weights, path)
    for j in chosen if weight is None else [*chosen, weight]:
        if not is_numeric(pyarrow, schema.types[j]):
            raise TableError(f"{path}, column {names[j]!r}: expected numbers, got {schema.types[j]}")
    single = all(pyarrow.types.is_float32(schema.types[j]) for j in chosen)
    return [names[j] for j in chosen], None if weight is None else names[weight], single


def _is_parquet(dataset):
    return getattr(getattr(dataset, "format", None), "default_extname", "") == "parquet"


def _record_batches(dataset, columns, n_rows):
    """Record batches of at most n_rows rows; of Parquet files few at a time, decoded as they are needed."""
    if not _is_parquet(dataset):
        yield from dataset.to_batches(columns=columns, batch_size=n_rows, use_threads=False)
        return
    from pyarrow.parquet import ParquetFile

    n_rows = min(n_rows, max(1, BATCH_BYTES // (8 * len(columns))))
    for fragment in dataset.get_fragments():
        with dataset.filesystem.open_input_file(fragment.path) as file:
            parts = ParquetFile(file, buffer_size=1 << 16, pre_buffer=False)
            yield from parts.iter_batches(batch_size=n_rows, columns=columns, use_threads=False)


def _decoder_bytes(dataset, columns):
    """Return the bytes that decoding takes: two row groups at most, as measured, with large pages and dictionaries."""
    if not _is_parquet(dataset):
        return 0
    largest = 0
    for fragment in dataset.get_fragments():
        for i in range(fragment.metadata.num_row_groups):
            group = fragment.metadata.row_group(i)
            parts = (group.column(j) for j in range(group.num_columns))
            largest = max(
                largest, sum(part.total_uncompressed_size for part in parts if part.path_in_schema in columns)
            )
    return 2 * largest + DECODER_BYTES


def from_arrow(batch, names, path, first=0, dtype=None, gaps=False):
    """Return columns of a record batch or table as an array (n, D), with NaN for nulls if gaps may be."""
    columns = [batch.column(batch.schema.names.index(name)) for name in names]
    for name, column in zip(names, columns, strict=True):
        if column.null_count and not gaps:
            row = first + column.is_null().to_numpy(zero_copy_only=False).argmax() + 1
            raise TableError(f"{path}, row {row}, column {name!r}: the value is missing; fill in or remove such rows")
    arrays = [np.asarray(column.to_numpy(zero_copy_only=False)) for column in columns]
    if dtype is None:
        dtype = np.float32 if all(array.dtype == np.float32 for array in arrays) else np.float64
    values = np.empty((batch.num_rows, len(names)), dtype=dtype)
    with np.errstate(over="ignore"):
        for j, array in enumerate(arrays):
            values[:, j] = array
    return values


def of_batches(open_batches, gaps, first=None):
    """Return Blocks of what iterates over batches, anew each time; the first is taken from it if it is not given."""
    first = first_batch(open_batches) if first is None else first
    one = _as_batch(first, 0, gaps)
    frame = first[0] if isinstance(first, tuple) else first
    names = frame.schema.names if is_arrow(frame) else getattr(frame, "columns", None)

    def read(n_rows):
        for number, batch in enumerate(open_batches()):
            yield _as_batch(batch, number, gaps)

    values = one.values
    if values.ndim != 2:
        raise ValueError(f"{one.name}: expected a 2D array of rows, got the shape {values.shape}")
    names = None if names is None else list(names)
    return Blocks(read, compute_dtype(values.dtype), names, values.shape[1], values.nbytes)


def first_batch(open_batches):
    """Return the first batch, ValueError if there is none."""
    batches = open_batches()
    if not isinstance(batches, Iterable):
        raise TypeError(f"the function must return an iterable of batches, got {type(batches)}")
    first = next(iter(batches), None)
    if first is None:
        raise ValueError("there are no batches: at least two rows are needed")
    return first


def _as_batch(batch, number, gaps):
    """One of the user's batches as a Block."""
    name = f"batch {number} (counted from 0)"
    weights = None
    if isinstance(batch, tuple):
        if len(batch) != 2:
            raise TypeError(f"{name} must be an array, or a tuple of it and weights, got a tuple of {len(batch)}")
        batch, weights = batch
    arrow = is_arrow(batch)
    values = from_arrow(batch, batch.schema.names, name, gaps=gaps) if arrow else as_array(batch, name)
    return Block(values, weights, name, 0)


def _of_text(path, columns, weights, dtype, if_named, gaps):
    """Blocks of a CSV file, which is read anew each time."""
    dtype = np.dtype(np.float64) if dtype is None else dtype
    with open(path, "rb") as file:
        reader = TextReader(file, path, columns, weights, dtype, if_named, gaps)

    def read(n_rows):
        first = 0
        with open(path, "rb") as file:
            reader = TextReader(file, path, columns, weights, dtype, if_named, gaps)
            for values, given in reader.blocks(n_rows):
                yield Block(values, given, path, first)
                first += len(values)

    weighted = reader.weight is not None
    return Blocks(read, compute_dtype(dtype), reader.names, len(reader.names), weighted=weighted, named=reader.named)
