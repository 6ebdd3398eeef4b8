"""Rows with gaps in Dask collections: fits, densities and labels are those of an array of the rows."""

import dask
import dask.array
import dask.dataframe
import numpy as np
import pandas
import pytest
from gap_cases import by_structure, case, fitted

import fastgmm
from fastgmm import GaussianMixture
from fastgmm.distributed import DaskSource, GappedDaskSource

pytestmark = pytest.mark.usefixtures("no_cluster")

K, D, N = 3, 4, 600
CHUNKS = (1, 2, 0, 147, 250, 200)  # one of them empty, one nothing but gaps


@pytest.fixture(scope="module")
def data():
    _, _, X = case("VVV", K=K, D=D, n=N, share=0.2)
    X[0] = np.nan
    return X, np.random.default_rng(0).integers(0, 4, N).astype(float)


def as_array(X):
    return dask.array.from_array(X, chunks=(CHUNKS, (2, X.shape[1] - 2)))


def as_frame(X):
    frame = pandas.DataFrame(X, columns=list("abcd"))
    ends = np.cumsum((0, *CHUNKS))
    return dask.dataframe.from_map(lambda i: frame.iloc[ends[i] : ends[i + 1]], range(len(CHUNKS)), meta=frame.iloc[:0])


def close(one, other, digits=1e-11):
    assert (one.n_iter, one.n_unobserved) == (other.n_iter, other.n_unobserved)
    np.testing.assert_allclose(one.lower_bounds, other.lower_bounds, rtol=digits)
    for mine, theirs in zip(one.mixture.parameters.arrays(), other.mixture.parameters.arrays(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=digits * max(1.0, np.abs(theirs).max()))


@by_structure
def test_fits_of_every_structure_are_those_of_an_array(name, data):
    X, w = (data[0][:, :1], data[1]) if name in ("E", "V") else data
    lazy = dask.array.from_array(X, chunks=(170, X.shape[1]))
    options = {"covariance_type": name, "sample_weight": w, "random_state": 0, "max_iter": 2, "tol": 0.0}
    close(fitted(lazy, K, **options), fitted(X, K, **options), 1e-10)  # M-steps of EVE and VVE iterate


@pytest.mark.parametrize("collect", [as_array, as_frame])
@pytest.mark.parametrize(
    "options", [{}, {"acceleration": "squarem", "on_collapse": "floor"}, {"prior": "conjugate"}], ids=str
)
def test_fits_from_uneven_partitions(collect, options, data):
    options = {"random_state": 0, "max_iter": 4, "tol": 0.0, **options}
    found = fitted(collect(data[0]), K, **options)
    assert found.n_unobserved == 2
    close(found, fitted(data[0], K, **options))


def test_float32_stays(data):
    X = data[0].astype(np.float32)
    options = {"random_state": 0, "max_iter": 2, "tol": 0.0}
    found = fitted(as_array(X), K, **options)
    assert found.mixture.dtype == np.float32
    close(found, fitted(X, K, **options), 1e-5)


def test_more_rows_than_a_start_is_made_of(data, monkeypatch):
    from fastgmm.fitting import starts

    monkeypatch.setattr(starts, "START_ROWS", 300)
    options = {"random_state": 0, "tol": 1e-7, "max_iter": 500}
    found = fitted(as_array(data[0]), K, **options)
    assert found.lower_bound == pytest.approx(fitted(data[0], K, **options).lower_bound, abs=1e-3)


def test_rows_without_gaps_have_the_bits_of_rows_of_which_nothing_is_asked():
    X = np.random.default_rng(0).normal(size=(N, D))
    source = GappedDaskSource(as_array(X))
    options = {"random_state": 0, "max_iter": 3, "tol": 0.0}
    assert fitted(source, K, **options) == fitted(GappedDaskSource(as_array(X)), K, **options)
    assert (source.n_missing, source.n_unobserved, source.n_rows, source.has_gaps) == (0, 0, N, False)
    with pytest.warns(fastgmm.ConvergenceWarning):
        assert fastgmm.fit(as_array(X), K, **options) == fitted(source, K, **options)


def test_counts_are_of_rows_with_positive_weight(data):
    X, w = data
    source = GappedDaskSource(as_array(X), w)
    kept = np.isnan(X[w > 0])
    assert (source.n_rows, source.total_weight, source.n_missing) == (len(kept), w.sum(), kept.sum())
    assert source.n_unobserved == kept.all(axis=1).sum()


@pytest.mark.parametrize("collect", [as_array, as_frame])
@pytest.mark.filterwarnings("ignore::fastgmm.NothingObservedWarning")
def test_densities_and_labels(collect, data):
    X, lazy = data[0], collect(data[0])
    model = GaussianMixture(K, missing="em", random_state=0).fit(lazy)
    rows = pandas.DataFrame(X, columns=list("abcd")) if collect is as_frame else X
    for method in ("predict", "predict_proba", "score_samples"):
        np.testing.assert_array_equal(getattr(model, method)(lazy).compute(), getattr(model, method)(rows))
    assert model.score(lazy) == model.lower_bound_ == pytest.approx(model.score(rows), rel=1e-13)
    assert model.bic(lazy) == pytest.approx(model.bic(rows), rel=1e-13)


def test_bad_input(data):
    X = data[0].copy()
    with pytest.raises(ValueError, match=r"Input partition 1 \(counted from 0\) contains NaN. The first is in row 1"):
        fastgmm.fit(as_array(np.where(np.arange(N)[:, None] == 2, X, 0.0)), K)
    with pytest.raises(ValueError, match="missing='em' needs a source that knows of gaps, got a DaskSource"):
        fitted(DaskSource(as_array(X)), K)
    X[300, 1] = np.inf
    with pytest.raises(ValueError, match=r"Input partition 4 \(counted from 0\) contains infinity.*row 150, column 1"):
        fitted(as_array(X), K)
    X[:, 1] = np.nan
    with pytest.raises(ValueError, match=r"nothing but gaps in column 1 \(counted from 0\)"):
        fitted(as_array(X), K)
    with pytest.raises(ValueError, match="no rows of positive weight"):
        fitted(as_array(data[0]), K, sample_weight=np.zeros(N))
