"""Each family: parameter counts, M-step, constants, conversions, checks and draws."""

import numpy as np
import problems
import pytest
import reference
from sklearn.mixture import GaussianMixture

from fastgmm import IllDefinedCovarianceError, Mixture, covariance
from fastgmm.engine import accumulate_given

by_family = pytest.mark.parametrize("family", reference.FAMILIES)
SIZES = [(1, 1), (1, 5), (4, 1), (3, 4), (7, 9)]  # (K, D)
by_size = pytest.mark.parametrize(("K", "D"), SIZES)


def built(family, seed, K, D, **options):
    """The twin's model, and the same as the family's Parameters."""
    model = problems.model(family, seed, D, K, **options)
    factor = covariance.get(family).from_covariances(model.covariances, K, D)
    return model, covariance.Parameters(*model, factor)


def test_registry_knows_its_families():
    assert reference.FAMILIES == covariance.SKLEARN
    for name in covariance.SKLEARN:
        family = covariance.get(name)
        assert family.name == family.container == name
        assert family.summary
    with pytest.raises(ValueError, match=r"full.*tied.*diag.*spherical"):
        covariance.get("round")


@by_size
@by_family
def test_counts_and_shapes_are_those_of_scikit_learn(family, K, D):
    model, _ = built(family, 1, K, D)
    theirs = GaussianMixture(K, covariance_type=family)
    theirs.means_ = model.means
    ours = covariance.get(family)
    assert ours.n_parameters(K, D) + K * D + K - 1 == theirs._n_parameters()
    assert ours.covariance_shape(K, D) == model.covariances.shape
    assert Mixture(*model, covariance_type=family).n_parameters == theirs._n_parameters()


@by_size
@by_family
@pytest.mark.parametrize("reg_covar", [0.0, 0.5])
@pytest.mark.parametrize("pivots_away", [0.0, 10.0])
def test_maximise_matches_twin(family, K, D, reg_covar, pivots_away):
    """1e-12, although the moments are taken ten standard deviations away: a factor of 100 of cancellation."""
    X = problems.rows(2, 300, D, K)
    rng = np.random.default_rng(2)
    resp, weight = rng.dirichlet(np.ones(K), len(X)), rng.uniform(0.1, 2, len(X))
    kind, pivot = reference.FAMILY_KIND[family], np.tile(X.mean(axis=0) + pivots_away, (K, 1))
    stats = accumulate_given(X, kind, pivot, resp=resp, shift=X.mean(axis=0), sample_weight=weight)
    ours = covariance.get(family).maximise(stats, reg_covar=reg_covar)
    theirs = reference.maximise(family, X, resp, reg_covar=reg_covar, sample_weight=weight)
    problems.assert_close_parameters(family, ours, theirs, 1e-12)
    assert ours.covariances.shape == theirs.covariances.shape
    assert abs(ours.weights.sum() - 1) <= 4 * np.finfo(float).eps


@by_size
@by_family
def test_maximise_finds_the_maximum(family, K, D):
    """No perturbed parameters have a higher expected log-likelihood: an oracle that knows no M-step formula."""
    X = problems.rows(3, 200, D, K)
    resp = np.random.default_rng(3).dirichlet(np.ones(K), len(X))
    kind, pivot = reference.FAMILY_KIND[family], np.tile(X.mean(axis=0), (K, 1))
    stats = accumulate_given(X, kind, pivot, resp=resp, shift=X.mean(axis=0))
    best = covariance.get(family).maximise(stats)
    model = reference.Model(best.weights, best.means, best.covariances)

    def expected(candidate):
        return float((resp * reference.log_joint(reference.constants_of(family, candidate), X)).sum())

    top, rng = expected(model), np.random.default_rng(4)
    for size in (1e-3, 1e-2, 1e-1):
        weights = model.weights * np.exp(size * rng.standard_normal(K))
        factor = 1.0 + size * rng.standard_normal()
        for candidate in (
            model._replace(weights=weights / weights.sum()),
            model._replace(means=model.means + size * rng.standard_normal(model.means.shape)),
            model._replace(covariances=model.covariances * factor),
            model._replace(covariances=model.covariances + size * problems.model(family, 5, D, K).covariances),
        ):
            assert expected(candidate) <= top + 1e-10 * abs(top)


@by_size
@by_family
def test_constants_match_twin(family, K, D):
    model, params = built(family, 6, K, D)
    ours = covariance.get(family).constants(params)
    want = reference.constants_of(family, model)
    assert ours.kind == want.kind
    np.testing.assert_allclose(ours.log_norm, want.log_norm, rtol=1e-12, atol=1e-12)
    W, V = reference.dense_factors(ours), reference.dense_factors(want)
    np.testing.assert_allclose(np.swapaxes(W, 1, 2) @ W, np.swapaxes(V, 1, 2) @ V, rtol=1e-10, atol=1e-12)
    shift = np.arange(float(D))
    single = covariance.get(family).constants(params, dtype=np.float32, shift=shift)
    assert single.dtype == np.float32
    assert problems.same_bits(single.shift, shift)
    used = shift if family == "tied" else np.zeros(D)  # float64 rows are shifted only where that helps
    assert problems.same_bits(covariance.get(family).constants(params, shift=shift).shift, used)


