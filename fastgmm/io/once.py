"""Tables that can be read only once: those of an iterator over batches, or of a pyarrow.RecordBatchReader."""

import itertools
from collections.abc import Iterator

from .blocks import chosen_columns, first_batch, from_arrow, is_arrow, of_batches, refuse_given

__all__ = ["open_once"]


def open_once(X, *, columns=None, weights=None, gaps=False):
    """Return what can be read only once as `Blocks` whose `read` may be called once.

    Parameters
    ----------
    X : iterator of batches, or pyarrow.RecordBatchReader
    columns : sequence of str, optional
        Names of the columns to read, of a RecordBatchReader.
    weights : str, optional
        Name of the column of weights, of a RecordBatchReader.
    gaps : bool, default=False
        Whether values may be missing: they are NaN then.

    Returns
    -------
    Blocks

    Raises
    ------
    TypeError, ValueError
        If X can be read again, or is none of these.
    """
    if not isinstance(X, Iterator):
        raise ValueError(f"spool must be None where X is not an iterator, which can be read only once, got {type(X)}")
    names, batches = None, X
    if is_arrow(X):
        names, weight, _ = chosen_columns(X.schema, columns, weights, "X")
        batches = (_chosen(batch, names, weight, number, gaps) for number, batch in enumerate(X))
    else:
        refuse_given("batches", "they are taken whole", columns=columns, weights=weights)
    first = first_batch(lambda: batches)
    whole = itertools.chain([first], batches)
    blocks = of_batches(lambda: whole, gaps, first)
    return blocks if names is None else blocks._replace(names=names)


def _chosen(batch, names, weight, number, gaps):
    """Return the values of a record batch, or a tuple of them and the weights."""
    path = f"batch {number} (counted from 0)"
    values = from_arrow(batch, names, path, gaps=gaps)
    return values if weight is None else (values, from_arrow(batch, [weight], path, dtype=float)[:, 0])
