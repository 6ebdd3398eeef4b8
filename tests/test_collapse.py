"""Components that collapse: what is done about them, what is recorded, and the floor that keeps them from it."""

import numpy as np
import problems
import pytest
import reference

import fastgmm
from fastgmm import GaussianMixture, IllDefinedCovarianceError
from fastgmm.covariance import get
from fastgmm.fitting import Collapse, run
from fastgmm.fitting.mstep import MStep, floor_of
from fastgmm.sources import ArraySource

K, D = 3, 3
by_family = pytest.mark.parametrize("family", reference.FAMILIES)
NOTHING_HELD = {name: np.zeros(K, dtype=bool) for name in ("weights", "means", "covariances")}


@pytest.fixture(scope="module")
def X():
    return problems.rows(5, 300, D, K)


@pytest.fixture(scope="module")
def spiked():
    """A cloud and ten equal rows on its edge, with labels: the third component is those rows."""
    rng = np.random.default_rng(2)
    X = np.concatenate([rng.standard_normal((200, 2)), np.full((10, 2), 3.0)])
    return X, np.concatenate([np.arange(200) % 2, np.full(10, 2)])


def step(family, source, start, share, **options):
    """The MStep of a run from a `reference.Model`."""
    family = get(family)
    parameters = fastgmm.Mixture(*start, covariance_type=family.name).parameters
    settings = {"masks": NOTHING_HELD, "equal_weights": False, "reg_covar": 0.0, "on_collapse": "floor"}
    settings |= {"max_iter": 9, "continued": False}
    rng = np.random.default_rng(0)
    return MStep(source, family, parameters, floor=floor_of(source, family, share), rng=rng, **{**settings, **options})


# ----------------------------------------------------------------------------------------------- floor


@by_family
@pytest.mark.parametrize("share", [1e-6, 0.2, 1.0])
def test_floored_m_step_is_the_twins(X, family, share):
    start = problems.start_from_rows(family, X, K)
    source = ArraySource(X)
    stats = source.accumulate(get(family).constants(step(family, source, start, 1e-9).start))
    resp = reference.responsibilities(reference.log_joint(reference.constants_of(family, start), X))
    want = reference.maximise_held(family, X, resp, {}, start, share=share)
    got = step(family, source, start, share)(stats, None, 1)
    problems.assert_close_parameters(family, got, want, 1e-10)


@pytest.mark.parametrize("family", ["full", "tied"])
def test_axes_that_the_rows_hardly_vary_along_count_like_a_feature(family):
    X = problems.rows(6, 200, 3, 2)
    X[:, 2] = X[:, 0] + X[:, 1] * 1e-3 + 1e-7 * X[:, 2]
    floor = floor_of(ArraySource(X), get(family), 1e-3)
    np.testing.assert_allclose(floor.root @ floor.root.T, reference.floor_matrix(X), rtol=1e-9)
    assert list(floor.live) == [False, True, True]


@by_family
def test_floor_that_nothing_meets_changes_nothing(X, family):
    options = {"covariance_type": family, "random_state": 0, "reg_covar": 0.0}
    plain, floored = run(X, K, **options), run(X, K, covariance_floor=1e-9, **options)
    assert floored.collapses == []
    assert floored.lower_bounds == plain.lower_bounds
    problems.assert_same_parameters(floored.mixture, plain.mixture)


@by_family
@pytest.mark.parametrize("share", [1e-3, 0.1, 0.9])
def test_log_likelihood_never_falls_above_a_floor(X, family, share):
    result = run(
        X, 6, covariance_type=family, covariance_floor=share, reg_covar=0.0, tol=0.0, max_iter=200, random_state=0
    )
    assert result.collapses or share == 1e-3
    bounds = np.array(result.lower_bounds)
    assert np.diff(bounds).min() >= -64 * np.finfo(float).eps * np.abs(bounds).max()


