"""Parameters that stay at their starting values during a fit, and equal weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fastgmm._checks import as_array
from fastgmm._errors import InvalidParameterError

__all__ = ["Held", "check_fixed"]

GIVEN_BY = {"weights": "weights_init", "means": "means_init", "covariances": "precisions_init"}
"""What can be held, and the argument that says at which values."""


def check_fixed(fixed, equal_weights, family, n_components, given):
    """Return which parameters of which components are held, by name: masks (K,).

    Parameters
    ----------
    fixed : mapping or None
    equal_weights : bool
    family : Family
    n_components : int
    given : mapping
        Arguments that give starting values, by name; None where they do not.

    Raises
    ------
    InvalidParameterError
        If `fixed` is not as described, or contradicts other arguments.
    """
    if not isinstance(equal_weights, (bool, np.bool_)):
        raise InvalidParameterError(f"equal_weights must be True or False, got {equal_weights!r}")
    if equal_weights and given["weights_init"] is not None:
        raise InvalidParameterError("equal_weights=True and weights_init exclude each other: give one of them")
    masks = dict.fromkeys(GIVEN_BY, np.zeros(n_components, dtype=bool))
    if fixed is None:
        return masks
    names = ", ".join(map(repr, GIVEN_BY))
    if not isinstance(fixed, Mapping):
        raise InvalidParameterError(
            f"fixed must be None or a mapping of {names} to True or {n_components} bools, got {fixed!r}"
        )
    for name, value in fixed.items():
        if name not in GIVEN_BY:
            raise InvalidParameterError(f"fixed must have no other keys than {names}, got {name!r}")
        mask = as_array(value, f"fixed[{name!r}]")
        if mask.dtype != bool or mask.shape not in ((), (n_components,)):
            raise InvalidParameterError(f"fixed[{name!r}] must be True, False or {n_components} bools, got {value!r}")
        masks[name] = np.broadcast_to(mask, n_components)
        if masks[name].any() and given[GIVEN_BY[name]] is None:
            raise InvalidParameterError(
                f"fixed[{name!r}] holds starting values, so {GIVEN_BY[name]} must give them, got None"
            )
    if equal_weights and masks["weights"].any():
        raise InvalidParameterError("equal_weights=True and fixed['weights'] exclude each other: give one of them")
    shared = masks["covariances"]
    if family.coupled and shared.any() and not shared.all():
        common = "share one" if family.shared else "have theirs in common in part"
        raise InvalidParameterError(
            f"fixed['covariances'] must be True or False for covariance_type={family.name!r}, where all components "
            f"{common}, got {fixed['covariances']!r}"
        )
    return masks


@dataclass(frozen=True, eq=False)
class Held:
    """What stays as it is in the M-steps of one run.

    Attributes
    ----------
    weights, means, covariances : (K,) arrays of bool
        Which of them are held.
    values : Parameters
        The start: what they are held at.
    equal_weights : bool
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    values: object
    equal_weights: bool = False

    def any(self):
        """Which components have anything held (K,)."""
        return self.weights | self.means | self.covariances

    def maximise_weights(self, weights):
        """Return the weights that maximise the likelihood, given those that maximise it without a constraint.

        With the weights of some components held, the others share what is left in proportion to their rows.
        """
        if self.equal_weights:
            return np.full(len(weights), 1 / len(weights))
        if not self.weights.any():
            return weights
        free = ~self.weights
        out = self.values.weights.copy()
        total = weights[free].sum()
        if total > 0:
            out[free] = weights[free] * (max(1.0 - out[~free].sum(), 0.0) / total)
        return out

    def hold_means(self, stats):
        """Return the statistics as an M-step has to see them."""
        return stats.with_means(self.means, self.values.means) if self.means.any() else stats

    def hold_covariances(self, covariances, family):
        """Return the covariances with those that are held in their places."""
        if not self.covariances.any():
            return covariances
        if family.coupled:
            return self.values.covariances
        covariances = covariances.copy()
        covariances[self.covariances] = self.values.covariances[self.covariances]
        return covariances

    def without(self, component, family):
        """Return the same for the components that are left when one is removed."""
        masks = {name: np.delete(getattr(self, name), component) for name in GIVEN_BY}
        return replace(self, **masks, values=family.without(self.values, component))
