"""The log-likelihood is right to the last digits, everywhere, and EM climbs it."""

import math

import density_cases
import mpmath
import numpy as np
import problems
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgmm import Mixture, covariance
from fastgmm.engine import score
from fastgmm.fitting import run

EPS = np.finfo(np.float64).eps
by_family = pytest.mark.parametrize("family", reference.FAMILIES)


def parameters(case):
    """The case as the family's Parameters; its factors are given, so no factorisation comes between."""
    upper = np.swapaxes(case.factors, 1, 2)
    if case.family in ("diag", "spherical"):
        upper = np.diagonal(case.factors, axis1=1, axis2=2).copy()
    factor = {"full": upper, "tied": upper[0], "diag": upper, "spherical": upper[:, 0]}[case.family]
    dense = np.linalg.inv(np.swapaxes(case.factors, 1, 2) @ case.factors)
    return covariance.Parameters(case.weights, case.means, reference.pack_covariances(case.family, dense), factor)


def formula_size(case):
    """Largest magnitude in the formula at each row, for the component that dominates it.

    Relative errors are relative to this and not to log p, which may pass through zero by cancellation.
    """
    D = case.X.shape[1]
    log_diagonal = np.log(np.diagonal(case.factors, axis1=1, axis2=2))
    terms = np.abs(np.log(case.weights)) + 0.5 * D * reference.LOG_2PI + np.abs(log_diagonal).sum(axis=1)
    y = np.einsum("kij,nkj->nki", case.factors, case.X[:, None, :] - case.means)
    half_squares = 0.5 * (y**2).sum(axis=2)
    own = (log_diagonal.sum(axis=1) + np.log(case.weights) - half_squares).argmax(axis=1)
    return (terms + half_squares)[np.arange(len(case.X)), own]


@pytest.mark.parametrize("remainder", range(10))
def test_log_density_equals_sixty_digits(remainder):
    """Promise 1: 4 d eps sqrt(condition), and 1e-12 up to condition 1e6; 200 saved cases, offsets to 1e9."""
    for index in range(remainder, density_cases.N_CASES, 10):
        case = density_cases.case(index)
        family = covariance.get(case.family)
        got = score(case.X, family.constants(parameters(case)), log_density=True).log_density
        root = max(np.linalg.cond(W) for W in case.factors)
        tolerance = 4 * case.X.shape[1] * EPS * root
        if root**2 <= 1e6:
            tolerance = min(tolerance, 1e-12)
        want = np.array(density_cases.saved()[index])
        error = (np.abs(got - want) / formula_size(case)).max()
        assert error <= tolerance, f"case {index} {case.family} {case.X.shape[1]}: {error:.1e} > {tolerance:.1e}"


def test_saved_densities_are_what_the_script_writes():
    assert len(density_cases.saved()) == density_cases.N_CASES
    for index in range(0, density_cases.N_CASES, 37):
        assert density_cases.saved()[index] == density_cases.exact(index)


@by_family
def test_summed_log_likelihood_equals_sixty_digits(family):
    """Promise 2: 1e-13 of the summed magnitudes."""
    X, model = problems.rows(1, 400, 3, 3), problems.model(family, 1, 3, 3)
    mixture = Mixture(*model, covariance_type=family)
    lower = np.swapaxes(dense_upper(family, mixture.precisions_cholesky, 3, 3), 1, 2)
    rows = [reference.log_density_mp(model.weights, model.means, lower, x, digits=40) for x in X]
    with mpmath.workdps(40):
        exact, size = mpmath.fsum(rows), mpmath.fsum(abs(value) for value in rows)
    got = score(X, covariance.get(family).constants(mixture.parameters)).log_likelihood
    assert abs(got - float(exact)) <= 1e-13 * float(size)


