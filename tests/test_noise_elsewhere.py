"""noise=True of rows elsewhere: the box, the fit and what follows are those of an array."""

import itertools
import pickle

import dask
import dask.array
import gap_cases
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from problems import no_convergence_warning

import fastgmm
from fastgmm import GaussianMixture
from fastgmm.covariance import box, noise_around
from fastgmm.distributed import DaskSource, GappedDaskSource
from fastgmm.sources import ArraySource, BatchSource, GappedBatchSource, SharedPasses, Source, as_source

pytestmark = pytest.mark.usefixtures("no_cluster")

N, D, K = 3000, 3, 2


@pytest.fixture(scope="module")
def X():
    """Two clusters and outliers in a box that is turned: the smaller box is along the principal axes."""
    rng = np.random.default_rng(0)
    axes = np.array([[2.0, 2.0, 1.0], [-2.0, 1.0, 2.0], [1.0, -2.0, 2.0]]) / 3
    clusters = rng.normal(size=(N - 300, D)) + rng.choice([-8.0, 8.0], N - 300)[:, None] * axes[0]
    rows = np.concatenate([clusters, rng.uniform(-1, 1, (300, D)) * [90.0, 30.0, 10.0] @ axes])
    return rng.permutation(rows) + np.array([100.0, 0.0, -5.0])


@pytest.fixture(scope="module")
def w():
    return np.random.default_rng(1).integers(0, 3, N).astype(float)


def log_volume_around(source):
    return noise_around(source).log_volume


def volume_of(rows):
    """The smaller of two boxes in plain NumPy: along the features, and the principal axes; of gaps the first."""
    if np.isnan(rows).any():
        return np.prod([np.nanmax(column) - np.nanmin(column) for column in rows.T])
    offsets = rows - rows.mean(axis=0)
    turned = offsets @ np.linalg.svd(offsets, full_matrices=False)[2].T
    return min(np.prod(np.ptp(each, axis=0)) for each in (rows, turned))


def places(folder, X, w):
    """The same rows in every kind of source; whether the bits of an array are expected."""
    np.save(folder / "rows.npy", X)
    columns = {f"x{j}": X[:, j] for j in range(X.shape[1])} | ({} if w is None else {"w": w})
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "rows.parquet", row_group_size=399)
    cuts = [*range(0, N, 700), N]
    parts = [(X[i:j], None if w is None else w[i:j]) for i, j in itertools.pairwise(cuts)]
    batches = [x if w is None else (x, v) for x, v in parts]
    yield True, BatchSource(folder / "rows.npy", w)
    yield True, BatchSource(np.load(folder / "rows.npy", mmap_mode="r"), w, max_memory="200 MB")
    yield True, BatchSource(folder / "rows.parquet", weights=None if w is None else "w")
    yield True, BatchSource(batches)
    yield True, BatchSource(iter(batches), spool=True)
    yield True, GappedBatchSource(batches)
    yield False, DaskSource(dask.array.from_array(X, chunks=(800, D)), w)
    yield False, GappedDaskSource(dask.array.from_array(X, chunks=(800, D)), w)


