"""Rows with gaps: passes against the plain twin, fits, densities, imputation, and what is refused."""

import warnings

import numpy as np
import pandas as pd
import problems
import pytest
import reference_low_rank as low_rank
import reference_missing as twin
import reference_structures as structures
from hypothesis import given, settings
from hypothesis import strategies as st

import fastgmm
from fastgmm import covariance, engine, fitting
from fastgmm.engine import _gaps, gaps
from fastgmm.engine.gaps import GappedRows
from fastgmm.engine.rows import Rows
from fastgmm.fitting.coordinates import SLACK
from fastgmm.selection import select
from fastgmm.selection.criteria import cross_validate
from fastgmm.sources import ArraySource, as_source

STRUCTURES, NAMES = covariance.names(), covariance.known()
by_structure = pytest.mark.parametrize("name", STRUCTURES)
by_family = pytest.mark.parametrize("name", covariance.SKLEARN)


def mixture_of(name, K, D, rng, apart=3.0):
    """A random mixture of a structure, and its dense covariances."""
    name = {"full": "VVV", "tied": "EEE", "diag": "VVI", "spherical": "VII"}.get(name, name)
    dense = structures.random(name, K, D, rng)
    weights = rng.dirichlet(np.full(K, 5.0))
    return fastgmm.Mixture(weights, apart * rng.standard_normal((K, D)), structures.pack(name, dense), name), dense


def with_gaps(X, share, rng):
    """X with a share of its values missing; of the third row everything."""
    holes = rng.random(X.shape) < share
    if share:
        holes[2] = True
    return np.where(holes, np.nan, X)


def case(name, *, K=3, D=5, n=100, share=0.3, seed=0):
    """A mixture, its dense covariances, and rows of it with gaps."""
    rng = np.random.default_rng((seed, NAMES.index(name)))
    mixture, dense = mixture_of(name, K, D, rng)
    return mixture, dense, with_gaps(mixture.sample(n, random_state=seed, shuffle=True)[0], share, rng)


def fitted(X, K, **options):
    """A fit whose warnings are no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastgmm.NothingObservedWarning)
        warnings.simplefilter("ignore", fastgmm.ConvergenceWarning)
        return fastgmm.fit(X, K, missing="em", **options)


# ------------------------------------------------------------------------------------------ one pass, one step of EM


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


# ---------------------------------------------------------------------------------------------------------- fits


@by_structure
@pytest.mark.parametrize("options", [{}, {"acceleration": "squarem", "on_collapse": "floor"}], ids=str)
def test_log_likelihood_never_falls(name, options):
    _, _, X = case(name, n=200)
    result = fitted(X, 3, covariance_type=name, random_state=0, tol=0.0, max_iter=30, reg_covar=0.0, **options)
    slack = SLACK if options.get("acceleration") else 64 * np.finfo(float).eps  # what trials are kept with
    assert np.diff(result.lower_bounds).min() >= -slack * abs(result.lower_bound)
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
    one = source._one[0]
    dense = source._one[1].dense_covariances(one.covariances, 1, D)[0]
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
    result = fitted(X, 32, means_init=centres, max_iter=2, random_state=0)
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


# ------------------------------------------------------------------------------------------------------- bad input


def test_gaps_are_errors_by_default():
    mixture, _, X = case("VVV")
    message = r"Input X contains NaN\. The first is in row \d+, column \d+ \(counted from 0\)\."
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


def test_rows_have_to_be_in_an_array(tmp_path):
    mixture, _, X = case("VVV")
    path = tmp_path / "rows.npy"
    np.save(path, X)
    source = ArraySource(Rows(X))
    message = "missing='em' needs the rows in an array and max_memory=None"
    for call, rows, options in (
        *((call, rows, {}) for call in (fastgmm.fit, mixture.score) for rows in (path, source)),
        (fastgmm.fit, X, {"max_memory": "1 GB"}),
    ):
        with pytest.raises(ValueError, match=message):
            call(rows, missing="em", **options)
    for rows, options in ((path, {}), (source, {}), (X, {"max_memory": "1 GB"})):
        with pytest.raises(ValueError, match=message):
            fastgmm.GaussianMixture(missing="em", **options).fit(rows)


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


@pytest.mark.parametrize("function", ["marginals", "independent_marginals"])
def test_columns_beyond_the_factor_are_refused(function):
    factors = np.ones((1, 3, 3)) if function == "marginals" else np.ones((1, 3))
    for columns, message in (
        (([0, 5], [1]), "expected columns below 3"),
        (([0], [1]), "expected 3 columns, got 1 observed and 1 missing"),
    ):
        with pytest.raises(ValueError, match=message):
            getattr(_gaps, function)(factors, *level(1, 3), *map(np.array, columns))


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
