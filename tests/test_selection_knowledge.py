"""Choosing a model with noise, rows whose component is known, a prior and gaps."""

import numpy as np
import pytest

import fastgmm
from fastgmm import ConjugatePrior, GaussianMixtureSelector, InvalidParameterError, fitting, select
from fastgmm.covariance import noise_around
from fastgmm.sources import ArraySource

RNG = np.random.default_rng(0)
CLUSTERS = RNG.normal(size=(240, 2)) + np.repeat([[-4.0, -4.0], [4.0, 4.0], [4.0, -4.0]], 80, axis=0)
X = np.concatenate([CLUSTERS, RNG.uniform(-20, 20, (30, 2))])
OPTIONS = {"n_components": [1, 2, 3, 4], "covariance_type": ["VVV", "EII"], "random_state": 0}


@pytest.fixture(scope="module")
def known():
    labels = np.full(len(X), -1)
    labels[:240:8] = np.repeat([2, 0, 1], 10)
    return labels


@pytest.fixture(scope="module")
def noisy():
    return select(X, noise=True, **OPTIONS)


def test_noise_is_in_every_cell(noisy):
    volume = noise_around(ArraySource(X)).log_volume
    for cell in noisy.candidates:
        mixture, K = cell.mixture, cell.n_components
        assert mixture.noise.log_volume == pytest.approx(volume, rel=1e-12)
        assert mixture.n_parameters == cell.record()["n_parameters"]
        assert cell.log_likelihood == pytest.approx(len(X) * mixture.score(X))
        settings = {"covariance_type": cell.covariance_type, "reg_covar": 0, "tol": 1e-5, "max_iter": 1000}
        plain = fitting.run(X, K, noise=True, random_state=0, **settings)
        if cell.abandoned is None:
            assert cell.log_likelihood > len(X) * plain.log_likelihood - 0.01
    assert (noisy.chosen.covariance_type, noisy.chosen.n_components) == ("EII", 3)
    far = np.abs(X).max(axis=1) > 9
    assert (noisy.best.predict(X[far]) == -1).all()
    assert noisy.best.noise is True


def test_noise_of_a_given_volume():
    found = select(X, 3, "EII", noise=1e4, random_state=0)
    assert found.chosen.mixture.noise.volume == pytest.approx(1e4)


@pytest.mark.parametrize("init_params", ["random", "agglomerative"])
def test_noise_with_other_starts(init_params):
    found = select(X, 3, "EII", noise=True, init_params=init_params, random_state=0)
    assert found.chosen.mixture.noise.weight > 0.05


def test_repeated_rows_are_weights_with_noise(noisy):
    weights = np.random.default_rng(1).integers(1, 3, len(X))
    weighted = select(X, noise=True, sample_weight=weights, **OPTIONS)
    repeated = select(np.repeat(X, weights, axis=0), noise=True, **OPTIONS)
    assert weighted.chosen.value("bic") == pytest.approx(repeated.chosen.value("bic"), rel=1e-9)


@pytest.mark.parametrize("noise", [None, True])
def test_known_rows_keep_their_components(known, noise):
    found = select(X, known_labels=known, noise=noise, **OPTIONS)
    for cell in found.candidates:
        if cell.n_components < 3:
            assert "known_labels must be below n_components" in str(cell.error)
        else:
            assert cell.log_likelihood == pytest.approx(len(X) * cell.result.log_likelihood)
    cell = next(each for each in found.candidates if each.n_components == 3)
    free = known < 0
    resp = cell.mixture.predict_proba(X)
    entropy = -(resp[free] * np.log(np.maximum(resp[free], 1e-300))).sum()
    assert cell.measured.entropy == pytest.approx(entropy, rel=1e-6)
    joint = cell.mixture.component_logpdf(X)
    labelled = cell.mixture.score_samples(X[free]).sum() + joint[~free, known[~free]].sum()
    assert cell.log_likelihood == pytest.approx(labelled)
    for k, centre in ((2, [-4, -4]), (0, [4, 4]), (1, [4, -4])):
        np.testing.assert_allclose(cell.mixture.means[k], centre, atol=1.5)


