"""The kernel grid: counts and sizes, equal answers, runs that continue, and a page made of what is stored."""

import math
from collections import Counter

import numpy as np
import pytest
from harness import ROOT, load

from fastgmm.engine import simd

cells, grid, grid_page, grid_results, libraries, measure = map(
    load, ("cells", "grid", "grid_page", "grid_results", "libraries", "measure")
)

LEVELS = cells.Cell("levels", "diag", 2, 3)
RATIO = cells.Cell("ratio", "diag", 2, 3)
MACHINE = {
    "cpu": "a processor",
    "cores": 2,
    "caches": {"L1": "32K"},
    "compiler": "a compiler",
    "simd": {"available": ["portable", "x86-64", "avx2"]},
    "thread_pools": [{"user_api": "blas", "internal_api": "a BLAS", "version": "1"}],
    "versions": {"fastgmm": "1.0"},
}


def made_up(share=0.8, speedup=40.0):
    """Outcomes of every cell in which all shares and all ratios are given."""
    outcomes = {}
    for cell in cells.GRID:
        rows, peak = 10_000, 50e9
        seconds = (
            0.0 if cell.part == "peers" else cells.multiply_adds(cell.family, cell.D, cell.K) * rows / (share * peak)
        )
        if cell.part == "levels":
            names = {"avx2/float64/1": 1, "avx2/float64/2": 0.5, "avx2/float32/1": 0.5, "avx2/float32/2": 0.25}
            names |= {"x86-64/float64/1": 3, cells.PAIR: 1.1}
            taken = {name: [seconds * part] * 3 for name, part in names.items()}
        elif cell.part == "ratio":
            taken = {
                "scikit-learn": [seconds],
                "avx2/float64/2": [seconds / speedup],
                "x86-64/float64/2": [seconds / 4],
            }
        elif cell.part == "peers":
            taken = {"fastgmm": [1.0], "scikit-learn": [50.0], "oneDAL": [4.0], "mclust": [12.0]}
        else:
            taken = {"with": [1.0], "without": [5.0]}
        rates = {f"{dtype}/{n}": peak for dtype in cells.DTYPES for n in cells.THREADS}
        outcomes[cell.id] = cells.Outcome(rows, taken, 0.0, rates if cell.part == "levels" else {})
    return grid_results.Grid(outcomes, MACHINE)


def test_grid_has_every_shape_once():
    assert len({cell.id for cell in cells.GRID}) == len(cells.GRID)
    assert Counter(cell.part for cell in cells.GRID) == {"levels": 260, "ratio": 259, "skipping": 1, "peers": 12}
    assert [cell.K for cell in grid.select(["levels/full/D16/K1"])] == [1, 10, 128]
    with pytest.raises(ValueError, match="no cell matches 'nonsense'"):
        grid.select(["nonsense"])


def test_multiply_adds_are_those_of_the_passes():
    test_kernels = load("test_kernels")
    for family, kind in test_kernels.FAMILIES.items():
        for D, K in ((1, 1), (7, 3), (64, 32)):
            theirs = test_kernels.useful_multiply_adds(kind, K, D, update=True)
            # That count has the weights and sums of full in it, (D + 1) (D + 2) instead of D (D + 1) and so on.
            more = {"full": 2 * K * (D + 1), "tied": 0, "diag": 0, "spherical": -2 * K}[family]
            assert theirs - cells.multiply_adds(family, D, K) == more


@pytest.mark.parametrize("cell", [*(cells.Cell("levels", f, 2, 3) for f in cells.FAMILIES), RATIO], ids=lambda c: c.id)
def test_quick_cell_is_measured_at_every_level(cell):
    before = simd.active()
    outcome = cells.run(cell, quick=True)
    assert simd.active() == before
    assert outcome.agreement < 1e-12
    assert all(taken > 0 for each in outcome.seconds.values() for taken in each)
    if cell.part == "levels":
        lanes = [level for level in simd.levels() if simd.lanes(level) > 1]
        assert len(outcome.seconds) == 4 * len(lanes) + 1 or not lanes
        assert cells.PAIR in outcome.seconds
        whole = {cells.GEMM_AVX2} if simd.levels()[-1] == "avx512" else set()
        assert set(outcome.gemm) == {"float64/1", "float64/2", "float32/1", "float32/2"} | whole
    else:
        assert "scikit-learn" in outcome.seconds


def test_peers_that_differ_are_left_out(monkeypatch):
    class Wrong(libraries.ScikitLearn):
        name = "wrong"

        def log_likelihood(self, model, X):
            return super().log_likelihood(model, X) + 1.0

    pair = [libraries.make(name, 2) for name in (libraries.REFERENCE, libraries.SUBJECT)]
    monkeypatch.setattr(cells, "everyone", lambda n_threads: [*pair, Wrong(2)])
    monkeypatch.setattr(measure, "per_iteration", lambda low, high, iterations: high)  # a busy computer, see there
    outcome = cells.run(cells.PeerCell("iris", "diag", 4), quick=True)
    assert set(outcome.seconds) == {libraries.REFERENCE, libraries.SUBJECT}
    assert "wrong" in outcome.left_out


def test_quick_skipping_compares_the_same_fit():
    outcome = cells.run(cells.Cell("skipping", "full", 4, 32), quick=True)
    assert set(outcome.seconds) == {"with", "without"}
    assert outcome.agreement < 1e-12


@pytest.mark.parametrize("error", [1e-6, math.nan])
def test_unequal_levels_are_refused(monkeypatch, error):
    honest = cells.watch_fastgmm

    def wrong(X, start, family, n_iter, n_threads):
        watched = honest(X, start, family, n_iter, n_threads)
        bounds = [bound + (error if n_threads == 2 else 0) for bound in watched.bounds]
        return cells.Watched(watched.seconds, bounds)

    monkeypatch.setattr(cells, "watch_fastgmm", wrong)
    for cell in (LEVELS, RATIO):
        with pytest.raises(measure.UnequalAnswers, match="/2 gives"):
            cells.run(cell, quick=True)


