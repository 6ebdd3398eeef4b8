"""What is made with noise: draws, gaps that are filled, scorers, and files that say where its box is."""

import itertools
import json
import pickle
import zipfile

import numpy as np
import pytest
import reference_missing as twin
from gap_cases import fitted, mixture_of, with_gaps
from problems import at_level
from scipy.special import logsumexp

import fastgmm
from fastgmm import GaussianMixture, Mixture, Noise, covariance
from fastgmm.engine import simd
from fastgmm.io import model_file

D, K = 3, 2
TURN = np.array([[2.0, 2.0, 1.0], [-2.0, 1.0, 2.0], [1.0, -2.0, 2.0]]).T / 3
SIDES, CENTRE = np.array([40.0, 10.0, 90.0]), np.array([1.0, -2.0, 100.0])


def boxed(share, axes=None):
    """Noise in a box of known place."""
    return Noise(share, np.log(SIDES).sum(), SIDES / 7, CENTRE, axes)


def noisy(name, noise, seed=0):
    """A mixture of a structure with noise, and its dense covariances."""
    mixture, dense = mixture_of(name, K, D, np.random.default_rng(seed))
    return Mixture.from_parameters(covariance.Parameters(*mixture.parameters.arrays(), noise), mixture.family), dense


def test_the_box_is_that_of_the_rows():
    rng = np.random.default_rng(0)
    inside = rng.uniform(-0.5, 0.5, (4000, D)) * SIDES
    for axes in (np.eye(D), TURN):
        rows = inside @ axes.T + CENTRE
        noise = fastgmm.fit(rows, 1, noise=True).mixture.noise
        assert (noise.axes is None) == (axes is not TURN)
        found = np.eye(D) if noise.axes is None else np.array(noise.axes)
        offsets = (rows - noise.centre) @ found
        np.testing.assert_allclose(offsets.max(axis=0), -offsets.min(axis=0), rtol=1e-10)
        np.testing.assert_allclose(np.ptp(offsets, axis=0), noise.scales, rtol=1e-10)
        assert noise.log_volume == pytest.approx(np.log(noise.scales).sum(), rel=1e-14)
        np.testing.assert_allclose(np.sort(noise.scales), np.sort(SIDES), rtol=0.1)
        np.testing.assert_allclose(noise.centre, CENTRE, atol=2)


@pytest.mark.parametrize("axes", [None, TURN])
def test_draws_of_noise_fill_the_box(axes):
    mixture, n = noisy("VVV", boxed(0.75, axes))[0], 20_000
    X, y = mixture.sample(n, random_state=0)
    assert X.shape == (n, D)
    assert y.tolist() == sorted(y.tolist(), key=lambda label: (label < 0, label))
    share = (y == -1).mean()
    assert abs(share - 0.75) < 5 * np.sqrt(0.75 * 0.25 / n)
    inside = (X[y == -1] - CENTRE) @ (np.eye(D) if axes is None else axes) / SIDES
    assert np.abs(inside).max() <= 0.5 + 1e-12
    for power, moment in ((1, 0.0), (2, 1 / 12), (4, 1 / 80)):  # of a uniform density on [-1/2, 1/2]
        spread = np.sqrt(1 / (2 * power + 1)) * 0.5**power / np.sqrt(len(inside))
        assert np.abs((inside**power).mean(axis=0) - moment).max() < 5 * spread
    assert np.abs(np.corrcoef(inside.T) - np.eye(D)).max() < 0.05
    np.testing.assert_allclose((y == 0).mean() / (1 - share), mixture.weights[0], atol=0.04)
    again = mixture.sample(n, random_state=0, shuffle=True)
    np.testing.assert_array_equal(np.sort(again[0], axis=0), np.sort(X, axis=0))
    assert sorted(again[1]) == sorted(y)


def test_draws_without_noise_stay_what_they_were():
    mixture, _ = mixture_of("VVV", K, D, np.random.default_rng(0))
    rng = np.random.default_rng(5)
    counts = rng.multinomial(50, mixture.weights / mixture.weights.sum())
    X = np.concatenate([mixture.family.draw(mixture.parameters, k, int(n), rng) for k, n in enumerate(counts)])
    np.testing.assert_array_equal(mixture.sample(50, random_state=np.random.default_rng(5))[0], X)


