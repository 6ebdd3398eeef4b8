"""Starts in comparable coordinates and by agglomeration."""

import numpy as np
import problems
import pytest
import reference_starts

import fastgmm
from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.engine import _hierarchy
from fastgmm.fitting import STARTS, agglomerative, run
from fastgmm.fitting.comparable import Frame
from fastgmm.fitting.race import ITERATIONS
from fastgmm.sources import ArraySource

COMPARABLE = ("kmeans-scaled", "kmeans-whitened", "agglomerative", "agglomerative-tied")
by_name = pytest.mark.parametrize("name", COMPARABLE)


def rows(n=300, d=3, k=4, seed=0):
    return problems.rows(seed, n, d, k)


def starting(X, k, name, **options):
    """The mixture that a start gives."""
    return run(X, k, init_params=name, random_state=1, max_iter=0, **options).mixture


@pytest.mark.parametrize(("n", "d", "k"), [(1, 2, 1), (2, 1, 1), (30, 1, 3), (40, 2, 4), (35, 5, 2), (12, 3, 12)])
@pytest.mark.parametrize("weighted", [False, True])
def test_hierarchies_merge_as_the_definition_says(n, d, k, weighted):
    rng = np.random.default_rng([n, d])
    X = 3 * rng.standard_normal((n, d)) * (1 + rng.integers(3, size=(n, 1)))
    weights = rng.integers(1, 4, n).astype(float) if weighted else np.ones(n)
    np.testing.assert_array_equal(_hierarchy.merge_free(X, weights, k), reference_starts.merge_free(X, weights, k))
    want = reference_starts.merge_shared(X, weights, k, 0.9)
    np.testing.assert_array_equal(_hierarchy.merge_shared(X, weights, k), want)


@by_name
@pytest.mark.parametrize("n", [300, 20_000])
@pytest.mark.parametrize("scales", [[1e3, 0.1, 7.0], [1e-9, 3e8, 1.0]])
def test_units_do_not_matter(name, n, scales):
    """A fit of X * s is that of X in other units: 1e-9 of the parameters, for the same partition of the rows."""
    X, s = rows(n), np.array(scales)
    options = {"init_params": name, "random_state": 1, "max_iter": 5, "tol": 0, "reg_covar": 0.0}
    plain, other = run(X, 4, **options), run(X * s + 2 * s, 4, **options)
    np.testing.assert_allclose(other.mixture.weights, plain.mixture.weights, rtol=1e-9)
    np.testing.assert_allclose(other.mixture.means / s - 2, plain.mixture.means, rtol=1e-9, atol=1e-9)
    got = other.mixture.covariances / s / s[:, None]
    np.testing.assert_allclose(got, plain.mixture.covariances, rtol=1e-9, atol=1e-9)
    shift = np.log(s).sum()
    np.testing.assert_allclose(np.array(other.lower_bounds) + shift, plain.lower_bounds, rtol=1e-9)


@pytest.mark.parametrize("name", ["kmeans-whitened", "agglomerative"])
def test_affine_maps_do_not_matter_where_rows_are_whitened(name):
    X = rows()
    A = np.array([[2.0, 0.3, 0.0], [-1.0, 1.0, 5.0], [0.2, 0.0, 1.0]])
    plain, other = starting(X, 4, name, reg_covar=0.0), starting(X @ A.T + 1, 4, name, reg_covar=0.0)
    np.testing.assert_allclose(other.means, plain.means @ A.T + 1, rtol=1e-6, atol=1e-6)


@by_name
@pytest.mark.parametrize("n", [300, 20_000])
def test_separate_clusters_are_found(name, n):
    rng = np.random.default_rng(3)
    centres = np.array([[0.0, 0], [20, 0], [0, 20], [20, 20], [10, 40]])
    X = centres[rng.integers(5, size=n)] + rng.standard_normal((n, 2))
    means = starting(X, 5, name).means
    nearest = np.linalg.norm(means[:, None] - centres, axis=2).min(axis=0)
    assert (nearest < 0.5).all()


@by_name
@pytest.mark.parametrize("n", [200, 20_000])
def test_weight_zero_is_removal_and_threads_do_not_matter(name, n):
    X = rows(n)
    weights = np.random.default_rng(2).integers(0, 3, n).astype(float)
    want = starting(X[weights > 0], 4, name, sample_weight=weights[weights > 0], n_threads=1)
    assert starting(X, 4, name, sample_weight=weights, n_threads=2) == want
    assert starting(X, 4, name, sample_weight=weights, n_threads=1) == want


@by_name
@pytest.mark.parametrize("family", ["full", "tied", "diag", "spherical", "VEV"])
def test_every_family_starts(name, family):
    result = run(rows(), 4, init_params=name, covariance_type=family, random_state=0, tol=0, max_iter=20)
    assert np.isfinite(result.lower_bounds).all()
    assert (np.diff(result.lower_bounds) > -1e-5).all()


