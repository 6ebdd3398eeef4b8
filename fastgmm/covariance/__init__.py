"""Covariance families and their registry: the one place where a family is looked up by name.

The fourteen structures of Celeux and Govaert have mclust's names. Four of them are scikit-learn's families, and have
its names beside: full is VVV, tied EEE, diag VVI, spherical VII.
"""

from fastgmm._errors import InvalidParameterError
from fastgmm.covariance.base import Family, Parameters
from fastgmm.covariance.diag import Diag
from fastgmm.covariance.eei import EEI
from fastgmm.covariance.eev import EEV
from fastgmm.covariance.eii import EII
from fastgmm.covariance.eve import EVE
from fastgmm.covariance.evi import EVI
from fastgmm.covariance.evv import EVV
from fastgmm.covariance.floor import Floor
from fastgmm.covariance.full import Full
from fastgmm.covariance.spherical import Spherical
from fastgmm.covariance.tied import Tied
from fastgmm.covariance.univariate import E, V
from fastgmm.covariance.vee import VEE
from fastgmm.covariance.vei import VEI
from fastgmm.covariance.vev import VEV
from fastgmm.covariance.vve import VVE

__all__ = ["SKLEARN", "Family", "Floor", "Parameters", "get", "known", "names"]

_STRUCTURES = {
    "EII": EII(),
    "VII": Spherical(),
    "EEI": EEI(),
    "VEI": VEI(),
    "EVI": EVI(),
    "VVI": Diag(),
    "EEE": Tied(),
    "VEE": VEE(),
    "EVE": EVE(),
    "VVE": VVE(),
    "EEV": EEV(),
    "VEV": VEV(),
    "EVV": EVV(),
    "VVV": Full(),
}
_UNIVARIATE = {"E": E(), "V": V()}

SKLEARN = ("full", "tied", "diag", "spherical")
"""The families that scikit-learn has, under its names."""

_BY_NAME = {family.name: family for family in _STRUCTURES.values() if family.name in SKLEARN}
_REGISTRY = {**{name: _BY_NAME[name] for name in SKLEARN}, **_STRUCTURES, **_UNIVARIATE}


def names(n_features=None):
    """Return mclust's names of all structures; for one feature "E" and "V", which all others then are.

    Parameters
    ----------
    n_features : int, optional

    Examples
    --------
    >>> names(n_features=1)
    ('E', 'V')
    """
    return tuple(_UNIVARIATE if n_features == 1 else _STRUCTURES)


def known():
    """Return all names that `get` knows: those of scikit-learn, and all of mclust's."""
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
    >>> get("EEE") is get("tied")
    True
    """
    if isinstance(name, Family):
        return name
    if not isinstance(name, str) or name not in _REGISTRY:
        raise InvalidParameterError(f"covariance_type must be one of {', '.join(map(repr, _REGISTRY))}, got {name!r}")
    return _REGISTRY[name]
