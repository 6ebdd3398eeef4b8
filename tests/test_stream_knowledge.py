"""`partial_fit` with noise and with rows whose component is known: against a plain twin, and through files."""

import copy
import itertools
import json
import pickle
import zipfile

import gap_cases
import numpy as np
import pytest
from problems import assert_same_fit, no_convergence_warning

import fastgmm
from fastgmm import GaussianMixture, Noise, covariance
from fastgmm.fitting.stream import Stream, step_size, turn_of, warm_up_rows

K, D = 2, 2
START = warm_up_rows(K, D)


def stream_rows(n, seed=0, share=0.1):
    """Two clusters, and outliers; which rows are in which, 2 for outliers."""
    rng = np.random.default_rng(seed)
    truth = np.where(rng.random(n) < share, 2, rng.integers(2, size=n))
    centres = np.array([-4.0, 4.0, 0.0])[truth][:, None]
    return np.where(truth[:, None] == 2, rng.uniform(-20, 20, (n, D)), rng.normal(size=(n, D)) + centres), truth


def known_of(truth, seed=1, share=0.1):
    """A tenth of the rows that are no outliers are known, by other numbers than those of their clusters."""
    drawn = np.random.default_rng(seed).random(len(truth)) < share
    return np.where(drawn & (truth < 2), 1 - truth, -1)


def learn(X, size, w=None, known=None, model=None, **options):
    model = GaussianMixture(K, random_state=0, **options) if model is None else model
    for first in range(0, len(X), size):
        beside = {"sample_weight": w, "known_labels": known}
        part = {name: None if each is None else each[first : first + size] for name, each in beside.items()}
        with no_convergence_warning():
            model.partial_fit(X[first : first + size], **part)
    return model


def m_step(sums):
    """Weights, means, covariances and the share of noise, whose sums are the last."""
    n = sums[0][:K]
    means = sums[1][:K] / n[:, None]
    dense = sums[2][:K] / n[:, None, None] - means[:, :, None] * means[:, None, :] + 1e-6 * np.eye(D)
    return n / n.sum(), means, dense, sums[0][K:].sum() / sums[0].sum()


def twin(parameters, log_volume, X, known, cuts, decay):
    """Plain NumPy: what is given out after batches, and the mean log-likelihood; the first batch is the warm-up's."""
    kept = fast = None
    for first, last in itertools.pairwise(cuts):
        weights, means, dense, share = parameters if fast is None else m_step(fast)
        rows, labels = X[first:last], known[first:last]
        density = np.zeros((len(rows), K + 1))
        for k in range(K):
            z = rows - means[k]
            mahalanobis = np.einsum("nd,de,ne->n", z, np.linalg.inv(dense[k]), z)
            density[:, k] = (1 - share) * weights[k] * np.exp(-0.5 * mahalanobis)
            density[:, k] /= np.sqrt(np.linalg.det(2 * np.pi * dense[k]))
        if log_volume is not None:
            density[:, K] = share * np.exp(-log_volume)
        density[(labels[:, None] >= 0) & (labels[:, None] != np.arange(K + 1))] = 0.0
        resp = density / density.sum(axis=1, keepdims=True)
        batch = [resp.mean(axis=0), resp.T @ rows / len(rows), np.einsum("nk,nd,ne->kde", resp, rows, rows) / len(rows)]
        batch.append(np.log(density.sum(axis=1)).mean())
        if kept is None:
            kept = fast = batch
            continue
        g, h = (step_size(first, len(rows), cuts[1], decay, 0.0, turn) for turn in (1.0, turn_of(decay)))
        kept = [(1 - g) * old + g * new for old, new in zip(kept, batch, strict=True)]
        fast = [(1 - h) * old + h * new for old, new in zip(fast, batch, strict=True)]
    return *m_step(kept), kept[3]


@pytest.mark.parametrize("noise", [None, True, 900.0])
@pytest.mark.parametrize("with_labels", [False, True])
def test_steps_are_those_of_a_plain_twin(noise, with_labels):
    X, truth = stream_rows(START + 600)
    known = known_of(truth) if with_labels else np.full(len(X), -1)
    model = GaussianMixture(K, noise=noise, random_state=0, step_decay=0.6)
    model = learn(X[:START], START, None, known[:START], model)
    own = model.to_mixture().noise
    share, log_volume = (0.0, None) if own is None else (own.weight, own.log_volume)
    begin = model.weights_, model.means_, model.covariances_, share
    learn(X[START:], 50, None, known[START:], model)
    cuts = [0, START, *range(START + 50, len(X) + 1, 50)]
    weights, means, dense, share, bound = twin(begin, log_volume, X, known, cuts, 0.6)
    np.testing.assert_allclose(model.weights_, weights, rtol=1e-9)
    np.testing.assert_allclose(model.means_, means, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model.covariances_, dense, rtol=1e-8, atol=1e-9)
    assert model.lower_bound_ == pytest.approx(bound, rel=1e-9)
    if noise is not None:
        assert model.noise_weight_ == pytest.approx(share, rel=1e-9)
        assert model.noise_log_volume_ == log_volume  # stays


