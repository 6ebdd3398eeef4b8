"""Which family and how many components: criteria, and one search over all candidates."""

from .candidate import Candidate
from .criteria import CRITERIA, Criterion, CrossValidation, cross_validate
from .selection import Selection
from .sweep import NothingFittedError, select

__all__ = [
    "CRITERIA",
    "Candidate",
    "Criterion",
    "CrossValidation",
    "NothingFittedError",
    "Selection",
    "cross_validate",
    "select",
]
