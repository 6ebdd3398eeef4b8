"""Selection and its criteria on rows that are not in an array: what is chosen, and the table, are those of an array."""

import dask
import dask.array
import dask.dataframe
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from gap_cases import with_gaps

import fastgmm
from fastgmm import GaussianMixtureSelector, InvalidParameterError, Mixture, select
from fastgmm.distributed import DaskSource
from fastgmm.selection import CRITERIA, cross_validate
from fastgmm.sources import ArraySource, BatchSource, Source

pytestmark = pytest.mark.usefixtures("no_cluster")

RNG = np.random.default_rng(0)
N, D = 900, 2
X = RNG.normal(size=(N, D)) * [1.0, 0.5] + np.repeat([[-2.0, 0.0], [0.0, 3.0], [2.0, -1.0]], N // 3, axis=0)
W = RNG.integers(0, 3, N).astype(float)
PLAN = {"n_components": [1, 2, 3, 4], "covariance_type": ["VVV", "EEI", "tied"], "random_state": 0}


class OneOfItsOwn(Source):
    """What docs/sources.md asks of a source of one's own."""

    n_features = D

    def accumulate(self, constants, *, pivot=None):
        return fastgmm.accumulate(X, constants, pivot=pivot)

    def sample(self, n_rows, rng):
        return ArraySource(X).sample(n_rows, rng)


def as_npy(X, folder):
    np.save(folder / "rows.npy", X)
    return folder / "rows.npy"


def as_parquet(X, folder):
    columns = {f"x{j}": pyarrow.array(X[:, j], from_pandas=True) for j in range(D)}
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "rows.parquet", row_group_size=199)
    return folder / "rows.parquet"


def as_batches(X, folder):
    return BatchSource(lambda: iter([X[:10], X[10:700], X[700:]]))


def as_dask(X, folder):
    return dask.array.from_array(X, chunks=(250, D))


def as_frame(X, folder):
    return dask.dataframe.from_pandas(pandas.DataFrame(X, columns=["a", "b"]), npartitions=3)


PLACES = [as_npy, as_parquet, as_batches, as_dask, as_frame]
by_place = pytest.mark.parametrize("place", PLACES)


def assert_same(found, whole, criterion="bic"):
    assert [each.result is None for each in found.candidates] == [each.result is None for each in whole.candidates]
    assert (found.chosen.covariance_type, found.chosen.n_components) == (
        whole.chosen.covariance_type,
        whole.chosen.n_components,
    )
    for mine, theirs in zip(found.candidates, whole.candidates, strict=True):
        assert mine.value(criterion) == pytest.approx(theirs.value(criterion), rel=1e-9)
    np.testing.assert_allclose(found.best.means_, whole.best.means_, rtol=1e-6)


@by_place
def test_what_is_chosen_is_what_is_chosen_of_an_array(place, tmp_path):
    found, whole = select(place(X, tmp_path), **PLAN), select(X, **PLAN)
    assert_same(found, whole)
    assert found.n_rows == N
    assert all(np.isnan(record["icl"]) for record in found.table if record["n_components"] > 1)


@pytest.mark.parametrize("criterion", ["icl", "icl_entropy", "nec", "mclust_icl", "aicc"])
@pytest.mark.parametrize("place", [as_batches, as_dask])
def test_every_criterion_but_cross_validation(criterion, place, tmp_path):
    plan = {**PLAN, "criterion": criterion}
    assert_same(select(place(X, tmp_path), **plan), select(X, **plan), criterion)


def test_weights_and_noise(tmp_path):
    options = {**PLAN, "sample_weight": W, "noise": 100.0}
    whole = select(X, **options)
    assert_same(select(as_npy(X, tmp_path), **options), whole)
    assert_same(select(as_dask(X, tmp_path), **options), whole)
    batches = BatchSource([(X[:500], W[:500]), (X[500:], W[500:])])
    assert_same(select(batches, **{**options, "sample_weight": None}), whole)


@pytest.mark.parametrize("place", [as_npy, as_parquet, as_dask, as_frame])
def test_gaps(place, tmp_path):
    gapped = with_gaps(X, 0.1, np.random.default_rng(1))
    plan = {**PLAN, "n_components": [1, 2, 3], "covariance_type": ["VVV", "EEI"], "missing": "em", "criterion": "icl"}
    assert_same(select(place(gapped, tmp_path), **plan), select(gapped, **plan), "icl")