@by_size
@by_family
def test_precisions_round_trip(family, K, D):
    """Condition 10, so 1e-12; scikit-learn's shapes, U upper triangular with Lambda = U U^T."""
    model, params = built(family, 7, K, D)
    ours, factor = covariance.get(family), params.precisions_cholesky
    want = reference.precisions_of(family, model.covariances, K, D)
    np.testing.assert_allclose(ours.precisions(factor), want, rtol=1e-12, atol=1e-12)
    back, again = ours.from_precisions(want, K, D)
    np.testing.assert_allclose(back, model.covariances, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(again, factor, rtol=1e-12, atol=1e-12)
    if family in ("full", "tied"):
        np.testing.assert_array_equal(factor, np.triu(factor))
        assert (np.diagonal(factor, axis1=-2, axis2=-1) > 0).all()
        np.testing.assert_allclose(factor @ np.swapaxes(factor, -1, -2), want, rtol=1e-12, atol=1e-12)
    dense = ours.dense_covariances(model.covariances, K, D)
    np.testing.assert_array_equal(dense, reference.dense_covariances(family, model.covariances, K, D))


@by_family
def test_factors_are_those_of_scikit_learn(family):
    X = problems.rows(8, 300, 4, 3)
    with problems.no_convergence_warning():
        theirs = GaussianMixture(3, covariance_type=family, random_state=0, max_iter=3).fit(X)
    ours = covariance.get(family).from_covariances(theirs.covariances_, 3, 4)
    np.testing.assert_allclose(ours, theirs.precisions_cholesky_, rtol=1e-10, atol=1e-12)


@by_family
def test_indefinite_covariances_name_their_component(family):
    ours = covariance.get(family)
    bad = problems.model(family, 9, 3, 4).covariances.copy()
    if family == "tied":
        bad[2, 2], expected = -1.0, None
    else:
        bad[(2, 1, 1)[: bad.ndim]], expected = -1.0, 2
    with pytest.raises(IllDefinedCovarianceError) as raised:
        ours.from_covariances(bad, 4, 3)
    assert raised.value.component == expected


@by_family
def test_collapsed_component_is_an_error_without_regularisation(family):
    """Component 1 holds one row. Its own covariance is zero, a shared one is not."""
    X = problems.rows(10, 40, 3, 2)
    labels = (np.arange(40) == 5).astype(np.int64)
    kind, shift = reference.FAMILY_KIND[family], X.mean(axis=0)
    stats = accumulate_given(X, kind, np.tile(shift, (2, 1)), labels=labels, shift=shift)
    ours = covariance.get(family)
    if family == "tied":
        assert np.isfinite(ours.maximise(stats).covariances).all()
        return
    with pytest.raises(IllDefinedCovarianceError) as raised:
        ours.maximise(stats)
    assert raised.value.component == 1
    assert np.isfinite(ours.maximise(stats, reg_covar=1e-6).precisions_cholesky).all()


@by_family
def test_empty_component_keeps_the_others_right(family):
    """A component without rows is given weight zero or nearly so, finite parameters, and disturbs nobody."""
    X = problems.rows(11, 200, 3, 2)
    labels = np.where(np.arange(200) % 2, 2, 0)
    kind, shift = reference.FAMILY_KIND[family], X.mean(axis=0)
    stats = accumulate_given(X, kind, np.tile(shift, (3, 1)), labels=labels, shift=shift)
    _, previous = built(family, 11, 3, 3)
    got = covariance.get(family).maximise(stats, reg_covar=1e-6, previous=previous)
    want = reference.maximise(family, X, np.eye(2)[labels // 2], reg_covar=1e-6)
    others = [0, 2]
    assert 0 <= got.weights[1] <= 1e-12
    assert np.isfinite(got.means).all()
    assert np.isfinite(got.covariances).all()
    kept = reference.Model(
        got.weights[others], got.means[others], got.covariances if family == "tied" else got.covariances[others]
    )
    problems.assert_close_parameters(family, kept, want, 1e-12)


@by_family
def test_draws_have_the_moments_of_their_component(family):
    """Promise 43: five Monte-Carlo standard deviations of the mean and of every covariance."""
    n, K, D = 40_000, 3, 4
    model, params = built(family, 12, K, D)
    dense = reference.dense_covariances(family, model.covariances, K, D)
    for k in range(K):
        X = covariance.get(family).draw(params, k, n, np.random.default_rng(k))
        assert X.shape == (n, D)
        variance = np.diagonal(dense[k])
        assert (np.abs(X.mean(axis=0) - model.means[k]) <= 5 * np.sqrt(variance / n)).all()
        spread = np.sqrt((np.outer(variance, variance) + dense[k] ** 2) / n)
        assert (np.abs(np.cov(X.T) - dense[k]) <= 5 * spread).all()


@by_family
def test_parameters_change_dtype(family):
    _, params = built(family, 13, 2, 3)
    single = params.astype(np.float32)
    for name in ("weights", "means", "covariances", "precisions_cholesky"):
        assert getattr(single, name).dtype == np.float32
        np.testing.assert_array_equal(getattr(single, name), getattr(params, name).astype(np.float32))
    assert (single.n_components, single.n_features) == (2, 3)