@pytest.mark.filterwarnings("ignore::fastgmm.ConvergenceWarning")
def test_no_component_loses_its_rows_from_the_start_of_a_cell():
    X, start = cells.make(cells.Cell("levels", "full", 8, 32), quick=True)
    watched = cells.watch_fastgmm(X, start, "full", 4, 1)
    assert np.isfinite(watched.bounds).all()
    assert watched.bounds == sorted(watched.bounds)


def test_run_continues_and_never_mixes_two_builds(tmp_path):
    path = tmp_path / "grid.json"
    outcome = cells.Outcome(10, {"avx2/float64/1": [0.123456789]}, 0.0, {"float64/1": 5e10})
    grid_results.Grid({LEVELS.id: outcome}, MACHINE).save(path)
    stored = grid.begin(path, MACHINE, only=True, fresh=False).outcomes
    assert stored[LEVELS.id].seconds == {"avx2/float64/1": [0.123457]}
    other = {**MACHINE, "build": "another"}
    assert grid.begin(path, other, only=False, fresh=False).outcomes == {}
    assert grid.begin(path, other, only=True, fresh=True).outcomes == {}
    with pytest.raises(SystemExit, match="build"):
        grid.begin(path, other, only=True, fresh=False)


@pytest.mark.checkout
def test_command_stores_where_it_is_told_and_quick_results_not_as_results(tmp_path, capsys):
    path = tmp_path / "grid.json"
    assert grid.main(["--quick", "--only", "levels/diag/D2/K3", "--output", str(path)]) == 0
    stored = grid_results.Grid.load(path)
    assert set(stored.outcomes) == {"levels/diag/D2/K3", "levels/diag/D2/K32"}
    assert "| diag, D = 2" not in grid_page.page(stored)
    with pytest.raises(SystemExit):
        grid.main(["--quick", "--output", str(grid.results("avx2"))])
    assert "choose another" in capsys.readouterr().err


def test_page_says_what_was_reached():
    reached = grid_page.page(made_up())
    assert (
        "| full, float64, one thread: share of the DGEMM rate, D ≥ 32 | ≥ 70 % | 80 % (D = 32, K = 1) | 80 % | yes |"
        in reached
    )
    assert "not measured" not in reached
    assert "| oneDAL ÷ fastgmm, D < 64 | ≥ 3.0× | 4.0× (oneDAL, 200k-10-10 full) | 4.0× | yes |" in reached
    assert "| iris, 10,000 × 4, K = 3, full | 1.00 s | 50 | 4.0 | 12 |" in reached
    assert "which share nothing | ≥ 95 % | 110 % (full, D = 16) | 110 % | yes |" in reached
    assert "| 16 | 2.0 | 1.8 | 2.0 | 1.8 | 2.0 | 1.8 | 2.0 | 1.8 |" in reached
    unsteady = made_up()
    del unsteady.outcomes["peers/iris/full"].seconds["fastgmm"]  # as on a computer that is too busy
    assert "| iris, 10,000 × 4, K = 3, full | – | – | – | – |" in grid_page.page(unsteady)
    missed = made_up(share=0.3, speedup=20)
    slow = missed.outcomes["ratio/full/D1/K1"].seconds
    slow["scikit-learn"] = [value / 20 for value in slow["scikit-learn"]]
    page = grid_page.page(missed)
    assert "share of the DGEMM rate, D ≥ 32 | ≥ 70 % | 30 % (D = 32, K = 1) | 30 % | in 0 of 25 measured |" in page
    assert (
        "scikit-learn ÷ fastgmm, every cell | ≥ 2.0× | 1.0× (full, D = 1, K = 1) | 20× | in 258 of 259 measured |"
        in page
    )
    assert "not measured" in grid_page.page(grid_results.Grid({}, MACHINE))
    del missed.outcomes["levels/full/D8/K1"], missed.outcomes["peers/iris/full"]
    assert "D = 8 and 10 | ≥ 35 % | 30 % (D = 8, K = 3) | 30 % | in 0 of 9 measured |" in grid_page.page(missed)
    assert "4.0× (oneDAL, 200k-10-10 full) | 4.0× | in 9 of 9 measured |" in grid_page.page(missed)


@pytest.mark.parametrize(("gain", "verdict"), [(1.1, "in 0 of 52 measured"), (1.8, "not asked: 512-bit matrix pro")])
def test_only_a_processor_that_splits_vectors_is_asked_for_the_level_below(gain, verdict):
    measured = made_up()
    for outcome in measured.outcomes.values():
        if outcome.gemm:
            outcome.gemm[cells.GEMM_AVX2] = outcome.gemm["float64/1"] / gain
        for name in [name for name in outcome.seconds if name.startswith("avx2/")]:
            outcome.seconds[name.replace("avx2", "avx512")] = outcome.seconds[name]
            outcome.seconds[name] = [1.7 * seconds for seconds in outcome.seconds[name]]
    measured.machine = {**MACHINE, "simd": {"available": ["x86-64", "avx2", "avx512"]}}
    line = next(line for line in grid_page.page(measured).splitlines() if line.startswith("| AVX2"))
    assert f"| 1.7× | {verdict}" in line


@pytest.mark.parametrize("level", grid.PAGES)
def test_pages_are_those_of_the_stored_results(level):
    assert (ROOT / "docs" / grid.PAGES[level]).read_text(encoding="utf-8") == grid_page.page(
        grid_results.Grid.load(grid.results(level))
    )
