"""Every engine pass against the NumPy twin: every level of this machine, both dtypes, all kinds, ragged shapes.

Tolerances are the rounding bounds of ``reference``, computed for the numbers at hand; none is chosen.
"""

import pickle

import numpy as np
import pytest
import reference
from problems import EPS, at_level, kernel_constants, random_constants, rows_near

from fastgmm.engine import KernelConstants, accumulate, accumulate_given, nearest, score, simd

LEVELS = simd.levels()
DTYPES = ("float64", "float32")
N_ROWS = (1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65, 257)
# Every D from 1 to 70, every K from 1 to 40 (17 and 40 have no common factor), every N; seven bands to report by.
SHAPES = [(N_ROWS[i % len(N_ROWS)], i + 1, 1 + (17 * i) % 40) for i in range(70)]
BANDS = [SHAPES[i : i + 10] for i in range(0, 70, 10)]

by_level = pytest.mark.parametrize("level", LEVELS)
by_kind = pytest.mark.parametrize("kind", reference.KINDS)
by_dtype = pytest.mark.parametrize("dtype", DTYPES)
by_band = pytest.mark.parametrize("shapes", BANDS, ids=lambda shapes: f"D{shapes[0][1]}-{shapes[-1][1]}")


def assert_within(got, want, bound, what):
    """Each number within its own bound; says where it is worst."""
    got, want, bound = np.broadcast_arrays(np.asarray(got, dtype=np.float64), want, bound)
    assert np.isfinite(got).all(), f"{what} is not finite"
    excess = np.abs(got - want) - bound
    worst = np.unravel_index(excess.argmax(), excess.shape)
    assert excess[worst] <= 0, f"{what}{worst}: got {got[worst]}, twin {want[worst]}, bound {bound[worst]}"


def assert_sums_within(got, want, bound, what):
    """Statistics within the bounds of the twin."""
    for name in reference.Sums._fields:
        assert_within(getattr(got, name), getattr(want, name), getattr(bound, name), f"{what} {name}")


def assert_pivot(got, asked, shift, eps):
    """The pivot recorded is the one asked for, as the compute type holds its distance from the shift."""
    assert (np.abs(got - asked) <= eps * (np.abs(asked) + np.abs(shift))).all()


def weights_for(n_rows, seed):
    """Sample weights over three decades, about a quarter of them zero."""
    rng = np.random.default_rng((seed, n_rows))
    return np.where(rng.random(n_rows) < 0.25, 0.0, 10.0 ** rng.uniform(-2, 1, n_rows))


@by_band
@by_dtype
@by_kind
@by_level
def test_score_matches_twin(level, kind, dtype, shapes):
    eps = EPS[np.dtype(dtype)]
    for shape in shapes:
        n_rows, n_features, n_components = shape
        constants = random_constants(kind, 1, n_features, n_components)
        X = rows_near(constants, 2, n_rows, dtype)
        with at_level(level):
            got = score(X, kernel_constants(constants, dtype), log_density=True, resp=True, labels=True, joint=True)
        joint, joint_error = reference.log_joint(constants, X), reference.log_joint_error(constants, X, eps)
        resp, log_density = reference.responsibilities(joint), reference.log_sum_exp(joint)
        density_error = reference.log_density_error(resp, joint_error, log_density, eps)
        assert_within(got.joint, joint, joint_error, f"{shape} joint")
        assert_within(got.log_density, log_density, density_error, f"{shape} log_density")
        assert_within(got.resp, resp, reference.responsibilities_error(resp, joint_error, eps), f"{shape} resp")
        chosen = np.take_along_axis(joint, got.labels[:, None], axis=1)[:, 0]
        assert_within(chosen, joint.max(axis=1), 2 * joint_error.max(axis=1), f"{shape} joint at label")
        summed = density_error + reference.summing(n_rows) * eps * np.abs(log_density)
        assert_within(got.log_likelihood, log_density.sum(), summed.sum(), f"{shape} log_likelihood")
        assert got.total_weight == n_rows
        assert (got.joint.dtype, got.resp.dtype, got.log_density.dtype) == 3 * (np.dtype(dtype),)
        assert got.labels.dtype == np.int64