@by_family
@pytest.mark.parametrize("policy", ["floor", "reseed", "drop"])
def test_units_of_the_features_change_nothing_else(X, family, policy):
    """Each feature has its own unit; spherical mixtures have one for all. The constant feature keeps to one as well."""
    rows = np.column_stack([X, np.full(len(X), 4.0)])
    units = np.array([1e-7, 3.0, 1e5, 1.0]) if family != "spherical" else 3e7
    start = rows[:8]
    options = {"covariance_type": family, "on_collapse": policy, "reg_covar": 0.0}
    options |= {
        "covariance_floor": 0.05 if family in ("full", "diag") else 0.5,
        "max_iter": 20,
        "tol": 0.0,
        "random_state": 0,
    }
    labels = np.argmin(((X[:, None] - start[:, :D]) ** 2).sum(axis=2), axis=1)
    one, other = (run(rows * by, 8, init_params=labels, **options) for by in (1.0, units))
    assert one.collapses
    assert other.collapses == one.collapses
    mine, theirs = other.mixture, one.mixture
    np.testing.assert_allclose(mine.weights, theirs.weights, rtol=1e-9)
    np.testing.assert_allclose(mine.means, theirs.means * units, rtol=1e-9)
    n, d = mine.means.shape
    dense = [reference.dense_covariances(family, each.covariances, n, d) for each in (mine, theirs)]
    size = np.sqrt(np.diagonal(dense[1], axis1=1, axis2=2))
    size = size[:, :, None] * size[:, None, :]
    by = np.broadcast_to(units, d)[:, None] * np.broadcast_to(units, d)
    varies = np.ix_(np.arange(n), np.arange(D), np.arange(D))  # a constant feature has no width of its own
    np.testing.assert_allclose((dense[0] / by / size)[varies], (dense[1] / size)[varies], atol=1e-9)


@by_family
def test_scale_of_all_rows_changes_nothing_else_with_constant_features(family):
    rng = np.random.default_rng(3)
    X = np.column_stack([rng.standard_normal((60, 2)), np.full(60, 2.0)])
    options = {"covariance_type": family, "on_collapse": "floor", "reg_covar": 0.0, "init_params": np.arange(60) % 3}
    one, other = (run(X * by, 3, **options).mixture for by in (1.0, 3e-100))
    np.testing.assert_allclose(other.covariances / 3e-100 / 3e-100, one.covariances, rtol=1e-9, atol=1e-15)


# ----------------------------------------------------------------------------------------------- policies


def test_raise_is_the_default_and_raises(spiked):
    X, labels = spiked
    for options in ({}, {"on_collapse": "raise"}):
        with pytest.raises(IllDefinedCovarianceError, match="ill-defined empirical covariance"):
            run(X, 3, init_params=labels, reg_covar=0.0, **options)
    assert run(X, 3, init_params=labels).collapses == []


@by_family
def test_thin_component_is_kept_at_the_floor(spiked, family):
    X, labels = spiked
    result = run(X, 3, covariance_type=family, init_params=labels, reg_covar=0.0, on_collapse="floor")
    if family == "tied":
        assert result.collapses == []  # the others keep it wide
        return
    assert result.collapses[0].component == 2
    assert {event.cause for event in result.collapses} == {"thin"}
    assert {event.action for event in result.collapses} == {"kept"}
    least = reference.floored(family, 0 * result.mixture.covariances, X, 1e-6)[2]
    np.testing.assert_allclose(result.mixture.covariances[2], least, rtol=1e-6)


@pytest.mark.parametrize("family", ["full", "diag", "spherical"])
def test_thin_component_is_dropped(spiked, family):
    X, labels = spiked
    options = {"covariance_type": family, "reg_covar": 0.0, "on_collapse": "drop", "tol": 1e-9, "max_iter": 500}
    result = run(X, 3, init_params=labels, **options)
    dropped = [event for event in result.collapses if event.action == "dropped"]
    assert dropped[0] == Collapse(1, 2, "thin", "dropped")
    assert result.mixture.n_components == 3 - len(dropped)
    assert result.converged
    assert len(result.lower_bounds) == result.n_iter


@pytest.mark.parametrize("family", ["full", "diag", "spherical"])
def test_thin_component_is_put_anew(spiked, family):
    X, labels = spiked
    options = {"covariance_type": family, "init_params": labels, "reg_covar": 0.0, "on_collapse": "reseed"}
    result, again, other = (run(X, 3, random_state=seed, **options) for seed in (0, 0, 1))
    assert next(event for event in result.collapses if event.iteration > 0) == Collapse(1, 2, "thin", "reseeded")
    assert result.mixture.n_components == 3
    assert result == again
    assert other.lower_bounds != result.lower_bounds


def test_component_is_put_anew_at_one_of_the_worst_rows(spiked):
    X, labels = spiked
    seen = []
    options = {"init_params": labels, "reg_covar": 0.0, "on_collapse": "reseed", "random_state": 0}
    run(X, 3, callback=lambda state: seen.append(state.parameters), max_iter=3, **options)
    floored = run(X, 3, init_params=labels, reg_covar=0.0, on_collapse="floor", max_iter=1).mixture
    row = seen[0].means[2]
    place = np.flatnonzero((row == X).all(axis=1))
    assert len(place) == 1
    assert (floored.score_samples(X) < floored.score_samples(row[None])).mean() <= 0.1
    total = reference.floor_matrix(X)
    np.testing.assert_allclose(seen[0].covariances[2], total / 3, rtol=1e-9)  # K ** (-2 / D) of it
    assert seen[0].weights[2] == pytest.approx(1 / 3)


