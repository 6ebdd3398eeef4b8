"""What the pass was meant to reach, as data: a sentence, a number, and which measured figures have to reach it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.cells import BASELINE, FAMILIES, N_COMPONENTS, N_FEATURES, PEER_CELLS, Cell
from benchmarks.grid_results import Grid, geometric_mean
from benchmarks.libraries import ONE_DAL, REFERENCE, SUBJECT

SPLIT = 1.4  # gain of matrix products by 512-bit vectors above which a processor does not split them
Figures = Iterator[tuple[str, float | None]]  # where, and how much


@dataclass(frozen=True)
class Target:
    """A figure that has to be at least `need` everywhere (with `at_most`: no more than that)."""

    what: str
    need: float
    figures: Callable[[Grid], Figures]
    percent: bool = False
    at_most: bool = False
    but_for: Callable[[Grid], str | None] = lambda grid: None  # why a machine need not reach it, None if it has to

    def met(self, value: float) -> bool:
        return value <= self.need if self.at_most else value >= self.need


def _features(low: int, high: int) -> list[int]:
    return [D for D in N_FEATURES if low <= D <= high]


def _shares(low: int, high: int) -> Callable[[Grid], Figures]:
    def figures(grid: Grid) -> Figures:
        for D in _features(low, high):
            for K in N_COMPONENTS:
                yield f"D = {D}, K = {K}", grid.share("full", D, K)

    return figures


def _means(families: tuple[str, ...], low: int, high: int) -> Callable[[Grid], Figures]:
    def figures(grid: Grid) -> Figures:
        for family in families:
            for D in _features(low, high):
                yield f"{family}, D = {D}", geometric_mean(grid.speedup(family, D, K) for K in N_COMPONENTS)

    return figures


def _every_cell(level: Callable[[Grid], str | None]) -> Callable[[Grid], Figures]:
    def figures(grid: Grid) -> Figures:
        for family in FAMILIES:
            for D in N_FEATURES:
                for K in N_COMPONENTS:
                    yield f"{family}, D = {D}, K = {K}", grid.speedup(family, D, K, level(grid))

    return figures


def _over(families: tuple[str, ...], low: int, slower: tuple, faster: tuple) -> Callable[[Grid], Figures]:
    """Return figures of geometric means over K; "best" stands for the machine's best level."""

    def figures(grid: Grid) -> Figures:
        named = [(grid.best if way[0] == "best" else way[0], *way[1:]) for way in (slower, faster)]
        for family in families:
            for D in _features(low, max(N_FEATURES)):
                yield f"{family}, D = {D}", geometric_mean(grid.over(family, D, *named))

    return figures


def _every_scaling(grid: Grid) -> Figures:
    for family in FAMILIES:
        for D in N_FEATURES:
            for K in N_COMPONENTS:
                yield f"{family}, D = {D}, K = {K}", grid.scaling(family, D, K)


def _of_the_ceiling(grid: Grid) -> Figures:
    """Return which share of what two fits do side by side that share nothing two threads of one fit do."""
    for D in _features(16, 256):
        of_two, apart = (geometric_mean(of("full", D, K) for K in N_COMPONENTS) for of in (grid.scaling, grid.ceiling))
        yield f"full, D = {D}", of_two and apart and of_two / apart


def _whole_vectors(grid: Grid) -> str | None:
    """Say that a processor does not split 512-bit operations, None where it does or where that is not known."""
    gain = grid.gain_of_512
    return f"not asked: 512-bit matrix products are {gain:.1f}× as fast here" if gain > SPLIT else None


def _skipping(grid: Grid) -> Figures:
    yield "D = 16, K = 128", grid.quotient(Cell("skipping", "full", 16, 128), "without", "with")


def _peers(low: int, high: int, *, one_dal: bool) -> Callable[[Grid], Figures]:
    """Return how many times as long as fastgmm oneDAL takes, or every other peer."""

    def figures(grid: Grid) -> Figures:
        for cell in PEER_CELLS:
            if not low <= cell.D <= high:
                continue
            outcome = grid.outcomes.get(cell.id)
            if outcome is None:
                yield cell.id, None
                continue
            for name in outcome.seconds:
                if name not in (REFERENCE, SUBJECT) and (name == ONE_DAL) == one_dal:
                    yield f"{name}, {cell.problem} {cell.family}", grid.quotient(cell, name, SUBJECT)

    return figures


_ONE, _TWO = ("best", "float64", 1), ("best", "float64", 2)
_SHARE = "full, float64, one thread: share of the DGEMM rate"
_RATIO = "scikit-learn ÷ fastgmm, geometric mean over K"

TARGETS: tuple[Target, ...] = (
    Target(f"{_SHARE}, D ≥ 32", 0.70, _shares(32, 256), percent=True),
    Target(f"{_SHARE}, D = 16 and 17", 0.50, _shares(16, 17), percent=True),
    Target(f"{_SHARE}, D = 8 and 10", 0.35, _shares(8, 10), percent=True),
    Target(f"{_RATIO}: full, D ≤ 16", 25, _means(("full",), 1, 16)),
    Target(f"{_RATIO}: full, D = 32 and 33", 12, _means(("full",), 32, 33)),
    Target(f"{_RATIO}: full, D = 64", 8, _means(("full",), 64, 64)),
    Target(f"{_RATIO}: full, D ≥ 128", 4, _means(("full",), 128, 256)),
    Target(f"{_RATIO}: diag and spherical, D ≤ 16", 15, _means(("diag", "spherical"), 1, 16)),
    Target(f"{_RATIO}: diag and spherical, D = 64", 5, _means(("diag", "spherical"), 64, 64)),
    Target(f"{_RATIO}: tied, D ≤ 32", 30, _means(("tied",), 1, 32)),
    Target(f"{_RATIO}: tied, D = 64", 20, _means(("tied",), 64, 64)),
    Target("scikit-learn ÷ fastgmm, every cell", 2, _every_cell(lambda grid: None)),
    Target("scikit-learn ÷ fastgmm at the baseline level, every cell", 2, _every_cell(lambda grid: BASELINE)),
    Target(
        "AVX2 ÷ the best level (where that splits 512-bit operations), one thread, geometric mean over K",
        1.4,
        _over(FAMILIES, 1, ("avx2", "float64", 1), _ONE),
        at_most=True,
        but_for=_whole_vectors,
    ),
    Target("float64 ÷ float32, full, D ≥ 16, one thread", 1.6, _over(("full",), 16, _ONE, ("best", "float32", 1))),
    Target("one thread ÷ two, full, D ≥ 16, geometric mean over K", 1.9, _over(("full",), 16, _ONE, _TWO)),
    Target("the same ÷ what two fits side by side do, which share nothing", 0.95, _of_the_ceiling, percent=True),
    Target("one thread ÷ two, every cell", 1.0, _every_scaling),
    Target("oneDAL ÷ fastgmm, D < 64", 3, _peers(1, 63, one_dal=True)),
    Target("oneDAL ÷ fastgmm, D ≥ 64", 2, _peers(64, 256, one_dal=True)),
    Target("every other peer ÷ fastgmm", 5, _peers(1, 256, one_dal=False)),
    Target("separated data, 1M rows: without skipping ÷ with it", 4, _skipping),
)
