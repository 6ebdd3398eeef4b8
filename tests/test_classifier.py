"""Discriminant analysis: against scikit-learn's, mclust's and the twin, and as a scikit-learn classifier."""

import pickle

import numpy as np
import problems
import pytest
import reference
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import cross_val_score
from sklearn.utils import estimator_checks

import fastgmm
from fastgmm import ConjugatePrior, GaussianMixtureClassifier, covariance

IRIS = load_iris(return_X_y=True)
# mclust 6.0.0: MclustDA(iris, species, modelType="EDDA"): log-likelihood of the rows, parameters without those of the
# classes' probabilities, and rows that are put into another class.
MCLUST = {
    "EII": (-414.6979512733, 13, 11),
    "VII": (-392.4984144985, 15, 12),
    "EEI": (-364.5173643381, 16, 6),
    "VVI": (-309.3627578939, 24, 6),
    "EEE": (-256.6461842549, 22, 3),
    "VVV": (-182.9208486053, 42, 3),
    "VEV": (-187.7097444050, 36, 3),
    "EEV": (-215.1432631274, 34, 2),
    "EVI": (-342.9736984728, 22, 6),
    "VEI": (-340.8360524756, 18, 5),
}


@pytest.mark.parametrize("name", MCLUST)
def test_edda_is_mclusts(name):
    X, y = IRIS
    model = GaussianMixtureClassifier(covariance_type=name, reg_covar=0.0).fit(X, y)
    log_likelihood, n_parameters, n_wrong = MCLUST[name]
    np.testing.assert_allclose(model.score_samples(X).sum(), log_likelihood, rtol=1e-8)
    assert model.n_parameters_ == n_parameters + 2
    assert (model.predict(X) != y).sum() == n_wrong
    fixed = GaussianMixtureClassifier(covariance_type=name, reg_covar=0.0, priors=np.full(3, 1 / 3)).fit(X, y)
    assert fixed.n_parameters_ == n_parameters


def test_eee_is_linear_discriminant_analysis():
    X, y = IRIS
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(X[20:], y[20:])
    ours = GaussianMixtureClassifier(covariance_type="EEE", reg_covar=0.0).fit(X[20:], y[20:])
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-10)


@pytest.mark.parametrize("family", reference.FAMILIES)
@pytest.mark.parametrize("counts", [1, 2, [1, 3, 2]])
def test_probabilities_are_the_twins(family, counts):
    """From the fits of single classes, or all rows in one M-step."""
    X, y = problems.rows(51, 240, 3, 6), np.arange(240) % 3
    X = X + 4.0 * (y[:, None] == np.arange(3))
    weight = np.random.default_rng(0).integers(1, 4, 240).astype(float)
    options = {"covariance_type": family, "reg_covar": 0.0, "max_iter": 500, "tol": 1e-8}
    model = GaussianMixtureClassifier(counts, random_state=0, **options).fit(X, y, sample_weight=weight)
    shares = np.bincount(y, weight) / weight.sum()
    if counts == 1:
        made = reference.maximise(family, X, np.eye(3)[y], sample_weight=weight)
        joint = reference.log_joint(reference.constants_of(family, made), X)
    else:
        rng, joint = np.random.default_rng(0), []
        for label in range(3):
            K, of = np.broadcast_to(counts, 3)[label], y == label
            found = fastgmm.fitting.run(X[of], int(K), random_state=rng, sample_weight=weight[of], **options)
            joint.append(np.log(shares[label]) + found.mixture.score_samples(X))
        joint = np.stack(joint, axis=1)
    np.testing.assert_allclose(model.predict_proba(X), reference.responsibilities(joint), atol=1e-9)
    np.testing.assert_allclose(model.score_samples(X), reference.log_sum_exp(joint), rtol=1e-9)
    np.testing.assert_allclose(model.class_prior_, shares, rtol=1e-12)
    log_likelihood = weight @ joint[np.arange(240), y]
    np.testing.assert_allclose(model.lower_bound_ * weight.sum(), log_likelihood, rtol=1e-10)
    m, n = model.n_parameters_, weight.sum()
    bic = model.criterion(X, y, sample_weight=weight)
    np.testing.assert_allclose(bic, -2 * log_likelihood + m * np.log(n), rtol=1e-10)
    assert model.criterion(X, y, "mclust_bic", sample_weight=weight) == -bic
    per_class = np.broadcast_to(counts, 3)
    family = covariance.get(family)
    expected = 2 + 3 * per_class.sum()
    if counts == 1:
        expected += family.n_parameters(3, 3)
    else:
        expected += sum(family.n_parameters(K, 3) + K - 1 for K in per_class.tolist())
    assert m == expected


@pytest.mark.parametrize("name", [*covariance.names(), "mfa:1"])
@pytest.mark.parametrize("counts", [1, 2])
def test_every_structure(name, counts):
    X, y = IRIS
    options = {"random_state": 0, "reg_covar": 1e-3, "max_iter": 500, "tol": 1e-6}
    model = GaussianMixtureClassifier(counts, covariance_type=name, **options).fit(X, y)
    assert model.score(X, y) > 0.9
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0, rtol=1e-12)
    assert model.to_mixture().n_components == 3 * counts
    np.testing.assert_array_equal(model.component_class_, np.repeat(np.arange(3), counts))


