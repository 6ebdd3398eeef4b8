"""The conjugate prior: M-steps against the twin, mclust and all that is feasible, and what fits with it promise."""

import re
from functools import cache
from pathlib import Path

import numpy as np
import problems
import pytest
import reference
import reference_prior
import reference_structures as twin
from mclust_sets import PRIOR

import fastgmm
from fastgmm import ConjugatePrior, GaussianMixture, covariance
from fastgmm.fitting import run
from fastgmm.selection import cross_validate
from fastgmm.sources import ArraySource

K, D, EPS = 3, 3, np.finfo(float).eps
by_structure = pytest.mark.parametrize("name", covariance.names())
STORED = dict(np.load(Path(__file__).parent / "mclust" / "prior.npz"))
CASES = sorted({tuple(key.split("/")[:2]) for key in STORED if key.endswith("/mstep")})


@pytest.fixture(scope="module")
def X():
    return problems.rows(31, 120, D, K)


def hyperparameters(name, shrinkage):
    """Some, with the scale that the structure takes."""
    scale = {"spherical": 0.7, "diag": np.array([0.5, 1.0, 2.0])}.get(twin.container(name))
    if scale is None:
        scale = problems.spd(np.random.default_rng(1), D, 5.0)
    return {"shrinkage": shrinkage, "mean": np.array([1.0, -1.0, 0.5]), "dof": 6.5, "scale": scale}


def m_step(name, X, resp, prior, **options):
    """Weights, means and dense covariances of one M-step."""
    family, source = covariance.get(name), ArraySource(X)
    resolved = covariance.prior_of(prior, family, resp.shape[1], source)
    pivot = np.tile(X.mean(axis=0), (resp.shape[1], 1))
    stats = source.accumulate_given(family.statistics_kind(), pivot, resp=resp)
    weights, means, covariances = family.estimate(stats, prior=resolved, **options)
    return weights, means, family.dense_covariances(covariances, *means.shape)


@by_structure
@pytest.mark.parametrize("shrinkage", [0.0, 3.0])
def test_m_step_beats_all_that_is_feasible(X, name, shrinkage):
    hyper, rng = hyperparameters(name, shrinkage), np.random.default_rng(5)
    resp = rng.dirichlet(np.ones(K), len(X))
    weights, means, dense = m_step(name, X, resp, ConjugatePrior(**hyper))
    np.testing.assert_allclose(weights, resp.mean(axis=0), rtol=1e-12)
    value = reference_prior.log_posterior(name, weights, means, dense, X, resp, **hyper)
    for size in np.repeat([1e-4, 1e-2, 0.3], 8):
        other = means + size * rng.standard_normal(means.shape) * (rng.random() < 0.5)
        changed = twin.perturbed(name, dense, [size], rng)[0]
        assert reference_prior.log_posterior(name, weights, other, changed, X, resp, **hyper) <= value + 1e-9


@by_structure
@pytest.mark.parametrize("shrinkage", [0.0, 3.0])
def test_log_density_is_the_twins_but_for_a_constant(X, name, shrinkage):
    hyper, family = hyperparameters(name, shrinkage), covariance.get(name)
    prior, differences = covariance.prior_of(ConjugatePrior(**hyper), family, K, ArraySource(X)), []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        dense, means = twin.random(name, K, D, rng), rng.standard_normal((K, D))
        params = family.complete(np.full(K, 1 / K), means, twin.pack(name, dense), mend=False)
        differences.append(prior.log_density(params, family) - reference_prior.log_prior(name, means, dense, **hyper))
    np.testing.assert_allclose(differences, differences[0], atol=1e-10)


# ----------------------------------------------------------------------------------------------- mclust


@cache
def case(dataset, name):
    """Rows, labels, and the prior that prior.R gives mclust."""
    X, labels = PRIOR[dataset]()
    features = X.shape[1]
    default = STORED[f"{dataset}/{name}/default"]
    if name in ("EEE", "VVV"):
        default = default.reshape(features, features)
        scale = 0.3 * default + 0.1 * np.diag(np.diag(default))
    else:
        scale = 0.7 * default.item()
    return X, labels, ConjugatePrior(shrinkage=0.5, mean=X.mean(axis=0) / 2, dof=features + 4, scale=scale)


def theirs(dataset, name, what, shape):
    """Means and diagonals or matrices of mclust."""
    n, features = shape
    values = STORED[f"{dataset}/{name}/{what}"]
    return values[: n * features].reshape(shape), values[n * features :].reshape(n, features, features)


