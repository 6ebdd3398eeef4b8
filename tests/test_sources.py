"""Fits do not know where rows are: the same bits from arrays, memory maps, files and batches, however they are cut."""

import itertools
import threading

import numpy as np
import pandas
import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import pytest
from problems import no_convergence_warning

import fastgmm
from fastgmm import GaussianMixture, covariance
from fastgmm.io.tables import write_table
from fastgmm.sources import ArraySource, BatchSource, Reservoir, Source

K, D, N = 3, 2, 70_000  # more rows than starts are made of, and more than a group of any kind


def rows_and_weights(dtype=np.float64, n=N):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, D)) + rng.choice([-5.0, 0.0, 5.0], n)[:, None]
    return X.astype(dtype), rng.integers(0, 4, n).astype(float)


def cut(X, w=None, at=(0, 1, 5000, 5000, 40_000, N - 1, N)):
    """Batches of very different sizes, one of them empty."""
    return [X[i:j] if w is None else (X[i:j], w[i:j]) for i, j in itertools.pairwise(at)]


def fit(X, name="full", **options):
    shape = covariance.get(name).covariance_shape(K, D)
    options["precisions_init"] = np.broadcast_to(np.eye(D), shape) if shape[-2:] == (D, D) else np.ones(shape)
    with no_convergence_warning():
        return fastgmm.fit(
            X,
            K,
            covariance_type=name,
            weights_init=[0.3, 0.3, 0.4],
            means_init=[[-4.0, -4.0], [1.0, 0.0], [4.0, 5.0]],
            **{"max_iter": 4, "tol": 0.0, "random_state": 0, **options},
        )


def as_batches(X, w, folder):
    return BatchSource(cut(X, w))


def as_function(X, w, folder):
    return BatchSource(lambda: iter(cut(X, w)))


def as_npy(X, w, folder):
    np.save(folder / "rows.npy", X)
    return BatchSource(folder / "rows.npy", w)


def as_memory_map(X, w, folder):
    np.save(folder / "rows.npy", X)
    return BatchSource(np.load(folder / "rows.npy", mmap_mode="r"), w, max_memory="150 MB")


def as_parquet(X, w, folder):
    table = {"a": X[:, 0], "b": X[:, 1]} | ({} if w is None else {"w": w})
    pyarrow.parquet.write_table(pyarrow.table(table), folder / "rows.parquet", row_group_size=7001)
    return BatchSource(folder / "rows.parquet", weights=None if w is None else "w")


def as_data_set(X, w, folder):
    """A folder of Parquet files."""
    for i, part in enumerate(np.array_split(np.arange(N), 3)):
        table = {"w": np.ones(len(part)) if w is None else w[part], "a": X[part, 0], "b": X[part, 1]}
        pyarrow.parquet.write_table(pyarrow.table(table), folder / f"{i}.parquet")
    return BatchSource(folder, columns=["a", "b"], weights=None if w is None else "w")


def as_record_batches(X, w, folder):
    """A reader that is opened anew for every pass."""
    table = pyarrow.table({"a": X[:, 0], "b": X[:, 1]} | ({} if w is None else {"w": w}))
    if w is None:
        return BatchSource(lambda: pyarrow.RecordBatchReader.from_batches(table.schema, table.to_batches(9999)))
    return BatchSource(table, weights="w")


PLACES = (as_batches, as_function, as_npy, as_memory_map, as_parquet, as_data_set, as_record_batches)
by_place = pytest.mark.parametrize("place", PLACES)


@by_place
@pytest.mark.parametrize("weighted", [False, True])
def test_fits_have_the_bits_of_one_in_memory(place, weighted, tmp_path):
    X, w = rows_and_weights()
    w = w if weighted else None
    for name in ("full", "tied"):
        assert fit(place(X, w, tmp_path), name) == fit(X, name, sample_weight=w)


@by_place
def test_float32_stays_float32(place, tmp_path):
    X, _ = rows_and_weights(np.float32)
    source = place(X, None, tmp_path)
    assert source.dtype == np.float32
    assert fit(source) == fit(X)


