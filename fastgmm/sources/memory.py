"""How much memory a fit takes beside its rows, and how large the chunks of rows may be."""

import math
import re
from numbers import Integral

from fastgmm._errors import InvalidParameterError
from fastgmm.engine import FACTOR_SHAPES

__all__ = ["CHUNKS", "bytes_of", "needed_beside_rows", "parse_memory", "sample_bytes"]

CHUNKS = 3  # of rows at a time: one that is computed, one that waits, one that is read
FIXED = 32 << 20  # of the interpreter while it works: its objects, threads, and what allocators keep
WAVE, WAVE_GROUPS = 16 << 20, 32  # sums of groups before they are added up, at most so many a thread (engine/_pass.pyx)
SCRATCH = 6 << 20  # of a thread
MODELS = {None: 20, "squarem": 30, "lbfgs": 72}
"""Arrays of the size of a mixture's moments, by acceleration: constants, statistics, parameters, what an M-step makes,
and what a path remembers, of a run and of the best before it."""

UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_memory(value, name="max_memory"):
    """Return a number of bytes from an int, a string such as "500 MB" or "1.5 GiB" (of 1024), or None.

    Raises
    ------
    InvalidParameterError
        If the value is none of these.
    """
    if value is None:
        return None
    if isinstance(value, Integral) and not isinstance(value, bool) and value > 0:
        return int(value)
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?\s*", value) if isinstance(value, str) else None
    if found is None or float(found[1]) == 0:
        raise InvalidParameterError(
            f"{name} must be None, a number of bytes, or a string such as '500 MB' or '2 GB', got {value!r}"
        )
    return int(float(found[1]) * UNITS[found[2]])


def needed_beside_rows(kind, n_components, rank, acceleration, n_features, n_threads, n_kept=0):
    """Return the bytes that a fit takes beside chunks of rows, no less than it does, and n_kept Statistics more."""
    if kind == "low_rank":
        second = n_components * (1 + rank) * n_features
    else:
        second = math.prod(FACTOR_SHAPES[kind](n_components, n_features))
    partial = 8 * (n_components * (1 + n_features) + second)
    wave = max(2 * n_threads * partial, min(WAVE, WAVE_GROUPS * n_threads * partial))
    return FIXED + wave + n_threads * SCRATCH + (MODELS[acceleration] + n_kept) * partial


def sample_bytes(n_rows, n_features, itemsize):
    """Return the bytes that a sample of rows and the starts made of it take, no less than they do."""
    return n_rows * (n_features * (2 * itemsize + 8) + 128)


def bytes_of(number):
    """Return a number of bytes as people write it, rounded up."""
    return f"{-(-number // (1 << 20))} MB"
