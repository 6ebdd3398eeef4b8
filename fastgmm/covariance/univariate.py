"""E and V, mclust's names for one feature: one variance for all components (EII), or each its own (VII)."""

from fastgmm.covariance.eii import EII
from fastgmm.covariance.spherical import Spherical

__all__ = ["E", "V"]


class E(EII):
    """All components share one variance of the only feature."""

    name, general = "E", "EII"
    summary = "one feature, one variance for all components"


class V(Spherical):
    """Each component has its own variance of the only feature."""

    name, general = "V", "VII"
    summary = "one feature, each component its own variance"
