"""What every kind of table has in common: named columns, a choice among them, and errors that say where."""

import dataclasses

import numpy as np

__all__ = [
    "A_GAP",
    "A_LABEL",
    "PIECE_BYTES",
    "Table",
    "TableError",
    "as_labels",
    "check_weights",
    "choose",
    "default_names",
]

A_GAP = (
    'the value {}is missing; fill in or remove such rows first, or, if it is one of data, take it with missing="em" '
    "(--missing em)"
)
"""What is said of a value that is missing, with what stands in its place."""

A_LABEL = "the number of a component, from 0 on, or -1 or nothing where it is not known"

PIECE_BYTES = 1 << 20  # of rows that are read at a time where they are copied into chunks

_SHOWN = 12  # names listed in a message before it is cut short
_MAX_LABEL = 2**53  # up to which floating-point numbers hold every whole number


class TableError(ValueError):
    """A table that cannot be read as rows of numbers. The message names the file and the place.

    Parameters
    ----------
    message : str
        What is wrong and where.
    numeric : sequence of str, default=()
        Where a column of text was taken for data: the columns that hold numbers, to choose from.
    """

    def __init__(self, message, numeric=()):
        super().__init__(message)
        self.numeric = list(numeric)


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of numbers, as `fastgmm.io.tables.read_table` gives them.

    Attributes
    ----------
    values : ndarray of shape (N, D)
        The chosen columns; for an NPY file a read-only view on the file.
    names : list of str
        Their D names.
    weights : ndarray of shape (N,) or None
        The weight of each row, float64, if a column of weights was asked for.
    path : str
        The file, for messages.
    named : bool
        Whether the names stand in the file; False if they are x1, x2, ... for want of better.
    labels : ndarray of shape (N,) or None
        The component of each row, int64, -1 where it is not known, if a column of labels was asked for.
    """

    values: np.ndarray
    names: list
    weights: np.ndarray | None
    path: str
    named: bool
    labels: np.ndarray | None = None


def default_names(n_columns):
    """Names for columns that have none: x1, x2, ..."""
    return [f"x{j}" for j in range(1, n_columns + 1)]


def choose(names, columns, weights, path, labels=None):
    """Positions of the columns to read.

    Parameters
    ----------
    names : list of str
        All names, in the order of the file.
    columns : sequence of str or None
        Names of the wanted columns in the wanted order; None for all that have a name, except those of weights and
        labels. (A column without one is the row number that pandas and R write, or what follows a comma at the line's
        end.)
    weights : str or None
        Name of the column of weights.
    path : str
        The file, for messages.
    labels : str, optional
        Name of the column of labels.

    Returns
    -------
    chosen : list of int
    weight : int or None
    label : int or None

    Raises
    ------
    TableError
        If a name is unknown, or stands for more than one column, or nothing is left to read.
    """
    weight, label = (None if name is None else _position(name, names, path) for name in (weights, labels))
    if weight is not None and weight == label:
        raise TableError(f"column {weights!r} cannot be both weights and labels")
    if columns is None:
        chosen = [j for j, name in enumerate(names) if name and j not in (weight, label)]
    else:
        chosen = [_position(name, names, path) for name in columns]
        if len(set(chosen)) < len(chosen):
            raise TableError(f"a column is asked for more than once: {_listing(columns)}")
        for place, name, what in ((weight, weights, "weights"), (label, labels, "labels")):
            if place in chosen:
                raise TableError(f"column {name!r} cannot be both data and {what}")
    if not chosen:
        raise TableError(f"{path}: no columns of data are left to read")
    if len({names[j] for j in chosen}) < len(chosen):
        for j in chosen:
            _position(names[j], names, path)
    return chosen, weight, label


def as_labels(values, path, name, first):
    """Return a column of numbers (n,) as labels (n,) int64, -1 for NaN; its rows are counted from the number `first`.

    Raises
    ------
    TableError
        If one is no number of a component.
    """
    labels = np.where(np.isnan(values), -1.0, values)
    wrong = np.flatnonzero((labels != np.rint(labels)) | (labels < -1) | (labels > _MAX_LABEL))
    if wrong.size:
        row = wrong[0]
        raise TableError(f"{path}, row {first + row + 1}, column {name!r}: expected {A_LABEL}, got {values[row]:g}")
    return labels.astype(np.int64)


def check_weights(weights, path, name):
    """Refuse weights that no row can have; the place of the first is named by its row."""
    negative = np.flatnonzero(weights < 0)
    if negative.size:
        row = negative[0]
        raise TableError(f"{path}, row {row + 1}, column {name!r}: a weight cannot be negative, got {weights[row]:g}")
    if not weights.any():
        raise TableError(f"{path}: all weights in column {name!r} are zero")


def _listing(names):
    """The names with commas between, cut short if there are many."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def _position(name, names, path):
    """Where `name` stands in `names`, exactly once."""
    count = names.count(name)
    if count == 0:
        raise TableError(f"{path} has no column {name!r}; its columns are {_listing(names)}")
    if count > 1:
        places = [str(j + 1) for j, other in enumerate(names) if other == name]
        raise TableError(f"{path}: the column name {name!r} stands for columns {', '.join(places)}; make it unique")
    return names.index(name)
