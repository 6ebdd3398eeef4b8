"""The M-step of one run: the family's, with a floor, held parameters, and care for components that collapse.

A component collapses if it has no rows left, if it meets the floor, or if it is the same as another. Met by the floor
along directions in which the data themselves vary: where they do not, every component is thin.
"""

from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from fastgmm._checks import check_choice, is_number
from fastgmm._errors import IllDefinedCovarianceError, InvalidParameterError
from fastgmm.covariance import START_WEIGHT, Floor, Noise, Parameters, noise_around, without_noise
from fastgmm.covariance.base import MIN_MASS
from fastgmm.fitting import log
from fastgmm.fitting.held import Held

__all__ = [
    "DEFAULT_FLOOR",
    "POLICIES",
    "Collapse",
    "MStep",
    "check_floor",
    "floor_of",
    "noise_of",
    "penalised",
]

POLICIES = ("raise", "floor", "reseed", "drop")

DEFAULT_FLOOR = 1e-6
"""Share of the data's covariance that components keep if a policy needs a floor and none is given."""

MAX_RESEEDS = 3  # of one component: then there is no place for it, and it stays at the floor
BADLY_EXPLAINED = 0.1  # a component is put anew at one of this share of the rows, those of least density
SAME = 1e-6  # distance of means and covariances, in standard deviations, of components that are one


@dataclass(frozen=True)
class Collapse:
    """A component that collapsed, and what was done.

    Attributes
    ----------
    iteration : int
        From 1; 0 for the start.
    component : int or None
        Its number at the start of the run, which others that were dropped do not change. None if all components share
        the covariance.
    cause : {"no rows", "thin", "duplicate"}
        Thin: its covariance met the floor.
    action : {"kept", "reseeded", "dropped"}
        A component that is kept is held at the floor, and one without rows stays where it is.
    """

    iteration: int
    component: int | None
    cause: str
    action: str


def check_floor(on_collapse, covariance_floor):
    """Return the share of the data's covariance that is the floor of a fit, None for no floor.

    Raises
    ------
    InvalidParameterError
        If the policy is unknown or the floor no share.
    """
    check_choice(on_collapse, "on_collapse", POLICIES)
    if covariance_floor is None:
        return None if on_collapse == "raise" else DEFAULT_FLOOR
    share = covariance_floor
    if not is_number(share, Real, 0) or not 0 < share <= 1:
        raise InvalidParameterError(f"covariance_floor must be None or a number in (0, 1], got {share!r}")
    return float(share)


def floor_of(source, family, share):
    """Return the Floor that is a share of the covariance of the rows of a source.

    Raises
    ------
    IllDefinedCovarianceError
        If it overflows float64.
    """
    mean, total, _ = source.moments()
    if family.statistics_kind() == "full":
        total = source.covariance()
        if not np.isfinite(total).all():
            raise IllDefinedCovarianceError
    return Floor.of(share, total, mean, source.dtype)


def noise_of(noise, source, masks, start):
    """Return the Noise that EM starts from, None for none.

    Raises
    ------
    InvalidParameterError
        If it is neither None, a bool nor a volume; if the volume cannot be had from the rows; if weights are held.
    """
    if noise is None or noise is False:
        return None
    if noise is not True and (not is_number(noise, Real, 0) or not noise > 0):
        raise InvalidParameterError(f"noise must be None, True or a volume, a finite number > 0, got {noise!r}")
    if masks["weights"].any():
        raise InvalidParameterError("noise and fixed['weights'] exclude each other: give one of them")
    own = None if start is None else start.noise
    variances = source.moments()[1]
    scales = tuple(np.sqrt(variances).tolist()) if (variances > 0).all() else None  # where gaps may come later, too
    if own is not None:
        return own if own.scales is not None else replace(own, scales=scales)
    if noise is not True:
        return Noise(START_WEIGHT, float(np.log(noise)), scales)
    return noise_around(source, scales if source.has_gaps else None)


