"""Arrays whose memory goes back to the system as soon as nobody uses them.

malloc may keep what is freed: of each store up to twice the largest piece that came back to it, and threads have stores
of their own. What a process takes then depends on which thread ran when, and is most where the machine is busy. Chunks
of rows are large, and pass from the thread that reads them to the one that computes; so each has pages of its own.
"""

import contextlib
import math
import mmap

import numpy as np

__all__ = ["empty"]

LEAST_BYTES = 1 << 16  # less is malloc's: it would be lost among what that keeps anyway
PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


def empty(shape, dtype):
    """Return an array in C order to be filled, as `numpy.empty`: its pages go with the last view of them.

    Raises
    ------
    MemoryError
        If there is no room.
    """
    dtype = np.dtype(dtype)
    n_bytes = math.prod(shape) * dtype.itemsize
    if n_bytes < LEAST_BYTES:
        return np.empty(shape, dtype)
    try:
        pages = mmap.mmap(-1, n_bytes, **PRIVATE)
    except OSError as error:
        raise MemoryError(f"no room for rows of {n_bytes} bytes") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # where the kernel has none, small pages do
            pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, dtype).reshape(shape)
