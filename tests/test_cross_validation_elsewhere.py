"""Cross-validation of rows that are not in an array: the folds, and what they come to, are those of an array."""

import dask
import dask.array
import numpy as np
import pytest

from fastgmm import Mixture, select
from fastgmm.distributed import DaskSource
from fastgmm.selection import cross_validate
from fastgmm.sources import ArraySource, BatchSource, GappedBatchSource, as_source

pytestmark = pytest.mark.usefixtures("no_cluster")

RNG = np.random.default_rng(0)
N = 240
X = RNG.normal(size=(N, 2)) + np.repeat([[-3.0, 0.0], [3.0, 1.0]], N // 2, axis=0)
W = RNG.integers(0, 3, N).astype(float)
KNOWN = np.where(RNG.random(N) < 0.2, np.arange(N) // (N // 2), -1)
HOLES = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
START = Mixture([0.5, 0.5], [[-3.0, 0.0], [3.0, 1.0]], [np.eye(2)] * 2)
PLAN = {"n_folds": 3, "random_state": 1, "max_iter": 8, "tol": 1e-6}


def parts(rows):
    """Uneven batches of rows, weights and labels."""
    return [(rows[i:j], W[i:j], KNOWN[i:j]) for i, j in ((0, 1), (1, 100), (100, 100), (100, N))]


PLACES = {
    "array": lambda rows: ArraySource(rows, W, known_labels=KNOWN),
    "gapped array": lambda rows: as_source(rows, W, known_labels=KNOWN, missing="em"),
    "batches": lambda rows: GappedBatchSource(parts(rows)) if np.isnan(rows).any() else BatchSource(parts(rows)),
    "once": lambda rows: GappedBatchSource(iter(parts(rows)), spool=True),
    "dask": lambda rows: as_source(
        dask.array.from_array(rows, chunks=(70, 2)),
        W,
        known_labels=KNOWN,
        missing="em" if np.isnan(rows).any() else "raise",
    ),
}


@pytest.mark.parametrize("noise", [None, True])
@pytest.mark.parametrize(
    ("place", "rows"),
    [(place, rows) for place in PLACES for rows in ("whole", "holes") if (place, rows) != ("array", "holes")],
)
@pytest.mark.filterwarnings("ignore::fastgmm.ConvergenceWarning")
def test_the_folds_are_those_of_an_array(place, rows, noise):
    rows = HOLES if rows == "holes" else X
    options = {**PLAN, "noise": noise, "missing": "em" if np.isnan(rows).any() else "raise"}
    whole = cross_validate(rows, 2, sample_weight=W, known_labels=KNOWN, **options)
    found = cross_validate(PLACES[place](rows), 2, **options)
    assert np.array_equal(found.fold_of_row, whole.fold_of_row[W > 0])
    np.testing.assert_allclose(found.folds, whole.folds, rtol=1e-6)
    np.testing.assert_allclose(found.log_likelihood, whole.log_likelihood, rtol=1e-6)


@pytest.mark.parametrize("place", [place for place in PLACES if place != "gapped array"])
def test_a_fold_and_the_others_are_all_rows(place):
    source = PLACES[place](X)
    fold_of_row = np.arange(source.n_rows, dtype=np.int8) % 3
    constants = START.constants()
    inside, others = (source.only(fold_of_row, 1, inside=inside) for inside in (True, False))
    kept = np.flatnonzero(W)
    in_fold = np.zeros(N, bool)
    in_fold[kept[fold_of_row == 1]] = True
    for part, chosen in ((inside, in_fold), (others, (W > 0) & ~in_fold)):
        expected = ArraySource(X[chosen], W[chosen], known_labels=KNOWN[chosen])
        for found, wanted in ((part.accumulate(constants), expected.accumulate(constants)),):
            np.testing.assert_allclose(found.n, wanted.n, rtol=1e-12)
            np.testing.assert_allclose(found.S, wanted.S, rtol=1e-12)
        assert part.n_rows == expected.n_rows
        assert (part.n_named, part.n_known) == (expected.n_named, expected.n_known)
        assert part.score(constants).log_likelihood == pytest.approx(
            expected.score(constants).log_likelihood, rel=1e-12
        )
    assert inside.unknown().n_rows == int((in_fold & (KNOWN < 0)).sum())


def test_of_a_fold_with_gaps_the_others_know_nothing():
    """Not even by the Gaussian that fills gaps: floors and priors are made of its moments."""
    fold_of_row = np.arange(N) % 3
    others = as_source(HOLES, missing="em").only(fold_of_row, 0, inside=False)
    alone = as_source(HOLES[fold_of_row != 0], missing="em")
    for found, expected in zip(others.moments(), alone.moments(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_an_array_with_little_memory_is_read_block_by_block():
    whole, found = (cross_validate(X, start=START, max_memory=limit, **PLAN) for limit in (None, "200 MB"))
    assert np.array_equal(found.fold_of_row, whole.fold_of_row)
    np.testing.assert_allclose(found.folds, whole.folds, rtol=1e-9)
    with pytest.raises(ValueError, match=r"max_memory is 1 MB, but \d+ MB are needed"):
        cross_validate(X, start=START, max_memory="1 MB", **PLAN)


@pytest.mark.parametrize("place", [place for place in PLACES if place not in ("array", "gapped array")])
def test_parts_of_parts_are_those_of_an_array(place):
    def scores(source):
        """Of a fold of the others, of a fold of the unknown, and of the unknown of a fold of the others."""
        others = source.only(np.arange(source.n_rows) % 3, 0, inside=False)
        part = others.only(np.arange(others.n_rows) % 2, 1, inside=True)
        unknown = source.unknown()
        parts = part, unknown.only(np.arange(unknown.n_rows) % 2, 1, inside=True), part.unknown()
        return [each.score(START.constants()) for each in parts]

    for found, expected in zip(scores(PLACES[place](X)), scores(PLACES["array"](X)), strict=True):
        assert found.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-12)
        assert found.total_weight == expected.total_weight


def test_rows_without_weights_and_a_fold_without_rows_of_some_partition():
    rows = X[:30]
    source = DaskSource(dask.array.from_array(rows, chunks=((1, 0, 29), 2)))
    found, whole = (cross_validate(each, start=START, **PLAN) for each in (source, rows))
    np.testing.assert_allclose(found.folds, whole.folds, rtol=1e-8)


def test_more_rows_than_at_first_are_noticed():
    batches = [X[:50]]
    source = BatchSource(batches)
    part = source.only(np.zeros(source.n_rows, np.int8), 0, inside=True)
    batches.append(X[50:60])
    with pytest.raises(ValueError, match=r"batch 1 .* more rows of positive weight than in the first pass"):
        part.accumulate(START.constants())


def test_what_is_kept_of_every_row_counts_as_memory():
    source = BatchSource([X] * 100, max_memory="200 MB")
    source.reserve("full", 2)
    fold_of_row = np.zeros(source.n_rows, np.int8)
    part = source.only(fold_of_row, 0, inside=True)
    statistics = 3 * 8 * 2 * (1 + X.shape[1] + X.shape[1] ** 2)
    assert part._memory(16, 64)[0] == source._memory(16, 64)[0] + len(fold_of_row) + statistics


def test_statistics_of_folds_count_as_memory():
    wide = BatchSource([np.random.default_rng(0).normal(size=(400, 100))] * 2, max_memory="250 MB", n_threads=1)
    start = Mixture([0.5, 0.5], np.zeros((2, 100)), [np.eye(100)] * 2)
    assert cross_validate(wide, start=start, n_folds=2, max_iter=1).folds.shape == (2,)
    with pytest.raises(ValueError, match=r"max_memory is 250 MB, but [0-9]+ MB are needed"):
        cross_validate(wide, start=start, n_folds=700)


def test_batches_are_gone_through_once_at_a_time():
    class Batches:
        n_open, most = 0, 0

        def __iter__(self):
            self.n_open += 1
            self.most = max(self.most, self.n_open)
            try:
                yield from (X[first : first + 10] for first in range(0, len(X), 10))
            finally:  # some look at the first batch alone
                self.n_open -= 1

    batches = Batches()
    select(BatchSource(batches), [2], ["VVV", "EEE", "EII", "VVI"], "cv", n_folds=3, random_state=0, n_threads=4)
    assert (batches.n_open, batches.most) == (0, 1)


def test_bytes_suffice_for_few_folds_only():
    found = cross_validate(BatchSource([X]), n_folds=200, random_state=0)
    assert sorted(np.unique(found.fold_of_row)) == list(range(200))


def test_selection_by_cross_validation_is_that_of_an_array(tmp_path):
    np.save(tmp_path / "rows.npy", X)
    plan = {
        "n_components": [1, 2],
        "covariance_type": ["VVV", "EII"],
        "criterion": "cv",
        "n_folds": 3,
        "random_state": 0,
    }
    whole, found = (select(rows, **plan) for rows in (X, tmp_path / "rows.npy"))
    for one, other in zip(found.candidates, whole.candidates, strict=True):
        assert one.value("cv") == pytest.approx(other.value("cv"), rel=1e-9)
