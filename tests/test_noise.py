"""The noise component: against the twin and mclust, and what a mixture with it can do."""

import pickle

import numpy as np
import problems
import pytest
import reference
from mclust_sets import PRIOR
from scipy.special import xlogy

import fastgmm
from fastgmm import GaussianMixture, Mixture, Noise, covariance, engine
from fastgmm.engine import simd
from fastgmm.fitting import run
from fastgmm.fitting.quiet import quiet_rows
from fastgmm.plot import picture
from fastgmm.selection import bootstrap_parameters, merge_components, standard_errors
from fastgmm.sources import ArraySource, BatchSource

D, K = 2, 2
by_family = pytest.mark.parametrize("family", reference.FAMILIES)
# mclust 6.0.0: me() of Old Faithful with Vinv = 1 / hypvol: log-likelihood, share of noise, parameters.
MCLUST = {
    "EII": (-1302.26042458, 0.8884854782, 8),
    "VVI": (-1132.26968765, 0.1262143248, 11),
    "EEE": (-1138.13518132, 0.08905066626, 10),
    "VVV": (-1125.7512322, 0.09170640622, 13),
    "VEV": (-1132.98735484, 0.08023378594, 12),
}


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    clusters = [rng.normal(centre, 1.0, (150, D)) for centre in (-4.0, 4.0)]
    return np.concatenate([*clusters, rng.uniform(-20, 20, (40, D))])


def twin(family, X, start, noise, n_iter, weight=None):
    """EM with noise in plain NumPy: model, share of the noise, and the mean log-likelihoods on the way."""
    model, share, bounds = start, noise.weight, []
    weight = np.ones(len(X)) if weight is None else weight
    for _ in range(n_iter):
        joint = reference.log_joint(reference.constants_of(family, model), X) + np.log1p(-share)
        joint = np.column_stack([joint, np.full(len(X), np.log(share) - noise.log_volume)])
        bounds.append(weight @ reference.log_sum_exp(joint) / weight.sum())
        resp = reference.responsibilities(joint)
        share = weight @ resp[:, -1] / weight.sum()
        made = reference.maximise(family, X, resp[:, :-1], sample_weight=weight)
        model = made._replace(weights=made.weights / made.weights.sum())
    return model, share, bounds


@by_family
@pytest.mark.parametrize("weighted", [False, True])
def test_fits_follow_the_twin(X, family, weighted):
    weight = np.random.default_rng(1).integers(0, 4, len(X)).astype(float) if weighted else None
    start = problems.start_from_rows(family, X, K)
    result = problems.em(family, X, start, 8, noise=1600.0, sample_weight=weight)
    model, share, bounds = twin(family, X, start, Noise(0.05, np.log(1600.0)), 8, weight)
    problems.assert_close_parameters(family, result.mixture, model, 1e-9)
    assert abs(result.mixture.noise.weight - share) <= 1e-10
    np.testing.assert_allclose(result.lower_bounds[:-1], bounds[1:], rtol=1e-11)


@pytest.mark.parametrize("name", MCLUST)
def test_ends_where_mclust_does(name):
    X, labels = PRIOR["faithful"]()
    options = {"init_params": labels, "reg_covar": 0.0, "tol": 1e-14, "max_iter": 20_000}
    result = fastgmm.fit(X, 2, covariance_type=name, noise=True, **options)
    log_likelihood, share, n_parameters = MCLUST[name]
    np.testing.assert_allclose(len(X) * result.log_likelihood, log_likelihood, rtol=1e-10)
    np.testing.assert_allclose(result.mixture.noise.weight, share, atol=1e-6)
    assert result.mixture.n_parameters == n_parameters
    np.testing.assert_allclose(result.mixture.bic(X), -2 * log_likelihood + n_parameters * np.log(272), rtol=1e-9)


@pytest.mark.parametrize(("dataset", "volume"), [("faithful", 131.8688010035), ("iris", 27.2411996222705)])
def test_volume_is_mclusts(dataset, volume):
    X, _ = PRIOR[dataset]()
    mixture = fastgmm.fit(X, 1, noise=True).mixture
    np.testing.assert_allclose(mixture.noise.volume, volume, rtol=1e-12)
    doubled = fastgmm.fit(X, 1, noise=True, sample_weight=np.full(len(X), 2.0)).mixture
    np.testing.assert_allclose(doubled.noise.volume, volume, rtol=1e-12)


