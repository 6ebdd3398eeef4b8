"""Tables of rows, from and to files: CSV and its relatives, NPY, Parquet."""

import contextlib
import csv
import io
import os
import sys

import numpy as np

from ._arrays import NPY_MAGIC, PARQUET_MAGIC, check_text, import_parquet, read_npy, read_parquet
from ._columns import Table, TableError, check_weights
from ._text import read_text
from .files import check_writable, replacing

__all__ = ["Table", "TableError", "check_table", "read_table", "write_csv", "write_table", "writing_table"]

_ROWS_AT_ONCE = 1 << 14  # rows turned into text at a time, to bound the memory


def read_table(path, columns=None, weights=None, dtype=None, *, labels=None, if_named=None, gaps=False):
    r"""Read rows of numbers from a CSV, NPY or Parquet file; which of them it is, its first bytes tell.

    Text may be cut by commas, semicolons, tabs or blanks; its first row is a header unless all of it is numbers. NPY
    files are memory-mapped. Parquet needs pyarrow.

    Parameters
    ----------
    path : str or os.PathLike
        The file; "-" is text on standard input.
    columns : sequence of str, optional
        Names of the columns to read, in this order. Default: all that have a name, except `weights` and `labels`.
        Columns of files without names are called x1, x2, ...
    weights : str, optional
        Name of a column that holds the weight of each row.
    dtype : {"float64", "float32"} or numpy dtype, optional
        Of the values. Default: float64 for text, for others as in the file.
    labels : str, optional
        Name of a column that holds the component of each row where it is known, from 0 on, else -1 or nothing.
    if_named : sequence of str, optional
        What `columns` defaults to where the file has names.
    gaps : bool, default=False
        Whether values may be missing, in CSV empty, NA, N/A, NaN, null or none: they are NaN then. Weights may not,
        labels may always.

    Returns
    -------
    table : Table
        With the attributes `values` (N, D), `names`, `weights` (N,) or None, `path`, `named`, `labels` (N,) or None.

    Raises
    ------
    TableError
        If the file is empty or no table, a column is unknown, a field is missing, not a number or not finite, or lines
        have different numbers of fields. The message names file, line and column.
    OSError
        If there is no such file or it cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "small.csv")
    >>> with open(path, "w") as file:
    ...     _ = file.write("width,height\n1,2\n3,4\n")
    >>> table = read_table(path)
    >>> table.names
    ['width', 'height']
    >>> table.values
    array([[1., 2.],
           [3., 4.]])
    """
    path = os.fspath(path)
    dtype = None if dtype is None else np.dtype(dtype)
    named = True
    with _open(path) as file:
        magic = file.read(8)
        file.seek(0)
        called = "standard input" if path == "-" else path
        if magic.startswith((NPY_MAGIC, PARQUET_MAGIC)) and isinstance(file, io.BytesIO):
            raise TableError(f"{called} holds an NPY or Parquet file, which is read in place: give the file, or CSV")
        if magic.startswith(NPY_MAGIC):
            values, names, given, known = read_npy(path, columns, weights, dtype, labels)
            named = False
        elif magic.startswith(PARQUET_MAGIC):
            columns = if_named if columns is None else columns
            values, names, given, known = read_parquet(path, columns, weights, dtype, gaps, labels)
        else:
            check_text(magic, called)
            dtype = dtype or np.dtype(np.float64)
            how = columns, weights, dtype, if_named, gaps, labels
            values, names, given, known, named = read_text(file, called, *how)
    if given is not None:
        check_weights(given, path, weights)
    return Table(values, names, given, path, named, known)


def check_table(path):
    """Raise the error that `write_table` would meet at `path`, without touching it.

    Parameters
    ----------
    path : str or os.PathLike
        The file to be written later.

    Raises
    ------
    TableError
        If it is to be a Parquet file and pyarrow is missing.
    OSError
        If it cannot be written.

    Examples
    --------
    >>> check_table(os.devnull)
    """
    check_writable(path)
    if _suffix(path) == ".parquet":
        import_parquet()


def write_table(path, columns):
    r"""Write columns of equal length to `path`, whole or not at all.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write: NPY (without the names) if it ends in .npy, Parquet if it ends in .parquet, else CSV.
    columns : dict of str to ndarray of shape (N,)
        The columns by name, in order. Floats are written with as many digits as give the same number back.

    Raises
    ------
    TableError
        If a Parquet file is asked for and pyarrow is missing.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "labels.csv")
    >>> write_table(path, {"label": np.array([0, 1])})
    >>> path.read_text()
    'label\n0\n1\n'
    """
    with writing_table(path) as write:
        write(columns)


