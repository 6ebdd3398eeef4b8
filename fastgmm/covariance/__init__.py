"""Covariance families and their registry: the one place where a family is looked up by name."""

from fastgmm._errors import InvalidParameterError
from fastgmm.covariance.base import Family, Parameters
from fastgmm.covariance.diag import Diag
from fastgmm.covariance.floor import Floor
from fastgmm.covariance.full import Full
from fastgmm.covariance.spherical import Spherical
from fastgmm.covariance.tied import Tied

__all__ = ["Family", "Floor", "Parameters", "get", "names"]

_REGISTRY = {family.name: family for family in (Full(), Tied(), Diag(), Spherical())}


def names():
    """Return the names of all families."""
    return tuple(_REGISTRY)


def get(name):
    """Return the family of a name, or the family itself if it is one.

    Raises
    ------
    InvalidParameterError
        If there is none of that name.

    Examples
    --------
    >>> get("tied").n_parameters(n_components=5, n_features=3)
    6
    """
    if isinstance(name, Family):
        return name
    if not isinstance(name, str) or name not in _REGISTRY:
        raise InvalidParameterError(f"covariance_type must be one of {', '.join(map(repr, _REGISTRY))}, got {name!r}")
    return _REGISTRY[name]
