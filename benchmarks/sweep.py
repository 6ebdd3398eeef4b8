"""Choosing a model: `fastgmm.select` beside mclust's `Mclust`, 14 structures with 1 to 9 components by BIC.

    python -m benchmarks.sweep             # run everything, store, rewrite the table in docs/selection.md
    python -m benchmarks.sweep --only iris # one set again
    python -m benchmarks.sweep --table     # rewrite the table from what is stored
    python -m benchmarks.sweep --check     # fail unless the table is that of what is stored

Each takes its defaults and finds its own starts; rounds alternate, and loading is not counted. mclust is Debian's
`r-cran-mclust`; some of the data are in it. It takes about five minutes, most of them mclust's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastgmm
from benchmarks import machine
from benchmarks.report import quantity, significant

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks" / "results" / "sweep.json"
PAGE = ROOT / "docs" / "selection.md"
MARKS = "<!-- sweep:begin -->", "<!-- sweep:end -->"
PEER = ROOT / "benchmarks" / "peer_sweep.R"


def _of_r(name: str, folder: Path) -> np.ndarray:
    path = folder / f"{name}.csv"
    _rscript("data", name, path)
    return np.loadtxt(path, delimiter=",", skiprows=1)


def _cancer(folder: Path) -> np.ndarray:
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer().data[:, :10]


def _synthetic(folder: Path) -> np.ndarray:
    """Return 100,000 rows of 10 features from six Gaussians that overlap."""
    rng = np.random.default_rng(0)
    factors = 0.6 * rng.normal(size=(6, 10, 10)) + np.eye(10)
    means = 3 * rng.normal(size=(6, 10))
    labels = rng.choice(6, 100_000, p=[0.3, 0.2, 0.2, 0.15, 0.1, 0.05])
    rows = rng.normal(size=(100_000, 10))
    for k in range(6):
        rows[labels == k] = rows[labels == k] @ factors[k].T + means[k]
    return rows


SETS: dict[str, tuple[Callable[[Path], np.ndarray], int, bool]] = {
    "faithful": (lambda folder: _of_r("faithful", folder), 5, True),
    "iris": (lambda folder: _of_r("iris", folder), 5, True),
    "diabetes": (lambda folder: _of_r("diabetes", folder), 5, True),
    "breast cancer, ten features": (_cancer, 1, True),
    "synthetic": (_synthetic, 1, False),
}
"""By name: the rows, how many rounds, and whether mclust takes part: its start holds the square of the rows."""


def _rscript(*words: Any) -> str:
    command = ["Rscript", str(PEER), *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def ours(X: np.ndarray) -> dict[str, Any]:
    """Return time and choice of `fastgmm.select`."""
    start = time.perf_counter()
    chosen = fastgmm.select(X, random_state=0).chosen
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "model": chosen.covariance_type, "K": chosen.n_components, "bic": chosen.value("bic")}


def theirs(path: Path) -> dict[str, Any]:
    """Return time and choice of `Mclust`, its BIC with our sign."""
    seconds, model, K, bic, version = _rscript("fit", path).split()
    return {"seconds": float(seconds), "model": model, "K": int(K), "bic": -float(bic), "version": version}


def measure(name: str) -> dict[str, Any]:
    """Return what both find on a set, and every time."""
    make, n_rounds, with_mclust = SETS[name]
    with tempfile.TemporaryDirectory() as folder:
        X = make(Path(folder))
        path = Path(folder) / "rows.csv"
        if with_mclust:
            header = ",".join(f"x{j}" for j in range(X.shape[1]))
            np.savetxt(path, X, delimiter=",", header=header, comments="", fmt="%.17g")
        fastgmm.select(X[:200], [1, 2], random_state=0)  # what is loaded on first use
        rounds: dict[str, list[dict[str, Any]]] = {"fastgmm": [], "mclust": []}
        for _ in range(n_rounds):
            rounds["fastgmm"].append(ours(X))
            if with_mclust:
                rounds["mclust"].append(theirs(path))
    found: dict[str, Any] = {"name": name, "shape": list(X.shape)}
    for who, runs in rounds.items():
        if runs:
            found[who] = {**runs[0], "seconds": [run["seconds"] for run in runs]}
    return found


def table(record: dict[str, Any]) -> str:
    """Return the table of docs/selection.md."""
    heads = ["rows", "mclust", "fastgmm", "mclust ÷ fastgmm", "BIC, lower is better"]
    lines = ["| " + " | ".join(heads) + " |", "|---|---:|---:|---:|---|"]
    lines += ["| " + " | ".join(_cells(each)) + " |" for each in record["sets"]]
    version = next(each["mclust"]["version"] for each in record["sets"] if "mclust" in each)
    return "\n".join(
        [
            *lines,
            "",
            f"All 14 structures with 1 to 9 components, medians of up to five rounds in turn, on {record['cpu']} with "
            f"{record['threads']} threads for fastgmm; mclust {version} under R. `python -m benchmarks.sweep` measures "
            "again.",
        ]
    )


def _cells(each: dict[str, Any]) -> Iterator[str]:
    n, d = each["shape"]
    mine, other = each["fastgmm"], each.get("mclust")
    seconds = statistics.median(mine["seconds"])
    yield f"{each['name']}, {n:,} × {d}"
    yield "–" if other is None else quantity(statistics.median(other["seconds"]), "s")
    yield quantity(seconds, "s")
    yield "–" if other is None else f"**{significant(statistics.median(other['seconds']) / seconds)}×**"
    text = f"{mine['bic']:.1f} ({mine['model']}, {mine['K']})"
    yield text if other is None else f"{other['bic']:.1f} ({other['model']}, {other['K']}) → {text}"


def load() -> dict[str, Any]:
    """Return what is stored."""
    return json.loads(RECORD.read_text(encoding="utf-8"))


def page(record: dict[str, Any]) -> str:
    """Return docs/selection.md with the table of a record."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = text.index(MARKS[0]) + len(MARKS[0]), text.index(MARKS[1])
    return f"{text[:begin]}\n{table(record)}\n{text[end:]}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="NAME", choices=list(SETS), help="measure this set alone again")
    parser.add_argument("--table", action="store_true", help="rewrite the table from what is stored")
    parser.add_argument("--check", action="store_true", help="fail unless the table is that of what is stored")
    options = parser.parse_args(arguments)
    if options.check:
        return int(PAGE.read_text(encoding="utf-8") != page(load()))
    if not options.table:
        stored = load()["sets"] if options.only else []
        known = {each["name"]: each for each in stored}
        for name in [options.only] if options.only else SETS:
            known[name] = measure(name)
            print(" | ".join(_cells(known[name])), flush=True)
        described = machine.describe([], 1)
        record = {
            "cpu": described["cpu"],
            "threads": fastgmm.engine.threads.resolve(None),
            "sets": [known[name] for name in SETS if name in known],
        }
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(load()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
