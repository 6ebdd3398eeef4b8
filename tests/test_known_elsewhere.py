"""Known labels of rows in files, batches and Dask collections: fits, samples and choices are those of an array."""

import itertools
import warnings

import dask
import dask.array
import dask.dataframe
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from gap_cases import case
from test_missing_dask import close

import fastgmm
from fastgmm import GaussianMixture, GaussianMixtureSelector, InvalidParameterError, select
from fastgmm.distributed import DaskSource, GappedDaskSource
from fastgmm.fitting import starts
from fastgmm.io.tables import TableError
from fastgmm.sources import ArraySource, BatchSource, GappedBatchSource, Reservoir

pytestmark = pytest.mark.usefixtures("no_cluster")

N, D, K = 900, 3, 3
ORDER = np.array([2, 0, 1])  # the components that the labels name, by the truth
CUTS = [0, 10, 400, N]


@pytest.fixture(scope="module")
def data():
    """Rows of three clusters, weights of which some are zero, and known components of a fifth."""
    rng = np.random.default_rng(0)
    truth = rng.integers(K, size=N)
    X = rng.normal(size=(N, D)) + 3.0 * truth[:, None]
    return X, rng.integers(0, 3, N).astype(float), np.where(rng.random(N) < 0.2, ORDER[truth], -1)


def parts(*arrays):
    """Arrays in three batches."""
    return [tuple(None if a is None else a[i:j] for a in arrays) for i, j in itertools.pairwise(CUTS)]


