"""Rows that come once, kept in a temporary file: fits of an array, and nothing left behind, whatever happens."""

import gc
import itertools
import os
import resource
import signal
import subprocess
import sys
import textwrap
import tracemalloc

import numpy as np
import pandas
import pyarrow
import pytest
from gap_cases import fitted, with_gaps
from problems import no_convergence_warning

import fastgmm
from fastgmm import GaussianMixture, InvalidParameterError
from fastgmm.sources import BatchSource, GappedBatchSource

K, D, N = 2, 3, 2000
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)) + RNG.choice([-4.0, 4.0], N)[:, None]
W = RNG.integers(0, 3, N).astype(float)
CUTS = (0, 1, 1, 900, 1500, N)  # one batch is empty
OPTIONS = {"random_state": 0, "max_iter": 3, "tol": 0.0}

pytestmark = pytest.mark.filterwarnings("error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning")


def parts(*arrays):
    return [tuple(a[i:j] for a in arrays) for i, j in itertools.pairwise(CUTS)]


def generator(X=X):
    yield from (rows for (rows,) in parts(X))


def reader(X=X, w=None):
    columns = {f"x{j}": pyarrow.array(X[:, j], from_pandas=True) for j in range(D)} | ({} if w is None else {"w": w})
    table = pyarrow.table(columns)
    return pyarrow.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=333))


def fit(source, **options):
    with no_convergence_warning():
        return fastgmm.fit(source, K, **OPTIONS, **options)


@pytest.mark.parametrize("make", [generator, reader, lambda: iter([X]), lambda: iter([pandas.DataFrame(X)])])
def test_fits_are_those_of_an_array(make, tmp_path):
    source = BatchSource(make(), spool=tmp_path)
    assert fit(source) == fit(X)
    assert fit(source) == fit(X)  # as often as one likes
    np.testing.assert_array_equal(fit(X).mixture.predict(source), fit(X).mixture.predict(X))
    assert sys.platform != "linux" or os.listdir(tmp_path) == []  # no name, so nothing to forget
    del source
    gc.collect()
    assert os.listdir(tmp_path) == []


def test_the_type_of_the_rows_stays_and_other_numbers_are_converted():
    single = X.astype(np.float32)
    assert fit(BatchSource(generator(single), spool=True)) == fit(single)
    assert BatchSource(generator(single), spool=True).dtype == np.float32
    whole = np.round(X).astype(np.int16)
    assert fit(BatchSource(generator(whole), spool=True)) == fit(whole)
    assert fit(BatchSource(generator(X.astype(">f8")), spool=True)) == fit(X)


def test_weights():
    expected = fit(X, sample_weight=W)
    source = BatchSource(iter(parts(X, W)), spool=True)
    assert fit(source) == expected
    assert len(expected.mixture.predict(source)) == N  # rows of weight zero too
    columns = ["x2", "x0", "x1"]
    found = fit(BatchSource(reader(w=W), columns=columns, weights="w", spool=True))
    assert found == fit(np.ascontiguousarray(X[:, [2, 0, 1]]), sample_weight=W)
    assert BatchSource(reader(w=W), columns=columns, weights="w", spool=True).names == columns


@pytest.mark.parametrize("make", [generator, reader])
def test_gaps(make):
    gapped = with_gaps(X, 0.1, np.random.default_rng(0))
    source = GappedBatchSource(make(gapped), spool=True)
    assert source.n_missing == np.isnan(gapped).sum()
    assert fitted(source, K, **OPTIONS).lower_bound == pytest.approx(
        fitted(gapped, K, **OPTIONS).lower_bound, rel=1e-12
    )


def test_selection_and_the_estimator():
    found = fastgmm.select(BatchSource(generator(), spool=True), [1, 2, 3], ["VVV", "EII"], random_state=0)
    assert found.chosen.n_components == 2
    model = GaussianMixture(K, random_state=0).fit(BatchSource(reader(), spool=True))
    assert model.feature_names_in_.tolist() == ["x0", "x1", "x2"]


