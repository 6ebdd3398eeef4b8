"""Whether a fit is worth going on with: one that could hardly become the best of a search is abandoned."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from fastgmm import fitting

__all__ = ["Hope", "Hopeless", "Interrupted"]

HOPE = 10.0
"""How many times the estimate of what is to come may be wrong."""


class Hope(NamedTuple):
    """Whether a fit may still become better than a target.

    From its last two gains follows Aitken's estimate of what is still to gain; several times as much is granted.
    """

    loss: Callable[[float], float]
    target: float

    def is_lost(self, bounds: list[float]) -> bool:
        """Whether there is none, after these mean log-likelihoods, of which the last three count."""
        if len(bounds) < 3:
            return False
        before, gain = bounds[-2] - bounds[-3], bounds[-1] - bounds[-2]
        if not 0 < gain < before:
            return False
        return self.loss(bounds[-1] + HOPE * gain * gain / (before - gain)) > self.target


class Hopeless:
    """A callback that stops a fit without hope, or when the search was interrupted."""

    def __init__(self, hope: Hope, stop: threading.Event, tell: Callable[[str], None]) -> None:
        self._hope, self._stop, self._tell, self._bounds = hope, stop, tell, []
        self.why: str | None = None

    def __call__(self, state: fitting.FitState) -> bool:
        """Return whether to stop."""
        self._bounds.append(state.lower_bound)
        self._tell(f"iteration {state.iteration}")
        if self._hope.is_lost(self._bounds):
            self.why = f"after {state.iteration} iterations it could hardly become better than {self._hope.target:.6g}"
        return self.why is not None or self._stop.is_set()


class Interrupted(Exception):
    """The search was told to stop."""
