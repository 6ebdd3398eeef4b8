"""Rows in Dask collections, on a cluster of processes: fits of an array; partitions and workers that fail."""

import itertools
import os
import signal

import dask
import dask.array
import dask.dataframe
import numpy as np
import pandas
import pytest
from dask.distributed import Client, LocalCluster
from problems import no_convergence_warning

import fastgmm
from fastgmm import GaussianMixture, covariance
from fastgmm.distributed import DaskSource
from fastgmm.sources import ArraySource, dask_source

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed", "ignore::ResourceWarning")

K, D, N = 3, 2, 6000
CHUNKS = (1000, 0, 2500, 1, 2499)  # one of them empty


@pytest.fixture(scope="module")
def client():
    """A cluster of two processes of one thread."""
    with (
        dask.config.set({"distributed.worker.daemon": False}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def rows_and_weights(n=N, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, D)) + rng.choice([-5.0, 0.0, 5.0], n)[:, None]
    return X.astype(dtype), rng.integers(0, 4, n).astype(float)


def fit(X, name="full", **options):
    with no_convergence_warning():
        return fastgmm.fit(X, K, covariance_type=name, **{"max_iter": 5, "tol": 0, "random_state": 0, **options})


def close(one, other, turned=0.0):
    """Two fits are equal but for the rounding of sums in another order, and for what that turns of covariances."""
    for name in ("weights", "means", "covariances"):
        a, b = getattr(one.mixture, name), getattr(other.mixture, name)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=turned if name == "covariances" and turned else 1e-12)
    assert one.lower_bound == pytest.approx(other.lower_bound, rel=1e-12)


def as_array(X):
    """Under a name of its own: keys of what other tests have persisted and dropped are not met again."""
    return dask.array.from_array(X, chunks=(CHUNKS, (1, 1)), name=False)


def as_frame(X):
    frame = pandas.DataFrame(X, columns=["a", "b"])
    ends = np.cumsum((0, *CHUNKS))
    parts = [frame.iloc[i:j] for i, j in itertools.pairwise(ends)]
    return dask.dataframe.from_map(lambda i: parts[i], range(len(parts)), meta=frame.iloc[:0])


@pytest.mark.parametrize(("collect", "name"), [(as_array, "full"), (as_frame, "tied")])
def test_fits_are_those_of_an_array(client, collect, name):
    X, _ = rows_and_weights()
    found = fit(collect(X), name, max_iter=3)
    close(found, fit(X, name, max_iter=3))
    assert found == fit(collect(X), name, max_iter=3)


@pytest.mark.long
def test_weights_in_every_form(client):
    X, w = rows_and_weights()
    whole = fit(X, sample_weight=w)
    lazy = as_array(X)
    series = dask.dataframe.from_pandas(pandas.Series(w), npartitions=1)
    assert fit(lazy, sample_weight=w) == fit(lazy, sample_weight=dask.array.from_array(w, chunks=777, name=False))
    close(fit(lazy, sample_weight=w), whole)
    frame = as_frame(np.column_stack([X, w]).astype(float)[:, :2])
    close(fit(dask.array.from_array(X, chunks=(N, D), name=False), sample_weight=series), whole)
    close(fit(frame, sample_weight=as_frame(np.column_stack([w, w]))["a"]), whole)
    close(fit(lazy, sample_weight=2.0), fit(X, sample_weight=2.0))


@pytest.mark.long
def test_options_compose_and_float32_stays(client):
    X, _ = rows_and_weights(dtype=np.float32)
    assert fit(as_array(X)).mixture.dtype == np.float32
    X, _ = rows_and_weights()
    for options in ({"acceleration": "squarem", "max_iter": 30}, {"covariance_floor": 0.1}, {"equal_weights": True}):
        close(fit(as_array(X), **options), fit(X, **options))
    far = X + 1e6
    close(fit(as_array(far)), fit(far))


@pytest.mark.parametrize("collect", [as_array, as_frame])
def test_persisted_collections_are_read_where_they_lie_and_kept_there(client, collect):
    X, _ = rows_and_weights()
    expected = fit(DaskSource(collect(X), 2.0), max_iter=2)
    weights = collect(np.full((N, D), 2.0)).persist()
    weights = weights["a"] if collect is as_frame else weights[:, 0]
    source = DaskSource(collect(X).persist(), weights)  # nobody else holds what was persisted
    del weights
    assert fit(source, max_iter=2) == expected
    labels = expected.mixture.predict(collect(X).persist())
    np.testing.assert_array_equal(labels.compute(), expected.mixture.predict(X))


