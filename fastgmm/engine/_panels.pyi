from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt

_Real: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float64]
_Float64: TypeAlias = npt.NDArray[np.float64]
_Visited: TypeAlias = npt.NDArray[np.intp]

PANEL: int

class Panels:
    def __new__(cls, n_rows: int, shift: _Float64, single: bool, unit: float) -> Self: ...
    def fill(self, first: int, x: _Real, visited: _Visited | None, values: _Float64 | None) -> bool: ...
    @property
    def shift(self) -> _Float64: ...
