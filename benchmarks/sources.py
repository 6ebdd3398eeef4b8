"""Rows anywhere: passes over a file larger than the memory, over Dask arrays on one and two workers, over a stream.

    python -m benchmarks.sources                                        # measure, store, rewrite docs/sources.md
    python -m benchmarks.sources --gigabytes 8.6 --max-memory "1 GB"    # the file as large as is said there
    python -m benchmarks.sources --part dask                            # one part: file, dask or streams
    python -m benchmarks.sources --table                                # rewrite the tables from what is stored
    python -m benchmarks.sources --check                                # fail unless the page shows what is stored

The defaults take less than three minutes on two cores, and 1 GB of disk and 3 GB of memory; a file of 8.6 GB takes some
five minutes, as one pass of each kind is timed where others have three, that disk and memory for its rows as an array.
Each part is stored as soon as it is measured. It needs Linux, for the memory and for a cache of the file that can be
emptied.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import fastgmm
from benchmarks import machine, memory, report
from benchmarks.sources_page import tables

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks" / "results" / "sources.json"
PAGE = ROOT / "docs" / "sources.md"

FILE_FEATURES, FILE_COMPONENTS, FILE_FAMILIES = 16, 8, ("full", "diag")
FILE_PASSES, LARGE_BYTES = 3, 2e9  # passes of each kind that are timed; of a larger file one
PIECE = 1 << 24  # bytes that are read or written at a time
DASK_FEATURES, DASK_COMPONENTS, DASK_PARTITIONS, DASK_PASSES, FEW_ROWS = 16, 16, 16, 7, 1000
STREAM_FEATURES, STREAM_COMPONENTS, STREAM_BATCH, SEPARATIONS = 6, 8, 1000, (1.0, 3.0)
PARTS = ("file", "dask", "streams")


def given_start(n_components: int, n_features: int, family: str) -> dict[str, np.ndarray]:
    """Return arguments of `fit` that are a whole start, so that no rows are needed for one."""
    shape = fastgmm.covariance.get(family).covariance_shape(n_components, n_features)
    dense = len(shape) == 3
    return {
        "weights_init": np.full(n_components, 1 / n_components),
        "means_init": np.random.default_rng(0).standard_normal((n_components, n_features)),
        "precisions_init": np.broadcast_to(np.eye(n_features), shape) if dense else np.ones(shape),
    }


def passes(X: Any, n_components: int, n_features: int, n_passes: int, **options: Any) -> tuple[list[float], float]:
    """Return the seconds of each iteration of EM but the first, and the log-likelihood after them.

    `before` of the options is called before each iteration, outside of what is timed.
    """
    before, family = options.pop("before", None), options.get("covariance_type", "full")
    ends: list[tuple[float, float]] = []

    def told(state: Any) -> None:
        end = time.perf_counter()
        if before is not None:
            before()
        ends.append((end, time.perf_counter()))

    start = given_start(n_components, n_features, family)
    result = fastgmm.fit(X, n_components, max_iter=n_passes + 1, tol=0.0, callback=told, **start, **options)
    seconds = [end - begin for (_, begin), (end, _) in itertools.pairwise(ends)]
    return seconds, result.lower_bound


# ----------------------------------------------------------------------------------------------------- a large file


def write_rows(path: Path, n_rows: int) -> None:
    """Write an NPY file of float32 rows of clusters that overlap, a piece at a time."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((FILE_COMPONENTS, FILE_FEATURES), dtype=np.float32) * 2
    header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, FILE_FEATURES)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        size = PIECE // (4 * FILE_FEATURES)
        for first in range(0, n_rows, size):
            n = min(size, n_rows - first)
            rows = rng.standard_normal((n, FILE_FEATURES), dtype=np.float32)
            rows += centres[rng.integers(FILE_COMPONENTS, size=n)]
            file.write(rows.data)
        file.flush()
        os.fsync(file.fileno())