def filled_by(weights, means, dense, noise, x, sides=SIDES):
    """Shares (K + 1,) of a row by what was observed, and the expectation of all its features under each, in NumPy."""
    seen = ~np.isnan(x)
    joint = np.append(twin.log_joint(weights, means, dense, x) + np.log1p(-noise.weight), np.log(noise.weight))
    joint[-1] -= np.log(sides[seen]).sum()
    expected = [twin.conditional(means[k], dense[k], x)[0] for k in range(len(weights))]
    return np.exp(joint - logsumexp(joint)), np.array([*expected, np.where(seen, x, CENTRE)])


@pytest.mark.parametrize("name", ["VVV", "tied", "diag", "spherical", "VEV"])
def test_gaps_get_their_expectation(name):
    noise = boxed(0.3)
    mixture, dense = noisy(name, noise)
    X = with_gaps(mixture.sample(80, random_state=1, shuffle=True)[0], 0.3, np.random.default_rng(2))
    rows = [filled_by(mixture.weights, mixture.means, dense, noise, x) for x in X]
    filled = mixture.impute(X)
    np.testing.assert_allclose(filled, [shares @ means for shares, means in rows], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(filled[~np.isnan(X)], X[~np.isnan(X)])
    assert max(shares[-1] for shares, _ in rows) > 0.9 > 0.1 > min(shares[-1] for shares, _ in rows)
    np.testing.assert_allclose(filled[2], [*(0.7 * mixture.weights), 0.3] @ np.vstack([mixture.means, CENTRE]))


def test_draws_of_gaps_vary_as_the_mixture_does():
    noise = boxed(0.3)
    mixture, dense = noisy("VVV", noise)
    for x in (mixture.means[0], CENTRE + 4.0, [np.nan] * D, mixture.means.mean(axis=0) + 1):
        x = np.array([x[0], np.nan, np.nan])
        shares, means = filled_by(mixture.weights, mixture.means, dense, noise, x)
        draws = mixture.impute(np.tile(x, (400, 1)), draws=50, random_state=0).reshape(-1, D)
        n, missing = len(draws), np.isnan(x)
        conditional = [twin.conditional(mixture.means[k], dense[k], x)[1] for k in range(K)]
        variances = np.array([*(np.diagonal(each) for each in conditional), np.where(missing, SIDES**2 / 12, 0.0)])
        mean = shares @ means
        variance = shares @ (variances + (means - mean) ** 2)
        np.testing.assert_array_less(np.abs(draws.mean(axis=0) - mean)[missing], 5 * np.sqrt(variance / n)[missing])
        np.testing.assert_allclose(draws.var(axis=0)[missing], variance[missing], rtol=0.1)
        assert (draws[:, ~missing] == x[~missing]).all()
    only = noisy("VVV", boxed(1 - 1e-9))[0].impute([[np.nan] * D], draws=2000, random_state=0)[:, 0]
    assert (np.abs(only - CENTRE) <= SIDES / 2).all()
    np.testing.assert_allclose(only.var(axis=0), SIDES**2 / 12, rtol=0.15)


def test_fits_of_rows_with_gaps_know_their_box():
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(150, D)), rng.uniform(-15, 25, (60, D))])
    X = with_gaps(rows, 0.2, rng)
    mixture = fitted(X, 1, noise=True).mixture
    low, high = np.nanmin(X, axis=0), np.nanmax(X, axis=0)
    np.testing.assert_allclose(mixture.noise.centre, (low + high) / 2, rtol=1e-12)
    filled = mixture.impute(X)
    assert np.isfinite(filled).all()
    labels = mixture.sample(500, random_state=0)[1]
    assert 0.1 < (labels == -1).mean() < 0.5
    of_volume = fitted(X, 1, noise=1e5).mixture
    assert of_volume.noise.centre is None
    np.testing.assert_array_equal(of_volume.impute(rows), rows)
    for use in (of_volume.sample, lambda: of_volume.impute(X)):
        with pytest.raises(ValueError, match="need to know where its noise is, but its volume alone is known"):
            use()


