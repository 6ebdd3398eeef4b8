"""Covariance families and their registry: the one place where a family is looked up by name.

The fourteen structures of Celeux and Govaert have mclust's names. Four of them are scikit-learn's families, and have
its names beside: full is VVV, tied EEE, diag VVI, spherical VII. Families of low rank have their rank in their name:
"mfa:10" are factor analysers with ten latent coordinates each, "mppca:10" probabilistic principal components.
"""

import functools
import re

from fastgmm._errors import InvalidParameterError
from fastgmm.covariance.base import Family, Parameters
from fastgmm.covariance.box import noise_around
from fastgmm.covariance.diag import Diag
from fastgmm.covariance.eei import EEI
from fastgmm.covariance.eev import EEV
from fastgmm.covariance.eii import EII
from fastgmm.covariance.eve import EVE
from fastgmm.covariance.evi import EVI
from fastgmm.covariance.evv import EVV
from fastgmm.covariance.floor import Floor
from fastgmm.covariance.full import Full
from fastgmm.covariance.low_rank import FactorAnalysers, LowRank, PrincipalComponents
from fastgmm.covariance.noise import START_WEIGHT, Noise, without_noise
from fastgmm.covariance.prior import ConjugatePrior, Prior, prior_of
from fastgmm.covariance.spherical import Spherical
from fastgmm.covariance.tied import Tied
from fastgmm.covariance.univariate import E, V
from fastgmm.covariance.vee import VEE
from fastgmm.covariance.vei import VEI
from fastgmm.covariance.vev import VEV
from fastgmm.covariance.vve import VVE

__all__ = [
    "SKLEARN",
    "START_WEIGHT",
    "WITH_RANK",
    "ConjugatePrior",
    "Family",
    "Floor",
    "LowRank",
    "Noise",
    "Parameters",
    "Prior",
    "get",
    "is_known",
    "known",
    "names",
    "noise_around",
    "prior_of",
    "without_noise",
]

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

_LOW_RANK = {"mfa": FactorAnalysers, "mppca": PrincipalComponents}
"""Families that have a rank, by what stands before it in their names."""

WITH_RANK = tuple(f"{prefix}:q" for prefix in _LOW_RANK)
"""Their names, for messages and help: q stands for the rank."""

_RANKED = re.compile(rf"({'|'.join(_LOW_RANK)}):([1-9]\d{{0,8}})")

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


def is_known(name):
    """Return whether a value is a name that `get` knows, one with a rank included.

    Examples
    --------
    >>> is_known("mfa:3"), is_known("mfa")
    (True, False)
    """
    return isinstance(name, str) and (name in _REGISTRY or _RANKED.fullmatch(name) is not None)


@functools.cache
def _with_rank(prefix, rank):
    return _LOW_RANK[prefix](rank)


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
    >>> get("mfa:2").rank
    2
    """
    if isinstance(name, Family):
        return name
    if not is_known(name):
        hint = ""
        if isinstance(name, str) and name.partition(":")[0] in _LOW_RANK:
            hint = "; the rank q is a whole number from 1, as in 'mfa:2'"
        known = ", ".join(map(repr, (*_REGISTRY, *WITH_RANK)))
        raise InvalidParameterError(f"covariance_type must be one of {known}, got {name!r}{hint}")
    if name in _REGISTRY:
        return _REGISTRY[name]
    prefix, rank = _RANKED.fullmatch(name).groups()
    return _with_rank(prefix, int(rank))
