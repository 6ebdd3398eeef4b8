"""From components to clusters: components that overlap are merged (Baudry, Raftery, Celeux, Lo and Gottardo 2010).

A cluster that is not Gaussian is described by several components. From K components on, the two are merged whose union
makes the partition most certain, which lowers the entropy

    E = -sum_i w_i sum_j t_ij log t_ij

most, where t_ij is the sum of the responsibilities of the components in cluster j. Noise is united with nothing: it is
no cluster. Nothing is fitted, and the density stays as it is. Where the entropy, drawn against the number of rows
merged so far, bends, merging has begun to unite what is apart: there the number of clusters is read off (J.
Computational and Graphical Statistics 19:332).
"""

from __future__ import annotations

import dataclasses
import itertools
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm._checks import check_number
from fastgmm._criteria import xlogx
from fastgmm._errors import InvalidParameterError
from fastgmm.engine import check_sample_weight
from fastgmm.mixture import Mixture, as_mixture

from .checks import check_rows

__all__ = ["Merging", "merge_components"]

_Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Merging:
    """Clusters of components, for every number of clusters.

    Attributes
    ----------
    mixture : Mixture
        K components.
    pairs : list of (list of int, list of int)
        What was united in each of the K - 1 steps: components of the one cluster and of the other.
    entropy : ndarray of shape (K,)
        Of the partition into 1, ..., K clusters, and noise if there is any, in nats.
    merged_rows : ndarray of shape (K - 1,)
        Weight of the rows in the clusters that each step united, from K clusters on.
    """

    mixture: Mixture
    pairs: list[tuple[list[int], list[int]]]
    entropy: _Array
    merged_rows: _Array

    def groups(self, n_clusters: int | None = None) -> list[list[int]]:
        """Return which components make each cluster.

        Parameters
        ----------
        n_clusters : int, default=None
            From 1 to K; None is `suggested`.

        Returns
        -------
        groups : list of list of int
            In the order of their first components.

        Raises
        ------
        InvalidParameterError
            If `n_clusters` is out of range.
        """
        K = self.mixture.n_components
        wanted = self.suggested if n_clusters is None else check_number(n_clusters, "n_clusters", Integral, 1)
        if wanted > K:
            raise InvalidParameterError(f"n_clusters must be at most the number of components, {K}, got {wanted}")
        groups = [[k] for k in range(K)]
        for one, other in self.pairs[: K - wanted]:
            groups = [group for group in groups if group not in (one, other)]
            groups.append(sorted(one + other))
        return sorted(groups)

    def predict_proba(self, X: Any, n_clusters: int | None = None) -> npt.NDArray[np.floating]:
        """Return the probability of every cluster for every row.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
        n_clusters : int, default=None
            None is `suggested`.

        Returns
        -------
        probabilities : ndarray of shape (n_rows, n_clusters)
            With noise one column more, the last.
        """
        resp = self.mixture.predict_proba(X)
        clusters = [*self.groups(n_clusters), *([k] for k in range(self.mixture.n_components, resp.shape[1]))]
        return np.stack([resp[:, group].sum(axis=1) for group in clusters], axis=1)

    def predict(self, X: Any, n_clusters: int | None = None) -> npt.NDArray[np.int64]:
        """Return the most probable cluster of every row.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
        n_clusters : int, default=None
            None is `suggested`.

        Returns
        -------
        labels : ndarray of shape (n_rows,), int64
            -1 for rows that are noise.
        """
        resp = self.predict_proba(X, n_clusters)
        labels = resp.argmax(axis=1)
        return labels if self.mixture.noise is None else np.where(labels == resp.shape[1] - 1, -1, labels)

    @property
    def suggested(self) -> int:
        """The number of clusters at which two straight lines through the entropy, against rows merged, meet best.

        With less than four components there are too few points for two lines: all are kept.
        """
        K = len(self.entropy)
        if K < 4:
            return K
        x = np.append(np.cumsum(self.merged_rows)[::-1], 0.0)  # (K,), of 1, ..., K clusters
        misfits = [
            _misfit(x[: cut + 1], self.entropy[: cut + 1]) + _misfit(x[cut:], self.entropy[cut:])
            for cut in range(1, K - 1)
        ]
        return int(np.argmin(misfits)) + 2

    def plot(self) -> Any:
        """Draw the entropy against the number of clusters, and against the number of rows that were merged.

        Returns
        -------
        figure : matplotlib.figure.Figure

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from fastgmm.plot import entropy_lines

        return entropy_lines(self.entropy, self.merged_rows, self.suggested)


def merge_components(X: Any, mixture: Any, *, sample_weight: npt.ArrayLike | None = None) -> Merging:
    """Unite overlapping components of a mixture to clusters, step by step.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features)
        Rows that the mixture was fitted to.
    mixture : Mixture, fitted estimator or FitResult
        The fit, best chosen by BIC.
    sample_weight : array-like of shape (n_rows,), default=None
        Weights of the rows.

    Returns
    -------
    Merging
        `predict` gives the clusters of rows, `plot` the picture to choose their number by.

    Raises
    ------
    InvalidParameterError
        If `mixture` is none.

    References
    ----------
    Baudry, Raftery, Celeux, Lo and Gottardo (2010), J. Computational and Graphical Statistics 19:332.

    Examples
    --------
    >>> import fastgmm
    >>> mixture = fastgmm.Mixture([0.25] * 4, [[-9.0], [-8.0], [8.0], [9.0]], [1.0] * 4, "spherical")
    >>> merging = merge_components(mixture.sample(1000, random_state=0)[0], mixture)
    >>> merging.groups(2)
    [[0, 1], [2, 3]]
    """
    mixture = as_mixture(mixture)
    rows = check_rows(X, mixture)
    given = check_sample_weight(sample_weight, rows.n_rows)
    resp = mixture.predict_proba(rows).astype(np.float64)
    resp = resp if given.kept is None else resp[given.kept]
    w = np.ones(len(resp)) if given.values is None else given.values
    clusters = [([k], resp[:, k], w @ xlogx(resp[:, k])) for k in range(mixture.n_components)]
    entropy = [-float(w @ xlogx(resp).sum(axis=1))]  # that of noise too
    gains = {pair: _gain(w, *pair, clusters) for pair in itertools.combinations(range(len(clusters)), 2)}
    alive, pairs, merged_rows = set(range(len(clusters))), [], []
    while len(alive) > 1:
        i, j = max(gains, key=lambda pair: gains[pair])
        (one, left, _), (other, right, _) = clusters[i], clusters[j]
        pairs.append((one, other))
        merged_rows.append(float(w @ (left + right)))
        entropy.append(max(entropy[-1] - gains[i, j], 0.0))
        union = left + right
        clusters.append((sorted(one + other), union, w @ xlogx(union)))
        alive -= {i, j}
        gains = {pair: gain for pair, gain in gains.items() if alive.issuperset(pair)}
        new = len(clusters) - 1
        gains |= {(old, new): _gain(w, old, new, clusters) for old in alive}
        alive.add(new)
    return Merging(mixture, pairs, np.array(entropy[::-1]), np.array(merged_rows))


def _gain(w: _Array, i: int, j: int, clusters: list[Any]) -> float:
    """Return by how much the entropy falls if two clusters are united."""
    return float(w @ xlogx(clusters[i][1] + clusters[j][1]) - clusters[i][2] - clusters[j][2])


def _misfit(x: _Array, y: _Array) -> float:
    """Return the sum of squares about the straight line of least squares."""
    design = np.column_stack([np.ones_like(x), x])
    return float(((y - design @ np.linalg.lstsq(design, y)[0]) ** 2).sum())
