"""Rows that come once, such as those of a generator, kept in a temporary file that is read as often as a fit wants.

The file has no name where the system allows that, and is removed when it is closed elsewhere: whatever ends the
program, nothing is left behind.
"""

import contextlib
import os
import tempfile
import threading
import weakref
from itertools import chain

import numpy as np

from fastgmm._errors import InvalidParameterError
from fastgmm.io.blocks import PIECE_BYTES, Block, cuts
from fastgmm.io.once import open_once
from fastgmm.sources.chunks import Chunk, beside, check_alike, looked_at

__all__ = ["check_spool", "spooled"]


def check_spool(spool):
    """Return the folder of the temporary file: a path, None for the system's, or False where nothing is spooled.

    Raises
    ------
    InvalidParameterError
        If it is no bool, None or path of a folder.
    """
    if spool is None or spool is False:
        return False
    if spool is True:
        return None
    if not isinstance(spool, str | os.PathLike) or not os.path.isdir(spool):
        raise InvalidParameterError(f"spool must be a bool or the path of a folder that exists, got {spool!r}")
    return os.fspath(spool)


def spooled(X, folder, *, columns=None, weights=None, labels=None, gaps=False):
    """Return the rows of what can be read once as Blocks, after all of them were written to a temporary file.

    Parameters
    ----------
    X : iterator of batches, or pyarrow.RecordBatchReader
        See `BatchSource`; one batch is held at a time.
    folder : str or None
        Where the file is.
    columns, weights, labels, gaps
        See `open_once`.

    Returns
    -------
    Blocks
        They hold the file, which is removed with them.

    Raises
    ------
    TypeError, ValueError
        As passes over batches do: naming the batch that differs from the first, or holds what is no finite number.
    OSError
        If there is no room for the file; it is removed then, as it is whatever else is raised.
    """
    once = open_once(X, columns=columns, weights=weights, labels=labels, gaps=gaps)
    blocks = once.read(0)
    first = next(blocks)
    had = beside(first)
    file = _File(once.dtype, once.n_columns, had, folder)
    blocks = chain([first], blocks)
    del first  # one batch is gone before the next is made
    try:
        for block in blocks:
            check_alike(block, had)
            file.write(looked_at(block, once.dtype, once.n_columns, gaps=gaps))
            del block
    except BaseException:  # also Ctrl-C: whoever keeps the error keeps no file
        file.close()
        raise
    return once._replace(read=file.read, block_bytes=0, batch_copies=0, weighted=had["weights"])


class _File:
    """Rows (n, D), with weights (n,) and labels (n,) if there are some, in temporary files."""

    def __init__(self, dtype, n_features, had, folder):
        self._n_rows = 0
        self._like = Chunk(
            np.empty((1, n_features), dtype),
            np.empty(1) if had["weights"] else None,
            np.empty(1, np.int64) if had["labels"] else None,
        )
        self._piece = max(1, PIECE_BYTES // (n_features * dtype.itemsize))
        how = {"buffering": 0, "prefix": "fastgmm-", "dir": folder}
        with contextlib.ExitStack() as opened:
            self._files = [
                None if each is None else opened.enter_context(tempfile.TemporaryFile(**how)) for each in self._like
            ]
            self.close = weakref.finalize(self, opened.pop_all().close)
        self._lock = threading.Lock()  # all passes have one place in the file

    def write(self, rows):
        """Add the rows of a Chunk."""
        if not len(rows.values):
            return
        try:
            for first in range(0, len(rows.values), self._piece):
                part = rows.part(slice(first, first + self._piece))
                for file, like, values in zip(self._files, self._like, part, strict=True):
                    if file is not None:
                        _write(file, np.ascontiguousarray(values, dtype=like.dtype))
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}: no room for the rows to be spooled after {self._n_rows} of them; give the path of "
                "a folder that has it, spool=path",
            ) from error
        self._n_rows += len(rows.values)

    def read(self, n_rows):
        """Yield all rows in Blocks of n_rows rows, or of a piece: see `cuts`."""
        for first, last in cuts(self._n_rows, n_rows, self._piece, self._like.weights is None):
            rows = self._like.room(last - first, self._like.values.dtype)
            for file, values in zip(self._files, rows, strict=True):
                if file is not None:
                    self._fill(file, values, first)
            block = Block(rows.values, rows.weights, "the spooled rows", first, rows.labels)
            del rows, values
            yield block
            del block

    def _fill(self, file, rows, first):
        """Fill an array with what stands in a file from a row on."""
        left = memoryview(rows).cast("B")
        with self._lock:
            file.seek(first * rows[0].nbytes)
            while left:
                n = file.readinto(left)
                if not n:
                    raise OSError(f"the temporary file of spooled rows ends before row {first + len(rows)}")
                left = left[n:]


def _write(file, rows):
    left = memoryview(rows).cast("B")
    while left:
        left = left[file.write(left) :]
