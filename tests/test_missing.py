"""Fits of rows with gaps: starts, policies, weights, estimators, model choice, and what is refused."""

import warnings

import numpy as np
import pandas as pd
import problems
import pytest
import reference_low_rank as low_rank
import reference_missing as twin
from gap_cases import by_family, by_structure, case, fitted, with_gaps

import fastgmm
from fastgmm import fitting
from fastgmm.engine.rows import Rows
from fastgmm.selection import select
from fastgmm.selection.criteria import cross_validate
from fastgmm.sources import as_source


@by_structure
@pytest.mark.parametrize("options", [{}, {"acceleration": "squarem", "on_collapse": "floor"}], ids=str)
def test_log_likelihood_never_falls(name, options):
    _, _, X = case(name, n=200)
    result = fitted(X, 3, covariance_type=name, random_state=0, tol=0.0, max_iter=30, reg_covar=0.0, **options)
    assert np.diff(result.lower_bounds).min() >= -64 * np.finfo(float).eps * abs(result.lower_bound)
    assert result.lower_bound == result.mixture.score(X, missing="em")


@by_family
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random_from_data"])
def test_every_start_leads_to_the_truth(name, init_params):
    truth = fastgmm.Mixture([0.4, 0.6], [[-4.0, 0.0, 1.0], [4.0, 1.0, 0.0]], [np.eye(3)] * 2)
    X = with_gaps(truth.sample(4000, random_state=0)[0], 0.2, np.random.default_rng(0))
    result = fitted(X, 2, covariance_type=name, init_params=init_params, random_state=0, tol=1e-7, max_iter=500)
    order = np.argsort(result.mixture.means[:, 0])
    np.testing.assert_allclose(result.mixture.means[order], truth.means, atol=0.12)
    np.testing.assert_allclose(result.mixture.weights[order], truth.weights, atol=0.03)


def test_starts_from_labels_responsibilities_and_functions():
    _, _, X = case("VVV", K=2, n=200)
    labels = np.arange(len(X)) % 2
    seen = []

    def function(X, n_components, random_state):
        seen.append(X)
        return labels

    options = {"max_iter": 3, "tol": 0.0}
    by_labels = fitted(X, 2, init_params=labels, **options)
    assert fitted(X, 2, init_params=function, **options) == by_labels
    by_resp = fitted(X, 2, init_params=np.eye(2)[labels], **options)
    problems.assert_close_parameters("full", by_resp.mixture.parameters, by_labels.mixture.parameters, 1e-10)
    assert np.isfinite(seen[0]).all()
    np.testing.assert_array_equal(seen[0][~np.isnan(X)], X[~np.isnan(X)])


def test_start_of_one_component_is_the_fit_itself():
    """One component's start is the Gaussian that fills the gaps of all starts; EM has next to nothing to add."""
    _, _, X = case("VVV", K=1, n=2000)
    start, end = fitted(X, 1, max_iter=0, reg_covar=0.0), fitted(X, 1, tol=1e-12, max_iter=500, reg_covar=0.0)
    assert 0 <= end.lower_bound - start.lower_bound < 1e-3
    _, _, _, means, scatter = twin.e_step(np.ones(1), end.mixture.means, end.mixture.covariances, X)
    np.testing.assert_allclose(end.mixture.means, means, atol=1e-5)
    np.testing.assert_allclose(end.mixture.covariances, scatter / len(X), atol=1e-4)


