"""Which source reads what a user calls X."""

import os

import numpy as np

from fastgmm.engine.gaps import GappedRows
from fastgmm.engine.rows import Rows
from fastgmm.sources.array import ArraySource
from fastgmm.sources.base import Source
from fastgmm.sources.batches import BatchSource
from fastgmm.sources.dask_source import DaskSource, is_dask
from fastgmm.sources.memory import parse_memory
from fastgmm.sources.missing import MissingSource
from fastgmm.sources.missing_batches import GappedBatchSource
from fastgmm.sources.missing_dask import GappedDaskSource

__all__ = ["as_source", "is_elsewhere"]


_HERE = (np.ndarray, Rows)


def is_elsewhere(X):
    """Whether X is no array but a place where rows are: a source, a path, a pyarrow data set or a Dask collection."""
    if isinstance(X, _HERE):
        return False
    return isinstance(X, Source | str | os.PathLike) or _is_dataset(X) or is_dask(X)


def _is_dataset(X):
    return type(X).__module__ == "pyarrow._dataset"


def as_source(
    X, sample_weight=None, *, known_labels=None, n_threads=None, max_memory=None, missing="raise", min_rows=2
):
    """Return the source of the rows of X.

    Parameters
    ----------
    X : Source, path, pyarrow data set, Dask collection, or array-like of shape (n_rows, n_features)
        A source is returned as it is. Paths and data sets are read block by block; arrays too if `max_memory` is given,
        else they are read where they are.
    sample_weight : (n_rows,) array or number, optional
        Weights of the rows of an array, NPY file or Dask collection.
    known_labels : (n_rows,) array of int, optional
        Components of rows of an array, NPY file or Dask collection that are known: see `ArraySource`.
    n_threads : int, optional
    max_memory : int or str, optional
        See `BatchSource`.
    missing : {"raise", "em"}, default="raise"
        "em" for a `MissingSource` of an array that has gaps, a `GappedBatchSource` of what is read block by block, and
        a `GappedDaskSource` of a Dask collection.
    min_rows : int, default=2
        Rows that an array must have.

    Raises
    ------
    TypeError, ValueError
        If X is none of these; if an argument is given that a source knows already.
    """
    if missing == "em" and isinstance(X, Source) and not X.takes_gaps:
        raise ValueError(
            f"missing='em' needs a source that knows of gaps, got a {type(X).__name__}: give an array, a path, a Dask "
            "collection, a fastgmm.sources.GappedBatchSource or a fastgmm.distributed.GappedDaskSource"
        )
    if isinstance(X, Source):
        for name, value in (
            ("sample_weight", sample_weight),
            ("known_labels", known_labels),
            ("max_memory", max_memory),
        ):
            if value is not None:
                raise ValueError(f"{name} must be None where X is a {type(X).__name__}: give it to the source instead")
        return X
    if is_dask(X):
        if max_memory is not None:
            raise ValueError("max_memory must be None where X is a Dask collection: memory is the cluster's")
        dask = GappedDaskSource if missing == "em" else DaskSource
        return dask(X, sample_weight, known_labels=known_labels, n_threads=n_threads)
    batches = GappedBatchSource if missing == "em" else BatchSource
    how = {"known_labels": known_labels, "n_threads": n_threads}
    if is_elsewhere(X):
        return batches(X, sample_weight, max_memory=max_memory, **how)
    rows = Rows.of(X, min_rows=min_rows)
    if parse_memory(max_memory) is None:
        if missing == "em" and rows.has_gaps():
            return MissingSource(GappedRows(rows, sample_weight, n_threads=n_threads), known_labels=known_labels)
        return ArraySource(rows, sample_weight, **how)
    source = batches(rows.array, sample_weight, max_memory=max_memory, **how)
    source.column_names = rows.column_names
    return source
