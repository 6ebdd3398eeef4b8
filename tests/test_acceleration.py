"""Accelerations: the same as their twins, monotone, no slower than EM, and exact where they are continued."""

import dataclasses
import pickle

import numpy as np
import problems
import pytest
import reference
import reference_acceleration

from fastgmm import GaussianMixture, IllDefinedCovarianceError, covariance
from fastgmm.covariance import Parameters
from fastgmm.fitting import ACCELERATIONS, expectation_maximisation, run
from fastgmm.fitting.coordinates import step
from fastgmm.fitting.em import PlainMStep
from fastgmm.sources import ArraySource

EPS = np.finfo(float).eps
K, D, N = 4, 3, 500
by_family = pytest.mark.parametrize("family", reference.FAMILIES)
by_name = pytest.mark.parametrize("name", ACCELERATIONS)


@pytest.fixture(scope="module")
def X():
    """Rows whose components overlap, so that EM is slow."""
    return problems.rows(11, N, D, K, separation=1.2)


def start(family, X):
    return problems.start_from_rows(family, X, K)


def squarem(family, X, model, n_iter, **options):
    return accelerated("squarem", family, X, model, n_iter, **options)


def accelerated(name, family, X, model, n_iter, **options):
    return problems.em(family, X, model, n_iter, acceleration=name, **options)


# ----------------------------------------------------------------------------------------------- coordinates