@pytest.mark.parametrize("options", [{"acceleration": "squarem"}, {"covariance_floor": 0.1}, {"equal_weights": True}])
def test_options_of_fits_compose_with_batches(options):
    X, w = rows_and_weights()
    with no_convergence_warning():
        one, other = (
            fastgmm.fit(
                source, K, **{"means_init": [[-5, -5], [0, 0], [5, 5]], "random_state": 0, **options, **weights}
            )
            for source, weights in ((X[:9000], {"sample_weight": w[:9000]}), (BatchSource(cut(X, w, (0, 8, 9000))), {}))
        )
    assert one == other


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
def test_starts_of_few_rows_are_those_of_an_array(init_params):
    X, w = rows_and_weights(n=9000)
    options = {"init_params": init_params, "random_state": 0, "n_init": 2, "max_iter": 3}
    with no_convergence_warning():
        one = fastgmm.fit(X, K, sample_weight=w, **options)
        assert fastgmm.fit(BatchSource(cut(X, w, (0, 100, 9000))), K, **options) == one


def test_starts_of_many_rows_are_made_of_a_sample():
    X, w = rows_and_weights(n=200_000)
    found = fastgmm.fit(BatchSource(cut(X, w, (0, 100, 150_000, 200_000))), K, random_state=0)
    assert found == fastgmm.fit(BatchSource([(X, w)]), K, random_state=0)
    whole = fastgmm.fit(X, K, sample_weight=w, random_state=0)
    assert found.lower_bound == pytest.approx(whole.lower_bound, rel=1e-5)
    np.testing.assert_allclose(np.sort(found.mixture.means[:, 0]), np.sort(whole.mixture.means[:, 0]), atol=0.02)


def test_integers_and_data_frames_are_batches():
    X, _ = rows_and_weights(n=300)
    frames = [pandas.DataFrame(X[:100], columns=["a", "b"]), pandas.DataFrame(X[100:], columns=["a", "b"])]
    model = GaussianMixture(K, random_state=0).fit(BatchSource(frames))
    assert model.feature_names_in_.tolist() == ["a", "b"]
    assert model.to_mixture() == GaussianMixture(K, random_state=0).fit(X).to_mixture()
    whole = np.round(X).astype(int)
    assert fastgmm.fit(BatchSource([whole]), K, random_state=0) == fastgmm.fit(whole, K, random_state=0)


@by_place
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_estimators_and_mixtures_read_rows_anywhere(place, tmp_path):
    X, w = rows_and_weights()
    source = place(X, w, tmp_path)
    model = GaussianMixture(K, random_state=0).fit(X[:500])
    mixture = model.to_mixture()
    for one in (model, mixture):
        for method in ("predict", "predict_proba", "score_samples"):
            np.testing.assert_array_equal(getattr(one, method)(source), getattr(one, method)(X))
        assert one.score(source) == one.score(X, sample_weight=w)
        assert one.bic(source) == one.bic(X, sample_weight=w)
    np.testing.assert_array_equal(np.concatenate([model.predict(block) for block in source.blocks()]), model.predict(X))


def test_fit_predict_of_batches():
    X, w = rows_and_weights(n=5000)
    model = GaussianMixture(K, random_state=0)
    labels = model.fit_predict(BatchSource(cut(X, w, (0, 7, 5000))))
    np.testing.assert_array_equal(labels, model.predict(X))


def test_files_are_named_by_their_path(tmp_path):
    X, _ = rows_and_weights(n=2000)
    np.save(tmp_path / "rows.npy", X)
    write_table(tmp_path / "rows.csv", {"a": X[:, 0], "b": X[:, 1]})
    as_parquet(X, None, tmp_path)
    whole = fastgmm.fit(X, K, random_state=0)
    for name in ("rows.npy", "rows.csv", "rows.parquet"):
        assert fastgmm.fit(str(tmp_path / name), K, random_state=0) == whole
        assert GaussianMixture(K, random_state=0).fit(tmp_path / name).to_mixture() == whole.mixture
        assert whole.mixture.score(tmp_path / name) == whole.lower_bound
    assert fastgmm.fit(pyarrow.dataset.dataset(tmp_path / "rows.parquet"), K, random_state=0) == whole
    assert fastgmm.fit(X, K, random_state=0, max_memory="200 MB") == whole


def test_columns_of_files_are_chosen_by_name(tmp_path):
    X, w = rows_and_weights(n=2000)
    np.save(tmp_path / "rows.npy", np.column_stack([w, X]))
    table = {"w": w, "b": X[:, 1], "a": X[:, 0]}
    write_table(tmp_path / "rows.csv", table)
    write_table(tmp_path / "rows.parquet", table)
    whole = fastgmm.fit(X, K, sample_weight=w, random_state=0)
    for name, columns, weights in (("csv", "ab", "w"), ("parquet", "ab", "w"), ("npy", ["x2", "x3"], "x1")):
        source = BatchSource(tmp_path / f"rows.{name}", columns=list(columns), weights=weights)
        assert source.names == list(columns)
        assert fastgmm.fit(source, K, random_state=0) == whole


