"""Tables that can be read only once: those of an iterator over batches, or of a pyarrow.RecordBatchReader."""

import itertools
from collections.abc import Iterator

from ._arrow import beside_from_arrow, chosen_columns, from_arrow, is_arrow
from .blocks import first_batch, of_batches, refuse_given

__all__ = ["open_once"]


def open_once(X, *, columns=None, weights=None, labels=None, gaps=False):
    """Return what can be read only once as `Blocks` whose `read` may be called once.

    Parameters
    ----------
    X : iterator of batches, or pyarrow.RecordBatchReader
    columns : sequence of str, optional
        Names of the columns to read, of a RecordBatchReader.
    weights, labels : str, optional
        Names of the columns of weights and labels, of a RecordBatchReader.
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
        names, *beside, _ = chosen_columns(X.schema, columns, weights, labels, "X")
        batches = (_chosen(batch, names, beside, number, gaps) for number, batch in enumerate(X))
    else:
        refuse_given("batches", "they are taken whole", columns=columns, weights=weights, labels=labels)
    first = first_batch(lambda: batches)
    whole = itertools.chain([first], batches)
    blocks = of_batches(lambda: whole, gaps, first)
    return blocks if names is None else blocks._replace(names=names)


def _chosen(batch, names, beside, number, gaps):
    """Return the values of a record batch, weights and labels, each None if `beside` has no name of such a column."""
    path = f"batch {number} (counted from 0)"
    return from_arrow(batch, names, path, gaps=gaps), *beside_from_arrow(batch, *beside, path)
