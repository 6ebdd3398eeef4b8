"""Stepwise EM over a stream of batches (Cappe and Moulines 2009, J. R. Statist. Soc. B 71:593).

Each batch of weight b gives its statistics under the present parameters. With s the statistics per unit of weight,

    s <- (1 - g) s + g s_batch,        parameters <- M-step of s,

where the step g is that of a batch that takes the stream from time t0 to t1. Time is the weight seen, in units of the
weight of the warm-up; a row at time t has the step h(t) per unit, so a batch has

    g = 1 - exp(-integral of h from t0 to t1),    h(t) = t^-decay,

which does not depend on how rows are cut into batches. With decay = 1 all rows count alike, those seen under early
parameters too; smaller decays forget these. A `forgetting` f > 0 keeps the step of a row at f at least: the stream then
remembers about 1 / f rows, and follows what drifts.

Two such s are kept. Steps that fall from the first batch on stop short of the optimum where components overlap, as EM
takes many iterations there; steps that stay take the noise of single batches for as many rows. So the E-steps are made
under the M-step of the *fast* one, for which

    h(t) = 1 up to T, (t / T)^-decay after it,    T = 1 + 250 (1 - decay):

up to T it remembers as many rows as the warm-up had, and goes as far as some T iterations of EM ("search, then
converge": Darken and Moody 1991, Advances in Neural Information Processing Systems 3:832). The parameters that are
given out are the M-step of the other, in which the noise of the fast one averages out (Polyak and Juditsky 1992, SIAM
J. Control Optim. 30:838). Statistics are averaged and not parameters, as a mean of covariances may leave its family.

Warm-up: the first rows are held, and fitted as any others, until there are enough to begin with; the last of these
fits has several starts. Fewer rows than components give components around the rows there are.

Gaps change nothing of this: the statistics of a batch are then those of its completed rows (`fastgmm.engine.gaps`),
whose expectation under the present parameters is what stepwise EM averages.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.covariance import Parameters
from fastgmm.engine import Statistics
from fastgmm.fitting.em import statistics_under
from fastgmm.fitting.run import run
from fastgmm.fitting.starts import start_rows
from fastgmm.sources import ArraySource, as_source

__all__ = ["Stream", "advance", "as_if_fitted", "step_size", "warm_up_rows"]

SUMS = "n", "s", "S"
ARRAYS = *SUMS, "pivot", "shift"
NUMBERS = "log_likelihood", "total_weight", "n_rows"

ROWS_PER_COMPONENT, ROWS_PER_FEATURE = 500, 5  # and component: those of a warm-up
TINY = np.finfo(np.float64).tiny  # the weight of a component that has none, so that its rows stay
LONGEST = 250  # units of time that fast steps stay, times 1 - decay: with 80 some streams of 1e6 rows end 0.04 % lower
GROWTH = 1.1  # of the held rows between two fits of them
STARTS = 10  # at least, of the last of these fits: a stream has no second chance to find the better optimum


@dataclass(frozen=True, eq=False)
class Stream:
    """Where a stream stands. Nothing in it changes.

    Attributes
    ----------
    parameters : Parameters
        After the last batch, float64.
    n_batches : int
    seen : float
        Weight of all rows so far.
    unit : float
        Weight of the warm-up; 0 while it lasts.
    statistics : Statistics or None
        The discounted sums that the parameters are the M-step of, after the warm-up.
    fast : Statistics or None
        Those that E-steps go by, about the same pivots.
    rows : (n, D) array or None
        What the warm-up holds.
    weights : (n,) array or None
        Theirs; None if none came with weights.
    n_fitted : int
        Held rows of the last fit.
    bound : float
        Mean log-likelihood of the rows before they were learned from, discounted like the statistics.
    """

    parameters: Parameters
    n_batches: int
    seen: float
    unit: float
    statistics: Statistics | None
    fast: Statistics | None
    rows: np.ndarray | None
    weights: np.ndarray | None
    n_fitted: int
    bound: float

    def plain(self):
        """Return all of it as lists of arrays and numbers, which files and pickles hold without code."""
        sums = [None if stats is None else _plain(stats) for stats in (self.statistics, self.fast)]
        held = None if self.rows is None else [self.rows, self.weights]
        numbers = [self.n_batches, self.seen, self.unit, self.n_fitted, self.bound]
        return [list(self.parameters.arrays()), numbers, sums, held]

    @classmethod
    def from_plain(cls, plain):
        """Return the Stream that `plain` returned so."""
        arrays, (n_batches, seen, unit, n_fitted, bound), sums, held = plain
        both = (None if each is None else Statistics(*each) for each in sums)
        rows, weights = (None, None) if held is None else held
        return cls(Parameters(*arrays), n_batches, seen, unit, *both, rows, weights, n_fitted, bound)

    def named(self):
        """Return the statistics or held rows as arrays by name, and their kind ("" in the warm-up), for a file."""
        numbers = [self.n_batches, self.seen, self.unit, self.n_fitted, self.bound]
        if self.statistics is None:
            arrays = {"rows": self.rows} | ({} if self.weights is None else {"weights": self.weights})
            return {"numbers": np.array(numbers)} | arrays, ""
        stats, fast = self.statistics, self.fast
        numbers += [getattr(stats, name) for name in NUMBERS] + [fast.log_likelihood, fast.total_weight]
        arrays = {name: getattr(stats, name) for name in ARRAYS} | {
            f"fast_{name}": getattr(fast, name) for name in SUMS
        }
        return {"numbers": np.array(numbers)} | arrays, stats.kind

    @classmethod
    def from_named(cls, arrays, kind, parameters):
        """Return the Stream that `named` returned so, at given Parameters, float64.

        Raises
        ------
        ValueError, LookupError
            If the arrays are not those of a stream.
        """
        n_batches, seen, unit, n_fitted, bound, *sums = arrays["numbers"].tolist()
        shape = parameters.means.shape
        if not (seen > 0 and unit >= 0 and n_batches >= 1 and len(sums) == (len(NUMBERS) + 2 if kind else 0)):
            raise ValueError("its numbers are not those of a stream")
        if not kind:
            rows, weights = arrays["rows"], arrays.get("weights")
            if rows.shape[1:] != shape[1:] or (weights is not None and weights.shape != rows.shape[:1]):
                raise ValueError("its rows do not fit the mixture")
            return cls(parameters, int(n_batches), seen, unit, None, None, rows, weights, int(n_fitted), bound)
        likelihood, weight, n_rows, fast_likelihood, fast_weight = sums
        points = arrays["pivot"], arrays["shift"]
        stats = Statistics(kind, *(arrays[name] for name in SUMS), *points, likelihood, weight, int(n_rows))
        fast = [arrays[f"fast_{name}"] for name in SUMS]
        fast = Statistics(kind, *fast, *points, fast_likelihood, fast_weight, int(n_rows))
        if stats.s.shape != shape or not min(weight, fast_weight, unit) > 0:
            raise ValueError("its statistics do not fit the mixture")
        return cls(parameters, int(n_batches), seen, unit, stats, fast, None, None, 0, bound)


def _plain(stats):
    return [stats.kind, *(getattr(stats, name) for name in ARRAYS), *(getattr(stats, name) for name in NUMBERS)]


def as_if_fitted(parameters, family, weight):
    """Return the Stream whose rows so far, of some weight, had these Parameters."""
    stats = _statistics_of(parameters, family, weight)
    return Stream(parameters, 0, weight, weight, stats, stats, None, None, 0, 0.0)


def warm_up_rows(n_components, n_features):
    """Return the number of rows of positive weight that a warm-up lasts."""
    return n_components * max(ROWS_PER_COMPONENT, ROWS_PER_FEATURE * n_features)


def step_size(before, weight, unit, decay, forgetting, turn=1.0):
    """Return the step of a batch.

    Parameters
    ----------
    before : float
        Weight seen before it.
    weight : float
        Its own.
    unit : float
        Weight of the warm-up.
    decay : float
        In (0.5, 1].
    forgetting : float
        In [0, 1).
    turn : float, default=1
        The time T up to which steps stay: for those of the fast statistics see `turn_of`.
    """
    t0, t1 = before / unit, (before + weight) / unit
    gone = max(min(t1, turn) - t0, 0.0)
    u0, u1 = max(t0 / turn, 1.0), max(t1 / turn, 1.0)
    gone += turn * (math.log(u1 / u0) if decay == 1 else (u1 ** (1 - decay) - u0 ** (1 - decay)) / (1 - decay))
    return -math.expm1(-max(gone, -weight * math.log1p(-forgetting)))


def turn_of(decay):
    """Return the time up to which steps of the fast statistics stay."""
    return 1 + LONGEST * (1 - decay)


def advance(stream, source, family, n_components, *, reg_covar, decay, forgetting, settings):
    """Return the Stream after a batch.

    Parameters
    ----------
    stream : Stream or None
        None before the first batch.
    source : ArraySource or GappedRows
        The batch: its rows without gaps, or by pattern of gaps.
    family : Family
    n_components : int
    reg_covar : float
    decay, forgetting : float
        As for `step_size`.
    settings : mapping
        Arguments of `run` for fits of the warm-up.

    Raises
    ------
    ValueError
        If nothing was observed of a feature in the whole warm-up so far.
    """
    if stream is None or stream.statistics is None:
        return _warmer(stream, source, family, n_components, reg_covar, settings)
    options = {"reg_covar": reg_covar, "previous": stream.parameters}
    at = family.maximise(stream.fast, **options)
    batch = statistics_under(source, _constants(family, at, source, stream.fast.shift))
    statistics, fast = (
        _moved(past, batch, step_size(stream.seen, batch.total_weight, stream.unit, decay, forgetting, turn))
        for past, turn in ((stream.statistics, 1.0), (stream.fast, turn_of(decay)))
    )
    return replace(
        stream,
        parameters=family.maximise(statistics, **options),
        n_batches=stream.n_batches + 1,
        seen=stream.seen + batch.total_weight,
        statistics=statistics,
        fast=fast,
        bound=statistics.log_likelihood / statistics.total_weight,
    )


def _moved(past, batch, step):
    """Return the Statistics that are (1 - step) past + step batch per unit of weight; the batch keeps its weight."""
    return batch + past.scaled((1 - step) / step * batch.total_weight / past.total_weight)


def _constants(family, parameters, source, shift):
    """Return the constants of a pass whose statistics can be added to those of others: no scatter is pooled."""
    return family.constants(parameters, dtype=source.dtype, shift=shift).unpooled()


def _warmer(stream, source, family, n_components, reg_covar, settings):
    """Return the Stream after a batch of the warm-up, which may be its last."""
    rows, weights = source.kept()
    parameters, n_batches, n_fitted = None, 1, 0
    if stream is not None:
        parameters, n_batches, n_fitted = stream.parameters, stream.n_batches + 1, stream.n_fitted
        if stream.weights is not None or weights is not None:
            both = ((stream.rows, stream.weights), (rows, weights))
            weights = np.concatenate([np.ones(len(r)) if w is None else w for r, w in both])
        rows = np.concatenate([stream.rows, rows])
    ends = len(rows) >= warm_up_rows(n_components, rows.shape[1])
    nothing = np.isnan(rows).all(axis=0)
    if nothing.any():
        raise ValueError(
            f"partial_fit has seen nothing but gaps in column {np.argmax(nothing)} (counted from 0): begin with a "
            "batch that has some value in every column"
        )
    held = as_source(rows, weights, missing="em", min_rows=1)
    if ends and len(rows) <= start_rows(n_components, rows.shape[1]):
        settings = {**settings, "n_init": max(settings["n_init"], STARTS)}
    if ends or len(rows) >= GROWTH * n_fitted:
        parameters, n_fitted = _fitted(held, family, n_components, reg_covar, settings), len(rows)
    statistics = statistics_under(held, _constants(family, parameters, held, held.moments()[0]))
    bound = statistics.log_likelihood / statistics.total_weight
    seen = held.moments()[2]
    if ends:
        return Stream(parameters, n_batches, seen, seen, statistics, statistics, None, None, 0, bound)
    return Stream(parameters, n_batches, seen, 0.0, None, None, rows, weights, n_fitted, bound)


def _fitted(held, family, n_components, reg_covar, settings):
    """Return Parameters, float64, of a mixture of the held rows."""
    if held.n_rows >= max(n_components, 2):
        try:
            found = run(held, n_components, covariance_type=family.name, reg_covar=reg_covar, **settings)
            return found.mixture.parameters.astype(np.float64)
        except IllDefinedCovarianceError:
            pass  # too few rows to be told apart
    means = held.rows_at(np.arange(n_components) % held.n_rows)
    variances = held.moments()[1] + reg_covar
    variances[variances <= 0] = 1.0
    shares, roots = np.full(n_components, 1 / n_components), np.diag(np.sqrt(variances))
    return family.maximise(_of_corners(family, shares, means, np.broadcast_to(roots, (n_components, *roots.shape))))


def _statistics_of(parameters, family, weight):
    """Return the Statistics, of some weight, of rows that have these Parameters."""
    dense = family.dense_covariances(parameters.covariances, *parameters.means.shape)
    return _of_corners(family, weight * parameters.weights, parameters.means, np.linalg.cholesky(dense))


def _of_corners(family, weights, means, roots):
    """Return the Statistics of 2 D rows for each component, with its weight, mean and covariance.

    Parameters
    ----------
    family : Family
    weights : (K,) array
    means : (K, D) array
    roots : (K, D, D) array
        Square roots R of the covariances R R^T, whose columns times sqrt(D) are the offsets of the rows.
    """
    K, D = means.shape
    offsets = np.sqrt(D) * np.concatenate([roots, -roots], axis=2).transpose(0, 2, 1)  # (K, 2 D, D)
    rows = (means[:, None, :] + offsets).reshape(-1, D)
    source = ArraySource(rows, np.repeat(np.maximum(weights, TINY) / (2 * D), 2 * D))
    kind = "full" if family.statistics_kind() == "rotated" else family.statistics_kind()  # as in `_constants`
    return source.accumulate_given(kind, means, labels=np.repeat(np.arange(K), 2 * D))
