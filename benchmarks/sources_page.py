"""The tables of docs/sources.md, made from what is stored and never by hand."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.report import quantity, significant

PAGE = """\
Measured on {cpu}, {cores} cores with a load average of {load} before; medians of passes.

A file of {size} GB, {file_rows:,} rows of 16 float32 features, 8 components, `max_memory="{max_memory}"`, {threads}
threads. “Cold” is a file that was taken out of the cache of the operating system before the pass, “warm” one that is
in it as far as there is room. Fits of the file and of the array end at the same bits.

{file}

The peak of a fit from a start of its own, and of all passes above, is {extra} beyond the interpreter and its libraries.

A Dask array in {partitions} partitions, 16 features, 16 components, full covariances, float64, persisted: an iteration
on workers of one thread, and over an array in this process. Of few rows the difference to a plain pass is what an
iteration costs beside the arithmetic, 50 ms at most if all is well; of many, two workers shall be 1.7 times as fast.

{dask}

One pass over a stream in batches of 1,000 rows, 6 features, 8 components, centres at the given distance, beside fits of
all rows at once: log-likelihoods per row, and by how much that of the stream is below (0.1 % is the aim).

{streams}"""


def _table(heads: list[str], lines: list[list[str]]) -> str:
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)], *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _file(found: dict[str, Any]) -> str:
    reading = {name: median(times) for name, times in found["reading"].items()}

    def cell(seconds: float) -> str:
        return f"{quantity(seconds, 's')} ({significant(found['bytes'] / seconds / 1e9)} GB/s)"

    lines = [["reading alone", cell(reading["cold"]), cell(reading["warm"]), "–"]]
    for family in found["memory"]:
        times = [median(found[where][family]) for where in ("cold", "warm", "memory")]
        lines.append([f"a pass of EM, {family}", *(cell(each) for each in times)])
    return _table(["", "file, cold", "file, warm", "array in memory"], lines)


def _dask(found: dict[str, Any]) -> str:
    lines = []
    for i, n_rows in enumerate(found["n_rows"]):
        plain, workers = (
            {name: median(each[i]) for name, each in found[kind].items()} for kind in ("plain", "workers")
        )
        times = [plain["1"], plain["2"], workers["1"], workers["2"]]
        lines.append(
            [
                f"{n_rows:,}",
                *(quantity(each, "s") for each in times),
                f"{significant(workers['1'] / workers['2'], 3)}×",
                f"{1000 * (workers['1'] - plain['1']):.0f} ms",
            ]
        )
    heads = ["rows", "plain, 1 thread", "plain, 2 threads", "1 worker", "2 workers"]
    return _table([*heads, "1 worker ÷ 2", "1 worker – plain"], lines)


def gap(each: dict[str, Any], name: str) -> float:
    """Return by what share of it a stream's log-likelihood is below that of a fit."""
    return (each[name] - each["stream"]) / abs(each[name])


def _streams(found: list[dict[str, Any]]) -> str:
    lines = []
    for each in found:
        line = [f"{each['n_rows']:,}", f"{each['separation']:g}"]
        line.append(f"{each['stream']:.5f} in {quantity(each['stream_seconds'], 's')}")
        for name in ("default", "converged"):
            line.append(f"{each[name]:.5f} in {quantity(each[f'{name}_seconds'], 's')}")
            line.append(f"{100 * gap(each, name):.3f} %")
        lines.append(line)
    return _table(["rows", "distance", "stream", "fit", "below", "fit, `tol=1e-6`", "below"], lines)


def tables(stored: dict[str, Any]) -> str:
    """Return the part of the page that is made from results, in Markdown."""
    file, dask = stored["file"], stored["dask"]
    return PAGE.format(
        cpu=stored["machine"]["cpu"],
        cores=stored["machine"]["cores"],
        load=f"{stored['machine']['load']:.1f}",
        threads=stored["machine"]["n_threads"],
        size=significant(file["bytes"] / 1e9),
        file_rows=file["n_rows"],
        max_memory=file["max_memory"],
        file=_file(file),
        extra=quantity(file["extra_bytes"], "B"),
        partitions=dask["n_partitions"],
        dask=_dask(dask),
        streams=_streams(stored["streams"]),
    )