def test_volumes_are_those_of_the_twin(X, tmp_path):
    assert volume_of(X) < 0.5 * np.prod(np.ptp(X, axis=0))  # the turned box it is
    for rows in (X, X[:, :1], np.repeat(np.arange(9.0)[:, None] * [1, 2], 4, axis=0) + np.eye(36)[:, 2:4]):
        sources = [ArraySource(rows), BatchSource([rows[:7], rows[7:]]), DaskSource(dask.array.from_array(rows))]
        for source in sources:
            np.testing.assert_allclose(np.exp(log_volume_around(source)), volume_of(rows), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_rows", [1, 64, 701, N - 1])  # of a batch
def test_volumes_of_batches_have_every_bit(n_rows, dtype, monkeypatch):
    """Products of matrices round by their edges: pieces of five rows have many, in chunks of seven rows others."""
    rng, n_features = np.random.default_rng(3), 12
    monkeypatch.setattr(box, "MAX_VALUES", 1)
    monkeypatch.setattr(box, "EVEN_ROWS", 5)
    monkeypatch.setattr("fastgmm.sources.batches.CHUNK_BYTES", 7 * (n_features * np.dtype(dtype).itemsize + 8))
    axes = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    rows = (rng.uniform(-1, 1, (N, n_features)) * 2.0 ** np.arange(n_features) @ axes).astype(dtype)
    batches = [rows[first : first + n_rows] for first in range(0, N, n_rows)]
    whole = log_volume_around(ArraySource(rows))
    assert whole < np.log(np.ptp(rows, axis=0)).sum() - 1  # of the turned box
    assert log_volume_around(BatchSource(batches)) == whole
    assert log_volume_around(SharedPasses(BatchSource(batches))) == log_volume_around(
        ArraySource(np.asfortranarray(rows))
    )


def test_rows_of_weight_zero_do_not_count(X, w):
    far = np.where(w[:, None] > 0, X, 1e6)
    for source in (ArraySource(far, w), BatchSource([(far[:9], w[:9]), (far[9:], w[9:])])):
        assert log_volume_around(source) == log_volume_around(ArraySource(X[w > 0], w[w > 0]))


def test_bounds_add_up_and_travel():
    one, other = box.Bounds(np.array([0.0, np.nan]), np.array([1.0, np.nan])), box.Bounds(np.zeros(2), np.full(2, 9.0))
    both = pickle.loads(pickle.dumps(sum([one, other])))
    assert (both.least.tolist(), both.largest.tolist(), both.sides.tolist()) == ([0, 0], [9, 9], [9, 9])
    assert both.middle.tolist() == [4.5, 4.5]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["VVV", "tied", "EEI"])
def test_every_source_gives_the_fit_of_an_array(X, w, weighted, name, tmp_path):
    w = w if weighted else None
    options = {"covariance_type": name, "noise": True, "random_state": 0, "max_iter": 5, "tol": 0.0}
    with no_convergence_warning():
        whole = fastgmm.fit(X, K, sample_weight=w, **options)
        for exact, source in places(tmp_path, X, w):
            found = fastgmm.fit(source, K, **options)
            if exact:
                assert found == whole
            assert found.mixture.noise.log_volume == pytest.approx(whole.mixture.noise.log_volume, rel=1e-13)
            assert found.mixture.noise.weight == pytest.approx(whole.mixture.noise.weight, rel=1e-8)
            assert found.lower_bound == pytest.approx(whole.lower_bound, rel=1e-11)
            np.testing.assert_allclose(found.mixture.means, whole.mixture.means, rtol=1e-7)


@pytest.mark.parametrize("options", [{"acceleration": "squarem"}, {"prior": "conjugate"}, {"covariance_floor": 0.01}])
def test_noise_goes_with_the_rest(X, options, tmp_path):
    options = {"noise": True, "random_state": 0, "max_iter": 6, "tol": 0.0, **options}
    with no_convergence_warning():
        whole = fastgmm.fit(X, K, **options)
        for exact, source in places(tmp_path, X, None):
            found = fastgmm.fit(source, K, **options)
            assert found == whole or not exact
            assert found.lower_bound == pytest.approx(whole.lower_bound, rel=1e-11)


@pytest.mark.parametrize("gapped", [False, True])
def test_rows_whose_component_is_known(X, gapped, tmp_path):
    known = np.where(np.arange(N) % 5, -1, X[:, 0] > X[:, 0].mean())
    X = gap_cases.with_gaps(X, 0.1, np.random.default_rng(2)) if gapped else X
    np.save(tmp_path / "rows.npy", X)
    parts = [(X[i:j], None, known[i:j]) for i, j in ((0, 9), (9, 1500), (1500, N))]
    options = {"noise": True, "random_state": 0}
    fit = gap_cases.fitted if gapped else fastgmm.fit
    whole = fit(X, K, known_labels=known, **options)
    assert 0.02 < whole.mixture.noise.weight < 0.2  # a fifth of the outliers are known not to be noise
    source = (GappedBatchSource if gapped else BatchSource)(parts)
    dask_source = (GappedDaskSource if gapped else DaskSource)(
        dask.array.from_array(X, chunks=(800, D)), known_labels=known
    )
    of_file = fit(tmp_path / "rows.npy", K, known_labels=known, **options)
    for found in (of_file, fit(source, K, **options)):
        assert gapped or found == whole
    for found in (of_file, fit(dask_source, K, **options)):
        assert found.mixture.noise.log_volume == pytest.approx(whole.mixture.noise.log_volume, rel=1e-13)
        assert found.mixture.noise.weight == pytest.approx(whole.mixture.noise.weight, rel=1e-4)
        assert found.lower_bound == pytest.approx(whole.lower_bound, rel=1e-6)


