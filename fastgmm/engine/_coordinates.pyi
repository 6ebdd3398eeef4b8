from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

_Float64: TypeAlias = npt.NDArray[np.float64]

def log_cholesky(factors: npt.NDArray[Any], scale: _Float64) -> _Float64: ...
def from_log_cholesky(coordinates: npt.NDArray[Any], scale: _Float64) -> tuple[_Float64, _Float64]: ...
def scaled_step(
    means: npt.NDArray[Any],
    means_after: npt.NDArray[Any],
    factors: npt.NDArray[Any],
    factors_after: npt.NDArray[Any],
) -> tuple[_Float64, _Float64]: ...
def inner(a: _Float64, b: _Float64) -> float: ...
def join(
    weights: npt.NDArray[Any],
    means: npt.NDArray[Any],
    centre: _Float64,
    scale: _Float64,
    covariances: npt.NDArray[Any],
) -> _Float64: ...
def part(coordinates: _Float64, K: int, centre: _Float64, scale: _Float64) -> tuple[_Float64, _Float64]: ...
def weighted_step(
    before: npt.NDArray[Any],
    after: npt.NDArray[Any],
    means: npt.NDArray[Any],
    covariances: npt.NDArray[Any],
    shared: bool,
) -> _Float64: ...
def quasi_newton(
    pairs: tuple[tuple[_Float64, _Float64, _Float64, _Float64], ...], f: _Float64, em: _Float64, most_scale: float
) -> tuple[_Float64, _Float64]: ...
