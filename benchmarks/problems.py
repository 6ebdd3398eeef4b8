"""Named problems: data, number of components and the start that every library is given.

Synthetic rows are drawn block by block into one array, so that making a problem never needs more memory than the
problem itself (`memory.py` relies on it). Real data sets are those that ship with scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BLOCK_ROWS = 65_536
START_ROWS = 20_000  # rows that the common start's covariance is computed from; more would change nothing
QUICK_ROWS = 6_000


@dataclass(frozen=True)
class Start:
    """Starting parameters in scikit-learn's shapes: weights (K,), means (K, D), precisions by covariance type."""

    weights: np.ndarray
    means: np.ndarray
    precisions: np.ndarray


@dataclass(frozen=True)
class Problem:
    """One data set with its number of components.

    Parameters
    ----------
    name : str
        What `--only` selects.
    source : str
        Where the rows come from, as the table prints it.
    n_components : int
    load : callable
        `load(quick) -> (N, D) float64 array`; `quick` asks for few rows.
    iterations : (int, int)
        A smaller and a larger number of iterations: the difference of their times is what iterations cost.
        Chosen so that it lies well above the noise of the clock for the fastest library.
    nearer : float, default=1
        By how much the means of the start are drawn in, towards the mean of all rows. Where features are many, a row
        is so far from all others that a component which begins there keeps that row alone.
    """

    name: str
    source: str
    n_components: int
    load: Callable[[bool], np.ndarray]
    iterations: tuple[int, int]
    nearer: float = 1.0

    def data(self, quick: bool = False) -> np.ndarray:
        """Return the rows, (N, D) float64 in C order."""
        return np.ascontiguousarray(self.load(quick), dtype=np.float64)

    def label(self, X: np.ndarray) -> str:
        """Return the problem's name with its sizes, as the table prints it."""
        n_rows, n_features = X.shape
        return f"{self.source}, {n_rows:,} × {n_features}, K = {self.n_components}"

    def start(self, X: np.ndarray, covariance_type: str) -> Start:
        """Return the common start: equal weights, distinct random rows as means, the data's covariance throughout."""
        rng = np.random.default_rng(20_100)
        K, D = self.n_components, X.shape[1]
        distinct = np.unique(X[rng.permutation(len(X))[: max(START_ROWS, 50 * K)]], axis=0)
        means = distinct[rng.choice(len(distinct), size=K, replace=False)]
        if self.nearer != 1:
            means = X.mean(axis=0) + (means - X.mean(axis=0)) * self.nearer
        covariance = np.atleast_2d(np.cov(X[:: max(1, len(X) // START_ROWS)], rowvar=False))
        variances = np.diag(covariance)
        precision = np.linalg.inv(covariance)
        precision = (precision + precision.T) / 2  # scikit-learn insists on symmetry
        precisions = {
            "full": np.broadcast_to(precision, (K, D, D)).copy(),
            "tied": precision,
            "diag": np.broadcast_to(1 / variances, (K, D)).copy(),
            "spherical": np.full(K, 1 / variances.mean()),
        }
        return Start(np.full(K, 1 / K), means, precisions[covariance_type])


def _mixture_draws(n_rows: int, n_features: int, n_components: int) -> Callable[[bool], np.ndarray]:
    """Return a loader of rows from a mixture whose components overlap in part, with full covariances."""

    def load(quick: bool) -> np.ndarray:
        n = min(n_rows, max(QUICK_ROWS, 40 * n_features * n_components)) if quick else n_rows
        rng = np.random.default_rng([n_features, n_components])
        centres = rng.normal(scale=2.0, size=(n_components, n_features))
        # A random rotation times axes between 0.5 and 1.5: no covariance has a condition number above 9.
        factors, _ = np.linalg.qr(rng.normal(size=(n_components, n_features, n_features)))
        factors = factors * rng.uniform(0.5, 1.5, size=(n_components, 1, n_features))
        X = np.empty((n, n_features))
        for first in range(0, n, BLOCK_ROWS):
            block = X[first : first + BLOCK_ROWS]
            component = rng.integers(n_components, size=len(block))
            for k in range(n_components):
                rows = np.flatnonzero(component == k)
                block[rows] = centres[k] + rng.normal(size=(len(rows), n_features)) @ factors[k].T
        return X

    return load


def _table(name: str) -> Callable[[bool], np.ndarray]:
    """Return a loader of one of scikit-learn's bundled tables; they are small, so `quick` changes nothing."""

    def load(quick: bool) -> np.ndarray:
        from sklearn import datasets

        return getattr(datasets, f"load_{name}")().data

    return load


def _geyser(quick: bool) -> np.ndarray:
    """Return durations of eruptions of Old Faithful and waiting times between them."""
    path = Path(__file__).resolve().parent.parent / "examples" / "old_faithful.csv"
    return np.loadtxt(path, delimiter=",", skiprows=1)


def _digits(quick: bool) -> np.ndarray:
    """Return the digits projected on their 16 leading principal components."""
    X = _table("digits")(quick)
    X = X - X.mean(axis=0)
    _, _, directions = np.linalg.svd(X, full_matrices=False)
    return X @ directions[:16].T


def _china(quick: bool) -> np.ndarray:
    """Return the pixels of china.jpg in [0, 1]."""
    from sklearn import datasets

    pixels = datasets.load_sample_image("china.jpg").reshape(-1, 3) / 255
    return pixels[:: len(pixels) // QUICK_ROWS] if quick else pixels


_ALL = (
    Problem("200k-10-10", "synthetic", 10, _mixture_draws(200_000, 10, 10), (2, 12)),
    Problem("1M-2-3", "synthetic", 3, _mixture_draws(1_000_000, 2, 3), (2, 12)),
    Problem("50k-32-16", "synthetic", 16, _mixture_draws(50_000, 32, 16), (2, 12)),
    Problem("50k-64-16", "synthetic", 16, _mixture_draws(50_000, 64, 16), (2, 12), nearer=0.5),
    Problem("2M-8-16", "synthetic", 16, _mixture_draws(2_000_000, 8, 16), (1, 2)),
    Problem("geyser", "old faithful", 2, _geyser, (20, 420)),
    Problem("iris", "iris", 3, _table("iris"), (20, 420)),
    Problem("wine", "wine", 3, _table("wine"), (20, 420)),
    Problem("digits", "digits, PCA", 10, _digits, (5, 55)),
    Problem("china", "china.jpg pixels", 8, _china, (2, 12)),
)
PROBLEMS = {problem.name: problem for problem in _ALL}
