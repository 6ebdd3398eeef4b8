from typing import TypeAlias

import numpy as np
import numpy.typing as npt

_Float64: TypeAlias = npt.NDArray[np.float64]
_Columns: TypeAlias = npt.NDArray[np.intp]

def marginals(
    factors: _Float64, means: _Float64, log_norm: _Float64, observed: _Columns, missing: _Columns
) -> tuple[_Float64, _Float64, _Float64, _Float64, _Float64]: ...
def independent_marginals(
    scales: _Float64, means: _Float64, log_norm: _Float64, observed: _Columns, missing: _Columns
) -> tuple[_Float64, _Float64, _Float64, _Float64]: ...
def complete(
    n: _Float64,
    s: _Float64,
    S: _Float64,
    regression: _Float64,
    conditional: _Float64,
    delta: _Float64,
    observed: _Columns,
    missing: _Columns,
    total_n: _Float64,
    total_s: _Float64,
    total_S: _Float64,
) -> None: ...
def complete_independent(
    n: _Float64,
    s: _Float64,
    S: _Float64,
    variances: _Float64,
    delta: _Float64,
    observed: _Columns,
    missing: _Columns,
    total_n: _Float64,
    total_s: _Float64,
    total_S: _Float64,
) -> None: ...
def complete_rotated(
    n: _Float64,
    s: _Float64,
    S: _Float64,
    regression: _Float64,
    conditional: _Float64,
    delta: _Float64,
    from_shift: _Float64,
    observed: _Columns,
    missing: _Columns,
    total_n: _Float64,
    total_s: _Float64,
    total_S: _Float64,
) -> None: ...
