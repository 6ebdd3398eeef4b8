"""`partial_fit`: stepwise EM against a plain twin, from the first row on, after a fit, and through files."""

import copy
import pickle

import numpy as np
import pytest
from problems import no_convergence_warning

import fastgmm
from fastgmm import GaussianMixture, covariance
from fastgmm.estimators import _stream
from fastgmm.fitting.stream import Stream, step_size, turn_of, warm_up_rows

K, D = 2, 2


def stream_rows(n, seed=0, centres=(-4.0, 4.0)):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, D)) + rng.choice(centres, n)[:, None]


def learn(X, size, w=None, **options):
    model = GaussianMixture(K, random_state=0, **options)
    for first in range(0, len(X), size):
        part = slice(first, first + size)
        model.partial_fit(X[part], sample_weight=None if w is None else w[part])
    return model


def m_step(sums):
    weights = sums[0]
    means = sums[1] / weights[:, None]
    covariances = sums[2] / weights[:, None, None] - means[:, :, None] * means[:, None, :] + 1e-6 * np.eye(D)
    return weights, means, covariances


def twin(parameters, X, start, size, step, turn):
    """Plain NumPy: weights, means and covariances (full) after batches of rows from `start` on.

    E-steps go by the sums with the steps step(seen, rows, T), what is returned by those with T = 1.
    """
    kept = fast = None
    for first, last in [(0, start), *((i, i + size) for i in range(start, len(X), size))]:
        weights, means, covariances = parameters if fast is None else m_step(fast)
        rows = X[first:last]
        density = np.empty((len(rows), K))
        for k in range(K):
            z = rows - means[k]
            mahalanobis = np.einsum("nd,de,ne->n", z, np.linalg.inv(covariances[k]), z)
            density[:, k] = weights[k] * np.exp(-0.5 * mahalanobis) / np.sqrt(np.linalg.det(2 * np.pi * covariances[k]))
        resp = density / density.sum(axis=1, keepdims=True)
        batch = [resp.mean(axis=0), resp.T @ rows / len(rows), np.einsum("nk,nd,ne->kde", resp, rows, rows) / len(rows)]
        if kept is None:  # the warm-up: statistics of its rows, whose parameters are the start
            kept = fast = batch
            continue
        g, h = step(first, len(rows), 1.0), step(first, len(rows), turn)
        kept = [(1 - g) * old + g * new for old, new in zip(kept, batch, strict=True)]
        fast = [(1 - h) * old + h * new for old, new in zip(fast, batch, strict=True)]
    return m_step(kept)


@pytest.mark.parametrize(("decay", "forgetting"), [(1.0, 0.0), (0.6, 0.0), (0.7, 1e-2)])
def test_steps_are_those_of_a_plain_twin(decay, forgetting):
    X = stream_rows(1000)
    start = warm_up_rows(K, D)
    model = learn(X[:start], start, step_decay=decay, forgetting=forgetting)
    begin = model.weights_, model.means_, model.covariances_

    def step(seen, b, turn):
        t = np.linspace(seen / start, (seen + b) / start, 100_001)
        integral = np.trapezoid(np.minimum(1.0, (t / turn) ** -decay), t)
        return 1 - np.exp(-max(integral, -b * np.log(1 - forgetting)))

    expected = twin(begin, X, start, 50, step, 1 + 250 * (1 - decay))
    for first in range(start, 1000, 50):
        model.partial_fit(X[first : first + 50])
    for found, right in zip((model.weights_, model.means_, model.covariances_), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-9)
    assert model.n_iter_ == 1 + (1000 - start) // 50
    assert model.stopped_by_ == "stream"
    assert not model.converged_


@pytest.mark.parametrize(("decay", "forgetting"), [(1.0, 0.0), (0.6, 0.0), (0.8, 0.01)])
@pytest.mark.parametrize("turn", [1.0, 4.0])
def test_steps_do_not_depend_on_how_rows_are_cut(decay, forgetting, turn):
    def kept(seen, weight):
        return 1 - step_size(seen, weight, 200.0, decay, forgetting, turn)

    for before in (300.0, 740.0, 9000.0):  # before T, across it, after it
        assert kept(before, 90.0) == pytest.approx(kept(before, 50.0) * kept(before + 50.0, 40.0), rel=1e-12)


