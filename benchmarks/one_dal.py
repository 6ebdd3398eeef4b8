"""The adapter for oneDAL's em_gmm through daal4py (part of scikit-learn-intelex), measured where it is installed.

It knows full and diagonal covariances, starts from given parameters, and has neither scoring nor a k-means start.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks.libraries import ONE_DAL
from benchmarks.problems import Start

_STORAGE = {"full": "full", "diag": "diagonal"}
_WORK = ("iteration", "fit", "memory")


class OneDAL:
    """oneDAL's EM; a model is the pair of its result and the covariance type."""

    name = ONE_DAL

    def __init__(self, n_threads: int) -> None:
        import daal4py

        daal4py.daalinit(n_threads)
        self._daal4py = daal4py
        self.version = version("daal")

    def supports(self, work: str, covariance_type: str) -> bool:
        return work in _WORK and covariance_type in _STORAGE

    def _run(self, X: np.ndarray, start: Any, covariance_type: str, **options: Any) -> Any:
        weights, means, covariances = start
        algorithm = self._daal4py.em_gmm(nComponents=len(means), covarianceStorage=_STORAGE[covariance_type], **options)
        return algorithm.compute(X, weights, means, covariances), covariance_type

    def iterate(self, X: np.ndarray, start: Start, covariance_type: str, n_iter: int) -> Any:
        invert = np.linalg.inv if covariance_type == "full" else np.reciprocal
        covariances = [np.atleast_2d(invert(precision)) for precision in start.precisions]
        parameters = (start.weights[None, :], start.means, covariances)
        # It ends early only if an iteration changes no bit of the goal; `n_iter` then tells.
        return self._run(X, parameters, covariance_type, maxIterations=n_iter, accuracyThreshold=0.0)

    def fit(self, X: np.ndarray, n_components: int, covariance_type: str, seed: int) -> Any:
        engine = self._daal4py.engines_mt19937(seed=seed)
        storage = _STORAGE[covariance_type]
        start = self._daal4py.em_gmm_init(nComponents=n_components, covarianceStorage=storage, engine=engine).compute(X)
        return self._run(X, (start.weights, start.means, start.covariances), covariance_type)

    def n_iter(self, model: Any) -> int:
        return int(model[0].nIterations[0, 0])

    def log_likelihood(self, model: Any, X: np.ndarray) -> float:
        result, covariance_type = model
        # The goal function belongs to the parameters before the last step, so that one more step values the result.
        parameters = (result.weights, result.means, result.covariances)
        following, _ = self._run(X, parameters, covariance_type, maxIterations=1, accuracyThreshold=0.0)
        return float(following.goalFunction[0, 0]) / len(X)
