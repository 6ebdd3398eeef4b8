"""Which family and how many components: criteria, and fits of all candidates."""

from .criteria import CRITERIA, Criterion, CrossValidation, cross_validate

__all__ = ["CRITERIA", "Criterion", "CrossValidation", "cross_validate"]
