"""Noise beside rows with gaps: against a plain twin, and what a mixture with it can do."""

import copy
import pickle

import gap_cases
import numpy as np
import pytest
import reference_missing as twin
from scipy.special import logsumexp

import fastgmm
from fastgmm import GaussianMixture, Mixture, Noise
from fastgmm.fitting import run
from fastgmm.sources import GappedBatchSource, as_source

D, K, VOLUME = 3, 2, 40.0**3


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    clusters = [rng.normal(centre, 1.0, (120, D)) for centre in (-4.0, 4.0)]
    rows = np.concatenate([*clusters, rng.uniform(-20, 20, (40, D))]) * [1.0, 5.0, 0.2]
    holes = rng.random(rows.shape) < 0.2
    holes[:2] = [[True] * D, [False] * D]  # a row with nothing, and one with all
    return np.where(holes, np.nan, rows)


def sides_of(noise, n_features=D):
    """The sides of a box of the noise's volume, in proportion to its scales."""
    scales = np.array(noise.scales)
    return scales * (np.exp(noise.log_volume) / scales.prod()) ** (1 / n_features)


def joint_of(weights, means, dense, noise, X):
    """Log pi_k p(x_o | k) of components and noise, (N, K + 1), row by row."""
    sides = sides_of(noise)
    own = np.array([twin.log_joint(weights, means, dense, x) for x in X]) + np.log1p(-noise.weight)
    uniform = [np.log(noise.weight) - np.log(sides[~np.isnan(x)]).sum() for x in X]
    return np.column_stack([own, uniform])


def em(X, weights, means, dense, noise, n_iter, w):
    """Steps of EM in plain NumPy, full covariances: parameters, share of the noise, mean log-likelihoods on the way."""
    share, bounds = noise.weight, []
    for _ in range(n_iter):
        joint = joint_of(weights, means, dense, Noise(share, noise.log_volume, noise.scales), X)
        log_density = logsumexp(joint, axis=1)
        bounds.append(w @ log_density / w.sum())
        resp = np.exp(joint - log_density[:, None])
        share = w @ resp[:, -1] / w.sum()
        n, new_means, new_dense = w @ resp[:, :-1], np.empty(means.shape), np.empty(dense.shape)
        for k in range(len(weights)):
            each = [twin.conditional(means[k], dense[k], x) for x in X]
            rows, r = np.array([row for row, _ in each]), w * resp[:, k]
            new_means[k] = r @ rows / n[k]
            offset = rows - new_means[k]
            spread = np.einsum("i,iab->ab", r, np.array([C for _, C in each]))
            new_dense[k] = ((r[:, None] * offset).T @ offset + spread) / n[k]
        weights, means, dense = n / n.sum(), new_means, new_dense
    return weights, means, dense, share, bounds


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.filterwarnings("ignore::fastgmm.ConvergenceWarning", "ignore::fastgmm.NothingObservedWarning")
def test_fits_follow_the_twin(X, weighted):
    w = np.random.default_rng(1).uniform(0.5, 2.0, len(X)) if weighted else np.ones(len(X))
    means = np.array([[-3.0, -15.0, -0.6], [3.0, 15.0, 0.6]])
    dense = np.array([np.diag([1.0, 25.0, 0.04])] * K)
    found = run(
        as_source(X, w, missing="em"),
        K,
        noise=VOLUME,
        reg_covar=0.0,
        tol=0.0,
        max_iter=6,
        weights_init=[0.5, 0.5],
        means_init=means,
        precisions_init=np.linalg.inv(dense),
    )
    scales = found.mixture.noise.scales
    weights, means, dense, share, bounds = em(
        X, np.full(K, 0.5), means, dense, Noise(0.05, np.log(VOLUME), scales), 6, w
    )
    np.testing.assert_allclose(found.mixture.weights, weights, rtol=1e-9)
    np.testing.assert_allclose(found.mixture.means, means, rtol=1e-9)
    np.testing.assert_allclose(found.mixture.covariances, dense, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found.mixture.noise.weight, share, rtol=1e-9)
    np.testing.assert_allclose(found.lower_bounds[:-1], bounds[1:], rtol=1e-11)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in (*gap_cases.STRUCTURES, "mfa:1", "mppca:1")),
        ("full", {"acceleration": "squarem"}),
        ("full", {"acceleration": "lbfgs"}),
        ("tied", {"covariance_floor": 0.01}),
        ("diag", {"equal_weights": True}),
    ],
)
def test_log_likelihood_never_falls_in_any_structure(X, name, options):
    rows = X[:, :1] if name in ("E", "V") else X
    options = {"noise": True, "reg_covar": 0.0, "tol": 0.0, "max_iter": 30, "random_state": 0, **options}
    found = gap_cases.fitted(rows, K, covariance_type=name, **options)
    bounds = np.array(found.lower_bounds)
    assert np.diff(bounds).min() >= -1e-12 * np.abs(bounds).max()
    assert found.lower_bound == pytest.approx(found.mixture.score(rows, missing="em"), rel=1e-13)
    assert 0 < found.mixture.noise.weight < 1


