"""`partial_fit` of rows with gaps: against the plain twin, from the first batch on, and through files."""

import pickle

import gap_cases
import numpy as np
import pytest
import reference_missing as twin
from problems import assert_same_fit, no_convergence_warning

import fastgmm
from fastgmm import GaussianMixture
from fastgmm.fitting.stream import Stream, step_size, turn_of, warm_up_rows

K, D = 2, 3
CENTRES = np.array([-3.0, 3.0])


def rows_with_gaps(n, seed=0, share=0.2):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, D)) + rng.choice(CENTRES, n)[:, None]
    holes = rng.random(X.shape) < share
    holes[holes.all(axis=1)] = False
    return np.where(holes, np.nan, X)


def learn(X, size, **options):
    model = GaussianMixture(K, missing="em", random_state=0, **options)
    for first in range(0, len(X), size):
        model.partial_fit(X[first : first + size])
    return model


def m_step(sums):
    means = sums[1] / sums[0][:, None]
    return sums[0], means, sums[2] / sums[0][:, None, None] - means[:, :, None] * means[:, None, :]


@pytest.mark.parametrize("weighted", [False, True])
def test_steps_are_those_of_the_plain_twin(weighted):
    """Sums of the twin's completed rows, averaged in plain NumPy; the first are those of the warm-up."""
    n = warm_up_rows(K, D)
    X = rows_with_gaps(n + 120)
    w = np.random.default_rng(1).uniform(0.5, 2.0, len(X)) if weighted else np.ones(len(X))
    model = GaussianMixture(K, missing="em", random_state=0, reg_covar=0.0, max_iter=5)
    with no_convergence_warning():
        model.partial_fit(X[:n], sample_weight=w[:n])
    parameters, kept, fast = (model.weights_, model.means_, model.covariances_), None, None
    for first, last in ((0, n), (n, n + 50), (n + 50, n + 120)):
        weight = w[first:last]
        _, _, mass, means, scatter = twin.e_step(*parameters, X[first:last], weight)
        batch = [
            mass / weight.sum(),
            mass[:, None] * means / weight.sum(),
            (scatter + mass[:, None, None] * means[:, :, None] * means[:, None, :]) / weight.sum(),
        ]
        if kept is None:
            kept = fast = batch
            parameters = m_step(fast)
            continue
        kept, fast = (
            [(1 - g) * old + g * new for old, new in zip(sums, batch, strict=True)]
            for sums, g in (
                (sums, step_size(w[:first].sum(), weight.sum(), w[:n].sum(), model.step_decay, 0.0, turn))
                for sums, turn in ((kept, 1.0), (fast, turn_of(model.step_decay)))
            )
        )
        parameters = m_step(fast)
        model.partial_fit(X[first:last], sample_weight=weight)
        for found, right in zip((model.weights_, model.means_, model.covariances_), m_step(kept), strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-9, atol=1e-12)


@gap_cases.by_structure
def test_every_structure_learns_from_gaps(name):
    X = rows_with_gaps(1600)[:, : 1 if name in ("E", "V") else D]
    X = X[~np.isnan(X).all(axis=1)]
    X[5] = np.nan  # and a row with nothing at all
    model = GaussianMixture(K, covariance_type=name, missing="em", random_state=0, max_iter=20)
    for number, batch in enumerate(np.array_split(X, 40)):
        with no_convergence_warning():
            if number:
                model.partial_fit(batch)
            else:
                with pytest.warns(fastgmm.NothingObservedWarning, match="1 row"):
                    model.partial_fit(batch)
    np.testing.assert_allclose(np.sort(model.means_[:, 0]), CENTRES, atol=0.35)


def test_single_rows_with_gaps_from_the_second_batch_on():
    X = rows_with_gaps(1300, share=0.3)
    X[:2] = [[-3.0, -3.0, -3.0], [3.0, 3.0, 3.0]]
    model = learn(X[:2], 1)
    for row in X[2:]:
        with no_convergence_warning():
            model.partial_fit(row[None])
    assert Stream.from_plain(model._stream).rows is None
    np.testing.assert_allclose(np.sort(model.means_, axis=0), np.outer(CENTRES, np.ones(D)), atol=0.3)


def test_the_warm_up_is_a_fit_of_its_rows():
    X = rows_with_gaps(warm_up_rows(K, D))
    model = learn(X, 100)
    whole = GaussianMixture(K, missing="em", random_state=0).fit(X)
    np.testing.assert_allclose(model.means_, whole.means_, rtol=1e-10)
    assert Stream.from_plain(model._stream).statistics.n_rows == len(X)


def test_a_stream_with_gaps_ends_near_a_fit():
    X = rows_with_gaps(20_000)
    model = learn(X, 200)
    whole = fastgmm.fit(X, K, missing="em", random_state=0, tol=1e-8)
    assert model.to_mixture().score(X, missing="em") > whole.lower_bound - 1e-3 * abs(whole.lower_bound)


def test_without_gaps_nothing_changes():
    X = rows_with_gaps(2000, share=0.0)
    plain = GaussianMixture(K, random_state=0)
    for first in range(0, 2000, 100):
        plain.partial_fit(X[first : first + 100])
    assert_same_fit(learn(X, 100), plain)


@pytest.mark.parametrize("seen", [60, 1200])  # in the warm-up, which holds rows with gaps, and after it
def test_it_goes_on_from_its_file_with_the_same_bits(tmp_path, seen):
    X = rows_with_gaps(1500)
    model = learn(X[:seen], 20)
    model.save(tmp_path / "model.npz")
    again = GaussianMixture.load(tmp_path / "model.npz", missing="em", random_state=0)
    for first in range(seen, 1500, 100):
        for one in (model, again):
            one.partial_fit(X[first : first + 100])
    assert again.to_mixture() == model.to_mixture()


def test_what_cannot_be_learned_from_is_refused():
    X = rows_with_gaps(200)
    model = learn(X, 100)
    before = pickle.dumps(model)
    with pytest.raises(ValueError, match="Input X contains infinity"):
        model.partial_fit(np.where(np.isnan(X), np.inf, X))
    with pytest.raises(ValueError, match="all weights are zero"):
        model.partial_fit(X, sample_weight=np.zeros(200))
    assert pickle.dumps(model) == before
    with pytest.raises(ValueError, match="Input X contains NaN"):
        GaussianMixture(K).partial_fit(X)


def test_a_column_of_gaps_is_refused_at_first_and_taken_later():
    X = rows_with_gaps(1500, share=0.0)
    hidden = X[:50].copy()
    hidden[:, 1] = np.nan
    with pytest.raises(ValueError, match="partial_fit has seen nothing but gaps in column 1"):
        learn(hidden, 50)
    for seen in (50, 1400):
        model = learn(X[:seen], 50).partial_fit(hidden)
        assert np.isfinite(model.means_).all()
