"""What a fit does between passes: small dense algebra, by component, on as many threads as the passes have."""

import numpy as np
import pytest
from problems import at_level

from fastgmm import GaussianMixture
from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.engine import _linalg, simd, threads

SIZES = [*range(1, 20), 31, 33, 63, 64, 65, 72, 130]


def covariances(K, D, seed=0):
    A = np.random.default_rng(seed).normal(size=(K, D, D + 3))
    return A @ A.swapaxes(1, 2) / D


@pytest.mark.parametrize("level", simd.levels())
@pytest.mark.parametrize("D", SIZES)
def test_inverse_cholesky_is_that_of_numpy(D, level):
    C = covariances(2, D)
    with at_level(level):
        U = _linalg.inverse_cholesky(C)
    assert np.array_equal(U, np.triu(U))
    assert (np.diagonal(U, axis1=1, axis2=2) > 0).all()
    # Either is backward stable: to rounding times the condition of what is inverted.
    np.testing.assert_allclose(
        U, np.linalg.inv(np.linalg.cholesky(C)).swapaxes(1, 2), atol=1e-13 * np.linalg.cond(C).max()
    )


@pytest.mark.parametrize("D", [5, 64, 130])
def test_a_matrix_that_is_not_definite_is_found_wherever_it_fails(D):
    for at in {0, 1, D // 2, D - 1}:
        C = covariances(3, D)
        C[1, at, at] = -1.0
        for bad in (C, np.where(C == -1.0, np.nan, C)):
            with pytest.raises(IllDefinedCovarianceError) as caught:
                _linalg.inverse_cholesky(bad)
            assert caught.value.component == 1


@pytest.mark.parametrize("K", [1, 4, 7])
@pytest.mark.parametrize("D", [1, 8, 19])
def test_means_are_rotated_and_taken_off_the_scatter_as_by_numpy(K, D):
    rng = np.random.default_rng(0)
    means, shift, n = rng.normal(size=(K, D)), rng.normal(size=D), np.arange(1.0, K + 1)
    S, W = covariances(1, D)[0], np.tril(rng.normal(size=(D, D)))
    from_shift = means - shift
    np.testing.assert_allclose(
        _linalg.spread(means, shift, W), np.linalg.norm(from_shift @ W.T, axis=1).max(), rtol=1e-13
    )
    within, _ = _linalg.within_rotated(n, means, S, shift)
    np.testing.assert_allclose(within, S - (n * from_shift.T) @ from_shift, atol=1e-12)
    assert np.array_equal(within, within.T)


def between_passes(n, s, C, packed):
    """The bytes of all that K matrices are made into."""
    return [
        part.tobytes()
        for made in (
            (_linalg.inverse_cholesky(C),),
            _linalg.unpack_triangles(packed, *s.shape),
            map(np.asarray, _linalg.within_full(n, s, C)),
            (_linalg.per_mass(C, n, 0.5),),
        )
        for part in made
    ]


@pytest.mark.parametrize(("K", "D"), [(2, 65), (7, 17), (3, 8)])
def test_components_are_shared_out_to_the_same_bits(monkeypatch, K, D):
    C, s, n = covariances(K, D), np.random.default_rng(1).normal(size=(K, D)), np.arange(1.0, K + 1)
    packed = _linalg.pack_triangles(n, s, C)
    alone, asked = between_passes(n, s, C, packed), []
    monkeypatch.setattr(threads, "between", lambda: asked.append(True) or 2)
    monkeypatch.setattr(_linalg, "SHARED_WORK", 0.0)
    assert between_passes(n, s, C, packed) == alone
    assert len(asked) == 4


def test_the_first_matrix_that_is_not_definite_is_named_on_several_threads(monkeypatch):
    C = covariances(6, 9)
    C[[3, 5]] = 0.0
    monkeypatch.setattr(threads, "between", lambda: 2)
    monkeypatch.setattr(_linalg, "SHARED_WORK", 0.0)
    with pytest.raises(IllDefinedCovarianceError) as caught:
        _linalg.inverse_cholesky(C)
    assert caught.value.component == 3


def test_a_fit_shares_its_work_as_its_passes_and_nothing_else_does(monkeypatch):
    monkeypatch.setattr(threads, "_forked", False)
    seen = []
    X = np.random.default_rng(0).normal(size=(50, 2))

    def fit(n_threads):
        GaussianMixture(
            2, n_threads=n_threads, max_iter=2, tol=0, callback=lambda _: seen.append(threads.between())
        ).fit(X)

    with pytest.warns(UserWarning, match="did not converge"):
        fit(3)
    with pytest.warns(UserWarning, match="did not converge"):
        fit(1)
    here = 3 if threads.has_openmp() else 1
    assert seen == [here, here, 1, 1]
    assert threads.between() == 1
    monkeypatch.setattr(threads, "_forked", True)
    with threads.Between(2):
        assert threads.between() == 1