def test_densities_are_those_of_the_twin(X):
    rng = np.random.default_rng(3)
    for name in ("full", "tied", "diag", "spherical", "VEV"):
        mixture, dense = gap_cases.mixture_of(name, K, D, rng)
        noise = Noise(0.2, np.log(VOLUME), (1.0, 5.0, 0.2))
        noisy = Mixture(mixture.weights, mixture.means, mixture.covariances, mixture.covariance_type, noise=noise)
        joint = joint_of(mixture.weights, mixture.means, dense, noise, X)
        expected = logsumexp(joint, axis=1)
        np.testing.assert_allclose(noisy.score_samples(X, missing="em"), expected, rtol=1e-10, atol=1e-12)
        resp = np.exp(joint - expected[:, None])
        np.testing.assert_allclose(noisy.predict_proba(X, missing="em"), resp, rtol=1e-8, atol=1e-12)
        labels = np.append(np.arange(K), -1)[resp.argmax(axis=1)]
        np.testing.assert_array_equal(noisy.predict(X, missing="em"), labels)
    assert expected[0] == pytest.approx(0.0, abs=1e-12)  # nothing observed: density one, responsibilities the weights
    np.testing.assert_allclose(resp[0], [*(0.8 * mixture.weights), 0.2])


def test_units_of_features_do_not_matter(X):
    units = np.array([1024.0, 1.0, 1 / 64])
    one, other = (
        gap_cases.fitted(
            X * unit,
            K,
            noise=True,
            reg_covar=0.0,
            weights_init=[0.5, 0.5],
            means_init=np.array([[-4.0, -20.0, -0.8], [4.0, 20.0, 0.8]]) * unit,
            precisions_init=[np.diag(1 / (np.array([1.0, 5.0, 0.2]) * unit) ** 2)] * 2,
        )
        for unit in (np.ones(D), units)
    )
    assert other.mixture.noise.weight == pytest.approx(one.mixture.noise.weight, rel=1e-8)
    np.testing.assert_allclose(other.mixture.means, one.mixture.means * units, rtol=1e-7)
    sides = np.nanmax(X, axis=0) - np.nanmin(X, axis=0)
    assert one.mixture.noise.volume == pytest.approx(sides.prod(), rel=1e-12)


def test_known_rows_are_no_noise(X):
    known = np.full(len(X), -1)
    known[240:250] = 1
    source = as_source(X, known_labels=known, missing="em")
    found = run(source, K, noise=True, random_state=0)
    labels = source.score(found.mixture.constants(), labels=True).labels
    assert (labels[240:250] == 1).all()
    assert (labels[250:] == K).mean() > 0.5


def test_single_precision_agrees(X):
    found = gap_cases.fitted(X, K, noise=True, random_state=0).mixture
    single = found.score_samples(X.astype(np.float32), missing="em")
    np.testing.assert_allclose(single, found.score_samples(X, missing="em"), rtol=1e-4, atol=1e-4)


