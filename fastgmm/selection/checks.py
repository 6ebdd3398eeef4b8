"""Checks that several questions about a fit have in common."""

from __future__ import annotations

from typing import Any

from fastgmm._errors import InvalidParameterError
from fastgmm.mixture import Mixture

__all__ = ["check_mixture"]


def check_mixture(mixture: Any, what: str) -> None:
    """Raise an error unless that is a `Mixture`, without noise: what is asked for does not exist with it."""
    if not isinstance(mixture, Mixture):
        raise InvalidParameterError(f"mixture must be a fastgmm.Mixture, got {type(mixture).__name__}")
    mixture.refuse_noise(what)