def test_a_box_along_the_features_knows_of_gaps():
    noise, x = boxed(0.3), np.array([[1.0, np.nan, 2.0]])
    mixture, dense = noisy("VVV", noise)
    shares, _ = filled_by(mixture.weights, mixture.means, dense, noise, x[0])
    np.testing.assert_allclose(mixture.predict_proba(x, missing="em")[0], shares, rtol=1e-10)


def test_a_turned_box_stands_for_one_along_the_features():
    """Of its volume and centre, with sides in proportion to the deviations of what is uniform in it."""
    noise = boxed(0.3, TURN)
    mixture, dense = noisy("VVV", noise)
    deviations = np.sqrt(np.diagonal(TURN @ np.diag(SIDES**2 / 12) @ TURN.T))
    sides = deviations * (SIDES.prod() / deviations.prod()) ** (1 / D)
    np.testing.assert_allclose(np.exp(noise.log_sides()), sides, rtol=1e-12)
    standing = Noise(0.3, noise.log_volume, sides, CENTRE)
    other = Mixture(mixture.weights, mixture.means, mixture.covariances, noise=standing)
    X = with_gaps(mixture.sample(60, random_state=1, shuffle=True)[0], 0.3, np.random.default_rng(2))
    np.testing.assert_allclose(mixture.score_samples(X, missing="em"), other.score_samples(X, missing="em"), rtol=1e-12)
    np.testing.assert_allclose(mixture.impute(X), other.impute(X), rtol=1e-12)
    shares, means = filled_by(mixture.weights, mixture.means, dense, noise, X[2], sides)
    np.testing.assert_allclose(mixture.predict_proba(X, missing="em")[2], shares, rtol=1e-9)
    np.testing.assert_allclose(mixture.impute(X)[2], shares @ means, rtol=1e-9)
    one = mixture.impute(X, draws=2, random_state=0)
    np.testing.assert_allclose(one, other.impute(X, draws=2, random_state=0), rtol=1e-9)
    shifted, scale = np.full(D, 3.0), 1024.0  # units of all features
    moved = Noise(0.3, noise.log_volume + D * np.log(scale), SIDES * scale, CENTRE * scale + shifted, TURN)
    np.testing.assert_allclose(np.exp(moved.log_sides()), sides * scale, rtol=1e-12)


