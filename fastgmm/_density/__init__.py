"""What can be computed from a mixture's parameters: scores of rows, criteria, and draws."""

from .density import Density

__all__ = ["Density"]
