"""The compiled algebra of coordinates and steps beside NumPy's."""

import numpy as np
import pytest
import reference_acceleration

from fastgmm.engine import _coordinates
from fastgmm.engine._coordinates import from_log_cholesky, inner, log_cholesky, scaled_step

K, D = 3, 2


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 7, 8, 33, 20_001])
def test_inner_product(n):
    a, b = np.random.default_rng(n).standard_normal((2, n))
    assert inner(a, b) == pytest.approx(float(np.sum(a * b)), rel=1e-13, abs=1e-12)


def test_inner_product_carries_what_is_not_finite():
    assert inner(np.array([1.0, np.inf]), np.ones(2)) == np.inf
    assert np.isnan(inner(np.array([np.nan, 1.0, 1.0, 1.0, 1.0]), np.ones(5)))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("K", "D"), [(1, 1), (3, 2), (2, 7)])
def test_steps_in_units_of_the_first_and_the_way_back_from_coordinates(K, D, shared):
    rng = np.random.default_rng(K * D)
    before, after = np.tril(rng.standard_normal((2, 1 if shared else K, D, D)) * 0.3) + 2 * np.eye(D)
    expected = after @ np.linalg.inv(before)
    diagonal = np.arange(D)
    expected[:, diagonal, diagonal] = np.sqrt(2) * np.log(expected[:, diagonal, diagonal])
    means, means_after = rng.standard_normal((2, K, D))
    factors = (each.transpose(0, 2, 1)[0 if shared else slice(None)] for each in (before, after))
    step, ratios = scaled_step(means, means_after, *factors)
    np.testing.assert_allclose(step, (before @ (means_after - means)[:, :, None])[:, :, 0], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(ratios, expected[0] if shared else expected, rtol=1e-12, atol=1e-13)

    U, scale = before.transpose(0, 2, 1), rng.uniform(0.5, 2.0, D)
    covariances, factors = from_log_cholesky(log_cholesky(U, scale), scale)
    np.testing.assert_allclose(factors, U, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(covariances, np.linalg.inv(U @ before), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("n_pairs", [1, 2, 5])
def test_quasi_newton_direction_matches_twin(rng, n_pairs):
    """Coordinates and steps of known length may be of different sizes; what comes in is left as it is."""
    n, m = 7, 5
    root = rng.normal(size=(m, m))
    pairs = []
    for _ in range(n_pairs):
        s = rng.normal(size=m)
        pairs.append((*rng.normal(size=(2, n)), s, root @ root.T @ s))
    f, em = rng.normal(size=n), rng.normal(size=m)
    before = f.copy(), em.copy()
    got = _coordinates.quasi_newton(tuple(pairs), f, em, 3.0)
    for one, twin in zip(got, reference_acceleration.direction(pairs, f, em), strict=True):
        np.testing.assert_allclose(one, twin, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(f, before[0])
    np.testing.assert_array_equal(em, before[1])


def test_coordinates_of_weights_and_means_and_back(rng):
    weights, means = np.array([0.2, 0.0, 0.8]), rng.normal(size=(K, D))
    centre, scale, covariances = rng.normal(size=D), np.array([2.0, 1e-3]), rng.normal(size=(K, D, D))
    joined = _coordinates.join(weights, means[:, ::-1][:, ::-1], centre, scale, covariances)
    with np.errstate(divide="ignore"):
        parts = np.log(weights), ((means - centre) / scale).ravel(), covariances.ravel()
    np.testing.assert_allclose(joined, np.concatenate(parts), rtol=1e-14)
    joined[:K] += 900.0  # a common factor of all weights does not matter
    back = _coordinates.part(joined, K, centre, scale)
    np.testing.assert_allclose(back[0], weights, rtol=1e-12)
    np.testing.assert_allclose(back[1], means, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shared", [False, True])
def test_parts_of_a_step_count_by_weight(rng, shared):
    """A component without mass has no part in the step of weights."""
    before, after, means = np.array([0.25, 0.0, 0.75]), np.array([0.5, 0.1, 0.4]), rng.normal(size=(K, D))
    covariances = rng.normal(size=(D, D) if shared else (K, D, D))
    root = np.sqrt(before)
    twin = [
        [0.25 / 0.5, 0.0, -0.35 / root[2]],
        (root[:, None] * means).ravel(),
        (covariances if shared else root[:, None, None] * covariances).ravel(),
    ]
    got = _coordinates.weighted_step(before, after, means, covariances, shared)
    np.testing.assert_allclose(got, np.concatenate(twin), rtol=1e-14)


def test_sizes_and_types_are_checked(rng):
    a = rng.normal(size=4)
    with pytest.raises(ValueError, match="expected an array of 4 values"):
        _coordinates.inner(a, a[:3].copy())
    with pytest.raises(TypeError, match="float64"):
        _coordinates.inner(a.astype(np.float32), a)
    with pytest.raises(ValueError, match="expected an array of 4 values"):
        _coordinates.quasi_newton(((a, a, a, a[:3].copy()),), a, a, 4.0)
    with pytest.raises(ValueError, match="expected an array of 2 values"):
        _coordinates.join(np.ones(K) / K, np.ones((K, D)), np.ones(3), np.ones(D), a)
    with pytest.raises(ValueError, match="at least 9 coordinates"):
        _coordinates.part(a, K, np.ones(D), np.ones(D))
    with pytest.raises(ValueError, match="expected an array of 3 values"):
        _coordinates.weighted_step(np.ones(K), np.ones(D), np.ones((K, D)), np.ones((K, D)), False)
