"""What a pass holds at a time, however its threads take turns: three chunks of rows, and pieces of a megabyte."""

import queue
import sys
import time
import tracemalloc

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from problems import no_convergence_warning

import fastgmm
from fastgmm.engine import FACTOR_SHAPES
from fastgmm.io import pages
from fastgmm.io.tables import write_table
from fastgmm.sources import ArraySource, BatchSource, GappedBatchSource, Source
from fastgmm.sources.memory import MODELS

MB = 1 << 20
CHUNK, PIECES = 6 * MB, 5 * MB  # pieces are read, converted and looked at
D, N = 24, 400_000  # 37 MB of float32


class Late(queue.Queue):
    """Whoever takes something is held up before using it, so that the one who reads runs ahead as far as may be."""

    def get(self):
        taken = super().get()
        time.sleep(0.01)
        return taken


@pytest.fixture
def counted(monkeypatch):
    """Chunks of 6 MB, and the bytes of all arrays that passes over a source take at most."""
    monkeypatch.setattr("fastgmm.sources.batches.CHUNK_BYTES", CHUNK)
    monkeypatch.setattr(pages, "empty", np.empty)  # which is counted
    monkeypatch.setattr(queue, "Queue", Late)

    def step(rows, known, options, before):
        time.sleep(0.02)  # the reader reads what it may
        return rows.n_rows + (before or 0)

    def count(source, *, n_rows=N):
        tracemalloc.start()
        try:
            assert source._passed(1, step) == n_rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return count


@pytest.fixture(scope="module")
def X():
    return np.tile(np.arange(N, dtype=np.float32)[:, None] % 1000, D)


def npy(X, folder):
    np.save(folder / "rows.npy", X)
    return folder / "rows.npy"


def weighted(X, folder):
    return BatchSource(npy(X, folder), np.where(np.arange(len(X)) % 9, 1.0, 0.0))


def known(X, folder):
    return BatchSource(npy(X, folder), known_labels=np.arange(len(X)) % 3 - 1)


def columns(X, folder):
    return BatchSource(npy(np.column_stack([X, X[:, 0]]), folder), columns=[f"x{j}" for j in range(1, D + 1)])


def mapped(X, folder):
    """A map whose rows lie apart."""
    return BatchSource(np.load(npy(np.column_stack([X, X[:, 0]]), folder), mmap_mode="r")[:, 1:])


def spooled(X, folder):
    return BatchSource((part for part in np.array_split(X, 20)), spool=folder)


def parquet(X, folder):
    table = pyarrow.table({f"x{j}": X[:, j] for j in range(D)})
    pyarrow.parquet.write_table(table, folder / "rows.parquet", row_group_size=50_000)
    return BatchSource(folder / "rows.parquet")


