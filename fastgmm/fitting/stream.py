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
whose expectation under the present parameters is what stepwise EM averages. Nor do rows whose component is known, or
noise, which is one component more of the statistics. The volume of noise is that of the box around the rows of the
warm-up, and stays.
"""

import math
from dataclasses import astuple, dataclass, replace

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError, InvalidParameterError
from fastgmm.covariance import START_WEIGHT, Noise, Parameters
from fastgmm.engine import Statistics
from fastgmm.fitting.arguments import check_known
from fastgmm.fitting.em import statistics_under
from fastgmm.fitting.mstep import noise_of
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
    labels : (n,) int64 array or None
        Their components, -1 where they are not known; None if none is.
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
    labels: np.ndarray | None
    n_fitted: int
    bound: float

    def plain(self):
        """Return all of it as lists of arrays and numbers, which files and pickles hold without code."""
        sums = [None if stats is None else _plain(stats) for stats in (self.statistics, self.fast)]
        held = None if self.rows is None else [self.rows, self.weights, self.labels]
        numbers = [self.n_batches, self.seen, self.unit, self.n_fitted, self.bound]
        noise = self.parameters.noise
        return [list(self.parameters.arrays()), None if noise is None else astuple(noise), numbers, sums, held]

    @classmethod
    def from_plain(cls, plain):
        """Return the Stream that `plain` returned so."""
        arrays, noise, (n_batches, seen, unit, n_fitted, bound), sums, held = plain
        parameters = Parameters(*arrays, noise=None if noise is None else Noise(*noise))
        both = (None if each is None else Statistics(*each) for each in sums)
        return cls(parameters, n_batches, seen, unit, *both, *(held or (None, None, None)), n_fitted, bound)

    def named(self):
        """Return the statistics or held rows as arrays by name, and their kind ("" in the warm-up), for a file."""
        numbers = [self.n_batches, self.seen, self.unit, self.n_fitted, self.bound]
        if self.statistics is None:
            held = {"rows": self.rows, "weights": self.weights}
            held["labels"] = None if self.labels is None else self.labels.astype(np.float64)  # as all arrays of a file
            arrays = {name: array for name, array in held.items() if array is not None}
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
            rows, weights, labels = arrays["rows"], arrays.get("weights"), arrays.get("labels")
            beside = [each for each in (weights, labels) if each is not None]
            if rows.shape[1:] != shape[1:] or any(each.shape != rows.shape[:1] for each in beside):
                raise ValueError("its rows do not fit the mixture")
            if labels is not None:
                if not np.isin(labels, np.arange(-1, shape[0])).all():
                    raise ValueError("its labels are no components of the mixture")
                labels = labels.astype(np.int64)
            return cls(parameters, int(n_batches), seen, unit, None, None, rows, weights, labels, int(n_fitted), bound)
        likelihood, weight, n_rows, fast_likelihood, fast_weight = sums
        points = arrays["pivot"], arrays["shift"]
        stats = Statistics(kind, *(arrays[name] for name in SUMS), *points, likelihood, weight, int(n_rows))
        fast = [arrays[f"fast_{name}"] for name in SUMS]
        fast = Statistics(kind, *fast, *points, fast_likelihood, fast_weight, int(n_rows))
        with_noise = shape[0] + (parameters.noise is not None), shape[1]
        if stats.s.shape != with_noise or not min(weight, fast_weight, unit) > 0:
            raise ValueError("its statistics do not fit the mixture")
        return cls(parameters, int(n_batches), seen, unit, stats, fast, None, None, None, 0, bound)


def _plain(stats):
    return [stats.kind, *(getattr(stats, name) for name in ARRAYS), *(getattr(stats, name) for name in NUMBERS)]


def as_if_fitted(parameters, family, weight):
    """Return the Stream whose rows so far, of some weight, had these Parameters."""
    stats = _statistics_of(parameters, family, weight)
    return Stream(parameters, 0, weight, weight, stats, stats, None, None, None, 0, math.nan)


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
    t0, span = before / unit, weight / unit  # not t1 - t0: a light batch is lost beside what was seen
    gone = min(span, max(turn - t0, 0.0))
    u0 = max(t0 / turn, 1.0)
    grown = math.log1p((span - gone) / turn / u0)  # log(u1 / u0)
    gone += turn * (grown if decay == 1 else u0 ** (1 - decay) * math.expm1((1 - decay) * grown) / (1 - decay))
    return -math.expm1(-max(gone, -weight * math.log1p(-forgetting)))


def turn_of(decay):
    """Return the time up to which steps of the fast statistics stay."""
    return 1 + LONGEST * (1 - decay)


def advance(stream, source, family, n_components, *, noise, reg_covar, decay, forgetting, settings):
    """Return the Stream after a batch.

    Parameters
    ----------
    stream : Stream or None
        None before the first batch.
    source : ArraySource or UnfilledRows
        The batch: its rows without gaps, or with gaps that nothing fills.
    family : Family
    n_components : int
    noise : None, bool or float
        Whether there is noise, and its volume: in the warm-up. After it that which there is stays.
    reg_covar : float
    decay, forgetting : float
        As for `step_size`.
    settings : mapping
        Arguments of `run` for fits of the warm-up.

    Raises
    ------
    ValueError
        If nothing was observed of a feature in the whole warm-up so far, labels name components that there are not, or
        all rows of a warm-up are in a plane, so that noise=True has no volume.
    """
    check_known(source, n_components, "raise", 0)
    if stream is None or stream.statistics is None:
        return _warmer(stream, source, family, n_components, noise, reg_covar, settings)
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
    """Return the Statistics that are (1 - step) past + step batch per unit of weight; the batch keeps its weight.

    A past whose log-likelihood is not known has that of the batch on average.
    """
    if math.isnan(past.log_likelihood):
        past = replace(past, log_likelihood=past.total_weight * batch.log_likelihood / batch.total_weight)
    return batch + past.scaled((1 - step) / step * batch.total_weight / past.total_weight)


def _constants(family, parameters, source, shift):
    """Return the constants of a pass whose statistics can be added to those of others: no scatter is pooled."""
    return family.constants(parameters, dtype=source.dtype, shift=shift).unpooled()


def _warmer(stream, source, family, n_components, noise, reg_covar, settings):
    """Return the Stream after a batch of the warm-up, which may be its last."""
    rows, weights, labels = source.kept()
    parameters, n_batches, n_fitted = None, 1, 0
    if stream is not None:
        parameters, n_batches, n_fitted = stream.parameters, stream.n_batches + 1, stream.n_fitted
        n = len(stream.rows), len(rows)
        weights = _joined(n, (stream.weights, weights), 1.0)
        labels = _joined(n, (stream.labels, labels), -1)
        rows = np.concatenate([stream.rows, rows])
    ends = len(rows) >= warm_up_rows(n_components, rows.shape[1])
    nothing = np.isnan(rows).all(axis=0)
    if nothing.any():
        raise ValueError(
            f"partial_fit has seen nothing but gaps in column {np.argmax(nothing)} (counted from 0): begin with a "
            "batch that has some value in every column"
        )
    held = as_source(rows, weights, known_labels=labels, missing="em", min_rows=1)
    if ends and len(rows) <= start_rows(n_components, rows.shape[1]):
        settings = {**settings, "n_init": max(settings["n_init"], STARTS)}
    if ends or len(rows) >= GROWTH * n_fitted:
        parameters, n_fitted = _fitted(held, family, n_components, noise, reg_covar, settings, ends), len(rows)
    statistics = statistics_under(held, _constants(family, parameters, held, held.moments()[0]))
    bound = statistics.log_likelihood / statistics.total_weight
    seen = held.moments()[2]
    if ends:
        return Stream(parameters, n_batches, seen, seen, statistics, statistics, None, None, None, 0, bound)
    return Stream(parameters, n_batches, seen, 0.0, None, None, rows, weights, labels, n_fitted, bound)


def _joined(n, both, default):
    """Return what stands beside n[0] and n[1] rows, each an array or None for a default, as one; None if both are."""
    if both[0] is None and both[1] is None:
        return None
    return np.concatenate([np.full(m, default) if each is None else each for m, each in zip(n, both, strict=True)])


def _fitted(held, family, n_components, noise, reg_covar, settings, ends):
    """Return Parameters, float64, of a mixture of the held rows, which may be few unless the warm-up ends with them."""
    variances = held.moments()[1] + reg_covar
    variances[variances <= 0] = 1.0
    own, is_flat = _noise_of(held, noise, variances, ends)
    if held.n_rows >= max(n_components, 2) and not is_flat:
        how = {"covariance_type": family.name, "reg_covar": reg_covar, "noise": noise, **settings}
        try:
            return run(held, n_components, **how).mixture.parameters.astype(np.float64)
        except IllDefinedCovarianceError:
            pass  # too few rows to be told apart
    means = held.rows_at(np.arange(n_components) % held.n_rows)
    if held.known_labels is not None:
        named, first = np.unique(held.on_kept_rows(held.known_labels), return_index=True)
        means[named[named >= 0]] = held.rows_at(first[named >= 0])
    shares, roots = np.full(n_components, 1 / n_components), np.diag(np.sqrt(variances))
    corners = _of_corners(family, shares, means, np.broadcast_to(roots, (n_components, *roots.shape)))
    return replace(family.maximise(corners), noise=own)


def _noise_of(held, noise, variances, ends):
    """Return the Noise that a fit of the held rows starts from, or None, and whether they fill no box, as few do.

    The box is then that of something uniform with given variances (D,), unless the warm-up ends.
    """
    try:
        return noise_of(noise, held, {"weights": np.zeros(0, dtype=bool)}, None), False
    except InvalidParameterError:
        if ends:
            raise
    sides = np.sqrt(12 * variances)
    return Noise(START_WEIGHT, float(np.log(sides).sum()), sides, held.moments()[0]), True


def _statistics_of(parameters, family, weight):
    """Return the Statistics, of some weight, of rows that have these Parameters; nobody knows their log-likelihood."""
    dense, noise = family.dense_covariances(parameters.covariances, *parameters.means.shape), parameters.noise
    share = 1.0 if noise is None else 1 - noise.weight
    stats = _of_corners(family, weight * share * parameters.weights, parameters.means, np.linalg.cholesky(dense))
    if noise is not None:
        stats = stats.with_last(weight * noise.weight)
    return replace(stats, log_likelihood=math.nan)


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
