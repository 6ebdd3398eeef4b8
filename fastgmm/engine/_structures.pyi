from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt

_Float64: TypeAlias = npt.NDArray[np.float64]

def nearest(letters: str, covariances: _Float64, mass: _Float64, previous: _Float64 | None = None) -> _Float64: ...

class Nearest:
    def __new__(cls, letters: str, K: int, D: int) -> Self: ...
