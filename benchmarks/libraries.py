"""One adapter per library: the same few verbs, so that the measuring code knows no library by name.

Adapters translate and do nothing else. They import their library when they are made, so that a library that is not
installed costs nothing, and leave its warnings about deliberately short fits to the caller.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from benchmarks.problems import Start

REFERENCE = "scikit-learn"
SUBJECT = "fastgmm"
ONE_DAL = "oneDAL"


class Library(Protocol):
    """What the benchmarks ask of a library; `model` is whatever its own fit returns."""

    name: str
    version: str

    def supports(self, work: str, covariance_type: str) -> bool:
        """Tell whether the library can do this kind of work (`tasks.WORK`) exactly."""

    def iterate(self, X: np.ndarray, start: Start, covariance_type: str, n_iter: int) -> Any:
        """Run exactly `n_iter` iterations of plain EM (nothing added to covariances) from `start`."""

    def fit(self, X: np.ndarray, n_components: int, covariance_type: str, seed: int) -> Any:
        """Fit with the library's own start, tolerance and maximum number of iterations."""

    def n_iter(self, model: Any) -> int:
        """Return the number of iterations that were run."""

    def log_likelihood(self, model: Any, X: np.ndarray) -> float:
        """Return the mean log-likelihood per row under the model that was returned."""

    def score_samples(self, model: Any, X: np.ndarray) -> np.ndarray:
        """Return the log-density of every row, (N,)."""

    def predict_proba(self, model: Any, X: np.ndarray) -> np.ndarray:
        """Return the responsibilities, (N, K)."""

    def kmeans(self, X: np.ndarray, n_components: int, seed: int) -> np.ndarray:
        """Return the centres of the k-means run that starts a default fit, (K, D)."""


class _Estimators:
    """The verbs shared by every library with scikit-learn's GaussianMixture interface."""

    name: str
    version: str

    def __init__(self, estimator: Callable[..., Any], **options: Any) -> None:
        self._estimator = estimator
        self._options = options

    def supports(self, work: str, covariance_type: str) -> bool:
        return True

    def iterate(self, X: np.ndarray, start: Start, covariance_type: str, n_iter: int) -> Any:
        return self._estimator(
            n_components=len(start.weights),
            covariance_type=covariance_type,
            weights_init=start.weights,
            means_init=start.means,
            precisions_init=start.precisions,
            max_iter=n_iter,
            tol=0.0,  # a change is never below zero, so the run never ends early
            reg_covar=0.0,  # the plain algorithm: what libraries add to covariances differs
            **self._options,
        ).fit(X)

    def fit(self, X: np.ndarray, n_components: int, covariance_type: str, seed: int) -> Any:
        return self._estimator(
            n_components=n_components, covariance_type=covariance_type, random_state=seed, **self._options
        ).fit(X)

    def n_iter(self, model: Any) -> int:
        return int(model.n_iter_)

    def log_likelihood(self, model: Any, X: np.ndarray) -> float:
        return float(model.score(X))

    def score_samples(self, model: Any, X: np.ndarray) -> np.ndarray:
        return model.score_samples(X)

    def predict_proba(self, model: Any, X: np.ndarray) -> np.ndarray:
        return model.predict_proba(X)


class ScikitLearn(_Estimators):
    """scikit-learn's GaussianMixture; its threads are limited from outside, as it has no argument for them."""

    name = REFERENCE

    def __init__(self, n_threads: int) -> None:
        import sklearn.cluster
        import sklearn.mixture

        super().__init__(sklearn.mixture.GaussianMixture)
        self.version = sklearn.__version__
        self._kmeans = sklearn.cluster.KMeans

    def kmeans(self, X: np.ndarray, n_components: int, seed: int) -> np.ndarray:
        # The very call of scikit-learn's GaussianMixture with init_params="kmeans".
        return self._kmeans(n_clusters=n_components, n_init=1, random_state=seed).fit(X).cluster_centers_


class FastGMM(_Estimators):
    """fastgmm's GaussianMixture."""

    name = SUBJECT

    def __init__(self, n_threads: int) -> None:
        import fastgmm
        from fastgmm.fitting import kmeans
        from fastgmm.sources import ArraySource

        super().__init__(fastgmm.GaussianMixture, n_threads=n_threads)
        self.version = fastgmm.__version__
        self._source = functools.partial(ArraySource, n_threads=n_threads)
        self._cluster = kmeans.cluster

    def kmeans(self, X: np.ndarray, n_components: int, seed: int) -> np.ndarray:
        # What init_params="kmeans" does before its first M-step.
        return self._cluster(self._source(X), n_components, np.random.default_rng(seed))[0]


def _one_dal(n_threads: int) -> Library:
    from benchmarks.one_dal import OneDAL

    return OneDAL(n_threads)


# name -> (module that must be installed, how to make the adapter); the first is the one the others are compared with
AVAILABLE: dict[str, tuple[str, Callable[[int], Library]]] = {
    REFERENCE: ("sklearn", ScikitLearn),
    SUBJECT: ("fastgmm.engine", FastGMM),
    ONE_DAL: ("daal4py", _one_dal),
}


def make(name: str, n_threads: int) -> Library:
    """Return the adapter called `name`; raises ValueError for an unknown name, ImportError if not installed."""
    if name not in AVAILABLE:
        raise ValueError(f"unknown library {name!r}; known: {', '.join(AVAILABLE)}")
    return AVAILABLE[name][1](n_threads)


def installed(n_threads: int) -> list[Library]:
    """Return an adapter of every installed library; the two that the table compares must be there."""
    required = (REFERENCE, SUBJECT)
    for name in required:
        module = AVAILABLE[name][0]
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ImportError(f"the benchmarks need {name} ({error}): run pip install -e '.[bench]'") from error
    names = [n for n, (module, _) in AVAILABLE.items() if n in required or importlib.util.find_spec(module)]
    return [make(name, n_threads) for name in names]


def thread_limit(n_threads: int) -> AbstractContextManager[Any]:
    """Return a context that holds every BLAS and OpenMP pool loaded so far to `n_threads`."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=n_threads)