@by_family
@pytest.mark.parametrize("policy", ["floor", "reseed", "drop"])
def test_duplicate_is_noticed(X, family, policy):
    start = problems.start_from_rows(family, X, 2)
    covariances = start.covariances if family == "tied" else start.covariances[[0, 1, 0]]
    twin = reference.Model(np.full(3, 1 / 3), start.means[[0, 1, 0]], covariances)
    result = problems.em(family, X, twin, 30, on_collapse=policy, random_state=0)
    action = {"floor": "kept", "reseed": "reseeded", "drop": "dropped"}[policy]
    events = [event for event in result.collapses if event.iteration > 0 or policy == "floor"]
    assert (events[0].component, events[0].cause, events[0].action) == (2, "duplicate", action)
    assert result.mixture.n_components == (2 if policy == "drop" else 3)
    same = problems.same_bits(result.mixture.means[0], result.mixture.means[-1])
    assert same == (policy == "floor")


@by_family
def test_component_without_rows_is_dropped(X, family):
    start = problems.start_from_rows(family, X, K)
    start.means[1] = 1e4
    result = problems.em(family, X, start, 9, on_collapse="drop")
    assert [(event.component, event.cause, event.action) for event in result.collapses] == [(1, "no rows", "dropped")]
    left = reference.Model(
        np.delete(start.weights, 1) / np.delete(start.weights, 1).sum(),
        np.delete(start.means, 1, axis=0),
        start.covariances if family == "tied" else np.delete(start.covariances, 1, axis=0),
    )
    want = problems.em(family, X, left, 9).mixture
    problems.assert_close_parameters(family, result.mixture, want, 1e-8)


def test_numbers_are_those_of_the_start(X):
    start = problems.start_from_rows("diag", X, 4)
    start.means[[0, 2]] = [[1e4] * D, [-1e4] * D]
    result = problems.em("diag", X, start, 9, on_collapse="drop")
    dropped = [(event.iteration, event.component) for event in result.collapses]
    assert dropped == [(1, 0), (2, 2)]


@pytest.mark.parametrize("options", [{"init_params": "race", "n_init": 6}, {"split_merge": 1, "equal_weights": True}])
@pytest.mark.parametrize("family", ["full", "VEV"])
def test_components_are_dropped_beside_races_and_moves(spiked, family, options):
    X = np.concatenate([spiked[0], np.full((10, 2), -3.0)])
    settings = {"reg_covar": 0.0, "tol": 1e-6, "max_iter": 300, "random_state": 0}
    result = fastgmm.fit(X, 6, covariance_type=family, on_collapse="drop", **settings, **options)
    dropped = [event for event in result.collapses if event.action == "dropped"]
    if "split_merge" not in options:  # a move begins with what the run before it has left
        assert result.mixture.n_components == 6 - len(dropped)
    assert result.mixture.n_components < 6
    assert result.lower_bound == result.mixture.score(X)


def test_nothing_moves_in_the_last_iteration(X):
    start = problems.start_from_rows("full", X, K)
    start.means[1] = 1e4
    for policy in ("drop", "reseed"):
        result = problems.em("full", X, start, 1, on_collapse=policy)
        assert result.collapses == [Collapse(1, 1, "no rows", "kept")]
        assert result.mixture.n_components == K


def test_component_is_put_anew_three_times_at_most():
    X = np.repeat([[0.0, 1.0], [2.0, 5.0]], 20, axis=0)
    result = run(X, 3, on_collapse="reseed", reg_covar=0.0, random_state=0)
    counts = np.bincount([event.component for event in result.collapses if event.action == "reseeded"])
    assert counts.tolist() == [3, 3, 3]
    assert result.converged


@by_family
def test_held_component_is_not_moved(X, family):
    start = problems.start_from_rows(family, X, K)
    start.means[1] = 1e4
    for policy in ("drop", "reseed"):
        result = problems.em(family, X, start, 5, on_collapse=policy, fixed={"means": np.arange(K) == 1})
        assert [event.action for event in result.collapses] == ["kept"]
        np.testing.assert_array_equal(result.mixture.means[1], start.means[1])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@by_family
def test_estimator_shows_collapses(family, dtype):
    X = np.repeat(np.eye(4, dtype=dtype), 5, axis=0)
    model = GaussianMixture(4, covariance_type=family, on_collapse="floor", reg_covar=0.0, random_state=0).fit(X)
    assert {event.action for event in model.collapses_} == {"kept"}
    assert model.means_.dtype == dtype
    assert np.bincount(model.predict(X)).tolist() == [5, 5, 5, 5]