class MStep:
    """The M-step of one run, and what it did to components that collapsed.

    Parameters
    ----------
    source : ArraySource
    family : Family
    start : Parameters
        Float64. What is held is held at these values.
    masks : mapping
        Which parameters are held: see `check_fixed`.
    equal_weights : bool
    reg_covar : float
    floor : Floor or None
    prior : Prior or None
        With it the posterior density is what rises.
    noise : Noise or None
        The uniform component that the run starts with.
    on_collapse : str
        One of `POLICIES`; all but "raise" need a floor.
    max_iter : int
        Nothing is put anew or removed in the last iteration.
    continued : bool
        Whether the start is where another run ended: then it is above the floor already, but for rounding.
    rng : numpy.random.Generator

    Attributes
    ----------
    start : Parameters
        Where the run starts: above the floor, with equal weights where they are imposed.
    disturbed : bool
        Whether the last step put a component anew or removed one: the log-likelihood then starts afresh.
    collapses : list of Collapse
    """

    def __init__(
        self,
        source,
        family,
        start,
        *,
        masks,
        equal_weights,
        reg_covar,
        floor,
        on_collapse,
        max_iter,
        continued,
        rng,
        prior=None,
        noise=None,
    ):
        self._source, self._family, self._reg_covar, self._floor = source, family, reg_covar, floor
        self._prior, self._noise = prior, noise
        self._held = Held(**masks, values=start, equal_weights=equal_weights)
        self._moves = on_collapse in ("reseed", "drop")
        self._reseeds, self._max_iter, self._rng = on_collapse == "reseed", max_iter, rng
        self._numbers = np.arange(start.n_components)
        self._n_reseeded = np.zeros(start.n_components, dtype=int)
        self._known = set()
        self.collapses, self.disturbed = [], False
        if equal_weights:
            start = replace(start, weights=self._held.maximise_weights(start.weights))
        if floor is not None and not continued:
            start, met = self._complete(start.weights, start.means, start.covariances)
            self._keep(0, self._causes(start.weights, start, met))
        self.start = replace(start, noise=self._noise)

    def __call__(self, stats, previous, iteration):
        """Return the parameters after an M-step: see `Family.maximise`.

        Parameters
        ----------
        stats : Statistics
        previous : Parameters
        iteration : int
        """
        noise = None
        if self._noise is not None:
            stats, noise = without_noise(stats, self._noise)
        return replace(self._of_components(stats, previous, iteration), noise=noise)

    def _of_components(self, stats, previous, iteration):
        """Return the parameters of the components that are no noise: see `__call__`."""
        held, self.disturbed = self._held, False
        prior = None if self._prior is None else self._prior.holding(held.means)
        shares, means, covariances = self._family.estimate(
            held.hold_means(stats), reg_covar=self._reg_covar, previous=previous, floor=self._floor, prior=prior
        )
        parameters, met = self._complete(held.maximise_weights(shares), means, covariances)
        if self._floor is None:
            return parameters
        causes = self._causes(shares, parameters, met)
        move = self._movable(shares, causes) if self._moves and iteration < self._max_iter else None
        if move is not None:
            cause = causes.get(move) or causes[None]
            self._note(iteration, move, cause, "reseeded" if self._reseeds else "dropped")
            parameters = self._reseed(parameters, move) if self._reseeds else self._drop(parameters, move)
            self.disturbed = True
        else:
            self._keep(iteration, causes)
        return parameters

    def bound(self, stats, parameters):
        """Return what rises: the log-likelihood of a pass or, with a prior, the log-posterior; per unit of weight."""
        return penalised(stats.log_likelihood, stats.total_weight, parameters, self._family, self._prior)

    def feasible(self, parameters):
        """Return parameters with what is held in its place and covariances above the floor, as all M-steps give them.

        Elsewhere the likelihood may be higher than that of any mixture that a fit may return.
        """
        held, noise = self._held, parameters.noise
        parameters = self._family.feasible(parameters)
        means = np.where(held.means[:, None], held.values.means, parameters.means)
        found = self._complete(held.maximise_weights(parameters.weights), means, parameters.covariances)[0]
        return replace(found, noise=noise)

    def _complete(self, weights, means, covariances):
        """Return Parameters with free covariances above the floor, and which met it: see `Family.floored`."""
        met = np.zeros(0, dtype=bool)
        if self._floor is not None:
            covariances, met = self._family.floored(covariances, self._floor)
            met = met & ~self._held.covariances[: len(met)]
        covariances = self._held.hold_covariances(covariances, self._family)
        mend = self._reg_covar > 0 or self._floor is not None
        return self._family.complete(weights, means, covariances, mend=mend), met

    def _causes(self, shares, parameters, met):
        """Return why components have collapsed, by their indices; None is the index of a shared covariance."""
        causes = {}
        for twin in self._duplicates(parameters):
            causes[twin] = "duplicate"
        for thin in np.flatnonzero(met).tolist():
            causes[None if self._family.shared else thin] = "thin"
        for empty in np.flatnonzero(shares <= MIN_MASS).tolist():
            causes[empty] = "no rows"
        return causes

    def _duplicates(self, parameters):
        """Return the indices of components that are the same as another, which comes first.

        Means are compared along one direction first, in which two components of one place are neighbours.
        """
        deviations = self._floor.deviations
        along = (parameters.means / deviations).sum(axis=1)
        order = np.argsort(along, kind="stable")
        means, near = parameters.means[order], SAME * np.sqrt(self._floor.share) * deviations
        close = np.flatnonzero((np.abs(np.diff(means, axis=0)) <= near).all(axis=1))
        if not len(close):
            return []
        twins = []
        for one, other in zip(order[close], order[close + 1], strict=True):
            two = parameters.covariances if self._family.shared else parameters.covariances[[one, other]]
            first, second = self._family.dense_covariances(two, 2, parameters.n_features)
            scale = np.sqrt(np.diagonal(first))
            if (np.abs(first - second) <= SAME * scale[:, None] * scale).all():
                twins.append(int(max(one, other)))
        return twins

    def _movable(self, shares, causes):
        """Return the index of the component to move: of those that may be, the one with the fewest rows; or None."""
        candidates = np.zeros(len(shares), dtype=bool)
        for index in causes:
            candidates[slice(None) if index is None else index] = True
        candidates &= ~self._held.any()
        if self._reseeds:
            candidates &= self._n_reseeded < MAX_RESEEDS
        elif len(shares) == 1 or (not self._held.equal_weights and (~self._held.weights).sum() == 1):
            return None  # nobody else could take its weight
        return int(np.argmin(np.where(candidates, shares, np.inf))) if candidates.any() else None

    def _keep(self, iteration, causes):
        """Note components that collapsed and stay, once each."""
        for index, cause in causes.items():
            self._note(iteration, index, cause, "kept")

    def _note(self, iteration, index, cause, action):
        component = None if index is None else int(self._numbers[index])
        if action == "kept" and (component, cause) in self._known:
            return
        self._known.add((component, cause))
        self.collapses.append(Collapse(iteration, component, cause, action))
        log.collapse(self.collapses[-1])

    def _drop(self, parameters, component):
        """Return the parameters without a component."""
        self._held = self._held.without(component, self._family)
        self._numbers = np.delete(self._numbers, component)
        left = self._family.without(parameters, component)
        return Parameters(self._held.maximise_weights(_normalised(left.weights)), *left.arrays()[1:])

    def _reseed(self, parameters, component):
        """Return the parameters with a component put anew at a row that they explain badly.

        K components like it would fill the volume of the data.
        """
        self._n_reseeded[component] += 1
        constants = self._family.constants(parameters, dtype=self._source.dtype, shift=self._source.moments()[0])
        density = self._source.on_kept_rows(self._source.score(constants, log_density=True).log_density)
        n_bad = max(1, int(BADLY_EXPLAINED * len(density)))
        bad = np.sort(np.argpartition(density, n_bad - 1)[:n_bad])
        means = parameters.means.copy()
        means[component] = self._source.rows_at(bad[[self._rng.integers(n_bad)]])[0]
        K, D = means.shape
        covariances = parameters.covariances
        if not self._family.shared:
            covariances = covariances.copy()
            covariances[component] = self._family.seeded(self._floor.of_share(K ** (-2 / D)), D)
        others = _normalised(np.delete(parameters.weights, component))
        shares = np.insert(others * (1 - 1 / K), component, 1 / K)
        if self._family.coupled and not self._family.shared:
            mass = np.maximum(shares, MIN_MASS)
            covariances = self._family.nearest(covariances, mass, previous=parameters.covariances, floor=self._floor)
        weights = self._held.maximise_weights(shares)
        return self._family.complete(weights, means, covariances, mend=True)


def penalised(log_likelihood, total_weight, parameters, family, prior):
    """Return the log-likelihood per unit of weight, with a Prior plus its log-density of the parameters."""
    if prior is None:
        return log_likelihood / total_weight
    return (log_likelihood + prior.log_density(parameters, family)) / total_weight


def _normalised(weights):
    """Return weights with sum one, equal ones if they are all zero."""
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(weights), 1 / max(len(weights), 1))