def test_the_warm_up_is_a_fit_of_its_rows():
    X, truth = stream_rows(START)
    known = known_of(truth)
    for noise in (True, 1e3):
        model = learn(X, 100, None, known, noise=noise)
        whole = GaussianMixture(K, noise=noise, random_state=0).fit(X, known_labels=known)
        assert model.to_mixture().noise.log_volume == whole.to_mixture().noise.log_volume
        np.testing.assert_allclose(model.means_, whole.means_, atol=0.02)  # the last fit has ten starts
        assert Stream.from_plain(model._stream).rows is None


def test_outliers_are_found_and_components_keep_their_numbers():
    X, truth = stream_rows(6000)
    model = learn(X, 50, None, known_of(truth), noise=True)
    np.testing.assert_allclose(model.means_, [[4, 4], [-4, -4]], atol=0.2)
    assert model.noise_weight_ == pytest.approx(0.1, abs=0.02)
    other, where = stream_rows(2000, seed=3)
    labels = model.predict(other)
    far = np.abs(np.abs(other) - 4).max(axis=1) > 5
    assert (labels[far] == -1).all()
    assert (labels[where < 2] == 1 - where[where < 2]).mean() > 0.97
    batch = fastgmm.fit(X, K, noise=True, random_state=0)
    assert model.score(X) > batch.lower_bound - 2e-3 * abs(batch.lower_bound)


@pytest.mark.parametrize("name", covariance.names())
def test_few_rows_at_a_time_in_every_family(name):
    X, truth = stream_rows(1040)
    columns = slice(1) if name in ("E", "V") else slice(None)
    model = GaussianMixture(K, covariance_type=name, noise=True, random_state=0, reg_covar=1e-3, max_iter=10)
    for first, last in ((0, 1), (1, 2), (2, 5), (5, 40), (40, 1020), (1020, 1021), (1021, 1040)):
        learn(X[first:last, columns], 2000, None, known_of(truth)[first:last], model)
        assert np.isfinite(model.score_samples(X[:, columns])).all()
        assert model.predict_proba(X[:, columns]).shape == (len(X), K + 1)
    np.testing.assert_allclose(model.means_[:, 0], [4, -4], atol=0.5)


def test_rows_that_fill_no_box_are_waited_for():
    X = np.column_stack([np.arange(START + 5.0) % 7, np.zeros(START + 5)])
    model = learn(X[:30], 10, noise=True)
    before = pickle.dumps(model)
    with pytest.raises(fastgmm.InvalidParameterError, match="but they fill none: give it, noise=volume"):
        model.partial_fit(X[30:])
    assert pickle.dumps(model) == before
    X[-1, 1] = 3.0
    model.partial_fit(X[30:])
    assert model.to_mixture().noise.centre is not None


def test_integer_weights_are_repetitions():
    X, truth = stream_rows(START + 300)
    w, known = np.random.default_rng(1).integers(0, 3, len(X)).astype(float), known_of(truth)
    one = learn(X[:START], START, None, known[:START], noise=True)
    other = copy.deepcopy(one)
    learn(X[START:], 300, w[START:], known[START:], one)
    counts = w[START:].astype(int)
    learn(np.repeat(X[START:], counts, axis=0), 10**6, None, np.repeat(known[START:], counts), other)
    np.testing.assert_allclose(one.means_, other.means_, rtol=1e-12)
    assert one.noise_weight_ == pytest.approx(other.noise_weight_, rel=1e-12)


@pytest.mark.parametrize("name", ["full", "tied", "diag", "VEV"])
def test_it_goes_on_from_a_fit_as_if_its_rows_had_come_first(name):
    X, truth = stream_rows(4000)
    options = {"covariance_type": name, "noise": True, "step_decay": 1.0, "tol": 1e-9, "random_state": 0}
    model = GaussianMixture(K, **options).fit(X[:3000], known_labels=known_of(truth[:3000]))
    before = model.to_mixture()
    model.partial_fit(X[3000:], known_labels=known_of(truth[3000:]))
    whole = GaussianMixture(K, **{**options, "noise": before.noise.volume}).fit(X, known_labels=known_of(truth))
    np.testing.assert_allclose(model.means_, whole.means_, atol=0.01)
    assert model.noise_weight_ == pytest.approx(whole.noise_weight_, rel=0.02)
    assert model.noise_log_volume_ == before.noise.log_volume
    assert abs(model.noise_weight_ - before.noise.weight) > 1e-6
    again = copy.deepcopy(model)
    again.noise_weight_ = 0.5  # edited: gone on from
    again.partial_fit(X[:100])
    assert again.noise_weight_ > 0.4


def test_the_bound_after_a_fit_is_that_of_rows_that_were_seen():
    X, _ = stream_rows(3000, share=0.0)
    model = GaussianMixture(K, random_state=0).fit(X[:2000])
    score = model.score(X[2000:2500])
    model.partial_fit(X[2000:2500])
    assert model.lower_bound_ == pytest.approx(score, rel=1e-6)  # reg_covar is added to what the fit says
    model.partial_fit(X[2500:])
    assert model.lower_bound_ == pytest.approx(score, abs=0.1)