def test_outliers_are_found(X):
    labels = gap_cases.fitted(X, K, noise=True, random_state=0).mixture.predict(X, missing="em")
    distance = np.minimum(*(np.linalg.norm(X / [1.0, 5.0, 0.2] - centre, axis=1) for centre in (-4.0, 4.0)))
    assert (labels[distance > 8] == -1).all()  # of rows without gaps: others are NaN
    assert (labels[distance < 2] >= 0).all()


def test_files_and_batches_agree_with_the_array(X):
    options = {"noise": VOLUME, "tol": 1e-8, "init_params": "random", "means_init": [[-4, -20, -0.8], [4, 20, 0.8]]}
    options |= {"weights_init": [0.5, 0.5], "precisions_init": [np.diag([1.0, 0.04, 25.0])] * 2}
    whole = gap_cases.fitted(X, K, **options)
    parts = gap_cases.fitted(GappedBatchSource(lambda: iter(np.array_split(X, 5))), K, **options)
    np.testing.assert_allclose(parts.mixture.means, whole.mixture.means, rtol=1e-9)
    assert parts.mixture.noise.weight == pytest.approx(whole.mixture.noise.weight, rel=1e-9)
    np.testing.assert_allclose(parts.mixture.noise.scales, whole.mixture.noise.scales, rtol=1e-9)


def test_scales_go_along(X, tmp_path):
    with pytest.warns(fastgmm.NothingObservedWarning):
        model = GaussianMixture(K, noise=True, missing="em", random_state=0).fit(X)
    mixture = model.to_mixture()
    place = model.noise_scales_, model.noise_centre_, model.noise_axes_
    assert mixture.noise == Noise(model.noise_weight_, model.noise_log_volume_, *place)
    mixture.save(tmp_path / "model.npz")
    for again in (fastgmm.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(mixture))):
        assert again == mixture
        assert again.noise == mixture.noise
    other = copy.deepcopy(model)
    other.means_ = other.means_ + 1.0
    assert other.to_mixture().noise == mixture.noise
    np.testing.assert_array_equal(model.predict(X), mixture.predict(X, missing="em"))


def test_a_volume_has_sides_like_the_rows_of_the_fit(X):
    whole = X[~np.isnan(X).any(axis=1)]
    mixture = fastgmm.fit(whole, K, noise=VOLUME, random_state=0).mixture
    np.testing.assert_allclose(mixture.noise.scales, whole.std(axis=0), rtol=1e-12)
    dense = mixture.covariances
    joint = joint_of(mixture.weights, mixture.means, dense, mixture.noise, X)
    np.testing.assert_allclose(mixture.score_samples(X, missing="em"), logsumexp(joint, axis=1), rtol=1e-9, atol=1e-11)


def test_noise_without_scales_says_nothing_of_gaps(X):
    whole = X[~np.isnan(X).any(axis=1)]
    mixture = fastgmm.fit(np.column_stack([whole[:, :2], np.ones(len(whole))]), 1, noise=VOLUME).mixture
    assert mixture.noise.scales is None  # in a direction in which rows do not vary, no side is in proportion
    np.testing.assert_array_equal(mixture.predict(whole, missing="em"), mixture.predict(whole))
    with pytest.raises(ValueError, match="the noise of this mixture says nothing of rows with gaps"):
        mixture.predict(X, missing="em")
    for bad in ((1.0, 0.0, 1.0), (1.0, np.nan, 1.0), [[1.0]]):
        with pytest.raises(fastgmm.InvalidParameterError, match="scales of the noise must be finite numbers > 0"):
            Noise(0.1, 1.0, bad)
    with pytest.raises(ValueError, match="noise has 2 scales, but means have 3 features"):
        Mixture([1.0], np.zeros((1, 3)), [1.0], "spherical", noise=Noise(0.1, 1.0, (1.0, 2.0)))
    with pytest.raises(ValueError, match="the noise of this mixture says nothing of rows with gaps"):
        mixture.impute(X)
