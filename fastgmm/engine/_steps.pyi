from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt

from fastgmm.engine._core import Kernel
from fastgmm.engine.rows import Weights

_Float64: TypeAlias = npt.NDArray[np.float64]

def is_short(kernel: Kernel, n_rows: int) -> bool: ...

class Steps:
    def __new__(
        cls,
        kernel: Kernel,
        x: npt.NDArray[np.float32] | _Float64,
        rows: npt.NDArray[np.intp] | None,
        weights: Weights,
        known: npt.NDArray[np.int64] | None,
        scatter: _Float64 | None,
        reg_covar: float,
        least_share: float,
        most_cancellation: float,
        most_spread: float,
        structure: str | None,
    ) -> Self: ...
    def score(self, weights: _Float64, means: _Float64, factors: _Float64) -> tuple[float, float] | None: ...
    def run(
        self,
        weights: _Float64,
        means: _Float64,
        covariances: _Float64,
        factors: _Float64,
        count: int,
        before: float,
        enough: float,
    ) -> tuple[list[float], _Float64, _Float64, _Float64, _Float64]: ...
