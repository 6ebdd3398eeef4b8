from typing import TypeAlias

import numpy as np
import numpy.typing as npt

_Float64: TypeAlias = npt.NDArray[np.float64]
_Columns: TypeAlias = npt.NDArray[np.intp]

def marginals(factors: _Float64, observed: _Columns, missing: _Columns) -> tuple[_Float64, _Float64, _Float64]: ...
def complete(
    n: _Float64,
    s: _Float64,
    S: _Float64,
    regression: _Float64,
    conditional: _Float64,
    offset: _Float64,
    observed: _Columns,
    missing: _Columns,
    total_n: _Float64,
    total_s: _Float64,
    total_S: _Float64,
) -> None: ...