def test_light_batches_are_not_lost_beside_heavy_ones():
    for decay in (1.0, 0.7):
        for before in (200.0, 90_000.0):
            one = [step_size(before, weight, 200.0, decay, 0.0, turn_of(decay)) for weight in (1e-9, 1e-25)]
            assert one[1] == pytest.approx(1e-16 * one[0], rel=1e-9)
    X = stream_rows(1400)
    model = learn(X[:1200], 100)
    before = model.to_mixture()
    model.partial_fit(X[1200:], sample_weight=np.full(200, 1e-25))
    np.testing.assert_allclose(model.means_, before.means, rtol=1e-9)


def test_steps_stay_and_then_fall():
    assert step_size(900.0, 100.0, 50.0, 1.0, 0.0) == pytest.approx(0.1)  # all rows alike
    assert turn_of(1.0) == 1.0
    turn = turn_of(0.7)
    one = [step_size(t * 1e4, 1.0, 1e4, 0.7, 0.0, turn) * 1e4 for t in (1, turn / 2, turn - 1, 4 * turn)]
    np.testing.assert_allclose(one, [1, 1, 1, 4**-0.7], rtol=1e-4)


@pytest.mark.parametrize("name", covariance.names())
def test_one_row_at_a_time_in_every_family(name):
    X = stream_rows(260)
    if name in ("E", "V"):
        X = X[:, :1]
    model = GaussianMixture(K, covariance_type=name, random_state=0, reg_covar=1e-3, max_iter=10)
    for i, row in enumerate(X):
        with no_convergence_warning():
            model.partial_fit(row[None])
        if i in (0, 1, 5, 50, 199, 259):
            assert np.isfinite(model.score_samples(X)).all()
            assert model.n_iter_ == i + 1
    np.testing.assert_allclose(np.sort(model.means_[:, 0]), [-4, 4], atol=0.4)


def test_batches_of_fewer_rows_than_components():
    X = stream_rows(2000)
    model = GaussianMixture(5, random_state=0).partial_fit(X[:2])
    assert model.means_.shape == (5, D)
    for first in range(2, 2000, 3):
        model.partial_fit(X[first : first + 3])
    batch = GaussianMixture(5, random_state=0).fit(X)
    assert model.score(X) > batch.score(X) - 0.02


def test_without_regularisation_the_first_rows_do_no_harm():
    model = GaussianMixture(3, reg_covar=0.0, random_state=0)
    for row in stream_rows(400):
        model.partial_fit(row[None])
    assert np.isfinite(model.lower_bound_)


def test_the_warm_up_is_a_fit_of_its_rows_and_its_rows_are_dropped():
    X = stream_rows(warm_up_rows(K, D))
    model = learn(X, 30)
    whole = GaussianMixture(K, random_state=0).fit(X)
    assert model.to_mixture() == whole.to_mixture()
    stream = Stream.from_plain(model._stream)
    assert stream.rows is None
    assert stream.statistics.n_rows == len(X)


def test_weights_are_repetitions():
    X = stream_rows(600)
    w = np.random.default_rng(1).integers(0, 3, 600).astype(float)
    for size in (10, 300):
        one = GaussianMixture(K, random_state=0).fit(X)  # a warm-up of rows of weight is not that of repeated rows
        other = copy.deepcopy(one)
        for first in range(0, 600, size):
            part = slice(first, first + size)
            one.partial_fit(X[part], sample_weight=w[part])
            other.partial_fit(np.repeat(X[part], w[part].astype(int), axis=0))
        np.testing.assert_allclose(one.means_, other.means_, rtol=1e-12)
        np.testing.assert_allclose(one.covariances_, other.covariances_, rtol=1e-10)


@pytest.mark.parametrize("name", ["full", "tied", "diag", "spherical"])
def test_it_goes_on_from_a_fit_as_if_its_rows_had_come_first(name):
    X, more = stream_rows(3000), stream_rows(1000, seed=1)
    options = {"covariance_type": name, "step_decay": 1.0, "tol": 1e-9, "reg_covar": 0.0, "random_state": 0}
    options["means_init"] = [[-4, -4], [4, 4]]
    model = GaussianMixture(K, **options).fit(X)
    before = model.means_.copy()
    model.partial_fit(more)
    whole = GaussianMixture(K, **options).fit(np.concatenate([X, more]))
    np.testing.assert_allclose(model.means_, whole.means_, atol=2e-3)
    np.testing.assert_allclose(model.covariances_, whole.covariances_, atol=5e-3)
    assert np.abs(model.means_ - before).max() > 1e-4


def test_edited_means_are_gone_on_from():
    X = stream_rows(2000)
    model = learn(X[:1000], 100, step_decay=1.0)
    model.means_ = model.means_ + 0.5
    model.partial_fit(X[1000:1100])
    assert np.abs(np.sort(model.means_[:, 0]) - [-3.5, 4.5]).max() < 0.2


