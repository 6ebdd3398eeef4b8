from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

_Float64: TypeAlias = npt.NDArray[np.float64]

def inverse_cholesky(covariances: npt.NDArray[Any]) -> _Float64: ...
def unpack_triangles(packed: _Float64, K: int, D: int) -> tuple[_Float64, _Float64, _Float64]: ...
def pack_triangles(n: _Float64, s: _Float64, S: _Float64) -> _Float64: ...