def test_mixtures_find_classes_that_are_not_convex():
    rng = np.random.default_rng(1)
    inside = rng.standard_normal((300, 2))
    angle = rng.uniform(0, 2 * np.pi, 300)
    ring = 5 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.3 * rng.standard_normal((300, 2))
    X, y = np.concatenate([inside, ring]), np.repeat(["inside", "ring"], 300)
    model = GaussianMixtureClassifier([1, 8], random_state=0, max_iter=500).fit(X, y)
    assert model.score(X, y) > 0.99
    linear = GaussianMixtureClassifier(covariance_type="EEE")
    assert cross_val_score(linear, X, y).mean() < 0.8
    assert model.score_samples([[0.0, 0.0]]) > model.score_samples([[50.0, 0.0]])


def test_prior_saves_classes_of_few_rows():
    X, y = IRIS
    few = np.r_[0:3, 50:53, 100:103]  # three rows of four features for each class
    with pytest.raises(fastgmm.IllDefinedCovarianceError):
        GaussianMixtureClassifier(reg_covar=0.0).fit(X[few], y[few])
    model = GaussianMixtureClassifier(reg_covar=0.0, prior=ConjugatePrior()).fit(X[few], y[few])
    assert np.isfinite(model.score_samples(X)).all()
    assert model.score(X, y) > 0.5


def test_given_probabilities_move_the_border():
    X, y = np.array([[0.0], [1.0], [4.0], [5.0]]), np.array(["b", "b", "a", "a"])
    model = GaussianMixtureClassifier(covariance_type="E", priors=[0.999, 0.001]).fit(X, y)
    assert model.classes_.tolist() == ["a", "b"]
    assert model.predict([[2.4]]).tolist() == ["a"]
    assert GaussianMixtureClassifier(covariance_type="E").fit(X, y).predict([[2.4]]).tolist() == ["b"]


def test_weight_zero_is_removal():
    X, y = IRIS
    weight = np.where(np.arange(150) % 3 == 0, 0.0, 2.0)
    weight[y == 2] = 0.0
    kept = weight > 0
    one = GaussianMixtureClassifier(2, random_state=0).fit(X, y, sample_weight=weight)
    other = GaussianMixtureClassifier(2, random_state=0).fit(X[kept], y[kept], sample_weight=weight[kept])
    assert one.classes_.tolist() == [0, 1]
    assert one.to_mixture() == other.to_mixture()


def test_pickle_clone_float32():
    X, y = IRIS
    model = GaussianMixtureClassifier(2, random_state=0, covariance_type="diag").fit(X.astype(np.float32), y)
    again = pickle.loads(pickle.dumps(model))
    assert again.to_mixture() == model.to_mixture()
    assert problems.same_bits(again.predict_proba(X), model.predict_proba(X))
    assert model.to_mixture().dtype == np.float32
    assert not hasattr(clone(model), "classes_")


BAD = [
    ({"n_components": [1, 2]}, "n_components must be an int or 3, one for each class, got [1, 2]"),
    ({"n_components": [1, 0, 1]}, "n_components must be an int >= 1, got 0"),
    ({"n_components": 51}, "class 0 has 50 rows, but n_components=51 were asked for"),
    ({"priors": [0.5, 0.5]}, "priors must be 3 probabilities of sum one"),
    ({"priors": [0.5, 0.5, 0.5]}, "priors must be 3 probabilities of sum one"),
    ({"covariance_type": "ZZZ"}, "The 'covariance_type' parameter of GaussianMixtureClassifier must be"),
    ({"covariance_type": "E"}, "covariance_type='E' is for one feature, got 4"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_parameters_are_named(options, message):
    model = GaussianMixtureClassifier(**options)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        model.fit(*IRIS)
    assert str(caught.value).startswith(message)
    assert "classes_" not in vars(model)


def test_bad_classes_are_named():
    X, y = IRIS
    model = GaussianMixtureClassifier().fit(X, y)
    with pytest.raises(ValueError, match=r"y must have the shape \(150,\), one class for each row of X, got \(3,\)"):
        model.fit(X, [0, 1, 2])
    with pytest.raises(ValueError, match="y must hold no other classes than those of the fit, got 7"):
        model.criterion(X, np.full(150, 7))
    with pytest.raises(fastgmm.InvalidParameterError, match="name must be one of 'bic', 'aic'"):
        model.criterion(X, y, "icl")


CHECKS = """
from sklearn.utils.estimator_checks import check_estimator
from fastgmm import GaussianMixtureClassifier
for options in ({}, {"covariance_type": "EEE"}):
    results = check_estimator(GaussianMixtureClassifier(**options), on_fail=None, on_skip=None)
    bad = [f"{each['check_name']}: {each['exception']!r}" for each in results if each["status"] != "passed"]
    assert not bad, bad
    print(len(results))
"""


def test_check_estimator_passes_whole(run_python, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else scikit-learn skips a check
    assert min(map(int, run_python(CHECKS).split())) > 50


@pytest.mark.parametrize("name", ["check_dataframe_column_names_consistency", "check_param_validation"])
def test_checks_that_scikit_learn_runs_elsewhere(name):
    getattr(estimator_checks, name)("GaussianMixtureClassifier", GaussianMixtureClassifier())


@pytest.mark.parametrize(
    ("odd", "kinds"), [(1, "int, str"), (None, "NoneType, str"), (np.nan, "float, str")], ids=["int", "None", "nan"]
)
def test_classes_of_several_kinds_are_refused(odd, kinds):
    y = np.array([odd, "a", "b", "a"], dtype=object)
    with pytest.raises(TypeError, match=f"y must hold classes of one kind, ints or strings, got {kinds}"):
        GaussianMixtureClassifier().fit(np.arange(8.0).reshape(4, 2), y)
