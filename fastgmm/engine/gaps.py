"""Passes over rows with gaps, NaN where nothing was observed: pattern by pattern, to completed statistics.

Rows that miss the same features are one pattern. Each pattern is a pass over its observed features under the marginal
mixture, made once for all its rows; what the missing features add to the sums follows from the sums (`_gaps.pyx`). A
row with nothing observed has density one and the weights as its responsibilities; one whose component is known has that
component's weight as its density. A uniform component, the last, has the density of the observed sides of its box, and
of its sums the weight alone counts: its regression and conditional covariance are zero.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from fastgmm.engine import _gaps, passes
from fastgmm.engine.constants import FACTOR_SHAPES, KernelConstants
from fastgmm.engine.passes import Scores
from fastgmm.engine.rows import Rows, Weights, check_sample_weight
from fastgmm.engine.statistics import Statistics
from fastgmm.engine.threads import resolve

__all__ = ["GappedRows", "Marginal", "Pattern", "separate"]

MAX_PARTS = 64  # patterns are added up in so many parts, whatever the number of threads
PARTS_BYTES = 64 << 20  # of the sums of all parts
SCATTERS_BYTES = 1 << 20  # of the scatters of single patterns that are held all the same
SHARED_WORK = 5e5  # multiplications of a pattern: with less, threads wait for the interpreter more than they work

NO_SIDES = (
    "the noise of this mixture says nothing of rows with gaps: its density over some features needs the sides of a box "
    "along the features, fastgmm.Noise(weight, log_volume, scales)"
)


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

    def part(self, values):
        """Return those of values (N,) of all rows, or None, that belong to these."""
        return None if values is None else values[self.rows]


def separate(constants):
    """Return a mixture in a kind that has marginals: low-rank ones as full ones, others as they are."""
    if constants.kind != "low_rank":
        return replace(constants, factors=np.ascontiguousarray(constants.factors, dtype=np.float64))
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
    log_norm : (K,) array
        log pi_k where nothing was observed; else that of `constants`.
    constants : KernelConstants or None
        Of the observed features; None if there are none.
    regression : (K, m, d) array or None
        B_k with E[x_m | x_o] = mu_m + B_k (x_o - mu_o); None if features are independent. (m, d) for the rotated kind.
    conditional : (K, m, m) array, (K, m) array of variances if features are independent
        Covariance of x_m given x_o. (m, m) for the rotated kind.
    """

    def __init__(self, constants, observed, missing):
        kind, factors, dtype = constants.kind, constants.factors, constants.dtype
        K, D = constants.means.shape
        self.regression = None
        if not len(missing):
            self.constants, self.log_norm = constants, constants.log_norm
            shapes = {"full": ((K, 0, D), (K, 0, 0)), "rotated": ((0, D), (0, 0))}.get(kind, (None, (K, 0)))
            self.regression, self.conditional = (None if shape is None else np.empty(shape) for shape in shapes)
            return
        if constants.has_uniform:
            self._add_uniform(constants, observed, missing)
            return
        if kind in ("full", "rotated"):
            rotated = kind == "rotated"
            means, factors, self.log_norm, self.regression, self.conditional = _gaps.marginals(
                factors[None] if rotated else factors, constants.means, constants.log_norm, observed, missing
            )
            if rotated:
                factors, self.regression, self.conditional = factors[0], self.regression[0], self.conditional[0]
        else:
            scales = factors if kind == "diagonal" else np.repeat(factors[:, None], D, axis=1)
            means, own, self.log_norm, self.conditional = _gaps.independent_marginals(
                scales, constants.means, constants.log_norm, observed, missing
            )
            factors = own if kind == "diagonal" else factors
        self.constants = None
        if len(observed):
            self.constants = KernelConstants(kind, means, factors, self.log_norm, constants.shift[observed], dtype)

    def _add_uniform(self, constants, observed, missing):
        """Take the marginal of the components, and put that of the uniform one behind them."""
        if constants.log_sides is None:
            raise ValueError(NO_SIDES)
        means, factors, log_norm = constants.means, constants.factors, constants.log_norm
        others = replace(constants, means=means[:-1], factors=factors[:-1], log_norm=log_norm[:-1], log_sides=None)
        of_others = Marginal(others, observed, missing)
        last = log_norm[-1] + constants.log_sides[missing].sum()
        self.log_norm, self.constants = np.append(of_others.log_norm, last), None
        self.regression, self.conditional = (_with_zeros(a) for a in (of_others.regression, of_others.conditional))
        if len(observed):
            seen, centre = of_others.constants, means[-1:, observed]
            self.constants = replace(
                seen,
                means=np.concatenate([seen.means, centre]),
                factors=_with_zeros(seen.factors),
                log_norm=self.log_norm,
            )

    def nothing_observed(self, known, n):
        """Return log-densities (n,) and responsibilities (n, K) of rows with nothing observed.

        They have density one and the weights; those whose component k is known have pi_k, and belong to it alone.
        """
        shares = np.exp(self.log_norm - self.log_norm.max())
        resp, log_density = np.tile(shares / shares.sum(), (n, 1)), np.zeros(n)
        if known is not None:
            (there,) = np.nonzero(known >= 0)
            resp[there] = 0.0
            resp[there, known[there]] = 1.0
            log_density[there] = self.log_norm[known[there]]
        return log_density, resp