def test_latent_coordinates_leave_noise_aside():
    """Of rows that are noise, too: they have those in the most probable component that has directions."""
    rng = np.random.default_rng(0)
    loadings = np.concatenate([rng.uniform(0.5, 1.0, (K, 1, D)), rng.normal(size=(K, 2, D))], axis=1)
    plain = Mixture([0.4, 0.6], rng.normal(size=(K, D)) * 3, loadings, "mfa:2")
    mixture = Mixture.from_parameters(covariance.Parameters(*plain.parameters.arrays(), boxed(0.4)), plain.family)
    X = mixture.sample(200, random_state=0)[0]
    assert 50 < (mixture.predict(X) == -1).sum() < 150
    psi, L = loadings[:, 0], loadings[:, 1:].transpose(0, 2, 1)  # x = mean + L f + e
    expected = np.empty((len(X), 2))
    for i, x in enumerate(X):
        k = twin.log_joint(plain.weights, plain.means, [np.diag(p) + A @ A.T for p, A in zip(psi, L, strict=True)], x)
        k = int(np.argmax(k))
        inverse = np.linalg.inv(np.eye(2) + (L[k].T / psi[k]) @ L[k])
        expected[i] = inverse @ (L[k].T / psi[k]) @ (x - plain.means[k])
    np.testing.assert_allclose(mixture.transform(X), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(mixture.transform(X), plain.transform(X))
    model = GaussianMixture(1, covariance_type="mppca:1", noise=True, random_state=0).fit(X)
    np.testing.assert_array_equal(model.transform(X), model.to_mixture().transform(X))
    with pytest.raises(ValueError, match="X has 2 features, but Mixture is expecting 3 features as input"):
        mixture.transform(X[:, :2])


def test_a_turned_box_stays_where_gaps_come():
    went_on = GaussianMixture(K, noise=True, missing="em", warm_start=True, random_state=0, max_iter=300)
    rows = np.random.default_rng(0).normal(size=(200, D)) * [9.0, 3.0, 1.0] @ TURN.T
    assert went_on.fit(rows).noise_axes_ is not None
    before = went_on.noise_log_volume_
    rows[:20, 1] = np.nan
    went_on.fit(rows)
    assert went_on.noise_axes_ is not None
    assert went_on.noise_log_volume_ == before
    bounds = np.array(went_on.lower_bounds_)
    assert np.diff(bounds).min() >= -1e-12 * np.abs(bounds).max()
    assert went_on.lower_bound_ == pytest.approx(went_on.score(rows), rel=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("level", simd.levels())
def test_scorers_score_as_the_mixture_does(level, dtype):
    close = 1e-13 if dtype == "float64" else 5e-5
    for name, far in itertools.product(["VVV", "tied", "diag", "spherical", "mfa:1"], (None, 1e18, 1e37)):
        mixture = noisy("VVV" if "mfa" in name else name, boxed(0.4))[0]
        if "mfa" in name:
            loadings = np.concatenate([np.ones((K, 1, D)), np.full((K, 1, D), 0.5)], axis=1)
            mixture = Mixture(mixture.weights, mixture.means, loadings, name, noise=mixture.noise)
        X = mixture.sample(60, random_state=0, shuffle=True)[0].astype(dtype)
        if far is not None:
            X[::2] = far
        with at_level(level):
            scorer = mixture.scorer(dtype)
            assert scorer.n_components == K + 1
            log_density, resp = np.empty(len(X), dtype), np.empty((len(X), K + 1), dtype)
            labels = np.empty(len(X), np.int64)
            scorer.score(X, log_density, resp, labels)
            np.testing.assert_allclose(log_density, mixture.score_samples(X), rtol=close)
            np.testing.assert_allclose(resp, mixture.predict_proba(X), rtol=close, atol=close)
            np.testing.assert_array_equal(labels, mixture.predict(X))
        assert set(labels.tolist()) >= {-1, 0} if far is None else (labels[::2] == -1).all()
        scorer.score(np.full(D, np.nan, dtype), labels=labels[:1])
        assert labels[0] == -1


@pytest.mark.parametrize("axes", [None, TURN])
def test_files_and_pickles_hold_the_box(axes, tmp_path):
    mixture = noisy("VVV", boxed(0.3, axes))[0]
    mixture.save(tmp_path / "model.npz")
    for again in (fastgmm.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(mixture))):
        assert again == mixture
        assert again.noise == mixture.noise
        np.testing.assert_array_equal(again.sample(9, random_state=0)[0], mixture.sample(9, random_state=0)[0])
    fastgmm.load(tmp_path / "model.npz").save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "model.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "model.npz") as archive:
        assert json.loads(archive.read("header.json"))["version"] == 3
    noisy("VVV", Noise(0.3, 5.0, SIDES))[0].save(tmp_path / "no_place.npz")
    with zipfile.ZipFile(tmp_path / "no_place.npz") as archive:
        assert json.loads(archive.read("header.json"))["version"] == 1
    assert fastgmm.load(tmp_path / "no_place.npz").noise == Noise(0.3, 5.0, SIDES)


def test_damaged_files_are_refused(tmp_path):
    arrays, header = noisy("VVV", boxed(0.3, TURN))[0].file_contents()
    without = {name: arrays[name] for name in model_file.ARRAYS}
    for bad, head, words in (
        ({"noise_centre": np.zeros(2)}, {}, "noise_centre has shape"),
        ({"noise_axes": np.zeros((3, 2))}, {}, "noise_axes has shape"),
        ({"noise_centre": np.full(3, np.nan)}, {}, "noise_centre holds NaN"),
        ({}, {"noise": [0.3, 5.0]}, "has not both 3 scales and a place"),
    ):
        with pytest.raises(ValueError, match=words):
            model_file.write(tmp_path / "bad.npz", {**arrays, **bad}, {**header, **head})
    model_file.write(tmp_path / "bad.npz", {**arrays, "noise_axes": np.ones((3, 3))}, header)
    with pytest.raises(fastgmm.ModelFileError, match="must be 3 orthonormal columns"):
        fastgmm.load(tmp_path / "bad.npz")
    model_file.write(tmp_path / "one.npz", without, header)
    members = dict(_members(tmp_path / "one.npz"))
    members["header.json"] = members["header.json"].replace(b'"version": 1', b'"version": 3')
    with zipfile.ZipFile(tmp_path / "bad.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(fastgmm.ModelFileError, match="has not both 3 scales and a place"):
        fastgmm.load(tmp_path / "bad.npz")


def _members(path):
    with zipfile.ZipFile(path) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def test_estimators_hold_the_box(tmp_path):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(150, D)), rng.uniform(-20, 20, (60, D))]) @ TURN
    model = GaussianMixture(1, noise=True, random_state=0).fit(X)
    mixture = model.to_mixture()
    assert Noise(model.noise_weight_, model.noise_log_volume_, model.noise_scales_, model.noise_centre_) == Noise(
        *(mixture.noise.weight, mixture.noise.log_volume, mixture.noise.scales, mixture.noise.centre)
    )
    assert model.noise_axes_ == mixture.noise.axes
    model.save(tmp_path / "model.npz")
    again = GaussianMixture.load(tmp_path / "model.npz")
    assert again.to_mixture() == mixture
    X, labels = again.sample(100)
    assert (labels == -1).any()
    before = model.noise_centre_
    model.noise_centre_ = tuple(np.array(before) + 1000.0)
    drawn = model.to_mixture().sample(200, random_state=0)
    assert drawn[0][drawn[1] == -1].mean() > 900


