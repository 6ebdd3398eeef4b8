from typing import Self

import numpy as np
import numpy.typing as npt

class Scorer:
    def __new__(
        cls,
        kind: str,
        single: bool,
        means: npt.NDArray[np.float64],
        factors: npt.NDArray[np.float64],
        log_norm: npt.NDArray[np.float64],
        shift: npt.NDArray[np.float64],
        uniform: bool,
    ) -> Self: ...
    @property
    def n_components(self) -> int: ...
    @property
    def n_features(self) -> int: ...
    @property
    def dtype(self) -> np.dtype: ...
    def score(
        self,
        X: npt.NDArray[np.floating],
        log_density: npt.NDArray[np.floating] | None = None,
        resp: npt.NDArray[np.floating] | None = None,
        labels: npt.NDArray[np.int64] | None = None,
    ) -> None: ...
