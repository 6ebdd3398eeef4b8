"""Checks of what a fit is given: of arguments that belong together, or have to fit the rows."""

from numbers import Integral

import numpy as np

from fastgmm._checks import check_means, check_number, check_shape, check_weights, floats
from fastgmm._errors import InvalidParameterError
from fastgmm._forms import check_structure

__all__ = ["check_given_parameters", "check_known", "check_split_merge"]


def check_known(source, n_components, on_collapse, split_merge):
    """Raise ValueError if rows are known to belong to components that there are not, or that may be moved."""
    if not source.n_named:
        return
    if on_collapse in ("reseed", "drop"):
        raise ValueError(
            f"known_labels name components, so that on_collapse must be 'raise' or 'floor', got {on_collapse!r}"
        )
    check_moves(source, split_merge)
    if source.n_named > n_components:
        raise ValueError(
            f"known_labels must be below n_components={n_components}, or -1 where they are not known, got "
            f"{source.n_named - 1}"
        )


def check_moves(source, split_merge):
    """Raise ValueError if components are to be split and merged of which rows are known."""
    if split_merge and source.n_named:
        raise ValueError(f"known_labels name components, so that split_merge must be 0, got {split_merge}")


def check_split_merge(split_merge, fixed, noise):
    """Return the largest number of split-and-merge moves, if there may be any."""
    split_merge = check_number(split_merge, "split_merge", Integral, 0)
    if split_merge and fixed is not None:
        raise InvalidParameterError("split_merge moves components freely, so it goes with no fixed parameters")
    if split_merge and noise:
        raise InvalidParameterError("split_merge moves components of Gaussians alone, so it goes with no noise")
    return split_merge


def check_given_parameters(family, n_components, n_features, weights, means, precisions):
    """Return the given starting parameters that are not None, by name, checked, float64."""
    given = {}
    if weights is not None:
        given["weights"] = check_weights(weights, n_components).astype(np.float64)
    if means is not None:
        given["means"] = check_means(means, n_components, n_features).astype(np.float64)
    if precisions is not None:
        precisions = floats(precisions, f"{family.name} precision")
        check_shape(precisions, family.covariance_shape(n_components, n_features), f"{family.name} precision")
        made = family.from_precisions(precisions.astype(np.float64), n_components, n_features)
        check_structure(family, *made, np.finfo(precisions.dtype).eps, "precision")
        given["precisions"] = made
    return given
