"""GaussianMixture: scikit-learn's attributes and methods, and what it does better."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import problems
import pytest
import reference
import sklearn.mixture

from fastgmm import GaussianMixture

K, D, N = 3, 2, 240
by_family = pytest.mark.parametrize("family", reference.FAMILIES)
by_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])
FITTED = {
    *(
        *problems.FITTED_ARRAYS,
        "converged_",
        "n_iter_",
        "lower_bound_",
        "lower_bounds_",
        "collapses_",
        "n_failed_inits_",
        "best_init_",
        "n_features_in_",
        "stopped_by_",
        "last_gain_",
        "convergence_rate_",
        "remaining_gain_",
        "gradient_norm_",
    ),
}


@pytest.fixture(scope="module")
def X():
    return problems.rows(3, N, D, K, separation=4.0)


@pytest.fixture(scope="module")
def weight():
    return np.random.default_rng(0).integers(0, 4, N)


# ----------------------------------------------------------------------------------------------- attributes

COVARIANCE_SHAPES = {"full": (K, D, D), "tied": (D, D), "diag": (K, D), "spherical": (K,)}


@by_dtype
@by_family
def test_fitted_attributes(X, family, dtype):
    model = GaussianMixture(K, covariance_type=family, random_state=0).fit(X.astype(dtype))
    assert {name for name in vars(model) if name.endswith("_") and not name.startswith("_")} == FITTED
    shapes = {"weights_": (K,), "means_": (K, D)}
    for name in problems.FITTED_ARRAYS:
        value = getattr(model, name)
        assert value.shape == shapes.get(name, COVARIANCE_SHAPES[family]), name
        assert value.dtype == dtype, name
        assert value.flags.writeable, name
    assert [type(getattr(model, name)) for name in ("converged_", "n_iter_", "lower_bound_", "n_features_in_")] == [
        *(bool, int, float, int),
    ]
    assert model.n_features_in_ == D
    assert (model.converged_, model.n_failed_inits_, model.collapses_) == (True, 0, [])
    assert isinstance(model.lower_bounds_, list)
    assert all(type(bound) is float for bound in model.lower_bounds_)
    assert len(model.lower_bounds_) == model.n_iter_
    assert model.lower_bounds_[-1] == model.lower_bound_


@by_family
def test_precisions_invert_covariances(X, family):
    """Precision = U U^T with U upper triangular; 1/sigma for diag and spherical; 1e-12 for condition 10."""
    model = GaussianMixture(K, covariance_type=family, random_state=0).fit(X)
    U = model.precisions_cholesky_
    if family in ("full", "tied"):
        np.testing.assert_array_equal(U, np.triu(U))
        np.testing.assert_allclose(model.precisions_, U @ U.swapaxes(-1, -2), rtol=1e-12, atol=1e-14)
        product = model.precisions_ @ model.covariances_
        np.testing.assert_allclose(product, np.broadcast_to(np.eye(D), product.shape), atol=1e-12)
    else:
        np.testing.assert_allclose(model.precisions_, U**2, rtol=1e-15)
        np.testing.assert_allclose(model.precisions_ * model.covariances_, 1.0, rtol=1e-14)


@by_dtype
@by_family
def test_lower_bound_is_the_score_bit_for_bit(X, weight, family, dtype):
    """Promise 6; scikit-learn's belongs to the parameters before the last M-step."""
    X = X.astype(dtype)
    model = GaussianMixture(K, covariance_type=family, random_state=0)
    assert model.fit(X).lower_bound_ == model.score(X)
    assert model.fit(X, sample_weight=weight).lower_bound_ == model.score(X, sample_weight=weight)


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", ">f8", "f2", "g", "i1", "u8", "?", "O"])
def test_float32_stays_and_all_else_is_float64(X, dtype):
    model = GaussianMixture(2, random_state=0).fit((10 * X).astype(dtype))
    for name in problems.FITTED_ARRAYS:
        assert getattr(model, name).dtype == (np.float32 if dtype == "f4" else np.float64)
        assert getattr(model, name).dtype.isnative


def test_float32_parameters_score_float64_rows_in_float64(X):
    model = GaussianMixture(K, random_state=0).fit(X.astype(np.float32))
    assert model.score_samples(X).dtype == model.predict_proba(X).dtype == np.float64


@by_family
def test_edited_attributes_are_what_predictions_follow(X, family):
    model = GaussianMixture(K, covariance_type=family, random_state=0).fit(X)
    moved = X + np.array([100.0, 0.0])
    before = model.score_samples(X)
    model.means_[:, 0] += 100.0
    np.testing.assert_allclose(model.score_samples(moved), before, rtol=1e-9)
    model.covariances_ = 4.0 * model.covariances_
    want = sklearn.mixture.GaussianMixture(K, covariance_type=family)
    want.weights_, want.means_, want.covariances_ = model.weights_, model.means_, model.covariances_
    want.precisions_cholesky_ = 0.5 * model.precisions_cholesky_
    np.testing.assert_allclose(model.score_samples(moved), want.score_samples(moved), rtol=1e-10)
    np.testing.assert_allclose(model.precisions_cholesky_, want.precisions_cholesky_, rtol=1e-12, atol=1e-14)


def test_edited_attributes_are_checked(X):
    model = GaussianMixture(K, random_state=0).fit(X)
    for name, value, message in (
        ("weights_", [0.5, 0.6, 0.7], "normalized"),
        ("means_", np.full((K, D), np.nan), "NaN"),
        ("covariances_", np.zeros((K, D, D)), "positive-definite"),
        ("precisions_cholesky_", np.zeros((K, D)), r"shape of \(3, 2, 2\), but got \(3, 2\)"),
    ):
        kept = getattr(model, name)
        setattr(model, name, value)
        with pytest.raises(ValueError, match=message):
            model.predict(X)
        setattr(model, name, kept)
    model.predict(X)


