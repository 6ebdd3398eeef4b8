"""The compiled algebra of coordinates and steps beside NumPy's."""

import numpy as np
import pytest

from fastgmm.engine._coordinates import from_log_cholesky, images, inner, log_cholesky, ratios


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 7, 8, 33, 20_001])
def test_inner_product(n):
    a, b = np.random.default_rng(n).standard_normal((2, n))
    assert inner(a, b) == pytest.approx(float(np.sum(a * b)), rel=1e-13, abs=1e-12)


def test_inner_product_carries_what_is_not_finite():
    assert inner(np.array([1.0, np.inf]), np.ones(2)) == np.inf
    assert np.isnan(inner(np.array([np.nan, 1.0, 1.0, 1.0, 1.0]), np.ones(5)))


@pytest.mark.parametrize(("K", "D"), [(1, 1), (3, 1), (1, 4), (2, 3), (5, 9)])
def test_images_of_vectors(K, D):
    rng = np.random.default_rng(K * D)
    W, x = rng.standard_normal((K, D, D)), rng.standard_normal((K, D))
    np.testing.assert_allclose(images(W, x), np.einsum("kij,kj->ki", W, x), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(images(W[:1], x), x @ W[0].T, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(("K", "D"), [(1, 1), (3, 2), (2, 7)])
def test_ratios_of_factors_and_the_way_back_from_coordinates(K, D):
    rng = np.random.default_rng(K * D)
    before, after = np.tril(rng.standard_normal((2, K, D, D)) * 0.3) + 2 * np.eye(D)
    expected = after @ np.linalg.inv(before)
    diagonal = np.arange(D)
    expected[:, diagonal, diagonal] = np.sqrt(2) * np.log(expected[:, diagonal, diagonal])
    np.testing.assert_allclose(ratios(before, after), expected, rtol=1e-12, atol=1e-13)

    U, scale = before.transpose(0, 2, 1), rng.uniform(0.5, 2.0, D)
    covariances, factors = from_log_cholesky(log_cholesky(U, scale), scale)
    np.testing.assert_allclose(factors, U, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(covariances, np.linalg.inv(U @ before), rtol=1e-11, atol=1e-13)


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="array of 3 values"):
        inner(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="expected 3 matrices or one, got 2"):
        images(np.ones((2, 4, 4)), np.ones((3, 4)))
    with pytest.raises(ValueError, match="array of 16 values"):
        images(np.ones((1, 3, 3)), np.ones((3, 4)))
