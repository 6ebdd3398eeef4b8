"""What a fit must do when the data are permuted, moved, scaled, turned or reflected (promises 13 to 20).

Every test starts from given parameters, transformed like the data, and runs a fixed number of EM iterations.
"""

import numpy as np
import problems
import pytest
import reference

from fastgmm import covariance
from fastgmm.fitting import run

N_ROWS, D, K, N_ITER = 500, 4, 3, 10
by_family = pytest.mark.parametrize("family", reference.FAMILIES)


def problem(family, seed=1):
    """Rows on a grid of 2**-20, and a start."""
    X = problems.on_grid(problems.rows(seed, N_ROWS, D, K))
    return X, problems.start_from_rows(family, X, K)


def mapped(family, model, A, b=0.0):
    """The model of A x + b, provided that A keeps the family's structure."""
    dense = A @ reference.dense_covariances(family, model.covariances, K, D) @ A.T
    return reference.Model(model.weights, model.means @ A.T + b, reference.pack_covariances(family, dense))


def fitted(result):
    """The parameters of a result as ``reference.Model``."""
    return reference.Model(result.mixture.weights, result.mixture.means, result.mixture.covariances)


def em(family, X, start):
    """FitResult from a start given by its covariances: as precisions they would lose digits in a skewed frame."""
    ours = covariance.get(family)
    params = covariance.Parameters(*start, ours.from_covariances(start.covariances, K, D))
    return run(X, K, covariance_type=family, reg_covar=0.0, tol=0.0, max_iter=N_ITER, start=params)


def assert_follows(family, X, start, A, b, tolerance):
    """Fitting A x + b gives the map of the fit of x, and l shifts by -log|A| a row."""
    plain = em(family, X, start)
    moved = em(family, X @ A.T + b, mapped(family, start, A, b))
    problems.assert_close_parameters(family, moved.mixture, mapped(family, fitted(plain), A, b), tolerance)
    shift = np.linalg.slogdet(A)[1]
    np.testing.assert_allclose(
        np.array(moved.lower_bounds) + shift, plain.lower_bounds, rtol=tolerance, atol=tolerance * (1 + abs(shift))
    )


@by_family
def test_order_of_rows_does_not_matter(family):
    X, start = problem(family)
    order = np.random.default_rng(1).permutation(N_ROWS)
    plain, other = problems.em(family, X, start, N_ITER), problems.em(family, X[order], start, N_ITER)
    problems.assert_close_parameters(family, other.mixture, plain.mixture, 1e-12)


@by_family
def test_permuted_start_gives_permuted_components(family):
    X, start = problem(family)
    order = np.array([2, 0, 1])
    permuted = reference.Model(
        start.weights[order],
        start.means[order],
        start.covariances if family == "tied" else start.covariances[order],
    )
    plain, other = problems.em(family, X, start, N_ITER), problems.em(family, X, permuted, N_ITER)
    want = fitted(plain)
    want = reference.Model(
        want.weights[order], want.means[order], want.covariances if family == "tied" else want.covariances[order]
    )
    problems.assert_close_parameters(family, other.mixture, want, 1e-12)


@by_family
def test_permuted_features_give_permuted_parameters(family):
    X, start = problem(family)
    assert_follows(family, X, start, np.eye(D)[[2, 0, 3, 1]], 0.0, 1e-12)


@by_family
@pytest.mark.parametrize("offset", [1e2, 1e4, 1e6, 1e8])
def test_translation_keeps_the_covariances(family, offset):
    """1e-6 of the covariances at 1e8 standard deviations; the rows move exactly, because they lie on a grid."""
    X, start = problem(family)
    b = offset * np.array([1.0, -1.0, 1.0, -1.0])
    plain = problems.em(family, X, start, N_ITER)
    moved = problems.em(family, X + b, start._replace(means=start.means + b), N_ITER)
    want = fitted(plain)
    problems.assert_close_parameters(family, moved.mixture, want._replace(means=want.means + b), 1e-6)


@by_family
@pytest.mark.parametrize("offset", [1e1, 1e2, 1e3])
def test_float32_translation_keeps_the_covariances(family, offset):
    """1e-6 of the covariances, whose rows move exactly on their grid; means are rounded to float32 where they are."""
    X, start = problem(family)
    X = problems.on_grid(X, bits=10)
    b = offset * np.array([1.0, -1.0, 1.0, -1.0])
    plain = problems.em(family, X, start, N_ITER)
    moved = problems.em(family, (X + b).astype(np.float32), start._replace(means=start.means + b), N_ITER).mixture
    assert moved.dtype == np.float32
    want = fitted(plain)
    eps = np.finfo(np.float32).eps
    np.testing.assert_allclose(moved.means, want.means + b, rtol=eps, atol=1e-6)
    problems.assert_close_parameters(family, moved, want._replace(means=moved.means.astype(float)), 1e-6)


@by_family
def test_float32_translation_with_the_default_start(family):
    """The k-means start of float32 rows at 1e3 is that of float64 rows at the origin."""
    X = problems.on_grid(problem(family)[0], bits=10)
    options = {"covariance_type": family, "random_state": 2, "max_iter": 5, "tol": 0}
    want = fitted(run(X, K, **options))
    moved = run((X + 1e3).astype(np.float32), K, **options).mixture
    np.testing.assert_allclose(moved.means, want.means + 1e3, rtol=np.finfo(np.float32).eps)
    problems.assert_close_parameters(family, moved, want._replace(means=moved.means.astype(float)), 1e-6)


@by_family
def test_translation_with_the_default_start(family):
    """The starts too must not lose digits: no parameters are given here."""
    X, _ = problem(family)
    options = {"covariance_type": family, "random_state": 2, "max_iter": 5, "tol": 0}
    plain = fitted(run(X, K, **options))
    moved = run(X + 1e8, K, **options)
    problems.assert_close_parameters(family, moved.mixture, plain._replace(means=plain.means + 1e8), 1e-6)


@by_family
@pytest.mark.parametrize("power", [-60, -3, 1, 60])
def test_scaling_by_a_power_of_two(family, power):
    X, start = problem(family)
    assert_follows(family, X, start, 2.0**power * np.eye(D), 0.0, 1e-12)


@pytest.mark.parametrize("family", ["full", "tied"])
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e3])
def test_affine_map_of_dense_families(family, condition):
    """The log-likelihood shifts by -N log|A|; 1e-9, for covariances of condition up to 1e6."""
    X, start = problem(family)
    A = problems.spd(np.random.default_rng(3), D, condition) @ np.linalg.qr(X[:D])[0]
    assert_follows(family, X, start, A, np.array([1.0, 20.0, -3.0, 0.0]), 1e-9)


@pytest.mark.parametrize("scales", [[1.0, 10.0, 0.1, 3.0], [1e6, 1e-6, 1.0, 1e3]])
def test_axis_scaling_of_diag(scales):
    X, start = problem("diag")
    assert_follows("diag", X, start, np.diag(scales), 1.5, 1e-9)


@pytest.mark.parametrize("scale", [1.0, 0.3, 1e5])
def test_rotation_and_one_scale_of_spherical(scale):
    X, start = problem("spherical")
    rotation = np.linalg.qr(np.random.default_rng(4).standard_normal((D, D)))[0]
    assert_follows("spherical", X, start, scale * rotation, -2.0, 1e-9)


@by_family
def test_reflected_data_give_a_reflected_fit(family):
    X, start = problem(family)
    assert_follows(family, X, start, np.diag([-1.0, 1.0, -1.0, 1.0]), 0.0, 1e-12)
