"""What the kernel grid has measured, in a file that grows cell by cell, and the figures that are made of it."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import cells, machine, measure
from benchmarks.cells import Cell, Outcome, PeerCell, variant
from benchmarks.libraries import REFERENCE, Library

DIGITS = 6  # of stored seconds: more than any clock here resolves


def describe(libs: list[Library]) -> dict[str, Any]:
    """Return the machine, as `machine.describe`, with a digest of the compiled engine: two builds are never mixed."""
    from fastgmm.engine import _core, _linalg, _pass

    build = hashlib.sha256(b"".join(Path(module.__file__).read_bytes() for module in (_core, _linalg, _pass)))
    return {**machine.describe(libs, max(cells.THREADS)), "build": build.hexdigest()[:16]}


@dataclass
class Grid:
    """Outcomes by the id of their cell, and the machine they were measured on."""

    outcomes: dict[str, Outcome]
    machine: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> Grid:
        """Read what `save` wrote."""
        stored = json.loads(path.read_text(encoding="utf-8"))
        return cls({name: Outcome(**outcome) for name, outcome in stored["cells"].items()}, stored["machine"])

    def save(self, path: Path) -> None:
        """Write everything, one cell a line, in the order of the grid."""
        known = [cell.id for cell in cells.GRID]
        order = [name for name in known if name in self.outcomes]
        lines = [f"  {json.dumps(name)}: {json.dumps(_stored(self.outcomes[name]))}" for name in order]
        body = ",\n".join(lines)
        path.parent.mkdir(parents=True, exist_ok=True)
        head = json.dumps(self.machine, indent=1, ensure_ascii=False)
        new = path.with_suffix(".part")
        new.write_text(f'{{"machine": {head},\n "cells": {{\n{body}\n }}}}\n', encoding="utf-8")
        new.replace(path)  # a run that is cut short leaves the file whole

    # ------------------------------------------------------------------------------------------- figures

    @property
    def best(self) -> str:
        """The fastest level of the machine."""
        return self.machine["simd"]["available"][-1]

    def gemm(self, dtype: str, n_threads: int) -> float:
        """Return the multiply-adds per second of a matrix product: the median over the run, NaN if there is none."""
        return self._gemm(f"{dtype}/{n_threads}")

    @property
    def gain_of_512(self) -> float:
        """How many times as fast as AVX2's a matrix product with 512-bit vectors is: near 1 where they are split."""
        return self._gemm("float64/1") / self._gemm(cells.GEMM_AVX2)

    def _gemm(self, name: str) -> float:
        rates = [outcome.gemm[name] for outcome in self.outcomes.values() if name in outcome.gemm]
        return statistics.median(rates or [math.nan])

    def seconds(self, cell: Cell | PeerCell, name: str) -> float | None:
        """Return the median seconds of an iteration, None if it was not measured."""
        outcome = self.outcomes.get(cell.id)
        return measure.Spread.of(outcome.seconds[name]).median if outcome and name in outcome.seconds else None

    def rate(self, cell: Cell, name: str) -> float | None:
        """Return useful multiply-adds per second."""
        seconds = self.seconds(cell, name)
        return seconds and cells.multiply_adds(cell.family, cell.D, cell.K) * self.outcomes[cell.id].n_rows / seconds

    def share(self, family: str, D: int, K: int, dtype: str = "float64", n_threads: int = 1) -> float | None:
        """Return the share of the matrix product's rate that the best level reaches."""
        rate = self.rate(Cell("levels", family, D, K), variant(self.best, dtype, n_threads))
        peak = self.gemm(dtype, n_threads)
        return None if rate is None or math.isnan(peak) else rate / peak

    def quotient(self, cell: Cell | PeerCell, slower: str, faster: str) -> float | None:
        """Return how many times as long one variant takes as another: the median over pairs where rounds are pairs."""
        outcome = self.outcomes.get(cell.id)
        if outcome is None or slower not in outcome.seconds or faster not in outcome.seconds:
            return None
        a, b = outcome.seconds[slower], outcome.seconds[faster]
        if cell.part in ("ratio", "peers"):  # they took turns
            return measure.Spread.of(measure.ratios(a, b)).median
        return measure.Spread.of(a).median / measure.Spread.of(b).median

    def speedup(self, family: str, D: int, K: int, level: str | None = None) -> float | None:
        """Return how many times longer scikit-learn takes than a level, the best by default."""
        name = variant(level or self.best, "float64", max(cells.THREADS))
        return self.quotient(Cell("ratio", family, D, K), REFERENCE, name)

    def over(self, family: str, D: int, slower: tuple, faster: tuple) -> Iterator[float]:
        """Yield, for every K, how many times as long one (level, dtype, threads) takes as another."""
        for K in cells.N_COMPONENTS:
            found = self.quotient(Cell("levels", family, D, K), variant(*slower), variant(*faster))
            if found is not None:
                yield found

    def scaling(self, family: str, D: int, K: int) -> float | None:
        """Return how many times as long one thread takes as two: float64, the best level."""
        return self.quotient(Cell("levels", family, D, K), *(variant(self.best, "float64", n) for n in (1, 2)))

    def ceiling(self, family: str, D: int, K: int) -> float | None:
        """Return how many times as much two fits do side by side that share nothing as one does alone."""
        found = self.quotient(Cell("levels", family, D, K), variant(self.best, "float64", 1), cells.PAIR)
        return found and 2 * found


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Return the geometric mean of those that are there, None of none."""
    there = [value for value in values if value is not None]
    return statistics.geometric_mean(there) if there else None


def _stored(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as it is stored: rounded, and without what is empty."""
    return {name: value for name, value in _rounded(asdict(outcome)).items() if value != {}}


def _rounded(value: Any) -> Any:
    """Return the same structure with numbers of DIGITS significant digits."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