@pytest.mark.parametrize("kind", ["full", "diagonal", "spherical", "rotated"])
@pytest.mark.parametrize("what", ["labels", "resp", None])
@pytest.mark.parametrize("D", [4, 70])
def test_statistics_under_given_labels_are_completed(kind, what, D):
    """Each row adds its filled values, and to second moments the covariance that one Gaussian leaves it."""
    rng = np.random.default_rng(3)
    X = with_gaps(rng.standard_normal((120, D)), 0.3, rng)
    weights = rng.integers(0, 3, len(X)).astype(float)
    source = as_source(Rows(X), weights, n_threads=1, missing="em")
    K = 1 if what is None else 2
    resp = np.ones((len(X), 1)) if what is None else np.eye(2)[np.arange(len(X)) % 2]
    options = {"labels": {"labels": resp.argmax(axis=1)}, "resp": {"resp": resp}, None: {}}[what]
    stats = source.accumulate_given(kind, np.zeros((K, D)), **options)
    one, dense = source._one.parameters, source._one.dense()
    assert (np.count_nonzero(dense) > D) == (D == 4)
    second = np.zeros((K, D, D))
    for x, w, r in zip(X, weights, resp, strict=True):
        row, C = twin.conditional(one.means[0], dense, x)
        second += (w * r)[:, None, None] * (np.outer(row, row) + C)
    if kind == "rotated":
        step = source.moments()[0]
        filled = w_sum = 0
        for x, w in zip(X, weights, strict=True):
            filled, w_sum = filled + w * twin.conditional(one.means[0], dense, x)[0], w_sum + w
        second = second.sum(axis=0) - np.outer(filled, step) - np.outer(step, filled) + w_sum * np.outer(step, step)
    elif kind != "full":
        second = np.diagonal(second, axis1=1, axis2=2)
        second = second.sum(axis=1) if kind == "spherical" else second
    np.testing.assert_allclose(stats.S, second, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(stats.n, (weights[:, None] * resp).sum(axis=0))


@by_family
def test_integer_weights_are_repetitions_and_zero_is_removal(name):
    _, _, X = case(name, n=120)
    weights = np.random.default_rng(2).integers(0, 4, len(X))
    start = {"means_init": X[[10, 20, 30]], "covariance_type": name, "max_iter": 10, "tol": 0.0}
    start["means_init"] = np.nan_to_num(start["means_init"])
    labels = np.arange(len(X)) % 3
    weighted = fitted(X, 3, sample_weight=weights, init_params=labels, **start)
    repeated = fitted(np.repeat(X, weights, axis=0), 3, init_params=np.repeat(labels, weights), **start)
    problems.assert_close_parameters(name, weighted.mixture.parameters, repeated.mixture.parameters, 1e-9)
    removed = fitted(X[weights > 0], 3, sample_weight=weights[weights > 0], init_params=labels[weights > 0], **start)
    assert removed.mixture == weighted.mixture
    assert removed.lower_bound == weighted.lower_bound == weighted.mixture.score(X, weights, missing="em")


@pytest.mark.parametrize("policy", ["floor", "reseed", "drop"])
def test_policies_for_collapse(policy):
    rng = np.random.default_rng(5)
    X = with_gaps(np.concatenate([rng.normal(0, 1, (200, 3)), np.tile([5.0, 5.0, 5.0], (30, 1))]), 0.1, rng)
    result = fitted(X, 3, on_collapse=policy, random_state=0, reg_covar=0.0, max_iter=200)
    assert np.isfinite(result.lower_bound)
    assert result.collapses


def test_a_row_with_nothing_observed_follows_the_weights_and_is_reported():
    _, _, X = case("VVV", n=300)
    X = X[~np.isnan(X).all(axis=1)]
    more = np.concatenate([X, np.full((2, X.shape[1]), np.nan)])
    options = {"random_state": 0, "tol": 1e-12, "max_iter": 2000, "missing": "em", "reg_covar": 0.0}
    with pytest.warns(fastgmm.NothingObservedWarning, match=r"^2 row\(s\) of X hold nothing but gaps"):
        found = fastgmm.fit(more, 2, init_params=np.arange(len(more)) % 2, **options)
    without = fastgmm.fit(X, 2, init_params=np.arange(len(X)) % 2, **options)
    assert (found.n_unobserved, without.n_unobserved) == (2, 0)
    problems.assert_close_parameters("full", found.mixture.parameters, without.mixture.parameters, 1e-4)
    assert found.lower_bound * len(more) == pytest.approx(without.lower_bound * len(X), rel=1e-7)
    mixture = found.mixture
    np.testing.assert_allclose(mixture.predict_proba(more, missing="em")[-1], mixture.weights, rtol=1e-12)
    assert mixture.score_samples(more, missing="em")[-1] == 0
    assert mixture.predict(more, missing="em")[-1] == mixture.weights.argmax()
    np.testing.assert_allclose(mixture.impute(more)[-1], mixture.weights @ mixture.means, rtol=1e-12)
    with pytest.warns(fastgmm.NothingObservedWarning):
        fastgmm.GaussianMixture(2, missing="em").fit(more)


def test_features_that_do_not_vary_and_fewer_rows_than_features():
    rng = np.random.default_rng(7)
    X = with_gaps(np.column_stack([rng.standard_normal(50), np.full(50, 3.0), np.zeros(50)]), 0.2, rng)
    result = fitted(X, 2, random_state=0)
    np.testing.assert_allclose(result.mixture.means[:, 1:], [[3.0, 0.0]] * 2, atol=1e-6)
    few = with_gaps(rng.standard_normal((6, 10)), 0.2, rng)
    assert np.isfinite(fitted(few, 2, covariance_type="diag", random_state=0).lower_bound)
    assert np.isfinite(fitted(few, 1, random_state=0).lower_bound)


def test_many_separated_components_are_fitted_without_an_order_of_rows():
    """Where `arranged` sorts rows without gaps."""
    rng = np.random.default_rng(0)
    centres = 50 * rng.standard_normal((32, 4))
    X = np.repeat(centres, 1000, axis=0) + rng.standard_normal((32_000, 4))
    X[::7, 0] = np.nan
    start = {
        "weights_init": np.full(32, 1 / 32),
        "means_init": centres,
        "precisions_init": np.tile(np.eye(4), (32, 1, 1)),
    }
    result = fitted(X, 32, **start, max_iter=2, random_state=0)
    np.testing.assert_allclose(result.mixture.means, centres, atol=0.3)


@pytest.mark.parametrize("acceleration", fitting.ACCELERATIONS)
def test_accelerations_reach_the_same_optimum(acceleration):
    X = with_gaps(problems.rows(3, 500, 3, 2), 0.2, np.random.default_rng(3))
    options = {"random_state": 0, "tol": 1e-11, "max_iter": 5000, "reg_covar": 0.0}
    plain, fast = (fitted(X, 2, acceleration=each, **options) for each in (None, acceleration))
    assert fast.n_iter < plain.n_iter
    assert fast.lower_bound == pytest.approx(plain.lower_bound, abs=1e-7)


def test_a_prior_is_reckoned_with():
    _, _, X = case("VVV", K=1, n=200)
    options = {"prior": "conjugate", "reg_covar": 0.0, "tol": 1e-13, "max_iter": 2000}
    plain, with_prior = fitted(X, 1, **{**options, "prior": None}), fitted(X, 1, **options)
    assert with_prior.log_likelihood < plain.log_likelihood
    assert (np.diff(with_prior.lower_bounds) >= -64 * np.finfo(float).eps * abs(plain.lower_bound)).all()


@pytest.mark.parametrize("name", ["mfa:2", "mppca:2"])
def test_families_of_low_rank(name):
    """They start from gaps and end where one step of the twin's EM leaves the likelihood as it is."""
    model = low_rank.random_model(1, 6, 2, 2, strength=3.0)
    X = with_gaps(low_rank.draw(model, 1, 300), 0.15, np.random.default_rng(1))
    options = {
        "covariance_type": name,
        "random_state": 0,
        "n_init": 5,
        "tol": 1e-10,
        "max_iter": 5000,
        "reg_covar": 0.0,
    }
    result = fitted(X, 2, **options)
    mixture = result.mixture
    assert np.diff(result.lower_bounds).min() >= -64 * np.finfo(float).eps * abs(result.lower_bound)
    dense = mixture.family.dense_covariances(mixture.covariances, 2, 6)
    log_density, _, n, means, _ = twin.e_step(mixture.weights, mixture.means, dense, X)
    assert result.lower_bound == pytest.approx(log_density.mean(), rel=1e-10)
    np.testing.assert_allclose(mixture.weights, n / n.sum(), atol=1e-3)
    np.testing.assert_allclose(mixture.means, means, atol=1e-2)
    np.testing.assert_allclose(mixture.impute(X), twin.expectation(mixture.weights, mixture.means, dense, X), atol=1e-9)


def test_missing_values_of_pandas():
    _, _, X = case("VVV", n=40)
    frame = pd.DataFrame(X)
    nullable = frame.astype("Float64")
    assert nullable.to_numpy()[2, 0] is pd.NA
    expected = fitted(X, 1)
    assert fitted(frame, 1) == fitted(nullable, 1) == expected
    np.testing.assert_array_equal(expected.mixture.impute(nullable), expected.mixture.impute(X))
    with pytest.raises(ValueError, match="contains NaN"):
        fastgmm.fit(nullable)


def test_estimator():
    _, _, X = case("VVV", n=300)
    X = X[~np.isnan(X).all(axis=1)]
    model = fastgmm.GaussianMixture(2, missing="em", random_state=0).fit(X)
    mixture = model.to_mixture()
    assert mixture == fastgmm.fit(X, 2, missing="em", random_state=0).mixture
    np.testing.assert_array_equal(model.predict(X), mixture.predict(X, missing="em"))
    np.testing.assert_array_equal(model.predict_proba(X), mixture.predict_proba(X, missing="em"))
    np.testing.assert_array_equal(model.score_samples(X), mixture.score_samples(X, missing="em"))
    assert model.score(X) == model.lower_bound_
    assert model.bic(X) == mixture.bic(X, missing="em")
    assert model.aic(X) == mixture.aic(X, missing="em")
    np.testing.assert_array_equal(model.fit_predict(X), model.predict(X))
    np.testing.assert_array_equal(model.impute(X), mixture.impute(X))
    np.testing.assert_array_equal(model.impute(X, 2), mixture.impute(X, 2, random_state=0))
    assert not np.array_equal(model.impute(X, 2), model.impute(X, 2, random_state=1))


def test_warm_starts_have_the_bits_of_one_fit():
    _, _, X = case("VVV", n=300)
    X = X[~np.isnan(X).all(axis=1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastgmm.ConvergenceWarning)
        model = fastgmm.GaussianMixture(2, missing="em", random_state=0, max_iter=3, tol=0.0, warm_start=True).fit(X)
        again = model.set_params(max_iter=4).fit(X)
        whole = fastgmm.GaussianMixture(2, missing="em", random_state=0, max_iter=7, tol=0.0).fit(X)
    assert again.to_mixture() == whole.to_mixture()


# ------------------------------------------------------------------------------------------------------- bad input


def test_gaps_are_errors_by_default():
    mixture, _, X = case("VVV")
    message = r"Input X contains NaN\. The first is in row \d+, column \d+ \(counted from 0\)\."
    message += ' fastgmm.fit and GaussianMixture take gaps with missing="em"'
    for call in (fastgmm.fit, fastgmm.GaussianMixture().fit, mixture.predict, mixture.score_samples, mixture.score):
        with pytest.raises(ValueError, match=message):
            call(X)


def test_infinities_stay_errors():
    mixture, _, X = case("VVV")
    X[4, 1] = np.inf
    message = r"Input X contains infinity or a value too large for dtype\('float64'\)\. The first is in row 4, column 1"
    for call in (fastgmm.fit, mixture.predict, mixture.score):
        with pytest.raises(ValueError, match=message):
            call(X, missing="em")
    with pytest.raises(ValueError, match=message):
        mixture.impute(X)


def test_a_column_that_is_all_gaps():
    _, _, X = case("VVV")
    X[:, 3] = np.nan
    message = r"Input X holds nothing but gaps in column 3 \(counted from 0\)"
    with pytest.raises(ValueError, match=message):
        fastgmm.fit(X, missing="em")
    X[0] = 1.0  # but its weight is zero
    with pytest.raises(ValueError, match=message):
        fastgmm.fit(X, missing="em", sample_weight=np.arange(len(X)))
    with pytest.raises(ValueError, match=message):
        fastgmm.GaussianMixture(missing="em").fit(X, sample_weight=np.arange(len(X)))


def test_values_whose_squares_overflow():
    X = np.array([[1e200, 1.0], [-1e200, np.nan], [3e200, 2.0]])
    with pytest.raises(fastgmm.IllDefinedCovarianceError):
        fastgmm.fit(X, missing="em")


@pytest.mark.parametrize("missing", [None, "mean", 1, ["em"]])
def test_policy_is_checked(missing):
    mixture, _, X = case("VVV")
    message = "missing must be one of 'raise', 'em', got "
    for call in (fastgmm.fit, mixture.predict, mixture.score):
        with pytest.raises(fastgmm.InvalidParameterError, match=message):
            call(X, missing=missing)
    with pytest.raises(fastgmm.InvalidParameterError, match="The 'missing' parameter of GaussianMixture must be a str"):
        fastgmm.GaussianMixture(missing=missing).fit(X)


@pytest.mark.parametrize("draws", [0, 1.5, True, "2"])
def test_number_of_draws_is_checked(draws):
    mixture, _, X = case("VVV")
    with pytest.raises(fastgmm.InvalidParameterError, match="draws must be an int >= 1, got "):
        mixture.impute(X, draws)


# --------------------------------------------------------------------------------------------------- model choice


@pytest.mark.parametrize("criterion", ["bic", "icl", "cv"])
def test_select_chooses_among_fits_of_rows_with_gaps(criterion):
    truth = fastgmm.Mixture([0.4, 0.6], [[-4.0, 0.0, 1.0], [4.0, 1.0, 0.0]], [np.eye(3)] * 2)
    X = with_gaps(truth.sample(600, random_state=0)[0], 0.1, np.random.default_rng(0))
    weights = np.random.default_rng(1).integers(1, 3, len(X)).astype(float)
    options = {"missing": "em", "random_state": 0, "sample_weight": weights, "n_folds": 3}
    found = select(X, range(1, 4), ("diag", "tied"), criterion, **options)
    assert found.chosen.n_components == 2
    assert found.best.missing == "em"
    for each in found.candidates:
        for name in ("bic", "icl"):
            expected = each.mixture.criterion(X, name, weights, missing="em")
            assert each.value(name) == pytest.approx(expected, rel=1e-9)
        if not each.abandoned:
            single = fitted(
                X, each.n_components, covariance_type=each.covariance_type, random_state=0, sample_weight=weights
            )
            assert each.result.lower_bound > single.lower_bound - 1e-3
    with pytest.raises(ValueError, match="contains NaN"):
        select(X, [1])
    with pytest.raises(fastgmm.InvalidParameterError, match="missing must be"):
        select(X, [1], missing="mean")


@by_family
@pytest.mark.parametrize("K", [1, 2])
def test_cross_validation_of_rows_with_gaps(name, K):
    _, _, X = case(name, n=120)
    options = {"tol": 1e-10, "max_iter": 2000}
    start = fitted(X, K, covariance_type=name, random_state=0, **options).mixture
    found = cross_validate(X, K, covariance_type=name, n_folds=3, start=start, missing="em", random_state=0, **options)
    init = {"weights_init": start.weights, "means_init": start.means, "precisions_init": start.precisions}
    for fold in range(3):
        train, test = X[found.fold_of_row != fold], X[found.fold_of_row == fold]
        expected = fitted(train, K, covariance_type=name, **init, **options).mixture.score(test, missing="em")
        assert found.folds[fold] == pytest.approx(expected, rel=1e-5)
