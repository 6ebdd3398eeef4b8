"""GaussianMixture inside scikit-learn: its checks, meta-estimators, metadata routing, copies and data frames."""

import copy
import json
import pickle
import re

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import polars as pl
import problems
import pyarrow as pa
import pytest
import reference
import sklearn
from sklearn.base import BaseEstimator, DensityMixin, clone, is_clusterer
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils._param_validation import InvalidParameterError

import fastgmm
from fastgmm import GaussianMixture

by_family = pytest.mark.parametrize("family", reference.FAMILIES)


@pytest.fixture(scope="module")
def X():
    return problems.rows(1, 300, 3, 3, separation=4.0)


# ----------------------------------------------------------------------------------------------- the checks

CHECKED = """
import json
from sklearn.utils.estimator_checks import check_estimator
from fastgmm import GaussianMixture

outcomes = []
for options in (
    *({"covariance_type": family} for family in ("full", "tied", "diag", "spherical")),
    *({"init_params": start} for start in ("k-means++", "random", "random_from_data")),
    {"n_components": 2, "n_init": 2, "n_threads": 2},
    {"warm_start": True},
    {"missing": "em"},
):
    results = check_estimator(GaussianMixture(**options), on_fail=None, on_skip=None)
    bad = [f"{each['check_name']}: {each['exception']!r}" for each in results if each["status"] != "passed"]
    outcomes.append((options, len(results), bad))
print(json.dumps(outcomes))
"""