@by_band
@by_dtype
@by_kind
@by_level
def test_accumulate_matches_twin(level, kind, dtype, shapes):
    eps = EPS[np.dtype(dtype)]
    for shape in shapes:
        n_rows, n_features, n_components = shape
        constants = random_constants(kind, 3, n_features, n_components)
        X = rows_near(constants, 4, n_rows, dtype)
        with at_level(level):
            got = accumulate(X, kernel_constants(constants, dtype))
        want = reference.accumulate(constants, X, pivot=got.pivot)
        bound = reference.accumulate_error(constants, X, eps, pivot=got.pivot)
        assert_sums_within(got, want, bound, shape)
        assert got.n_rows == n_rows
        assert got.kind == kind
        assert_pivot(got.pivot, constants.means, constants.shift, eps)
        assert {getattr(got, name).dtype for name in ("n", "s", "S", "pivot", "shift")} == {np.dtype(np.float64)}


@by_dtype
@by_kind
@by_level
def test_weighted_accumulate_about_a_pivot_matches_twin(level, kind, dtype):
    eps = EPS[np.dtype(dtype)]
    for shape in SHAPES[::5]:
        n_rows, n_features, n_components = shape
        constants = random_constants(kind, 5, n_features, n_components)
        X, weight = rows_near(constants, 6, n_rows, dtype), weights_for(n_rows, 6)
        weight[0] = 1.0
        pivot = constants.means + np.random.default_rng(7).standard_normal(constants.means.shape)
        with at_level(level):
            got = accumulate(X, kernel_constants(constants, dtype), sample_weight=weight, pivot=pivot)
        want = reference.accumulate(constants, X, pivot=got.pivot, sample_weight=weight)
        bound = reference.accumulate_error(constants, X, eps, pivot=got.pivot, sample_weight=weight)
        assert_sums_within(got, want, bound, shape)
        assert_pivot(got.pivot, pivot, constants.shift, eps)


@by_dtype
@by_kind
@by_level
def test_accumulate_given_matches_twin(level, kind, dtype):
    eps = EPS[np.dtype(dtype)]
    for shape in SHAPES[::5]:
        n_rows, n_features, n_components = shape
        rng = np.random.default_rng(shape)
        constants = random_constants(kind, 8, n_features, n_components)
        X, weight = rows_near(constants, 9, n_rows, dtype), weights_for(n_rows, 9)
        weight[0] = 1.0
        pivot, shift = constants.means, constants.shift
        resp = rng.dirichlet(np.ones(n_components), n_rows)
        labels = rng.integers(n_components, size=n_rows)
        for name, argument, as_resp in (("resp", resp, resp), ("labels", labels, np.eye(n_components)[labels])):
            with at_level(level):
                got = accumulate_given(X, kind, pivot, **{name: argument}, shift=shift, sample_weight=weight)
            assert_pivot(got.pivot, pivot, shift, eps)
            want = reference.given(kind, X, got.pivot, as_resp, shift=shift, sample_weight=weight)
            no_error = np.zeros_like(as_resp)
            bound = reference.sums_error(kind, X, got.pivot, as_resp, no_error, eps, shift=shift, sample_weight=weight)
            assert_sums_within(got, want, bound, (name, shape))


@by_dtype
@by_level
def test_nearest_matches_twin(level, dtype):
    eps = EPS[np.dtype(dtype)]
    for shape in SHAPES[::3]:
        n_rows, n_features, n_components = shape
        constants = random_constants("spherical", 10, n_features, n_components)
        X, weight = rows_near(constants, 11, n_rows, dtype), weights_for(n_rows, 11)
        weight[0] = 1.0
        centres = constants.means.astype(dtype)
        with at_level(level):
            got = nearest(X, centres, sample_weight=weight, labels=True, distances2=True, sums=True)
        _, distances2 = reference.nearest(X, centres)
        shift = centres.mean(axis=0)
        size2 = ((np.abs(X - shift)[:, None, :] + np.abs(centres - shift)) ** 2).sum(axis=2, dtype=np.float64)
        error = (n_features + 8) * eps * size2
        counted = weight > 0  # the others are not looked at
        assert (got.labels[~counted] == -1).all()
        X, weight, distances2, error = X[counted], weight[counted], distances2[counted], error[counted]
        labels = got.labels[counted]
        own = np.take_along_axis(distances2, labels[:, None], axis=1)[:, 0]
        assert_within(own, distances2.min(axis=1), 2 * error.max(axis=1), f"{shape} distance at label")
        assert_within(got.distances2[counted], distances2.min(axis=1), error.max(axis=1), f"{shape} distances2")
        member, pivot = np.eye(n_components)[labels], np.tile(shift, (n_components, 1))
        want = reference.given("spherical", X, pivot, member, sample_weight=weight)
        bound = reference.sums_error(
            "spherical", X, pivot, member, np.zeros_like(member), eps, shift=shift, sample_weight=weight
        )
        assert_within(got.n, want.n, bound.n, f"{shape} n")
        assert_within(got.s, want.s, bound.s, f"{shape} s")
        inertia_error = weight @ (error.max(axis=1) + reference.summing(n_rows) * eps * own)
        assert_within(got.inertia, weight @ own, inertia_error, f"{shape} inertia")


