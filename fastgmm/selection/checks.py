"""Checks that several questions about a fit have in common."""

from __future__ import annotations

from typing import Any

from fastgmm._names import refuse_other_names
from fastgmm.engine.rows import Rows
from fastgmm.mixture import Mixture, as_mixture

__all__ = ["check_mixture", "check_rows"]


def check_mixture(mixture: Any, what: str) -> Mixture:
    """Return a mixture, or that of what was fitted, without noise: what is asked for does not exist with it."""
    found = as_mixture(mixture)
    if found.noise is not None:
        raise ValueError(f"{what} is not to be had of a mixture with a noise component")
    return found


def check_rows(X: Any, mixture: Mixture, min_rows: int = 1) -> Rows:
    """Return the rows X, ValueError if they have other features, or names of features, than the mixture."""
    rows = Rows.of(X, min_rows=min_rows)
    refuse_other_names(mixture.feature_names, rows.column_names)
    if rows.n_features != mixture.n_features:
        raise ValueError(f"X has {rows.n_features} features, but the mixture has {mixture.n_features}")
    return rows
