"""The command line: fit a mixture to a table, and use it."""

from .main import main

__all__ = ["main"]