@by_level
def test_nearest_takes_the_first_of_equals(level):
    centres = np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    X = np.array([[0.0, 2.0], [1.0, 0.0], [-3.0, 1.0], [2.0, 2.0]])
    with at_level(level):
        assert nearest(X, centres, labels=True).labels.tolist() == [0, 0, 1, 0]


@by_dtype
@by_kind
@by_level
def test_groups_are_joined_without_loss(level, kind, dtype):
    """Rows beyond one group, to one row past a border."""
    eps = EPS[np.dtype(dtype)]
    constants = random_constants(kind, 12, 3, 4)
    theirs = kernel_constants(constants, dtype)
    X = rows_near(constants, 13, 2 * theirs.group_rows + 1, dtype)
    with at_level(level):
        got = accumulate(X, theirs)
    assert_sums_within(got, reference.accumulate(constants, X), reference.accumulate_error(constants, X, eps), kind)


@by_kind
@by_level
def test_zero_weight_is_removal(level, kind):
    constants = random_constants(kind, 14, 5, 3)
    X, weight = rows_near(constants, 15, 257), weights_for(257, 15)
    kept, theirs = weight > 0, kernel_constants(constants)
    with at_level(level):
        all_rows = accumulate(X, theirs, sample_weight=weight)
        some_rows = accumulate(X[kept], theirs, sample_weight=weight[kept])
        scored = score(X, theirs, sample_weight=weight).log_likelihood
        assert scored == score(X[kept], theirs, sample_weight=weight[kept]).log_likelihood
    assert all_rows.to_bytes() == some_rows.to_bytes()


@by_kind
@by_level
def test_nothing_beyond_the_rows_is_read(level, kind):
    """Rows inside a sea of NaN give the bits of a tight array: padding comes from nowhere."""
    for n_rows, n_features, n_components in ((1, 1, 1), (7, 3, 2), (33, 9, 5), (65, 17, 3)):
        constants = random_constants(kind, 16, n_features, n_components)
        X = rows_near(constants, 17, n_rows)
        sea = np.full((n_rows + 70, n_features + 9), np.nan)
        sea[:n_rows, :n_features] = X
        theirs = kernel_constants(constants)
        with at_level(level):
            tight, inside = accumulate(X, theirs), accumulate(sea[:n_rows, :n_features], theirs)
        assert tight.to_bytes() == inside.to_bytes()


@by_kind
@by_level
def test_component_without_weight_takes_nothing(level, kind):
    constants = random_constants(kind, 18, 4, 3)
    X = rows_near(constants, 19, 65)
    constants.log_norm[1] = -np.inf
    theirs = kernel_constants(constants)
    with at_level(level):
        scores, sums = score(X, theirs, resp=True, log_density=True), accumulate(X, theirs)
    assert not scores.resp[:, 1].any()
    assert np.isfinite(scores.log_density).all()
    assert sums.n[1] == 0
    assert not sums.s[1].any()


