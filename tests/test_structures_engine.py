"""Inner loops of M-steps without a closed form: derivatives, where they end, and what they make of awkward input."""

import numpy as np
import pytest
import reference_structures as twin
import scipy.linalg
import scipy.optimize

from fastgmm import IllDefinedCovarianceError, covariance
from fastgmm.engine._axes import common_axes
from fastgmm.engine._structures import nearest
from fastgmm.engine._turning import turning

by_kind = pytest.mark.parametrize("equal_volumes", [True, False], ids=["EVE", "VVE"])
CONDITIONS = [10.0, 1e4, 1e8]


def left(S, mass, axes, equal_volumes):
    """What is to be minimised over the axes: the objective at the best variances along them."""
    logs = np.log(np.einsum("ji,kjl,li->ki", axes, S, axes))
    if equal_volumes:
        return mass.sum() * logs.shape[1] * np.log(mass @ np.exp(logs.mean(axis=1)))
    return mass @ logs.sum(axis=1)


@by_kind
@pytest.mark.parametrize("D", [2, 4])
def test_turning_is_gradient_and_hessian(equal_volumes, D):
    """Central differences of 1e-4: their error is 1e-8 of the third and fourth derivatives."""
    S, mass = twin.samples(np.random.default_rng(1), 3, D)
    planes, step = np.triu_indices(D, 1), 1e-4

    def F(turn):
        X = np.zeros((D, D))
        X[planes] = turn
        return left(S, mass, scipy.linalg.expm(X - X.T), equal_volumes)

    unit = step * np.eye(D * (D - 1) // 2)
    slope, bend = turning(S, mass, equal_volumes)
    want = [(F(p) - F(-p)) / (2 * step) for p in unit]
    np.testing.assert_allclose(slope, want, atol=1e-6 * np.abs(want).max())
    want = [[(F(p + q) - F(p - q) - F(q - p) + F(-p - q)) / (4 * step**2) for q in unit] for p in unit]
    np.testing.assert_allclose(bend, want, atol=1e-5 * np.abs(want).max())


@by_kind
@pytest.mark.parametrize("condition", CONDITIONS)
def test_sweeps_never_raise_what_they_minimise_and_keep_axes_orthogonal(equal_volumes, condition):
    D = 5
    S, mass = twin.samples(np.random.default_rng(2), 4, D, condition)
    axes, values = np.eye(D), []
    for _ in range(30):
        values.append(left(S, mass, axes, equal_volumes))
        axes, turned, promised = common_axes(S, mass, axes, equal_volumes, 0.0, 1)
        np.testing.assert_allclose(turned, axes.T @ S @ axes, rtol=1e-9, atol=1e-12 * np.abs(S).max())
    assert np.diff(values).max() <= 1e-10 * np.abs(values[0])
    np.testing.assert_allclose(axes.T @ axes, np.eye(D), atol=1e-13)
    assert promised >= 0


@pytest.mark.parametrize("name", ["EVE", "VVE"])
@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize(("K", "D"), [(3, 4), (2, 10), (6, 5), (2, 20)])
def test_m_step_ends_where_newtons_step_gains_nothing(name, condition, K, D):
    """What a step of Newton's would still gain is lost in rounding: eps of the largest variance, beside the least."""
    S, mass = twin.samples(np.random.default_rng(3), K, D, condition)
    best = covariance.get(name).nearest(S, mass)
    axes = twin.parts(name, best)[1][0]
    slope, bend = turning(axes.T @ S @ axes, mass, name == "EVE")
    assert np.linalg.eigvalsh(bend)[0] > 0
    rounding = np.finfo(float).eps * D * condition
    assert slope @ np.linalg.solve(bend, slope) <= max(1e-14, rounding) * mass.sum()


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("seed", range(5))
def test_scales_are_those_that_the_shape_asks_for(condition, seed):
    S, mass = twin.samples(np.random.default_rng((4, seed)), 5, 4, condition)
    variances = np.diagonal(S, axis1=1, axis2=2)
    found = nearest("VEI", variances, mass)
    scales, shape = found[:, 0] / found[0, 0], found[0]
    np.testing.assert_allclose(scales[:, None] * shape, found, rtol=1e-14)
    np.testing.assert_allclose((variances / shape).mean(axis=1), scales, rtol=1e-12)
    np.testing.assert_allclose((mass / scales) @ variances / mass.sum(), shape, rtol=1e-12)
    found = nearest("VEE", S, mass)
    scales, matrix = found[:, 0, 0] / found[0, 0, 0], found[0]
    np.testing.assert_allclose(scales[:, None, None] * matrix, found, rtol=1e-13)
    own = np.trace(np.linalg.solve(np.stack([matrix] * 5), S), axis1=1, axis2=2) / 4
    np.testing.assert_allclose(own, scales, rtol=1e-12 + 1e-15 * condition)
    np.testing.assert_allclose(np.einsum("k,kij->ij", mass / scales, S) / mass.sum(), matrix, rtol=1e-9)


def test_scales_of_components_that_hardly_share_a_direction():
    """Coordinate descent would take a hundred million rounds; the optimum is that of scipy in the logarithms."""
    variances, mass = np.array([[1.0, 1e-8], [3e-8, 2.0]]), np.array([10.0, 20.0])

    def objective(t):
        logs = t[:2, None] + np.array([0.0, t[2]])
        return (mass[:, None] * (logs + variances / np.exp(logs))).sum()

    found = nearest("VEI", variances, mass)
    mine = objective(np.append(np.log(found[:, 0]), np.log(found[0, 1] / found[0, 0])))
    start = np.append(np.log(variances.max(axis=1)), 0.0)
    assert mine <= scipy.optimize.minimize(objective, start, method="BFGS", options={"gtol": 1e-9}).fun + 1e-9


def test_what_has_no_minimum_ends():
    for name in ("VEE", "EVV", "EVE", "VVE", "VEV"):
        with pytest.raises(IllDefinedCovarianceError):
            nearest(name, np.zeros((2, 3, 3)), np.ones(2))
    with pytest.raises(IllDefinedCovarianceError) as caught:
        nearest("VEI", np.array([[1.0, 2.0], [0.0, 0.0]]), np.ones(2))
    assert caught.value.component == 1
    S = np.stack([np.diag([1.0, 0.0, 0.0]), np.diag([0.0, 0.0, 1.0])])
    assert np.isnan(common_axes(S, np.ones(2), np.eye(3), True, 0.0, 9)[2])


@pytest.mark.parametrize("name", ["EVE", "VVE", "EEV", "VEV"])
def test_what_is_not_finite_has_no_axes(name):
    S = np.stack([np.eye(3)] * 2)
    S[1, 2, 2] = np.nan
    with pytest.raises(IllDefinedCovarianceError):
        nearest(name, S, np.ones(2))


@pytest.mark.parametrize("name", ["EEV", "VEV", "EVV", "VEE"])
@pytest.mark.parametrize("D", [1, 2, 3, 16, 17])
def test_nearest_is_the_twins_on_both_sides_of_lapack(name, D):
    """Eigenvalues of up to 16 rows are found without LAPACK; a start elsewhere changes nothing where all is convex."""
    rng = np.random.default_rng((5, D))
    S, mass = twin.samples(rng, 3, D, 1e3)
    want = twin.m_step(name, S, mass)
    tolerance = {"rtol": 1e-9, "atol": 1e-11 * np.abs(S).max()}
    np.testing.assert_allclose(nearest(name, S, mass), want, **tolerance)
    np.testing.assert_allclose(nearest(name, S, mass, twin.random(name, 3, D, rng)), want, **tolerance)


@by_kind
@pytest.mark.parametrize("D", [2, 7, 18])
def test_common_axes_are_found_again_from_covariances_that_share_them(equal_volumes, D):
    """Where S is of the structure it is what is nearest, from anywhere; and from itself nothing moves."""
    name = "EVE" if equal_volumes else "VVE"
    S, mass = twin.random(name, 4, D, np.random.default_rng((6, D))), np.arange(1.0, 5.0)
    np.testing.assert_allclose(nearest(name, S, mass), S, atol=1e-12 * np.abs(S).max())
    np.testing.assert_allclose(nearest(name, S, mass, S), S, atol=1e-12 * np.abs(S).max())


def test_eigenvalues_that_are_small_keep_their_digits():
    """Of a positive definite matrix that is well conditioned but for the units of its features."""
    units = 10.0 ** np.arange(0, -12, -2)
    core = np.eye(6) + 0.1 * np.ones((6, 6))
    S = (units[:, None] * core * units)[None]
    best = nearest("VEV", S, np.ones(1))[0]
    np.testing.assert_allclose(best / units / units[:, None], core, rtol=1e-9)