def test_a_stream_that_drifts_is_followed():
    """Centres move by one standard deviation every 2000 rows. What is remembered lags behind; what forgets does not."""
    rng = np.random.default_rng(0)
    n = 40_000
    at = np.arange(n)[:, None] / 2000
    X = rng.normal(size=(n, D)) + np.where(rng.random((n, 1)) < 0.5, -6 + at, 6 + at)
    errors = {}
    for forgetting in (0.0, 2e-3):
        model = learn(X, 200, forgetting=forgetting)
        errors[forgetting] = np.abs(np.sort(model.means_[:, 0]) - [14, 26]).max()
    assert errors[2e-3] < 0.4 < errors[0.0]


def overlapping(n, separation, seed):
    """Rows of eight components in six dimensions, their centres so far apart."""
    rng, k, d = np.random.default_rng(seed), 8, 6
    centres = separation * rng.standard_normal((k, d))
    shapes = np.eye(d) + 0.4 * rng.standard_normal((k, d, d)) / np.sqrt(d)
    labels = rng.integers(k, size=n)
    return np.einsum("nd,nde->ne", rng.standard_normal((n, d)), shapes[labels]) + centres[labels]


def one_pass(X):
    model = GaussianMixture(8, random_state=0)
    for first in range(0, len(X), 1000):
        model.partial_fit(X[first : first + 1000])
    return model


@pytest.mark.parametrize("separation", [1.0, 3.0])
def test_one_pass_over_fewer_rows_comes_near_an_optimum(separation):
    X = overlapping(250_000, separation, 0)
    model = one_pass(X)
    start = {"weights_init": model.weights_, "means_init": model.means_, "precisions_init": model.precisions_}
    optimum = fastgmm.fit(X, 8, tol=1e-6, max_iter=2000, acceleration="squarem", **start).lower_bound
    assert model.score(X) > optimum - 5e-4 * abs(optimum)


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("separation", [0.7, 1.0, 3.0])
def test_one_pass_over_a_million_rows_is_within_a_thousandth_of_a_tight_fit(separation, seed):
    X = overlapping(1_000_000, separation, seed)
    batch = fastgmm.fit(X, 8, random_state=0, tol=1e-7, max_iter=2000, acceleration="squarem").lower_bound
    assert one_pass(X).score(X) > batch - 1e-3 * abs(batch)


def test_pickles_and_copies_go_on_with_the_same_bits():
    X = stream_rows(700)
    for seen in (60, 500):  # in the warm-up, and after it
        model = learn(X[:seen], 20)
        others = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
        for first in range(seen, 700, 20):
            for one in (model, *others):
                one.partial_fit(X[first : first + 20])
        assert all(other.to_mixture() == model.to_mixture() for other in others)


def test_a_fit_forgets_the_stream():
    X = stream_rows(500)
    model = learn(X, 100).fit(X)
    assert model.to_mixture() == GaussianMixture(K, random_state=0).fit(X).to_mixture()
    assert model._stream is None


def test_float32_streams_stay_float32():
    X = stream_rows(1000).astype(np.float32)
    model = learn(X, 50)
    assert model.means_.dtype == np.float32
    np.testing.assert_allclose(model.means_, learn(X.astype(float), 50).means_, rtol=1e-4)


# ----------------------------------------------------------------------------------------------------------- bad input


def test_batches_that_do_not_go_on_with_the_stream_are_refused():
    X = stream_rows(300)
    model = learn(X, 100)
    before = pickle.dumps(model)
    with pytest.raises(ValueError, match="X has 1 features, but GaussianMixture is expecting 2 features as input"):
        model.partial_fit(X[:, :1])
    with pytest.raises(ValueError, match="partial_fit goes on with dtype float64, but now there is float32"):
        model.partial_fit(X.astype(np.float32))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.partial_fit(np.full((2, D), np.nan))
    with pytest.raises(ValueError, match="all weights are zero"):
        model.partial_fit(X, sample_weight=np.zeros(300))
    with pytest.raises(ValueError, match="partial_fit goes on with components 2, but now there is 3"):
        copy.deepcopy(model).set_params(n_components=3).partial_fit(X)
    assert pickle.dumps(model) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("on_collapse", "drop"),
        ("covariance_floor", 0.1),
        ("prior", "conjugate"),
        ("fixed", {"means": True}),
        ("equal_weights", True),
        ("split_merge", 1),
        ("callback", print),
        ("progress", True),
        ("max_memory", "1 GB"),
    ],
)
def test_parameters_that_a_stream_cannot_follow_are_refused(name, value):
    with pytest.raises(fastgmm.InvalidParameterError, match=f"^{name} must be .* for partial_fit, which learns from"):
        GaussianMixture(K, **{name: value}).partial_fit(stream_rows(10))


