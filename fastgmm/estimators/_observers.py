"""Who watches a fit: the lines that `verbose` prints, and scikit-learn's callbacks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy.typing as npt

from fastgmm.fitting import FitState
from fastgmm.mixture import Mixture

from . import _callbacks


class Observer(Protocol):
    """Is told of every iteration as it ends, and of the end of the fit."""

    def iteration(self, state: FitState, last: bool) -> bool:
        """Take note of an iteration, the last of its start or not; return whether the start shall stop."""

    def end(self, mixture: Mixture) -> None:
        """Take note that the fit has succeeded."""


class Watch:
    """All observers of one fit as one callback.

    Parameters
    ----------
    estimator : estimator
        With `verbose`, `verbose_interval`, `tol` and `max_iter`; and with what scikit-learn's `set_callbacks` has set.
    X, y, sample_weight : object
        What the user passed to `fit`.
    n_init : int
        Number of starts of this fit.

    Attributes
    ----------
    callback : callable or None
        To be called with the state after every iteration; returns whether to stop. None if nobody watches.
    """

    callback: Callable[[FitState], bool] | None

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: npt.ArrayLike | None, n_init: int) -> None:
        self._tol, self._max_iter = estimator.tol, estimator.max_iter
        self._observers: list[Observer] = []
        if estimator.verbose:
            self._observers.append(Printer(int(estimator.verbose), estimator.verbose_interval, n_init))
        if _callbacks.wanted(estimator):
            self._observers.append(_callbacks.Tasks(estimator, X, y, sample_weight, n_init))
        self.callback = self._iteration if self._observers else None

    def _iteration(self, state: FitState) -> bool:
        last = abs(state.change) < self._tol or state.iteration == self._max_iter
        # Every observer is told, whatever the first one wants.
        return any([observer.iteration(state, last) for observer in self._observers])

    def end(self, mixture: Mixture) -> None:
        """Tell all observers that the fit has succeeded.

        Parameters
        ----------
        mixture : Mixture
            What was fitted.
        """
        for observer in self._observers:
            observer.end(mixture)


class Printer:
    """The lines that scikit-learn's mixtures print.

    Parameters
    ----------
    verbose : int
        1 prints starts and iterations; from 2 on also times and log-likelihoods.
    interval : int
        Number of iterations between two lines.
    n_init : int
        Number of starts.
    """

    def __init__(self, verbose: int, interval: int, n_init: int) -> None:
        self._detailed, self._interval, self._n_init = verbose > 1, interval, n_init
        self._begin(0)

    def _begin(self, init: int) -> None:
        print(f"Initialization {init}")
        self._init = init
        self._open = True
        self._init_time = self._line_time = time.perf_counter()

    def _end(self, outcome: str, details: str = "") -> None:
        print(f"Initialization {outcome}.{details}")
        self._open = False

    def iteration(self, state: FitState, last: bool) -> bool:
        """Print a line for every `interval`-th iteration, and the lines between two starts."""
        while self._init < state.init:
            # A start that ended without its last iteration has failed.
            if self._open:
                self._end("did not converge")
            self._begin(self._init + 1)
        now = time.perf_counter()
        if state.iteration % self._interval == 0:
            lapse, self._line_time = now - self._line_time, now
            details = f"\t time lapse {lapse:.5f}s\t ll change {state.change:.5f}" if self._detailed else ""
            print(f"  Iteration {state.iteration}{details}")
        if last:
            lapse = now - self._init_time
            details = f" time lapse {lapse:.5f}s\t lower bound {state.lower_bound:.5f}." if self._detailed else ""
            self._end("converged" if state.converged else "did not converge", details)
            if state.init + 1 < self._n_init:
                self._begin(state.init + 1)
        return False

    def end(self, mixture: Mixture) -> None:
        """Close the line of a last start that has failed."""
        if self._open:
            self._end("did not converge")