def test_a_file_of_another_byte_order_and_a_part_of_a_map(tmp_path):
    X, _ = rows_and_weights(n=3000)
    np.save(tmp_path / "big.npy", X.astype(">f8"))
    whole = fastgmm.fit(X, K, random_state=0)
    assert fastgmm.fit(tmp_path / "big.npy", K, random_state=0) == whole
    np.save(tmp_path / "wide.npy", np.vstack([X[:7], X]))
    mapped = np.load(tmp_path / "wide.npy", mmap_mode="r")[7:]
    for part in (mapped, np.asfortranarray(mapped)):
        assert fastgmm.fit(part, K, random_state=0, max_memory="200 MB") == whole


def test_the_reader_ends_with_the_pass():
    X, _ = rows_and_weights()
    before = threading.active_count()
    source = BatchSource([X] * 5)
    for _ in source.blocks():
        break
    with pytest.raises(ZeroDivisionError):
        fastgmm.fit(source, K, callback=lambda state: 1 / 0)
    fastgmm.fit(source, 1)
    assert threading.active_count() == before


def test_progress_counts_passes_and_rows():
    X, _ = rows_and_weights()
    seen = []
    source = BatchSource(cut(X), progress=lambda *state: seen.append(state))
    with no_convergence_warning():
        fastgmm.fit(source, K, max_iter=2, tol=0, random_state=0)
    assert [(passes, rows, total) for passes, rows, total in seen if rows == N] == [
        (0, N, None),
        *((i, N, N) for i in range(1, 5)),  # a sample, two iterations, the score
    ]


@pytest.mark.parametrize("estimator", [False, True])
def test_the_progress_bar_shows_how_far_a_pass_is(estimator, tmp_path, monkeypatch):
    from tqdm.auto import tqdm

    shown = []
    monkeypatch.setattr(tqdm, "set_postfix_str", lambda self, text, refresh: shown.append(text))
    X, _ = rows_and_weights(n=2000)
    source, options = BatchSource([X]), {"max_iter": 2, "tol": 0, "random_state": 0, "progress": True}
    with no_convergence_warning():
        if estimator:
            model = GaussianMixture(K, **options).fit(source)
            bound = model.lower_bound_
        else:
            bound = fastgmm.fit(source, K, **options).lower_bound
        assert source.progress is None
        assert shown[0] == "100% of a pass"
        assert shown[1].startswith("log-likelihood -")
        assert shown[2] == f"{shown[1]}, 100% of a pass"
        assert fastgmm.fit(X, K, max_memory="200 MB", **options).lower_bound == bound
    own = []
    source = BatchSource([X], progress=lambda *state: own.append(state))
    fastgmm.fit(source, 1, progress=True)
    assert own
    assert source.progress is not None


# ----------------------------------------------------------------------------------------------- a source of one's own


