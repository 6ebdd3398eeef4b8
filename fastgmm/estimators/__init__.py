"""Estimators with scikit-learn's interface: thin coats over `fastgmm.fitting` and `fastgmm.Mixture`.

They inherit from scikit-learn's base classes where it is installed, and work all the same where it is not.
"""

from .classifier import GaussianMixtureClassifier
from .gaussian_mixture import GaussianMixture

__all__ = ["GaussianMixture", "GaussianMixtureClassifier"]
