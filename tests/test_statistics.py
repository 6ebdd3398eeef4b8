"""Statistics: merged, carried on, stored, and enough to write a whole fit with."""

import dataclasses

import numpy as np
import problems
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import kernel_constants, random_constants, rows_near

import fastgmm
from fastgmm import covariance
from fastgmm.engine import Statistics, accumulate, accumulate_given

FIELDS = ("n", "s", "S", "pivot", "shift")

by_kind = pytest.mark.parametrize("kind", reference.KINDS)
by_family = pytest.mark.parametrize("family", reference.FAMILIES)


def central(kind, stats):
    """Weights, means and scatter about the means, from the twin's formulas: what no choice of pivot can change."""
    means = stats.pivot + stats.s / stats.n[:, None]
    offset = stats.s / stats.n[:, None]
    if kind == "full":
        scatter = stats.S - stats.n[:, None, None] * offset[:, :, None] * offset[:, None, :]
    elif kind == "diagonal":
        scatter = stats.S - stats.n[:, None] * offset**2
    elif kind == "spherical":
        scatter = stats.S - stats.n * (offset**2).sum(axis=1)
    else:
        between = means - stats.shift
        scatter = stats.S - (stats.n[:, None] * between).T @ between
    return stats.n, means, scatter


def assert_same_distribution(kind, a, b, tolerance):
    """The pivot-free content of two statistics agrees, relative to its own size."""
    for got, want in zip(central(kind, a), central(kind, b), strict=True):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * np.abs(want).max())
    np.testing.assert_allclose(a.log_likelihood, b.log_likelihood, rtol=tolerance)
    np.testing.assert_allclose(a.total_weight, b.total_weight, rtol=tolerance)
    assert a.n_rows == b.n_rows


def two_halves(kind, pivots_apart, seed=1):
    """Statistics of all rows and of two parts of them, accumulated about pivots that differ."""
    constants = random_constants(kind, seed, 3, 4)
    X = rows_near(constants, seed, 600)
    theirs = kernel_constants(constants)
    moved = constants.means + pivots_apart
    parts = accumulate(X[:211], theirs), accumulate(X[211:], theirs, pivot=moved)
    return accumulate(X, theirs), *parts


@by_kind
@pytest.mark.parametrize("pivots_apart", [0.0, 5.0])
def test_merged_statistics_are_those_of_all_rows(kind, pivots_apart):
    """1e-12: merging moves S by n delta delta^T, which is at most 25 times the scatter here."""
    whole, a, b = two_halves(kind, pivots_apart)
    assert_same_distribution(kind, a + b, whole, 1e-12)


@by_kind
def test_merging_order_only_rounds(kind):
    _, a, b = two_halves(kind, 5.0)
    _, c, _ = two_halves(kind, 0.0, seed=2)
    c = rebuilt(c, shift=a.shift)
    assert_same_distribution(kind, a + b, b + a, 1e-12)
    assert_same_distribution(kind, (a + b) + c, a + (b + c), 1e-12)


def rebuilt(stats, **changes):
    """The same statistics with some fields replaced (they are plain data)."""
    fields = {name: getattr(stats, name) for name in (*FIELDS, "kind", "log_likelihood", "total_weight", "n_rows")}
    return Statistics(**{**fields, **changes})


@by_kind
def test_merging_leaves_the_parts_alone(kind):
    _, a, b = two_halves(kind, 1.0)
    before = a.to_bytes(), b.to_bytes()
    a + b
    assert (a.to_bytes(), b.to_bytes()) == before


def test_merging_strangers_is_refused():
    _, full, _ = two_halves("full", 0.0)
    _, diagonal, _ = two_halves("diagonal", 0.0)
    constants = random_constants("full", 1, 3, 2)
    fewer = accumulate(rows_near(constants, 1, 20), kernel_constants(constants))
    with pytest.raises(ValueError, match="kind"):
        full + diagonal
    with pytest.raises(ValueError, match="cannot be added"):
        full + fewer
    with pytest.raises(TypeError):
        full + 1


@by_kind
def test_means_and_within_are_central_moments(kind):
    whole, _, _ = two_halves(kind, 0.0)
    _, means, scatter = central(kind, whole)
    np.testing.assert_allclose(whole.means(), means, rtol=1e-13)
    np.testing.assert_allclose(whole.within(), scatter, rtol=1e-12, atol=1e-12 * np.abs(scatter).max())


