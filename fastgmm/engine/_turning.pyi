from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt

_Float64: TypeAlias = npt.NDArray[np.float64]

def turning(turned: _Float64, mass: _Float64, equal_volumes: bool) -> tuple[_Float64, _Float64]: ...

class Turning:
    def __new__(cls, K: int, D: int, equal_volumes: bool) -> Self: ...
