from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt

_Float64: TypeAlias = npt.NDArray[np.float64]

def shared_axes(covariances: _Float64) -> _Float64: ...
def common_axes(
    covariances: _Float64,
    mass: _Float64,
    axes: _Float64,
    equal_volumes: bool,
    share: float,
    max_sweeps: int,
    inverse: _Float64 | None = None,
) -> tuple[_Float64, _Float64, float]: ...

class Axes:
    def __new__(cls, K: int, D: int, equal_volumes: bool) -> Self: ...
