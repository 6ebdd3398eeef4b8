"""GaussianMixtureSelector: the search as an estimator of scikit-learn."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

from fastgmm import GaussianMixtureSelector, InvalidParameterError, NotFittedError, load, select

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 2)) * [1.0, 0.5] + np.repeat([[-6.0, 0.0], [0.0, 6.0], [6.0, -2.0]], 30, axis=0)
OPTIONS = {"n_components": [1, 2, 3, 4], "covariance_type": ["VVV", "EEI"], "random_state": 0}

CHECKED = """
import json
from sklearn.utils.estimator_checks import check_estimator
from fastgmm import GaussianMixtureSelector

results = check_estimator(GaussianMixtureSelector({options}), on_fail=None, on_skip=None)
bad = [f"{{each['check_name']}}: {{each['exception']!r}}" for each in results if each["status"] != "passed"]
print(json.dumps([len(results), bad]))
"""


@pytest.mark.parametrize(
    "options",
    ["(1, 2), covariance_type=['VVV', 'EEI']", pytest.param("", marks=pytest.mark.long)],
)
def test_check_estimator_passes_whole(run_python, monkeypatch, options):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    count, bad = json.loads(run_python(CHECKED.format(options=options)))
    assert bad == []
    assert count >= 48


def test_checks_that_the_generator_leaves_out_pass():
    estimator_checks.check_param_validation("GaussianMixtureSelector", GaussianMixtureSelector())
    some = GaussianMixtureSelector([1, 2], covariance_type="EEI")
    estimator_checks.check_dataframe_column_names_consistency("GaussianMixtureSelector", some)


def test_it_is_the_best_of_the_search():
    model, found = GaussianMixtureSelector(**OPTIONS).fit(X), select(X, **OPTIONS)
    best = found.best
    assert model.to_mixture() == found.chosen.mixture
    assert (model.n_components_, model.covariance_type_) == (3, found.chosen.covariance_type)
    assert [each.mixture for each in model.selection_.candidates] == [each.mixture for each in found.candidates]
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(best, name))
    for method in ("predict", "predict_proba", "score_samples"):
        np.testing.assert_array_equal(getattr(model, method)(X), getattr(best, method)(X))
    np.testing.assert_array_equal(model.fit_predict(X), best.predict(X))
    assert [model.score(X), model.bic(X), model.aic(X), model.icl(X)] == [
        best.score(X),
        best.bic(X),
        best.aic(X),
        best.icl(X),
    ]
    np.testing.assert_array_equal(model.sample(5)[0], best.sample(5)[0])


def test_clones_pickles_pipelines_and_frames(tmp_path):
    model = GaussianMixtureSelector(**OPTIONS).fit(X)
    model.save(tmp_path / "model.npz")
    assert load(tmp_path / "model.npz") == model.to_mixture()
    twin = clone(model)
    assert not hasattr(twin, "means_")
    with pytest.raises(NotFittedError, match="This GaussianMixtureSelector instance is not fitted yet"):
        twin.predict(X)
    with pytest.raises(AttributeError, match="nothing_"):
        model.nothing_  # noqa: B018
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict(X), model.predict(X))
    assert make_pipeline(StandardScaler(), twin).fit(X)[-1].n_components_ == 3
    frame = pd.DataFrame(X, columns=["long", "wide"])
    assert twin.fit(frame).feature_names_in_.tolist() == ["long", "wide"]
    assert not hasattr(twin.fit(X), "feature_names_in_")


def test_interrupted_fits_leave_it_as_it_was(monkeypatch):
    model = GaussianMixtureSelector(**OPTIONS)
    found = select(X, **OPTIONS)
    object.__setattr__(found, "interrupted", True)
    monkeypatch.setattr("fastgmm.selection.selector.select", lambda *_, **__: found)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert not hasattr(model, "selection_")


def test_wrong_parameters():
    with pytest.raises(InvalidParameterError, match="'criterion' parameter of GaussianMixtureSelector"):
        GaussianMixtureSelector(criterion="mdl").fit(X)
    with pytest.raises(InvalidParameterError, match="covariance_type must be one of"):
        GaussianMixtureSelector(covariance_type=["round"]).fit(X)
