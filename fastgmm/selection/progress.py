"""Who is told how a search goes on: nobody, a function, or tqdm's bar."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from fastgmm._errors import InvalidParameterError
from fastgmm.fitting.bar import tqdm_bar

__all__ = ["Progress", "progress_of"]


class Progress:
    """Tells a function of (done, total, text), from any thread, one at a time."""

    def __init__(self, tell: Callable[[int, int, str], object] | None = None) -> None:
        self._tell, self._lock, self._total = tell, threading.Lock(), 0

    @contextlib.contextmanager
    def of(self, total: int) -> Iterator[None]:
        """Expect so many visits."""
        self._total = total
        yield

    def show(self, done: int, text: str) -> None:
        """Tell how many visits are made, and what the last one was to."""
        if self._tell is not None:
            with self._lock:
                self._tell(min(done, self._total), self._total, text)


class _Bar(Progress):
    """Shows tqdm's bar on standard error."""

    def __init__(self) -> None:
        super().__init__()
        self._bar = tqdm_bar()

    @contextlib.contextmanager
    def of(self, total: int) -> Iterator[None]:
        """Show the bar for the time of the search."""
        with self._bar(total=total, leave=False, unit="fit") as bar:

            def tell(done: int, total: int, text: str) -> None:
                bar.set_postfix_str(text, refresh=False)
                bar.update(done - bar.n)

            self._tell = tell
            yield


def progress_of(progress: Any) -> Progress:
    """What `progress` asks for.

    Raises
    ------
    InvalidParameterError
        If it is neither a bool nor a function.
    ImportError
        If it is true and tqdm is not installed.
    """
    if callable(progress):
        return Progress(progress)
    if not isinstance(progress, bool):
        raise InvalidParameterError(f"progress must be a bool or a function, got {progress!r}")
    if not progress:
        return Progress()
    return _Bar()
