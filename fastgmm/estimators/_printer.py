"""The lines that `verbose` prints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fastgmm.fitting.watch import Observer

if TYPE_CHECKING:
    from fastgmm.fitting import FitState


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
