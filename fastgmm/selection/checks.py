"""Checks that several questions about a fit have in common."""

from __future__ import annotations

from typing import Any

from fastgmm.mixture import Mixture, as_mixture

__all__ = ["check_mixture"]


def check_mixture(mixture: Any, what: str) -> Mixture:
    """Return a mixture, or that of what was fitted, without noise: what is asked for does not exist with it."""
    found = as_mixture(mixture)
    if found.noise is not None:
        raise ValueError(f"{what} is not to be had of a mixture with a noise component")
    return found
