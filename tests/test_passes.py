"""benchmarks/passes.py and docs/convergence.md: counts are right, the page shows what is stored, its example runs."""

import dataclasses
import re

import numpy as np
import pytest
from harness import ROOT, load

passes = load("passes")


def outcome(plain, fast, gap=0.0):
    return passes.Outcome(
        *("rows", 10, 2, 3, "full"),
        passes={"plain": plain, "squarem": plain, "lbfgs": fast},
        own={"plain": [4, 5, 6], "squarem": [4, 5, 6], "lbfgs": [1, 2, 3]},
        reached={"plain": -1.0, "squarem": -1.0, "lbfgs": gap - 1},
    )


def test_passes_are_counted_with_that_of_the_start():
    assert passes.passes_to(-2.0, [-2.0, -1.0]) == 1
    assert passes.passes_to(-1.5, [-4.0, -3.0, -1.5, -1.0]) == 3
    assert passes.passes_to(-0.5, [-4.0, -1.0]) is None


def test_ratios_and_summary_by_hand():
    rows = [
        outcome([2, 20, 200], [1, 10, 50]),
        outcome([1, 3, 9], [1, 3, 9], 1e-3),
        outcome([5, 6, 7], [5, None, None], -1e-3),
    ]
    assert [passes.ratio(each, 2, "lbfgs") for each in rows] == [4.0, 1.0, None]
    text = passes.summary(rows, "lbfgs")
    assert "2.00× to 1e-6 (least 1.00×)" in text
    assert "4.00× to the last where EM takes a hundred" in text
    assert "2.00× to 1e-6 (least 2.00×). Of 3 fits" in text
    assert "a better optimum than EM in 1 and in a worse one in 1" in text
    assert "| 5 / 6 / 7 | 5 / 6 / 7 | 5 / – / – | 1.0×, – | 0, -0.0010 |" in passes.table(rows)
    random = dataclasses.replace(rows[0], name="random 0")
    assert passes.table(rows).count("| rows |") == passes.table([*rows, random]).count("| rows |")
    assert "1 random fits" in passes.table([*rows, random])


def test_case_is_run_to_one_optimum_every_way():
    """Every number of passes again from fits that stop there."""
    from fastgmm.fitting import run

    case = passes.Case("draws", passes.draws(400, 2, 3, 2.5), 3, "diag")
    found = passes.count(case)
    options = {"covariance_type": "diag", "random_state": 0, "reg_covar": 0.0, "on_collapse": "floor", "tol": 0.0}
    assert found.own == found.passes
    for name, acceleration in passes.WAYS.items():
        assert found.reached[name] == pytest.approx(found.reached["plain"], abs=1e-7)
        assert found.passes[name] == sorted(found.passes[name])
        for distance, n in zip(passes.DISTANCES, found.passes[name], strict=True):
            target = max(found.reached.values()) - distance
            there, before = (run(case.load(), 3, max_iter=m, acceleration=acceleration, **options) for m in (n, n - 1))
            assert there.lower_bound >= there.progress.bound >= target > before.progress.bound
    assert min(passes.ratio(found, 2, way) for way in ("squarem", "lbfgs")) > 1


@pytest.mark.parametrize("seed", [20, 224, 242, 250, 295, 533, 580, 621, 848, 911])
def test_fits_that_defy_acceleration_take_few_passes_more(seed):
    """Of short ones from poor starts, where single trials that are lost weigh most: never more than 1.2 times EM's."""
    found = passes.count(passes.random_case(seed))
    plain = found.passes["plain"]
    for way in ("lbfgs", "squarem"):
        for n_plain, n_fast in zip(plain, found.passes[way], strict=True):
            assert n_plain is None or n_fast is None or n_fast <= 1.2 * n_plain
    assert None not in plain + found.passes["lbfgs"]


def test_cases_are_many_and_differ():
    assert len({case.name for case in passes.CASES}) >= 12
    assert len({(case.name, case.n_components, case.covariance_type) for case in passes.CASES}) >= 28


@pytest.mark.checkout
def test_page_shows_what_is_stored():
    assert passes.shown_is_stored()


@pytest.mark.checkout
def test_stored_outcomes_keep_the_promise():
    """Three times fewer passes to 1e-6 with L-BFGS, never more than 1.2 times those of EM, and all cases are there."""
    stored = passes.load()
    wanted = {(case.name, case.n_components, case.covariance_type) for case in (*passes.CASES, *passes.RANDOM)}
    assert {(each.name, each.n_components, each.covariance_type) for each in stored} == wanted
    found = [passes.ratio(each, 2, "lbfgs") for each in stored]
    assert min(r for r in found if r is not None) >= 1 / 1.2
    cases = [r for r, each in zip(found, stored, strict=True) if r is not None and "random" not in each.name]
    assert passes.geometric_mean(cases) >= 3


@pytest.mark.checkout
def test_examples_of_the_page_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "convergence.md").read_text(encoding="utf-8")
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        exec(block, names)
    assert (tmp_path / "starts.png").read_bytes().startswith(b"\x89PNG")
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("tol ")
    assert second.startswith("aitken ")
    assert names["sure"].lower_bound > names["usual"].lower_bound
    fields = set(re.findall(r"^\| `(\w+)` \| `(\w+_)` \|", text, flags=re.MULTILINE))
    assert all(hasattr(names["sure"], ours) and theirs == f"{ours}_" for ours, theirs in fields)
    assert len(fields) == 5
    assert np.isfinite(names["sure"].remaining_gain)
