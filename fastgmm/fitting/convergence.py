"""How far a fit has come: the last gain, the rate at which gains shrink, and what is still to gain.

EM climbs in the end like a geometric series: every gain of the log-likelihood is the same share of the one before. Its
sum is Aitken's estimate of what is still to come (Böhning, Dietz, Schaub, Schlattmann and Lindsay 1994, Ann. Inst.
Statist. Math. 46:373). Where that share is close to one, a small gain says little: a gain of 1e-3 with a share of 0.99
leaves 0.1. Before the end gains scatter, and the estimate of a moment is worth little. Here it is the largest over the
last few steps, and no less than what two longer stretches of iterations say, accelerated ones included.
"""

import math
import operator
import sys
from typing import NamedTuple

from fastgmm._checks import check_choice

__all__ = ["STOPPING", "Progress", "check_stopping"]

N_RATES = 8
STRETCH = 8  # iterations
ROUNDING = 64 * sys.float_info.epsilon  # of a log-likelihood
STOPPING = ("gain", "aitken")
"""Rules of stopping: what has to be below `tol`."""


class Progress(NamedTuple):
    """What the last iterations tell.

    Attributes
    ----------
    bounds : tuple of float
        Mean log-likelihoods of the parameters before the last M-steps.
    gain : float
        Gain by the last step of EM that was seen from both ends, or of the next where that is known; infinite before.
    rates : tuple of float
        Of the last few steps: the share of its gain that the next one is likely to have.
    """

    bounds: tuple = ()
    gain: float = math.inf
    rates: tuple = ()

    @property
    def bound(self):
        """Mean log-likelihood before the last M-step; minus infinity before there was one."""
        return self.bounds[-1] if self.bounds else -math.inf

    def after(self, bound, rate=None, gain=None):
        """Return the progress after one more step of EM.

        Parameters
        ----------
        bound : float
            Mean log-likelihood that the step has reached.
        rate : float, optional
            Rate of gains, where more is known than the ratio of the last two.
        gain : float, optional
            What a step of EM from here gains, where that is known before it is made.
        """
        gain = bound - self.bound if gain is None else gain
        if rate is None and math.isfinite(self.gain):
            rate = _share(gain, self.gain, bound)
        rates = self.rates if rate is None else (*self.rates[1 - STRETCH :], rate)
        return Progress((*self.bounds[-2 * STRETCH :], bound), gain, rates)

    def along(self, bounds, stopping, tol):
        """Return how many steps of EM are taken before the rule says to stop, and the progress after these.

        Parameters
        ----------
        bounds : list of float
            Mean log-likelihoods that steps one after the other have reached, one at least.
        stopping, tol
            As in `reason`.

        Returns
        -------
        n_taken : int
            All of them, if the rule says nothing.
        progress : Progress
            What `after` gives, step by step.
        """
        if stopping == "aitken":
            progress = self
            for n_taken, bound in enumerate(bounds, 1):
                progress = progress.after(bound)
                if progress.reason(stopping, tol):
                    return n_taken, progress
            return len(bounds), progress
        gains = map(operator.sub, bounds, (self.bound, *bounds))
        n_taken = next((n for n, gain in enumerate(gains, 1) if abs(gain) < tol), len(bounds))
        return n_taken, self._after_all(bounds[:n_taken])

    def _after_all(self, bounds):
        """Return the progress after steps of EM, of which only those are looked at whose rates are remembered."""
        n_before = len(bounds) - STRETCH
        progress = self
        if n_before > 0:
            bound, previous = bounds[n_before - 1], bounds[n_before - 2] if n_before > 1 else self.bound
            progress = Progress((*self.bounds, *bounds[:n_before])[-2 * STRETCH :], bound - previous)
        for bound in bounds[max(n_before, 0) :]:
            progress = progress.after(bound)
        return progress

    def at(self, bound):
        """Return the progress after an iteration that was no step of EM: gains of such ones follow no rate."""
        return Progress((*self.bounds[-2 * STRETCH :], bound), self.gain, self.rates)

    @property
    def rate(self):
        """The largest of the last few rates; nan before there are as many."""
        return max(self.rates) if len(self.rates) == STRETCH else math.nan

    @property
    def remaining(self):
        """Estimate of the mean log-likelihood still to gain; infinite if gains grow or too little is known."""
        if len(self.bounds) <= 2 * STRETCH or math.isnan(self.rate):
            return math.inf
        first, middle, last = self.bounds[::STRETCH]
        by_step = _sum_of_gains(self.gain, self.rate, last)
        return max(by_step, _sum_of_gains(last - middle, _share(last - middle, middle - first, last), last))

    def reason(self, stopping, tol):
        """Return "tol" or "aitken" if the rule says to stop, else None."""
        if stopping == "gain":
            return "tol" if abs(self.gain) < tol else None
        return "aitken" if self.remaining < tol else None


def _share(gain, before, bound):
    """Return what share of the gain before a gain has, in size; gains of rounding are none."""
    noise = ROUNDING * abs(bound)
    if abs(gain) <= noise:
        return 0.0
    return abs(gain / before) if abs(before) > noise else math.inf


def _sum_of_gains(gain, rate, bound):
    """Return gain * rate + gain * rate**2 + ..., in size: the geometric series after a gain."""
    if abs(gain) <= ROUNDING * abs(bound):
        return 0.0
    return abs(gain) * rate / (1 - rate) if rate < 1 else math.inf


def check_stopping(stopping):
    """Return the name of a rule of stopping; raise InvalidParameterError if there is none of that name."""
    return check_choice(stopping, "stopping", STOPPING)
