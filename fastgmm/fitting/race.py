"""Races: many starts make a few iterations on few rows, and the best of them go on.

Biernacki, Celeux and Govaert (2003), Comput. Statist. Data Anal. 41:561, call it short runs of EM, and find that they
reach better optima in the same time than long runs from fewer starts do.
"""

import time
from typing import Any, NamedTuple

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.fitting.ahead import Ahead
from fastgmm.fitting.em import expectation_maximisation

__all__ = ["Race", "n_kept", "race", "sampled", "track"]

ITERATIONS = 12  # that each start makes
PART = 8  # one row in so many is raced on, within these limits
LEAST_ROWS, MOST_ROWS = 1024, 4096
ROWS_PER_COMPONENT, ROWS_PER_FEATURE = 128, 4  # and component: no fewer, whatever the limits
SHARE = 3  # one in so many goes on
SAME = 1e-9  # nats per row: starts that are no further apart after the race have become one


class Race(NamedTuple):
    """Starts to race.

    Attributes
    ----------
    entries : tuple
        Names of starts and callables, in whose order they take their turns.
    once : frozenset
        Names that have one turn, because they are hardly random.
    """

    entries: tuple[Any, ...]
    once: frozenset[str]

    def contestants(self, n_init):
        """Return n_init starts by turns, or every entry once if these are more."""
        chosen = list(self.entries)
        again = [entry for entry in self.entries if callable(entry) or entry not in self.once]
        return chosen + [again[i % len(again)] for i in range(n_init - len(chosen) if again else 0)]


def n_kept(n_init):
    """Return how many of n_init starts go on after a race."""
    return -(-n_init // SHARE)


def track(source, n_components, rng):
    """Return the source that a race is run on: all rows where they are few, else a sample of them."""
    n_rows = min(max(source.n_rows // PART, LEAST_ROWS), MOST_ROWS)
    n_rows = max(n_rows, n_components * max(ROWS_PER_COMPONENT, ROWS_PER_FEATURE * source.n_features))
    return sampled(source, n_rows, rng)


def sampled(source, n_rows, rng):
    """Return a sample of about so many rows, copied together; all rows if they are no more than twice as many."""
    return source if source.n_rows <= 2 * n_rows else source.sample(n_rows, rng).gathered()


def race(source, family, contestants, make, make_mstep, rng, *, n_kept, reg_covar, deadline):
    """Return the best starts after a few iterations, the best first: the Parameters and the `Progress` of each.

    Parameters
    ----------
    source : ArraySource
        Of `track`.
    family : Family
    contestants : list of str or callable
    make : callable
        ``make(source, contestant, seed)`` returns Parameters.
    make_mstep : callable
        ``make_mstep(source, parameters, seed)`` returns an `MStep`, or None for that of the family.
    rng : numpy.random.Generator
    n_kept : int
        How many go on, fewer if fewer differ.
    reg_covar : float
    deadline : float
        Time of `time.monotonic` after which no start joins, but the first.

    Raises
    ------
    IllDefinedCovarianceError
        If all starts end in a covariance that is not positive definite.
    """
    runners, begun, failure = [], [], None
    ahead = Ahead(source, family, reg_covar, source.moments()[0], 0.0, ITERATIONS)
    for contestant, seed in zip(contestants, rng.integers(2**63, size=len(contestants)).tolist(), strict=True):
        if (runners or failure) and time.monotonic() >= deadline:
            break
        try:
            parameters = make(source, contestant, seed)
            start = _ordered(parameters)
            if any(_are_same(start, other) for other in begun):
                continue
            begun.append(start)
            mstep = make_mstep(source, parameters, seed)
            run = expectation_maximisation(
                source,
                family,
                parameters if mstep is None else mstep.start,
                tol=0.0,
                max_iter=ITERATIONS,
                reg_covar=reg_covar,
                mstep=mstep,
                deadline=deadline,
                ahead=ahead,
            )
        except IllDefinedCovarianceError as error:
            failure = failure or error
            continue
        runners.append((run.bounds[-1], run.parameters, run.progress))
    if not runners:
        raise failure
    order = sorted(range(len(runners)), key=lambda i: -runners[i][0])
    kept = [order[0]]
    for i in order[1:]:
        if len(kept) < n_kept and runners[kept[-1]][0] - runners[i][0] > SAME:
            kept.append(i)
    return [runners[i][1:] for i in kept]


def _ordered(parameters):
    """Return weights and means (K, 1 + D), components in the order of these numbers."""
    order = np.lexsort((*parameters.means.T[::-1], parameters.weights))
    return np.column_stack([parameters.weights, parameters.means])[order]


def _are_same(one, other):
    """Return whether two starts, in their orders, are the same but for rounding."""
    return bool((np.abs(one - other) <= 1e-9 * np.abs(other)).all())