def test_more_rows_than_starts_are_made_of(monkeypatch, tmp_path):
    monkeypatch.setattr("fastgmm.selection.starts.SAMPLE_ROWS", 200)
    monkeypatch.setattr("fastgmm.selection.starts.SAMPLE_ROWS_PER_COMPONENT", 20)
    plan = {**PLAN, "n_components": [2, 3], "tol": 1e-8, "abandon": False}
    found, whole = select(as_dask(X, tmp_path), **plan), select(X, **plan)
    assert found.chosen.n_components == whole.chosen.n_components == 3
    assert found.chosen.value("bic") == pytest.approx(whole.chosen.value("bic"), rel=1e-6)


def test_the_estimator(tmp_path):
    whole = GaussianMixtureSelector([1, 2, 3], covariance_type=["VVV", "EEI"], random_state=0).fit(X)
    model = GaussianMixtureSelector([1, 2, 3], covariance_type=["VVV", "EEI"], random_state=0)
    lazy = as_frame(X, tmp_path)
    labels = model.fit_predict(lazy)
    assert model.feature_names_in_.tolist() == model.best_estimator_.feature_names_in_.tolist() == ["a", "b"]
    np.testing.assert_array_equal(labels.compute(), whole.predict(X))
    path = as_npy(X, tmp_path)
    np.testing.assert_array_equal(model.fit(path).predict(path), whole.predict(X))


@by_place
def test_criteria_of_a_mixture(place, tmp_path):
    mixture = Mixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 1.0]], [np.eye(D), np.eye(D)])
    rows = place(X, tmp_path)
    for name, criterion in CRITERIA.items():
        if criterion.needs not in ("of_one", "held_out"):
            assert mixture.criterion(rows, name) == pytest.approx(mixture.criterion(X, name), rel=1e-12)
    assert mixture.entropies(rows) == pytest.approx(mixture.entropies(X), rel=1e-12)


def test_criteria_of_sources_with_weights():
    mixture = Mixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 1.0]], [np.eye(D), np.eye(D)])
    expected = mixture.entropies(X, W)
    for source in (
        ArraySource(X, W),
        BatchSource([(X, W)]),
        DaskSource(dask.array.from_array(X, chunks=(250, D)), W),
    ):
        assert mixture.entropies(source) == pytest.approx(expected, rel=1e-12)
        assert mixture.icl(source) == pytest.approx(mixture.icl(X, W), rel=1e-12)


def test_bad_input(tmp_path):
    mixture = Mixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 1.0]], [np.eye(D), np.eye(D)])
    own = OneOfItsOwn()
    with pytest.raises(InvalidParameterError, match="criterion 'cv' leaves rows out, which a OneOfItsOwn without"):
        select(own, criterion="cv")
    with pytest.raises(InvalidParameterError, match="X must be able to leave rows out, got a OneOfItsOwn without"):
        cross_validate(own)
    with pytest.raises(InvalidParameterError, match="n_folds must be at most the number of rows, 3, got 4"):
        cross_validate(BatchSource([X[:3]]), n_folds=4)
    with pytest.raises(InvalidParameterError, match="criterion 'nec' fits one component too"):
        mixture.criterion(as_dask(X, tmp_path), "nec")
    holes = X.copy()
    holes[300, 1] = np.nan
    with pytest.raises(ValueError, match=r"partition 1 \(counted from 0\) contains NaN"):
        select(as_dask(holes, tmp_path), **PLAN)
    with pytest.raises(ValueError, match="resume is a selection for other rows"):
        select(as_dask(X + 1, tmp_path), **PLAN, resume=select(as_dask(X, tmp_path), **PLAN))


def test_a_resumed_search_goes_on(tmp_path):
    plan = {**PLAN, "covariance_type": ["VVV", "EEI"]}
    part = select(as_dask(X, tmp_path), **{**plan, "n_components": [1, 2]})
    found = select(as_dask(X, tmp_path), **plan, resume=part)
    assert (found.chosen.covariance_type, found.chosen.n_components) == ("EEI", 3)
    assert fastgmm.select(X, **plan).chosen.value("bic") == pytest.approx(found.chosen.value("bic"), rel=1e-9)
