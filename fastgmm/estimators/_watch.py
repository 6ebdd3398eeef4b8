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

    def end_start(self, state: FitState | None) -> None:
        """Take note that a start has ended, with its last iteration, None if it failed or made none."""

    def end(self, result: FitResult) -> None:
        """Take note that the fit has succeeded."""


class Watch:
    """All observers of one fit, behind the one callback that a fit has.

    A fit tells of an iteration when it ends. What comes next begins right then, and a start that never ended, when a
    later one is heard of, has failed.

    Parameters
    ----------
    observers : sequence of Observer
        Who is told.
    n_init, max_iter : int
        Number of starts, and largest number of iterations of each.
    """

    def __init__(self, observers: Sequence[Observer], n_init: int, max_iter: int) -> None:
        self._observers, self._n_init, self._max_iter = observers, n_init, max_iter
        self._init: int | None = None

    @property
    def callback(self) -> Callable[[FitState], bool] | None:
        """To be called with the state after every iteration; returns whether to stop. None if nobody watches."""
        return self._iteration if self._observers else None

    def begin(self) -> None:
        """Tell that the fit begins."""
        for observer in self._observers:
            observer.begin()
        self._begin_start(0)

    def end(self, result: FitResult) -> None:
        """Tell that the fit has succeeded.

        Parameters
        ----------
        result : FitResult
            What it returned.
        """
        self._go_to(self._n_init)
        for observer in self._observers:
            observer.end(result)

    def _iteration(self, state: FitState) -> bool:
        self._go_to(state.init)
        stop = False
        for observer in self._observers:
            stop |= observer.end_iteration(state)
        if stop or state.converged or state.iteration == self._max_iter:
            self._end_start(state)
        else:
            self._begin_iteration()
        return stop

    def _go_to(self, init: int) -> None:
        """End the starts before this one, which have failed or made no iteration."""
        while self._init is not None and self._init < init:
            if self._max_iter > 0:
                for observer in self._observers:
                    observer.end_iteration(None)
            self._end_start(None)

    def _begin_start(self, init: int) -> None:
        self._init = init
        for observer in self._observers:
            observer.begin_start(init)
        if self._max_iter > 0:
            self._begin_iteration()

    def _begin_iteration(self) -> None:
        for observer in self._observers:
            observer.begin_iteration()

    def _end_start(self, state: FitState | None) -> None:
        for observer in self._observers:
            observer.end_start(state)
        following = self._init + 1
        self._init = None
        if following < self._n_init:
            self._begin_start(following)


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

    def end_start(self, state: FitState | None) -> None:
        """Print how the start ended; scikit-learn's starts fail with the whole fit, so it has no word for it."""
        if state is None:
            return
        lapse = time.perf_counter() - self._start_time
        details = f" time lapse {lapse:.5f}s\t lower bound {state.lower_bound:.5f}." if self._detailed else ""
        print(f"Initialization {'converged' if state.converged else 'did not converge'}.{details}")