@pytest.mark.parametrize(("dataset", "name"), CASES)
def test_m_step_is_mclusts(dataset, name):
    """But in EEI, whose means mclust 6.0.0 does not shrink, and in EII: its posterior density is lower there."""
    X, labels, prior = case(dataset, name)
    n = labels.max() + 1
    resp = 0.8 * np.eye(n)[labels] + 0.2 / n
    weights, means, dense = m_step(name, X, resp, prior)
    their_means, their_dense = theirs(dataset, name, "mstep", means.shape)
    sigma = np.sqrt(np.diagonal(their_dense, axis1=1, axis2=2))
    if name in ("EEI", "EII"):
        values = [
            reference_prior.log_posterior(name, weights, *each, X, resp, **vars(prior))
            for each in ((means, dense), (their_means, their_dense))
        ]
        assert values[0] > values[1] + 1e-6
        return
    assert (np.abs(means - their_means) / sigma).max() <= 1e-10
    assert (np.abs(dense - their_dense) / (sigma[:, :, None] * sigma[:, None, :])).max() <= 1e-10


@pytest.mark.parametrize(("dataset", "name"), [each for each in CASES if each[1] not in ("EEI", "EII")])
def test_em_ends_where_mclusts_does(dataset, name):
    X, labels, prior = case(dataset, name)
    options = {"init_params": labels, "reg_covar": 0.0, "tol": 1e-13, "max_iter": 20_000}
    result = fastgmm.fit(X, labels.max() + 1, covariance_type=name, prior=prior, **options)
    loglik = STORED[f"{dataset}/{name}/loglik"].item()
    np.testing.assert_allclose(len(X) * result.log_likelihood, loglik, rtol=1e-7)
    np.testing.assert_allclose(result.mixture.bic(X), -STORED[f"{dataset}/{name}/bic"].item(), rtol=1e-7)


@pytest.mark.parametrize(("dataset", "name"), CASES)
def test_default_scale_is_mclusts(dataset, name):
    """But for diagonal families, for which it has the mean of all variances."""
    X, labels, _ = case(dataset, name)
    scatter = covariance.prior_of("conjugate", covariance.get(name), labels.max() + 1, ArraySource(X)).scatter
    if name in ("EEI", "VVI"):
        scatter = scatter.mean()
    np.testing.assert_allclose(np.ravel(scatter), STORED[f"{dataset}/{name}/default"], rtol=1e-12)


# ----------------------------------------------------------------------------------------------- fits


@by_structure
@pytest.mark.parametrize("options", [{}, {"acceleration": "squarem"}, {"covariance_floor": 0.2}])
def test_log_posterior_never_falls(X, name, options):
    options = {"reg_covar": 0.0, "tol": 0.0, "max_iter": 60, "random_state": 0, **options}
    result = run(X, 5, covariance_type=name, prior=ConjugatePrior(shrinkage=1.0), **options)
    bounds = np.array(result.lower_bounds)
    assert np.diff(bounds).min() >= -1e-12 * np.abs(bounds).max()
    assert bounds[-1] > bounds[0] + 1e-3
    assert result.log_likelihood == result.mixture.score(X)
    prior = covariance.prior_of(ConjugatePrior(shrinkage=1.0), result.mixture.family, 5, ArraySource(X))
    expected = result.log_likelihood + prior.log_density(result.mixture.parameters, result.mixture.family) / len(X)
    np.testing.assert_allclose(result.lower_bound, expected, rtol=1e-14)


@by_structure
def test_held_means_are_not_shrunk(X, name):
    start = problems.start_from_rows("full", X, K)
    result = run(
        X,
        K,
        covariance_type=name,
        prior=ConjugatePrior(shrinkage=20.0),
        weights_init=start.weights,
        means_init=start.means,
        fixed={"means": [True, False, False]},
        reg_covar=0.0,
        tol=0.0,
        max_iter=30,
        random_state=0,
    )
    np.testing.assert_array_equal(result.mixture.means[0], start.means[0])
    assert np.diff(result.lower_bounds).min() >= -1e-12


@pytest.mark.parametrize("family", reference.FAMILIES)
def test_units_change_nothing_but_units(X, family):
    """Under the default scale; one variance for all features allows one unit for all."""
    s = 1e3 if family == "spherical" else np.array([1e-3, 1.0, 1e4])
    options = {"covariance_type": family, "prior": "conjugate", "reg_covar": 0.0, "tol": 0.0, "max_iter": 20}
    labels = np.arange(len(X)) % K
    one, other = (run(rows, K, init_params=labels, **options).mixture for rows in (X, X * s))
    units = s if family == "spherical" else s[:, None] * s
    mine, moved = (reference.dense_covariances(family, each.covariances, K, D) for each in (one, other))
    np.testing.assert_allclose(other.means, one.means * s, rtol=1e-9)
    np.testing.assert_allclose(moved, mine * units * (s if family == "spherical" else 1.0), rtol=1e-8)


@pytest.mark.parametrize("name", ["VVV", "VVI", "VII", "VEV", "EVV"])
def test_fits_survive_what_else_fails(name):
    """Two distinct rows and six components; a fit without a prior has nowhere to go."""
    X = np.repeat([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [2.0, 1.0, 0.0], [0.0, 3.0, 1.0]], 5, axis=0)
    with pytest.raises(fastgmm.IllDefinedCovarianceError):
        run(X, 6, covariance_type=name, reg_covar=0.0, random_state=0)
    mixture = run(X, 6, covariance_type=name, prior="conjugate", reg_covar=0.0, random_state=0).mixture
    assert np.isfinite(mixture.score_samples(X)).all()


