"""Restarts that fail, fits that raise, and fits that go on where the last one stopped."""

import warnings

import numpy as np
import problems
import pytest
import reference

from fastgmm import ConvergenceWarning, GaussianMixture, IllDefinedCovarianceError

K, D, N = 3, 2, 240
ROWS = np.random.default_rng(1).standard_normal((60, 2))
by_family = pytest.mark.parametrize("family", reference.FAMILIES)


@pytest.fixture(scope="module")
def X():
    return problems.rows(3, N, D, K, separation=4.0)


def unmoved(model):
    """What an estimator is, in a form that compares: its attributes by identity, arrays by value too."""
    return {
        name: (id(value), value.tobytes() if isinstance(value, np.ndarray) else None)
        for name, value in vars(model).items()
    }


# ----------------------------------------------------------------------------------------------- starts and restarts


def failing(times):
    """A start that gives a component a single row the first ``times`` times, and good labels after."""
    calls = []

    def start(X, n_components, random_state):
        calls.append(random_state)
        first = np.asarray(X)[:, 0]
        return (np.arange(len(X)) == 0 if len(calls) <= times else first > np.median(first)).astype(np.int64)

    return start


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_failed_starts_are_skipped_and_counted(X, failures):
    """Promise 40; in scikit-learn one failure aborts all runs."""
    model = GaussianMixture(2, n_init=3, init_params=failing(failures), reg_covar=0.0).fit(X)
    assert model.n_failed_inits_ == failures
    assert model.lower_bound_ == model.score(X)


def test_failure_of_every_start_is_raised_and_changes_nothing(X):
    model = GaussianMixture(2, n_init=3, random_state=0).fit(X).set_params(init_params=failing(3), reg_covar=0.0)
    before = unmoved(model)
    with pytest.raises(IllDefinedCovarianceError):
        model.fit(X)
    assert unmoved(model) == before


@pytest.mark.parametrize(
    ("options", "rows"),
    [({"tol": -1}, ROWS), ({}, ROWS[:, :1] * np.nan), ({"n_components": 61}, ROWS), ({"max_iter": 1}, ROWS)],
    ids=["parameter", "rows", "size", "warning"],
)
def test_fit_that_raises_leaves_the_estimator_as_it_was(options, rows):
    """A warning that is turned into an error included."""
    model = GaussianMixture(2, random_state=0).fit(ROWS).set_params(**options)
    before = unmoved(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((ValueError, UserWarning)):
            model.fit(rows)
    assert unmoved(model) == before


@by_family
def test_max_iter_zero_keeps_the_given_parameters(X, family):
    """Promise 49. scikit-learn has no covariances_ then, and a lower_bound_ of minus infinity."""
    given = problems.start_of(family, problems.model(family, 4, D, K))
    model = GaussianMixture(K, covariance_type=family, max_iter=0, **given).fit(X)
    np.testing.assert_array_equal(model.weights_, given["weights_init"])
    np.testing.assert_array_equal(model.means_, given["means_init"])
    np.testing.assert_allclose(model.precisions_, given["precisions_init"], rtol=1e-12, atol=1e-12)
    dense = reference.dense_covariances(family, model.covariances_, K, D)
    want = np.linalg.inv(reference.dense_covariances(family, given["precisions_init"], K, D))
    np.testing.assert_allclose(dense, want, rtol=1e-12, atol=1e-12)
    assert (model.n_iter_, model.lower_bounds_, model.converged_) == (0, [], False)
    assert model.lower_bound_ == model.score(X)


# ----------------------------------------------------------------------------------------------- warm start


@by_family
def test_warm_starts_compose_bit_for_bit(X, family):
    """Promise 48: fits of 4, 1 and 5 iterations give one of 10."""
    options = {"covariance_type": family, "random_state": 0, "tol": 0.0, "init_params": "random_from_data"}
    with problems.no_convergence_warning():
        whole = GaussianMixture(K, max_iter=10, **options).fit(X)
        model = GaussianMixture(K, warm_start=True, n_init=1, **options)
        bounds = []
        for iterations in (4, 1, 5):
            model.set_params(max_iter=iterations).fit(X)
            assert model.n_iter_ == iterations  # of the last call
            bounds += model.lower_bounds_
    problems.assert_same_fit(model, whole)
    assert model.lower_bound_ == whole.lower_bound_
    # Where fits join, the bound is a score of the returned model; amid a fit it comes from the pass that EM makes. They
    # are the same sum about different origins, and so the same to rounding.
    np.testing.assert_allclose(bounds, whole.lower_bounds_, rtol=4 * np.finfo(float).eps)


@by_family
def test_warm_start_stops_where_one_fit_would(X, family):
    """The gain of its first iteration is over the last one of the fit before."""
    options = {"covariance_type": family, "random_state": 0, "tol": 1e-5, "init_params": "random_from_data"}
    whole = GaussianMixture(K, max_iter=500, **options).fit(X)
    assert whole.n_iter_ > 2
    model = GaussianMixture(K, warm_start=True, max_iter=whole.n_iter_ - 1, **options)
    with pytest.warns(ConvergenceWarning):
        model.fit(X)
    model.fit(X)
    assert (model.n_iter_, model.converged_) == (1, True)
    problems.assert_same_fit(model, whole)


def test_warm_start_goes_on_from_what_is_there(X):
    """From edited attributes, and from those of a copy; n_init counts for the first fit only."""
    model = GaussianMixture(K, warm_start=True, n_init=5, random_state=0, tol=0.0, max_iter=0).fit(X)
    moved = model.means_ + 0.5
    model.means_ = moved.copy()
    model.fit(X)
    np.testing.assert_array_equal(model.means_, moved)
    calls = []
    model.set_params(init_params=lambda *_: calls.append(1), n_init=3, max_iter=2)
    with problems.no_convergence_warning():
        model.fit(X)
    assert calls == []
    assert model.n_iter_ == 2


@pytest.mark.parametrize(
    ("options", "rows", "message"),
    [
        ({"n_components": 2}, ROWS, "3 components, but now there are 2. Set warm_start=False"),
        ({}, ROWS[:, [0, 1, 0]], "2 features, but now there are 3. Set warm_start=False"),
        ({"covariance_type": "diag"}, ROWS, "no mixture with covariance_type='diag'.*Set warm_start=False"),
    ],
)
def test_warm_start_from_another_model_is_refused(options, rows, message):
    model = GaussianMixture(K, warm_start=True, random_state=0).fit(ROWS).set_params(**options)
    with pytest.raises(ValueError, match=message):
        model.fit(rows)