@pytest.mark.parametrize("name", [*covariance.names(), "mfa:1", "mppca:1"])
@pytest.mark.parametrize(
    "options", [{}, {"acceleration": "squarem"}, {"equal_weights": True}, {"covariance_floor": 0.01}]
)
def test_log_likelihood_never_falls_in_any_structure(X, name, options):
    options = {"reg_covar": 0.0, "tol": 0.0, "max_iter": 40, "random_state": 0, **options}
    result = run(X, K, covariance_type=name, noise=True, labels=True, **options)
    bounds = np.array(result.lower_bounds)
    assert np.diff(bounds).min() >= -1e-12 * np.abs(bounds).max()
    assert result.lower_bound == result.mixture.score(X)
    np.testing.assert_array_equal(result.labels, result.mixture.predict(X))
    assert 0 < result.mixture.noise.weight < 1


@by_family
def test_outliers_are_found(X, family):
    means = np.array([[-4.0, -4.0], [4.0, 4.0]])
    unit = reference.pack_covariances(family, np.tile(np.eye(D), (K, 1, 1)))
    labels = problems.em(family, X, reference.Model(np.full(K, 0.5), means, unit), 50, noise=True, labels=True).labels
    distance = np.minimum(*(np.linalg.norm(X - mean, axis=1) for mean in means))
    assert (labels[distance > 6] == -1).all()
    assert (labels[distance < 2] >= 0).all()


def outlying(seed):
    """Clusters with outliers around them, and the clusters alone."""
    rng = np.random.default_rng(seed)
    n_features, n_clusters, share = [(2, 3, 0.05), (2, 5, 0.1), (3, 4, 0.1), (2, 3, 0.2), (5, 3, 0.1)][seed]
    centres = rng.uniform(-10, 10, (n_clusters, n_features))
    shapes = rng.normal(size=(n_clusters, n_features, n_features)) * 0.6
    clusters = [
        rng.normal(size=(600 // n_clusters, n_features)) @ shape + centre
        for shape, centre in zip(shapes, centres, strict=True)
    ]
    outliers = rng.uniform(-40, 40, (int(600 * share), n_features))
    return np.concatenate([*clusters, outliers]), clusters


@pytest.mark.parametrize("seed", [1, 2, 4])  # of 3 k-means finds two clusters in one, without outliers too
@pytest.mark.parametrize("family", ["full", "diag"])
def test_one_start_finds_clusters_among_outliers(seed, family):
    rows, clusters = outlying(seed)
    n_clusters = len(clusters)
    settings = {"covariance_type": family, "noise": True, "tol": 1e-6, "max_iter": 1000}
    resp = np.repeat(np.eye(n_clusters), len(clusters[0]), axis=0)
    true = reference.maximise(family, np.concatenate(clusters), resp)
    best = run(rows, n_clusters, **problems.start_of(family, true), **settings).lower_bound
    for random_state in range(3):
        found = run(rows, n_clusters, random_state=random_state, **settings)
        assert found.lower_bound > best - 1e-3


@pytest.mark.parametrize("tree_features", [0, 10])
def test_rows_that_starts_leave_out(monkeypatch, tree_features):
    monkeypatch.setattr("fastgmm.fitting.quiet.TREE_FEATURES", tree_features)
    rows, noise, rng = outlying(3)[0], Noise(0.05, np.log(6400.0)), np.random.default_rng(0)
    scaled = rows / rows.std(axis=0)
    far = np.sort(np.linalg.norm(scaled[:, None] - scaled, axis=2), axis=1)[:, 5]
    density = 5 / (len(rows) * np.pi * far**2 * rows.std(axis=0).prod())
    share = 0.5
    for _ in range(len(rows)):
        share = min(share, np.mean(density < 2 * share / 6400))
    kept = density >= 2 * share / 6400
    assert 0.08 < share < 0.17
    assert kept[:600].mean() > 0.98
    np.testing.assert_array_equal(quiet_rows(ArraySource(rows), noise, K, rng).array, rows[kept])
    weighted = quiet_rows(ArraySource(rows, np.full(len(rows), 3.0)), noise, K, rng)
    np.testing.assert_array_equal(weighted.array, rows[kept])
    np.testing.assert_array_equal(weighted.weights(), np.full(kept.sum(), 3.0))
    known = np.full(len(rows), -1)
    known[np.flatnonzero(~kept)[-1]] = 1
    stays = quiet_rows(ArraySource(rows, known_labels=known), noise, K, rng)
    np.testing.assert_array_equal(stays.array, rows[kept | (known > 0)])
    np.testing.assert_array_equal(stays.known_labels, known[kept | (known > 0)])


@pytest.mark.parametrize("rows", [np.random.default_rng(0).normal(size=(300, D)), np.eye(3), np.zeros((50, D))])
def test_rows_without_noise_are_all_kept(rows):
    source = ArraySource(rows)
    assert quiet_rows(source, Noise(0.05, np.log(100.0)), K, np.random.default_rng(0)) is source


def test_starts_of_many_rows_are_made_of_a_sample():
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(9000, D)), rng.uniform(-20, 20, (1000, D))])
    quiet = quiet_rows(ArraySource(rows), Noise(0.05, np.log(1600.0)), K, rng)
    assert quiet.n_rows == pytest.approx(0.9 * 4096, rel=0.02)
    assert (np.abs(quiet.array).max(axis=1) > 5).mean() < 0.05  # a tenth of all rows are


