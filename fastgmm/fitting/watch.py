"""Who watches a fit: a callback, a progress bar, and what estimators add."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fastgmm._errors import InvalidParameterError

if TYPE_CHECKING:
    from fastgmm.fitting.em import FitState
    from fastgmm.fitting.result import FitResult

__all__ = ["Observer", "Told", "Watch", "check_callback"]


class Observer:
    """Is told how a fit goes on: of the fit, its starts and their iterations, each as it begins and ends."""

    def begin(self) -> None:
        """Take note that the fit begins."""

    def begin_start(self, init: int) -> None:
        """Take note that a start begins."""

    def begin_iteration(self) -> None:
        """Take note that an iteration begins."""

    def end_iteration(self, state: FitState | None) -> bool:
        """Take note of an iteration, None if it failed; return whether its start shall stop."""
        return False

    def end_start(self, state: FitState | None) -> bool:
        """Take note that a start has ended; return whether it shall be the last.

        The state is that of its last iteration, None if it failed or made none.
        """
        return False

    def end(self, result: FitResult) -> None:
        """Take note that the fit has succeeded."""

    def close(self) -> None:
        """Take note that the fit is over, also where it was interrupted or has failed."""


class Told(Observer):
    """Passes every iteration on to a callback.

    Parameters
    ----------
    callback : callable
        Called with a `FitState`; a true value stops that start.
    """

    def __init__(self, callback: Callable[[FitState], Any]) -> None:
        self._callback = check_callback(callback)

    def end_iteration(self, state: FitState | None) -> bool:
        """Tell of an iteration that did not fail; return whether its start shall stop."""
        return state is not None and bool(self._callback(state))


def check_callback(callback: Any) -> Any:
    """Return a callback or None; raise InvalidParameterError if it is neither."""
    if callback is not None and not callable(callback):
        raise InvalidParameterError(f"callback must be None or a callable, got {callback!r}")
    return callback


class Watch:
    """All observers of one fit, told of beginnings and ends by what a fit tells.

    It tells of a start before that is made, and of an iteration when it is done: what comes next begins right then. A
    start that is still open when another one begins has failed.

    Parameters
    ----------
    observers : sequence of Observer
        Who is told.
    max_iter : int
        Largest number of iterations of each start.
    """

    def __init__(self, observers: Sequence[Observer], max_iter: int) -> None:
        self._observers, self._max_iter = observers, max_iter
        self._open = self._stopped = False

    def follow(self, run: Callable[..., FitResult], *arguments: Any, **options: Any) -> FitResult:
        """Return the result of a fit, of which all is told to the observers.

        Parameters
        ----------
        run : callable
            As `fastgmm.fitting.run`; it is called with `callback` and `before_start` beside what follows.
        *arguments, **options
            What it is called with.
        """
        try:
            for observer in self._observers:
                observer.begin()
            after = self._iteration if self._observers else None
            result = run(*arguments, **options, callback=after, before_start=self._before_start)
            self._end_failed_start()
            for observer in self._observers:
                observer.end(result)
            return result
        finally:
            for observer in self._observers:
                observer.close()

    def _before_start(self, init: int) -> bool:
        """Tell that a start begins, unless one of the observers wants no more; return whether it does."""
        self._end_failed_start()
        if self._stopped:
            return False
        self._open = True
        for observer in self._observers:
            observer.begin_start(init)
        self._begin_iteration()
        return True

    def _iteration(self, state: FitState) -> bool:
        stop = False
        for observer in self._observers:
            stop |= observer.end_iteration(state)
        if stop or state.stopped_by or state.iteration == self._max_iter:
            self._end_start(state)
        else:
            self._begin_iteration()
        return stop

    def _begin_iteration(self) -> None:
        if self._max_iter > 0:
            for observer in self._observers:
                observer.begin_iteration()

    def _end_start(self, state: FitState | None) -> None:
        self._open = False
        for observer in self._observers:
            self._stopped |= observer.end_start(state)

    def _end_failed_start(self) -> None:
        """End the start that is open still: it has failed, or was to make no iteration."""
        if self._open:
            if self._max_iter > 0:
                for observer in self._observers:
                    observer.end_iteration(None)
            self._end_start(None)