@pytest.mark.parametrize("family", reference.FAMILIES)
def test_integer_weight_is_that_many_rows(X, family):
    weight = np.random.default_rng(0).integers(1, 4, len(X))
    options = {"covariance_type": family, "prior": "conjugate", "reg_covar": 0.0, "tol": 0.0, "max_iter": 15}
    start = problems.start_of(family, problems.start_from_rows(family, X, K))
    one = run(X, K, sample_weight=weight, **start, **options)
    other = run(np.repeat(X, weight, axis=0), K, **start, **options)
    problems.assert_close_parameters(family, one.mixture, other.mixture, 1e-9)
    np.testing.assert_allclose(one.lower_bounds, other.lower_bounds, rtol=1e-11)


@pytest.mark.parametrize("n_components", [1, 2])
def test_cross_validation_is_under_the_prior(X, n_components):
    prior = ConjugatePrior(shrinkage=50.0, mean=[3.0, 3.0, 3.0], dof=50.0)
    options = {"tol": 1e-9, "max_iter": 500, "random_state": 0}
    found = cross_validate(X, n_components, n_folds=3, prior=prior, **options)
    assert found.log_likelihood < cross_validate(X, n_components, n_folds=3, **options).log_likelihood - 10


def test_a_strong_prior_has_its_way(X):
    prior = ConjugatePrior(shrinkage=1e9, mean=[7.0, 7.0, 7.0], dof=1e9, scale=2e9)
    mixture = run(X, 2, prior=prior, random_state=0).mixture
    np.testing.assert_allclose(mixture.means, 7.0, atol=1e-5)
    np.testing.assert_allclose(mixture.covariances, np.tile(2 * np.eye(D), (2, 1, 1)), atol=1e-4)


def test_estimator_and_warm_start(X):
    settings = {"prior": ConjugatePrior(dof=9), "random_state": 0, "tol": 0.0, "warm_start": True}
    parts, whole = GaussianMixture(K, max_iter=4, **settings), GaussianMixture(K, max_iter=8, **settings)
    with problems.no_convergence_warning():
        parts.fit(X).fit(X)
        whole.fit(X)
    problems.assert_same_fit(parts, whole)
    assert whole.score(X) != whole.lower_bound_
    sklearn_base = pytest.importorskip("sklearn.base")
    assert sklearn_base.clone(whole).prior.dof == 9


def test_rows_elsewhere(X, tmp_path):
    np.save(tmp_path / "rows.npy", X)
    start = problems.start_of("full", problems.start_from_rows("full", X, K))
    options = {"prior": "conjugate", "max_iter": 5, "tol": 0.0, **start}
    problems.assert_same_parameters(run(tmp_path / "rows.npy", K, **options).mixture, run(X, K, **options).mixture)


BAD = [
    ("mfa:1", {}, "prior must be None for covariance_type='mfa:1': a prior of matrices is not one of their factors"),
    ("full", {"dof": 2.0}, "dof of the prior must be > 2 for 'full' and 3 features, got 2.0"),
    ("full", {"mean": [0.0]}, "mean of the prior must have the shape (3,), got (1,)"),
    ("full", {"scale": [1.0, 2.0]}, "scale of the prior must be a number or (3,) or (3, 3) for 'full' and 3 features"),
    ("full", {"scale": np.ones((3, 3))}, "scale of the prior must be positive definite"),
    ("full", {"scale": np.triu(np.ones((3, 3)))}, "scale of the prior must be positive definite"),
    ("diag", {"scale": np.eye(3)}, "scale of the prior must be a number or (3,) for 'diag'"),
    ("diag", {"scale": [1.0, 0.0, 1.0]}, "scale of the prior must be positive definite"),
    ("spherical", {"scale": [1.0, 1.0, 1.0]}, "scale of the prior must be a number for 'spherical'"),
]


@pytest.mark.parametrize(("family", "hyper", "message"), BAD)
def test_hyperparameters_that_are_impossible_for_the_family(X, family, hyper, message):
    with pytest.raises(fastgmm.InvalidParameterError) as caught:
        fastgmm.fit(X, K, covariance_type=family, prior=ConjugatePrior(**hyper))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"shrinkage": -1.0}, "shrinkage must be a finite number >= 0, got -1.0"),
        ({"shrinkage": np.nan}, "shrinkage must be a finite number >= 0, got nan"),
        ({"dof": 0}, "dof must be None or a finite number > 0, got 0"),
        ({"mean": [0.0, np.inf]}, "The parameter 'mean' should be finite, but it contains infinity."),
        ({"scale": "wide"}, "The parameter 'scale' should be an array of real numbers"),
    ],
)
def test_hyperparameters_that_are_always_impossible(hyper, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ConjugatePrior(**hyper)


def test_unknown_prior_is_refused(X):
    with pytest.raises(fastgmm.InvalidParameterError, match="prior must be None, 'conjugate' or a ConjugatePrior"):
        fastgmm.fit(X, K, prior="flat")
