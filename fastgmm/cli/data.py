"""The rows that a command works on: a table held whole, or a file that is read block by block."""

from __future__ import annotations

import csv
import io
import os
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastgmm._checks import known_of_weights
from fastgmm.io.blocks import Blocks, open_blocks
from fastgmm.io.tables import Table, TableError, read_table
from fastgmm.mixture import Mixture
from fastgmm.sources import BatchSource, GappedBatchSource

__all__ = ["Data", "open_for", "open_table"]

_ROWS_SHOWN = 50_000
"""Of a file that is not held, in a picture."""


class Data:
    """Named columns of rows, and what a report says of them.

    Parameters
    ----------
    path : str
        The file, for messages.
    table : Table or Blocks
        The rows, held whole or not.
    max_memory : int or str, optional
        Of a fit, where they are not held.
    n_threads : int, optional
    gaps : bool, default=False
        Whether values may be missing.

    Attributes
    ----------
    X : ndarray or BatchSource
        What is fitted and scored.
    weights : ndarray or None
        Weights of the rows of an array; a source has its own.
    known : ndarray or None
        Components of the rows of an array, -1 where they are not known; a source has its own.
    weighted, labelled : bool
        Whether there is a column of weights, and one of known labels.
    names : list of str
    named : bool
        Whether the file has names of columns.
    """

    def __init__(
        self,
        path: str,
        table: Table | Blocks,
        max_memory: int | str | None = None,
        n_threads: int | None = None,
        gaps: bool = False,
    ) -> None:
        self._gaps = gaps
        self.path, self.names, self.named = path, list(table.names), table.named
        self.X: Any
        if isinstance(table, Table):
            self.X, self.weights = table.values, table.weights
            self.known = known_of_weights(table.labels, table.weights)
            self.weighted, self.labelled = table.weights is not None, table.labels is not None
        else:
            source = GappedBatchSource if gaps else BatchSource
            self.X = source(table, max_memory=max_memory, n_threads=n_threads)
            self.weights = self.known = None
            self.weighted, self.labelled = table.weighted, table.labelled

    @property
    def n_features(self) -> int:
        """Number of columns of data."""
        return len(self.names)

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self.X.dtype

    @property
    def n_rows(self) -> int:
        """Number of rows, those of weight zero too."""
        return self.X.n_all_rows if isinstance(self.X, BatchSource) else len(self.X)

    @property
    def total_weight(self) -> float:
        """Sum of the weights."""
        if isinstance(self.X, BatchSource):
            return float(self.X.total_weight)
        return float(len(self.X) if self.weights is None else self.weights.sum())

    @property
    def n_known(self) -> int:
        """Number of rows with positive weight whose component is known."""
        if self.known is None:
            return int(self.X.n_known) if self.labelled else 0
        return int((self.known >= 0).sum())

    @property
    def n_named(self) -> int:
        """Number of components that known labels name, from 0 on."""
        if self.known is None:
            return int(self.X.n_named) if self.labelled else 0
        return int(self.known.max()) + 1

    def gaps(self) -> tuple[int, int]:
        """Number of missing values, and of rows that hold nothing else."""
        if not self._gaps:
            return 0, 0
        if isinstance(self.X, GappedBatchSource):
            return self.X.n_missing, self.X.n_unobserved
        missing = np.isnan(self.X)
        return int(missing.sum()), int(missing.all(axis=1).sum())

    def blocks(self, n_columns: int) -> Iterator[np.ndarray]:
        """The rows, block by block, of each of which so many columns of numbers are made."""
        return self.X.blocks(8 * n_columns) if isinstance(self.X, BatchSource) else iter([self.X])

    def labels(self, predict: Callable[[np.ndarray], np.ndarray]) -> Iterator[np.ndarray]:
        """The components of the rows, block by block: where they are not known, what `predict` makes of the rows."""
        blocks = self.X.labelled_blocks() if isinstance(self.X, BatchSource) else [(self.X, self.known)]
        for rows, known in blocks:
            found = predict(rows)
            yield found if known is None else np.where(known >= 0, known, found)

    def shown(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows for a picture, and their weights: a sample of those that are not held."""
        if not isinstance(self.X, BatchSource):
            return self.X, self.weights
        few = self.X.sample(_ROWS_SHOWN, np.random.default_rng(0))
        return few.array, few.weights()


def open_table(
    path: str,
    columns: list[str] | None,
    weights: str | None = None,
    dtype: str | None = None,
    max_memory: int | str | None = None,
    n_threads: int | None = None,
    missing: str = "raise",
    labels: str | None = None,
) -> Data:
    """The rows for a fit: held whole, unless memory is limited or they fill a folder. Errors say what helps."""
    gaps = missing == "em"
    try:
        if max_memory is None and not os.path.isdir(path):
            return Data(path, read_table(path, columns, weights, dtype, labels=labels, gaps=gaps), gaps=gaps)
        return Data(path, _blocks(path, columns, weights, dtype, labels, gaps=gaps), max_memory, n_threads, gaps)
    except TableError as error:
        if error.numeric:
            raise TableError(f"{error} (to use the columns of numbers: --columns {_option(error.numeric)})") from error
        raise


def open_for(
    mixture: Mixture,
    path: str,
    columns: list[str] | None,
    weights: str | None = None,
    n_threads: int | None = None,
    missing: str = "raise",
) -> Data:
    """The columns that a mixture was fitted to, by name where both have names, else by position; read block by block.

    What cannot be read twice, such as standard input, is held whole.
    """
    gaps = missing == "em"
    if path != "-" and (os.path.isfile(path) or os.path.isdir(path)):
        blocks = _blocks(path, columns, weights, if_named=mixture.feature_names, gaps=gaps)
        data = Data(path, blocks, n_threads=n_threads, gaps=gaps)
    else:
        data = Data(path, read_table(path, columns, weights, if_named=mixture.feature_names, gaps=gaps), gaps=gaps)
    if data.n_features != mixture.n_features:
        raise ValueError(
            f"{path} has {data.n_features} columns, but the model has {mixture.n_features} features; choose as many "
            "with --columns"
        )
    return data


def _blocks(
    path: str,
    columns: list[str] | None,
    weights: str | None,
    dtype: str | None = None,
    labels: str | None = None,
    *,
    if_named: Any = None,
    gaps: bool = False,
) -> Blocks:
    if path == "-":
        raise ValueError("standard input is read once, but --max-memory reads in every pass: give a file")
    names = {"columns": columns, "weights": weights, "labels": labels, "if_named": if_named}
    return open_blocks(path, **names, dtype=dtype, gaps=gaps)


def _option(names: list[str]) -> str:
    """Names as `--columns` takes them in a shell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return shlex.quote(text.getvalue())