def _with_zeros(array):
    """Return an array (K, ...) with zeros behind, (K + 1, ...); None as it is."""
    return None if array is None else np.concatenate([array, np.zeros((1, *array.shape[1:]))])


class GappedRows:
    """Rows of which some miss features, sorted by pattern.

    Parameters
    ----------
    rows : Rows
    sample_weight : array-like, number, Weights or None
    n_threads : int or None, default=None

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

    def __init__(self, rows, sample_weight=None, *, n_threads=None):
        self.n_rows, self.n_features, self.dtype = rows.n_rows, rows.n_features, rows.dtype
        self.rows, self.weights = rows, check_sample_weight(sample_weight, rows.n_rows)
        self.n_threads, self._scatters, self._parts = resolve(n_threads), {}, {}
        words, kept = _words_of_gaps(rows), self.weights.kept
        if kept is None:
            self.patterns, self.weightless = self._sorted(words, np.arange(self.n_rows)), []
        else:
            others = np.setdiff1d(np.arange(self.n_rows), kept)
            self.patterns, self.weightless = self._sorted(words, kept), self._sorted(words, others, weightless=True)

    @classmethod
    def of(cls, rows, sample_weight=None, *, n_threads=None):
        """Return the rows by pattern, or None if there are no gaps; ValueError for infinities."""
        return cls(rows, sample_weight, n_threads=n_threads) if rows.has_gaps() else None

    def kept(self):
        """Return the rows with positive weight (n, D), of the compute type, and their weights (n,) or None."""
        kept = self.weights.kept
        rows = self.rows.array if kept is None else self.rows.array[kept]
        return rows.astype(self.dtype), self.weights.values

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

    def _costs(self, kind, K):
        """Return how much work each pattern is: (P,) multiplications."""
        squares, cubes = {"full": (K, K), "rotated": (1, 1)}.get(kind, (0, 0))  # of a row, and of the marginal
        return np.array(
            [
                len(p.rows) * (squares * p.observed.size**2 + K * (6.0 * p.observed.size + 24))
                + 4 / 3 * cubes * self.n_features**3 * (p.missing.size > 0)
                for p in self.patterns
            ]
        )

    def accumulate(self, constants, *, pivot=None, known_labels=None):
        """Return the Statistics of the completed rows under a mixture, as `fastgmm.accumulate` does without gaps."""
        axes, constants = constants.axes(), separate(constants)
        centers = constants.pivot()
        if pivot is not None:
            centers = constants.shift + (pivot - constants.shift).astype(constants.dtype)
        # A part adds up its own patterns; parts are added in their order: no thread decides what is added to what.
        (n, s, S, likelihood), *others = self._map(
            lambda part, threads: self._sums(part, constants, centers, pivot, known_labels, threads), constants
        )
        for other_n, other_s, other_S, other_likelihood in others:
            n += other_n
            s += other_s
            S += other_S
            likelihood += other_likelihood
        kind, weight = constants.kind, sum(p.mass for p in self.patterns)
        if axes is not None:
            kind = "low_rank"
            S = np.concatenate([np.diagonal(S, axis1=1, axis2=2)[:, None], axes @ S], axis=1)
        n_rows = sum(len(p.rows) for p in self.patterns)
        return Statistics(kind, n, s, S, centers, constants.shift, likelihood, weight, n_rows, axes)

    def _sums(self, part, constants, centers, pivot, known_labels, n_threads):
        """Return n, s, S and log-likelihood of the patterns in a slice."""
        K, D = centers.shape
        n, s, S = np.zeros(K), np.zeros((K, D)), np.zeros(FACTOR_SHAPES[constants.kind](K, D))
        delta, away, likelihood = constants.means - centers, constants.means - constants.shift, 0.0
        rotated = constants.kind == "rotated"
        for number in range(part.start, part.stop):
            p = self.patterns[number]
            marginal, known = Marginal(constants, p.observed, p.missing), p.part(known_labels)
            if p.values is None:
                log_density, resp = marginal.nothing_observed(known, len(p.rows))
                weights = p.weight_of_rows()
                found = weights @ resp, np.zeros((K, 0)), np.zeros(FACTOR_SHAPES[constants.kind](K, 0))
                likelihood += float(weights @ log_density)
            else:
                about = None if pivot is None else pivot[:, p.observed]
                scatter = self._scatter(number, marginal.constants, n_threads) if rotated else None
                options = {"sample_weight": p.weights, "known_labels": known, "n_threads": n_threads}
                stats = passes.accumulate(p.values, marginal.constants, pivot=about, scatter=scatter, **options)
                found = stats.n, stats.s, stats.S
                likelihood += stats.log_likelihood
            B, C = marginal.regression, marginal.conditional
            if constants.kind == "full":
                _gaps.complete(*found, B, C, delta, p.observed, p.missing, n, s, S)
            elif rotated:
                _gaps.complete_rotated(*found, B, C, delta, away, p.observed, p.missing, n, s, S)
            else:
                _gaps.complete_independent(*found, C, delta, p.observed, p.missing, n, s, S)
        return n, s, S, likelihood

    def _scatter(self, number, constants, n_threads):
        """Return the total scatter (d, d) of a pattern about the constants' shift, which stays where it is in a fit."""
        p, shift = self.patterns[number], constants.shift
        before, scatter = self._scatters.get(number, (None, None))
        if before is None or not np.array_equal(before, shift):
            options = {"group": constants.group_rows, "sample_weight": p.weights, "n_threads": n_threads}
            scatter = passes.total_scatter(p.values, shift, **options)
            held = len(self.patterns) * shift.size**2 * 8 <= SCATTERS_BYTES
            if held or len(p.rows) >= len(shift):  # else it is taken again almost as fast, and less is held
                self._scatters[number] = shift, scatter
        return scatter

    def score(self, constants, *, log_density=False, resp=False, labels=False, joint=False, known_labels=None):
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
            lambda part, threads: [
                self._score(p, constants, full, out, known_labels, threads) for p in self.patterns[part]
            ],
            constants,
        )
        if out:
            for p in self.weightless:
                self._score(p, constants, full, out, known_labels, self.n_threads)
        likelihoods = [likelihood for part in parts for likelihood in part]
        return Scores(sum(likelihoods), sum(p.mass for p in self.patterns), **out)

    def _score(self, p, constants, full, out, known_labels, n_threads):
        """Write what is asked for of one pattern; returns its log-likelihood."""
        marginal, known = Marginal(full, p.observed, p.missing), p.part(known_labels)
        if p.values is None:
            log_density, resp = marginal.nothing_observed(known, len(p.rows))
            made = {
                "log_density": log_density,
                "resp": resp,
                "labels": resp.argmax(axis=1),
                "joint": np.tile(marginal.log_norm, (len(resp), 1)),
            }
            for name, array in out.items():
                array[p.rows] = made[name]
            return float(p.weight_of_rows() @ log_density)
        seen = marginal.constants if len(p.missing) else constants
        wanted = dict.fromkeys(out, True)
        options = {"sample_weight": p.weights, "known_labels": known, "n_threads": n_threads}
        found = passes.score(p.values, seen, **options, **wanted)
        for name, array in out.items():
            array[p.rows] = getattr(found, name)
        return found.log_likelihood

    def _divided(self, kind, K):
        """Return the costs (P,) of the patterns, and slices of them that are parts of about the same cost."""
        D, costs = self.n_features, self._costs("full" if kind == "low_rank" else kind, K)
        n_parts = max(1, min(MAX_PARTS, len(costs), PARTS_BYTES // (8 * K * (1 + D + D * D))))
        middles = (np.cumsum(costs) - costs / 2) / costs.sum()
        edges = np.unique(np.searchsorted(middles, np.arange(n_parts + 1) / n_parts)).tolist()
        return costs, [slice(*pair) for pair in pairwise(edges)]

    def _map(self, work, constants):
        """Return work(part, threads) for each part of the patterns, a slice, in the order of the parts.

        Parts of many rows are visited by all threads together, the others by one thread each if they are worth it.
        """
        n_threads, how = self.n_threads, (constants.kind, constants.n_components)
        if how not in self._parts:
            self._parts[how] = self._divided(*how)
        costs, parts = self._parts[how]
        if n_threads == 1:
            return [work(part, 1) for part in parts]
        large = [costs[part].sum() * n_threads > costs.sum() / 2 for part in parts]
        done = {i: work(part, n_threads) for i, part in enumerate(parts) if large[i]}
        small = [i for i in range(len(parts)) if not large[i]]
        left = np.concatenate([costs[parts[i]] for i in small]) if small else costs[:0]
        if left.sum() < SHARED_WORK * max(len(left), n_threads):
            done.update((i, work(parts[i], 1)) for i in small)
        else:
            pool = ThreadPoolExecutor(n_threads)
            try:
                done.update(zip(small, pool.map(lambda i: work(parts[i], 1), small), strict=True))
            finally:  # an error or Ctrl-C: what has not begun never does
                pool.shutdown(cancel_futures=True)
        return [done[i] for i in range(len(parts))]


def _words_of_gaps(rows):
    """Return which values are missing, as bits of (N, words) numbers."""
    n_words = -(-rows.n_features // 64)
    words = np.zeros((rows.n_rows, n_words), dtype=np.uint64)
    for first, piece in rows.pieces():
        bits = np.packbits(np.isnan(piece), axis=1)
        words[first : first + len(piece)].view(np.uint8)[:, : bits.shape[1]] = bits
    return words