def fitted(X, n_components, **options):
    """A fit whose warnings are no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastgmm.NothingObservedWarning)
        warnings.simplefilter("ignore", fastgmm.ConvergenceWarning)
        return fastgmm.fit(X, n_components, **options)


def lazily(array, chunks=250):
    return dask.array.from_array(array, chunks=(chunks, *array.shape[1:]))


# ---------------------------------------------------------------------------------------------------- ways to give them


def test_labels_beside_rows_in_every_way_are_those_of_an_array(data, tmp_path):
    X, w, known = data
    np.save(tmp_path / "rows.npy", X)
    np.save(tmp_path / "known.npy", known.astype(np.int8))
    mapped = np.load(tmp_path / "known.npy", mmap_mode="r")
    np.save(tmp_path / "table.npy", np.column_stack([X, known, w]))
    columns = {"a": X[:, 0], "y": pyarrow.array(known, mask=known < 0), "b": X[:, 1], "w": w, "c": X[:, 2]}
    table = pyarrow.table(columns)
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=99)
    frame = pandas.DataFrame({name: np.asarray(column) for name, column in columns.items()})
    frame.to_csv(tmp_path / "rows.csv", index=False, na_rep="NA")
    named = {"weights": "w", "labels": "y"}
    places = [
        BatchSource(tmp_path / "rows.npy", w, known_labels=mapped, max_memory="200 MB"),
        BatchSource(X, w, known_labels=list(known)),
        BatchSource(tmp_path / "table.npy", columns=["x1", "x2", "x3"], weights="x5", labels="x4"),
        BatchSource(tmp_path / "rows.parquet", **named),
        BatchSource(table, columns=["a", "b", "c"], **named),
        BatchSource(tmp_path / "rows.csv", **named),
        BatchSource(parts(X, w, known)),
        BatchSource(iter(parts(X, w, known)), spool=True),
        BatchSource(table.to_reader(max_chunksize=70), spool=True, **named),
    ]
    options = {"random_state": 0, "max_iter": 3, "tol": 0.0, "max_time": None}
    whole = fitted(X, K, sample_weight=w, known_labels=known, **options)
    for source in places:
        assert fitted(source, K, **options) == whole
        assert (source.n_named, source.n_known) == (K, ((known >= 0) & (w > 0)).sum())
    for place in (tmp_path / "rows.npy", X):
        given = {"sample_weight": w, "known_labels": known, "max_memory": "200 MB", "progress": True}
        assert fitted(place, K, **given, **options) == whole
    frame = dask.dataframe.from_pandas(frame[["a", "b", "c"]], npartitions=4)
    labels = dask.dataframe.from_pandas(pandas.Series(known), npartitions=4)
    weights = dask.dataframe.from_pandas(pandas.Series(w), npartitions=4)
    for rows, weights_there, there in (
        (lazily(X), w, known),
        (lazily(X), lazily(w), lazily(known, 100)),
        (frame, weights, labels),
    ):
        found = fitted(rows, K, sample_weight=weights_there, known_labels=there, **options)
        close(found, whole)


@pytest.mark.parametrize("name", ["full", "tied", "mfa:1"])
def test_labels_of_batches_without_weights(data, name):
    X, _, known = data
    options = {"covariance_type": name, "random_state": 0, "max_iter": 3}
    assert fitted(BatchSource(parts(X, None, known)), K, **options) == fitted(X, K, known_labels=known, **options)


def test_none_known_is_the_plain_fit(data):
    X, w, _ = data
    options = {"random_state": 0, "max_iter": 3}
    plain = fitted(X, K, sample_weight=w, **options)
    none = np.full(N, -1)
    for source in (BatchSource(parts(X, w, none)), BatchSource(X, w, known_labels=none)):
        assert fitted(source, K, **options) == plain
    close(fitted(DaskSource(lazily(X), w, known_labels=none), K, **options), plain)


@pytest.mark.parametrize("start", ["kmeans", "k-means++", "random_from_data", "race"])
def test_starts_of_few_known_rows_of_many(start, monkeypatch):
    """Two components are known by two rows each, which a sample of 300 rows would not hold."""
    monkeypatch.setattr(starts, "START_ROWS", 300)
    rng = np.random.default_rng(3)
    truth = rng.integers(3, size=20_000)
    X = 20.0 * truth[:, None] + rng.standard_normal((20_000, 2))
    known, want = np.full(20_000, -1), ORDER[truth]
    for component in (0, 2):
        rows = np.flatnonzero(want == component)[-2:]
        known[rows] = component
    options = {"init_params": start, "random_state": 0, "max_iter": 300}
    for source in (BatchSource(X, known_labels=known), DaskSource(lazily(X, 7000), known_labels=known)):
        found = fitted(source, K, **options).mixture
        np.testing.assert_array_equal(found.predict(X), want)


# ------------------------------------------------------------------------------------------------------------ reservoir


def test_a_reservoir_keeps_rows_that_are_known():
    rows = np.arange(5000.0)[:, None]
    weights = np.where(rows[:, 0] % 2 == 0, 1.0, 3.0)
    for n_known in (7, 2000):
        labels = np.where(np.random.default_rng(0).permutation(5000) < n_known, 1, -1)
        drawn = []
        for step in (10, 999, 5000):
            reservoir = Reservoir(101, np.random.default_rng(0))
            for first in range(0, 5000, step):
                here = slice(first, first + step)
                reservoir.add(rows[here], weights[here], labels[here])
            drawn.append(reservoir.drawn())
        for one in drawn[1:]:
            for mine, theirs in zip(one, drawn[0], strict=True):
                np.testing.assert_array_equal(mine, theirs)
        found, mass, there = drawn[0]
        assert (len(found), (there >= 0).sum()) == (101, min(n_known, 50))
        assert (np.diff(found[:, 0]) > 0).all()
        np.testing.assert_array_equal(labels[found[:, 0].astype(int)], there)
        for is_known in (False, True):
            whole = weights[(labels >= 0) == is_known].sum()
            np.testing.assert_allclose(mass[(there >= 0) == is_known].sum(), whole, rtol=1e-12)
        if n_known == 7:
            np.testing.assert_array_equal(mass[there >= 0], weights[labels >= 0])


def test_reservoirs_with_known_rows_are_merged():
    rows, labels = np.arange(400.0)[:, None], np.where(np.arange(400) % 100 == 7, 0, -1)
    for n_rows in (1, 20, 500):
        reservoirs = [Reservoir(n_rows, np.random.default_rng(part)) for part in range(4)]
        for part, reservoir in enumerate(reservoirs):
            reservoir.add(rows[100 * part :][:100], labels=labels[100 * part :][:100])
        first, *others = reservoirs
        for other in others:
            first.merge(other)
        found, mass, there = first.drawn()
        assert len(found) == min(n_rows, 400)
        if n_rows == 1:
            assert there is None
            assert mass is None
        else:
            assert (there >= 0).sum() == 4
        if n_rows == 20:
            np.testing.assert_allclose([mass[there < 0].sum(), mass[there >= 0].sum()], [396, 4])
        if n_rows == 500:
            np.testing.assert_array_equal(found, rows)
            assert mass is None


def test_a_reservoir_draws_known_rows_in_proportion_to_their_weights():
    """Of 4,000 draws of one known row of three beside one that is not, within four standard deviations."""
    X, w, labels = np.arange(5.0)[:, None], np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([-1, 0, 0, 1, -1])
    counts, n = np.zeros(5), 4000
    for seed in range(n):
        reservoir = Reservoir(2, np.random.default_rng(seed))
        reservoir.add(X, w, labels)
        rows, mass, there = reservoir.drawn()
        assert sorted(there >= 0) == [False, True]
        assert sorted(mass) == [6, 9]
        counts[rows[:, 0].astype(int)] += 1
    p = w / np.where(labels >= 0, 9.0, 6.0)
    assert (np.abs(counts - n * p) < 4 * np.sqrt(n * p * (1 - p))).all()


# ----------------------------------------------------------------------------------------------------------------- gaps


@pytest.mark.parametrize("name", ["VVV", "EEE", "EII"])
@pytest.mark.parametrize("options", [{}, {"acceleration": "squarem", "prior": "conjugate"}], ids=str)
def test_rows_with_gaps(name, options):
    _, _, X = case(name, K=K, D=4, n=600, share=0.2)
    X[[3, 350]] = np.nan
    known = np.where(np.arange(600) % 4 == 3, np.arange(600) % K, -1)
    known[350] = -1
    w = np.random.default_rng(0).integers(1, 4, 600).astype(float)
    options = {"covariance_type": name, "random_state": 0, "max_iter": 3, "tol": 0.0, **options}
    given = {"sample_weight": w, "known_labels": known}
    whole = fitted(X, K, missing="em", **given, **options)
    places = [
        GappedBatchSource([(X[i:j], w[i:j], known[i:j]) for i, j in ((0, 250), (250, 600))]),
        GappedBatchSource(iter([(X, w, known)]), spool=True),
        GappedBatchSource(X, w, known_labels=known),
        GappedDaskSource(lazily(X, 170), w, known_labels=known),
    ]
    for source in places:
        close(fitted(source, K, **options), whole, 1e-9)
        assert source.n_unobserved == whole.n_unobserved
    close(fitted(lazily(X, 170), K, missing="em", **given, **options), whole, 1e-9)


def test_rows_that_may_have_gaps_and_have_none(data):
    X, w, known = data
    options = {"random_state": 0, "max_iter": 3}
    whole = fitted(X, K, sample_weight=w, known_labels=known, **options)
    assert fitted(GappedBatchSource(parts(X, w, known)), K, **options) == whole
    close(fitted(GappedDaskSource(lazily(X), w, known_labels=known), K, **options), whole)


# --------------------------------------------------------------------------------------------- labels that are returned


def test_labels_of_a_fit_are_the_known_ones(data, tmp_path):
    X, w, known = data
    known = known.copy()
    known[:5] = (known[:5] + 1) % K  # not what the mixture says
    np.save(tmp_path / "rows.npy", X)
    model = GaussianMixture(K, random_state=0, tol=1e-6)
    whole = model.fit_predict(X, sample_weight=w, known_labels=known)
    assert not np.array_equal(whole, model.predict(X))
    for place in (tmp_path / "rows.npy", lazily(X)):
        found = model.fit_predict(place, sample_weight=w, known_labels=known)
        np.testing.assert_array_equal(np.asarray(found), whole)
    np.testing.assert_array_equal(model.fit_predict(BatchSource(parts(X, w, known))), whole)
    np.testing.assert_array_equal(model.fit_predict(ArraySource(X, w, known_labels=known)), whole)
    gaps = X.copy()
    gaps[::7, 0] = np.nan
    model.set_params(missing="em")
    whole = model.fit_predict(gaps, sample_weight=w, known_labels=known)
    for source in (GappedBatchSource(parts(gaps, w, known)), GappedDaskSource(lazily(gaps), w, known_labels=known)):
        np.testing.assert_array_equal(np.asarray(model.fit_predict(source)), whole)


# ------------------------------------------------------------------------------------------------------------ selection


PLAN = {"n_components": [2, 3, 4], "covariance_type": ["VVV", "EEI"], "random_state": 0}


@pytest.mark.parametrize("criterion", ["bic", "icl_entropy"])
def test_choices_are_those_of_an_array(data, criterion):
    X, w, known = data
    plan = {**PLAN, "criterion": criterion}
    whole = select(X, sample_weight=w, known_labels=known, **plan)
    for source in (
        BatchSource(parts(X, w, known)),
        ArraySource(X, w, known_labels=known, n_threads=3),
        DaskSource(lazily(X), w, known_labels=known),
    ):
        found = select(source, **plan)
        for mine, theirs in zip(found.candidates, whole.candidates, strict=True):
            assert (mine.error is None) == (theirs.error is None) == (mine.n_components > 2)
            if mine.error is None:
                assert mine.value(criterion) == pytest.approx(theirs.value(criterion), rel=1e-9)
        assert select(source, resume=found, **plan).chosen.mixture is found.chosen.mixture
    others = np.where(known == 0, 1, np.where(known == 1, 0, known))
    with pytest.raises(ValueError, match="resume is a selection for other rows"):
        select(BatchSource(parts(X, w, others)), resume=select(BatchSource(parts(X, w, known)), **plan), **plan)
    selector = GaussianMixtureSelector(**plan)
    labels = selector.fit_predict(lazily(X), sample_weight=w, known_labels=known)
    np.testing.assert_array_equal(labels, selector.fit_predict(X, sample_weight=w, known_labels=known))
    np.testing.assert_array_equal(labels, selector.fit_predict(BatchSource(parts(X, w, known))))


def test_rows_that_are_known_are_certain(data):
    X, w, known = data
    mixture = fitted(X, K, known_labels=known, random_state=0).mixture
    entropies = mixture.entropies(X, np.where(known >= 0, 0.0, w))
    gaps = X.copy()
    gaps[::7, 0] = np.nan
    with_gaps = mixture.entropies(gaps, np.where(known >= 0, 0.0, w), missing="em")
    for source, expected in (
        (ArraySource(X, w, known_labels=known), entropies),
        (BatchSource(parts(X, w, known)), entropies),
        (DaskSource(lazily(X), w, known_labels=known), entropies),
        (DaskSource(lazily(X), w, known_labels=np.full(N, -1)), mixture.entropies(X, w)),
        (GappedBatchSource(parts(gaps, w, known)), with_gaps),
        (GappedDaskSource(lazily(gaps), w, known_labels=known), with_gaps),
    ):
        assert mixture.entropies(source) == pytest.approx(expected, rel=1e-12)
    for source in (
        ArraySource(X, known_labels=np.zeros(N, int)),
        BatchSource(X, known_labels=np.zeros(N, int)),
        DaskSource(lazily(X), known_labels=np.zeros(N, int)),
    ):
        assert mixture.entropies(source) == (0.0, 0.0, 0.0)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_rows_that_are_not_known_are_a_source(data):
    X, w, known = data
    mixture = fitted(X, K, known_labels=known, covariance_type="tied", random_state=0).mixture
    constants = mixture.constants()
    array = ArraySource(X, np.where(known >= 0, 0.0, w))
    for source in (BatchSource(parts(X, w, known)), DaskSource(lazily(X), w, known_labels=known)):
        source.accumulate(constants)  # whose total scatter is of all rows
        rest = source.unknown()
        np.testing.assert_allclose(rest.accumulate(constants).S, array.accumulate(constants).S, rtol=1e-11)
        assert (rest.n_rows, rest.n_named, rest.n_known) == (array.n_rows, 0, 0)
        np.testing.assert_array_equal(mixture.predict(rest), mixture.predict(X))


def test_criteria_that_do_not_go(data):
    X, w, known = data
    with pytest.raises(InvalidParameterError, match="criterion 'nec' compares with one component, but known_labels"):
        select(BatchSource(parts(X, w, known)), [1, 2], "VVV", "nec")


# ------------------------------------------------------------------------------------------------------------ bad input


def refused(message, source, error=ValueError, **options):
    with pytest.raises(error, match=message):
        fastgmm.fit(source, K, **options)


def test_labels_of_components_that_there_are_not(data):
    X, w, known = data
    message = "known_labels must be below n_components=3, or -1 where they are not known, got 7"
    bad = np.where(np.arange(N) == 700, 7, known)
    for source in (BatchSource(parts(X, None, bad)), DaskSource(lazily(X), known_labels=bad)):
        refused(message, source)
    refused(message, lazily(X), sample_weight=w + 1, known_labels=bad)
    refused(message, GappedBatchSource(parts(X, None, bad)), missing="em")
    refused("known_labels name components, so that on_collapse", BatchSource(parts(X, w, known)), on_collapse="drop")
    refused("known_labels name components, so that split_merge", lazily(X), known_labels=known, split_merge=1)


def test_batches_with_wrong_labels_are_named(data):
    X, w, known = data
    name = r"known_labels of batch 1 \(counted from 0\) must"
    (rows, _, labels), *_ = parts(X, w, known)
    first = rows, None, labels
    refused(
        rf"{name} have the shape \(10,\), one for each row of X, got \(9,\)",
        BatchSource([first, (rows, None, labels[1:])]),
    )
    refused(f"{name} be integers, .* got float64", BatchSource([first, (rows, None, labels + 0.5)]), TypeError)
    refused(f"{name} be components, or -1 .* got -3", BatchSource([first, (rows, None, labels * 0 - 3)]))
    refused(r"batch 1 \(.*\) has no labels, but the batches before it have some", BatchSource([first, rows]))
    refused(r"batch 1 \(.*\) has labels, but the batches before it have none", BatchSource([rows, first]))
    with pytest.raises(ValueError, match=r"batch 1 \(.*\) has no labels"):
        BatchSource(iter([first, rows]), spool=True)


def test_arrays_of_labels_that_do_not_fit(data, tmp_path):
    X, _, known = data
    np.save(tmp_path / "rows.npy", X)
    for place in (X, tmp_path / "rows.npy"):
        with pytest.raises(
            ValueError, match=r"known_labels must have the shape \(900,\), one for each row of X, got \(9,\)"
        ):
            BatchSource(place, known_labels=known[:9])
        with pytest.raises(TypeError, match="known_labels must be integers, -1 where they are not known, got float64"):
            BatchSource(place, known_labels=known + 0.0)
        refused("known_labels of .* must be components, or -1 where", BatchSource(place, known_labels=known - 5))
    with pytest.raises(ValueError, match=r"known_labels must be None where X is no array.*labels='y'"):
        BatchSource([X], known_labels=known)
    with pytest.raises(ValueError, match=r"known_labels must be None where X is spooled.*in batches"):
        BatchSource(iter([X]), known_labels=known, spool=True)
    with pytest.raises(ValueError, match="labels must be None where X is batches: they are taken whole"):
        BatchSource([X], labels="y")
    with pytest.raises(ValueError, match="labels must be None where X is an array: rows have no names"):
        BatchSource(X, labels="y")
    refused("known_labels must be None where X is a BatchSource: give it", BatchSource([X]), known_labels=known)


def test_columns_that_are_no_labels(data, tmp_path):
    X, w, known = data
    table = pyarrow.table({"a": X[:, 0], "b": X[:, 1], "w": w, "y": known + np.where(np.arange(N) == 500, 0.5, 0)})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    table.to_pandas().to_csv(tmp_path / "rows.csv", index=False)
    for name in ("rows.parquet", "rows.csv"):
        path = tmp_path / name
        refused(
            "row 501, column 'y': expected the number of a component, .* got", BatchSource(path, labels="y"), TableError
        )
        for error, named in (
            ("has no column 'z'", {"labels": "z"}),
            ("column 'a' cannot be both data and labels", {"labels": "a", "columns": ["a", "b"]}),
            ("column 'w' cannot be both weights and labels", {"labels": "w", "weights": "w"}),
        ):
            with pytest.raises(TableError, match=error):
                BatchSource(path, **named)
    table = table.set_column(3, "y", pyarrow.array(["x"] * N))
    with pytest.raises(TableError, match="column 'y': expected numbers, got string"):
        BatchSource(table, labels="y")


def test_dask_labels_that_do_not_fit(data):
    X, _, known = data
    rows = lazily(X)
    with pytest.raises(ValueError, match=r"known_labels.shape == \(9,\), expected \(900,\)!"):
        DaskSource(rows, known_labels=known[:9])
    with pytest.raises(ValueError, match=r"known_labels.shape == \(9,\), expected \(900,\)!"):
        DaskSource(rows, known_labels=lazily(known[:9]))
    for labels in (known + 0.0, lazily(known + 0.0)):
        with pytest.raises(TypeError, match="known_labels must be integers, -1 where they are not known, got float64"):
            DaskSource(rows, known_labels=labels)
    refused(
        r"known_labels of partition 2 \(counted from 0\) must be components",
        DaskSource(rows, known_labels=np.where(np.arange(N) == 700, -2, known)),
    )
    frame = dask.dataframe.from_pandas(pandas.DataFrame(X), npartitions=4)
    for names in ("sample_weight", "known_labels"):
        with pytest.raises(ValueError, match=f"{names} must have one dimension, got 2"):
            DaskSource(rows, **{names: frame})
    with pytest.raises(TypeError, match="known_labels must be a Dask array or series where lengths of partitions"):
        DaskSource(frame, known_labels=known)
    series = dask.dataframe.from_pandas(pandas.Series(known), npartitions=3)
    with pytest.raises(ValueError, match="known_labels must have the 4 partitions of X, got 3"):
        DaskSource(frame, known_labels=series)
    series = dask.dataframe.from_pandas(pandas.Series(known[4:]), npartitions=4)
    refused(
        r"known_labels of partition \d \(counted from 0\) must have the shape", DaskSource(frame, known_labels=series)
    )
