"""Rows with gaps in files, memory maps and batches: fits, densities and labels are those of an array of the rows."""

import importlib
import itertools

import numpy as np
import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import pytest
import reference_missing as twin
from gap_cases import case, fitted, with_gaps
from problems import no_convergence_warning
from test_max_memory import MB, taken, write_rows

import fastgmm
from fastgmm.engine.gaps import GappedRows
from fastgmm.engine.rows import Rows
from fastgmm.sources import ArraySource, BatchSource, GappedBatchSource, MissingSource, as_source

K, D, N = 3, 4, 600


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Many chunks of few rows."""
    monkeypatch.setattr(BatchSource, "_chunk_rows", lambda *_: 97)


@pytest.fixture(scope="module")
def data():
    _, _, X = case("VVV", K=K, D=D, n=N, share=0.2)
    return X, np.random.default_rng(0).integers(0, 4, N).astype(float)


def cut(X, w, at=(0, 1, 2, 3, 150, 150, 400, N - 1, N)):
    """Batches of very different sizes, one of them empty, and one nothing but gaps."""
    return [X[i:j] if w is None else (X[i:j], w[i:j]) for i, j in itertools.pairwise(at)]


def as_batches(X, w, folder):
    return GappedBatchSource(cut(X, w))


def as_npy(X, w, folder):
    np.save(folder / "rows.npy", X)
    return GappedBatchSource(folder / "rows.npy", w)


def as_memory_map(X, w, folder):
    np.save(folder / "rows.npy", X)
    return as_source(np.load(folder / "rows.npy", mmap_mode="r"), w, max_memory="200 MB", missing="em")


def table_of(X, w):
    columns = {f"x{j}": pyarrow.array(X[:, j], from_pandas=True) for j in range(D)}
    assert columns["x1"].null_count
    return pyarrow.table(columns | ({} if w is None else {"w": w}))


def as_parquet(X, w, folder):
    pyarrow.parquet.write_table(table_of(X, w), folder / "rows.parquet", row_group_size=211)
    return GappedBatchSource(folder / "rows.parquet", weights=None if w is None else "w")


def as_record_batches(X, w, folder):
    return GappedBatchSource(table_of(X, w), weights=None if w is None else "w")


def as_csv(X, w, folder):
    rows = X if w is None else np.column_stack([X, w])
    words = itertools.cycle(["", "NA", "nan", "null"])
    lines = [",".join(next(words) if np.isnan(value) else repr(float(value)) for value in row) for row in rows]
    names = [*(f"x{j}" for j in range(D)), *([] if w is None else ["w"])]
    (folder / "rows.csv").write_text("\n".join([",".join(names), *lines]) + "\n")
    return GappedBatchSource(folder / "rows.csv", weights=None if w is None else "w")


SOURCES = [as_batches, as_npy, as_memory_map, as_parquet, as_record_batches, as_csv]
by_source = pytest.mark.parametrize("make", SOURCES)


def assert_same_fits(one, other, digits=1e-12):
    assert (one.n_iter, one.n_unobserved) == (other.n_iter, other.n_unobserved)
    np.testing.assert_allclose(one.lower_bounds, other.lower_bounds, rtol=digits)
    for mine, theirs in zip(one.mixture.parameters.arrays(), other.mixture.parameters.arrays(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=digits * max(1.0, np.abs(theirs).max()))


# ------------------------------------------------------------------------------------------------- fits and passes


@by_source
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["full", "VEI"])
@pytest.mark.parametrize("options", [{}, {"acceleration": "squarem", "on_collapse": "floor"}], ids=str)
def test_fits_are_those_of_an_array(make, weighted, name, options, data, tmp_path):
    X, w = data[0], data[1] if weighted else None
    options = {"covariance_type": name, "random_state": 0, "max_iter": 4, "tol": 0.0, **options}
    assert_same_fits(fitted(make(X, w, tmp_path), K, **options), fitted(X, K, sample_weight=w, **options))


@pytest.mark.parametrize("name", ["tied", "diag", "spherical", "EVI", "mfa:2", "mppca:1"])
@pytest.mark.parametrize("options", [{}, {"prior": "conjugate"}, {"init_params": "random", "n_init": 2}], ids=str)
def test_every_kind_of_statistics(name, options, data):
    if name.startswith("m") and "prior" in options:
        options = {"reg_covar": 1e-3}  # families of low rank have no prior
    options = {"covariance_type": name, "random_state": 0, "max_iter": 3, "tol": 0.0, **options}
    assert_same_fits(
        fitted(as_batches(*data, None), K, **options), fitted(data[0], K, sample_weight=data[1], **options)
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_how_rows_are_cut_changes_no_bit(data, tmp_path, dtype):
    X, w = data[0].astype(dtype), data[1]
    options = {"random_state": 0, "max_iter": 4, "tol": 0.0}
    fits = [fitted(make(X, w, tmp_path), K, **options) for make in (as_batches, as_npy, as_memory_map, as_parquet)]
    assert all(each == fits[0] for each in fits)
    assert fits[0].mixture.dtype == dtype


@pytest.mark.parametrize("name", ["full", "tied", "VEI", "mfa:2"])
def test_rows_without_gaps_have_the_bits_of_a_batch_source(name, data):
    batches = cut(np.nan_to_num(data[0]), data[1])
    options = {"covariance_type": name, "random_state": 0, "max_iter": 3, "tol": 0.0}
    source = GappedBatchSource(batches)
    with no_convergence_warning():
        assert fastgmm.fit(source, K, missing="em", **options) == fastgmm.fit(BatchSource(batches), K, **options)
    assert not source.has_gaps


@pytest.mark.parametrize("name", ["VVV", "EEE"])
def test_statistics_are_the_twins(name):
    mixture, dense, X = case(name, n=300)
    log_density, _, n, means, scatter = twin.e_step(mixture.weights, mixture.means, dense, X)
    source = GappedBatchSource(np.array_split(X, 4))
    stats = source.accumulate(mixture.constants().unpooled(), pivot=means)
    assert stats.log_likelihood == pytest.approx(log_density.sum(), rel=1e-10)
    np.testing.assert_allclose(stats.n, n, rtol=1e-10)
    np.testing.assert_allclose(stats.means(), means, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(stats.within(), scatter, rtol=1e-10, atol=1e-10)
    assert source.score(mixture.constants()).log_likelihood == pytest.approx(log_density.sum(), rel=1e-10)


@pytest.mark.parametrize("n_features", [4, 70])
def test_moments_and_counts_are_those_of_an_array(n_features):
    rng = np.random.default_rng(1)
    X = with_gaps(rng.standard_normal((400, n_features)) @ rng.standard_normal((n_features, n_features)), 0.2, rng)
    w = rng.integers(0, 3, 400).astype(float)
    w[2] = 1.0  # the row with nothing observed
    inside, outside = MissingSource(GappedRows(Rows(X), w)), GappedBatchSource(X, w)
    for one, other in zip(outside.moments(), inside.moments(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    np.testing.assert_allclose(outside.covariance(), inside.covariance(), rtol=1e-11, atol=1e-11)
    assert (outside.n_rows, outside.n_unobserved) == (inside.n_rows, inside.n_unobserved)
    assert outside.n_unobserved == 1
    assert outside.n_missing == np.isnan(X[w > 0]).sum()
    assert outside.total_weight == w.sum()


def test_starts_are_made_of_a_sample_of_the_rows(monkeypatch):
    """Whose gaps are filled by the Gaussian of all rows: a column may have no value in the sample."""
    truth = fastgmm.Mixture([0.4, 0.6], [[-4.0, 0.0, 1.0], [4.0, 1.0, 0.0]], [np.eye(3)] * 2)
    X = with_gaps(truth.sample(4000, random_state=0, shuffle=True)[0], 0.2, np.random.default_rng(0))
    monkeypatch.setattr(importlib.import_module("fastgmm.fitting.run"), "start_rows", lambda *_: 200)
    result = fitted(GappedBatchSource(X), 2, random_state=0, tol=1e-7, max_iter=500)
    order = np.argsort(result.mixture.means[:, 0])
    np.testing.assert_allclose(result.mixture.means[order], truth.means, atol=0.12)
    X[:-1, 2], X[-1] = np.nan, 0.0
    few = GappedBatchSource(X).sample(10, np.random.default_rng(0))
    assert isinstance(few, MissingSource)
    assert np.isfinite(few.array).all()
    assert len(few.array) == 10
    assert isinstance(GappedBatchSource(X[-1:]).sample(10, np.random.default_rng(0)), ArraySource)


def test_a_row_with_nothing_observed_is_reported(data):
    with no_convergence_warning(), pytest.warns(fastgmm.NothingObservedWarning, match=r"^1 row\(s\) of X hold"):
        fastgmm.fit(GappedBatchSource(cut(data[0], None)), K, random_state=0, max_iter=2, tol=0.0)


# ------------------------------------------------------------------------------- labels, densities, model choice


def test_labels_and_densities_of_files(data, tmp_path):
    X, _ = data
    as_parquet(X, None, tmp_path)
    as_csv(X, None, tmp_path)
    np.save(tmp_path / "rows.npy", X)
    mixture = fitted(X, K, random_state=0).mixture
    for rows in (
        *(tmp_path / f"rows.{kind}" for kind in ("parquet", "csv", "npy")),
        pyarrow.dataset.dataset(tmp_path / "rows.parquet"),
    ):
        for name in ("predict", "predict_proba", "score_samples", "component_logpdf"):
            expected = getattr(mixture, name)(X, missing="em")
            np.testing.assert_array_equal(getattr(mixture, name)(rows, missing="em"), expected)
        assert mixture.score(rows, missing="em") == pytest.approx(mixture.score(X, missing="em"), rel=1e-12)
        assert mixture.bic(rows, missing="em") == pytest.approx(mixture.bic(X, missing="em"), rel=1e-12)


def test_estimator(data, tmp_path):
    X = data[0][~np.isnan(data[0]).all(axis=1)]
    path = tmp_path / "rows.npy"
    np.save(path, X)
    options = {"missing": "em", "random_state": 0}
    inside = fastgmm.GaussianMixture(K, **options).fit(X)
    for rows, more in ((path, {}), (X, {"max_memory": "200 MB"}), (GappedBatchSource([X]), {})):
        model = fastgmm.GaussianMixture(K, **options, **more)
        labels = model.fit_predict(rows)
        np.testing.assert_allclose(model.means_, inside.means_, rtol=0, atol=1e-11)
        np.testing.assert_array_equal(labels, inside.predict(X))
        np.testing.assert_array_equal(model.predict(path), inside.predict(X))
        assert model.score(path) == pytest.approx(inside.score(X), rel=1e-12)
    labels = fastgmm.GaussianMixture(K, random_state=0).fit_predict(GappedBatchSource([X]))  # the source knows
    np.testing.assert_array_equal(labels, inside.predict(X))


def test_select_chooses_among_fits_of_a_file(data, tmp_path):
    np.save(tmp_path / "rows.npy", data[0])
    options = {"missing": "em", "random_state": 0}
    inside, outside = (
        fastgmm.select(X, [1, 2, 3], ["full", "EEI"], **options) for X in (data[0], tmp_path / "rows.npy")
    )
    assert outside.chosen.n_components == inside.chosen.n_components
    assert outside.chosen.covariance_type == inside.chosen.covariance_type
    assert outside.chosen.value("bic") == pytest.approx(inside.chosen.value("bic"), rel=1e-6)


# ---------------------------------------------------------------------------------------------- memory, bad input


@pytest.mark.long
def test_a_fit_keeps_to_its_memory(run_python, tmp_path):
    write_rows(tmp_path / "rows.npy", 1 << 20, 20)  # 80 MB
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r+")
    rng = np.random.default_rng(0)
    for first in range(0, len(rows), 1 << 16):
        part = rows[first : first + (1 << 16), :8]
        part[rng.random(part.shape) < 0.1] = np.nan
    rows.flush()
    used, _ = taken(run_python, "'rows.npy'", 2, "full", 240 * MB, missing="em")
    assert used < 240 * MB


def test_infinities_are_named(data):
    X = data[0].copy()
    X[170, 1] = np.inf
    message = r"Input batch 5 \(counted from 0\) contains infinity.*The first is in row 20, column 1"
    with pytest.raises(ValueError, match=message):
        fastgmm.fit(GappedBatchSource(cut(X, None)), K)


def test_a_column_that_is_all_gaps(data):
    X = data[0].copy()
    X[:, 3] = np.nan
    with pytest.raises(ValueError, match=r"nothing but gaps in column 3 \(counted from 0\)"):
        fastgmm.fit(GappedBatchSource(cut(X, None)), K)


def test_weights_have_no_gaps(data, tmp_path):
    table = table_of(*data)
    holes = pyarrow.array(np.where(np.arange(N) == 7, np.nan, data[1]), from_pandas=True)
    pyarrow.parquet.write_table(table.set_column(D, "w", holes), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match="row 8, column 'w': the value is missing"):
        fastgmm.fit(GappedBatchSource(tmp_path / "rows.parquet", weights="w"), K)


def test_no_rows_of_positive_weight(data):
    with pytest.raises(ValueError, match="X has no rows of positive weight"):
        fastgmm.fit(GappedBatchSource([(data[0], np.zeros(N))]), K)


def test_who_knows_of_no_gaps_says_what_does(data):
    for source in (BatchSource([data[0]]), ArraySource(data[0])):
        with pytest.raises(ValueError, match="missing='em' needs a source that knows of gaps, got a"):
            fastgmm.fit(source, K, missing="em")
    with pytest.raises(ValueError, match=r"contains NaN|batch 0"):
        fastgmm.fit(BatchSource([data[0]]), K)
    with pytest.raises(ValueError, match="known_labels must be None where X is a GappedBatchSource"):
        fastgmm.fit(GappedBatchSource([data[0]]), K, known_labels=np.zeros(N, int))


def test_too_little_memory_is_refused(monkeypatch, data):
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"max_memory is 40 MB, but \d+ MB are needed for one block"):
        fastgmm.fit(data[0], K, missing="em", max_memory="40 MB")
