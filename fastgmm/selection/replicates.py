"""Replicates of a fit for the bootstrap: each starts from the fit of the data, and one that fails is drawn anew.

So a few iterations are enough (McLachlan 1987, Applied Statistics 36:318). Replicates run beside each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from fastgmm import fitting
from fastgmm._errors import InvalidParameterError
from fastgmm.engine.rows import Rows
from fastgmm.engine.threads import resolve
from fastgmm.mixture import Mixture

__all__ = ["refit", "replicates"]

MAX_REDRAWS = 10  # of one replicate
_FIT = {"tol": 1e-5, "max_iter": 1000, "reg_covar": 0.0}

_Replicate = TypeVar("_Replicate")


def refit(rows: Rows, mixture: Mixture, start: Any = None, sample_weight: Any = None) -> fitting.FitResult:
    """Return the fit of other rows, or of other weights, that starts from a fit; noise keeps its volume."""
    start = mixture.parameters.astype(np.float64) if start is None else start
    return fitting.run(
        rows,
        mixture.n_components,
        covariance_type=mixture.family,
        start=start,
        sample_weight=sample_weight,
        noise=None if mixture.noise is None else True,
        n_threads=1,
        **_FIT,
    )


def replicates(
    replicate: Callable[[np.random.Generator], _Replicate],
    n_replicates: int,
    rng: np.random.Generator,
    n_threads: int | None,
) -> tuple[list[_Replicate], int]:
    """Return replicates in the order of their seeds, and how many failed before."""
    seeds = rng.integers(2**63, size=n_replicates).tolist()

    def draws(seed: int) -> Iterator[_Replicate | None]:
        for draw in range(MAX_REDRAWS):
            try:
                yield replicate(np.random.default_rng([seed, draw]))
                return
            except InvalidParameterError:
                raise
            except ValueError as error:
                failed = error
                yield None
        raise failed

    with ThreadPoolExecutor(resolve(n_threads)) as pool:
        try:
            found = list(pool.map(lambda seed: list(draws(seed)), seeds))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [each[-1] for each in found], sum(len(each) - 1 for each in found)
