"""The low-rank kind of the engine against its NumPy twin: every level of this machine, both dtypes, ragged shapes."""

import numpy as np
import pytest
import reference
import reference_low_rank as twin
from problems import EPS, at_level, same_bits

from fastgmm.engine import NEGLIGIBLE, KernelConstants, Statistics, accumulate, accumulate_given, score, simd

N_ROWS = (1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65, 257)
# features, components, rank, rows
SHAPES = [(2 + i if i < 36 else 7 * i - 215, 1 + (5 * i) % 7, 1 + i % 9, N_ROWS[i % 12]) for i in range(40)]
SHAPES = [(D, K, min(q, D - 1), N) for D, K, q, N in SHAPES]

by_level = pytest.mark.parametrize("level", simd.levels())
by_dtype = pytest.mark.parametrize("dtype", ["float64", "float32"])


def constants_of(model, dtype, shift=0.3):
    D = model.means.shape[1]
    return KernelConstants(
        "low_rank", model.means, twin.factors(model), twin.log_norms(model), np.full(D, shift), np.dtype(dtype)
    )


def problem(seed, shape, dtype):
    D, K, q, N = shape
    model = twin.random_model(seed, D, K, q)
    return model, twin.draw(model, seed, N, dtype)


def joint_error(model, X, eps):
    """Rounding of offsets, of q sums over D features and of D over q, relative to the squared distances and offsets."""
    D, q = model.loadings.shape[1:]
    offsets = np.abs(np.asarray(X, np.float64)[:, None] - model.means) + np.abs(model.means) + 0.3
    white = (offsets**2 / model.psi).sum(axis=-1)
    return (
        4 * (D + q + 8) * eps * (np.sqrt(white * twin.squared_distances(model, X)) + np.abs(twin.log_norms(model)) + 1)
    )


@by_dtype
@by_level
def test_score_matches_twin(level, dtype):
    eps = EPS[np.dtype(dtype)]
    for shape in SHAPES:
        model, X = problem(1, shape, dtype)
        with at_level(level):
            got = score(X, constants_of(model, dtype), log_density=True, resp=True, labels=True, joint=True)
        want, error = twin.log_joint(model, X), joint_error(model, X, eps)
        assert (np.abs(got.joint - want) <= error).all(), shape
        resp = reference.responsibilities(want)
        assert (np.abs(got.resp - resp) <= 4 * error.max(axis=1, keepdims=True) * np.maximum(resp, eps) + 8 * eps).all()
        np.testing.assert_allclose(got.log_likelihood, reference.log_sum_exp(want).sum(), atol=2 * error.max(1).sum())
        np.testing.assert_array_equal(got.labels, np.argmax(got.resp, axis=1))


def summed(resp):
    """Responsibilities as sums over rows take them."""
    return np.where(resp < NEGLIGIBLE, 0.0, resp.astype(np.float64))


def assert_moments(got, X, resp, eps, shape):
    want = twin.moments(X, resp, got.pivot, got.axes)
    size = twin.moments_size(X, resp, got.pivot, got.axes)
    D = got.n_features
    for name, value, most in zip(("n", "s", "S"), want, size, strict=True):
        assert (np.abs(getattr(got, name) - value) <= 4 * (D + 16 + len(X)) * eps * most).all(), (name, shape)


@by_dtype
@by_level
def test_accumulate_matches_twin(level, dtype):
    eps = EPS[np.dtype(dtype)]
    for shape in SHAPES:
        model, X = problem(2, shape, dtype)
        constants = constants_of(model, dtype)
        weight = np.random.default_rng(shape).integers(0, 3, len(X)) + (np.arange(len(X)) == 0)
        moved = model.means + 0.1
        with at_level(level):
            plain, about = accumulate(X, constants), accumulate(X, constants, sample_weight=weight, pivot=moved)
            resp = summed(score(X, constants, resp=True).resp)
        np.testing.assert_allclose(plain.axes, twin.axes(constants.factors), rtol=1e-12)
        assert_moments(plain, X, resp, eps, shape)
        assert_moments(about, X, resp * weight[:, None], eps, shape)
        assert (plain.total_weight, about.total_weight) == (len(X), weight.sum())