def test_rows_with_gaps(client):
    X, w = rows_and_weights()
    X[np.random.default_rng(1).random(X.shape) < 0.1] = np.nan
    options = {"missing": "em", "sample_weight": w, "max_iter": 2}
    with pytest.warns(fastgmm.NothingObservedWarning):
        found = fit(as_array(X), **options)
    with pytest.warns(fastgmm.NothingObservedWarning):
        close(found, fit(X, **options))
    labels = found.mixture.predict(as_array(X), missing="em")
    np.testing.assert_array_equal(labels.compute(), found.mixture.predict(X, missing="em"))


def test_known_labels(client):
    X, w = rows_and_weights()
    known = np.where(np.arange(N) % 5 == 0, np.argmin(np.abs(X[:, :1] - [5.0, -5.0, 0.0]), axis=1), -1)
    whole, lazy = fit(X, sample_weight=w, known_labels=known), as_array(X)
    close(fit(lazy, sample_weight=w, known_labels=known), whole)
    there = dask.array.from_array(known, chunks=777, name=False).persist()
    source = DaskSource(lazy, w, known_labels=there)  # nobody else holds what was persisted
    del there
    close(fit(source), whole)
    known[0] = 1 - known[0]  # not what the mixture says
    model = GaussianMixture(K, random_state=0)
    labels = model.fit_predict(lazy, sample_weight=w, known_labels=known)
    np.testing.assert_array_equal(labels.compute(), model.fit_predict(X, sample_weight=w, known_labels=known))
    X[::50, 0] = np.nan
    options = {"missing": "em", "sample_weight": w, "known_labels": known, "max_iter": 2}
    close(fit(as_array(X), **options), fit(X, **options))


def test_selections_are_those_of_an_array(client):
    X, w = rows_and_weights()
    plan = {"n_components": [2, 3], "covariance_type": ["EII", "VEI"], "criterion": "icl", "random_state": 0}
    found = fastgmm.select(as_array(X), sample_weight=w, **plan)
    expected = fastgmm.select(X, sample_weight=w, **plan)
    assert [cell.value("icl") for cell in found.candidates] == pytest.approx(
        [cell.value("icl") for cell in expected.candidates], rel=1e-9
    )


def test_what_goes_out_apart_from_the_tasks_and_a_tree_of_several_levels_change_nothing(client, monkeypatch):
    X, _ = rows_and_weights()
    lazy = as_array(X)
    expected = fit(lazy, max_iter=2)
    monkeypatch.setattr(dask_source, "SENT_BYTES", 0)
    assert fit(lazy, max_iter=2) == expected
    monkeypatch.setattr(dask_source, "BRANCHES", 2)
    close(fit(lazy, max_iter=2), expected)


@pytest.mark.long
def test_starts_by_parallel_seeding_are_as_good_as_those_in_memory(client, monkeypatch):
    from fastgmm.fitting import starts

    X, w = rows_and_weights(60_000)
    lazy = dask.array.from_array(X, chunks=(20_000, D), name=False)
    monkeypatch.setattr(starts, "START_ROWS", 500)
    found = fastgmm.fit(lazy, K, random_state=0, sample_weight=w)
    assert found.lower_bound == pytest.approx(fastgmm.fit(X, K, random_state=0, sample_weight=w).lower_bound, rel=1e-4)
    assert found == fastgmm.fit(lazy, K, random_state=0, sample_weight=w)
    assert found.n_iter < 10