@contextlib.contextmanager
def writing_table(path):
    r"""Write a table part by part, whole or not at all: see `write_table`.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write.

    Yields
    ------
    write : callable
        Takes columns, as `write_table`, and writes them below those before.

    Raises
    ------
    TableError
        If a Parquet file is asked for and pyarrow is missing.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "labels.csv")
    >>> with writing_table(path) as write:
    ...     write({"label": np.array([0, 1])})
    ...     write({"label": np.array([2])})
    >>> path.read_text()
    'label\n0\n1\n2\n'
    """
    form = {".npy": _NpyWriter, ".parquet": _ParquetWriter}.get(_suffix(path), _CsvWriter)
    if form is _ParquetWriter:
        import_parquet()
    with replacing(path) as file:
        writer = form(file)
        try:
            yield writer.write
        finally:  # after an error too: the file, which is then removed, is left in order
            writer.finish()


class _NpyWriter:
    """Columns side by side; the header, which says how many rows there are, is written at the end where it can be."""

    def __init__(self, file):
        self._file, self._n_rows, self._parts = file, 0, []
        self._whole = not file.seekable()

    def write(self, columns):
        part = np.column_stack(list(columns.values()))
        if self._whole:
            self._parts.append(part)
            return
        if not self._n_rows:
            self._dtype, self._n_columns = part.dtype, part.shape[1]
            self._write_header()
        self._n_rows += len(part)
        self._file.write(part.astype(self._dtype, copy=False).data)

    def finish(self):
        if self._whole:
            np.save(self._file, np.concatenate(self._parts), allow_pickle=False)
        elif self._n_rows:
            self._file.seek(0)
            self._write_header()  # NumPy leaves room in it for more rows

    def _write_header(self):
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(self._file, {**header, "shape": (self._n_rows, self._n_columns)})


class _ParquetWriter:
    """A row group for each part."""

    def __init__(self, file):
        self._file, self._writer = file, None

    def write(self, columns):
        pyarrow, parquet = import_parquet()
        table = pyarrow.table(dict(columns))
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._file, table.schema)
        self._writer.write_table(table)

    def finish(self):
        if self._writer is not None:
            self._writer.close()


class _CsvWriter:
    """A header, and lines."""

    def __init__(self, file):
        self._text, self._header = io.TextIOWrapper(file, encoding="utf-8", newline=""), True

    def write(self, columns):
        write_csv(self._text, columns, header=self._header)
        self._header = False

    def finish(self):
        self._text.flush()
        self._text.detach()  # the file is closed by its owner


def write_csv(stream, columns, header=True):
    """Write columns of equal length to the text stream `stream` as CSV under a header.

    Parameters
    ----------
    stream : text file object
        Where to write.
    columns : dict of str to ndarray of shape (N,)
        The columns by name, in order.
    header : bool, default=True
        Whether to write the names above them.

    Examples
    --------
    >>> write_csv(sys.stdout, {"label": np.array([0, 1]), "weight": np.array([0.5, 0.1], dtype="float32")})
    label,weight
    0,0.5
    1,0.1
    """
    writer = csv.writer(stream, lineterminator="\n")
    if header:
        writer.writerow(columns)
    n_rows = len(next(iter(columns.values())))
    for start in range(0, n_rows, _ROWS_AT_ONCE):
        parts = [_plain(column[start : start + _ROWS_AT_ONCE]) for column in columns.values()]
        writer.writerows(zip(*parts, strict=True))


def _suffix(path):
    return os.path.splitext(os.fspath(path))[1].lower()


def _plain(column):
    """The values as Python objects that print with the shortest digits that give them back."""
    return column.astype(str).tolist() if column.dtype == np.float32 else column.tolist()


def _open(path):
    """The file opened for reading bytes; what cannot be read twice, a pipe, is taken into memory."""
    if path == "-":
        if sys.stdin is None:
            raise TableError("there is no standard input to read; it is closed")
        return io.BytesIO(sys.stdin.buffer.read())
    file = open(path, "rb")  # noqa: SIM115 (handed to the caller, who closes it)
    if file.seekable():
        return file
    with file:
        return io.BytesIO(file.read())