def test_every_parameter_is_refused_or_followed():
    """A parameter that is new has to say what streams do with it."""
    of_streams = {"n_components", "covariance_type", "reg_covar", "step_decay", "forgetting"}
    of_streams |= {"verbose", "verbose_interval", "missing", "noise"}
    of_fit_alone = {"warm_start"}  # streams always go on
    known = [*_stream._NOT_OF_STREAMS, *_stream._OF_FITS, *of_streams, *of_fit_alone]
    assert sorted(known) == sorted(GaussianMixture().get_params())


def test_no_noise_may_be_said():
    assert learn(stream_rows(50), 50, noise=False).to_mixture() == learn(stream_rows(50), 50).to_mixture()


def test_fits_of_the_warm_up_keep_to_their_time():
    X = stream_rows(100)
    model = learn(X, 100, max_time=0.0, tol=0.0)
    once = GaussianMixture(K, random_state=0, max_time=0.0, tol=0.0)
    with no_convergence_warning():
        once.fit(X)
    assert once.n_iter_ == 1
    assert model.to_mixture() == once.to_mixture()


def test_batches_are_printed(capsys):
    X = stream_rows(1500)
    model = learn(X[:1400], 100, verbose=2, verbose_interval=5)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("  Batch 5\t time lapse ")
    assert second.startswith("  Batch 10\t time lapse ")
    assert "\t lower bound -" in second
    model.set_params(verbose=1).partial_fit(X[1400:])
    assert capsys.readouterr().out == "  Batch 15\n"


# --------------------------------------------------------------------------------------------------------- model files


@pytest.mark.parametrize("seen", [40, 1500])  # in the warm-up, and after it
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["full", "tied", "EEV"])
def test_a_stream_goes_on_from_its_file_with_the_same_bits(tmp_path, seen, weighted, name):
    X = stream_rows(2000)
    w = np.random.default_rng(2).random(2000) if weighted else None
    model = learn(X[:seen], 20, None if w is None else w[:seen], covariance_type=name, step_decay=0.6)
    model.save(tmp_path / "model.npz")
    again = GaussianMixture.load(tmp_path / "model.npz", step_decay=0.6, random_state=0)
    assert again.n_iter_ == model.n_iter_
    assert again.lower_bound_ == model.lower_bound_
    again.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "model.npz").read_bytes()
    assert fastgmm.load(tmp_path / "model.npz") == model.to_mixture()
    for first in range(seen, 2000, 20):
        part = slice(first, first + 20)
        for one in (model, again):
            one.partial_fit(X[part], sample_weight=None if w is None else w[part])
    assert again.to_mixture() == model.to_mixture()


def test_a_file_without_a_stream_is_gone_on_from(tmp_path):
    X = stream_rows(3000)
    GaussianMixture(K, random_state=0).fit(X[:2000]).save(tmp_path / "model.npz")
    model = GaussianMixture.load(tmp_path / "model.npz")
    assert model.predict(X).shape == (3000,)
    assert model.partial_fit(X[2000:]).score(X) > -4


def test_damaged_states_are_refused(tmp_path):
    from fastgmm.io import model_file

    learn(stream_rows(1500), 100).save(tmp_path / "model.npz")
    arrays, header = model_file.read_all(tmp_path / "model.npz")
    for name, value in {
        "stream_numbers": np.zeros(8),
        "stream_s": np.zeros((1, D)),
        "stream_n": np.ones(K + 1),
        "stream_pivot": np.zeros(3),
    }.items():
        model_file.write(tmp_path / "bad.npz", {**arrays, name: value}, header)
        with pytest.raises(fastgmm.ModelFileError, match=r"bad.npz does not hold the state of a stream"):
            GaussianMixture.load(tmp_path / "bad.npz")
    without = {name: array for name, array in arrays.items() if name != "stream_S"}
    model_file.write(tmp_path / "bad.npz", without, header)
    with pytest.raises(fastgmm.ModelFileError, match=r"bad.npz does not hold the state of a stream"):
        GaussianMixture.load(tmp_path / "bad.npz")
    with pytest.raises(ValueError, match="expected"):
        model_file.write(tmp_path / "bad.npz", arrays, {"covariance_type": "full"})
