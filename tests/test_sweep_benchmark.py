"""The table of docs/selection.md shows what is stored, and what is stored is as good as mclust's."""

import pytest
from harness import load

sweep = load("sweep")

pytestmark = pytest.mark.checkout


def test_page_shows_what_is_stored():
    assert sweep.main(["--check"]) == 0


@pytest.mark.parametrize("stored", sweep.load()["sets"], ids=lambda stored: stored["name"])
def test_best_bic_is_equal_or_better(stored):
    assert stored["name"] in sweep.SETS
    if "mclust" in stored:  # both stop before their optima, by gains below 1e-5
        assert stored["fastgmm"]["bic"] <= stored["mclust"]["bic"] + 1e-2
