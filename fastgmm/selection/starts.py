"""Where the fits of a sweep start: partitions that all families share, and neighbours with one component more or less.

Starts are made and compared on few of many rows: they are where EM begins, and all rows have their say after that.

Splitting and merging are those of Ueda, Nakano, Ghahramani and Hinton (2000, Neural Computation 12:2109). To be split
is the component k whose rows differ most from what it says, by the divergence of f_k, the rows weighted by their
responsibilities, from its density p_k; to be merged are the components i and j that share most of their rows,
sum_n r_ni r_nj.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.covariance import Family, Noise, Parameters
from fastgmm.engine import Statistics
from fastgmm.fitting import agglomerative, kmeans
from fastgmm.fitting.ahead import Ahead
from fastgmm.fitting.comparable import Frame
from fastgmm.fitting.em import statistics_under
from fastgmm.fitting.quiet import quiet_rows
from fastgmm.fitting.starts import first_parameters
from fastgmm.mixture import Mixture
from fastgmm.sources import ArraySource, Source

__all__ = ["Few", "Runner", "race"]

SAMPLE_ROWS = 4096
SAMPLE_ROWS_PER_COMPONENT = 512
NEIGHBOURS = 2  # splits, and merges, that are tried
MOVES = 4, 3  # merges, and splits after each, where both are made


class Few:
    """Few of many rows, or all of few, in which starts are looked for.

    Parameters
    ----------
    source : Source
    n_components : int
        The largest number that is asked for.
    rng : numpy.random.Generator
    noise : Noise, optional
        Partitions are then of the rows that are no noise by their neighbours.
    """

    def __init__(self, source: Source, n_components: int, rng: np.random.Generator, noise: Noise | None = None) -> None:
        n_rows = max(SAMPLE_ROWS, SAMPLE_ROWS_PER_COMPONENT * n_components)
        self.is_all = source.n_rows <= 2 * n_rows
        if not self.is_all:
            few = source.sample(n_rows, rng)
        else:  # what is drawn elsewhere of so many is all of them, and leaves the stream as it is
            few = source if isinstance(source, ArraySource) else source.sample(2 * n_rows, rng.spawn(1)[0])
        # Equal rows made one, in an order of their own: starts depend on neither order nor repetition.
        rows, places = np.unique(few.rows_at(np.arange(few.n_rows)), axis=0, return_inverse=True)
        self.weights = np.bincount(places.ravel(), weights=few.weights())
        weights = None if (self.weights == 1).all() else self.weights
        self.source = ArraySource(rows.astype(few.dtype), weights, n_threads=1)
        frames = [Frame(self.source, whitened=whitened) for whitened in (False, True)[: source.n_features]]
        self.rows, self.mean = rows, frames[0].mean
        self.standard = frames[0].scaled(rows)  # (n, D), of unit variance
        self.spaces = [frame.space(self.source) for frame in frames]
        quiet = self.source if noise is None else quiet_rows(self.source, noise, n_components, rng)
        self.quiet = self if quiet is self.source else Few(quiet, n_components, rng)

    def partitions(self, n_components: int, n_init: int, rng: np.random.Generator) -> list[_Given]:
        """Return partitions that are the same for all families: by agglomeration and, n_init times, by k-means.

        k-means in units of the standard deviations, and of the covariance of the rows.
        """
        quiet = self.quiet
        if n_components > quiet.source.n_rows:
            return []
        partitions = [
            kmeans.lloyd(space, kmeans.seed(space, n_components, rng))[1]
            for _ in range(n_init)
            for space in quiet.spaces
        ]
        partitions.append(agglomerative.cluster(quiet.source, n_components, rng, shared=False)[0])
        return [_Given(quiet, labels=labels) for labels in partitions]

    def drawn(
        self, family: Family, n_components: int, init_params: str, n_init: int, seed: list[int], reg_covar: float
    ):
        """Return starts of a family as `fastgmm.fit` makes them."""
        starts = []
        for draw in range(n_init):
            rng = np.random.default_rng([*seed, draw])
            try:
                starts.append(
                    first_parameters(self.quiet.source, family, n_components, init_params, rng, reg_covar=reg_covar)
                )
            except IllDefinedCovarianceError:
                continue
        return starts

    def splits(self, mixture: Mixture, n_splits: int = NEIGHBOURS) -> list[_Given]:
        """Return responsibilities with one component more: those that fit worst, cut along their longest axis."""
        scores = self.source.score(mixture.constants(self.source.dtype), resp=True, joint=True)
        K = mixture.n_components  # noise has one more column
        resp, joint = scores.resp[:, :K].astype(np.float64), scores.joint[:, :K].astype(np.float64)
        mass = self.weights[:, None] * resp
        n = mass.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            # f log(f / p), weighted rows f = r / n against the density p = exp(joint) / weight
            terms = np.where(mass > 0, mass * (np.log(resp) - joint), 0.0)
            misfit = terms.sum(axis=0) / n - np.log(n) + np.log(mixture.weights.astype(np.float64))
        large = np.flatnonzero(n > 2 * self.weights.sum() / len(self.weights))  # two rows can be parted
        worst = large[np.argsort(-misfit[large], kind="stable")][:n_splits]
        return [_Given(self, resp=self._cut(resp, mass, k)) for k in worst.tolist()]

    def _cut(self, resp: np.ndarray, mass: np.ndarray, k: int) -> np.ndarray:
        """Return responsibilities (n, K + 1) with component k cut in two at its mean."""
        offsets = self.standard - mass[:, k] @ self.standard / mass[:, k].sum()
        axis = np.linalg.eigh((mass[:, k, None] * offsets).T @ offsets)[1][:, -1]
        upper = offsets @ axis > 0
        parted = np.column_stack([resp, np.where(upper, resp[:, k], 0.0)])
        parted[upper, k] = 0.0
        return parted

    def merges(self, mixture: Mixture, n_merges: int = NEIGHBOURS) -> list[_Given]:
        """Return responsibilities with one component less: two that share most of their rows made one."""
        resp = self.source.score(mixture.constants(self.source.dtype), resp=True).resp
        resp = resp[:, : mixture.n_components].astype(np.float64)  # those of noise apart
        shared = resp.T @ (self.weights[:, None] * resp)
        norms = np.sqrt(np.diagonal(shared))
        with np.errstate(divide="ignore", invalid="ignore"):
            shared = np.nan_to_num(shared / np.outer(norms, norms), nan=1.0)  # one without rows goes first
        pairs = sorted(itertools.combinations(range(len(shared)), 2), key=lambda pair: -shared[pair])
        merged = []
        for i, j in pairs[:n_merges]:
            one = np.delete(resp, j, axis=1)
            one[:, i] += resp[:, j]
            merged.append(_Given(self, resp=one))
        return merged

    def moves(self, mixture: Mixture, reg_covar: float) -> list[_Given]:
        """Return responsibilities with as many components: two of them made one, and another cut in two."""
        moved = []
        for merged in self.merges(mixture, MOVES[0]):
            parameters = merged.parameters(mixture.family, reg_covar)
            if parameters is not None:
                moved += self.splits(Mixture.from_parameters(parameters, mixture.family), MOVES[1])
        return moved


class _Given:
    """Labels (n,) or responsibilities (n, K) of the few rows, and the statistics of any kind under them, made once."""

    def __init__(self, few: Few, *, labels: np.ndarray | None = None, resp: np.ndarray | None = None) -> None:
        self._few, self._given = few, {"labels": labels, "resp": resp}
        self._by_kind: dict[str, Statistics] = {}

    def _pivots(self) -> np.ndarray:
        """Return the means (K, D) under the labels or responsibilities."""
        few, labels, resp = self._few, self._given["labels"], self._given["resp"]
        if resp is None:
            resp = labels[:, None] == np.arange(labels.max() + 1)
        mass = few.weights[:, None] * resp
        n = mass.sum(axis=0)
        return few.mean + mass.T @ (few.rows - few.mean) / np.where(n > 0, n, 1.0)[:, None]

    def statistics(self, family: Family) -> Statistics:
        """Return the statistics that a first M-step of a family wants."""
        kind = family.name if family.rank else family.statistics_kind()  # axes are a family's own
        if kind not in self._by_kind:
            self._by_kind[kind] = family.first_statistics(self._few.source, self._pivots(), self._given)
        return self._by_kind[kind]

    def parameters(self, family: Family, reg_covar: float) -> Parameters | None:
        """Return the first M-step of a family, None if there is none."""
        try:
            return family.maximise(self.statistics(family), reg_covar=reg_covar)
        except IllDefinedCovarianceError:
            return None


class Runner(NamedTuple):
    """A start after a few iterations of EM.

    Attributes
    ----------
    bounds : list of float
        Mean log-likelihood of the few rows before each iteration.
    parameters : Parameters
        After them.
    """

    bounds: list[float]
    parameters: Parameters


def race(
    source: ArraySource,
    family: Family,
    starts: list[Parameters],
    *,
    n_iter: int,
    reg_covar: float,
    are_thin: Callable[[Family, list[Parameters]], list[bool]],
) -> list[Runner]:
    """Return starts after a few iterations, the best first; those that collapse are out.

    Parameters
    ----------
    source : ArraySource
        The few rows.
    family : Family
    starts : list of Parameters
    n_iter : int
        Iterations of each.
    reg_covar : float
    are_thin : callable
        Of which of several Parameters components have collapsed.
    """
    runners, ahead = [], Ahead(source, family, reg_covar, source.moments()[0], 0.0, n_iter)
    for start in starts:
        with contextlib.suppress(IllDefinedCovarianceError):
            runners.append(_run(source, family, start, n_iter, reg_covar, ahead))
    thin = are_thin(family, [runner.parameters for runner in runners])
    runners = [runner for runner, out in zip(runners, thin, strict=True) if not out]
    return sorted(runners, key=lambda runner: -runner.bounds[-1])


def _run(
    source: ArraySource, family: Family, parameters: Parameters, n_iter: int, reg_covar: float, ahead: Ahead
) -> Runner:
    """Return a start after a few iterations of EM."""
    shift, bounds, noise = source.moments()[0], [], parameters.noise
    while len(bounds) < n_iter:
        stretch = ahead.stretch(parameters, n_iter - len(bounds)) if noise is None else None
        if stretch is not None:
            bounds += stretch.bounds
            parameters = stretch.end
            continue
        stats = statistics_under(source, family.constants(parameters, dtype=source.dtype, shift=shift))
        bounds.append(stats.log_likelihood / stats.total_weight)
        parameters = family.maximise(stats, reg_covar=reg_covar, previous=parameters)
    return Runner(bounds, parameters)