@pytest.mark.long
def test_candidates_lie_in_every_cluster(client):
    """Twenty far clusters of very different sizes: k-means|| finds them all, a plain sample does not."""
    rng = np.random.default_rng(0)
    sizes = np.maximum(1, (8000 * 0.6 ** np.arange(20)).astype(int))
    X = np.concatenate([rng.normal(100.0 * i, 1.0, (n, D)) for i, n in enumerate(sizes)])
    rng.shuffle(X)
    source = DaskSource(dask.array.from_array(X, chunks=(len(X) // 3 + 1, D), name=False))
    candidates = source.cluster(20, rng)
    assert len(np.unique(np.round(candidates.array[:, 0] / 100))) == 20
    assert candidates.weights().sum() == len(X)
    few = source.sample(candidates.n_rows, rng)
    assert len(np.unique(np.round(few.array[:, 0] / 100))) < 20


def test_statistics_by_nearest_centres_are_those_of_labels(client):
    X, w = rows_and_weights()
    centres = np.array([[-5.0, -5.0], [0.0, 0.0], [5.0, 5.0]])
    found = DaskSource(as_array(X), w).accumulate_nearest("full", centres)
    labels = ((X[:, None, :] - centres) ** 2).sum(axis=2).argmin(axis=1)
    expected = ArraySource(X, w).accumulate_given("full", centres, labels=labels)
    np.testing.assert_allclose(found.n, expected.n)
    np.testing.assert_allclose(found.within(), expected.within())


@pytest.mark.parametrize("collect", [as_array, as_frame])
@pytest.mark.filterwarnings("ignore:X has feature names", "ignore:X does not have valid feature names")
def test_predictions_are_lazy(client, collect):
    X, _ = rows_and_weights()
    lazy = collect(X)
    model = GaussianMixture(K, random_state=0).fit(lazy)
    assert model.n_features_in_ == D
    for method in ("predict", "predict_proba", "score_samples"):
        found = getattr(model, method)(lazy)
        assert isinstance(found, dask.array.Array)
        right = getattr(model, method)(X)
        assert found.dtype == right.dtype
        np.testing.assert_array_equal(found.compute(), right)
    assert model.score(lazy) == model.lower_bound_ == pytest.approx(model.score(X), rel=1e-13)
    assert model.bic(lazy) == pytest.approx(model.bic(X), rel=1e-13)
    labels = GaussianMixture(K, random_state=0).fit_predict(lazy)
    np.testing.assert_array_equal(labels.compute(), model.predict(X))
    if collect is as_frame:
        assert model.feature_names_in_.tolist() == ["a", "b"]


def test_without_a_cluster_threads_of_this_process_work():
    X, _ = rows_and_weights()
    with dask.config.set(scheduler="threads"):
        close(fit(as_array(X)), fit(X))


# ----------------------------------------------------------------------------------------------- failures and bad input


@pytest.mark.long
def test_a_fit_survives_the_loss_of_a_worker(client):
    X, _ = rows_and_weights()
    lazy = as_array(X).persist()
    expected = fit(lazy, max_iter=8)
    killed = []

    def kill_one(state):
        if state.iteration == 3:
            pid = next(iter(client.run(os.getpid).values()))
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    assert fit(lazy, max_iter=8, callback=kill_one) == expected
    assert killed


def test_a_partition_that_raises_is_heard_and_leaves_the_cluster(client):
    X, _ = rows_and_weights()
    lazy = as_array(X)

    def fail(block):  # in here, so that it is sent by value: workers cannot import this module
        if len(block) == 2500:
            raise OSError("the disk is gone")
        return block

    with pytest.raises(OSError, match="the disk is gone"):
        fit(lazy.map_blocks(fail, dtype=float))
    close(fit(lazy, max_iter=1), fit(X, max_iter=1))


def test_partitions_that_are_wrong_are_named(client):
    X, w = rows_and_weights()
    bad = X.copy()
    bad[1200, 1] = np.nan
    with pytest.raises(ValueError, match=r"Input partition 2 \(counted from 0\) contains NaN. The first is in row 200"):
        fit(as_array(bad))
    lazy = as_array(X).map_blocks(lambda block: block.astype(np.float32) if len(block) == 1 else block, dtype=float)
    with pytest.raises(ValueError, match=r"partition 3 \(counted from 0\) has the dtype float32, expected float64"):
        fit(lazy)
    with pytest.raises(ValueError, match=r"Negative values in data passed to `sample_weight of partition \d"):
        fit(as_array(X), sample_weight=w - 9)
    with pytest.raises(ValueError, match="no rows of positive weight"):
        fit(as_array(X), sample_weight=0 * w)
    with pytest.raises(ValueError, match=r"sample_weight.shape == \(5,\), expected \(6000,\)"):
        fit(as_array(X), sample_weight=w[:5])


def test_columns_of_pandas_own_types():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": pandas.array(range(40), "Int64"), "b": np.arange(40.0) ** 2})
    X = dask.dataframe.from_pandas(frame, npartitions=2)
    close(fit(X, max_iter=2), fit(frame, max_iter=2))
    with pytest.raises(ValueError, match=r"must hold numbers, but row 0, column 2 .* could not convert string"):
        fit(X.assign(word="x"))


def test_what_is_no_collection_of_rows_is_refused():
    X, _ = rows_and_weights(50)
    with pytest.raises(TypeError, match="X must be a Dask array of two dimensions or a Dask data frame"):
        DaskSource(X)
    with pytest.raises(TypeError, match="X must be a Dask array of two dimensions"):
        fastgmm.fit(dask.array.ones(5), 1)
    with pytest.raises(ValueError, match="max_memory must be None where X is a Dask collection"):
        fastgmm.fit(dask.array.ones((5, 2)), 1, max_memory="1 GB")


@pytest.mark.long
@pytest.mark.parametrize("name", covariance.names())
def test_every_family(client, name):
    X, w = rows_and_weights()
    X = X[:, :1] if name in ("E", "V") else X
    lazy = dask.array.from_array(X, chunks=(3000, X.shape[1]), name=False)
    # Axes in common are where turning them gains no more, and near a maximum a gain of rounding turns them by its root.
    turned = 1e-9 if name in ("EVE", "VVE") else 0.0
    close(fit(lazy, name, sample_weight=w, max_iter=3), fit(X, name, sample_weight=w, max_iter=3), turned)
