"""The kernel grid: shapes x families x dtypes x threads x SIMD levels, beside matrix products and scikit-learn.

    python -m benchmarks.grid                       # all that is not measured yet; rewrites its page of docs
    python -m benchmarks.grid --only levels/full    # these cells again
    python -m benchmarks.grid --fresh               # everything again
    python -m benchmarks.grid --quick --only D2     # few rows, nothing stored

Processors with AVX-512 and without it have results and a page each (`PAGES`): either kind shows what it reaches.
Every cell is stored as it ends, and a run that was cut short continues where it stopped. Cells that were measured on
another machine, with other versions or with another build of the engine are never mixed with new ones: a whole run
discards them, and `--only` refuses. On two idle cores the levels part takes some 8 minutes, the ratio part some 12, and
the peers some 10, of which the slowest peers take most.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import cells, environment, libraries, machine, measure
from benchmarks.grid_page import page
from benchmarks.grid_results import Grid, describe
from fastgmm.engine import simd

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"avx512": "performance.md", "avx2": "performance_avx2.md"}  # in docs, by the best level of a processor


def results(level: str) -> Path:
    """Return where cells of processors with that best level are stored."""
    return ROOT / "benchmarks" / "results" / f"grid_{level}.json"


def write_page(level: str) -> None:
    """Rewrite the page of docs that shows what is stored for a level."""
    (ROOT / "docs" / PAGES[level]).write_text(page(Grid.load(results(level))), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grid", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="only cells whose id contains TEXT")
    parser.add_argument("--fresh", action="store_true", help="discard what is stored")
    parser.add_argument("--quick", action="store_true", help="few rows, to try the harness out")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default the results of this level")
    parser.add_argument("--list", action="store_true", help="list the cells and leave")
    parser.add_argument("--page", action="store_true", help="rewrite the pages of docs from what is stored")
    return parser


def select(patterns: Sequence[str]) -> list[cells.Cell]:
    """Return the cells whose id contains one of `patterns`, all without patterns; ValueError if one selects nothing."""
    for pattern in patterns:
        if not any(pattern in cell.id for cell in cells.GRID):
            raise ValueError(f"no cell matches {pattern!r}; --list shows them all")
    return [cell for cell in cells.GRID if not patterns or any(pattern in cell.id for pattern in patterns)]


def begin(path: Path | None, described: dict, *, only: bool, fresh: bool) -> Grid:
    """Return the stored results that this run adds to; exits where a partial run would mix two machines or builds."""
    if path is None or fresh or not path.exists():
        return Grid({}, described)
    stored = Grid.load(path)
    differing = machine.differences(stored.machine, described)
    if differing and only:
        raise SystemExit(
            f"the stored cells differ from this run in {', '.join(differing)}: "
            "run everything, or use --fresh or --output"
        )
    return Grid({}, described) if differing else stored


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, or 1 if an answer differed."""
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        chosen = select(args.only)
    except ValueError as error:
        parser.error(str(error))
    level = simd.levels()[-1]
    path = args.output or (None if args.quick else results(level))
    if args.quick and path is not None and path.resolve() in map(results, PAGES):
        parser.error("--quick results are not for a page: choose another --output")
    if args.list:
        print("\n".join(cell.id for cell in chosen))
        return 0
    if args.page:
        for level in PAGES:
            write_page(level)
        return 0
    if path is not None and path == results(level) and level not in PAGES:
        parser.error(f"processors whose best level is {level} have no page: choose an --output")

    libs = [libraries.make(name, max(cells.THREADS)) for name in (libraries.REFERENCE, libraries.SUBJECT)]
    grid = begin(path, describe(libs), only=bool(args.only), fresh=args.fresh)
    pending = [cell for cell in chosen if args.only or cell.id not in grid.outcomes]
    failures = []
    for number, cell in enumerate(pending, start=1):
        print(f"[{number}/{len(pending)}] {cell.id} ...", end=" ", flush=True, file=sys.stderr)
        began = time.perf_counter()
        try:
            grid.outcomes[cell.id] = cells.run(cell, args.quick)
        except (measure.UnequalAnswers, MemoryError, ValueError) as error:  # a ValueError is a fit that failed
            failures.append(f"{cell.id}: {type(error).__name__}: {error}")
        print(f"{time.perf_counter() - began:.1f} s", file=sys.stderr)
        if path is not None:
            grid.save(path)
    if path == results(level):
        write_page(level)
    for failure in failures:
        print(f"not measured: {failure}", file=sys.stderr)
    return int(bool(failures))


if __name__ == "__main__":
    environment.restart_without_misleading_variables("benchmarks.grid")
    sys.exit(main())
