from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fastgmm.engine._core import Kernel
from fastgmm.engine.rows import Weights

_Real: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float64]
_Float64: TypeAlias = npt.NDArray[np.float64]
_Visited: TypeAlias = npt.NDArray[np.intp]

def lloyd(
    kernel: Kernel,
    x: _Real,
    rows: _Visited | None,
    weights: Weights,
    centres: _Float64,
    max_iter: int,
    gain: float,
    labels: npt.NDArray[np.int64] | None,
) -> float | None: ...
def heap_of(closest: _Float64, weights: _Float64 | None) -> _Float64: ...
def positions(heap: _Float64, draws: _Float64) -> _Visited: ...
def seed(
    one: Kernel, some: Kernel, x: _Real, rows: _Visited | None, weights: Weights, first: int, draws: _Float64
) -> _Visited | None: ...