@pytest.mark.parametrize("noise", [True, 900.0])
def test_gaps_come_later(noise):
    X, truth = stream_rows(2400)
    known = known_of(truth)
    gaps = gap_cases.with_gaps(X, 0.2, np.random.default_rng(2))
    gaps = np.where(np.isnan(gaps).all(axis=1)[:, None], X, gaps)
    model = learn(X[:1200], 200, None, known[:1200], noise=noise, missing="em")
    learn(gaps[1200:], 100, None, known[1200:], model)
    np.testing.assert_allclose(model.means_, [[4, 4], [-4, -4]], atol=0.3)
    assert model.noise_weight_ == pytest.approx(0.1, abs=0.03)
    from_the_start = learn(gaps, 100, None, known, noise=noise, missing="em")
    np.testing.assert_allclose(from_the_start.means_, model.means_, atol=0.2)
    unseen = np.full((3, D), np.nan)
    with pytest.warns(fastgmm.NothingObservedWarning, match="2 row"):
        model.partial_fit(unseen, known_labels=[0, -1, -1])


@pytest.mark.parametrize("seen", [60, 1400])  # in the warm-up, and after it
@pytest.mark.parametrize("noise", [None, True, 900.0])
def test_files_and_pickles_go_on_with_the_same_bits(tmp_path, seen, noise):
    X, truth = stream_rows(1700)
    known = known_of(truth, share=0.3)
    model = learn(X[:seen], 20, None, known[:seen], noise=noise)
    model.save(tmp_path / "model.npz")
    again = GaussianMixture.load(tmp_path / "model.npz", noise=noise, random_state=0)
    again.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "model.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "model.npz") as archive:
        assert json.loads(archive.read("header.json"))["version"] == (4 if noise is True else 2)
    assert fastgmm.load(tmp_path / "model.npz") == model.to_mixture()
    others = again, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)
    for one in (model, *others):
        learn(X[seen:], 20, None, known[seen:], one)
    for other in others:
        assert other.to_mixture() == model.to_mixture()
    assert_same_fit(others[1], model)


def test_damaged_labels_of_a_file_are_refused(tmp_path):
    X, truth = stream_rows(60)
    model = learn(X, 20, None, known_of(truth, share=0.5))
    model.save(tmp_path / "model.npz")
    arrays, header = model.to_mixture().file_contents()
    named, header["stream"] = Stream.from_plain(model._stream).named()
    for labels, words in ((np.full(60, 5.0), "no components"), (np.full(60, 0.5), "no components"), ([0.0], "rows")):
        damaged = {**named, "labels": np.array(labels)}
        both = arrays | {f"stream_{name}": array for name, array in damaged.items()}
        fastgmm.io.model_file.write(tmp_path / "bad.npz", both, header)
        with pytest.raises(fastgmm.ModelFileError, match=f"does not hold the state of a stream: its .*{words}"):
            GaussianMixture.load(tmp_path / "bad.npz")


def test_what_does_not_go_on_is_refused(tmp_path):
    X, _ = stream_rows(1300)
    noisy, plain = learn(X, 100, noise=900.0), learn(X, 100)
    for model, noise, words in (
        (noisy, None, "goes on with noise of the volume 900, but now noise is None: set it so"),
        (noisy, 800.0, "goes on with noise of the volume 900, but now noise is 800.0: set it so"),
        (plain, True, "goes on without noise, but now noise is True: set it so"),
    ):
        other, before = copy.deepcopy(model).set_params(noise=noise), model.to_mixture()
        with pytest.raises(ValueError, match=f"partial_fit {words}"):
            other.partial_fit(X)
        assert other.to_mixture() == before
    noisy.set_params(noise=True).partial_fit(X)
    plain.set_params(noise=False).partial_fit(X)
    before = pickle.dumps(plain)
    for labels, error, words in (
        (np.full(1300, 2), ValueError, "known_labels must be below n_components=2"),
        (np.full(1300, -2), ValueError, "known_labels must be components, or -1 where they are not known, got -2"),
        (np.zeros(1300), TypeError, "known_labels must be integers"),
        ([0], ValueError, r"known_labels must have the shape \(1300,\)"),
    ):
        with pytest.raises(error, match=words):
            plain.partial_fit(X, known_labels=labels)
    assert pickle.dumps(plain) == before
    weights = np.where(np.arange(1300) < 1000, 1.0, 0.0)
    strays = np.where(weights > 0, -1, 9)
    one, other = copy.deepcopy(plain), copy.deepcopy(plain)
    one.partial_fit(X, sample_weight=weights, known_labels=strays)
    other.partial_fit(X, sample_weight=weights)
    assert one.to_mixture() == other.to_mixture()


def test_noise_of_a_stream_draws_and_fills_gaps():
    X, _ = stream_rows(1500)
    model = learn(X, 100, noise=True, missing="em")
    assert (model.sample(300)[1] == -1).any()
    assert np.isfinite(model.impute([[np.nan, 1.0]])).all()
    assert model.to_mixture().noise == Noise(
        *(model.noise_weight_, model.noise_log_volume_, model.noise_scales_, model.noise_centre_, model.noise_axes_)
    )
