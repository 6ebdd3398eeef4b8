"""Fits of rows in every kind of place are those of an array, whatever is asked of them: see crossings.py."""

import pytest
from crossings import CROSSINGS, PAGE, PLACES, D, K, equality, expected, in_page, table

from fastgmm.engine import group_rows


@pytest.fixture(autouse=True)
def in_pieces(monkeypatch, no_cluster):
    """Chunks as short as they can be."""
    monkeypatch.setattr("fastgmm.sources.batches.CHUNK_BYTES", 1 << 14)


@pytest.mark.long
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", CROSSINGS)
def test_fits_are_those_of_an_array(name, place, tmp_path):
    assert equality(name, place, tmp_path) in ("bits", expected(CROSSINGS[name], place))


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name, crossing in CROSSINGS.items() if crossing.families])
def test_fits_of_several_chunks_are_those_of_an_array(name, tmp_path):
    crossing = CROSSINGS[name]
    n = group_rows("spherical", K, D, 0, "float32" in crossing.beside) + 1000
    assert equality(name, "batches", tmp_path, n, 1) in ("bits", expected(crossing, "batches"))


@pytest.mark.checkout
def test_the_table_of_the_documentation_is_of_these_crossings():
    text = PAGE.read_text(encoding="utf-8")
    first, last = in_page(text)
    assert text[first:last] == table()
