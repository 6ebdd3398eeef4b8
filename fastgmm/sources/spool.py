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
from fastgmm.io.blocks import Block
from fastgmm.io.once import open_once
from fastgmm.sources.chunks import looked_at, weighed_alike

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


def spooled(X, folder, *, columns=None, weights=None, gaps=False):
    """Return the rows of what can be read once as Blocks, after all of them were written to a temporary file.

    Parameters
    ----------
    X : iterator of batches, or pyarrow.RecordBatchReader
        See `BatchSource`; one batch is held at a time.
    folder : str or None
        Where the file is.
    columns, weights, gaps
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
    once = open_once(X, columns=columns, weights=weights, gaps=gaps)
    blocks = once.read(0)
    first = next(blocks)
    file = _File(once.dtype, once.n_columns, first.weights is not None, folder)
    try:
        for block in chain([first], blocks):
            weighed_alike(block, file.weighed)
            file.write(*looked_at(block, once.dtype, once.n_columns, gaps=gaps))
    except BaseException:  # also Ctrl-C: whoever keeps the error keeps no file
        file.close()
        raise
    return once._replace(read=file.read, block_bytes=0, weighted=file.weighed)


class _File:
    """Rows (n, D) and their weights (n,), if they have some, in temporary files."""

    def __init__(self, dtype, n_features, weighed, folder):
        self._dtype, self._n_features, self.weighed, self._n_rows = dtype, n_features, weighed, 0
        how = {"buffering": 0, "prefix": "fastgmm-", "dir": folder}
        with contextlib.ExitStack() as opened:
            self._values = opened.enter_context(tempfile.TemporaryFile(**how))
            self._weights = opened.enter_context(tempfile.TemporaryFile(**how)) if weighed else None
            self.close = weakref.finalize(self, opened.pop_all().close)
        self._lock = threading.Lock()  # all passes have one place in the file

    def write(self, values, weights):
        """Add rows (n, D) and weights (n,) or None."""
        if not len(values):
            return
        try:
            _write(self._values, np.ascontiguousarray(values, dtype=self._dtype))
            if self.weighed:
                _write(self._weights, np.ascontiguousarray(weights, dtype=np.float64))
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}: no room for the rows to be spooled after {self._n_rows} of them; give the path of "
                "a folder that has it, spool=path",
            ) from error
        self._n_rows += len(values)

    def read(self, n_rows):
        """Yield all rows in Blocks of n_rows rows."""
        for first in range(0, self._n_rows, n_rows):
            n = min(n_rows, self._n_rows - first)
            values = self._part(self._values, np.empty((n, self._n_features), self._dtype), first)
            weights = self._part(self._weights, np.empty(n), first) if self.weighed else None
            yield Block(values, weights, "the spooled rows", first)

    def _part(self, file, rows, first):
        """Return an array after it was filled with what stands in a file from a row on."""
        left = memoryview(rows).cast("B")
        with self._lock:
            file.seek(first * rows[0].nbytes)
            while left:
                n = file.readinto(left)
                if not n:
                    raise OSError(f"the temporary file of spooled rows ends before row {first + len(rows)}")
                left = left[n:]
        return rows


def _write(file, rows):
    left = memoryview(rows).cast("B")
    while left:
        left = left[file.write(left) :]