@pytest.mark.parametrize("noise", [(), ("300",)])
def test_command_line_draws_and_fills(noise, cli, tmp_path):
    rng = np.random.default_rng(0)
    X = with_gaps(np.concatenate([rng.normal(size=(60, 2)), rng.uniform(-9, 9, (20, 2))]), 0.1, rng)
    (tmp_path / "x.csv").write_text("a,b\n" + "\n".join(f"{a},{b}" for a, b in X))
    model, table = tmp_path / "m.npz", tmp_path / "x.csv"
    outputs = "--model", model, "--plot", tmp_path / "x.png"
    cli("fit", table, "--components", 1, "--missing", "em", "--noise", *noise, *outputs)
    assert (tmp_path / "x.png").stat().st_size > 0
    if not noise:
        drawn = cli("sample", model, "--rows", 200).splitlines()
        assert sum(line.endswith(",-1") for line in drawn) > 10
        filled = [line.split(",") for line in cli("impute", model, table).splitlines()[1:]]
        np.testing.assert_allclose(np.array(filled, dtype=float), fastgmm.load(model).impute(X), rtol=1e-12)


def test_bad_boxes_are_refused():
    for words, arguments in (
        ("need its scales, got None", (0.1, 1.0, None, (0.0,))),
        ("need its scales, got None", (0.1, 1.0, None, None, ((1.0,),))),
        ("centre of the noise must be 2 finite numbers", (0.1, 1.0, (1.0, 2.0), (0.0,))),
        ("centre of the noise must be 2 finite numbers", (0.1, 1.0, (1.0, 2.0), (0.0, np.inf))),
        ("axes of the noise must be 2 orthonormal columns", (0.1, 1.0, (1.0, 2.0), None, ((1.0, 0.0),))),
        ("axes of the noise must be 2 orthonormal columns", (0.1, 1.0, (1.0, 2.0), None, np.ones((2, 2)))),
        ("axes of the noise must be 1 orthonormal columns", (0.1, 1.0, (1.0,), None, [[np.nan]])),
    ):
        with pytest.raises(fastgmm.InvalidParameterError, match=words):
            Noise(*arguments)