def test_check_estimator_passes_whole(run_python, monkeypatch):
    """No failure, no expected failure, and with the variable set none is skipped for want of an array interface."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    for options, count, bad in json.loads(run_python(CHECKED)):
        assert bad == [], options
        assert count >= 48 - ("missing" in options)  # of an estimator whose fit takes weights; or gaps, no error then


@pytest.mark.parametrize("name", ["check_dataframe_column_names_consistency", "check_param_validation"])
@by_family
def test_checks_that_the_generator_leaves_out_pass(family, name):
    getattr(estimator_checks, name)("GaussianMixture", GaussianMixture(covariance_type=family))


def test_base_classes_and_tags():
    assert issubclass(GaussianMixture, DensityMixin)
    assert issubclass(GaussianMixture, BaseEstimator)
    tags = get_tags(GaussianMixture())
    assert tags.estimator_type == "density_estimator"
    assert not tags.target_tags.required
    assert not tags.input_tags.sparse
    assert not is_clusterer(GaussianMixture())


def test_errors_and_warnings_are_caught_by_either_name(X):
    """Of fastgmm, which needs no scikit-learn, and of scikit-learn."""
    for kind in (fastgmm.NotFittedError, NotFittedError):
        with pytest.raises(kind, match="not fitted yet"):
            GaussianMixture().predict(X)
    for kind in (fastgmm.InvalidParameterError, InvalidParameterError):
        with pytest.raises(kind, match="'tol' parameter of GaussianMixture"):
            GaussianMixture(tol=-1).fit(X)
    for kind in (fastgmm.ConvergenceWarning, ConvergenceWarning):
        with pytest.warns(kind, match="did not converge"):
            GaussianMixture(3, max_iter=1, random_state=0).fit(X)


def test_representations(X):
    model = GaussianMixture(3, covariance_type="tied", random_state=0)
    assert repr(model) == "GaussianMixture(covariance_type='tied', n_components=3, random_state=0)"
    html = model.fit(X)._repr_html_()
    for part in ("GaussianMixture", "n_components", "Fitted"):
        assert part in html


# ----------------------------------------------------------------------------------------------- copies


def test_clone_copies_parameters_alone(X):
    model = GaussianMixture(3, tol=1e-2, random_state=4, init_params=np.arange(len(X)) % 3, n_threads=1).fit(X)
    twin = clone(model)
    assert not hasattr(twin, "means_")
    problems.assert_same_fit(twin.fit(X), model)


@by_family
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("copied", ["pickle", "cloudpickle", "joblib", "copy", "deepcopy"])
def test_copies_predict_the_same_bits(X, tmp_path, family, dtype, copied):
    """Promise 47."""
    X = X.astype(dtype)
    model = GaussianMixture(3, covariance_type=family, random_state=0).fit(X)
    if copied == "joblib":
        joblib.dump(model, tmp_path / "model.joblib")
        twin = joblib.load(tmp_path / "model.joblib")
    elif copied in ("copy", "deepcopy"):
        twin = getattr(copy, copied)(model)
    else:
        module = {"pickle": pickle, "cloudpickle": cloudpickle}[copied]
        twin = module.loads(module.dumps(model))
    problems.assert_same_fit(twin, model)
    assert twin.get_params() == model.get_params()
    for method in ("predict", "predict_proba", "score_samples"):
        assert problems.same_bits(getattr(twin, method)(X), getattr(model, method)(X))
    assert twin.score(X) == twin.lower_bound_


def test_pickle_holds_plain_values_alone(X):
    """Nothing of the rows, and nothing of fastgmm but the class itself."""
    state = GaussianMixture(3, random_state=0).fit(X).__getstate__()
    assert {type(value) for value in state.values()} <= {np.ndarray, float, int, bool, str, list, type(None)}
    assert sum(value.nbytes for value in state.values() if isinstance(value, np.ndarray)) < X.nbytes / 5
    text = pickle.dumps(GaussianMixture(3, random_state=0).fit(X), protocol=0).decode("latin1")
    assert set(re.findall(r"fastgmm[\w.]*", text)) == {"fastgmm.estimators.gaussian_mixture"}


def test_damaged_pickle_is_refused_where_it_is_used(X):
    model = GaussianMixture(3, random_state=0).fit(X)
    model.means_ = model.means_[:2]
    with pytest.raises(ValueError, match="weights"):
        pickle.loads(pickle.dumps(model)).predict(X)


def test_processes_of_joblib_fit_and_predict_alike(X):
    models = [GaussianMixture(2, covariance_type=family, random_state=0) for family in ("full", "diag")]
    fitted = joblib.Parallel(n_jobs=2)(joblib.delayed(GaussianMixture.fit)(model, X) for model in models)
    for there, model in zip(fitted, models, strict=True):
        problems.assert_same_fit(there, model.fit(X))


# ----------------------------------------------------------------------------------------------- meta-estimators


def test_pipeline_is_its_parts(X):
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(3, random_state=0)).fit(X)
    scaled = StandardScaler().fit_transform(X)
    model = GaussianMixture(3, random_state=0).fit(scaled)
    np.testing.assert_array_equal(pipeline.predict(X), model.predict(scaled))
    np.testing.assert_array_equal(pipeline.predict_proba(X), model.predict_proba(scaled))
    np.testing.assert_array_equal(pipeline.score_samples(X), model.score_samples(scaled))
    np.testing.assert_array_equal(pipeline.fit_predict(X), model.fit_predict(scaled))
    assert pipeline.score(X) == model.score(scaled)
    weight = np.arange(1.0, len(X) + 1)
    problems.assert_same_fit(
        pipeline.fit(X, gaussianmixture__sample_weight=weight)[-1], model.fit(scaled, sample_weight=weight)
    )


def test_grid_search_finds_the_number_of_components(X):
    grid = {"n_components": [1, 2, 3], "covariance_type": ["full", "tied"]}
    search = GridSearchCV(GaussianMixture(random_state=0), grid, cv=3).fit(X)
    assert search.best_params_["n_components"] == 3
    assert search.best_estimator_.means_.shape == (3, 3)
    scores = cross_val_score(GaussianMixture(3, random_state=0, covariance_type="full"), X, cv=3)
    row = [search.cv_results_[f"split{i}_test_score"] for i in range(3)]
    place = search.cv_results_["params"].index({"n_components": 3, "covariance_type": "full"})
    assert [split[place] for split in row] == scores.tolist()


def test_grid_search_by_bic(X):
    """A scorer of the estimator and X, as scikit-learn's example of model selection has it."""
    grid = {"n_components": [2, 3, 4], "covariance_type": list(reference.FAMILIES)}
    search = GridSearchCV(
        GaussianMixture(random_state=0), grid, scoring=lambda estimator, X: -estimator.bic(X), error_score="raise"
    ).fit(X)
    assert search.best_params_["n_components"] == 3


def test_metadata_routing_carries_weights(X):
    weight = np.random.default_rng(0).integers(1, 4, len(X)).astype(float)
    plain = GaussianMixture(2, random_state=0)
    assert plain.get_metadata_routing().fit.requests == {"sample_weight": None, "known_labels": None}
    assert plain.get_metadata_routing().score.requests == {"sample_weight": None}
    with sklearn.config_context(enable_metadata_routing=True):
        model = GaussianMixture(2, random_state=0)
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
        pipeline.fit(X, sample_weight=weight)
        scaled = StandardScaler().fit_transform(X)
        direct = GaussianMixture(2, random_state=0).fit(scaled, sample_weight=weight)
        problems.assert_same_fit(pipeline[-1], direct)
        assert pipeline.score(X, sample_weight=weight) == direct.lower_bound_
        search = GridSearchCV(model, {"n_components": [1, 2]}, cv=[(np.arange(200), np.arange(200, 300))])
        search.fit(X, sample_weight=weight)
        first = GaussianMixture(2, random_state=0).fit(X[:200], sample_weight=weight[:200])
        assert search.cv_results_["split0_test_score"][1] == first.score(X[200:], sample_weight=weight[200:])
        with pytest.raises(ValueError, match=r"\[sample_weight\] are passed but are not explicitly set as requested"):
            GridSearchCV(GaussianMixture(), {"n_components": [1, 2]}).fit(X, sample_weight=weight)


