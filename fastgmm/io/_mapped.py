"""Arrays in files, NumPy's memory maps: their rows are read, so that no pages of the file stay mapped.

Pages of a map count to what a process takes for as long as the system leaves them there.
"""

import numpy as np

from . import pages
from ._columns import TableError

__all__ = ["cuts", "reader", "row_bytes"]


def cuts(n_all, n_rows, piece, as_they_are):
    """Yield where blocks begin and end: of n_rows rows where these are taken as they are, and the others of a piece."""
    whole = n_all // n_rows * n_rows if as_they_are else 0
    for first in range(0, whole, n_rows):
        yield first, first + n_rows
    step = min(n_rows, piece)
    for first in range(whole, n_all, step):
        yield first, min(n_all, first + step)


def row_bytes(array):
    """Return the bytes from a row of an array in a file to the next, 0 for one in memory."""
    return 0 if _place_in_file(array) is None else max(1, abs(array.strides[0]), array[0:1].nbytes)


def reader(array):
    """Return what gives rows first .. last of an array: copies of those in a file, so that no pages stay mapped."""
    at = _place_in_file(array)
    if at is None:
        return lambda first, last: array[first:last]
    read = _read_rows if array.flags.c_contiguous else _read_apart
    return lambda first, last: read(*at, array, first, last)


def _place_in_file(array):
    """Return file name and offset of the first value of a memory-mapped array, None for others."""
    whole = array
    while isinstance(whole.base, np.memmap):
        whole = whole.base
    if not isinstance(whole, np.memmap) or whole.filename is None or whole.mode == "c":
        return None  # pages of a map that is copied on write differ from the file
    return whole.filename, whole.offset + array.ctypes.data - whole.ctypes.data


def _read_rows(filename, offset, like, first, last):
    """Rows first .. last of an array in a file, in C order."""
    rows = pages.empty((last - first, *like.shape[1:]), like.dtype)
    with open(filename, "rb", buffering=0) as file:
        _fill(file, offset + first * like[0].nbytes, memoryview(rows).cast("B"), last, like)
    return rows


def _read_apart(filename, offset, like, first, last):
    """Rows first .. last of an array of any strides in a file, what stands between their values read too."""
    part = like[first:last]
    rows = np.empty(part.shape, like.dtype)
    by_column = part.ndim == 2 and abs(part.strides[0]) < abs(part.strides[1])
    with open(filename, "rb", buffering=0) as file:
        for j in range(part.shape[1]) if by_column else [slice(None)]:
            wanted = part[:, j] if by_column else part
            ends = [(n - 1) * stride for n, stride in zip(wanted.shape, wanted.strides, strict=True)]
            before = -sum(min(0, end) for end in ends)
            span = bytearray(before + sum(max(0, end) for end in ends) + like.itemsize)
            start = offset + wanted.ctypes.data - like.ctypes.data
            _fill(file, start - before, memoryview(span), last, like)
            mine = rows[:, j] if by_column else rows
            mine[...] = np.ndarray(wanted.shape, like.dtype, span, before, wanted.strides)
    return rows


def _fill(file, start, left, last, like):
    """Fill a memoryview of bytes with what stands in a file from a place on."""
    file.seek(start)
    while left:
        n = file.readinto(left)
        if not n:
            raise TableError(f"{file.name} ends before row {last} of {len(like)}: it was cut short")
        left = left[n:]