def dense_upper(family, factor, K, D):
    """Upper factors U with Lambda = U U^T of all components, (K, D, D)."""
    if family == "full":
        return factor
    if family == "tied":
        return np.broadcast_to(factor, (K, D, D))
    return np.broadcast_to(factor.reshape(K, -1)[:, :, None], (K, D, 1)) * np.eye(D)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    family=st.sampled_from(reference.FAMILIES),
    n_features=st.integers(1, 9),
    n_components=st.integers(1, 6),
    log_condition=st.floats(0, 8),
    offset=st.sampled_from([0.0, -1.0, 1e3, 1e6]),
    log_scale=st.integers(-100, 100),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_density_is_within_rounding_of_the_twin(
    family, n_features, n_components, log_condition, offset, log_scale, seed
):
    """SPD matrices by condition, offsets, scales and ties; the bound is the twin's own a-priori bound."""
    base = problems.model(family, seed, n_features, n_components, condition=10.0**log_condition)
    scale = 2.0**log_scale
    model = base._replace(means=scale * (base.means + offset), covariances=scale**2 * base.covariances)
    rng = np.random.default_rng(seed)
    X = model.means[rng.integers(n_components, size=40)] + scale * rng.standard_normal((40, n_features))
    X[20:25] = X[:5]
    mixture = Mixture(*model, covariance_type=family)
    constants = covariance.get(family).constants(mixture.parameters)
    got = score(X, constants, log_density=True).log_density
    joint, error = reference.log_joint(constants, X), reference.log_joint_error(constants, X, EPS)
    want = reference.log_sum_exp(joint)
    bound = reference.log_density_error(reference.responsibilities(joint), 2 * error, want, EPS)
    assert (np.abs(got - want) <= bound).all()
    assert problems.same_bits(got[20:25], got[:5])


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    family=st.sampled_from(reference.FAMILIES),
    n_features=st.integers(1, 5),
    n_components=st.integers(1, 5),
    separation=st.floats(0.1, 6.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_log_likelihood_never_falls(family, n_features, n_components, separation, seed):
    """Promise 3 without regularisation: 64 eps |l|. Rows enough that no component can collapse on a few of them."""
    X = problems.rows(seed, 400, n_features, n_components, separation=separation)
    result = problems.em(family, X, problems.start_from_rows(family, X, n_components, seed), 30)
    bounds = np.array(result.lower_bounds)
    assert (np.diff(bounds) >= -64 * EPS * np.abs(bounds[1:])).all()


@by_family
def test_refit_from_the_solution_stays_there(family):
    """Promise 4: done at once, and moved by no more than sqrt(tol)."""
    X, tol = problems.rows(2, 500, 3, 3), 1e-8
    first = problems.em(family, X, problems.start_from_rows(family, X, 3), 2000, tol=tol)
    assert first.converged
    options = {"covariance_type": family, "tol": tol, "reg_covar": 0.0}
    again = run(X, 3, start=first.mixture.parameters, progress=first.progress, **options)
    assert again.converged
    assert again.n_iter == 1
    assert abs(again.lower_bound - first.lower_bound) <= tol
    problems.assert_close_parameters(family, again.mixture, first.mixture, math.sqrt(tol))


@by_family
def test_score_equations_vanish_at_the_optimum(family):
    """Promise 5: the M-step's own equations hold to 1e-6 N, in standard deviations."""
    X = problems.rows(3, 500, 3, 3)
    result = problems.em(family, X, problems.start_from_rows(family, X, 3), 5000, tol=1e-14)
    model = reference.Model(result.mixture.weights, result.mixture.means, result.mixture.covariances)
    resp = reference.responsibilities(reference.log_joint(reference.constants_of(family, model), X))
    stationary = reference.maximise(family, X, resp)
    problems.assert_close_parameters(family, model, stationary, 1e-6)


@by_family
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_lower_bound_is_the_score_of_the_result(family, weighted, dtype):
    """Promises 6 and 7, bit for bit; scikit-learn's belongs to the model before the last step."""
    X = problems.rows(4, 700, 4, 3).astype(dtype)
    weight = np.random.default_rng(4).uniform(0, 2, 700) if weighted else None
    for max_iter in (0, 1, 7, 500):
        result = run(X, 3, covariance_type=family, random_state=1, max_iter=max_iter, sample_weight=weight)
        assert result.lower_bound == result.mixture.score(X, sample_weight=weight)
        assert len(result.lower_bounds) == result.n_iter <= max_iter
        if max_iter:
            assert result.lower_bounds[-1] == result.lower_bound
    assert result.converged


@by_family
def test_one_component_is_the_weighted_mean_and_covariance(family):
    """Promise 9: 1e-14 of the spread, at any offset on the grid of the data."""
    X = problems.on_grid(problems.rows(5, 500, 3, 1))
    weight = np.random.default_rng(5).integers(1, 9, 500).astype(float)
    for offset in (0.0, 2.0**20):
        want = reference.maximise(family, X, np.ones((500, 1)), sample_weight=weight)
        got = run(X + offset, 1, covariance_type=family, reg_covar=0.0, tol=0, max_iter=2, sample_weight=weight)
        moved = want._replace(means=want.means + offset)
        if offset:  # the mean itself is rounded to the grid of the offset
            np.testing.assert_allclose(got.mixture.means, moved.means, rtol=EPS)
            moved = moved._replace(means=got.mixture.means)
        problems.assert_close_parameters(family, got.mixture, moved, 1e-14)


@by_family
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_posteriors_are_probabilities_for_every_finite_row(family, dtype):
    """Promise 32: finite however far, rows sum to one within 4 eps, predict is their argmax."""
    eps = np.finfo(dtype).eps
    params = problems.model(family, 6, 3, 4)
    mixture = Mixture(*(np.asarray(a, dtype=dtype) for a in params), covariance_type=family)
    near = problems.rows(6, 500, 3, 4)
    directions = np.random.default_rng(6).standard_normal((60, 3))
    directions[:6] = np.concatenate([np.eye(3), -np.eye(3)])
    decades = (1e1, 1e3, 1e5, 1e10, 1e15, 1e18, 1e19, 1e20, 1e30, 1e38)
    if dtype == "float64":
        decades = (*decades, 1e76, 1e100, 1e150, 1e154, 1e160, 1e200, 1e300, 1.7e308)
    unit = directions / np.abs(directions).max(axis=1, keepdims=True)
    X = np.concatenate([near, *(unit * size for size in decades), np.zeros((1, 3))]).astype(dtype)
    assert np.isfinite(X).all()
    resp = mixture.predict_proba(X)
    assert resp.dtype == dtype
    assert np.isfinite(resp).all()
    assert (resp >= 0).all()
    assert np.abs(resp.sum(axis=1, dtype=np.float64) - 1).max() <= 4 * eps
    assert problems.same_bits(mixture.predict(X), resp.argmax(axis=1).astype(np.int64))
    assert not np.isnan(mixture.score_samples(X)).any()


@pytest.mark.parametrize("family", ["full", "diag", "spherical"])
def test_far_rows_go_to_the_component_that_decays_slowest(family):
    """Finite is not enough: at 1e200 the posterior is a step, and its place follows from the quadratic forms alone."""
    params = problems.model(family, 7, 3, 4)
    mixture = Mixture(*params, covariance_type=family)
    X = np.random.default_rng(7).standard_normal((50, 3))
    factors = reference.dense_factors(reference.constants_of(family, params))
    want = (np.einsum("kij,nj->nki", factors, X) ** 2).sum(axis=2).argmin(axis=1)
    for size in (1e20, 1e150, 1e200, 1e307):
        assert (mixture.predict(size * X / np.abs(X).max()) == want).all()


@by_family
@pytest.mark.parametrize(("offset", "tolerance"), [(0.0, 1e-5), (1e3, 1e-3)])
def test_float32_log_density_is_near_float64(family, offset, tolerance):
    """Promise 33, per row, in units of max(1, |l|); the offset is in standard deviations."""
    X32 = (problems.rows(8, 500, 4, 3) + offset).astype(np.float32)
    params = problems.model(family, 8, 4, 3)
    params = params._replace(means=(params.means + offset).astype(np.float32))
    single = Mixture(*(np.asarray(a, dtype=np.float32) for a in params), covariance_type=family)
    double = Mixture(
        single.weights.astype(np.float64) / single.weights.sum(dtype=np.float64),
        single.means.astype(np.float64),
        single.covariances.astype(np.float64),
        covariance_type=family,
    )
    got, want = single.score_samples(X32), double.score_samples(X32.astype(np.float64))
    assert got.dtype == np.float32
    assert (np.abs(got - want) / np.maximum(1, np.abs(want))).max() <= tolerance


@by_family
@pytest.mark.parametrize("offset", [0.0, 1e2, 1e3, 1e4])
def test_float32_fit_succeeds_where_float64_does(family, offset):
    """Promise 33: up to 1e4 standard deviations from the origin, with default settings."""
    X = problems.rows(9, 400, 3, 3) + offset
    for data in (X, X.astype(np.float32)):
        result = run(data, 3, covariance_type=family, random_state=0)
        assert result.mixture.dtype == data.dtype
        assert np.isfinite(result.lower_bound)
        assert result.n_failed_inits == 0


@by_family
def test_converged_means_valid(family):
    """Promise 41: everything finite, weights a distribution to 4 eps, covariances positive definite."""
    for seed in range(10):
        X = problems.rows(seed, 150, 3, 4, separation=seed / 2)
        result = run(X, 4, covariance_type=family, random_state=seed, max_iter=1000)
        assert result.converged
        mixture = result.mixture
        assert (mixture.weights >= 0).all()
        assert abs(math.fsum(mixture.weights) - 1) <= 4 * EPS
        dense = reference.dense_covariances(family, mixture.covariances, 4, 3)
        assert np.linalg.eigvalsh(dense).min() > 0
        for name in ("means", "covariances", "precisions", "precisions_cholesky"):
            assert np.isfinite(getattr(mixture, name)).all()