def test_estimator_with_dropped_components_goes_to_scikit_learn(X):
    start = problems.start_from_rows("full", X, K)
    start.means[1] = 1e4
    model = GaussianMixture(K, on_collapse="drop", **problems.start_of("full", start)).fit(X)
    assert model.means_.shape == (2, D)
    theirs = model.to_sklearn()
    assert theirs.n_components == 2
    np.testing.assert_allclose(theirs.score_samples(X), model.score_samples(X), rtol=1e-9)
    with pytest.raises(ValueError, match="continues from a mixture with 2 components, but now there are 3"):
        model.set_params(warm_start=True).fit(X)


@by_family
def test_fit_continued_above_a_floor_is_the_fit(X, family):
    options = {"covariance_type": family, "covariance_floor": 0.2, "reg_covar": 0.0, "tol": 0.0, "random_state": 0}
    with problems.no_convergence_warning():
        model = GaussianMixture(5, max_iter=3, warm_start=True, **options).fit(X).set_params(max_iter=4).fit(X)
        whole = GaussianMixture(5, max_iter=7, **options).fit(X)
    problems.assert_same_fit(model, whole)


@by_family
def test_start_keeps_to_floor_and_equal_weights(X, family):
    """Or the log-likelihood could fall in the first iteration."""
    start = problems.start_from_rows(family, X, K)
    narrow = start._replace(covariances=1e-3 * start.covariances)
    bounds = []
    options = {"covariance_floor": 0.1, "callback": lambda state: bounds.append(state.lower_bound)}
    at_start = problems.em(family, X, narrow, 0, covariance_floor=0.1).mixture
    want = reference.floored(family, narrow.covariances, X, 0.1)
    problems.assert_close_parameters(family, at_start, narrow._replace(covariances=want), 1e-10)
    problems.em(family, X, narrow, 20, **options)
    assert bounds[0] == pytest.approx(at_start.score(X), rel=1e-12)
    assert np.diff(bounds).min() >= -64 * np.finfo(float).eps * np.abs(bounds).max()
    equal = run(X, K, covariance_type=family, equal_weights=True, max_iter=0, random_state=0)
    np.testing.assert_array_equal(equal.mixture.weights, 1 / K)


@by_family
def test_start_of_a_continued_fit_is_left_as_it_is(X, family):
    options = {"covariance_type": family, "covariance_floor": 0.4, "reg_covar": 0.0, "random_state": 0}
    with problems.no_convergence_warning():
        model = GaussianMixture(5, max_iter=5, tol=0.0, warm_start=True, **options).fit(X)
        before = model.covariances_.copy()
        model.set_params(max_iter=0).fit(X)
    assert problems.same_bits(model.covariances_, before)


@by_family
def test_integer_weights_are_that_many_rows_to_the_floor(X, family):
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    options = {"covariance_type": family, "covariance_floor": 0.5, "reg_covar": 0.0, "max_iter": 20, "tol": 0.0}
    labels = 5 * np.argsort(np.argsort(X[:, 0])) // len(X)
    one = run(X, 5, sample_weight=weight, init_params=labels, **options)
    other = run(np.repeat(X, weight, axis=0), 5, init_params=np.repeat(labels, weight), **options)
    assert one.collapses
    assert one.collapses == other.collapses
    problems.assert_close_parameters(family, one.mixture, other.mixture, 1e-11)


@by_family
@pytest.mark.parametrize("policy", ["reseed", "drop"])
def test_policies_are_n_threads_agnostic(family, policy):
    X = problems.rows(4, 3000, D, K)
    options = {"covariance_type": family, "covariance_floor": 0.95, "reg_covar": 0.0, "random_state": 0, "max_iter": 30}
    one, other = (run(X, 6, on_collapse=policy, n_threads=n_threads, **options) for n_threads in (1, 3))
    assert any(event.action != "kept" for event in one.collapses)
    assert one == other


@by_family
@pytest.mark.parametrize("policy", ["reseed", "drop"])
def test_component_that_holds_all_rows_can_be_moved(X, family, policy):
    """A share of one: every component meets the floor; here another one is held, without rows."""
    start = problems.start_from_rows(family, X, 2)
    start.means[1] = 1e4
    result = problems.em(family, X, start, 9, on_collapse=policy, covariance_floor=1.0, fixed={"means": [False, True]})
    assert {"reseed": "reseeded", "drop": "dropped"}[policy] in [event.action for event in result.collapses]
    assert np.isfinite(result.lower_bounds).all()
    alone = run(X, 1, covariance_type=family, on_collapse=policy, covariance_floor=1.0, reg_covar=0.0)
    assert np.isfinite(alone.lower_bounds).all()
    np.testing.assert_array_equal(alone.mixture.weights, 1.0)