@by_kind
@by_dtype
@pytest.mark.parametrize(("value", "words"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_non_finite_row_is_named(kind, dtype, value, words):
    constants = random_constants(kind, 20, 5, 2)
    theirs = kernel_constants(constants, dtype)
    X = rows_near(constants, 21, 100, dtype)
    X[41, 3] = X[77, 0] = value
    passes = (
        lambda: score(X, theirs),
        lambda: accumulate(X, theirs),
        lambda: nearest(X, constants.means),
        lambda: accumulate_given(X, kind, constants.means, labels=np.zeros(100, dtype=np.int64), shift=constants.shift),
    )
    for one_pass in passes:
        with pytest.raises(ValueError, match=f"Input X contains {words}") as raised:
            one_pass()
        assert "41" in str(raised.value)
        assert "3" in str(raised.value)


@pytest.mark.parametrize(
    "weight",
    [
        np.zeros(10),
        np.full(10, -1.0),
        np.where(np.arange(10) == 3, np.nan, 1.0),
        np.where(np.arange(10) == 3, np.inf, 1.0),
        np.ones(9),
        np.ones((10, 2)),
    ],
    ids=("all zero", "negative", "NaN", "infinite", "short", "2-D"),
)
def test_bad_sample_weight_is_refused(weight):
    constants = random_constants("full", 22, 3, 2)
    X, theirs = rows_near(constants, 23, 10), kernel_constants(constants)
    for one_pass in (accumulate, score):
        with pytest.raises(ValueError, match="sample_weight"):
            one_pass(X, theirs, sample_weight=weight)


def test_bad_shapes_are_refused():
    constants = random_constants("diagonal", 24, 3, 2)
    X, theirs = rows_near(constants, 25, 10), kernel_constants(constants)
    with pytest.raises(ValueError, match="2 features"):
        accumulate(X[:, :2], theirs)
    with pytest.raises(ValueError, match="pivot"):
        accumulate(X, theirs, pivot=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="resp"):
        accumulate_given(X, "diagonal", constants.means, resp=np.ones((10, 3)))
    with pytest.raises(ValueError, match="labels"):
        accumulate_given(X, "diagonal", constants.means, labels=np.zeros(9, dtype=np.int64))
    with pytest.raises(ValueError, match="pivot"):
        accumulate_given(X, "diagonal", np.zeros((2, 4)), labels=np.zeros(10, dtype=np.int64), shift=np.zeros(3))


@pytest.mark.parametrize(
    "changed",
    [
        {"factors": np.ones((2, 3))},
        {"means": np.zeros((3, 3))},
        {"log_norm": np.zeros(1)},
        {"shift": np.zeros(2)},
        {"kind": "round"},
        {"dtype": np.dtype(np.int64)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_constants_that_do_not_fit_together_are_refused(changed):
    """KernelConstants is public, and behind it are raw pointers."""
    constants = random_constants("full", 26, 3, 2)
    fields = {**constants._asdict(), "dtype": np.dtype(np.float64), **changed}
    with pytest.raises((ValueError, TypeError), match=next(iter(changed))):
        accumulate(rows_near(constants, 27, 10), KernelConstants(**fields))


def test_label_outside_the_components_belongs_to_none():
    constants = random_constants("full", 28, 3, 2)
    X, labels = rows_near(constants, 29, 40), np.arange(40) % 4 - 1
    got = accumulate_given(X, "full", constants.means, labels=labels, shift=constants.shift)
    resp = np.eye(4)[labels + 1][:, 1:3]
    want = reference.given("full", X, constants.means, resp)
    np.testing.assert_allclose(got.n, want.n, rtol=1e-14)
    np.testing.assert_allclose(got.S, want.S, rtol=1e-12, atol=1e-12)


def test_levels_are_known_and_forced():
    names = ("portable", "x86-64", "avx2", "avx512", "neon")
    assert set(LEVELS) <= set(names)
    assert "portable" in LEVELS
    for level in LEVELS:
        with at_level(level):
            assert simd.active() == level
        assert simd.lanes(level) >= 1
    with pytest.raises(ValueError, match="portable"):
        simd.use("mmx")


@by_level
def test_environment_picks_the_level(level, run_python, monkeypatch):
    monkeypatch.setenv("FASTGMM_SIMD", level)
    assert run_python("from fastgmm.engine import simd; print(simd.active())").strip() == level


@by_kind
def test_constants_are_prepared_once_for_each_level(kind):
    constants = random_constants(kind, 30, 9, 5)
    X, theirs = rows_near(constants, 31, 50), kernel_constants(constants)
    for _ in range(2):
        for level in LEVELS:
            with at_level(level):
                got, fresh = (score(X, each, joint=True).joint for each in (theirs, kernel_constants(constants)))
                assert got.tobytes() == fresh.tobytes()
                assert theirs.prepared() is theirs.prepared() is not theirs.kernel()


def test_constants_are_sent_without_what_was_prepared():
    constants = random_constants("full", 32, 3, 2)
    X, theirs = rows_near(constants, 33, 10), kernel_constants(constants)
    wanted = score(X, theirs, joint=True).joint
    received = pickle.loads(pickle.dumps(theirs))
    assert score(X, received, joint=True).joint.tobytes() == wanted.tobytes()