def test_one_batch_is_held_at_a_time(tmp_path):
    def many():
        for _ in range(100):
            yield np.zeros((1 << 14, 8)) + RNG.normal(size=8)

    tracemalloc.start()
    try:
        source = BatchSource(many(), spool=tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 5 << 20  # 100 MB of rows
    finally:
        tracemalloc.stop()
    assert source.n_rows == 100 << 14


# -------------------------------------------------------------------------------------- what must not be left behind


def left_in(folder):
    """Files in a folder, those without a name too as long as this process has them open."""
    names = os.listdir(folder)
    for number in os.listdir("/proc/self/fd") if sys.platform == "linux" else ():
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # that of the listing itself
            continue
        names += [target] if target.startswith(str(folder)) else []
    return names


@pytest.mark.parametrize("error", [OSError("the line is dead"), KeyboardInterrupt()], ids=repr)
def test_what_ends_the_reading_leaves_nothing(error, tmp_path):
    def fails():
        yield X
        raise error

    with pytest.raises(type(error)) as caught:
        BatchSource(fails(), spool=tmp_path)
    assert caught.value is error
    assert left_in(tmp_path) == []  # though the error is still here, and all that it holds


def test_a_fit_that_fails_leaves_nothing(tmp_path):
    source = BatchSource(generator(), spool=tmp_path)
    assert left_in(tmp_path)
    with pytest.raises(ZeroDivisionError):
        fit(source, callback=lambda state: 1 / 0)
    del source
    gc.collect()
    assert left_in(tmp_path) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="a signal of POSIX")
def test_a_program_that_is_killed_leaves_nothing(tmp_path):
    code = """
        import os, signal, sys, numpy as np
        from fastgmm.sources import BatchSource
        source = BatchSource((np.ones((1000, 2)) for _ in range(10)), spool=sys.argv[1])
        print(len(os.listdir(sys.argv[1])), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert os.listdir(tmp_path) == []


def test_a_disk_that_is_full_is_named(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError, match=r"no room for the rows to be spooled after \d+ of them; give the path of a"):
            BatchSource((np.ones((1 << 14, 4)) for _ in range(10)), spool=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert left_in(tmp_path) == []


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("make", [generator, reader])
def test_without_spool_what_comes_once_is_refused_everywhere(make):
    for attempt in (
        lambda: BatchSource(make()),
        lambda: fastgmm.fit(make(), K),
        lambda: GaussianMixture(K).fit(make()),
        lambda: fastgmm.select(make()),
    ):
        with pytest.raises(TypeError, match=r"can be consumed only once, .* spool=True"):
            attempt()


def refused(error, message, batches, **options):
    with pytest.raises(error, match=message):
        BatchSource(batches, **{"spool": True, **options})


def test_batches_that_differ_are_named():
    refused(ValueError, r"batch 1 \(counted from 0\) has 1 columns, but those before it have 3", iter([X, X[:, :1]]))
    refused(ValueError, r"batch 2 \(.*\) has the dtype float32, but those before", iter([X, X, X.astype("f4")]))
    refused(ValueError, r"batch 1 .* has no weights, but the batches before it have some", iter([(X, W), X]))
    refused(ValueError, r"batch 1 .* has weights, but the batches before it have none", iter([X, (X, W)]))
    bad = X.copy()
    bad[7, 1] = np.nan
    refused(ValueError, r"Input batch 1 \(.*\) contains NaN. The first is in row 7, column 1", iter([X, bad]))
    refused(ValueError, "there are no batches", iter([]))
    refused(ValueError, r"batch 0 .*, row 8, column 'x1': the value is missing", reader(bad))
    refused(ValueError, "'w'", reader(), weights="w")


def test_what_spool_is_not_for(tmp_path):
    for again in ([X], X, "rows.npy", generator):
        refused(ValueError, "spool must be None where X is not an iterator", again)
    for wrong in (3, "no such folder", 0.0):
        refused(
            InvalidParameterError, "spool must be a bool or the path of a folder that exists", iter([X]), spool=wrong
        )
    refused(ValueError, "sample_weight must be None where X is spooled", iter([X]), sample_weight=W)
    refused(ValueError, "columns must be None where X is batches", iter([X]), columns=["a"])


def test_what_goes_with_other_rows_is_not_ignored(tmp_path):
    frame = pandas.DataFrame(X, columns=list("abc"))
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    for name in ("rows.parquet", "rows.csv"):
        with pytest.raises(ValueError, match=rf"sample_weight must be None where X is .*{name}: weights stand beside"):
            fastgmm.fit(tmp_path / name, K, sample_weight=W)
    with pytest.raises(ValueError, match="sample_weight must be None where X is no array or NPY file"):
        BatchSource([X], W)
    for name, value in (("columns", ["a"]), ("weights", "a")):
        for rows, what in (([X], "batches"), (X, "an array")):
            with pytest.raises(ValueError, match=f"{name} must be None where X is {what}"):
                BatchSource(rows, **{name: value})