@by_kind
def test_stored_statistics_return_bit_for_bit(kind):
    whole, a, b = two_halves(kind, 1.0)
    back = Statistics.from_bytes(whole.to_bytes())
    assert back.to_bytes() == whole.to_bytes()
    for name in FIELDS:
        assert problems.same_bits(getattr(back, name), getattr(whole, name))
    assert (back.kind, back.n_rows) == (whole.kind, whole.n_rows)
    assert (back.log_likelihood, back.total_weight) == (whole.log_likelihood, whole.total_weight)
    assert (Statistics.from_bytes(a.to_bytes()) + b).to_bytes() == (a + b).to_bytes()


def test_damaged_bytes_are_refused():
    stored = two_halves("full", 0.0)[0].to_bytes()
    middle = stored.index(b"NUMPY") + 200
    flipped = stored[:middle] + bytes([stored[middle] ^ 1]) + stored[middle + 1 :]
    for damaged in (b"", stored[:7], stored[: len(stored) // 2], stored[:-1], flipped, b"?" + stored[1:]):
        with pytest.raises(ValueError, match=r"[Ss]tatistics"):
            Statistics.from_bytes(damaged)


@by_kind
@pytest.mark.parametrize("weighted", [False, True])
def test_continued_accumulation_has_the_bits_of_the_whole(kind, weighted):
    constants = random_constants(kind, 3, 2, 3)
    theirs = kernel_constants(constants)
    step = theirs.group_rows
    X = rows_near(constants, 4, 3 * step + 17)
    weight = np.random.default_rng(5).uniform(0.1, 2.0, len(X)) if weighted else None
    whole = accumulate(X, theirs, sample_weight=weight)
    for chunk in (step, 2 * step):
        stats = None
        for first in range(0, len(X), chunk):
            part = slice(first, first + chunk)
            stats = accumulate(X[part], theirs, sample_weight=None if weight is None else weight[part], into=stats)
        assert stats.to_bytes() == whole.to_bytes()


@by_kind
def test_continued_given_accumulation_has_the_bits_of_the_whole(kind):
    constants = random_constants(kind, 6, 2, 3)
    step = kernel_constants(constants).group_rows
    X = rows_near(constants, 7, 2 * step + 5)
    labels = np.random.default_rng(8).integers(3, size=len(X))
    whole = accumulate_given(X, kind, constants.means, labels=labels, shift=constants.shift)
    stats = None
    for first in range(0, len(X), step):
        part = slice(first, first + step)
        stats = accumulate_given(X[part], kind, constants.means, labels=labels[part], shift=constants.shift, into=stats)
    assert stats.to_bytes() == whole.to_bytes()


@by_kind
def test_any_other_chunks_only_round(kind):
    constants = random_constants(kind, 9, 2, 3)
    X, theirs = rows_near(constants, 10, 1000), kernel_constants(constants)
    stats = None
    for first in range(0, 1000, 77):
        stats = accumulate(X[first : first + 77], theirs, into=stats)
    assert_same_distribution(kind, stats, accumulate(X, theirs), 1e-12)


def in_chunks(X, weight, constants):
    """Statistics of all rows, from chunks of one group each."""
    step, stats = constants.group_rows, None
    for first in range(0, len(X), step):
        part = slice(first, first + step)
        stats = fastgmm.accumulate(X[part], constants, sample_weight=weight[part], into=stats)
    return stats


def mean_of_rows(X, weight):
    """The mean of the rows is that of a one-component model; a pass about the first row."""
    one, D = covariance.get("diag"), X.shape[1]
    params = covariance.Parameters(np.ones(1), X[:1], np.ones((1, D)), np.ones((1, D)))
    return in_chunks(X, weight, one.constants(params, shift=X[0])).means()[0]


def fit_by_hand(family, X, weight, start, n_iter):
    """EM over chunks of rows with nothing but families, ``fastgmm.accumulate`` and ``Statistics``."""
    K, D = start.means.shape
    model = covariance.get(family)
    covariances, factor = model.from_precisions(problems.start_of(family, start)["precisions_init"], K, D)
    params = covariance.Parameters(start.weights, start.means, covariances, factor)
    shift = mean_of_rows(X, weight) if family == "tied" else None  # rows are rotated about one fixed point
    bounds = []
    for _ in range(n_iter):
        stats = in_chunks(X, weight, model.constants(params, shift=shift))
        bounds.append(stats.log_likelihood / stats.total_weight)
        params = model.maximise(stats, reg_covar=1e-6, previous=params)
    return params, bounds


@by_family
def test_hand_written_loop_has_the_bits_of_fit(family):
    X = problems.rows(11, 30_000, 12, 6)
    weight = np.random.default_rng(12).uniform(0.5, 1.5, len(X))
    start = problems.start_from_rows(family, X, 6)
    assert (
        fastgmm.Mixture(*start, covariance_type=family).constants().group_rows < len(X) / 2
    )  # so there are several chunks
    by_hand, bounds = fit_by_hand(family, X, weight, start, n_iter=4)
    with problems.no_convergence_warning():
        result = fastgmm.fit(
            X, 6, covariance_type=family, tol=0, max_iter=4, sample_weight=weight, **problems.start_of(family, start)
        )
    problems.assert_same_parameters(by_hand, result.mixture)
    assert result.lower_bounds[:-1] == bounds[1:]  # each before its M-step; the result is scored once more


@settings(max_examples=30, derandomize=True, deadline=None)
@given(
    kind=st.sampled_from(reference.KINDS),
    n_rows=st.integers(2, 300),
    n_parts=st.integers(1, 6),
    offset=st.sampled_from([0.0, 1e3, 1e6]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_partition_merges_to_the_whole(kind, n_rows, n_parts, offset, seed):
    """Given labels, so that only the sums are compared; 1e-12 of the magnitudes about the common pivot."""
    rng = np.random.default_rng(seed)
    X = problems.on_grid(rng.standard_normal((n_rows, 3))) + offset
    labels = rng.integers(2, size=n_rows)
    pivot, shift = np.full((2, 3), offset), np.full(3, offset)
    whole = accumulate_given(X, kind, pivot, labels=labels, shift=shift)
    borders = np.sort(rng.integers(0, n_rows + 1, n_parts - 1))
    merged = None
    for rows, own in zip(np.split(X, borders), np.split(labels, borders), strict=True):
        if len(rows):
            moved = pivot + rng.standard_normal((2, 3))
            part = accumulate_given(rows, kind, moved, labels=own, shift=shift)
            merged = part if merged is None else merged + part
    np.testing.assert_array_equal(merged.n, whole.n)
    assert merged.n_rows == whole.n_rows
    occupied = whole.n > 0
    np.testing.assert_allclose(merged.means()[occupied], whole.means()[occupied], rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(merged.within(), whole.within(), rtol=1e-11, atol=1e-11 * n_rows)


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "backwards": lambda array: np.ascontiguousarray(array[::-1])[::-1],
    "steps": lambda array: np.repeat(array, 2, axis=0)[::2],
    "big-endian": lambda array: array.astype(">f8"),
    "read-only": lambda array: np.frombuffer(array.tobytes()).reshape(array.shape),
    "unaligned": lambda array: np.frombuffer(b"." + array.tobytes(), offset=1).reshape(array.shape),
    "list": lambda array: array.tolist(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@by_family
def test_layout_of_statistics_does_not_matter(family, layout):
    """Users make statistics too: from Spark, from files of other machines."""
    model = fastgmm.Mixture(*problems.model(family, 1, 3, 2), covariance_type=family)
    stats = fastgmm.accumulate(problems.rows(1, 200, 3, 2), model.constants())
    arrays = {name: LAYOUTS[layout](getattr(stats, name)) for name in ("n", "s", "S", "pivot", "shift")}
    other = dataclasses.replace(stats, **arrays)
    assert other.to_bytes() == stats.to_bytes()
    problems.assert_same_parameters(model.family.maximise(other), model.family.maximise(stats))
    assert (other + other).to_bytes() == (stats + stats).to_bytes()


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "cubic"},
        {"n": np.zeros(3)},
        {"n": np.zeros((2, 1))},
        {"s": np.zeros((3, 2))},
        {"S": np.zeros((2, 3))},
        {"pivot": np.zeros((2, 4))},
        {"shift": np.zeros(2)},
    ],
)
def test_statistics_that_do_not_fit_together_are_refused(changed):
    good = {"n": np.ones(2), "s": np.zeros((2, 3)), "S": np.ones((2, 3, 3)), "pivot": np.zeros((2, 3))}
    good |= {"kind": "full", "shift": np.zeros(3), "log_likelihood": 0.0, "total_weight": 2.0, "n_rows": 2}
    assert Statistics(**good).means().shape == (2, 3)
    with pytest.raises(ValueError, match=r"kind must be one of|do not fit together"):
        Statistics(**{**good, **changed})