def test_attributes_set_by_hand_make_a_model(X):
    fitted = GaussianMixture(K, random_state=0).fit(X)
    model = GaussianMixture(K)
    model.weights_, model.means_, model.precisions_ = fitted.weights_, fitted.means_, fitted.precisions_
    np.testing.assert_allclose(model.score_samples(X), fitted.score_samples(X), rtol=1e-12)
    np.testing.assert_allclose(model.covariances_, fitted.covariances_, rtol=1e-12, atol=1e-14)


# ----------------------------------------------------------------------------------------------- methods


@by_family
def test_methods_return_what_scikit_learns_do(X, family):
    """The same types and shapes, and the same numbers from the same parameters, to 1e-11."""
    model = GaussianMixture(K, covariance_type=family, random_state=0).fit(X)
    theirs = model.to_sklearn()
    for name in ("predict", "predict_proba", "score_samples"):
        ours, want = getattr(model, name)(X), getattr(theirs, name)(X)
        assert (ours.shape, ours.dtype) == (want.shape, want.dtype), name
        np.testing.assert_allclose(ours, want, rtol=1e-11, atol=1e-13)
    for name in ("score", "bic", "aic"):
        ours, want = getattr(model, name)(X), getattr(theirs, name)(X)
        assert type(ours) is float, name
        assert ours == pytest.approx(want, rel=1e-11)
    assert model.fit(X, np.zeros(N)) is model
    assert model.score(X, np.zeros(N)) == model.score(X, None) == model.score(X)


@by_family
@pytest.mark.parametrize("max_iter", [0, 1, 100])
def test_fit_predict_is_fit_and_predict(X, weight, family, max_iter):
    options = {"covariance_type": family, "random_state": 0, "n_init": 2, "max_iter": max_iter}
    with problems.no_convergence_warning():
        labels = GaussianMixture(K, **options).fit_predict(X, None, sample_weight=weight)
        model = GaussianMixture(K, **options).fit(X, sample_weight=weight)
    assert problems.same_bits(labels, model.predict(X))
    assert labels.dtype == np.int64


@by_family
def test_weights_count_rows_in_every_method(X, weight, family):
    """Integer weights are repetition, to 1e-12; in bic too, whose number of rows is the sum of weights."""
    repeated = np.repeat(X, weight, axis=0)
    start = {"means_init": X[:K], "covariance_type": family, "init_params": "random_from_data", "random_state": 0}
    start |= problems.start_of(family, problems.start_from_rows(family, X, K))
    weighted = GaussianMixture(K, **start).fit(X, sample_weight=weight)
    plain = GaussianMixture(K, **start).fit(repeated)
    problems.assert_close_parameters(family, weighted.to_mixture(), plain.to_mixture(), 1e-11)
    for name in ("score", "bic", "aic"):
        got = getattr(plain, name)(X, sample_weight=weight)
        assert got == pytest.approx(getattr(plain, name)(repeated), rel=1e-12), name
        assert got != getattr(plain, name)(X), name


def test_unit_weights_are_none(X):
    problems.assert_same_fit(
        GaussianMixture(K, random_state=0).fit(X, sample_weight=1.0),
        GaussianMixture(K, random_state=0).fit(X, sample_weight=np.ones(N)),
    )


def test_sample_groups_rows_by_component_or_shuffles(X):
    model = GaussianMixture(K, random_state=0).fit(X)
    rows, labels = model.sample(500)
    assert (rows.shape, rows.dtype, labels.shape, labels.dtype) == ((500, D), np.float64, (500,), np.int64)
    assert (np.diff(labels) >= 0).all()
    assert np.abs(np.bincount(labels, minlength=K) / 500 - model.weights_).max() < 5 * 0.5 / np.sqrt(500)
    mixed, mixed_labels = model.sample(500, shuffle=True)
    assert not (np.diff(mixed_labels) >= 0).all()
    np.testing.assert_array_equal(np.sort(mixed, axis=0), np.sort(rows, axis=0))
    assert model.sample()[0].shape == (1, D)


@pytest.mark.parametrize("far", [1e20, 1e160, 1e300])
def test_probabilities_are_finite_however_far_the_row(X, far):
    """scikit-learn's are NaN from 1e160 on."""
    resp = GaussianMixture(K, random_state=0).fit(X).predict_proba([[far, -far], [0.0, far]])
    np.testing.assert_allclose(resp.sum(axis=1), 1.0, rtol=1e-12)
    assert (resp >= 0).all()


# ----------------------------------------------------------------------------------------------- threads


def test_threads_share_an_estimator(X):
    """Eight predict at once with attributes that were just edited (promise 54)."""
    model = GaussianMixture(K, random_state=0).fit(X)
    want = model.score_samples(X).tobytes()
    for _ in range(20):
        model.means_ = model.means_.copy()
        model.covariances_ = 1.0 * model.covariances_
        with ThreadPoolExecutor(8) as pool:
            got = list(pool.map(lambda _: model.score_samples(X).tobytes(), range(16)))
        assert set(got) == {want}


@by_family
def test_n_threads_changes_no_bit(family):
    X = problems.rows(2, 20_000, 3, K)
    results = []
    for n_threads in (None, 1, 2, 3):
        model = GaussianMixture(K, covariance_type=family, random_state=0, max_iter=3, tol=0, n_threads=n_threads)
        with problems.no_convergence_warning():
            model.fit(X)
        results.append((model, model.predict_proba(X), model.score(X)))
    for model, resp, score in results[1:]:
        problems.assert_same_fit(model, results[0][0])
        assert problems.same_bits(resp, results[0][1])
        assert score == results[0][2]
