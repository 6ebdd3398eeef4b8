"""Documents for readers of the code: examples run, floors are those of test_layers, what is named exists."""

import re
from pathlib import Path

import numpy as np
import pytest
from test_layers import FLOORS

CHECKOUT = Path(__file__).parents[1]
DESIGN = (CHECKOUT / "docs" / "design.md").read_text(encoding="utf-8")
SOURCES = (CHECKOUT / "docs" / "sources.md").read_text(encoding="utf-8")
STREAMS = (CHECKOUT / "docs" / "streams.md").read_text(encoding="utf-8")
NUMERICS = (CHECKOUT / "docs" / "numerics.md").read_text(encoding="utf-8")


def run_block(text, *numbers):
    """The names that blocks of Python leave, where each goes on from the one before."""
    names = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    for number in numbers:
        exec(blocks[number], names)
    return names


def test_em_by_hand_runs_over_several_chunks_to_the_bits_of_fit():
    names = run_block(DESIGN, 0)
    assert names["by_hand"] == names["whole"].mixture
    assert names["bound"] == names["whole"].progress.bound
    assert names["constants"].group_rows < len(names["X"]) / 2


def test_rows_larger_than_memory_are_fitted_as_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_block(SOURCES, 0, 1, 2)
    np.testing.assert_array_equal(names["labels"], names["on_disk"].mixture.predict(names["rows"]))
    assert names["spooled"] == names["on_disk"]


def test_dask_collections_are_fitted_as_shown():
    assert run_block(SOURCES, 3)["model"].converged_


def test_source_of_your_own_is_fitted():
    names = run_block(SOURCES, 4)
    assert names["result"].converged


def test_streams_go_on_from_files_as_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_block(STREAMS, 0)["model"].n_iter_ == 101


def test_floors_are_those_that_imports_are_held_to():
    rows = re.findall(r"^\| (`.*?`) \| ", DESIGN, flags=re.MULTILINE)
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows] == FLOORS


@pytest.mark.checkout
@pytest.mark.parametrize("text", [DESIGN, SOURCES, STREAMS, NUMERICS], ids=["design", "sources", "streams", "numerics"])
def test_files_that_are_named_exist(text):
    tests = set(re.findall(r"`(test_\w+)`", text))
    files = set(re.findall(r"(?:docs|src_c|fitting|covariance|fastgmm)/[\w/]*\.\w+", text))
    assert tests or files
    assert not [name for name in tests if not (CHECKOUT / "tests" / f"{name}.py").is_file()]
    missing = [name for name in files if not any((base / name).is_file() for base in (CHECKOUT, CHECKOUT / "fastgmm"))]
    assert not missing