@by_dtype
@by_level
def test_given_labels_match_twin(level, dtype):
    eps = EPS[np.dtype(dtype)]
    for shape in SHAPES[::3]:
        model, X = problem(3, shape, dtype)
        K = len(model.weights)
        labels = np.arange(len(X)) % (K + 1)  # the last belongs to none
        with at_level(level):
            got = accumulate_given(X, "low_rank", model.means, labels=labels, factors=twin.factors(model))
        assert_moments(got, X, (labels[:, None] == np.arange(K)).astype(float), eps, shape)


@by_level
def test_loadings_far_stronger_than_the_noise_cost_no_digits(level):
    """|y|^2 - |t|^2 would lose as many as the ratio of the variances has."""
    model = twin.random_model(4, 30, 1, 3, strength=1e7)
    X = twin.draw(model, 4, 50)
    offsets, a = X[:, None] - model.means, 1 / np.sqrt(model.psi)
    U, s, _ = np.linalg.svd(a[:, :, None] * model.loadings, full_matrices=False)
    y = a * offsets
    t = np.einsum("kdq,nkd->nkq", U, y)
    distance = ((y - np.einsum("kdq,nkq->nkd", U, t)) ** 2).sum(-1) + (t**2 / (1 + s**2)).sum(-1)
    constants = KernelConstants("low_rank", model.means, twin.factors(model), np.zeros(1), np.zeros(30))
    with at_level(level):
        got = -2 * score(X, constants, joint=True).joint
    # eps times the size of y is what any evaluation loses; |y|^2 - |t|^2 loses eps |y|^2
    size = np.linalg.norm(y, axis=-1)
    assert (np.abs(got - distance) <= 1e-14 * 30 * size * np.sqrt(distance)).all()
    assert (1e-14 * 30 * size * np.sqrt(distance) < 1e-16 * size**2).all()


@by_dtype
@by_level
def test_single_rows_score_as_panels_do(level, dtype):
    eps = EPS[np.dtype(dtype)]
    for shape in SHAPES[::4]:
        model, X = problem(5, shape, dtype)
        X = X[:5]
        constants = constants_of(model, dtype)
        with at_level(level):
            want, scorer = score(X, constants, log_density=True, resp=True, labels=True), constants.scorer()
            for i in range(len(X)):
                density, resp, label = np.empty(1, dtype), np.empty(shape[1], dtype), np.empty(1, np.int64)
                scorer.score(X[i], density, resp, label)
                bound = 2 * joint_error(model, X[i : i + 1], eps).max()
                assert abs(density[0] - want.log_density[i]) <= bound
                assert (np.abs(resp - want.resp[i]) <= 2 * bound).all()
                assert label[0] == want.labels[i] or bound > 1e-3


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_far_rows_have_finite_densities(dtype):
    """The overflow of a square is met in float64, scaled: as the dense quadratic form says."""
    model = twin.random_model(6, 5, 2, 2)
    constants = constants_of(model, dtype, shift=0.0)
    size = 1e30 if dtype == "float32" else 1e160
    X = (size * np.array([[1.0, -2.0, 0.5, 3.0, 1.0]])).astype(dtype)
    got = score(X, constants, joint=True, resp=True)
    scaled = twin.squared_distances(model._replace(means=np.zeros((2, 5))), X.astype(np.float64) / size)
    assert got.resp[0].sum() == 1
    assert got.resp[0, scaled.argmin()] == 1
    if dtype == "float64":
        assert (got.joint == -np.inf).all()
    else:
        with np.errstate(over="ignore"):
            assert (got.joint == (-0.5 * scaled * size**2).astype(dtype)).all()
    alone = np.empty(2, dtype)
    constants.scorer().score(X[0], None, alone, None)
    np.testing.assert_array_equal(alone, got.resp[0])