# ----------------------------------------------------------------------------------------------- data frames

NAMES = ["long", "wide", "high"]
FRAMES = {
    "pandas": lambda X, names: pd.DataFrame(X, columns=names),
    "pandas with nullable types": lambda X, names: pd.DataFrame(X, columns=names).convert_dtypes(),
    "polars": lambda X, names: pl.DataFrame(X, schema=names),
    "pyarrow": lambda X, names: pa.table(dict(zip(names, X.T, strict=True))),
}
by_frame = pytest.mark.parametrize("kind", FRAMES)


@by_frame
def test_frame_gives_names_and_the_bits_of_its_array(X, kind):
    frame = FRAMES[kind](X, NAMES)
    model = GaussianMixture(3, random_state=0).fit(frame)
    assert model.feature_names_in_.dtype == object
    assert model.feature_names_in_.tolist() == NAMES
    plain = GaussianMixture(3, random_state=0).fit(X)
    problems.assert_same_fit(model, plain)
    for method in ("predict", "predict_proba", "score_samples"):
        assert problems.same_bits(getattr(model, method)(frame), getattr(plain, method)(X))
    assert [model.score(frame), model.bic(frame), model.aic(frame)] == [plain.score(X), plain.bic(X), plain.aic(X)]
    np.testing.assert_array_equal(model.fit_predict(frame), plain.predict(X))


@by_frame
def test_frame_of_other_columns_is_refused(X, kind):
    model = GaussianMixture(3, random_state=0).fit(FRAMES[kind](X, NAMES))
    for names, message in (
        (["wide", "long", "high"], "must be in the same order as they were in fit"),
        (
            ["long", "wide", "tall"],
            "unseen at fit time:\n- tall\nFeature names seen at fit time, yet now missing:\n- ",
        ),
    ):
        for method in (model.predict, model.predict_proba, model.score_samples, model.score, model.bic, model.aic):
            with pytest.raises(ValueError, match=message):
                method(FRAMES[kind](X, names))


@by_frame
def test_names_on_one_side_alone_are_a_warning(X, kind):
    frame = FRAMES[kind](X, NAMES)
    named, plain = GaussianMixture(random_state=0).fit(frame), GaussianMixture(random_state=0).fit(X)
    with pytest.warns(UserWarning, match="X does not have valid feature names, but GaussianMixture was fitted with"):
        named.predict(X)
    with pytest.warns(UserWarning, match="X has feature names, but GaussianMixture was fitted without") as record:
        plain.predict(frame)
    assert record[0].filename == __file__


def test_names_go_with_a_fit_without_them(X):
    model = GaussianMixture().fit(FRAMES["pandas"](X, NAMES)).fit(X)
    assert not hasattr(model, "feature_names_in_")
    assert model.n_features_in_ == 3


def test_numbers_as_names_are_no_names_and_a_mixture_is_an_error(X):
    assert not hasattr(GaussianMixture().fit(pd.DataFrame(X)), "feature_names_in_")
    with pytest.raises(TypeError, match="only supported if all input features have string names"):
        GaussianMixture().fit(pd.DataFrame(X, columns=["long", 1, 2]))


def test_names_travel_into_the_model_file(X, tmp_path):
    model = GaussianMixture(3, random_state=0).fit(FRAMES["polars"](X, NAMES))
    model.save(tmp_path / "model.npz")
    assert fastgmm.load(tmp_path / "model.npz").feature_names == model.to_mixture().feature_names == tuple(NAMES)
    model.means_ = model.means_ + 1.0
    assert model.to_mixture().feature_names == tuple(NAMES)


@pytest.mark.parametrize("series", [pd.Series, pl.Series, list, pa.array])
def test_weights_may_be_a_column(X, series):
    weight = np.arange(1.0, len(X) + 1)
    model = GaussianMixture(2, random_state=0).fit(X, sample_weight=series(weight))
    problems.assert_same_fit(model, GaussianMixture(2, random_state=0).fit(X, sample_weight=weight))
