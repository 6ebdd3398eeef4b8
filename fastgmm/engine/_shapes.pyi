from typing import TypeAlias

import numpy as np
import numpy.typing as npt

_Float64: TypeAlias = npt.NDArray[np.float64]

def equal_shapes(variances: _Float64, mass: _Float64, start: _Float64) -> tuple[_Float64, _Float64]: ...
def equal_matrices(covariances: _Float64, mass: _Float64, start: _Float64) -> tuple[_Float64, _Float64]: ...
