"""Passes over rows with gaps against the plain twin: statistics, densities, marginals, imputation."""

import numpy as np
import problems
import pytest
import reference_low_rank as low_rank
import reference_missing as twin
import reference_structures as structures
from gap_cases import by_family, by_structure, case, with_gaps
from hypothesis import given, settings
from hypothesis import strategies as st

import fastgmm
from fastgmm import engine
from fastgmm.engine import _gaps, gaps
from fastgmm.engine.gaps import GappedRows
from fastgmm.engine.rows import Rows
from fastgmm.sources import ArraySource, as_source


@by_structure
@pytest.mark.parametrize(("weighted", "about_means"), [(False, True), (True, False)])
def test_em_step_is_the_twins(name, weighted, about_means):
    mixture, dense, X = case(name)
    K, D = mixture.means.shape
    weights = np.random.default_rng(1).integers(0, 4, len(X)).astype(float) if weighted else None
    log_density, _, n, means, scatter = twin.e_step(mixture.weights, mixture.means, dense, X, weights)
    gapped, constants = GappedRows(Rows(X), weights), mixture.constants()
    stats = gapped.accumulate(constants)
    if about_means:
        stats = gapped.accumulate(constants.unpooled(), pivot=stats.means())
    total = len(X) if weights is None else weights.sum()
    expected = log_density.sum() if weights is None else weights @ log_density
    assert stats.log_likelihood == pytest.approx(expected, rel=1e-10)
    assert (stats.total_weight, stats.n_rows) == (total, len(X) if weights is None else (weights > 0).sum())
    np.testing.assert_allclose(stats.n, n, rtol=1e-10)
    np.testing.assert_allclose(stats.means(), means, rtol=1e-10, atol=1e-10)
    if stats.kind == "full":
        np.testing.assert_allclose(stats.within(), scatter, rtol=1e-10, atol=1e-10)
    ours = mixture.family.maximise(stats)
    mine = mixture.family.dense_covariances(ours.covariances, K, D)
    theirs = structures.m_step(name, scatter / n[:, None, None], n, np.linalg.eigh(mine[0])[1])
    # The twin's steps for common axes are short at the end: they stop before their tenth digit.
    tolerance = 1e-8 if name in ("EVE", "VVE") else 1e-10
    np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("about", ["means", "elsewhere"])
def test_pooled_scatter_is_that_of_the_components(dtype, about):
    """The rotated kind, whose scatter is completed as a whole, against the same mixture with a factor for each."""
    mixture, _, X = case("tied")
    shift = np.linspace(-1, 1, X.shape[1])
    constants = mixture.family.constants(mixture.parameters, dtype=np.dtype(dtype), shift=shift)
    assert constants.kind == "rotated"
    pivot = None if about == "means" else mixture.means + 0.5
    gapped = GappedRows(Rows(X.astype(dtype)), np.arange(len(X), dtype=float))
    for _ in range(2):  # the second time with what is kept
        pooled, each = (gapped.accumulate(form, pivot=pivot) for form in (constants, constants.unpooled()))
        tolerance = {"rtol": 1e-10, "atol": 1e-9} if dtype == np.float64 else {"rtol": 1e-4, "atol": 1e-2}
        assert (pooled.kind, each.kind) == ("rotated", "full")
        np.testing.assert_allclose(pooled.n, each.n, **tolerance)
        np.testing.assert_allclose(pooled.means(), each.means(), **tolerance)
        np.testing.assert_allclose(pooled.within(), each.within().sum(axis=0), **tolerance)
        constants = mixture.family.constants(mixture.parameters, dtype=np.dtype(dtype), shift=shift + 0.1)