def test_all_rows_known():
    labels = np.repeat([2, 0, 1], 80)
    found = select(CLUSTERS, [2, 3], ["VVV", "EII"], known_labels=labels, random_state=0)
    assert found.chosen.n_components == 3
    assert found.chosen.measured.entropy == 0
    assert found.chosen.value("bic") == pytest.approx(found.chosen.value("icl"))


def test_resume_knows_the_labels(known):
    few = {**OPTIONS, "n_components": [3]}
    found = select(X, known_labels=known, **few)
    again = select(X, known_labels=known, resume=found, **few)
    assert again.chosen.mixture is found.chosen.mixture
    with pytest.raises(ValueError, match="resume is a selection for other rows or weights"):
        select(X, known_labels=np.where(known == 2, -1, known), resume=found, **few)
    with pytest.raises(ValueError, match="resume is a selection with noise=None, but now it is True"):
        select(X, known_labels=known, resume=found, noise=True, **few)


def test_criteria_that_do_not_go(known):
    with pytest.raises(InvalidParameterError, match="criterion 'nec' compares with one component, but known_labels"):
        select(X, criterion="nec", known_labels=known, **OPTIONS)
    with pytest.raises(ValueError, match="known_labels must have the shape"):
        select(X, known_labels=known[1:], **OPTIONS)
    with pytest.raises(InvalidParameterError, match="noise must be None, True or a volume"):
        select(X, noise=-1.0, **OPTIONS)


def test_selector_takes_them(noisy, known):
    model = GaussianMixtureSelector(noise=True, **OPTIONS).fit(X)
    assert model.to_mixture() == noisy.chosen.mixture
    np.testing.assert_array_equal(model.predict(X), noisy.chosen.mixture.predict(X))
    labels = model.fit_predict(X, known_labels=known)
    np.testing.assert_array_equal(labels[known >= 0], known[known >= 0])
    prior = ConjugatePrior(shrinkage=0.1)
    with_prior = GaussianMixtureSelector(prior=prior, **OPTIONS).fit(X)
    assert with_prior.to_mixture() == select(X, prior=prior, **OPTIONS).chosen.mixture
    assert with_prior.best_estimator_.prior is prior
    gaps = X.copy()
    gaps[::7, 0] = np.nan
    with_gaps = GaussianMixtureSelector(missing="em", **OPTIONS).fit(gaps)
    assert with_gaps.predict(gaps).shape == (len(X),)
    assert with_gaps.to_mixture() == select(gaps, missing="em", **OPTIONS).chosen.mixture


def test_known_rows_with_gaps(known):
    gaps = X.copy()
    gaps[::7, 0] = np.nan
    cell = select(gaps, 3, "VVV", missing="em", known_labels=known, random_state=0).chosen
    options = {"reg_covar": 0, "tol": 1e-5, "max_iter": 1000, "random_state": 0}
    plain = fastgmm.fit(gaps, 3, covariance_type="VVV", missing="em", known_labels=known, **options)
    assert cell.log_likelihood == pytest.approx(len(X) * plain.log_likelihood)


def test_bad_parameters_of_the_selector():
    for name, value in (("noise", -1.0), ("prior", "flat"), ("missing", "drop")):
        with pytest.raises(InvalidParameterError, match=f"'{name}' parameter of GaussianMixtureSelector"):
            GaussianMixtureSelector(**{name: value}).fit(X)


def test_components_of_known_rows_are_not_split_and_merged():
    X, known = np.random.default_rng(1).normal(size=(60, 2)), np.zeros(60, dtype=int)
    with pytest.raises(ValueError, match="known_labels name components, so that split_merge must be 0, got 1"):
        fastgmm.select(X, [2], ["full"], known_labels=known, split_merge=1)
