"""Adapters of further libraries, for the peers part of the grid: each runs EM from the common start and nothing else.

An adapter is left out where its library is not installed. `NOT_MEASURED` says which libraries have none, and why.

    pip install scikit-learn-intelex 'opencv-python-headless<5' gmmx pomegranate
    apt-get install r-cran-mclust libarmadillo-dev g++
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.libraries import Library
from benchmarks.problems import Start

HERE = Path(__file__).resolve().parent

NOT_MEASURED = {
    "mlpack": "its Python interface does not take a start",
    "OpenCV, spherical": "its density of spherical components is not that of a Gaussian",
    "OpenCV 5": "has no `ml` module any more; 4.x is measured",
    "VLFeat": "drops responsibilities below 0.01 / K, so that it ends in another optimum",
    "Spark MLlib": "adds epsilon to every density, and works in linear space",
    "torchgmm": "takes no start but means, which it turns into hard labels",
    "scikit-learn-intelex": "does not replace GaussianMixture; oneDAL's em_gmm, which it brings, is measured",
}
# Runs that never end, by library, problem and covariance type: they are not started.
HANGS = {("gmmx", "50k-64-16", "full"): "JAX waits for ever for its own threads on this problem"}


def covariances(start: Start, covariance_type: str) -> np.ndarray:
    """Return the covariances of a start in the shape of its precisions."""
    return (
        np.linalg.inv(start.precisions)
        if start.precisions.ndim > 1 and covariance_type in ("full", "tied")
        else (1 / start.precisions)
    )


class _Peer:
    """What all of these share: they iterate, from a given start, and know how far they came."""

    name: str
    families: tuple[str, ...]

    def supports(self, work: str, covariance_type: str) -> bool:
        return work == "iteration" and covariance_type in self.families


class OpenCV(_Peer):
    """OpenCV's EM. n iterations are n + 1 E-steps with n M-steps between them; it runs on one thread."""

    name = "OpenCV"
    families = ("full", "diag")

    def __init__(self, n_threads: int) -> None:
        import cv2

        cv2.setNumThreads(n_threads)
        self._cv2, self.version = cv2, cv2.__version__

    def iterate(self, X: np.ndarray, start: Start, covariance_type: str, n_iter: int) -> Any:
        kinds = {"full": self._cv2.ml.EM_COV_MAT_GENERIC, "diag": self._cv2.ml.EM_COV_MAT_DIAGONAL}
        dense = covariances(start, covariance_type)
        dense = dense if covariance_type == "full" else [np.diag(row) for row in dense]
        model = self._cv2.ml.EM_create()
        model.setClustersNumber(len(start.weights))
        model.setCovarianceMatrixType(kinds[covariance_type])
        model.setTermCriteria((self._cv2.TERM_CRITERIA_COUNT, n_iter + 1, 0.0))
        stacked = self._cv2.Mat(np.ascontiguousarray(dense), wrap_channels=False)  # K matrices, not D channels
        _, log_densities, _, _ = model.trainE(X, start.means, stacked, start.weights[None, :])
        return log_densities, n_iter

    def n_iter(self, model: Any) -> int:
        return model[1]

    def log_likelihood(self, model: Any, X: np.ndarray) -> float:
        return float(model[0].mean())


class Gmmx(_Peer):
    """gmmx: JAX on the CPU, in float64. JAX takes all cores there are."""

    name = "gmmx"
    families = ("full", "diag")

    def __init__(self, n_threads: int) -> None:
        import jax

        jax.config.update("jax_enable_x64", True)
        import gmmx

        # It computes in the type of its arrays, and refuses float64 only in this check.
        gmmx.gmm.check_shape = lambda array, expected: None
        self._gmmx, self._array, self._finish = gmmx, jax.numpy.asarray, jax.block_until_ready
        self.version = f"{version('gmmx')} on JAX {version('jax')}"

    def iterate(self, X: np.ndarray, start: Start, covariance_type: str, n_iter: int) -> Any:
        model = self._gmmx.GaussianMixtureModelJax.from_squeezed(
            means=self._array(start.means),
            covariances=self._array(covariances(start, covariance_type)),
            weights=self._array(start.weights),
            covariance_type=covariance_type,
        )
        return self._finish(self._gmmx.EMFitter(max_iter=n_iter, tol=0.0, reg_covar=0.0).fit(self._array(X), model))

    def n_iter(self, model: Any) -> int:
        return int(model.n_iter)

    def log_likelihood(self, model: Any, X: np.ndarray) -> float:
        return float(model.gmm.score(self._array(X)))


