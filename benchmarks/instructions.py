"""Instructions that the leaves take for one block of rows, counted by valgrind and compared with the committed counts.

    python -m benchmarks.instructions              # compare; fails where a leaf takes over 3 % more
    python -m benchmarks.instructions --rewrite    # count again and store

Counts do not depend on how busy the computer is, so that a slower leaf is seen on any machine. They do depend on the
compiler, and are compared only where its version is the recorded one. valgrind 3.19 knows no AVX-512, so the levels are
the baseline and AVX2. `leaves.c` is the program that runs under valgrind: two panels of rows through an E-step and the
moments of eight components, in every kernel kind, and of one and three, where what is paid once per row weighs most.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.machine import compiler_flags

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks" / "instructions.json"
SLACK = 0.03
FAMILIES = ("full", "tied", "diag", "spherical")
CASES = tuple(
    f"{level} {dtype} {family} {D} {K}"
    for level, dtype in itertools.product(("x86-64", "avx2"), ("f64", "f32"))
    for families, widths, counts in (
        (FAMILIES, (10, 33), (8,)),
        (("full", "diag"), (10, 33), (1, 3)),
        (("full",), (65,), (8,)),
    )
    for family, D, K in itertools.product(families, widths, counts)
)

Counts = dict[str, dict[str, int]]  # case -> leaf -> instructions


def compiler_version(compiler: str) -> str:
    """Return the first line of what the compiler says about itself, and the architecture."""
    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    return f"{said.splitlines()[0]}, {platform.machine()}"


def build(compiler: str, folder: Path) -> Path:
    """Compile the leaves as setup.py does, with the program that calls them; return the program."""
    program = folder / "leaves"
    sources = [*sorted(map(str, (ROOT / "src_c").glob("*.c"))), str(ROOT / "benchmarks" / "leaves.c")]
    command = [compiler, *compiler_flags().split(), f"-I{ROOT / 'src_c'}", *sources, "-o", str(program), "-lm"]
    subprocess.run(command, check=True)
    return program


def calls_of(profile: str, caller: str) -> dict[str, int]:
    """Return, for every function that `caller` calls, the instructions of its calls and all that they call.

    `profile` is what callgrind writes: a function's name stands in full the first time and as its number from then on,
    and the line behind "calls=" ends with the inclusive cost of those calls.
    """
    names: dict[str, str] = {}
    costs: dict[str, int] = {}
    function = callee = ""
    after_calls = False
    for line in profile.splitlines():
        named = re.fullmatch(r"(c?fn)=(\(\d+\))(?: (.+))?", line)
        if named:
            kind, number, name = named.groups()
            names[number] = name or names[number]
            if kind == "fn":
                function = names[number]
            else:
                callee = names[number]
        elif after_calls and function == caller:
            costs[callee] = costs.get(callee, 0) + int(line.split()[1])
        after_calls = line.startswith("calls=")
    return costs


def leaf_name(function: str) -> str:
    """Return a leaf's name without its type and what the compiler puts behind it."""
    return re.sub(r"_f(64|32)$", "", function.partition(".")[0])


def count(program: Path, case: str) -> dict[str, int]:
    """Return the instructions of every leaf that takes part in a case."""
    output = program.parent / case.replace(" ", "-")
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}"]
    command += ["--collect-atstart=no", "--toggle-collect=measured", str(program), *case.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{case}: exit code {done.returncode}\n{done.stderr}")
    costs = calls_of(output.read_text(encoding="utf-8"), "measured")
    return {leaf_name(function): cost for function, cost in sorted(costs.items())}


def count_all(compiler: str) -> Counts:
    """Build the program and count every case."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        program = build(compiler, Path(folder))
        return dict(zip(CASES, pool.map(lambda case: count(program, case), CASES), strict=True))


def compare(recorded: Counts, found: Counts) -> tuple[list[str], list[str]]:
    """Return what takes more than the slack allows or is not there, and what takes less by as much."""
    worse, better = [], []
    for case in recorded.keys() | found.keys():
        before, now = recorded.get(case, {}), found.get(case, {})
        for leaf in before.keys() | now.keys():
            a, b = before.get(leaf), now.get(leaf)
            if a is None or b is None:
                worse.append(f"{case}: {leaf} is {'new' if a is None else 'gone'}: --rewrite if that is meant")
            elif b > a * (1 + SLACK):
                worse.append(f"{case}: {leaf} takes {b} instructions, {100 * (b / a - 1):+.1f} % to {a}")
            elif a > b * (1 + SLACK):
                better.append(f"{case}: {leaf} takes {b} instructions, {100 * (b / a - 1):+.1f} % to {a}")
    return sorted(worse), sorted(better)


def text_of(version: str, counts: Counts) -> str:
    """Return the record as it is stored, a case a line."""
    lines = ",\n".join(f"  {json.dumps(case)}: {json.dumps(leaves)}" for case, leaves in counts.items())
    head = f'"compiler": {json.dumps(version)},\n "flags": {json.dumps(compiler_flags())}'
    return f'{{{head},\n "counts": {{\n{lines}\n }}}}\n'


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, 1 if a leaf takes more instructions, 2 if they cannot be counted here."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__.splitlines()[0])
    parser.add_argument("--rewrite", action="store_true", help=f"store the counts in {RECORD.relative_to(ROOT)}")
    rewrite = parser.parse_args(arguments).rewrite
    compiler = os.environ.get("CC", "cc")
    if shutil.which("valgrind") is None or shutil.which(compiler) is None:
        print(f"instructions are not counted: valgrind or {compiler} is not installed", file=sys.stderr)
        return 2
    version = compiler_version(compiler)
    if rewrite:
        RECORD.write_text(text_of(version, count_all(compiler)), encoding="utf-8")
        return 0
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    if (version, compiler_flags()) != (record["compiler"], record["flags"]):
        print(f"instructions are not compared: recorded with {record['compiler']}, here is {version}")
        return 0
    worse, better = compare(record["counts"], count_all(compiler))
    for line in better:
        print(f"fewer: {line}")
    for line in worse:
        print(f"more: {line}", file=sys.stderr)
    print(f"instructions of {len(CASES)} cases: {len(worse)} leaves take over {100 * SLACK:.0f} % more than recorded")
    return int(bool(worse))


if __name__ == "__main__":
    sys.exit(main())
