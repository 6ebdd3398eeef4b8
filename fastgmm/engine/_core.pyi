from typing import Self

import numpy as np
import numpy.typing as npt

KINDS: dict[str, int]
NEGLIGIBLE: float
fastest: str

def has_openmp() -> bool: ...
def openmp_threads() -> int: ...
def levels() -> tuple[str, ...]: ...
def active() -> str: ...
def lanes(name: str) -> int: ...
def use(name: str) -> None: ...
def group_rows(kind: str, n_components: int, n_features: int, rank: int, single: bool) -> int: ...

class Kernel:
    # Arrays are C-contiguous; what they mean is said in fastgmm.engine.KernelConstants.
    def __new__(
        cls,
        kind: str,
        single: bool,
        means: npt.NDArray[np.float64],
        factors: npt.NDArray[np.float64],
        log_norm: npt.NDArray[np.float64],
        shift: npt.NDArray[np.float64],
    ) -> Self: ...
    @property
    def group_rows(self) -> int: ...
