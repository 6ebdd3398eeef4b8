"""docs/missing.md shows what is stored, its code runs, and what published packages found is where EM here rests."""

import re
from pathlib import Path

import numpy as np
import pytest
from harness import load

import fastgmm

missing = load("missing")
PAGE = Path(__file__).parents[1] / "docs" / "missing.md"
pytestmark = pytest.mark.checkout


def test_page_shows_what_is_stored():
    assert missing.shown_is_stored()


def test_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    ):
        exec(block, names)
    X, truth = names["X"], names["truth"]
    assert names["several"].shape == (5, *X.shape)
    np.testing.assert_array_equal(names["filled"][~np.isnan(X)], X[~np.isnan(X)])
    assert missing.errors(names["model"].to_mixture(), truth)[1] < 0.3


def test_every_case_is_stored():
    stored = missing.load()["packages"]
    assert [tuple(each[name] for name in ("name", "share", "family", "n_components")) for each in stored] == list(
        missing.CASES
    )


@pytest.mark.parametrize(
    "case",
    missing.load()["packages"],
    ids=lambda case: f"{case['name']}, {case['share']:.0%}, {case['package']}, {case['family']}",
)
def test_estimates_of_packages_are_where_em_rests(case):
    """Maxima of the same likelihood, by packages, stored in full: its value is theirs, no step gains, nothing moves."""
    X = missing.table(case["name"], case["share"])
    found = missing.judged(X, case["family"], case)
    for key in ("ours_at_theirs", "ours"):
        assert found[key] == pytest.approx(case[key], abs=1e-8)
    assert -1e-9 < found["ours"] - found["ours_at_theirs"] < 1e-8
    assert found["moved"] < 1e-4
    if "log_likelihood" in case:
        assert found["ours_at_theirs"] == pytest.approx(case["log_likelihood"], abs=1e-8)


def test_gaps_cost_less_than_the_rows_that_have_them():
    """Of the stored errors: with 30 % missing those of all rows are far below those of rows without gaps alone."""
    results = missing.load()["recovery"]
    assert [(each["family"], each["share"]) for each in results] == [
        (family, share) for family in missing.FAMILIES for share in missing.SHARES
    ]
    for each in results:
        ours, complete = np.array(each["errors"]), np.array(each["errors_of_complete_rows"])
        if each["share"] == 0.3:
            assert (ours < 0.7 * complete).all()


def test_errors_are_zero_for_the_truth_and_count_in_standard_deviations():
    truth = missing.truth("full", 0)
    np.testing.assert_allclose(missing.errors(truth, truth), 0, atol=1e-12)
    moved = fastgmm.Mixture(truth.weights, truth.means, 1.21 * truth.covariances)
    np.testing.assert_allclose(missing.errors(moved, truth), [0, 0, 0.21], atol=1e-12)
    L = np.linalg.cholesky(truth.covariances)
    away = fastgmm.Mixture(truth.weights, truth.means + 0.01 * L[:, :, 0], truth.covariances)
    np.testing.assert_allclose(missing.errors(away, truth), [0, 0.01, 0], atol=1e-12)


def test_a_small_recovery():
    found = missing.recover("spherical", 0.3, n_sets=1)
    assert found["rows_left"] == pytest.approx(0.7**5, abs=0.02)
    assert max(found["errors"]) < 0.2


def test_a_pass_over_rows_with_gaps_took_at_most_five_times_as_long():
    """Of the stored times: 100,000 rows of 10 features, a tenth of the values missing in 60 patterns."""
    for each in missing.load()["cost"]:
        assert (each["n_patterns"], round(each["share"], 2)) == (60, 0.1)
        assert each["seconds"]["with"] <= 5 * each["seconds"]["without"]