def test_noise_with_prior_and_known_labels(X):
    known = np.where(np.arange(len(X)) < 10, 1, -1)
    mixture = run(X, K, noise=True, prior="conjugate", known_labels=known, random_state=0).mixture
    assert mixture.predict([[-4.0, -4.0], [4.0, 4.0], [19.0, -19.0]]).tolist() == [1, 0, -1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@by_family
def test_densities(X, family, dtype):
    mixture = run(X.astype(dtype), K, covariance_type=family, noise=True, random_state=0).mixture
    noise, rows = mixture.noise, X.astype(dtype)
    without = Mixture.from_parameters(covariance.Parameters(*mixture.parameters.arrays()), mixture.family)
    joint = without.component_logpdf(rows).astype(float) + np.log1p(-noise.weight)
    joint = np.column_stack([joint, np.full(len(X), np.log(noise.weight) - noise.log_volume)])
    tolerance = 1e-4 if dtype is np.float32 else 1e-10
    np.testing.assert_allclose(mixture.component_logpdf(rows), joint, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(mixture.score_samples(rows), reference.log_sum_exp(joint), rtol=tolerance)
    proba = mixture.predict_proba(rows)
    np.testing.assert_allclose(proba, reference.responsibilities(joint), atol=tolerance)
    expected = proba.argmax(axis=1)
    np.testing.assert_array_equal(mixture.predict(rows), np.where(expected == K, -1, expected))
    assert mixture.predict(np.full((1, D), 1e18, dtype)).tolist() == [-1]


def test_file_pickle_equality(X, tmp_path):
    mixture = run(X, K, noise=True, random_state=0).mixture
    mixture.save(tmp_path / "model.npz")
    again = fastgmm.load(tmp_path / "model.npz")
    assert again == mixture == pickle.loads(pickle.dumps(mixture))
    assert again.noise == mixture.noise
    assert mixture != Mixture.from_parameters(covariance.Parameters(*mixture.parameters.arrays()), "full")


def test_estimator(X):
    model = GaussianMixture(K, noise=True, random_state=0)
    labels = model.set_params(n_init=3).fit_predict(X)
    np.testing.assert_array_equal(labels, model.predict(X))
    labels = model.set_params(n_init=1).fit_predict(X)
    np.testing.assert_array_equal(labels, model.predict(X))
    assert -1 in labels
    assert model.predict_proba(X).shape == (len(X), K + 1)
    assert model.weights_.sum() == pytest.approx(1)
    place = model.noise_scales_, model.noise_centre_, model.noise_axes_
    assert model.to_mixture().noise == Noise(model.noise_weight_, model.noise_log_volume_, *place)
    again = pickle.loads(pickle.dumps(model))
    problems.assert_same_fit(again, model)
    assert again.score(X) == model.lower_bound_
    before = model.score_samples(X[-1:])
    model.noise_weight_ = model.noise_weight_ / 10
    assert model.score_samples(X[-1:]) < before
    with pytest.raises(ValueError, match="scikit-learn's estimator has no noise component, and no density like that"):
        model.set_params(noise=None).to_sklearn()
    model.fit(X)
    assert not hasattr(model, "noise_weight_")


def test_warm_start_goes_on(X):
    settings = {"noise": True, "random_state": 0, "tol": 0.0, "warm_start": True}
    parts, whole = GaussianMixture(K, max_iter=4, **settings), GaussianMixture(K, max_iter=8, **settings)
    with problems.no_convergence_warning():
        parts.fit(X).fit(X)
        whole.fit(X)
    problems.assert_same_fit(parts, whole)
    assert parts.noise_weight_ == whole.noise_weight_


def test_a_volume_for_rows_elsewhere(X, tmp_path):
    np.save(tmp_path / "rows.npy", X)
    start = problems.start_of("full", problems.start_from_rows("full", X, K))
    options = {"max_iter": 5, "tol": 0.0, "noise": 900.0, **start}
    there = run(BatchSource(tmp_path / "rows.npy"), K, **options).mixture
    assert there == run(X, K, **options).mixture
    np.testing.assert_array_equal(there.predict(tmp_path / "rows.npy"), there.predict(X))
    assert there.predict_proba(tmp_path / "rows.npy").shape == (len(X), K + 1)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_number_of_threads_changes_nothing(n_threads):
    rows = problems.rows(5, 30_000, 6, 4)
    options = {"max_iter": 2, "tol": 0.0, "init_params": np.arange(len(rows)) % 4, "noise": 1e5}
    assert run(rows, 4, n_threads=1, **options) == run(rows, 4, n_threads=n_threads, **options)


def test_what_noise_has_not_is_refused(X):
    mixture = run(X, K, noise=True, random_state=0).mixture
    with pytest.raises(ValueError, match="is not to be had of a mixture with a noise component"):
        standard_errors(X, mixture)


def test_merging_leaves_noise_aside(X):
    mixture = run(X, K, noise=True, random_state=0).mixture
    merging, resp = merge_components(X, mixture), mixture.predict_proba(X)
    united = np.column_stack([resp[:, :K].sum(axis=1), resp[:, K]])
    for n_clusters, parts in ((K, resp), (1, united)):
        np.testing.assert_allclose(merging.predict_proba(X, n_clusters), parts, atol=1e-12)
        assert merging.entropy[n_clusters - 1] == pytest.approx(-xlogy(parts, parts).sum(), rel=1e-9)
    np.testing.assert_array_equal(merging.predict(X, K), mixture.predict(X))
    np.testing.assert_array_equal(merging.predict(X, 1), np.where(united.argmax(axis=1) == 1, -1, 0))


@pytest.mark.parametrize("kind", ["weighted", "parametric"])
def test_bootstrap_keeps_the_volume_of_noise(X, kind):
    mixture = run(X, K, noise=True, random_state=0, reg_covar=0.0).mixture
    found = bootstrap_parameters(X, mixture, kind=kind, n_replicates=20, random_state=0)
    p = mixture.noise.weight
    binomial = np.sqrt(p * (1 - p) / len(X))
    assert binomial / 2 < found.standard_errors()["noise"] < 4 * binomial
    low, high = found.intervals(0.99)["noise"]
    assert low < p < high
    assert found.weights.shape == (20, K)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0)
    assert bootstrap_parameters(X, run(X, K, random_state=0).mixture, n_replicates=2, random_state=0).noise is None


def test_picture_shows_noise_in_grey(X):
    mixture = run(X, K, noise=True, random_state=0).mixture
    figure = picture(mixture, X)
    shown = {tuple(each.round(3)) for axis in figure.axes for c in axis.collections for each in c.get_facecolors()}
    assert any(np.allclose(each[:3], 0x9A / 255, atol=1e-2) for each in shown)


@pytest.mark.parametrize("level", simd.levels())
@pytest.mark.parametrize("kind", ["full", "diagonal", "spherical", "rotated"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform_density_at_every_level(level, kind, dtype):
    constants = problems.random_constants(kind, 3, 5, 3)
    rows = problems.rows_near(constants, 5, 77, dtype)
    joint = np.column_stack([reference.log_joint(constants, rows.astype(float)) + np.log(0.75), np.full(77, -7.0)])
    tolerance = 2e-4 if dtype is np.float32 else 1e-12
    with problems.at_level(level):
        ours = problems.kernel_constants(constants, dtype).with_uniform(np.log(0.75), -7.0)
        found = engine.score(rows, ours, resp=True, joint=True)
        stats = engine.accumulate(rows, ours)
    np.testing.assert_allclose(found.joint, joint, rtol=10 * tolerance)
    np.testing.assert_allclose(found.resp, reference.responsibilities(joint), atol=tolerance)
    np.testing.assert_allclose(stats.n, reference.responsibilities(joint).sum(axis=0), atol=77 * tolerance)
    np.testing.assert_array_equal(stats.without_last().means(), stats.means()[:3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": 0.0}, "noise must be None, True or a volume, a finite number > 0, got 0.0"),
        ({"noise": "yes"}, "noise must be None, True or a volume, a finite number > 0, got 'yes'"),
        (
            {"noise": 1.0, "fixed": {"weights": True}, "weights_init": [0.5, 0.5]},
            "noise and fixed['weights'] exclude each other: give one of them",
        ),
    ],
)
def test_bad_options_are_named(X, options, message):
    with pytest.raises(fastgmm.InvalidParameterError) as caught:
        run(X, K, **options)
    assert str(caught.value) == message


def test_impossible_noise_is_named(X):
    with pytest.raises(fastgmm.InvalidParameterError, match="they fill none: give it, noise=volume"):
        run(np.column_stack([X, np.ones(len(X))]), K, noise=True)
    with pytest.raises(fastgmm.InvalidParameterError, match=r"weight of the noise must be in \[0, 1\), got 1.0"):
        Noise(1.0, 0.0)
    with pytest.raises(fastgmm.InvalidParameterError, match="log_volume of the noise must be a finite number, got inf"):
        Noise(0.5, np.inf)
    with pytest.raises(fastgmm.InvalidParameterError, match=r"noise must be None or a fastgmm\.Noise, got 0\.1"):
        Mixture([1.0], [[0.0]], [1.0], "spherical", noise=0.1)