def test_statistics_of_the_low_rank_kind_are_the_twins():
    model = low_rank.random_model(0, 5, 2, 2)
    X = with_gaps(low_rank.draw(model, 0, 100), 0.3, np.random.default_rng(0))
    factors, log_norms = low_rank.factors(model), low_rank.log_norms(model)
    constants = engine.KernelConstants("low_rank", model.means, factors, log_norms, np.zeros(5))
    dense = low_rank.covariances(model)
    log_density, resp, n, means, scatter = twin.e_step(model.weights, model.means, dense, X)
    stats, scores = GappedRows(Rows(X)).accumulate(constants), GappedRows(Rows(X)).score(constants, resp=True)
    assert (stats.kind, stats.log_likelihood) == ("low_rank", pytest.approx(log_density.sum(), rel=1e-10))
    np.testing.assert_allclose(scores.resp, resp, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(stats.n, n, rtol=1e-10)
    np.testing.assert_allclose(stats.means(), means, rtol=1e-10, atol=1e-10)
    step = means - model.means
    second = scatter + n[:, None, None] * step[:, :, None] * step[:, None, :]
    expected = np.concatenate([np.diagonal(second, axis1=1, axis2=2)[:, None], low_rank.axes(factors) @ second], axis=1)
    np.testing.assert_allclose(stats.S, expected, rtol=1e-10, atol=1e-10)


@by_structure
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_densities_are_the_twins(name, dtype):
    mixture, dense, X = case(name)
    X = X.astype(dtype)
    log_density, resp, *_ = twin.e_step(mixture.weights, mixture.means, dense, X)
    tolerance = {"rtol": 1e-10, "atol": 1e-10} if dtype == np.float64 else {"rtol": 2e-5, "atol": 2e-5}
    narrow = fastgmm.Mixture(
        *(a.astype(dtype) for a in mixture.parameters.arrays()[:3]), name, precisions_cholesky=None
    )
    assert narrow.score_samples(X, missing="em").dtype == dtype
    np.testing.assert_allclose(narrow.score_samples(X, missing="em"), log_density, **tolerance)
    np.testing.assert_allclose(narrow.predict_proba(X, missing="em"), resp, **tolerance)
    joint = np.array([twin.log_joint(mixture.weights, mixture.means, dense, x) for x in X.astype(float)])
    np.testing.assert_allclose(narrow.component_logpdf(X, missing="em"), joint, **tolerance)
    assert narrow.score(X, missing="em") == pytest.approx(
        log_density.mean(), rel=1e-4 if dtype == np.float32 else 1e-10
    )
    np.testing.assert_array_equal(
        mixture.predict(X, missing="em"), mixture.predict_proba(X, missing="em").argmax(axis=1)
    )


def test_labels_and_bic_of_rows_with_gaps():
    mixture, dense, X = case("VVV")
    log_density, resp, *_ = twin.e_step(mixture.weights, mixture.means, dense, X)
    bic = -2 * log_density.sum() + mixture.n_parameters * np.log(len(X))
    assert mixture.bic(X, missing="em") == pytest.approx(bic, rel=1e-12)
    assert mixture.icl(X, missing="em") == pytest.approx(bic - 2 * np.log(resp.max(axis=1)).sum(), rel=1e-12)


@by_structure
def test_float32_rows_keep_float32s_digits(name):
    mixture, dense, X = case(name)
    narrow = X.astype(np.float32)
    _, _, n, means, _ = twin.e_step(mixture.weights, mixture.means, dense, narrow)
    stats = GappedRows(Rows(narrow)).accumulate(mixture.family.constants(mixture.parameters, dtype=np.float32))
    np.testing.assert_allclose(stats.n, n, rtol=1e-5)
    np.testing.assert_allclose(stats.means(), means, rtol=1e-5, atol=1e-5)


@by_family
def test_n_threads_agnosticism(name, monkeypatch):
    mixture, _, X = case(name, n=3000, share=0.2)

    def passes(n_threads):
        gapped = GappedRows(Rows(X), n_threads=n_threads)
        return gapped.accumulate(mixture.constants()), gapped.score(mixture.constants(), log_density=True, labels=True)

    alone, scores = passes(1)
    monkeypatch.setattr(gaps, "SHARED_WORK", 0.0)
    for n_threads in (2, 3, 8):
        shared, again = passes(n_threads)
        assert shared.to_bytes() == alone.to_bytes()
        assert again.log_likelihood == scores.log_likelihood
        np.testing.assert_array_equal(again.log_density, scores.log_density)
        np.testing.assert_array_equal(again.labels, scores.labels)


def test_an_error_in_a_thread_surfaces(monkeypatch):
    mixture, _, X = case("VVV", n=2000, share=0.2)
    monkeypatch.setattr(gaps, "SHARED_WORK", 0.0)
    gapped = GappedRows(Rows(X), n_threads=2)
    monkeypatch.setattr(gaps.passes, "accumulate", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        gapped.accumulate(mixture.constants())


@by_structure
def test_without_gaps_a_fit_has_the_same_bits(name):
    _, _, X = case(name, share=0.0)
    for options in ({}, {"acceleration": "squarem"}, {"on_collapse": "floor"}):
        options |= {"covariance_type": name, "random_state": 0, "max_iter": 5}
        with problems.no_convergence_warning():
            assert fastgmm.fit(X, 2, missing="em", **options) == fastgmm.fit(X, 2, **options)
    assert type(as_source(Rows(X), None, n_threads=1, missing="em")) is ArraySource


def level(K, D):
    """Means and constants of a mixture, where they are no matter."""
    return np.zeros((K, D)), np.zeros(K)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.sampled_from([1.0, 1e3, 1e6]))
def test_marginals_and_regressions(seed, D, condition):
    """W_oo and B from the factor, against the same from Sigma = W^-1 W^-T with the digits its condition leaves."""
    rng = np.random.default_rng(seed)
    W = np.linalg.cholesky(structures.random("VVV", 2, D, rng, condition))
    scale = 10.0 ** rng.uniform(-100, 100, D)  # of the features: units of rows are no matter
    gap = rng.random(D) < 0.5
    o, m = np.flatnonzero(~gap), np.flatnonzero(gap)
    _, factor, _, B, C = _gaps.marginals(np.ascontiguousarray(W / scale), *level(2, D), o, m)
    sigma = np.linalg.inv(W) @ np.linalg.inv(W).transpose(0, 2, 1)
    oo, mo, mm = (sigma[(slice(None), *np.ix_(a, b))] for a, b in ((o, o), (m, o), (m, m)))
    own = factor * scale[o]
    np.testing.assert_allclose(own @ oo @ own.transpose(0, 2, 1), np.broadcast_to(np.eye(len(o)), oo.shape), atol=1e-7)
    assert (np.triu(factor, 1) == 0).all()
    assert (np.diagonal(factor, axis1=1, axis2=2) > 0).all()
    expected = np.linalg.solve(oo, mo.transpose(0, 2, 1)).transpose(0, 2, 1)
    unit = 1e-12 * condition * np.sqrt(condition)
    np.testing.assert_allclose(B / scale[m][:, None] * scale[o], expected, rtol=1e-6, atol=unit)
    np.testing.assert_allclose(
        C / scale[m][:, None] / scale[m], mm - expected @ mo.transpose(0, 2, 1), rtol=1e-6, atol=unit
    )


def test_marginal_keeps_the_digits_of_an_ill_conditioned_factor():
    """Sigma = [[1, r], [r, 1]] with 1 - r^2 = e^2: B = r and C = e^2 exactly, where Sigma itself has lost e^2."""
    e = 1e-9
    r = np.sqrt(1 - e**2)
    W = np.array([[[1.0, 0.0], [-r / e, 1 / e]]])
    *_, B, C = _gaps.marginals(W, *level(1, 2), np.array([0]), np.array([1]))
    np.testing.assert_allclose((B[0, 0, 0], C[0, 0, 0]), (r, e**2), rtol=1e-14)
    _, factor, _, B, C = _gaps.marginals(W, *level(1, 2), np.array([1]), np.array([0]))
    np.testing.assert_allclose((factor[0, 0, 0], B[0, 0, 0]), (1.0, r), rtol=1e-7)


def test_patterns_of_many_features():
    """More features than bits in a word."""
    rng = np.random.default_rng(0)
    X = np.repeat(rng.standard_normal((4, 150)), 3, axis=0)
    X[0:3, 149] = X[3:6, 1] = X[6:9, [1, 149]] = np.nan
    patterns = GappedRows(Rows(X)).patterns
    assert sorted(p.rows.tolist() for p in patterns) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert patterns[0].missing.size == 0
    for p in patterns:
        np.testing.assert_array_equal(np.isnan(X[p.rows]), np.isin(np.arange(150), p.missing)[None].repeat(3, axis=0))
        np.testing.assert_array_equal(p.values.array, X[p.rows][:, p.observed])


@pytest.mark.parametrize("dtype", ["float16", ">f8", "longdouble", "object"])
def test_layouts_and_types(dtype):
    mixture, _, X = case("VVV")
    X = X.astype(np.float16).astype(float)
    expected = mixture.score_samples(X, missing="em")
    np.testing.assert_array_equal(mixture.score_samples(X.astype(dtype), missing="em"), expected)
    np.testing.assert_array_equal(mixture.score_samples(np.asfortranarray(X), missing="em"), expected)
    np.testing.assert_array_equal(mixture.score_samples(X[::-1], missing="em"), expected[::-1])


@pytest.mark.parametrize("function", ["marginals", "independent_marginals"])
def test_columns_beyond_the_factor_are_refused(function):
    factors = np.ones((1, 3, 3)) if function == "marginals" else np.ones((1, 3))
    for columns, message in (
        (([0, 5], [1]), "expected columns below 3"),
        (([0], [1]), "expected 3 columns, got 1 observed and 1 missing"),
    ):
        with pytest.raises(ValueError, match=message):
            getattr(_gaps, function)(factors, *level(1, 3), *map(np.array, columns))


# ------------------------------------------------------------------------------------------------------ imputation


@by_structure
def test_imputed_values_are_the_expectation(name):
    mixture, dense, X = case(name)
    filled = mixture.impute(X)
    np.testing.assert_allclose(filled, twin.expectation(mixture.weights, mixture.means, dense, X), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(filled[~np.isnan(X)], X[~np.isnan(X)])
    assert mixture.impute(X.astype(np.float32)).dtype == np.float32


@by_structure
def test_draws_have_the_conditional_moments(name):
    mixture, dense, X = case(name, D=3, n=8)
    n_draws = 1000
    draws = mixture.impute(X, n_draws, random_state=0)
    assert draws.shape == (n_draws, *X.shape)
    for i, x in enumerate(X):
        joint = twin.log_joint(mixture.weights, mixture.means, dense, x)
        resp = np.exp(joint - joint.max()) / np.exp(joint - joint.max()).sum()
        rows, covariances = zip(
            *(twin.conditional(m, c, x) for m, c in zip(mixture.means, dense, strict=True)), strict=True
        )
        mean = resp @ rows
        second = sum(
            r * (C + np.outer(row - mean, row - mean)) for r, row, C in zip(resp, rows, covariances, strict=True)
        )
        error = np.sqrt(np.diagonal(second) / n_draws)
        assert (np.abs(draws[:, i].mean(axis=0) - mean) <= 5 * error + 1e-12).all()
        spread = (draws[:, i] - mean).T @ (draws[:, i] - mean) / n_draws
        fourth = (((draws[:, i] - mean)[:, :, None] * (draws[:, i] - mean)[:, None, :]) ** 2).mean(axis=0)
        assert (np.abs(spread - second) <= 5 * np.sqrt(fourth / n_draws) + 1e-12).all()
    np.testing.assert_array_equal(
        draws[:, ~np.isnan(X)], np.broadcast_to(X[~np.isnan(X)], (n_draws, (~np.isnan(X)).sum()))
    )


def test_draws_follow_the_seed_and_rows_without_gaps_are_copied():
    mixture, _, X = case("VVV")
    np.testing.assert_array_equal(mixture.impute(X, 2, 3), mixture.impute(X, 2, 3))
    assert not np.array_equal(mixture.impute(X, 1, 3), mixture.impute(X, 1, 4))
    whole = mixture.impute(X)
    for filled in (mixture.impute(whole), mixture.impute(whole, 2)[1]):
        np.testing.assert_array_equal(filled, whole)
        assert not np.shares_memory(filled, whole)
