"""How many threads a pass uses, and the work between passes, decided in one place."""

import math
import os
from contextvars import ContextVar
from functools import cache
from numbers import Integral
from pathlib import Path

from fastgmm._errors import InvalidParameterError
from fastgmm.engine import _core

__all__ = ["Between", "between", "has_openmp", "resolve"]

has_openmp = _core.has_openmp

# libgomp's threads do not survive a fork, and its parallel regions then wait for them for ever. A forked child
# therefore works alone; joblib's and multiprocessing's spawned workers are not forked and do not lose anything.
_forked = False


def _mark_forked():
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_forked)


@cache
def _cgroup_limit():
    """Return the processors that a container's quota grants, rounded up, or None."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        return None


def _available():
    """Return the processors that this process may use."""
    try:
        n = len(os.sched_getaffinity(0))
    except AttributeError:
        n = os.cpu_count() or 1
    return min(n, _cgroup_limit() or n)


def _is_whole_number(value):
    return type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))


def resolve(n_threads=None):
    """Return the number of threads for a pass.

    Parameters
    ----------
    n_threads : int or None, default=None
        None means what OpenMP's environment or threadpoolctl allows, at most the processors that affinity and container
        quota grant. A number is taken as it is.

    Returns
    -------
    int
        At least 1; 1 in a forked child and in a build without OpenMP.

    Raises
    ------
    InvalidParameterError
        If `n_threads` is not None or an int of at least 1.
    """
    if n_threads is None:
        n_threads = min(_core.openmp_threads(), _available())
    elif not _is_whole_number(n_threads) or n_threads < 1:
        raise InvalidParameterError(f"n_threads must be None or an int >= 1, got {n_threads!r}")
    return 1 if _forked or not has_openmp() else min(int(n_threads), 1024)


_between = ContextVar("threads that share work between passes", default=1)


def between():
    """Return how many threads share the work between passes: those of the passes in a `Between`, else one."""
    return 1 if _forked else _between.get()


class Between:
    """A block of code whose work between passes is shared by as many threads as the passes are.

    Parameters
    ----------
    n_threads : int
        As `resolve` returns it.
    """

    def __init__(self, n_threads):
        self._n_threads = n_threads

    def __enter__(self):
        """Let the work be shared."""
        self._token = _between.set(self._n_threads)

    def __exit__(self, *error):
        """Let it be as it was."""
        _between.reset(self._token)
