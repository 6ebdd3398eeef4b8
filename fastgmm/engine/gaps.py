"""Passes over rows with gaps, NaN where nothing was observed: pattern by pattern, to completed statistics.

Rows that miss the same features are one pattern. Each pattern is a pass over its observed features under the marginal
mixture, made once for all its rows; what the missing features add to the sums follows from the sums (`_gaps.pyx`). A
row with nothing observed has density one and the weights as its responsibilities.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fastgmm.engine import _gaps, _linalg, passes
from fastgmm.engine.constants import FACTOR_SHAPES, KernelConstants
from fastgmm.engine.passes import Scores
from fastgmm.engine.rows import Rows, Weights, check_sample_weight
from fastgmm.engine.statistics import Statistics
from fastgmm.engine.threads import resolve

__all__ = ["GappedRows", "Marginal", "Pattern", "separate"]

MAX_PARTS = 64  # patterns are added up in so many parts, whatever the number of threads
PARTS_BYTES = 64 << 20  # of the sums of all parts
SHARED_WORK = 2e7  # in multiplications: with less, a second thread costs more than it brings


@dataclass(frozen=True, eq=False)
class Pattern:
    """The rows that miss the same features.

    Attributes
    ----------
    rows : (n,) intp array
        Their numbers, rising.
    observed, missing : (d,), (m,) intp arrays
        Columns, rising.
    values : Rows of (n, d) or None
        A copy of what was observed; None if nothing was.
    weights : Weights
        Of these rows.
    mass : float
        The sum of their weights.
    """

    rows: np.ndarray
    observed: np.ndarray
    missing: np.ndarray
    values: Rows | None
    weights: Weights
    mass: float

    def weight_of_rows(self):
        """Return the weights (n,)."""
        return np.ones(len(self.rows)) if self.weights.values is None else self.weights.values


def separate(constants):
    """Return a mixture in a kind that has marginals: rotated and low-rank ones as full ones, others as they are.

    A marginal of a rotated kind would be rotated too, but its completed scatter depends on the responsibilities.
    """
    if constants.kind != "low_rank":
        return constants.unpooled()
    a, rows = constants.factors[:, :1], constants.factors[:, 1:]
    lengths = np.sqrt((rows**2).sum(axis=2, keepdims=True))
    axes = rows / np.where(lengths > 0, lengths, 1.0)
    others = np.eye(constants.n_features) - np.swapaxes(axes, 1, 2) @ axes
    W = np.concatenate([others, rows], axis=1) * a  # (K, D + q, D); its triangle is the R of the reversed columns
    R = np.linalg.qr(W[:, :, ::-1], mode="r")[:, ::-1, ::-1]
    factors = np.tril(R * np.sign(np.diagonal(R, axis1=1, axis2=2))[:, :, None])
    return replace(constants, kind="full", factors=factors)


class Marginal:
    """A mixture as the rows of one pattern see it.

    Parameters
    ----------
    constants : KernelConstants
        As `separate` returns them.
    observed, missing : (d,), (m,) intp arrays

    Attributes
    ----------
    log_weights : (K,) array
        log pi_k, where nothing was observed; else see `constants`.
    constants : KernelConstants or None
        Of the observed features; None if there are none.
    regression : (K, m, d) array or None
        B_k with E[x_m | x_o] = mu_m + B_k (x_o - mu_o); None if features are independent.
    conditional : (K, m, m) array, (K, m) array of variances if features are independent
        Covariance of x_m given x_o.
    """

    def __init__(self, constants, observed, missing):
        kind, factors, d = constants.kind, constants.factors, len(observed)
        self.regression = None
        if kind == "full":
            shared = factors.strides[0] == 0  # one factor for all components: one regression
            used = np.ascontiguousarray(factors[:1] if shared else factors, dtype=np.float64)
            found = _gaps.marginals(used, observed, missing)
            log_det = _linalg.log_diagonals(found[0]) - _linalg.log_diagonals(used)
            if shared:
                found = [np.repeat(array, len(factors), axis=0) for array in found]
            marginal, self.regression, self.conditional = found
        else:
            scale = factors[:, missing] if kind == "diagonal" else np.repeat(factors[:, None], len(missing), axis=1)
            marginal = np.ascontiguousarray(factors[:, observed]) if kind == "diagonal" else factors
            self.conditional = scale**-2.0
            log_det = -np.log(scale).sum(axis=1)
        log_norm = constants.log_norm + (log_det + 0.5 * len(missing) * np.log(2 * np.pi))
        self.log_weights = log_norm
        self.constants = None
        if d:
            means, shift = np.ascontiguousarray(constants.means[:, observed]), constants.shift[observed]
            self.constants = KernelConstants(kind, means, marginal, log_norm, shift, constants.dtype)

    def offset(self, from_centers, observed, missing):
        """Return c_k (K, m): the mean of x_m at the centre of x_o, from the centre of x_m; from_centers is (K, D)."""
        c = from_centers[:, missing]
        if self.regression is not None and from_centers.any():
            c = c - np.einsum("kmd,kd->km", self.regression, from_centers[:, observed])
        return np.ascontiguousarray(c)

    def weights(self):
        """Return pi_k (K,), where nothing was observed."""
        top = self.log_weights.max()
        shares = np.exp(self.log_weights - top)
        return shares / shares.sum()


class GappedRows:
    """Rows of which some miss features, sorted by pattern.

    Parameters
    ----------
    rows : Rows
    sample_weight : array-like, number, Weights or None

    Attributes
    ----------
    rows : Rows
    n_rows, n_features : int
    dtype : numpy.dtype
    patterns : list of Pattern
        Of the rows with positive weight, in the order of their gaps: rows without gaps come first.
    weightless : list of Pattern
        Of the other rows, which are scored and no more.

    Notes
    -----
    Memory: a copy of all values that were observed, and 8 bytes for each row.
    """

    def __init__(self, rows, sample_weight=None):
        self.n_rows, self.n_features, self.dtype = rows.n_rows, rows.n_features, rows.dtype
        self.rows, self.weights = rows, check_sample_weight(sample_weight, rows.n_rows)
        words, kept = _words_of_gaps(rows), self.weights.kept
        if kept is None:
            self.patterns, self.weightless = self._sorted(words, np.arange(self.n_rows)), []
        else:
            others = np.setdiff1d(np.arange(self.n_rows), kept)
            self.patterns, self.weightless = self._sorted(words, kept), self._sorted(words, others, weightless=True)

    @classmethod
    def of(cls, rows, sample_weight=None):
        """Return the rows by pattern, or None if there are no gaps; ValueError for infinities."""
        return cls(rows, sample_weight) if rows.has_gaps() else None

    def _sorted(self, words, rows, weightless=False):
        """Return the patterns of some rows."""
        order = np.lexsort(words[rows].T[::-1])
        ordered = words[rows[order]]
        starts = np.flatnonzero(np.any(ordered[1:] != ordered[:-1], axis=1)) + 1
        patterns = []
        for places in np.split(order, starts) if len(rows) else ():
            own = rows[places]
            gaps = np.isnan(np.asarray(self.rows.array[own[0]], dtype=self.dtype))
            observed, missing = np.flatnonzero(~gaps), np.flatnonzero(gaps)
            weights, mass = Weights(), float(len(own))
            if self.weights.values is not None and not weightless:
                weights = Weights(self.weights.values[places], None, self.weights.unit)
                mass = float(weights.values.sum())
            patterns.append(Pattern(own, observed, missing, self._values(own, observed), weights, mass))
        return patterns

    def _values(self, rows, observed):
        """Return a copy of some columns of some rows, None for no columns."""
        if not len(observed):
            return None
        array, out = self.rows.array, np.empty((len(rows), len(observed)), dtype=self.dtype)
        for place, column in enumerate(observed):
            out[:, place] = array[rows, column]
        return Rows(out)

    @cached_property
    def _costs(self):
        """Kinds aside, how much work each pattern is to each component: (P,) multiplications."""
        return np.array([(len(p.rows) + 2 * p.missing.size) * (p.observed.size**2 + 24.0) for p in self.patterns])

    def accumulate(self, constants, *, pivot=None, n_threads=None):
        """Return the Statistics of the completed rows under a mixture, as `fastgmm.accumulate` does without gaps.

        The rotated kind gives statistics of the full kind: with gaps the scatter depends on the responsibilities.
        """
        axes, constants = constants.axes(), separate(constants)
        centers = constants.pivot()
        if pivot is not None:
            centers = constants.shift + (pivot - constants.shift).astype(constants.dtype)
        # A part adds up its own patterns; parts are added in their order: no thread decides what is added to what.
        parts = self._map(
            lambda part, threads: self._sums(part, constants, centers, pivot, threads), constants, n_threads
        )
        first, *others = parts
        total = sum(others, start=first)
        if axes is None:
            return total
        S = np.concatenate([np.diagonal(total.S, axis1=1, axis2=2)[:, None], axes @ total.S], axis=1)
        return replace(total, kind="low_rank", S=S, axes=axes)

    def _sums(self, part, constants, centers, pivot, n_threads):
        """Return the Statistics of the patterns in a slice."""
        K, D = centers.shape
        n, s = np.zeros(K), np.zeros((K, D))
        S = np.zeros(FACTOR_SHAPES[constants.kind](K, D))
        likelihood, weight, n_rows = 0.0, 0.0, 0
        for p in self.patterns[part]:
            marginal = Marginal(constants, p.observed, p.missing)
            if p.values is None:
                found_n, found_s, found_S = p.mass * marginal.weights(), np.zeros((K, 0)), np.zeros((K, 0, 0))
                found_S = found_S if constants.kind == "full" else np.zeros((K, 0))
            else:
                about = None if pivot is None else pivot[:, p.observed]
                found = passes.accumulate(
                    p.values, marginal.constants, sample_weight=p.weights, pivot=about, n_threads=n_threads
                )
                found_n, found_s, found_S = found.n, found.s, found.S
                likelihood += found.log_likelihood
            weight += p.mass
            n_rows += len(p.rows)
            offset = marginal.offset(constants.means - centers, p.observed, p.missing)
            if constants.kind == "full":
                _gaps.complete(
                    *(found_n, found_s, found_S, marginal.regression, marginal.conditional, offset),
                    *(p.observed, p.missing, n, s, S),
                )
            else:
                _complete_independent(
                    constants.kind, found_n, found_s, found_S, marginal.conditional, offset, p, n, s, S
                )
        return Statistics(constants.kind, n, s, S, centers, constants.shift, likelihood, weight, n_rows)

    def score(self, constants, *, log_density=False, resp=False, labels=False, joint=False, n_threads=None):
        """Return the Scores of the rows by their marginal densities, as `fastgmm.engine.score` does without gaps."""
        N, K, dtype = self.n_rows, constants.n_components, constants.dtype
        out = {
            "log_density": np.empty(N, dtype) if log_density else None,
            "resp": np.empty((N, K), dtype) if resp else None,
            "labels": np.empty(N, np.int64) if labels else None,
            "joint": np.empty((N, K), dtype) if joint else None,
        }
        out = {name: array for name, array in out.items() if array is not None}
        full = separate(constants)
        parts = self._map(
            lambda part, threads: [self._score(p, constants, full, out, threads) for p in self.patterns[part]],
            constants,
            n_threads,
        )
        if out:
            for p in self.weightless:
                self._score(p, constants, full, out, n_threads)
        likelihoods = [likelihood for part in parts for likelihood in part]
        return Scores(sum(likelihoods), sum(p.mass for p in self.patterns), **out)

    def _score(self, p, constants, full, out, n_threads):
        """Write what is asked for of one pattern; returns its log-likelihood."""
        marginal = Marginal(full, p.observed, p.missing)
        if p.values is None:
            weights = marginal.weights()
            fixed = {"log_density": 0.0, "resp": weights, "labels": weights.argmax(), "joint": marginal.log_weights}
            for name, array in out.items():
                array[p.rows] = fixed[name]
            return 0.0
        seen = marginal.constants if len(p.missing) else constants
        wanted = dict.fromkeys(out, True)
        found = passes.score(p.values, seen, sample_weight=p.weights, n_threads=n_threads, **wanted)
        for name, array in out.items():
            array[p.rows] = getattr(found, name)
        return found.log_likelihood

    def _map(self, work, constants, n_threads):
        """Return work(part, threads) for each part of the patterns, a slice, in the order of the parts.

        Parts of many rows are visited by all threads together, the others by one thread each.
        """
        K, D = constants.n_components, self.n_features
        n_threads = resolve(n_threads)
        costs = self._costs * K
        n_parts = max(1, min(MAX_PARTS, len(costs), PARTS_BYTES // (8 * K * (1 + D + D * D))))
        middles = (np.cumsum(costs) - costs / 2) / costs.sum()
        edges = np.unique(np.searchsorted(middles, np.arange(n_parts + 1) / n_parts))
        parts = [slice(*pair) for pair in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]
        if n_threads == 1 or costs.sum() < SHARED_WORK:
            return [work(part, 1) for part in parts]
        large = [costs[part].sum() * n_threads > costs.sum() / 2 for part in parts]
        done = {i: work(part, n_threads) for i, part in enumerate(parts) if large[i]}
        small = [i for i in range(len(parts)) if not large[i]]
        pool = ThreadPoolExecutor(n_threads)
        try:
            done.update(zip(small, pool.map(lambda i: work(parts[i], 1), small), strict=True))
        finally:  # an error or Ctrl-C: what has not begun never does
            pool.shutdown(cancel_futures=True)
        return [done[i] for i in range(len(parts))]


def _complete_independent(kind, found_n, found_s, found_S, variances, offset, p, n, s, S):
    """Add the sums of completed rows to totals, where features are independent given the component."""
    second = found_n[:, None] * (variances + offset**2)
    n += found_n
    s[:, p.observed] += found_s
    s[:, p.missing] += found_n[:, None] * offset
    if kind == "spherical":
        S += second.sum(axis=1) if p.values is None else found_S + second.sum(axis=1)
    else:
        S[:, p.observed] += found_S
        S[:, p.missing] += second


def _words_of_gaps(rows):
    """Return which values are missing, as bits of (N, words) numbers."""
    n_words = -(-rows.n_features // 64)
    words = np.zeros((rows.n_rows, n_words), dtype=np.uint64)
    for first, piece in rows.pieces():
        bits = np.packbits(np.isnan(piece), axis=1)
        words[first : first + len(piece)].view(np.uint8)[:, : bits.shape[1]] = bits
    return words
