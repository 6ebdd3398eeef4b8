from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fastgmm.engine._panels import Panels

_Float64: TypeAlias = npt.NDArray[np.float64]

def seed(panels: Panels, first: int, draws: _Float64, n_threads: int) -> npt.NDArray[np.intp]: ...
def lloyd(
    panels: Panels,
    centres: _Float64,
    max_iter: int,
    gain: float,
    labels: npt.NDArray[np.int64] | None,
    n_threads: int,
) -> float: ...
