"""Starts in comparable coordinates and by agglomeration."""

import numpy as np
import problems
import pytest
import reference_starts

import fastgmm
from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.engine import _hierarchy
from fastgmm.fitting import STARTS, Optimum, agglomerative, run
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


def test_a_race_over_all_rows_is_part_of_the_run():
    """What goes on from it stops where, and by what, the same start stops without a race."""
    X = rows(n=400, d=2, k=5, seed=4)
    bad = np.arange(400) % 5
    options = {"random_state": 0, "stopping": "aitken", "tol": 1e-4, "max_iter": 1000}
    raced = run(X, 5, init_params=[lambda X, k, seed: bad], **options)
    alone = run(X, 5, init_params=bad, **options)
    assert raced.converged
    assert raced.n_iter == alone.n_iter - ITERATIONS > 0
    assert raced.progress == alone.progress
    assert raced.lower_bound == alone.lower_bound


@pytest.mark.parametrize(
    ("n", "d", "k", "raced_on"),
    [
        (2048, 2, 3, 2048),
        (2049, 2, 3, 1024),
        (20_000, 2, 3, 2500),
        (50_000, 2, 3, 4096),
        (50_000, 2, 40, 5120),
        (5000, 40, 8, 1280),
    ],
)
def test_many_rows_are_raced_on_a_sample(n, d, k, raced_on):
    seen = []
    run(rows(n, d), k, init_params=[lambda X, k, seed: seen.append(len(X)) or X[:k]], random_state=0, max_iter=1)
    assert 0.8 * raced_on < seen[0] <= raced_on  # some are drawn twice


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


def crossed():
    """Rows of a wide and of two near components, and a start in which two share one and one holds two."""
    rng = np.random.default_rng(8)
    X = np.concatenate([rng.normal(centre, 1.0, (200, 2)) for centre in ([0, 0], [30, 0], [36, 0])])
    labels = np.where(np.arange(600) < 200, np.arange(600) % 2, 2)
    return X, labels


@pytest.mark.parametrize("family", ["full", "tied", "diag", "spherical", "VEV"])
def test_split_and_merge_leaves_a_poor_optimum(family):
    X, labels = crossed()
    options = {"covariance_type": family, "init_params": labels, "random_state": 0, "tol": 1e-6, "max_iter": 500}
    poor, better = run(X, 3, **options), run(X, 3, split_merge=2, **options)
    assert better.lower_bound > poor.lower_bound + 0.1
    assert 2 <= len(better.histories) <= 3
    assert better.histories[0].lower_bounds == poor.lower_bounds
    means = better.mixture.means
    assert (np.abs(means[:, None, 0] - [0, 30, 36]).min(axis=0) < 1).all()


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_split_and_merge_never_lowers(k):
    X = rows(n=300, d=2, k=6)
    weights = np.random.default_rng(0).integers(0, 3, 300)
    for seed in range(3):
        options = {"random_state": seed, "sample_weight": weights, "init_params": "random_from_data"}
        plain = run(X, k, **options)
        moved = run(X, k, split_merge=3, **options)
        assert moved.lower_bound >= plain.lower_bound
        assert moved.lower_bound == moved.mixture.score(X, sample_weight=weights)
        assert len(moved.histories) == 1 or k > 2


def test_split_and_merge_goes_with_batches_floors_and_continued_fits():
    X, labels = crossed()
    batches = fastgmm.sources.BatchSource([X[:250], X[250:]])
    start = run(X, 3, init_params=labels, random_state=0)
    want = run(X, 3, init_params=labels, random_state=0, split_merge=1).lower_bound
    assert want > start.lower_bound + 0.1
    options = {"random_state": 0, "start": start.mixture.parameters, "progress": start.progress, "path": start.path}
    assert run(X, 3, split_merge=1, **options).lower_bound == pytest.approx(want, abs=1e-3)
    options = {"random_state": 0, "start": start.mixture.parameters}
    assert run(batches, 3, split_merge=1, **options).lower_bound > start.lower_bound + 0.1
    given = {"means_init": start.mixture.means, "weights_init": start.mixture.weights, "random_state": 0}
    assert run(batches, 3, split_merge=1, on_collapse="floor", **given).lower_bound > start.lower_bound + 0.1


def test_split_and_merge_refuses():
    with pytest.raises(ValueError, match="split_merge moves components freely"):
        run(rows(), 3, split_merge=1, means_init=rows()[:3], fixed={"means": True})
    with pytest.raises(ValueError, match="split_merge moves components of Gaussians alone"):
        run(rows(), 3, split_merge=1, noise=True)
    with pytest.raises(ValueError, match="split_merge"):
        run(rows(), 3, split_merge=-1)


def test_optima_are_counted():
    X, labels = crossed()
    good = np.arange(600) // 200
    turns = iter([labels, good, good[::-1].copy(), labels])
    result = run(X, 3, init_params=lambda X, k, seed: next(turns), n_init=4, random_state=0)
    best, other = result.optima()
    assert (best.n_starts, other.n_starts) == (2, 2)
    assert best.lower_bound == result.lower_bound
    assert len(result.optima(within=1e9)) == 1
    model = fastgmm.GaussianMixture(3, init_params=good, random_state=0).fit(X)
    assert model.optima_ == [Optimum(model.lower_bound_, 1)]


@by_name
@pytest.mark.parametrize("n", [300, 20_000])
def test_known_rows_are_where_they_belong(name, n):
    """Few rows are known, in another order than any start finds them in: the others of their clusters follow."""
    rng = np.random.default_rng(3)
    truth = np.arange(n) % 3
    X = np.array([[0.0, 0], [30, 0], [0, 30]])[truth] + rng.standard_normal((n, 2))
    known = np.where((truth != 1) & (rng.random(n) < 0.1), np.array([2, -1, 0])[truth], -1)
    for init_params in (name, [name, "random"]):
        result = run(X, 3, init_params=init_params, known_labels=known, random_state=0, labels=True, max_iter=300)
        np.testing.assert_array_equal(result.labels, np.array([2, 1, 0])[truth])


@pytest.mark.parametrize("name", [*COMPARABLE, "race"])
@pytest.mark.parametrize("n", [300, 20_001])
def test_gaps(name, n):
    """Starts see rows whose gaps are filled."""
    rng = np.random.default_rng(0)
    truth = np.arange(n) % 3
    X = np.array([[0.0, 0, 0], [9, 0, 9], [0, 9, 5]])[truth] + rng.standard_normal((n, 3))
    X[:, 1:][rng.random((n, 2)) < 0.1] = np.nan
    result = run(X, 3, init_params=name, missing="em", split_merge=1, random_state=0)
    assert np.isfinite(result.mixture.means).all()
