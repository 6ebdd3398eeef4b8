"""Tables that are binary already: NumPy's NPY and Apache Parquet."""

import tokenize
import warnings

import numpy as np

from ._columns import A_GAP, TableError, as_labels, choose, default_names

__all__ = ["NPY_MAGIC", "PARQUET_MAGIC", "check_text", "import_parquet", "is_numeric", "read_npy", "read_parquet"]

NPY_MAGIC = b"\x93NUMPY"
PARQUET_MAGIC = b"PAR1"
_OTHER_FORMATS = {b"PK\x03\x04": "a zip archive (a model file or a workbook)", b"\x1f\x8b": "compressed"}
_NUMERIC_KINDS = "buif"
# What numpy.load is known to raise on damaged headers, which it reads as Python literals, and on impossible shapes.
_DAMAGE = (ValueError, TypeError, EOFError, OverflowError, SyntaxError, RecursionError, tokenize.TokenError)


def check_text(magic, path):
    """Refuse what the first bytes of a file tell to be no text."""
    for start, kind in _OTHER_FORMATS.items():
        if magic.startswith(start):
            raise TableError(f"{path} is not a table: expected CSV, NPY or Parquet, but it is {kind}")


def read_npy(path, columns, weights, dtype, labels=None):
    """Read the NPY file at `path`, memory-mapped: rows are fetched as they are used and never copied whole.

    A one-dimensional array is a table of one column. Columns are called x1, x2, ...

    Parameters
    ----------
    path : str
        The file.
    columns, weights, labels
        The choice of columns, see `fastgmm.io._columns.choose`.
    dtype : numpy dtype or None
        Of the values; None keeps that of the file.

    Returns
    -------
    values : ndarray of shape (N, D)
    names : list of str
    weights, labels : ndarray of shape (N,) or None

    Raises
    ------
    TableError
        If the file is damaged, or its array is not a table of numbers.
    """
    try:
        with np.errstate(over="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they are about is refused below, or does no harm
            table = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGE as error:
        raise TableError(f"{path} is not a readable NPY file of numbers: {error}") from error
    if table.dtype.kind not in _NUMERIC_KINDS:
        raise TableError(f"{path}: expected an array of real numbers, got dtype {table.dtype}")
    if table.ndim not in (1, 2):
        raise TableError(f"{path}: expected an array of rows and columns, got {table.ndim} dimensions {table.shape}")
    if table.size == 0:
        raise TableError(f"{path} is empty: its array has shape {table.shape}")
    table = table.reshape(len(table), -1)
    names = default_names(table.shape[1])
    chosen, *beside = choose(names, columns, weights, path, labels)
    values = table
    if chosen == list(range(chosen[0], chosen[0] + len(chosen))):
        values = table[:, chosen[0] : chosen[-1] + 1]  # neighbours stay a view on the file
    else:
        values = table[:, chosen]
    if dtype is not None:
        values = values.astype(dtype, copy=False)
    weight, label = (None if place is None else table[:, place] for place in beside)
    given = None if weight is None else np.array(weight, dtype=np.float64)
    known = None if label is None else as_labels(label, path, labels, 0)
    return values, [names[j] for j in chosen], given, known


def read_parquet(path, columns, weights, dtype, gaps=False, labels=None):
    """Read the Parquet file at `path`: only the chosen columns are decoded.

    Parameters
    ----------
    path, columns, weights, dtype, labels
        As for `read_npy`; the values are float32 if every chosen column is, else float64.
    gaps : bool, default=False
        Whether values may be missing: they are NaN then. Weights may not, labels may always: they are -1 then.

    Returns
    -------
    values : ndarray of shape (N, D), Fortran order
    names : list of str
    weights, labels : ndarray of shape (N,) or None

    Raises
    ------
    TableError
        If pyarrow is missing, the file is damaged, or a chosen column holds other things than numbers.
    """
    pyarrow, parquet = import_parquet()
    try:
        schema = parquet.read_schema(path)
        names = schema.names
        chosen, *beside = choose(names, columns, weights, path, labels)
        numeric = [j for j in chosen if is_numeric(pyarrow, schema.types[j])]
        read = [*chosen, *(place for place in beside if place is not None)]
        for j in read:
            if not is_numeric(pyarrow, schema.types[j]):
                suggested = [names[i] for i in numeric] if columns is None and j in chosen else []
                raise TableError(f"{path}, column {names[j]!r}: expected numbers, got {schema.types[j]}", suggested)
        wanted = [names[j] for j in chosen]
        table = parquet.read_table(path, columns=[names[j] for j in read])
    except pyarrow.ArrowException as error:
        raise TableError(f"{path} is not a readable Parquet file: {error}") from error
    if table.num_rows == 0:
        raise TableError(f"{path} has columns but no rows")
    arrays = [_column(table, name, path, gaps) for name in wanted]
    if dtype is None:
        dtype = np.float32 if all(array.dtype.itemsize <= 4 and array.dtype.kind == "f" for array in arrays) else float
    values = np.empty((table.num_rows, len(wanted)), dtype=dtype, order="F")
    with np.errstate(over="ignore"):
        for j, array in enumerate(arrays):
            values[:, j] = array
            _check_finite(values[:, j], wanted[j], path, gaps)
    given = None if weights is None else _column(table, weights, path).astype(np.float64)
    known = None if labels is None else as_labels(_numbers(table.column(labels)), path, labels, 0)
    return values, wanted, given, known


def import_parquet():
    """The modules pyarrow and pyarrow.parquet, or an error that says how to get them."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise TableError("Parquet files need pyarrow: pip install 'fastgmm[parquet]'") from error
    return pyarrow, pyarrow.parquet


def is_numeric(pyarrow, kind):
    """Whether an Arrow type is one of numbers."""
    types = pyarrow.types
    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)


def _column(table, name, path, gaps=False):
    """One column as an array of numbers, finite but for gaps."""
    column = table.column(name)
    if column.null_count and not gaps:
        row = column.is_null().to_numpy().argmax()
        raise TableError(f"{path}, row {row + 1}, column {name!r}: {A_GAP.format('')}")
    array = _numbers(column)
    _check_finite(array, name, path, gaps)
    return array


def _numbers(column):
    """A column as an array of numbers, NaN for nulls."""
    array = column.to_numpy()
    return array if array.dtype.kind in _NUMERIC_KINDS else array.astype(np.float64)  # decimals and booleans: objects


def _check_finite(array, name, path, gaps=False):
    bad = np.flatnonzero(np.isinf(array) if gaps else ~np.isfinite(array))
    if bad.size:
        value = array[bad[0]]
        raise TableError(
            f"{path}, row {bad[0] + 1}, column {name!r}: {value} is not a finite {array.dtype} number; correct or "
            "remove such rows first"
        )
