"""Arrow data and Parquet files, record batch by record batch."""

import contextlib
import os

import numpy as np

from fastgmm._checks import ONE_PASS

from ._arrays import import_parquet, is_numeric
from ._columns import A_GAP, PIECE_BYTES, TableError, as_labels, choose

__all__ = [
    "as_dataset",
    "beside_from_arrow",
    "chosen_columns",
    "decoder_bytes",
    "from_arrow",
    "is_arrow",
    "parquet_dataset",
    "record_batches",
]

DECODER_BYTES = 24 << 20  # beside the row groups of a Parquet file
FILES = {"parquet": "Parquet file", "ipc": "Arrow file"}
"""Formats that are read without reading ahead, and what messages call them."""


def is_arrow(X):
    """Whether X is Arrow data that `open_blocks` reads by name of columns."""
    return type(X).__module__.partition(".")[0] == "pyarrow"


def parquet_dataset(path):
    """The Parquet files at a path as a data set."""
    pyarrow, _ = import_parquet()
    from pyarrow.dataset import dataset

    folder = os.path.isdir(path)
    try:
        found = dataset(path, format="parquet")
    except pyarrow.ArrowException as error:
        kind = "folder of Parquet files" if folder else "Parquet file"
        raise TableError(f"{path} is not a readable {kind}: {error}") from error
    if not found.files:
        raise TableError(f"{path} is a folder without Parquet files")
    return found


def as_dataset(X):
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


def chosen_columns(schema, columns, weights, labels, path):
    """Return names of the columns to read of Arrow data, of weights, of labels, or None, and if all data are float32.

    Raises
    ------
    TableError
        If a column is unknown, or not of numbers.
    """
    import pyarrow

    names = schema.names
    chosen, *beside = choose(names, columns, weights, path, labels)
    for j in (*chosen, *(place for place in beside if place is not None)):
        if not is_numeric(pyarrow, schema.types[j]):
            raise TableError(f"{path}, column {names[j]!r}: expected numbers, got {schema.types[j]}")
    single = all(pyarrow.types.is_float32(schema.types[j]) for j in chosen)
    return [names[j] for j in chosen], *(None if place is None else names[place] for place in beside), single


def _format(dataset):
    """Return the format of the files of a data set: "parquet", "ipc", or another; "" where there are no files."""
    name = getattr(getattr(dataset, "format", None), "default_extname", "")
    return "ipc" if name in ("ipc", "arrow", "feather") else name


def record_batches(dataset, columns, n_rows, path, check):
    """Record batches of at most n_rows rows and about a megabyte; of Parquet and Arrow files none is read ahead.

    Parameters
    ----------
    dataset : pyarrow.dataset.Dataset
    columns : list of str
    n_rows : int
    path : str
        What messages call the data; files of a folder by their own names.
    check : callable
        Is given the schema and the name of each file.
    """
    n_rows, kind = min(n_rows, max(1, PIECE_BYTES // (8 * len(columns)))), _format(dataset)
    if kind not in FILES:
        ahead = {"batch_readahead": 0, "fragment_readahead": 0}
        with _readable(path, "data set"):
            yield from dataset.to_batches(columns=columns, batch_size=n_rows, use_threads=False, **ahead)
        return
    from pyarrow import ipc
    from pyarrow.parquet import ParquetFile

    for fragment, name in _files(dataset, path):
        with _readable(name, FILES[kind]), dataset.filesystem.open_input_file(fragment.path) as file:
            if kind == "parquet":
                parts = ParquetFile(file, buffer_size=1 << 16, pre_buffer=False)
                check(parts.schema_arrow, name)
                yield from parts.iter_batches(batch_size=n_rows, columns=columns, use_threads=False)
                continue
            parts = ipc.open_file(file)
            check(parts.schema, name)
            for i in range(parts.num_record_batches):
                batch = parts.get_batch(i).select(columns)
                yield from (batch.slice(first, n_rows) for first in range(0, batch.num_rows, n_rows))
                del batch


def _files(dataset, path):
    """Yield the files of a data set, each with its name in messages: of a path to a single one that path."""
    for fragment in dataset.get_fragments():
        yield fragment, path if os.path.isfile(path) else fragment.path


@contextlib.contextmanager
def _readable(name, kind):
    """Errors of Arrow name the file."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        raise TableError(f"{name} is not a readable {kind}: {error}") from error


def decoder_bytes(dataset, columns, path):
    """Return the bytes that decoding takes.

    Of Parquet files two row groups at most, as measured, with large pages and dictionaries; of Arrow files two record
    batches, as large as the first.
    """
    kind, largest = _format(dataset), 0
    if kind not in FILES:
        return 0
    for fragment, name in _files(dataset, path):
        with _readable(name, FILES[kind]):
            if kind == "ipc":
                with dataset.filesystem.open_input_file(fragment.path) as file:
                    largest = max(largest, _first_bytes(file))
                continue
            metadata = fragment.metadata
        for i in range(metadata.num_row_groups):
            group = metadata.row_group(i)
            parts = (group.column(j) for j in range(group.num_columns))
            largest = max(
                largest, sum(part.total_uncompressed_size for part in parts if part.path_in_schema in columns)
            )
    return 2 * largest + DECODER_BYTES


def _first_bytes(file):
    """Return the bytes of the first record batch of an open Arrow file."""
    from pyarrow import ipc

    parts = ipc.open_file(file)
    return parts.get_batch(0).nbytes if parts.num_record_batches else 0


def from_arrow(batch, names, path, first=0, dtype=None, gaps=False):
    """Return columns of a record batch or table as an array (n, D), with NaN for nulls if gaps may be."""
    columns = [batch.column(batch.schema.names.index(name)) for name in names]
    for name, column in zip(names, columns, strict=True):
        if column.null_count and not gaps:
            row = first + column.is_null().to_numpy(zero_copy_only=False).argmax() + 1
            raise TableError(f"{path}, row {row}, column {name!r}: {A_GAP.format('')}")
    arrays = [np.asarray(column.to_numpy(zero_copy_only=False)) for column in columns]
    if dtype is None:
        dtype = np.float32 if all(array.dtype == np.float32 for array in arrays) else np.float64
    values = np.empty((batch.num_rows, len(names)), dtype=dtype)
    with np.errstate(over="ignore"):
        for j, array in enumerate(arrays):
            values[:, j] = array
    return values


def beside_from_arrow(batch, weight, label, path, first=0):
    """Return the columns of weights and labels (n,) of a record batch, None without a name; nulls are not known."""
    weights = None if weight is None else from_arrow(batch, [weight], path, first, float)[:, 0]
    if label is None:
        return weights, None
    return weights, as_labels(from_arrow(batch, [label], path, first, float, gaps=True)[:, 0], path, label, first)
