"""A label on a row of weight zero says nothing, wherever rows are; what is no label at all is an error there too."""

import itertools

import dask.array
import gap_cases
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

import fastgmm
from fastgmm import GaussianMixture, GaussianMixtureSelector
from fastgmm.distributed import DaskSource, GappedDaskSource
from fastgmm.fitting import run
from fastgmm.sources import ArraySource, BatchSource, GappedBatchSource

pytestmark = pytest.mark.usefixtures("no_cluster")

N, D, K = 600, 2, 2


@pytest.fixture(scope="module")
def data():
    """Two clusters; weights, of which a third are zero; a few labels, and on some rows of weight zero others."""
    rng = np.random.default_rng(0)
    truth = rng.integers(K, size=N)
    w = rng.integers(0, 3, N).astype(float)
    known = np.where((rng.random(N) < 0.2) & (w > 0), 1 - truth, -1)
    strays = np.where((rng.random(N) < 0.3) & (w == 0), rng.choice([0, 1, 7], N), known)
    assert (strays == 7).any()
    return rng.normal(size=(N, D)) + 6.0 * truth[:, None], w, known, strays


def places(folder, X, w, labels, gaps=False):
    """The same rows in every kind of place."""
    batches, dask_source = (GappedBatchSource, GappedDaskSource) if gaps else (BatchSource, DaskSource)
    np.save(folder / "rows.npy", X)
    parts = [(X[i:j], w[i:j], labels[i:j]) for i, j in itertools.pairwise((0, 7, 250, N))]
    table = pyarrow.table({"a": X[:, 0], "b": X[:, 1], "w": w, "y": labels})
    pyarrow.parquet.write_table(table, folder / "rows.parquet")
    yield batches(folder / "rows.npy", w, known_labels=labels)
    yield batches(np.load(folder / "rows.npy", mmap_mode="r"), w, known_labels=labels, max_memory="200 MB")
    yield batches(folder / "rows.parquet", weights="w", labels="y")
    yield batches(parts)
    yield dask_source(dask.array.from_array(X, chunks=(170, D)), w, known_labels=labels)
    yield batches(iter(parts), spool=True)


@pytest.mark.parametrize("gaps", [False, True])
def test_every_place_passes_over_them(data, gaps, tmp_path):
    X, w, known, strays = data
    X = gap_cases.with_gaps(X, 0.1, np.random.default_rng(1)) if gaps else X
    fit = gap_cases.fitted if gaps else fastgmm.fit
    options = {"random_state": 0, "tol": 1e-6}
    whole = fit(X, K, sample_weight=w, known_labels=known, **options)
    assert fit(X, K, sample_weight=w, known_labels=strays, **options) == whole
    for source in places(tmp_path, X, w, strays, gaps):
        assert source.n_named == K
        assert source.n_known == (known >= 0).sum()
        found = fit(source, K, **options)
        np.testing.assert_allclose(found.mixture.means, whole.mixture.means, rtol=1e-9)
        assert found.lower_bound == pytest.approx(whole.lower_bound, rel=1e-12)


def test_their_rows_get_the_component_that_is_most_likely(data, tmp_path):
    X, w, known, strays = data
    model = GaussianMixture(K, random_state=0, tol=1e-6)
    labels = model.fit_predict(X, sample_weight=w, known_labels=strays)
    np.testing.assert_array_equal(labels, np.where(known >= 0, known, model.predict(X)))
    for source in places(tmp_path, X, w, strays):
        np.testing.assert_array_equal(np.asarray(model.fit_predict(source)), labels)
    selector = GaussianMixtureSelector(K, covariance_type=["VVV"], random_state=0)
    for rows in (X, tmp_path / "rows.npy", dask.array.from_array(X, chunks=(170, D))):
        found = selector.fit_predict(rows, sample_weight=w, known_labels=strays)
        np.testing.assert_array_equal(np.asarray(found), np.where(known >= 0, known, selector.predict(X)))


def test_on_the_command_line(data, cli, tmp_path):
    X, w, known, strays = data
    for name, labels in (("known", known), ("strays", strays)):
        table = pyarrow.table({"a": X[:, 0], "b": X[:, 1], "w": w, "y": labels})
        pyarrow.parquet.write_table(table, tmp_path / f"{name}.parquet")
    for memory in ((), ("--max-memory", "200MB")):
        made = []
        for name in ("known", "strays"):
            outputs = "--model", tmp_path / "m.npz", "--labels", tmp_path / "labels.csv"
            options = "--components", K, "--covariance", "full", "--weights", "w", "--known-labels", "y", *memory
            cli("fit", tmp_path / f"{name}.parquet", *options, *outputs)
            made.append((fastgmm.load(tmp_path / "m.npz"), (tmp_path / "labels.csv").read_text()))
        assert made[0] == made[1]


def test_what_is_no_label_is_refused_there_too(data, tmp_path):
    X, w, _, strays = data
    bad = strays.copy()
    bad[np.flatnonzero(w == 0)[3]] = -2
    sources = places(tmp_path, X, w, bad)
    for _ in range(6):  # what is spooled is looked at at once
        with pytest.raises(ValueError, match=r"component.*, or -1 .*where .* not known, got -2"):
            fastgmm.fit(next(sources), K)
    for labels, error in ((bad, ValueError), (strays + 0.5, TypeError)):
        with pytest.raises(error, match="known_labels must be"):
            fastgmm.fit(X, K, sample_weight=w, known_labels=labels)
    with pytest.raises(ValueError, match=r"known_labels must be below n_components=2, .* got 7"):
        fastgmm.fit(X, K, sample_weight=w + 1, known_labels=strays)


def test_a_sample_knows_what_was_drawn(data):
    X, w, _, strays = data
    few = ArraySource(X, w, known_labels=strays).sample(50, np.random.default_rng(0))
    drawn = few.numbers()
    np.testing.assert_array_equal(few.known_labels[drawn], strays[drawn])
    assert few.n_known == (strays[drawn] >= 0).sum()
    assert (np.delete(few.known_labels, drawn) == -1).all()
    assert run(few, K, random_state=0).converged
