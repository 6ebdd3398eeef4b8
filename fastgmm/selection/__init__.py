"""Which family and how many components: criteria, and one search over all candidates."""

from .bootstrap import ParameterBootstrap, bootstrap_choice, bootstrap_parameters
from .candidate import Candidate
from .criteria import CRITERIA, Criterion, CrossValidation, cross_validate
from .information import standard_errors
from .likelihood_ratio import LikelihoodRatioTest, bootstrap_lrt
from .merging import Merging, merge_components
from .search import NothingFittedError
from .selection import Selection
from .sweep import select

__all__ = [
    "CRITERIA",
    "Candidate",
    "Criterion",
    "CrossValidation",
    "LikelihoodRatioTest",
    "Merging",
    "NothingFittedError",
    "ParameterBootstrap",
    "Selection",
    "bootstrap_choice",
    "bootstrap_lrt",
    "bootstrap_parameters",
    "cross_validate",
    "merge_components",
    "select",
    "standard_errors",
]
