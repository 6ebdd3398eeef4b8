"""What a search is asked: rows, structures, numbers of components, and settings."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fastgmm.covariance import Family
from fastgmm.engine.rows import Rows
from fastgmm.fitting.starts import is_raced
from fastgmm.mixture import Mixture
from fastgmm.sources import ArraySource, Source, as_source

from .criteria import Criterion

__all__ = ["Problem"]


@dataclasses.dataclass(frozen=True)
class Problem:
    """What a search is asked.

    Attributes
    ----------
    source : Source
        The rows and their weights.
    rows : Rows or Source
        The rows as they were given; the source itself where they are elsewhere.
    sample_weight : array-like or None
        Weights beside `rows`.
    numbers : tuple of int
        Numbers of components, rising.
    families : dict of str to Family
        By the names they were asked for.
    criterion : Criterion
    settings : dict
        Arguments of every fit.
    plan : dict
        All settings of the search, those of fits among them; what `resume` has to agree with.
    n_threads : int
    feature_names : array of str or None
    """

    source: Source
    rows: Rows | Source
    sample_weight: Any
    numbers: tuple[int, ...]
    families: dict[str, Family]
    criterion: Criterion
    settings: dict[str, Any]
    plan: dict[str, Any]
    n_threads: int
    feature_names: Any = None

    def fitted(self, n_threads: int) -> Source:
        """Return the rows as fits with some threads take them: checked and measured once for all fits.

        A source that was given keeps the threads that it came with.
        """
        given = isinstance(self.rows, Source)
        if isinstance(self.source, ArraySource) and not given and self.source.n_threads != n_threads:
            how = {"known_labels": self.source.known_labels, "n_threads": n_threads, "missing": self.plan["missing"]}
            return as_source(self.rows, self.sample_weight, **how)
        return self.source

    @property
    def abandons(self) -> bool:
        """Whether fits without hope are given up. Under a prior the likelihood may fall on the way to the best."""
        return self.plan["abandon"] and self.plan["prior"] is None

    @property
    def is_raced(self) -> bool:
        """Whether every cell has runs from a race of its own."""
        return is_raced(self.plan["init_params"])

    def fingerprint(self) -> tuple[Any, ...]:
        """What tells these rows, weights and labels from others."""
        mean, variances, weight = self.source.moments()
        shape = self.source.n_rows, self.source.n_features
        known = ()
        if self.source.n_named:  # the likelihood of the labels among components that differ
            K, scale = self.source.n_named + 1, np.where(variances > 0, variances, 1.0)
            means = mean + np.arange(K)[:, None] * np.sqrt(scale)
            apart = Mixture(np.full(K, 1 / K), means, np.tile(scale, (K, 1)), "diag")
            known = (self.source.score(apart.constants(self.source.dtype)).log_likelihood,)
        return shape, self.source.dtype.str, weight, mean.tobytes(), variances.tobytes(), *known