def test_what_is_asked_of_the_fit(X, tmp_path):
    model = GaussianMixture(K, noise=True, random_state=0).fit(X)
    np.save(tmp_path / "rows.npy", X)
    there = GaussianMixture(K, noise=True, random_state=0).fit(tmp_path / "rows.npy")
    far = GaussianMixture(K, noise=True, random_state=0).fit(dask.array.from_array(X, chunks=(800, D)))
    for rows in (X, tmp_path / "rows.npy"):
        for ask in ("predict", "predict_proba", "score_samples"):
            np.testing.assert_array_equal(getattr(there, ask)(rows), getattr(model, ask)(X))
    assert (model.predict(X) == -1).sum() > 200
    labels = far.predict(dask.array.from_array(X, chunks=(800, D))).compute()
    np.testing.assert_array_equal(labels, model.predict(X))


@pytest.mark.parametrize("criterion", ["bic", "icl"])
def test_selection(X, criterion, tmp_path):
    options = {"n_components": [1, 2], "covariance_type": ["EII", "VVV"], "noise": True, "random_state": 0}
    options["criterion"] = criterion
    whole = fastgmm.select(X, **options)
    assert whole.chosen.n_components == K
    for exact, source in list(places(tmp_path, X, None))[::3]:
        found = fastgmm.select(source, **options)
        for mine, theirs in zip(found.candidates, whole.candidates, strict=True):
            assert mine.value(criterion) == pytest.approx(theirs.value(criterion), rel=1e-9)
            assert mine.result.mixture.noise.log_volume == pytest.approx(theirs.result.mixture.noise.log_volume, 1e-13)
            assert mine.result.mixture.noise.log_volume == theirs.result.mixture.noise.log_volume or not exact


def test_gaps(X):
    gapped = gap_cases.with_gaps(X, 0.2, np.random.default_rng(2))
    gapped[:900, 1] = np.nan  # a partition, and a batch, in which nothing was observed of a feature
    options = {"noise": True, "random_state": 0, "tol": 1e-8, "max_iter": 300}
    whole = gap_cases.fitted(gapped, K, **options)
    assert whole.mixture.noise.volume == pytest.approx(volume_of(gapped), rel=1e-12)
    batches = GappedBatchSource([gapped[:700], gapped[700:]])
    for source in (batches, as_source(dask.array.from_array(gapped, chunks=(800, D)), missing="em")):
        found = gap_cases.fitted(source, K, **options)
        assert found.mixture.noise.log_volume == whole.mixture.noise.log_volume  # sides alone: nothing is rounded
        np.testing.assert_allclose(found.mixture.noise.scales, whole.mixture.noise.scales, rtol=1e-9)
        assert found.mixture.noise.weight == pytest.approx(whole.mixture.noise.weight, rel=1e-5)
        assert found.lower_bound == pytest.approx(whole.lower_bound, rel=1e-8)


def test_what_has_no_volume_is_refused():
    flat = np.column_stack([np.arange(50.0), np.ones(50)])
    for rows in (BatchSource([flat]), dask.array.from_array(flat, chunks=(20, 2))):
        with pytest.raises(fastgmm.InvalidParameterError, match="but they fill none: give it, noise=volume"):
            fastgmm.fit(rows, 1, noise=True, covariance_floor=0.1)


class Parts(Source):
    """A source of one's own, without `sum_over`."""

    def __init__(self, source):
        self._source, self.n_features, self.dtype = source, source.n_features, source.dtype

    def accumulate(self, constants, *, pivot=None):
        return self._source.accumulate(constants, pivot=pivot)

    def sample(self, n_rows, rng):
        return self._source.sample(n_rows, rng)


def test_a_source_that_gives_no_rows_needs_the_volume(X):
    with pytest.raises(fastgmm.InvalidParameterError, match=r"has no method sum_over.*: give the volume, noise=volume"):
        fastgmm.fit(Parts(ArraySource(X)), K, noise=True)
    with pytest.raises(fastgmm.InvalidParameterError, match="has no method sum_over"):
        fastgmm.select(Parts(ArraySource(X)), [1, 2], covariance_type=["EII", "VVV"], noise=True)
    found = fastgmm.fit(Parts(ArraySource(X)), K, noise=1e5, random_state=0)
    assert 0 < found.mixture.noise.weight < 0.5