class Pomegranate(_Peer):
    """pomegranate (PyTorch), one summary and one update an iteration."""

    name = "pomegranate"
    families = ("full", "diag", "spherical")

    def __init__(self, n_threads: int) -> None:
        import torch
        from pomegranate.distributions import Normal
        from pomegranate.gmm import GeneralMixtureModel

        torch.set_num_threads(n_threads)
        self._torch, self._normal, self._mixture = torch, Normal, GeneralMixtureModel
        self.version = f"{version('pomegranate')} on PyTorch {torch.__version__}"

    def iterate(self, X: np.ndarray, start: Start, covariance_type: str, n_iter: int) -> Any:
        tensor = self._torch.tensor  # a copy: parameters are updated where they are
        values, kind = covariances(start, covariance_type), covariance_type
        if covariance_type == "spherical":  # D equal variances
            values, kind = np.repeat(values[:, None], X.shape[1], axis=1), "sphere"
        pairs = zip(start.means, values, strict=True)
        components = [self._normal(tensor(mean), tensor(value), kind, check_data=False) for mean, value in pairs]
        model = self._mixture(components, priors=tensor(start.weights), check_data=False)
        rows = self._torch.from_numpy(X)
        for _ in range(n_iter):
            model.summarize(rows)
            model.from_summaries()
        return model, n_iter

    def n_iter(self, model: Any) -> int:
        return model[1]

    def log_likelihood(self, model: Any, X: np.ndarray) -> float:
        return float(model[0].log_probability(self._torch.from_numpy(X)).mean())


class _Server(_Peer):
    """A library behind a program that holds the rows and answers a line with a line, so that only fits are timed."""

    _names: ClassVar[dict[str, str]]  # family -> what the program calls it

    def _begin(self, command: list[str], environment: dict[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        self._process = subprocess.Popen(command, env={**os.environ, **environment}, **pipes)
        self._X: np.ndarray | None = None
        self.version = self._ask("version")

    def _ask(self, line: str) -> str:
        self._process.stdin.write(line + "\n")
        answer = self._process.stdout.readline().strip()
        if not answer:
            raise RuntimeError(f"{self.name} ended without an answer to {line!r}")
        return answer

    def supports(self, work: str, covariance_type: str) -> bool:
        return work == "iteration" and covariance_type in self._names

    def rows(self, X: np.ndarray) -> None:
        """Hand the rows over, unless the program has them."""
        if self._X is not X:
            path = Path(self._folder.name) / "rows"
            X.T.tofile(path)  # feature by feature
            self._ask(f"rows {path} {X.shape[0]} {X.shape[1]}")
            self._X = X

    def iterate(self, X: np.ndarray, start: Start, covariance_type: str, n_iter: int) -> Any:
        self.rows(X)
        path, K = Path(self._folder.name) / "start", len(start.weights)
        values = covariances(start, covariance_type)
        np.concatenate([start.weights, start.means.ravel(), values.ravel()]).tofile(path)
        return int(self._ask(f"fit {self._names[covariance_type]} {path} {K} {n_iter}"))

    def n_iter(self, model: Any) -> int:
        return model

    def log_likelihood(self, model: Any, X: np.ndarray) -> float:
        return float(self._ask("score")) / len(X)  # of the last fit


class Mclust(_Server):
    """mclust (R and Fortran, one thread). n iterations are n + 1 E-steps with n M-steps between them."""

    name = "mclust"
    _names: ClassVar = {"full": "VVV", "tied": "EEE", "diag": "VVI", "spherical": "VII"}

    def __init__(self, n_threads: int) -> None:
        self._begin(["Rscript", "--vanilla", str(HERE / "peer_mclust.R")], {})

    def default_fit(self, X: np.ndarray, covariance_type: str, n_components: int) -> float | None:
        """Return the mean log-likelihood of mclust's own fit, from its agglomerative start; None if it has none."""
        answer = self._ask(f"default {self._names[covariance_type]} {n_components}")
        return None if answer == "NA" else float(answer) / len(X)


class Armadillo(_Server):
    """Armadillo's gmm_full and gmm_diag (C++), compiled for this processor, with OpenMP."""

    name = "Armadillo"
    _names: ClassVar = {"full": "full", "diag": "diag"}

    def __init__(self, n_threads: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "peer"
            flags = ["-O3", "-march=native", "-fopenmp", "-DNDEBUG"]
            source = str(HERE / "peer_armadillo.cpp")
            subprocess.run(["g++", *flags, source, "-o", str(program), "-larmadillo"], check=True)
            self._begin([str(program)], {"OMP_NUM_THREADS": str(n_threads)})


def _has_module(name: str) -> Callable[[], bool]:
    return lambda: importlib.util.find_spec(name) is not None


def _has_mclust() -> bool:
    question = "quit(status = !requireNamespace('mclust', quietly = TRUE))"
    return (
        shutil.which("Rscript") is not None and subprocess.run(["Rscript", "-e", question], check=False).returncode == 0
    )


def _has_armadillo() -> bool:
    header = shutil.which("g++") and subprocess.run(
        ["g++", "-E", "-x", "c++", "-"], input="#include <armadillo>", capture_output=True, text=True, check=False
    )
    return bool(header) and header.returncode == 0


# name -> (whether it can be used here, how to make the adapter)
PEERS: dict[str, tuple[Callable[[], bool], Callable[[int], Library]]] = {
    "OpenCV": (_has_module("cv2"), OpenCV),
    "gmmx": (_has_module("gmmx"), Gmmx),
    "pomegranate": (_has_module("pomegranate"), Pomegranate),
    "Armadillo": (_has_armadillo, Armadillo),
    "mclust": (_has_mclust, Mclust),
}


def installed(n_threads: int) -> list[Library]:
    """Return an adapter of every further library that is installed."""
    return [make(n_threads) for present, make in PEERS.values() if present()]
