"""The clock: equal answers first, then interleaved rounds, medians and pairwise ratios.

Three rules keep the figures honest. Libraries whose answers differ are not timed at all. Libraries take turns
(A B A B ...), so that whatever else the computer does falls on all of them. A ratio is formed within a round, from
runs that lie next to each other in time, and the median of the ratios is reported with their range.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

RELATIVE_TOLERANCE = 1e-6  # of log-likelihoods after equal work from an equal start
MIN_SECONDS = 0.05  # short calls are repeated within one sample until a sample takes this long
SETTLE_SECONDS = 0.15  # BLAS keeps idle threads spinning for a tenth of a second before they sleep and free the cores


class UnequalAnswers(AssertionError):
    """Two libraries gave different answers to the same question, so that their times mean nothing."""


class NotMeasurable(RuntimeError):
    """What was asked for cannot be measured here or now."""


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of repeated measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


def require_equal(answers: Mapping[str, float], tolerance: float = RELATIVE_TOLERANCE) -> float:
    """Return the largest relative difference from the first answer.

    Raises
    ------
    UnequalAnswers
        If it exceeds `tolerance`, or an answer is not finite.
    """
    (first, expected), *others = answers.items()
    largest = 0.0
    for name, answer in others:
        if not (math.isfinite(expected) and math.isfinite(answer)):
            raise UnequalAnswers(f"{first} gives {expected!r} and {name} {answer!r}: not finite")
        difference = abs(answer - expected) / max(abs(answer), abs(expected), math.ulp(0.0))
        if difference > tolerance:
            raise UnequalAnswers(
                f"{first} gives {expected!r} and {name} {answer!r}: relative difference {difference:.1e}, "
                f"allowed {tolerance:.0e}"
            )
        largest = max(largest, difference)
    return largest


def require_equal_arrays(answers: Mapping[str, np.ndarray], tolerance: float = RELATIVE_TOLERANCE) -> float:
    """Return the largest difference from the first array, relative to that array's largest absolute value.

    Raises
    ------
    UnequalAnswers
        If it exceeds `tolerance`, a value is not finite, or the shapes differ.
    """
    (first, expected), *others = answers.items()
    scale = max(float(np.max(np.abs(expected))), math.ulp(0.0))
    largest = 0.0
    for name, answer in others:
        if answer.shape != expected.shape:
            raise UnequalAnswers(f"{first} gives an array of shape {expected.shape} and {name} {answer.shape}")
        difference = float(np.max(np.abs(answer - expected))) / scale
        if not difference <= tolerance:  # also true for NaN
            raise UnequalAnswers(f"{first} and {name} differ by {difference:.1e}, allowed {tolerance:.0e}")
        largest = max(largest, difference)
    return largest


@dataclass(frozen=True)
class Timed:
    """Seconds of every round by action, and what `after` made of the actions' outcomes."""

    seconds: dict[Hashable, list[float]]
    outcomes: dict[Hashable, list[Any]]


def interleave(
    actions: Mapping[Hashable, Callable[[int], Any]],
    rounds: int,
    *,
    after: Callable[[Hashable, Any], Any] = lambda key, outcome: None,
    clock: Callable[[], float] = time.perf_counter,
    settle: float = SETTLE_SECONDS,
) -> Timed:
    """Time the actions in turn, `rounds` times over.

    Parameters
    ----------
    actions : mapping of key to callable
        `action(round)` is timed.
    rounds : int
    after : callable, default=returns None
        `after(key, outcome)` runs outside the clock; what it returns is kept instead of the outcome.
    clock : callable, default=time.perf_counter
    settle : float, default=SETTLE_SECONDS
        Seconds of rest before every action.
    """
    timed = Timed({key: [] for key in actions}, {key: [] for key in actions})
    for number in range(rounds):
        for key, action in actions.items():
            gc.collect()
            time.sleep(settle)
            began = clock()
            outcome = action(number)
            timed.seconds[key].append(clock() - began)
            timed.outcomes[key].append(after(key, outcome))
            del outcome  # large results must not live on while the next action runs
    return timed


def per_iteration(low: list[float], high: list[float], iterations: tuple[int, int]) -> list[float]:
    """Return seconds per iteration of every round, from runs of two lengths, so that start-up cancels.

    Where the computer was so busy with other things that more iterations took no longer, the longer run is taken with
    its start-up: too long, but not nonsense. That must not be the case in more than a third of the rounds.
    """
    few, many = iterations
    differences = [(b - a) / (many - few) for a, b in zip(low, high, strict=True)]
    if sum(seconds <= 0 for seconds in differences) > len(differences) / 3:
        raise NotMeasurable(f"{many} iterations took no longer than {few}: the computer is too busy")
    return [seconds if seconds > 0 else b / many for seconds, b in zip(differences, high, strict=True)]


def repeated(action: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> int:
    """Return how often to call a warm `action` within one sample so that the sample takes MIN_SECONDS."""
    action()
    began = clock()
    action()
    return max(1, math.ceil(MIN_SECONDS / max(clock() - began, 1e-9)))


def ratios(reference: list[float], subject: list[float]) -> list[float]:
    """Return reference / subject round by round: how many times less the subject takes."""
    return [a / b for a, b in zip(reference, subject, strict=True)]
