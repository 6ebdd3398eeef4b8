"""Who watches a fit: the lines that `verbose` prints, and scikit-learn's callbacks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastgmm.fitting import FitResult, FitState


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

    def begin(self) -> None:
        """Tell that the fit begins."""
        for observer in self._observers:
            observer.begin()

    def before_start(self, init: int) -> bool:
        """Tell that a start begins, unless one of the observers wants no more; return whether it does.

        Parameters
        ----------
        init : int
            Number of the start.
        """
        self._end_failed_start()
        if self._stopped:
            return False
        self._open = True
        for observer in self._observers:
            observer.begin_start(init)
        self._begin_iteration()
        return True

    @property
    def after_iteration(self) -> Callable[[FitState], bool] | None:
        """To be called with the state after every iteration; returns whether to stop. None if nobody watches."""
        return self._iteration if self._observers else None

    def end(self, result: FitResult) -> None:
        """Tell that the fit has succeeded.

        Parameters
        ----------
        result : FitResult
            What it returned.
        """
        self._end_failed_start()
        for observer in self._observers:
            observer.end(result)

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


class Printer(Observer):
    """The lines that scikit-learn's mixtures print.

    Parameters
    ----------
    verbose : int
        1 prints starts and iterations; from 2 on also times and log-likelihoods.
    interval : int
        Number of iterations between two lines.
    """

    def __init__(self, verbose: int, interval: int) -> None:
        self._detailed, self._interval = verbose > 1, interval

    def begin_start(self, init: int) -> None:
        """Print the number of the start."""
        print(f"Initialization {init}")
        self._start_time = self._line_time = time.perf_counter()

    def end_iteration(self, state: FitState | None) -> bool:
        """Print a line for every `interval`-th iteration."""
        if state is not None and state.iteration % self._interval == 0:
            now = time.perf_counter()
            lapse, self._line_time = now - self._line_time, now
            details = f"\t time lapse {lapse:.5f}s\t ll change {state.change:.5f}" if self._detailed else ""
            print(f"  Iteration {state.iteration}{details}")
        return False

    def end_start(self, state: FitState | None) -> bool:
        """Print how the start ended; scikit-learn's starts fail with the whole fit, so it has no word for it."""
        if state is not None:
            lapse = time.perf_counter() - self._start_time
            details = f" time lapse {lapse:.5f}s\t lower bound {state.lower_bound:.5f}." if self._detailed else ""
            print(f"Initialization {'converged' if state.converged else 'did not converge'}.{details}")
        return False
