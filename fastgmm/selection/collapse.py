"""When a component has collapsed: where its covariance is a tiny share of that of the rows."""

from __future__ import annotations

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.covariance import Family, Floor, Parameters

from .starts import Few

__all__ = ["CollapsedError", "are_thin", "thin_floor"]

THIN = 1e-6  # share of the data's covariance: components below have collapsed


def thin_floor(few: Few, dtype: np.dtype) -> Floor | None:
    """Return the covariances below which a component has collapsed, None where those of the rows overflow."""
    offsets = few.rows - few.mean
    total = (few.weights[:, None] * offsets).T @ offsets / few.weights.sum()
    return Floor.of(THIN, total, few.mean, dtype) if np.isfinite(total).all() else None


def are_thin(floor: Floor | None, family: Family, several: list[Parameters]) -> list[bool]:
    """Return of which of several mixtures, all with as many components, one has collapsed; without a floor of none."""
    if floor is None or not several or not floor.live.any():
        return [False] * len(several)
    dense = [family.dense_covariances(each.covariances, each.n_components, each.n_features) for each in several]
    whiten = floor.whiten[floor.live]
    least = np.linalg.eigvalsh(whiten @ np.concatenate(dense) @ whiten.T)[:, 0]
    return (least <= floor.share).reshape(len(several), -1).any(axis=1).tolist()


class CollapsedError(IllDefinedCovarianceError):
    """All starts of a cell led to components that had collapsed onto few rows."""

    def __str__(self) -> str:
        """What happened, and what helps."""
        return (
            "components collapsed onto rows that hardly differ, or features do not vary or follow from others: there "
            "the likelihood has no maximum; fewer components, reg_covar or on_collapse='floor' help"
        )