KINDS = {
    "npy": lambda X, folder: BatchSource(npy(X, folder)),
    "gapped": lambda X, folder: GappedBatchSource(npy(X, folder)),
    "big-endian": lambda X, folder: BatchSource(npy(X.astype(">f8")[: N // 2], folder)),
    "int16": lambda X, folder: BatchSource(npy(X.astype(np.int16)[: N // 2], folder)),
    "Fortran": lambda X, folder: BatchSource(npy(np.asfortranarray(X), folder)),
    "weighted": weighted,
    "known": known,
    "columns": columns,
    "mapped": mapped,
    "spooled": spooled,
    "parquet": parquet,
    "unknown": lambda X, folder: known(X, folder).unknown(),
}


def test_pages_are_given_out_again_in_a_pass_and_then_gone():
    shape = (10_000, 3)
    with pages.reused():
        one = pages.empty(shape, float)
        place, part = one.ctypes.data, one[7:].T
        del one
        other = pages.empty(shape, float)
        assert other.ctypes.data != place  # a view of the first is left
        del part
        third = pages.empty(shape, float)
        assert third.ctypes.data == place
        del other
        assert list(pages._idle) == [third.nbytes]
    assert not pages._idle
    del third
    assert not pages._idle


def test_passes_leave_no_pages(X, tmp_path):
    fitted = fastgmm.fit(npy(X, tmp_path), 1, covariance_type="diag")
    with pytest.raises(ZeroDivisionError):
        fastgmm.fit(tmp_path / "rows.npy", 1, covariance_type="diag", callback=lambda state: 1 / 0)
    fitted.mixture.predict(tmp_path / "rows.npy")
    assert not pages._idle
    assert not pages._passes


@pytest.mark.parametrize("kind", KINDS)
def test_passes_hold_three_chunks(kind, X, counted, tmp_path):
    source = KINDS[kind](X, tmp_path)
    assert counted(source, n_rows=source.n_rows) < 3 * CHUNK + PIECES


def test_text_is_read_piece_by_piece(counted, tmp_path):
    write_table(tmp_path / "rows.csv", {f"x{j}": np.arange(60_000) % 7 for j in range(D)})
    assert counted(BatchSource(tmp_path / "rows.csv"), n_rows=60_000) < 12 * MB + 4 * MB  # all rows, and a piece


def made(X, n_rows):
    """A function that makes batches, and keeps none."""
    return lambda: (X[first : first + n_rows].copy() for first in range(0, len(X), n_rows))


@pytest.mark.parametrize("n_rows", [20_000, 60_000, 150_000])
def test_batches_that_are_made_count_twice(n_rows, X, counted):
    batch = n_rows * D * 4
    assert counted(BatchSource(made(X, n_rows))) < 3 * CHUNK + 2 * batch + PIECES


def test_frames_count_three_times(X, counted):
    batches = made(X, 60_000)
    source = BatchSource(lambda: map(pandas.DataFrame, batches()))
    assert counted(source) < 3 * CHUNK + 3 * 60_000 * D * 4 + PIECES


def test_a_batch_that_has_no_room_is_refused():
    """Where the first one fits."""
    X = np.arange(60_000.0)[:, None] % 7

    def fit(*sizes):
        batches = BatchSource(lambda: (X[:n].repeat(40, axis=1) for n in sizes), max_memory="150 MB")
        return fastgmm.fit(batches, 1)

    with pytest.raises(
        ValueError, match=r"max_memory is 150 MB, but \d+ MB are needed for .*, the rows of batch 1 \(counted"
    ):
        fit(10, 50_000)
    assert fit(10, 1000).converged


def test_what_is_made_of_rows_is_made_block_by_block(X, counted, tmp_path):
    source = BatchSource(npy(X, tmp_path))
    sizes = [len(block) for block in source.blocks(row_bytes=2048)]
    assert (max(sizes), sum(sizes)) == (CHUNK // 2048, N)
    tracemalloc.start()
    made = source.map_rows(lambda rows: rows[:, :12].astype(float), 12, float)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(made, X[:, :12])
    assert taken < 2 * made.nbytes + 4 * CHUNK


def resident(path):
    """Bytes of a file that are mapped into this process, as Linux counts them; None elsewhere."""
    if sys.platform != "linux":
        return None
    found, here = 0, False
    with open("/proc/self/smaps") as file:
        for line in file:
            if "-" in line.split()[0]:
                here = line.rstrip().endswith(str(path))
            elif here and line.startswith("Rss:"):
                found += int(line.split()[1]) * 1024
    return found


def test_no_pages_of_a_map_stay(X, tmp_path):
    path = npy(np.asfortranarray(X), tmp_path)
    rows = np.load(path, mmap_mode="r")
    whole = fastgmm.fit(X, 1, covariance_type="diag")
    for part in (rows, rows[::-1]):
        fitted = fastgmm.fit(part, 1, covariance_type="diag", max_memory="150 MB")
        assert fitted.mixture.means == pytest.approx(whole.mixture.means, rel=1e-6)
    assert resident(path) in (None, 0)
    rows.max()
    assert resident(path) != 0  # what reads through the map keeps them


class Elsewhere(Source):
    """Rows that are not held where starts need them, but are here all the same."""

    def __init__(self, X):
        self.n_features, self.array, self.few = X.shape[1], X, ArraySource(X)

    def accumulate(self, constants, *, pivot=None):
        return fastgmm.accumulate(self.array, constants, pivot=pivot)

    def sample(self, n_rows, rng):
        return self.few


@pytest.mark.parametrize("acceleration", MODELS)
@pytest.mark.parametrize(("kind", "name"), [("full", "full"), ("diagonal", "diag")])
def test_what_a_fit_remembers_is_counted(acceleration, kind, name):
    K, n_features = (12, 60) if kind == "full" else (300, 60)
    rng = np.random.default_rng(0)
    rows = Elsewhere(rng.standard_normal((900, n_features)) + rng.choice([-3, 3], 900)[:, None])
    options = {"covariance_type": name, "init_params": "random_from_data", "reg_covar": 1e-2, "random_state": 0}
    tracemalloc.start()
    try:
        with no_convergence_warning():
            fastgmm.fit(rows, K, n_init=2, max_iter=12, tol=0.0, acceleration=acceleration, **options)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    partial = 8 * K * (1 + n_features + np.prod(FACTOR_SHAPES[kind](1, n_features)))
    assert 4 * partial < taken < MODELS[acceleration] * partial
