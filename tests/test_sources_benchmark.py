"""benchmarks/sources.py: docs/sources.md shows what is stored, which keeps its promises; small measurements run."""

import dask
import numpy as np
import pytest
from harness import load

from fastgmm.sources.memory import parse_memory

sources, page = load("sources"), load("sources_page")
pytestmark = pytest.mark.checkout


def test_page_shows_what_is_stored():
    assert sources.shown_is_stored()


def test_the_file_was_larger_than_the_memory_that_its_fit_kept_to():
    found = sources.load()["file"]
    assert found["extra_bytes"] < parse_memory(found["max_memory"]) < found["bytes"]
    assert found["bytes"] > found["n_rows"] * sources.FILE_FEATURES * 4


def test_streams_came_within_a_thousandth_of_default_fits():
    for each in sources.load()["streams"]:
        assert each["n_rows"] >= 1_000_000
        assert page.gap(each, "default") <= 1e-3


@pytest.mark.long  # sanitizers take memory of their own
def test_a_small_file(tmp_path):
    """Also that both fits end at the same bits, which `measure_file` asserts."""
    found = sources.measure_file(0.02, "100 MB", 1, str(tmp_path))
    assert found["n_rows"] == 312_500
    assert not list(tmp_path.iterdir())
    right = dict.fromkeys(sources.FILE_FAMILIES, sources.FILE_PASSES)
    for where in ("cold", "warm", "memory"):
        assert {family: len(times) for family, times in found[where].items()} == right
    assert 0 < found["extra_bytes"] < 100 << 20


def test_rows_of_files_are_those_that_were_written(tmp_path):
    path = tmp_path / "rows.npy"
    sources.write_rows(path, 300_000)  # in two pieces
    rows = np.load(path)
    assert (rows.shape, rows.dtype) == ((300_000, sources.FILE_FEATURES), np.float32)
    assert np.isfinite(rows).all()
    assert sources.read(path) > 0


def test_partitions_are_those_of_the_array():
    with dask.config.set(scheduler="sync"):
        whole = sources.collection(5).compute()
    parts = [sources.partition(i, 5) for i in range(sources.DASK_PARTITIONS)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_a_small_stream():
    found = sources.measure_stream(20_000, 3.0)
    assert -1e-3 < page.gap(found, "converged") < 5e-3
