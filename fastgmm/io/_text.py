"""Tables as text: comma, semicolon, tab or blanks between the fields, a header or none.

Lines go through the csv module in chunks. A chunk that is sound is converted in bulk; one that is not is gone through
again field by field to say which line and column is wrong, and why. There is one reader, so what is read and what is
complained about cannot drift apart.
"""

import collections
import csv
import io
import itertools

import numpy as np

from ._columns import A_GAP, A_LABEL, TableError, as_labels, choose, default_names

__all__ = ["TextReader", "read_text"]

_CHUNK = 256  # rows converted at a time; a few hundred keep their strings in the cache
_SAMPLE = 1 << 16  # bytes looked at to tell encoding and delimiter
_SAMPLE_LINES = 32
_COMMENT = "# "  # what numpy.savetxt puts before a header
_MISSING = {"", "na", "n/a", "nan", "null", "none"}


def read_text(file, path, columns, weights, dtype, if_named=None, gaps=False, labels=None):
    """Read the open binary `file` as a delimited table of numbers.

    Parameters
    ----------
    file : binary file object
        Seekable, at its start.
    path : str
        Its name, for messages.
    columns, weights, labels
        The choice of columns, see `fastgmm.io._columns.choose`.
    dtype : numpy dtype
        Of the values.
    if_named : sequence of str, default=None
        What `columns` defaults to if there is a header.
    gaps : bool, default=False
        Whether values may be missing: they are NaN then. Weights may not, labels may always: they are -1 then.

    Returns
    -------
    values : ndarray of shape (N, D)
    names : list of str
    weights, labels : ndarray of shape (N,) or None
    named : bool
        Whether the file has a header.

    Raises
    ------
    TableError
        Naming file, line and column.
    """
    reader = TextReader(file, path, columns, weights, dtype, if_named, gaps, labels)
    values, *beside = zip(*reader.blocks(_CHUNK), strict=True)
    beside = (None if each[0] is None else np.concatenate(each) for each in beside)
    return np.concatenate(values), reader.names, *beside, reader.named


class TextReader:
    """A delimited table of numbers whose rows are read block by block.

    Parameters
    ----------
    file, path, columns, weights, dtype, if_named, gaps, labels
        As for `read_text`.

    Attributes
    ----------
    names : list of str
        Of the chosen columns.
    weight, label : int or None
        Places of the columns of weights and labels.
    named : bool
        Whether the file has a header.
    """

    def __init__(self, file, path, columns, weights, dtype, if_named=None, gaps=False, labels=None):
        encoding, delimiter = _sniff(file, path)
        self._text = io.TextIOWrapper(file, encoding=encoding, errors="replace", newline="")
        rows = _numbered_rows(self._text, delimiter, path)
        first = next(rows, None)
        if first is None:
            raise TableError(f"{path} is empty")
        self.named = not all(_is_number(field) or _is_missing(field) for field in first[1])
        names = _header(first[1]) if self.named else default_names(len(first[1]))
        columns = if_named if self.named and columns is None else columns
        chosen, self.weight, self.label = choose(names, columns, weights, path, labels)
        self.names = [names[j] for j in chosen]
        self._rows = rows if self.named else itertools.chain([first], rows)
        self._converter = _Converter(
            path, names, chosen, self.weight, self.label, by_default=columns is None, gaps=gaps
        )
        self._path, self._dtype, self._labels = path, dtype, labels

    def blocks(self, n_rows):
        """Yield (values (n, D), weights (n,) or None, labels (n,) or None) of at most n_rows rows, once.

        Raises
        ------
        TableError
            Naming file, line and column.
        """
        D, done = len(self.names), 0
        with self._text:
            while table := [self._converter.convert(chunk) for chunk in _chunks(self._rows, n_rows)]:
                table = np.concatenate(table)
                values = _as_dtype(table[:, :D], self._dtype, self.names, self._path, done)
                weights = None if self.weight is None else table[:, D].copy()
                labels = None if self.label is None else as_labels(table[:, -1], self._path, self._labels, done)
                done += len(table)
                yield values, weights, labels
        if not done:
            raise TableError(f"{self._path} has a header but no rows")


def _as_dtype(table, dtype, names, path, first):
    """The values in the dtype asked for, of their own memory."""
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(table, dtype=dtype)
    large = np.isinf(values)  # numbers before, but for gaps
    if large.any():
        row, j = np.argwhere(large)[0]
        raise TableError(
            f"{path}, row {first + row + 1}, column {names[j]!r}: {table[row, j]:g} is too large for {dtype}"
        )
    return values


