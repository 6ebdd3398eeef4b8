"""Data that have no honest optimum: finite answers or typed errors, in bounded time (promises 10, 37, 39, 42)."""

import warnings

import numpy as np
import problems
import pytest
import reference

import fastgmm
from fastgmm import ConvergenceWarning, IllDefinedCovarianceError, Mixture
from fastgmm.fitting import run

by_family = pytest.mark.parametrize("family", reference.FAMILIES)


def degenerate(name):
    """(rows, number of components)."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 4))
    if name == "constant feature":
        X[:, 2] = 7.0
    elif name == "rank deficient":
        X[:, 3] = X[:, 0] - 2 * X[:, 1]
    elif name == "fewer rows than features":
        X = rng.standard_normal((6, 20))
    elif name == "outlier":
        X[0] = 1e9
    elif name == "two places":
        X = np.repeat(X[:2], 20, axis=0)
    elif name == "all rows equal":
        X[:] = X[0]
    elif name == "all zero":
        X[:] = 0.0
    elif name == "duplicates":
        X[:12] = X[0]
    return X, len(X) if name == "as many components as rows" else 3


NAMES = (
    "constant feature",
    "rank deficient",
    "fewer rows than features",
    "outlier",
    "two places",
    "all rows equal",
    "all zero",
    "duplicates",
    "as many components as rows",
)


def assert_valid(mixture):
    """Finite, weights a distribution, covariances positive definite."""
    K, D = mixture.means.shape
    for name in ("weights", "means", "covariances", "precisions_cholesky"):
        assert np.isfinite(getattr(mixture, name)).all(), name
    assert (mixture.weights >= 0).all()
    assert abs(mixture.weights.sum() - 1) <= 1e-12
    dense = reference.dense_covariances(mixture.covariance_type, mixture.covariances, K, D)
    assert (np.diagonal(dense, axis1=1, axis2=2) > 0).all()


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
@pytest.mark.parametrize("name", NAMES)
@by_family
def test_default_settings_give_a_finite_mixture(family, name, init_params):
    """No exception, no NaN, and no warning but the typed one."""
    X, K = degenerate(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        result = fastgmm.fit(X, K, covariance_type=family, init_params=init_params, random_state=0)
    assert_valid(result.mixture)
    assert np.isfinite(result.lower_bound)
    assert np.isfinite(result.mixture.predict_proba(X)).all()


@pytest.mark.parametrize("name", NAMES)
@by_family
def test_without_regularisation_right_or_a_typed_error(family, name):
    X, K = degenerate(name)
    try:
        result = run(X, K, covariance_type=family, reg_covar=0.0, random_state=0, max_iter=50)
    except IllDefinedCovarianceError:
        return
    assert_valid(result.mixture)
    assert np.isfinite(result.lower_bounds).all()


def test_identical_clusters_share_their_rows():
    """Two components at one start have no reason to part."""
    X = problems.rows(2, 300, 2, 1)
    start = problems.start_from_rows("full", X, 1)
    twin = reference.Model(np.full(2, 0.5), np.repeat(start.means, 2, axis=0), np.repeat(start.covariances, 2, axis=0))
    mixture = problems.em("full", X, twin, 20).mixture
    assert problems.same_bits(mixture.means[0], mixture.means[1])
    assert problems.same_bits(mixture.covariances[0], mixture.covariances[1])
    np.testing.assert_allclose(mixture.weights, 0.5, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-310, 1e-300, 1e-150, 1e-100, 1e100, 1e150, 1e160, 1e300])
@by_family
def test_extreme_scales_are_right_or_a_clean_error(family, scale):
    """Promise 39. Right: the scaled parameters to 1e-9, where the data themselves hold their digits."""
    X = problems.rows(3, 200, 3, 2)
    start = problems.start_from_rows(family, X, 2)
    plain = problems.em(family, X, start, 5).mixture
    labels = plain.predict(X)
    options = {"covariance_type": family, "reg_covar": 0.0, "tol": 0, "max_iter": 5, "init_params": labels}
    try:
        scaled = run(scale * X, 2, **options).mixture
    except IllDefinedCovarianceError:
        assert not 1e-140 < scale < 1e140, "within half the range of the exponent a fit must succeed"
        return
    want = run(X, 2, **options).mixture
    np.testing.assert_allclose(scaled.weights, want.weights, rtol=1e-9)
    np.testing.assert_allclose(scaled.means / scale, want.means, rtol=1e-9, atol=1e-9)
    size = np.abs(want.covariances).max()
    np.testing.assert_allclose(scaled.covariances / scale / scale, want.covariances, rtol=1e-9, atol=1e-9 * size)


@by_family
@pytest.mark.parametrize(
    ("n_rows", "n_features", "n_components"), [(2, 1, 1), (2, 1, 2), (3, 1, 2), (4, 2, 4), (5, 1, 5)]
)
def test_smallest_shapes(family, n_rows, n_features, n_components):
    X = np.random.default_rng(4).standard_normal((n_rows, n_features))
    result = run(X, n_components, covariance_type=family, random_state=0)
    assert_valid(result.mixture)
    labels = result.mixture.predict(X)
    assert labels.shape == (n_rows,)
    assert labels.dtype == np.int64


@by_family
def test_one_row_cannot_be_fitted_but_scored(family):
    with pytest.raises(ValueError, match="1 sample"):
        run(np.zeros((1, 2)), 1, covariance_type=family)
    model = problems.model(family, 5, 2, 2)
    mixture = Mixture(*model, covariance_type=family)
    X = np.zeros((1, 2))
    np.testing.assert_allclose(mixture.score(X), reference.log_density(family, model, X)[0], rtol=1e-13)
