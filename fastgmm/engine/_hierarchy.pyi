from typing import TypeAlias

import numpy as np
import numpy.typing as npt

_Float64: TypeAlias = npt.NDArray[np.float64]
_Labels: TypeAlias = npt.NDArray[np.intp]

def merge_free(rows: _Float64, weights: _Float64, n_clusters: int) -> _Labels: ...
def merge_shared(rows: _Float64, weights: _Float64, n_clusters: int) -> _Labels: ...
