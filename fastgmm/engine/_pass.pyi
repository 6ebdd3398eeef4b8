# Outputs are C-contiguous arrays of the compute type, one entry per visited row, or None where they are not wanted.
# Every function adds to `total` and returns False if a row is not finite.

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fastgmm.engine._core import Kernel
from fastgmm.engine.rows import Weights

_Real: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float64]
_Float64: TypeAlias = npt.NDArray[np.float64]
_Labels: TypeAlias = npt.NDArray[np.int64]
_Visited: TypeAlias = npt.NDArray[np.intp]

def moments_of(kind: str, D: int, rank: int) -> int: ...
def accumulate(
    kernel: Kernel,
    x: _Real,
    rows: _Visited | None,
    weights: Weights,
    pivot: _Real | None,
    sparse: bool,
    known: _Labels | None,
    total: _Float64,
    n_threads: int,
) -> bool: ...
def accumulate_given(
    kernel: Kernel,
    x: _Real,
    rows: _Visited | None,
    weights: Weights,
    labels: _Labels | None,
    resp: _Float64 | None,
    total: _Float64,
    n_threads: int,
    group: int,
) -> bool: ...
def score(
    kernel: Kernel,
    x: _Real,
    rows: _Visited | None,
    weights: Weights,
    log_density: _Real | None,
    resp: _Real | None,
    labels: _Labels | None,
    joint: _Real | None,
    known: _Labels | None,
    total: _Float64,
    n_threads: int,
) -> bool: ...
def nearest(
    kernel: Kernel,
    x: _Real,
    rows: _Visited | None,
    weights: Weights,
    labels: _Labels | None,
    distance: _Float64 | None,
    sums: bool,
    total: _Float64,
    n_threads: int,
) -> bool: ...
def potential(
    kernel: Kernel,
    x: _Real,
    rows: _Visited | None,
    weights: Weights,
    distance: _Float64,
    total: _Float64,
    n_threads: int,
) -> bool: ...