@by_family
def test_coordinates_match_twin_and_come_back(family):
    model, scale = problems.model(family, 5, D, K), np.array([1.0, 1e3, 1e-4])
    factors = covariance.get(family).from_covariances(model.covariances, K, D)
    got = covariance.get(family).to_coordinates(factors, scale)
    twin = reference.coordinates(family, model, np.zeros(D), scale)[K + K * D :].reshape(got.shape)
    np.testing.assert_allclose(got, np.swapaxes(twin, -1, -2) if family in ("full", "tied") else twin, atol=1e-12)
    covariances, back = covariance.get(family).from_coordinates(got, scale)
    np.testing.assert_allclose(back, factors, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(covariances, model.covariances, rtol=1e-12, atol=1e-13)


@by_family
def test_every_point_of_the_coordinates_is_a_mixture(family):
    """Large steps along a straight line included: the covariances stay positive definite."""
    rng, family = np.random.default_rng(0), covariance.get(family)
    shape = family.covariance_shape(K, D)
    far = 5 * rng.standard_normal(shape)
    far = np.triu(far) if len(shape) > 1 and shape[-2:] == (D, D) else far
    covariances, factors = family.from_coordinates(far, np.ones(D))
    dense = family.dense_covariances(covariances, K, D)
    assert (np.diagonal(dense, axis1=1, axis2=2) > 0).all()
    whitened = family.dense_covariances(family.precisions(factors), K, D) @ dense
    condition = np.abs(np.linalg.cond(dense)).max()
    np.testing.assert_allclose(whitened, np.broadcast_to(np.eye(D), dense.shape), atol=100 * EPS * condition)


# ----------------------------------------------------------------------------------------------- the path


TWINS = {"squarem": reference.squarem, "lbfgs": reference_acceleration.lbfgs}


@by_name
@by_family
@pytest.mark.parametrize("n_passes", [1, 5, 6, 20])
def test_passes_match_twin(X, family, n_passes, name):
    model = start(family, X)
    image, bounds, _ = TWINS[name](family, X, model, n_passes)
    result = accelerated(name, family, X, model, n_passes)
    problems.assert_close_parameters(family, result.mixture, image, 1e-7)  # extrapolation multiplies rounding
    np.testing.assert_allclose(result.lower_bounds[:-1], bounds[1:], rtol=1e-10)
    assert result.n_iter == n_passes


@by_name
def test_trials_are_made_kept_and_given_up(X, name):
    """The twin's record says so of the problems here: without both kinds the tests above would show little."""
    model = start("full", X)
    _, _, trials = TWINS[name]("full", X, model, 120)
    assert True in trials
    assert False in trials
    image, _, _ = TWINS[name]("full", X, model, 60)
    problems.assert_close_parameters("full", accelerated(name, "full", X, model, 60).mixture, image, 1e-5)


@by_family
def test_length_of_a_step_matches_twin(family):
    """In any units, also for a component without mass."""
    before, after = (problems.model(family, seed, D, K) for seed in (5, 6))
    family = covariance.get(family)
    one, other = (Parameters(*model, family.from_covariances(model.covariances, K, D)) for model in (before, after))
    length = np.linalg.norm(step(family, one, other))
    assert length == pytest.approx(np.linalg.norm(reference_acceleration.step(family.name, before, after)), rel=1e-12)
    weights = np.array([0.0, *(before.weights[1:] / before.weights[1:].sum())])
    without = step(family, dataclasses.replace(one, weights=weights), other)
    assert np.isfinite(without).all()


@by_name
@by_family
def test_first_steps_are_those_of_em(X, family, name):
    model = start(family, X)
    problems.assert_same_parameters(
        accelerated(name, family, X, model, 4).mixture, problems.em(family, X, model, 4).mixture
    )


@by_name
@by_family
@pytest.mark.parametrize("weighted", [False, True])
def test_never_falls_and_is_never_below_em(X, family, weighted, name):
    """At every number of passes from 1 to 60, from one start; once both have converged only rounding is left."""
    model = start(family, X)
    weight = np.random.default_rng(0).uniform(0.0, 2.0, N) if weighted else None
    plain, fast = (problems.em(family, X, model, 60, acceleration=a, sample_weight=weight) for a in (None, name))
    rounding = 64 * EPS * abs(plain.lower_bound)
    assert np.diff(fast.lower_bounds).min() >= -rounding
    assert (np.array(fast.lower_bounds) - plain.lower_bounds).min() >= -rounding
    assert fast.lower_bound > plain.lower_bound + 1e-7  # it has acted


@by_name
@pytest.mark.parametrize("family", ["full", "tied", "VEE", "EVV", "VVE", "EEV"])
def test_rounding_is_not_multiplied_by_trials(family, name):
    """With condition numbers of 1e8 the log-likelihood falls by what rounding takes from EM's own, not by more."""
    rng = np.random.default_rng([8, 10])
    axes = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    noise = rng.normal(size=(300, 4))
    X = (noise + 1.2 * rng.normal(size=(3, 4))[rng.integers(3, size=300)]) * 10.0 ** -np.linspace(0, 4, 4) @ axes.T
    options = {"covariance_type": family, "reg_covar": 0.0, "random_state": 0}
    first = run(X, 3, max_iter=0, **options).mixture.parameters
    options |= {"start": first, "tol": 0.0, "stopping": "aitken", "max_iter": 150}
    bounds = run(X, 3, acceleration=name, **options).lower_bounds
    assert np.diff(bounds).min() > -1e-9


@by_name
@by_family
def test_needs_fewer_passes(X, family, name):
    model = start(family, X)
    plain, fast = (problems.em(family, X, model, 5000, acceleration=a, tol=1e-8) for a in (None, name))
    assert fast.converged
    assert fast.n_iter < 0.6 * plain.n_iter
    assert fast.lower_bound >= plain.lower_bound


@by_name
@by_family
def test_stops_at_a_fixed_point_of_em(X, family, name):
    """Promise 12: EM gains nothing at the end."""
    model = start(family, X)
    fast = accelerated(name, family, X, model, 5000, tol=1e-11)
    more = run(X, K, covariance_type=family, reg_covar=0.0, start=fast.mixture.parameters, max_iter=50, tol=0.0)
    assert fast.converged
    assert more.lower_bound - fast.lower_bound < 1e-9


@by_name
@by_family
def test_units_of_the_features_do_not_matter(X, family, name):
    """Scaling by powers of two, all features alike where the family is not free to scale them one by one."""
    model = start(family, X)
    scale = np.array([1.0, 1.0, 1.0] if family == "spherical" else [0.5, 64.0, 2.0**-20]) * 8
    one = accelerated(name, family, X, model, 40)
    outer = {"full": scale[:, None] * scale, "tied": scale[:, None] * scale, "diag": scale**2, "spherical": 64.0}
    moved = reference.Model(model.weights, model.means * scale, model.covariances * outer[family])
    other = accelerated(name, family, X * scale, moved, 40)
    want = reference.Model(one.mixture.weights, one.mixture.means * scale, one.mixture.covariances * outer[family])
    problems.assert_close_parameters(family, other.mixture, want, 1e-6)


@by_name
def test_trial_whose_m_step_fails_is_given_up(X, name):
    """As where a covariance is singular there. All that is lost is those passes."""

    class Failing(PlainMStep):
        """An M-step that fails from any point that EM has not led to."""

        seen = ()
        failed = 0

        def __call__(self, stats, previous, iteration):
            if self.seen and not any(np.array_equal(previous.means, means) for means in self.seen):
                self.failed += 1
                raise IllDefinedCovarianceError(0)
            mapped = super().__call__(stats, previous, iteration)
            self.seen = (*self.seen, mapped.means)
            return mapped

    family, source = covariance.get("full"), ArraySource(X)
    begin = run(X, K, max_iter=0, random_state=0).mixture.parameters
    options = {"tol": 0.0, "reg_covar": 0.0}
    mstep = Failing(family, 0.0)
    fast = expectation_maximisation(source, family, begin, max_iter=60, acceleration=name, mstep=mstep, **options)
    assert mstep.failed >= 3
    plain = expectation_maximisation(source, family, begin, max_iter=60 - mstep.failed, **options)
    problems.assert_same_parameters(fast.parameters, plain.parameters)
    assert mstep.failed <= 60 / 6  # a fifth of the others


@by_name
def test_component_without_mass_leaves_em_as_it_is(name):
    """Its weight has no logarithm: no trial is made, and none is needed."""
    X = np.concatenate([np.arange(50.0), 1e6 + np.arange(50.0)])[:, None]
    model = reference.Model(np.full(3, 1 / 3), np.array([[10.0], [1e6], [5e5]]), np.full((3, 1, 1), 4.0))
    plain, fast = (problems.em("full", X, model, 30, acceleration=a, reg_covar=1e-6) for a in (None, name))
    assert plain.mixture.weights.min() == 0.0
    problems.assert_same_parameters(fast.mixture, plain.mixture)


# ----------------------------------------------------------------------------------------------- with everything else


@by_name
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_features_offsets_and_float32(X, dtype, name):
    X = X.astype(dtype) + dtype(1000)
    X[:, 1] = 3.0
    plain, fast = (
        run(X, K, random_state=0, acceleration=a, max_iter=60, tol=0.0, reg_covar=1e-4) for a in (None, name)
    )
    assert fast.mixture.means.dtype == dtype
    assert np.isfinite(fast.lower_bounds).all()
    assert fast.lower_bound > plain.lower_bound


@by_name
def test_weights_are_repetitions(X, name):
    weight = np.random.default_rng(1).integers(0, 4, N)
    model = start("full", X)
    one = accelerated(name, "full", X, model, 30, sample_weight=weight)
    other = accelerated(name, "full", np.repeat(X, weight, axis=0), model, 30)
    problems.assert_close_parameters("full", one.mixture, reference.Model(*other.mixture.parameters.arrays()[:3]), 1e-7)


@by_name
def test_threads_and_restarts(X, name):
    options = {"acceleration": name, "n_init": 3, "init_params": "random", "random_state": 0, "max_iter": 40}
    one, other = (run(X, K, n_threads=n, tol=0.0, **options) for n in (1, 3))
    assert one == other
    assert len({history.lower_bounds[-1] for history in one.histories}) == 3
    assert one.lower_bound == max(history.lower_bounds[-1] for history in one.histories)


@by_name
def test_callback_sees_every_pass_and_what_would_be_returned(X, name):
    states = []
    result = run(X, K, random_state=0, acceleration=name, tol=0.0, max_iter=25, callback=states.append)
    assert [state.iteration for state in states] == list(range(1, 26))
    assert [state.lower_bound for state in states[1:]] == result.lower_bounds[:-1]
    for state in states[::6]:
        shorter = run(X, K, random_state=0, acceleration=name, tol=0.0, max_iter=state.iteration)
        problems.assert_same_parameters(shorter.mixture, state.parameters)


@by_name
@pytest.mark.parametrize("family", ["full", "diag"])
def test_held_parameters_and_floor_are_kept_by_what_is_tried(X, family, name):
    """A trial outside of them could be better than all that may be returned, and the log-likelihood fall after it."""
    given = problems.start_of(family, start(family, X))
    options = {"covariance_type": family, "tol": 0.0, "reg_covar": 0.0, "covariance_floor": 0.3, "on_collapse": "floor"}
    held = {"weights": [True, False, False, False], "means": [False, True, False, False]}
    plain, fast = (run(X, K, max_iter=80, acceleration=a, fixed=held, **given, **options) for a in (None, name))
    assert fast.mixture.weights[0] == given["weights_init"][0]
    assert problems.same_bits(fast.mixture.means[1], given["means_init"][1])
    assert [each.cause for each in fast.collapses].count("thin") >= 1
    rounding = 1e-12 * abs(plain.lower_bound)
    assert np.diff(fast.lower_bounds).min() >= -rounding
    assert fast.lower_bound > plain.lower_bound - rounding
    assert fast.lower_bounds != plain.lower_bounds


@by_name
@pytest.mark.parametrize("policy", ["reseed", "drop"])
def test_component_that_is_moved_begins_a_path_anew(policy, name):
    """Two of four components share a place: one is moved, and trials go on with those that are there then."""
    X = problems.rows(11, N, D, K, separation=1.2)
    means = X[[0, 0, 100, 200]]
    variances = np.tile(1 / X.var(axis=0), (K, 1))
    given = {"weights_init": np.full(K, 0.25), "means_init": means, "precisions_init": variances}
    result = run(X, K, covariance_type="diag", acceleration=name, on_collapse=policy, max_iter=200, tol=1e-9, **given)
    moved = [each for each in result.collapses if each.action != "kept"]
    assert len(moved) == 1
    assert result.mixture.n_components == (K if policy == "reseed" else K - 1)
    assert result.converged
    after = result.lower_bounds[moved[0].iteration :]
    assert np.diff(after).min() >= -1e-12 * abs(result.lower_bound)


# ----------------------------------------------------------------------------------------------- continued


@by_name
@by_family
@pytest.mark.parametrize("constraint", [{}, {"equal_weights": True}, {"covariance_floor": 0.3, "reg_covar": 0.0}])
def test_warm_starts_compose_bit_for_bit(X, family, constraint, name):
    """Promise 48, wherever in a cycle the fit stops, and over a pickle."""
    options = {"covariance_type": family, "random_state": 0, "tol": 0.0, "acceleration": name, **constraint}
    with problems.no_convergence_warning():
        whole = GaussianMixture(K, max_iter=20, **options).fit(X)
        model = GaussianMixture(K, warm_start=True, **options)
        for iterations in (6, 1, 1, 5, 7):
            model = pickle.loads(pickle.dumps(model)).set_params(max_iter=iterations).fit(X)
    problems.assert_same_fit(model, whole)


@by_name
def test_continues_twice_from_one_result(X, name):
    first = run(X, K, random_state=0, acceleration=name, tol=0.0, max_iter=9)
    options = {"start": first.mixture.parameters, "progress": first.progress, "path": first.path}
    one, other = (run(X, K, acceleration=name, tol=0.0, max_iter=8, **options) for _ in range(2))
    assert one == other
    assert first.path is not None


@by_name
@pytest.mark.parametrize("what", ["rows", "weights", "means", "acceleration"])
def test_old_path_is_left_where_it_does_not_lead_on(X, what, name):
    """Other rows or edited attributes: the fit is one from the attributes as they are, made afresh."""
    options = {"random_state": 0, "tol": 0.0, "warm_start": True, "acceleration": name, "max_iter": 6}
    weight = None
    with problems.no_convergence_warning():
        model = GaussianMixture(K, **options).fit(X)
        assert model._path is not None
        if what == "rows":
            X = X[::-1][:-7]
        elif what == "weights":
            weight = np.linspace(0.5, 1.0, len(X))
        elif what == "means":
            model.means_ = model.means_ * (1 + 1e-9)
        else:
            model.acceleration = None
        begin = model.to_mixture().parameters
        model.set_params(max_iter=5).fit(X, sample_weight=weight)
    fresh = run(
        X,
        K,
        start=begin,
        tol=0.0,
        max_iter=5,
        sample_weight=weight,
        acceleration=None if what == "acceleration" else name,
    )
    problems.assert_same_parameters(model.to_mixture(), fresh.mixture)


# ----------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize("value", ["daarem", "", True, 1])
def test_unknown_acceleration_is_refused_with_the_known_names(X, value):
    with pytest.raises(ValueError, match=r"acceleration must be None or one of 'lbfgs', 'squarem', got"):
        run(X, K, acceleration=value)
    with pytest.raises(ValueError, match=r"'acceleration' parameter of GaussianMixture must be .*'lbfgs'.* or None"):
        GaussianMixture(K, acceleration=value).fit(X)