class TestStatistics:
    def statistics(self, dtype=np.float64):
        model, X = problem(7, (9, 3, 2, 200), dtype)
        return X, constants_of(model, dtype)

    def test_chunks_and_threads_give_the_bits_of_the_whole(self):
        model, X = problem(8, (40, 3, 4, 12_000), np.float64)
        constants = constants_of(model, np.float64)
        step = constants.group_rows
        assert step < len(X) / 2
        whole, parts = accumulate(X, constants, n_threads=2), None
        for first in range(0, len(X), step):
            parts = accumulate(X[first : first + step], constants, into=parts, n_threads=1)
        for name in ("n", "s", "S"):
            assert same_bits(getattr(whole, name), getattr(parts, name))
        assert whole.log_likelihood == parts.log_likelihood

    def test_sums_about_other_points_and_within(self):
        X, constants = self.statistics()
        stats = accumulate(X, constants)
        resp = score(X, constants, resp=True).resp
        moved = stats.about(stats.pivot + 0.7, stats.shift)
        for name, want in zip(("n", "s", "S"), twin.moments(X, resp, moved.pivot, stats.axes), strict=True):
            np.testing.assert_allclose(getattr(moved, name), want, rtol=1e-10, atol=1e-9)
        want = twin.moments(X, resp, stats.means(), stats.axes)
        np.testing.assert_allclose(stats.within(), want[2], rtol=1e-10, atol=1e-9)
        np.testing.assert_allclose(moved.within(), want[2], rtol=1e-10, atol=1e-9)
        held = np.array([True, False, False])
        about = stats.with_means(held, constants.means + 0.3)
        want = twin.moments(X, resp, np.where(held[:, None], constants.means + 0.3, stats.means()), stats.axes)
        np.testing.assert_allclose(about.within(), want[2], rtol=1e-10, atol=1e-9)

    def test_parts_add_up(self):
        X, constants = self.statistics()
        a, b = accumulate(X[:80], constants), accumulate(X[80:], constants, pivot=constants.means + 0.5)
        whole = accumulate(X, constants)
        for name in ("n", "s", "S"):
            np.testing.assert_allclose(getattr(a + b, name), getattr(whole, name), rtol=1e-10, atol=1e-9)
        other = KernelConstants(
            "low_rank", constants.means, constants.factors[:, [0, 2, 1]], constants.log_norm, constants.shift
        )
        with pytest.raises(ValueError, match="along different axes cannot be added"):
            a + accumulate(X, other)
        with pytest.raises(ValueError, match="under the same constants"):
            accumulate(X, other, into=whole)

    def test_bytes_bring_them_back(self):
        X, constants = self.statistics()
        stats = accumulate(X, constants)
        back = Statistics.from_bytes(stats.to_bytes())
        for name in ("n", "s", "S", "pivot", "shift", "axes"):
            assert same_bits(getattr(back, name), getattr(stats, name))

    def test_shapes_are_checked(self):
        X, constants = self.statistics()
        stats = accumulate(X, constants)
        good = {name: getattr(stats, name) for name in ("n", "s", "S", "pivot", "shift", "axes")}
        rest = (0.0, 1.0, 1)
        for wrong in ({"axes": None}, {"axes": good["axes"][:, :1]}, {"S": good["S"][:, :1]}, {"S": good["S"][:, 0]}):
            values = {**good, **wrong}
            axes = values.pop("axes")
            with pytest.raises(ValueError, match="do not fit together"):
                Statistics("low_rank", *values.values(), *rest, axes)
        with pytest.raises(ValueError, match="do not fit together"):
            KernelConstants("low_rank", constants.means, constants.factors[:, :1], constants.log_norm, constants.shift)