def evict(path: Path) -> None:
    """Take the file out of the cache of the operating system."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def read(path: Path) -> float:
    """Return the seconds of reading the file from end to end, and nothing else."""
    buffer = bytearray(PIECE)
    start = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - start


def n_passes_of(path: Path) -> int:
    """Return how many passes of each kind over a file are timed."""
    return FILE_PASSES if path.stat().st_size <= LARGE_BYTES else 1


def said(what: str, since: float) -> float:
    """Say what has been done since a time, and return the present one."""
    now = time.perf_counter()
    print(f"  {what}: {now - since:.0f} s", file=sys.stderr, flush=True)
    return now


def file_here(path: Path, max_memory: str, n_threads: int) -> dict[str, Any]:
    """Fit the rows of a file in this process: its peak of memory with a start of its own, and times of its passes."""
    from fastgmm.sources import BatchSource

    options = {"n_threads": n_threads, "random_state": 0}
    fastgmm.fit(BatchSource(np.eye(3, dtype=np.float32), max_memory="200 MB"), 1, **options)  # all code is loaded
    memory.reset_peak()
    before = memory.peak()
    source = BatchSource(path, max_memory=max_memory, n_threads=n_threads)
    fastgmm.fit(source, FILE_COMPONENTS, max_iter=1, **options)
    found: dict[str, Any] = {"cold": {}, "warm": {}, "bounds": {}}
    arguments = (FILE_COMPONENTS, FILE_FEATURES, n_passes_of(path))
    for family in FILE_FAMILIES:
        cold, bound = passes(source, *arguments, covariance_type=family, before=lambda: evict(path), **options)
        warm, again = passes(source, *arguments, covariance_type=family, **options)
        assert bound == again
        found["cold"][family], found["warm"][family], found["bounds"][family] = cold, warm, bound
    return {**found, "extra_bytes": memory.peak() - before}


def memory_here(path: Path, n_threads: int) -> dict[str, Any]:
    """Fit the rows of a file in this process, as an array."""
    X = np.load(path)
    found: dict[str, Any] = {"memory": {}, "bounds": {}}
    for family in FILE_FAMILIES:
        found["memory"][family], found["bounds"][family] = passes(
            X, FILE_COMPONENTS, FILE_FEATURES, n_passes_of(path), covariance_type=family, n_threads=n_threads
        )
    return found


def in_child(*arguments: str) -> dict[str, Any]:
    """Run this module in a fresh process and return what it printed."""
    command = [sys.executable, "-m", "benchmarks.sources", *arguments]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if child.returncode != 0:
        raise RuntimeError(f"the measurement {arguments} failed:\n{child.stderr}")
    return json.loads(child.stdout)


def check_room(n_bytes: int, folder: str) -> None:
    """Raise an error before any work if a file, or its rows as an array, have no room."""
    about = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = 1024 * int(about["MemAvailable"].split()[0])
    for what, room in (("disk space in " + folder, shutil.disk_usage(folder).free), ("memory", available)):
        if room < 1.1 * n_bytes:
            raise SystemExit(f"{n_bytes / 1e9:.1f} GB of rows need as much {what}, but there are {room / 1e9:.1f} GB")


def measure_file(gigabytes: float, max_memory: str, n_threads: int, folder: str | None) -> dict[str, Any]:
    """Return times of reading a file, of passes over it and over its rows in memory, which end at the same bits."""
    n_rows = int(gigabytes * 1e9) // (4 * FILE_FEATURES)
    check_room(4 * FILE_FEATURES * n_rows, folder or tempfile.gettempdir())
    with tempfile.TemporaryDirectory(dir=folder) as made:
        path, now = Path(made, "rows.npy"), time.perf_counter()
        write_rows(path, n_rows)
        now = said("written", now)
        reading: dict[str, list[float]] = {"cold": [], "warm": []}
        for _ in range(n_passes_of(path)):
            evict(path)
            reading["cold"].append(read(path))
            reading["warm"].append(read(path))
        now = said("read", now)
        common = ["--path", str(path), "--threads", str(n_threads)]
        found = in_child("--child", "file", "--max-memory", max_memory, *common)
        now = said("fitted where it is", now)
        whole = in_child("--child", "memory", *common)
        said("fitted as an array", now)
        if found["bounds"] != whole.pop("bounds"):
            raise RuntimeError("the fits of the file and of the array differ")
        size = path.stat().st_size
    return {"n_rows": n_rows, "bytes": size, "max_memory": max_memory, "reading": reading, **found, **whole}


# -------------------------------------------------------------------------------------------------------------- Dask


def partition(number: int, n_rows: int) -> np.ndarray:
    """Return the rows (n, D) of a partition."""
    rng = np.random.default_rng([1, number])
    X = rng.standard_normal((n_rows, DASK_FEATURES))
    X += (
        2
        * np.random.default_rng(0).standard_normal((DASK_COMPONENTS, DASK_FEATURES))[
            rng.integers(DASK_COMPONENTS, size=n_rows)
        ]
    )
    return X


def collection(n_rows: int) -> Any:
    """Return the partitions as a Dask array."""
    import dask
    import dask.array

    made = dask.delayed(partition)
    shape = (n_rows, DASK_FEATURES)
    return dask.array.concatenate(
        [dask.array.from_delayed(made(i, n_rows), shape, dtype=float) for i in range(DASK_PARTITIONS)]
    )


def on_workers(n_workers: int, sizes: Sequence[int]) -> list[list[float]]:
    """Return the seconds of iterations on a cluster of processes of one thread, for each size of partitions."""
    import dask
    from dask.distributed import Client, LocalCluster, wait

    with (
        dask.config.set({"distributed.worker.daemon": False}),
        LocalCluster(n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster),
    ):
        found = []
        for n_rows in sizes:
            X = collection(n_rows).persist()
            wait(X)
            found.append(passes(X, DASK_COMPONENTS, DASK_FEATURES, DASK_PASSES, n_threads=1)[0])
            del X
        return found


def measure_dask(n_rows: int) -> dict[str, Any]:
    """Return times of iterations on one and two workers, and of plain ones over the same rows in this process."""
    sizes = (n_rows // DASK_PARTITIONS, FEW_ROWS)
    plain: dict[str, list[list[float]]] = {}
    for n_threads in (1, 2):
        plain[str(n_threads)] = []
        for size in sizes:
            X = np.concatenate([partition(i, size) for i in range(DASK_PARTITIONS)])
            times, _ = passes(X, DASK_COMPONENTS, DASK_FEATURES, DASK_PASSES, n_threads=n_threads)
            plain[str(n_threads)].append(times)
    return {
        "n_partitions": DASK_PARTITIONS,
        "n_rows": [DASK_PARTITIONS * size for size in sizes],
        "plain": plain,
        "workers": {str(n): on_workers(n, sizes) for n in (1, 2)},
    }


# ------------------------------------------------------------------------------------------------------------ streams


def measure_stream(n_rows: int, separation: float) -> dict[str, Any]:
    """Return where one pass in batches and fits of all rows come to, and their seconds."""
    K, D = STREAM_COMPONENTS, STREAM_FEATURES
    rng = np.random.default_rng(0)
    centres = separation * rng.standard_normal((K, D))
    shapes = np.eye(D) + 0.4 * rng.standard_normal((K, D, D)) / np.sqrt(D)
    labels = rng.integers(K, size=n_rows)
    X = np.einsum("nd,nde->ne", rng.standard_normal((n_rows, D)), shapes[labels]) + centres[labels]
    model = fastgmm.GaussianMixture(K, random_state=0)
    start = time.perf_counter()
    for first in range(0, n_rows, STREAM_BATCH):
        model.partial_fit(X[first : first + STREAM_BATCH])
    seconds = time.perf_counter() - start
    found = {"n_rows": n_rows, "separation": separation, "stream": float(model.score(X)), "stream_seconds": seconds}
    for name, tol in (("default", 1e-3), ("converged", 1e-6)):
        start = time.perf_counter()
        found[name] = fastgmm.fit(X, K, random_state=0, tol=tol, max_iter=300).lower_bound
        found[f"{name}_seconds"] = time.perf_counter() - start
    return found


# ----------------------------------------------------------------------------------------------------------- commands


def run(args: argparse.Namespace) -> None:
    """Measure the parts that are wanted, and store each beside what is stored."""
    how: dict[str, Callable[[], Any]] = {
        "file": lambda: measure_file(args.gigabytes, args.max_memory, args.threads, args.folder),
        "dask": lambda: measure_dask(args.dask_rows),
        "streams": lambda: [measure_stream(args.stream_rows, separation) for separation in SEPARATIONS],
    }
    here = machine.describe([], args.threads)
    about = {"cpu": here["cpu"], "cores": here["cores"], "n_threads": args.threads, "load": os.getloadavg()[0]}
    for part in args.part or PARTS:
        print(part, file=sys.stderr)
        found = {"machine": about, part: how[part]()}
        stored = {**(load() if RECORD.exists() else {}), **found}
        RECORD.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load() -> dict[str, Any]:
    """Return what is stored."""
    return json.loads(RECORD.read_text(encoding="utf-8"))


def shown_is_stored() -> bool:
    """Whether the page shows the tables of what is stored."""
    return report.shown_table(PAGE.read_text(encoding="utf-8")) == tables(load())


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.sources", description=__doc__.splitlines()[0])
    made.add_argument("--part", action="append", choices=PARTS, help="measure this part; others stay as stored")
    made.add_argument("--gigabytes", type=float, default=1.0, help="of 10⁹ bytes, of the file (default: 1)")
    made.add_argument("--max-memory", default="200 MB", help="of fits of the file (default: 200 MB)")
    made.add_argument("--folder", help="where the file is written and removed (default: that of temporary files)")
    made.add_argument("--dask-rows", type=int, default=5_000_000)
    made.add_argument("--stream-rows", type=int, default=1_000_000)
    made.add_argument("--threads", type=int, default=2, help="of passes over the file (default: 2)")
    made.add_argument("--table", action="store_true", help="only rewrite the tables from what is stored")
    made.add_argument("--check", action="store_true", help="fail unless the tables are those of what is stored")
    made.add_argument("--child", choices=("file", "memory"), help="measure a file here and print it")
    made.add_argument("--path", type=Path, help="of the child's file")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, or 1 if the page is out of date."""
    warnings.simplefilter("ignore", fastgmm.ConvergenceWarning)  # few iterations, which are timed
    args = parser().parse_args(arguments)
    if args.child == "file":
        print(json.dumps(file_here(args.path, args.max_memory, args.threads)))
        return 0
    if args.child == "memory":
        print(json.dumps(memory_here(args.path, args.threads)))
        return 0
    if args.check:
        return int(not shown_is_stored())
    if not args.table:
        run(args)
    PAGE.write_text(report.replace_table(PAGE.read_text(encoding="utf-8"), tables(load())), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
