"""The command line: measure, store, and rewrite the README's table.

A whole run replaces the stored results; `--only` replaces the rows it names, provided that the machine and every
version are those of the stored results, so that one table never mixes two machines. `--quick` shrinks the problems to
try the harness out; its numbers say little and are stored only where `--output` says.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import libraries, machine, measure, report, tasks

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
MIN_ROUNDS = 5  # fewer say nothing about the spread


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Time and weigh fastgmm against other libraries at equal answers."
    )
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="only tasks whose id contains TEXT")
    parser.add_argument("--rounds", type=int, help="interleaved rounds per task (default 7, with --quick 3)")
    parser.add_argument("--threads", type=int, default=2, help="threads on every side (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="small problems, to try the harness out")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help=f"default {RESULTS.relative_to(ROOT)}")
    parser.add_argument("--list", action="store_true", help="list the tasks and leave")
    parser.add_argument("--table", action="store_true", help="rewrite the README's table from the stored results")
    parser.add_argument("--check", action="store_true", help="fail unless the README shows the stored results")
    return parser


def check(readme: Path = README, folder: Path = RESULTS) -> str | None:
    """Return None if the README's table is that of the stored results, else what is wrong."""
    try:
        shown = report.shown_table(readme.read_text(encoding="utf-8"))
        stored = report.Results.load(folder).table()
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None if shown == stored else f"{readme.name} does not show the stored results: python -m benchmarks --table"


def write_readme(results: report.Results, readme: Path = README) -> None:
    """Put the table of the stored results between the README's markers."""
    text = report.replace_table(readme.read_text(encoding="utf-8"), results.table())
    readme.write_text(text, encoding="utf-8")


def _stored(folder: Path, described: dict) -> report.Results:
    """Return the results that a partial run adds to; exits if they come from elsewhere."""
    if not (folder / "results.json").exists():
        return report.Results({}, described)
    stored = report.Results.load(folder)
    differing = machine.differences(stored.machine, described)
    if differing:
        raise SystemExit(
            f"the stored results differ from this run in {', '.join(differing)}: run everything again, or use --output"
        )
    return stored


def _measure(
    chosen: list[tasks.Task], libs: list[libraries.Library], settings: tasks.Settings, failures: list[str]
) -> Iterator[tasks.Row]:
    """Yield the row of every task as it ends; what was refused goes to `failures`."""
    for number, task in enumerate(chosen, start=1):
        print(f"[{number}/{len(chosen)}] {task.id} ...", end=" ", flush=True, file=sys.stderr)
        began = time.perf_counter()
        try:
            row = tasks.run(task, libs, settings)
        except (measure.UnequalAnswers, measure.NotMeasurable) as error:
            failures.append(f"{task.id}: {type(error).__name__}: {error}")
            print("refused", file=sys.stderr)
        else:
            print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
            yield row


def _settings(args: argparse.Namespace, parser: argparse.ArgumentParser) -> tuple[tasks.Settings, Path | None]:
    """Return how to measure and the folder to store in, None for a trial."""
    settings = tasks.Settings(args.rounds or (3 if args.quick else 7), args.threads, args.quick)
    if args.quick and args.output is not None and args.output.resolve() == RESULTS:
        parser.error("--quick results are not for the README: choose another --output")
    if not args.quick and settings.rounds < MIN_ROUNDS:
        parser.error(f"results are stored from at least {MIN_ROUNDS} rounds")
    return settings, args.output if args.quick else args.output or RESULTS


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, or 1 if an answer differed or the README is out of date."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if args.list:
        print("\n".join(task.id for task in tasks.GRID))
        return 0
    if args.check:
        wrong = check(folder=args.output or RESULTS)
        print(wrong or "the README shows the stored results")
        return int(wrong is not None)
    if args.table:
        write_readme(report.Results.load(args.output or RESULTS))
        return 0
    try:
        chosen = tasks.select(args.only)
    except ValueError as error:
        parser.error(str(error))
    settings, folder = _settings(args, parser)
    libs = libraries.installed(settings.n_threads)
    described = machine.describe(libs, settings.n_threads)
    results = _stored(folder, described) if folder and args.only else report.Results({}, described)

    failures: list[str] = []
    for row in _measure(chosen, libs, settings, failures):
        results.rows[row.id] = row
        if folder:
            results.save(folder)  # after every row: a long run that is cut short keeps what it has
    if folder == RESULTS:
        write_readme(results)
    print(results.table())
    for failure in failures:
        print(f"not measured: {failure}", file=sys.stderr)
    return int(bool(failures))