@by_name
def test_hard_rows(name):
    """Constant and dependent features, few rows, equal rows, float32, more features than the hierarchy takes."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    for hard in (
        np.column_stack([X, np.full(60, 1e5), X[:, 0] * 2]),
        X[:4],
        np.repeat(X[:6], 10, axis=0),
        (X * 1e-3).astype(np.float32),
        rng.standard_normal((50, 30)),
        np.ones((20, 2)),
    ):
        assert np.isfinite(starting(hard, 4, name).means).all()


@by_name
def test_starts_in_batches(name):
    X = rows(2000)
    batches = fastgmm.sources.BatchSource([X[:700], X[700:]])
    got, want = starting(batches, 4, name), starting(X, 4, name)
    np.testing.assert_allclose(got.means, want.means, rtol=1e-12)


def test_frames():
    X = rows()
    X[:, 1] = 5.0
    source = ArraySource(X)
    for whitened in (False, True):
        frame = Frame(source, whitened=whitened)
        z = frame.coordinates(X)
        np.testing.assert_allclose(np.cov(z.T, bias=True)[::2, ::2].diagonal(), 1, rtol=1e-6)
        np.testing.assert_allclose(frame.rows(z), X, atol=1e-6)
        centres = X[:7]
        distance = np.linalg.norm(z[:, None] - z[:7], axis=2)
        np.testing.assert_array_equal(frame.nearest(source, centres), distance.argmin(axis=1))


def test_many_rows_go_to_the_components_of_few():
    """A row far from the sample of the hierarchy is given by likelihood, not by distance: wide and narrow clusters."""
    rng = np.random.default_rng(5)
    X = np.concatenate([0.1 * rng.standard_normal((5000, 2)), 10 * rng.standard_normal((5000, 2)) + [25, 0]])
    labels, _ = agglomerative.cluster(ArraySource(X), 2, np.random.default_rng(0), shared=False)
    truth = np.arange(10_000) >= 5000
    assert max((labels == truth).mean(), (labels != truth).mean()) > 0.97


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match=r"kmeans-scaled.*agglomerative-tied.*got 'ward'"):
        run(rows(), 2, init_params="ward")
    assert set(COMPARABLE) < set(STARTS)


@pytest.mark.parametrize(
    "entries", ["race", ["kmeans", "random"], ["agglomerative"], ("kmeans", lambda X, k, seed: X[:k])]
)
def test_races_end_and_are_deterministic(entries):
    X = rows()
    one = run(X, 4, init_params=entries, random_state=3, n_init=4, n_threads=1)
    assert run(X, 4, init_params=entries, random_state=3, n_init=4, n_threads=2) == one
    assert 1 <= len(one.histories) <= 2


def test_the_best_of_a_race_goes_on():
    """All starts begin anew from where the race left them; the best is at least as good as each alone after it."""
    X = rows(n=400, d=2, k=5, seed=4)
    bad = np.arange(400) % 5
    names = ["agglomerative", lambda X, k, seed: bad]
    raced = run(X, 5, init_params=names, random_state=0, max_iter=0)
    assert len(raced.histories) == 1
    alone = [run(X, 5, init_params=name, random_state=0, max_iter=ITERATIONS, tol=0).lower_bound for name in names]
    assert alone[0] != alone[1]
    assert raced.lower_bound == pytest.approx(max(alone), rel=1e-12)


def test_equal_starts_run_once():
    calls = []
    X = rows()

    def same(X, k, seed):
        calls.append(seed)
        return np.arange(len(X)) % k if len(calls) % 2 else (np.arange(len(X)) + 1) % k

    result = run(X, 3, init_params=[same], n_init=9, random_state=0)
    assert len(calls) == 9
    assert len(result.histories) == 1


def test_many_rows_are_raced_on_a_sample():
    seen = []
    run(rows(20_000), 3, init_params=[lambda X, k, seed: seen.append(len(X)) or X[:k]], random_state=0, max_iter=1)
    assert seen[0] < 5000


def test_failures_of_a_race():
    """Starts that fail drop out; if all do, the fit fails as it would without a race."""
    X = np.repeat(np.eye(3), 5, axis=0)
    options = {"reg_covar": 0.0, "random_state": 0}
    with pytest.raises(IllDefinedCovarianceError):
        run(X, 3, init_params=["kmeans", "random_from_data"], **options)
    good = rows()
    thin = np.where(np.arange(len(good)) < 2, 0, 1)
    result = run(good, 2, init_params=[lambda X, k, seed: thin, "kmeans"], **options)
    assert np.isfinite(result.lower_bound)


def test_constraints_hold_in_races():
    X = rows()
    result = run(X, 3, init_params="race", n_init=3, equal_weights=True, on_collapse="floor", random_state=0)
    np.testing.assert_allclose(result.mixture.weights, 1 / 3)
    means = X[:3]
    result = run(X, 3, init_params="race", means_init=means, fixed={"means": True}, random_state=0)
    np.testing.assert_array_equal(result.mixture.means, means)


@pytest.mark.parametrize("bad", [["kmeans", "ward"], ["kmeans", 3], ["kmeans", [0, 1]], ("race",), [len, None]])
def test_bad_lists_name_the_entry(bad):
    with pytest.raises(ValueError, match=r"init_params as a list must hold any of 'kmeans'.*got"):
        run(rows(), 2, init_params=bad)


def test_time_ends_a_race():
    calls = []
    run(rows(), 2, init_params=[lambda X, k, seed: calls.append(seed) or X[:k]], n_init=9, max_time=0, random_state=0)
    assert len(calls) == 1