class _Converter:
    """Turns chunks of fields into numbers, or into the error that says where they are none."""

    def __init__(self, path, names, data, weight, label, *, by_default, gaps):
        self.path, self.names, self.data, self.label, self.by_default = path, names, data, label, by_default
        self.chosen = [*data, *(place for place in (weight, label) if place is not None)]
        self.gaps = frozenset([*(data if gaps else ()), label])  # columns where values may be missing

    def convert(self, chunk):
        """Numbers of shape (rows, chosen columns), finite but for gaps, from a list of (line number, fields)."""
        numbers, rows = zip(*chunk, strict=True)
        if set(map(len, rows)) == {len(self.names)}:
            fields = list(zip(*rows, strict=True))
            values = np.empty((len(rows), len(self.chosen)))
            try:
                for k, j in enumerate(self.chosen):
                    column = fields[j]
                    if "_" in "".join(column):  # float() takes 1_000 for a number, people's files do not
                        raise ValueError
                    if j in self.gaps:
                        column = ["nan" if _is_missing(field) else field for field in column]
                    values[:, k] = np.fromiter(map(float, column), np.float64, len(rows))
            except ValueError:
                pass
            else:
                free = [j in self.gaps for j in self.chosen]
                if (np.isfinite(values) | (np.isnan(values) & free)).all():
                    return values
        raise self._first_error(numbers, rows)

    def _first_error(self, numbers, rows):
        """The error for the first field, in reading order, that is not a finite number."""
        width = len(self.names)
        for number, row in zip(numbers, rows, strict=True):
            if len(row) != width:
                fields = f"{width} field{'s' * (width > 1)}"
                return TableError(f"{self.path}, line {number}: expected {fields}, got {len(row)}")
            for j in self.chosen:
                if j in self.gaps and _is_missing(row[j]):
                    continue
                if not _is_number(row[j]) or not np.isfinite(float(row[j])):
                    return self._field_error(number, j, row[j].strip(), rows)
        raise AssertionError("a chunk was refused although all of its fields are numbers")

    def _is_sound(self, field, j):
        return _is_number(field) or (j in self.gaps and _is_missing(field))

    def _field_error(self, number, j, field, rows):
        place = f"{self.path}, line {number}, column {self.names[j]!r}"
        if _is_missing(field):
            what = f"({field!r}) " if field else ""
            return TableError(f"{place}: {A_GAP.format(what)}")
        shown = field if len(field) <= 40 else field[:37] + "..."
        if j == self.label:
            return TableError(f"{place}: expected {A_LABEL}, got {shown!r}")
        if _is_number(field):
            return TableError(f"{place}: {field} is not finite; correct or remove such rows first")
        hint = "; decimals are written with a point" if _is_number(field.replace(",", ".")) else ""
        numeric = []
        if self.by_default and j in self.data:
            sound = [row for row in rows if len(row) == len(self.names)]
            numeric = [self.names[i] for i in self.data if all(self._is_sound(row[i], i) for row in sound)]
        return TableError(f"{place}: expected a number, got {shown!r}{hint}", numeric)


def _sniff(file, path):
    """Encoding and delimiter (None for blanks) of `file`, from its first lines."""
    head = file.read(_SAMPLE)
    file.seek(0)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif b"\0" in head:
        raise TableError(f"{path} is not a table: expected text (CSV), NPY or Parquet, got other binary data")
    else:
        encoding = "utf-8-sig"
    whole = len(head) < _SAMPLE
    try:
        text = head.decode(encoding)
    except UnicodeDecodeError as error:
        if not whole and error.start > len(head) - 4:  # the sample may end inside a character
            text = head[: error.start].decode(encoding)
        else:
            encoding, text = "cp1252", head.decode("cp1252", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    lines = lines[: len(lines) - (not whole and len(lines) > 1)][:_SAMPLE_LINES]
    lines[:1] = [line.lstrip(_COMMENT) for line in lines[:1]]
    return encoding, _delimiter(lines)


def _delimiter(lines):
    """The delimiter that cuts most of `lines` into equally many fields, two at least; None for blanks.

    Where several do, the rarer sign wins: "1,5;2,5" has two fields, "a b,c d" has two.
    """
    best, score = ",", (len(lines) // 2, False)
    for delimiter in ("\t", ";", ",", None):
        counts = [len(_split(line, delimiter)) for line in lines]
        fields, agreeing = collections.Counter(counts).most_common(1)[0] if counts else (1, 0)
        if fields > 1 and (agreeing, counts[0] == fields) > score:
            best, score = delimiter, (agreeing, counts[0] == fields)
    return best


def _split(line, delimiter):
    return line.split() if delimiter is None else next(csv.reader([line], delimiter=delimiter))


def _numbered_rows(text, delimiter, path):
    """(number of its first line, fields) of every row that is not blank."""
    if delimiter is None:
        for number, line in enumerate(text, start=1):
            fields = (line.lstrip(_COMMENT) if number == 1 else line).split()
            if fields:
                yield number, fields
        return
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True)
    last = 0
    try:
        for fields in reader:
            if len(fields) > 1 or (fields and fields[0].strip()):
                yield last + 1, fields
            last = reader.line_num
    except csv.Error as error:
        raise TableError(f"{path}, line {last + 1}: {error}; is a quote not closed?") from error


def _chunks(rows, n_rows):
    """The next n_rows rows, a few hundred at a time."""
    while n_rows and (chunk := list(itertools.islice(rows, min(n_rows, _CHUNK)))):
        n_rows -= len(chunk)
        yield chunk


def _header(fields):
    """Names from the fields of the first row."""
    fields = [field.strip().strip('"') for field in fields]
    return [fields[0].lstrip(_COMMENT), *fields[1:]]


def _is_number(field):
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field


def _is_missing(field):
    return field.strip().lower() in _MISSING