class Halves(Source):
    """The fewest methods that a source can have."""

    def __init__(self, X):
        self.n_features, self.parts = X.shape[1], [X[: len(X) // 2], X[len(X) // 2 :]]

    def accumulate(self, constants, *, pivot=None):
        one, other = (fastgmm.accumulate(part, constants, pivot=pivot) for part in self.parts)
        return one + other

    def sample(self, n_rows, rng):
        reservoir = Reservoir(n_rows, rng)
        for part in self.parts:
            reservoir.add(part)
        return reservoir.source()


@pytest.mark.parametrize("name", covariance.names())
def test_two_methods_are_enough(name):
    X, _ = rows_and_weights(n=4000)
    if name in ("E", "V"):
        X = X[:, :1]
    X = X + 1e6  # moments have to be taken about a point near the rows
    options = {"covariance_type": name, "random_state": 0, "max_iter": 5, "covariance_floor": 1e-6}
    with no_convergence_warning():
        one, other = fastgmm.fit(Halves(X), K, **options), fastgmm.fit(X, K, **options)
    assert one.lower_bound == pytest.approx(other.lower_bound, rel=1e-9)
    np.testing.assert_allclose(one.mixture.means, other.mixture.means, rtol=1e-12)


def test_a_source_that_cannot_give_rows_says_so():
    X, _ = rows_and_weights(n=400)
    mixture = fastgmm.fit(Halves(X), K, random_state=0).mixture
    with pytest.raises(TypeError, match="a Halves gives no values row by row"):
        mixture.predict(Halves(X))
    assert mixture.score(Halves(X)) == pytest.approx(mixture.score(X), rel=1e-12)


# ----------------------------------------------------------------------------------------------------------- reservoir


def test_a_reservoir_keeps_all_rows_in_their_order_if_it_can():
    X, w = rows_and_weights(n=50)
    for n_rows in (50, 80):
        reservoir = Reservoir(n_rows, np.random.default_rng(0))
        for first in range(0, 50, 7):
            reservoir.add(X[first : first + 7], w[first : first + 7] + 1)
        source = reservoir.source()
        np.testing.assert_array_equal(source.rows_at(np.arange(50)), X)
        np.testing.assert_array_equal(source.weights(), w + 1)


def test_a_reservoir_does_not_depend_on_how_rows_come():
    X, w = rows_and_weights(n=999)
    drawn = []
    for step in (10, 999):
        reservoir = Reservoir(20, np.random.default_rng(0))
        for first in range(0, 999, step):
            reservoir.add(X[first : first + step], w[first : first + step] + 1)
        drawn.append(reservoir.source().rows_at(np.arange(20)))
    np.testing.assert_array_equal(*drawn)


def test_a_reservoir_draws_in_proportion_to_the_weights():
    """Of 40,000 draws of one row from four, merged from two parts, each within four standard deviations."""
    X, w = np.arange(4.0)[:, None], np.array([1.0, 2.0, 3.0, 4.0])
    counts = np.zeros(4)
    n = 10_000
    for seed in range(n):
        one, other = (Reservoir(1, np.random.default_rng([seed, part])) for part in range(2))
        one.add(X[:2], w[:2])
        other.add(X[2:], w[2:])
        one.merge(other)
        counts[int(one.source().rows_at(np.zeros(1, int))[0, 0])] += 1
    p = w / w.sum()
    assert (np.abs(counts - n * p) < 4 * np.sqrt(n * p * (1 - p))).all()


# ----------------------------------------------------------------------------------------------------------- bad input


def refused(error, message, batches, **options):
    with pytest.raises(error, match=message):
        fastgmm.fit(BatchSource(batches, **options), 2)


def test_batches_that_differ_are_named():
    X, w = rows_and_weights(n=100)
    refused(ValueError, r"batch 1 \(counted from 0\) has 1 columns, but those before it have 2", [X, X[:, :1]])
    refused(ValueError, r"batch 2 \(.*\) has the dtype float32, but those before .* float64", [X, X, X.astype("f4")])
    refused(ValueError, r"batch 1 .* expected a 2D array of rows, got the shape \(100,\)", [X, X[:, 0]])
    refused(ValueError, r"batch 1 .* has no weights, but the batches before it have some", [(X, w), X])
    refused(ValueError, r"batch 1 .* has weights, but the batches before it have none", [X, (X, w)])
    refused(ValueError, r"sample_weight of batch 0 .* has the shape \(99,\), expected \(100,\)", [(X, w[1:])])
    refused(ValueError, r"Negative values in data passed to `sample_weight of batch 0 .*row 0 has -", [(X, w - 9)])
    refused(TypeError, r"batch 0 .* a tuple of 4", [(X, w, None, w)])
    bad = X.copy()
    bad[7, 1] = np.nan
    refused(ValueError, r"Input batch 1 \(.*\) contains NaN. The first is in row 7, column 1", [X, bad])


def test_what_can_be_consumed_once_is_refused_with_advice():
    X, _ = rows_and_weights(n=100)
    reader = pyarrow.RecordBatchReader.from_batches(pyarrow.schema({"a": "f8"}), [])
    for batches in (iter([X]), (part for part in [X]), reader):
        refused(TypeError, r"can be consumed only once, .* a function that returns a new iterator", batches)
    batches = iter([X, X])
    refused(ValueError, "every pass has to go through the same batches", lambda: batches)


def test_other_things_are_no_batches():
    X, _ = rows_and_weights(n=100)
    refused(TypeError, "X must be a path, an array, Arrow data, batches or a function", 3)
    refused(ValueError, "there are no batches", [])
    refused(ValueError, "no rows of positive weight", [(X, np.zeros(100))])
    refused(ValueError, "no rows of positive weight", [X[:0], X[:0]])
    refused(ValueError, r"Expected n_samples >= n_components", [X[:1]])
    with pytest.raises(ValueError, match="sample_weight must be None where X is a BatchSource"):
        fastgmm.fit(BatchSource([X]), 2, sample_weight=np.ones(100))
    with pytest.raises(fastgmm.InvalidParameterError, match="labels or responsibilities needs the rows in an array"):
        fastgmm.fit(BatchSource([X]), 2, init_params=np.arange(100) % 2)


def test_files_that_are_cut_short_are_named(tmp_path):
    X, _ = rows_and_weights(n=5000)
    as_parquet(X, None, tmp_path)
    path = tmp_path / "rows.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"rows.parquet is not a readable Parquet file"):
        fastgmm.fit(path, 2)
    path.write_bytes(whole[:4] + b"\xff" * 200 + whole[204:])  # the header of the first page
    with pytest.raises(ValueError, match=r"rows.parquet is not a readable Parquet file"):
        fastgmm.fit(path, 2)
    np.save(tmp_path / "rows.npy", X)
    source = BatchSource(tmp_path / "rows.npy")
    (tmp_path / "rows.npy").write_bytes((tmp_path / "rows.npy").read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"rows.npy ends before row 5000 of 5000: it was cut short"):
        fastgmm.fit(source, 2)


def test_files_of_a_folder_that_differ_are_named(tmp_path):
    X, _ = rows_and_weights(np.float32, n=500)
    table = pyarrow.table({"a": X[:, 0], "b": X[:, 1]})
    pyarrow.parquet.write_table(table, tmp_path / "0.parquet")
    pyarrow.parquet.write_table(table.slice(0, 0), tmp_path / "1.parquet")  # an empty one is none of these
    assert fastgmm.fit(tmp_path, K, random_state=0) == fastgmm.fit(X, K, random_state=0)
    path = tmp_path / "2.parquet"
    for other, message in (
        (table.select(["a"]), r"2.parquet has no column 'b'; its columns are a"),
        (table.cast(pyarrow.schema({"a": "f8", "b": "f4"})), r"2.parquet has the dtype float64, but .* have float32"),
        (pyarrow.table({"a": X[:, 0], "b": X[:, 1].astype(str)}), r"2.parquet, column 'b': expected numbers, got"),
    ):
        pyarrow.parquet.write_table(other, path)
        with pytest.raises(ValueError, match=message):
            fastgmm.fit(tmp_path, K)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"2.parquet is not a readable Parquet file"):
        fastgmm.fit(tmp_path, K)


def test_arrow_files_are_read_batch_by_batch(tmp_path):
    X, _ = rows_and_weights(n=5000)
    path = tmp_path / "rows.arrow"
    table = pyarrow.table({"a": X[:, 0], "b": X[:, 1]})
    with pyarrow.ipc.new_file(str(path), table.schema) as file:
        file.write_table(table, max_chunksize=999)
    source = BatchSource(pyarrow.dataset.dataset(path, format="ipc"))
    assert max(map(len, source.blocks())) == 999
    assert fastgmm.fit(source, K, random_state=0) == fastgmm.fit(X, K, random_state=0)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"rows.arrow is not a readable Arrow file"):
        fastgmm.fit(source, K)


def test_missing_values_in_arrow_data_are_named():
    refused(ValueError, r"X, row 2, column 'a': the value is missing", pyarrow.table({"a": [1.0, None], "b": [1, 2]}))


def test_a_memory_too_small_says_what_is_needed():
    X, _ = rows_and_weights(n=100)
    for limit in (1 << 20, "1 MB", "0.5MiB"):
        with pytest.raises(
            ValueError, match=r"max_memory is 1 MB, but \d+ MB are needed for one block of \d+ rows and 3"
        ):
            fastgmm.fit(X, 3, max_memory=limit)
    with pytest.raises(fastgmm.InvalidParameterError, match="a string such as '500 MB' or '2 GB', got 'much'"):
        GaussianMixture(max_memory="much").fit(X)
    needed = fastgmm.sources.memory.parse_memory("120 MB")
    assert needed == 120 << 20


def test_a_source_is_no_array_source_but_an_array_source_is_a_source():
    X, _ = rows_and_weights(n=100)
    assert fastgmm.fit(ArraySource(X), 2, random_state=0) == fastgmm.fit(X, 2, random_state=0)
