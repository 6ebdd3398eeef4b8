"""Arrays whose memory is given out again in the same pass, and goes back to the system at its end.

malloc may keep what is freed: of each store up to twice the largest piece that came back to it, and threads have stores
of their own. What a process takes then depends on which thread ran when, and is most where the machine is busy. Chunks
of rows are large, and pass from the thread that reads them to the one that computes; so each has pages of its own. New
pages cost the system more time than reading what fills them, hence those that nobody uses any more come first.
"""

import contextlib
import math
import mmap
import weakref

import numpy as np

__all__ = ["empty", "reused"]

LEAST_BYTES = 1 << 16  # less is malloc's: it would be lost among what that keeps anyway
PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}

_idle: dict[int, list[mmap.mmap]] = {}
"""Pages that nobody uses, by their number of bytes, during passes: no more than were in use at a time."""

_passes: set[object] = set()
"""Passes under way, in whatever threads."""


def empty(shape, dtype):
    """Return an array in C order to be filled, as `numpy.empty`: its pages are free with the last view of them.

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
        pages = _idle[n_bytes].pop()
    except (KeyError, IndexError):
        pages = _new(n_bytes)
    lent = np.frombuffer(pages, dtype)  # which all views of it refer to
    weakref.finalize(lent, _give_back, pages).atexit = False
    return lent.reshape(shape)


@contextlib.contextmanager
def reused():
    """Let pages that nobody uses any more be given out again while a pass is made, and go with the last one."""
    mine = object()
    _passes.add(mine)
    try:
        yield
    finally:
        _passes.discard(mine)
        if not _passes:
            _idle.clear()


def _give_back(pages):
    if _passes:
        _idle.setdefault(len(pages), []).append(pages)


def _new(n_bytes):
    try:
        pages = mmap.mmap(-1, n_bytes, **PRIVATE)
    except OSError as error:
        raise MemoryError(f"no room for rows of {n_bytes} bytes") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # where the kernel has none, small pages do
            pages.madvise(mmap.MADV_HUGEPAGE)
    return pages
