"""Rows with gaps of which some belong to a known component: passes and fits against the plain twin."""

import numpy as np
import problems
import pytest
import reference_missing as twin
import reference_structures as structures
from gap_cases import by_family, by_structure, case, fitted

import fastgmm
from fastgmm.engine.gaps import GappedRows
from fastgmm.engine.rows import Rows
from fastgmm.fitting import run
from fastgmm.sources import MissingSource


def some_known(n, K=3, seed=0):
    """Components of n rows, two thirds of them not known; that of the third row, which holds nothing, is."""
    rng = np.random.default_rng(seed)
    known = np.where(rng.random(n) < 1 / 3, rng.integers(K, size=n), -1)
    known[2] = 1
    return known


@by_structure
@pytest.mark.parametrize("weighted", [False, True])
def test_em_step_is_the_twins(name, weighted):
    mixture, dense, X = case(name)
    X[5] = np.nan  # nothing observed, not even the component
    known = some_known(len(X))
    known[5] = -1
    K, D = mixture.means.shape
    weights = np.random.default_rng(1).integers(0, 4, len(X)).astype(float) if weighted else None
    log_density, resp, n, means, scatter = twin.e_step(mixture.weights, mixture.means, dense, X, weights, known)
    gapped, constants = GappedRows(Rows(X), weights), mixture.constants()
    stats = gapped.accumulate(constants, known_labels=known)
    stats = gapped.accumulate(constants.unpooled(), pivot=stats.means(), known_labels=known)
    expected = log_density.sum() if weights is None else weights @ log_density
    assert stats.log_likelihood == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(stats.n, n, rtol=1e-10)
    np.testing.assert_allclose(stats.means(), means, rtol=1e-10, atol=1e-10)
    mine = mixture.family.dense_covariances(mixture.family.maximise(stats).covariances, K, D)
    theirs = structures.m_step(name, scatter / n[:, None, None], n, np.linalg.eigh(mine[0])[1])
    tolerance = 1e-8 if name in ("EVE", "VVE") else 1e-10  # as without labels
    np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)
    scores = gapped.score(constants, log_density=True, resp=True, labels=True, joint=True, known_labels=known)
    assert scores.log_likelihood == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(scores.log_density, log_density, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(scores.resp, resp, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(scores.labels, resp.argmax(axis=1))
    np.testing.assert_allclose(scores.joint, mixture.component_logpdf(X, missing="em"), rtol=1e-12)


@pytest.mark.parametrize("name", ["VVV", "EEE"])
@pytest.mark.parametrize(
    "options", [{}, {"acceleration": "squarem"}, {"acceleration": "lbfgs"}, {"prior": "conjugate"}]
)
def test_log_likelihood_never_falls(name, options):
    _, _, X = case(name, n=200)
    known, weights = some_known(len(X)), np.random.default_rng(1).integers(0, 4, len(X))
    options = {"tol": 0.0, "max_iter": 30, "random_state": 0, "reg_covar": 0.0, **options}
    result = run(
        X, 3, covariance_type=name, missing="em", known_labels=known, sample_weight=weights, labels=True, **options
    )
    bounds = np.array(result.lower_bounds)
    assert np.diff(bounds).min() >= -1e-12 * np.abs(bounds).max()
    known_and_weighs = (known >= 0) & (weights > 0)
    np.testing.assert_array_equal(result.labels[known_and_weighs], known[known_and_weighs])
    found = result.mixture
    dense = found.family.dense_covariances(found.covariances, 3, X.shape[1])
    log_density, *_ = twin.e_step(found.weights, found.means, dense, X, None, known)
    assert result.log_likelihood == pytest.approx(np.average(log_density, weights=weights), rel=1e-10)


@by_family
def test_none_known_is_the_plain_fit(name):
    _, _, X = case(name, n=200)
    options = {"covariance_type": name, "random_state": 0, "max_iter": 5}
    assert fitted(X, 2, **options) == fitted(X, 2, known_labels=np.full(len(X), -1), **options)


@pytest.mark.parametrize("start", ["kmeans", "k-means++", "random", "random_from_data", "agglomerative"])
def test_components_are_those_that_were_named(start):
    """Three far clusters with gaps; rows of two are known, in another order than any start would find them in."""
    rng = np.random.default_rng(3)
    truth = rng.integers(3, size=300)
    X = 20.0 * truth[:, None] + rng.standard_normal((300, 3))
    X[np.arange(300), rng.integers(3, size=300)] = np.nan
    known = np.where((truth != 1) & (rng.random(300) < 0.1), np.array([2, -1, 0])[truth], -1)
    model = fastgmm.GaussianMixture(3, init_params=start, missing="em", random_state=0, max_iter=300)
    np.testing.assert_array_equal(model.fit_predict(X, known_labels=known), np.array([2, 1, 0])[truth])
    np.testing.assert_array_equal(model.predict(X), np.array([2, 1, 0])[truth])


def test_only_rows_of_which_nothing_is_known_are_reported():
    _, _, X = case("VVV", n=200)
    assert np.isnan(X[2]).all()
    X = X[~np.isnan(X).all(axis=1) | (np.arange(200) == 2)]
    known = some_known(len(X))
    source = MissingSource(GappedRows(Rows(X)), known_labels=known)
    assert (source.n_unobserved, MissingSource(GappedRows(Rows(X))).n_unobserved) == (0, 1)
    result = run(source, 3, random_state=0)
    assert result == run(X, 3, random_state=0, missing="em", known_labels=known)


def test_integer_weight_is_that_many_rows():
    _, _, X = case("VVV", n=150)
    known, weights = some_known(len(X)), np.random.default_rng(2).integers(0, 3, len(X))
    labels = np.arange(len(X)) % 3
    options = {"max_iter": 5, "tol": 0.0, "missing": "em"}
    one = run(X, 3, init_params=labels, sample_weight=weights, known_labels=known, **options)
    repeated = [np.repeat(each, weights, axis=0) for each in (X, labels, known)]
    other = run(repeated[0], 3, init_params=repeated[1], known_labels=repeated[2], **options)
    problems.assert_close_parameters("full", one.mixture, other.mixture, 1e-9)


@pytest.mark.parametrize("labels", [[0], np.full(100, 0.0), np.full(100, -2)])
def test_bad_labels_are_named(labels):
    _, _, X = case("VVV")
    with pytest.raises((ValueError, TypeError), match=r"^known_labels must"):
        fastgmm.fit(X, 3, missing="em", known_labels=labels)


# ------------------------------------------------------------------------------------------------------------ NEC


@pytest.mark.parametrize("name", ["VVV", "EEE", "EII"])
def test_nec_of_rows_with_gaps(name):
    mixture, dense, X = case(name, n=200)
    weights = np.random.default_rng(1).integers(0, 4, len(X)).astype(float)
    log_density, resp, *_ = twin.e_step(mixture.weights, mixture.means, dense, X)
    entropy = -weights @ (resp * np.log(np.maximum(resp, 1e-300))).sum(axis=1)
    options = {"covariance_type": name, "sample_weight": weights, "tol": 1e-12, "max_iter": 500, "reg_covar": 0.0}
    of_one = fitted(X, 1, **options).log_likelihood * weights.sum()
    found = mixture.criterion(X, "nec", weights, missing="em")
    assert found == pytest.approx(entropy / (weights @ log_density - of_one), rel=1e-6)


def test_select_by_nec_among_fits_of_rows_with_gaps():
    _, _, X = case("VVV", K=2, n=300)
    X = X[~np.isnan(X).all(axis=1)]
    found = fastgmm.select(X, [1, 2, 3], ["full"], "nec", missing="em", random_state=0, tol=1e-8)
    for each in found.candidates:
        assert each.value("nec") == pytest.approx(each.mixture.criterion(X, "nec", missing="em"), rel=1e-3)
