"""Arrays in files, NumPy's memory maps: their rows are read, so that no pages of the file stay mapped.

Pages of a map count to what a process takes for as long as the system leaves them there.
"""

import mmap

import numpy as np

from . import pages
from ._columns import TableError

__all__ = ["around_bytes", "cuts", "reader", "row_bytes"]

AROUND = 1 << 17  # bytes at most that a page brings with it, of those around it in the file and of its last one


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


def around_bytes(array):
    """Return the bytes of pages that are mapped while a piece of an array is read: see `reader`."""
    if array.flags.c_contiguous or not row_bytes(array):
        return 0
    return max(row_bytes(array), array.shape[-1] * AROUND)


def reader(array):
    """Return what gives rows first .. last of an array: copies of those in a file, so that no pages stay mapped."""
    at = _place_in_file(array)
    if at is None:
        return lambda first, last: array[first:last]
    read = _read_rows if array.flags.c_contiguous else _read_through_map
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
    left = memoryview(rows).cast("B")
    with open(filename, "rb", buffering=0) as file:
        file.seek(offset + first * like[0].nbytes)
        while left:
            n = file.readinto(left)
            if not n:
                raise TableError(f"{filename} ends before row {last} of {len(like)}: it was cut short")
            left = left[n:]
    return rows


def _read_through_map(filename, offset, like, first, last):
    """Rows first .. last of an array of any strides in a file, through a map that is gone when they are copied."""
    with open(filename, "rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        mapped = np.ndarray(like.shape, like.dtype, whole, offset, like.strides)
    except (TypeError, ValueError) as error:
        raise TableError(f"{filename} ends before row {len(like)}: it was cut short") from error
    return np.array(mapped[first:last], order="C")
