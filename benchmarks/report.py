"""Results <-> files and the table in the README, which is always made from the stored results and never by hand."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.libraries import REFERENCE, SUBJECT
from benchmarks.tasks import GRID, Row

BEGIN = "<!-- benchmark:begin -->"
END = "<!-- benchmark:end -->"

_TITLES = {
    "iteration": "one EM iteration",
    "fit": "default fit",
    "start": "k-means start",
    "score_samples": "`score_samples`",
    "predict_proba": "`predict_proba`",
    "memory": "peak memory of a fit beyond the data",
}
_QUALITIES = {"fit": "ℓ", "start": "inertia"}
_TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTE_UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))


@dataclass
class Results:
    """The rows of one benchmark run by id, and the machine they were measured on."""

    rows: dict[str, Row]
    machine: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> Results:
        """Read what `save` wrote; raises FileNotFoundError if nothing was stored there."""
        rows = [Row(**row) for row in json.loads((folder / "results.json").read_text(encoding="utf-8"))]
        machine = json.loads((folder / "machine.json").read_text(encoding="utf-8"))
        return cls({row.id: row for row in rows}, machine)

    def save(self, folder: Path) -> None:
        """Write results.json (every single time), results.csv (medians) and machine.json."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = self.ordered()
        texts = {
            "results.json": json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False) + "\n",
            "results.csv": summary(rows),
            "machine.json": json.dumps(self.machine, indent=1, ensure_ascii=False) + "\n",
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")

    def ordered(self) -> list[Row]:
        """Return the rows in the order of the grid."""
        place = {task.id: number for number, task in enumerate(GRID)}
        return sorted(self.rows.values(), key=lambda row: place.get(row.id, len(place)))

    def table(self) -> str:
        """Return the README's table."""
        return table(self.ordered(), self.machine)


def summary(rows: list[Row]) -> str:
    """Return one CSV line per row and library: median, smallest and largest value, median ratio, quality."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["id", "library", "unit", "median", "low", "high", "rounds", "reference_over_this", "agreement", "quality"]
    )
    for row in rows:
        agreement = "" if row.agreement is None else f"{row.agreement:.1e}"
        for name, values in row.values.items():
            spread = measure.Spread.of(values)
            numbers = [f"{x:.6g}" for x in (spread.median, spread.low, spread.high)]
            ratio = measure.Spread.of(measure.ratios(row.values[REFERENCE], values)).median
            quality = measure.Spread.of(row.quality[name]).median if row.quality else ""
            writer.writerow([row.id, name, row.unit, *numbers, len(values), f"{ratio:.4g}", agreement, quality])
    return text.getvalue()


def significant(value: float, digits: int = 2) -> str:
    """Return `value` rounded to a number of significant digits, never in scientific notation."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, decimals):.{max(decimals, 0)}f}"


def quantity(value: float, unit: str) -> str:
    """Return seconds or bytes in the unit that suits the size."""
    units = _TIME_UNITS if unit == "s" else _BYTE_UNITS
    scale, name = next((pair for pair in units if value >= pair[0]), units[-1])
    return f"{significant(value / scale, 3)} {name}"


def _cell(row: Row, name: str) -> str:
    """Return one library's cell: its median, and for fits and starts how far it came."""
    if name not in row.values:
        return "–"
    text = quantity(measure.Spread.of(row.values[name]).median, row.unit)
    if row.work == "fit":
        text += f" → {measure.Spread.of(row.quality[name]).median:.4f}"
    return text


def _ratio(row: Row) -> str:
    spread = measure.Spread.of(measure.ratios(row.values[REFERENCE], row.values[SUBJECT]))
    return f"**{significant(spread.median)}×** ({significant(spread.low)}–{significant(spread.high)})"


def _answer(row: Row) -> str:
    """Return what the libraries' answers have to do with each other."""
    if row.agreement is not None:
        what = {"score_samples": "densities", "predict_proba": "responsibilities"}.get(row.work, "ℓ")
        return f"{what} equal to {row.agreement:.0e}" if row.agreement else f"{what} equal in every bit"
    ours, theirs = (measure.Spread.of(row.quality[name]).median for name in (SUBJECT, REFERENCE))
    if row.work == "fit":
        return f"own start: ℓ {ours - theirs:+.4f}"
    return f"own start: {_QUALITIES[row.work]} {(ours / theirs - 1) * 100:+.2f} %"


def table(rows: list[Row], machine: dict[str, Any]) -> str:
    """Return the table in Markdown with the sentence that says how it was measured."""
    others = sorted({name for row in rows for name in row.values} - {REFERENCE, SUBJECT})
    names = [REFERENCE, SUBJECT, *others]
    lines = [
        f"| work | problem (rows × features, components) | {' | '.join(names)} | {REFERENCE} ÷ {SUBJECT} | answers |",
        "|---|---|" + "---:|" * (len(names) + 1) + "---|",
    ]
    for row in rows:
        cells = " | ".join(_cell(row, name) for name in names)
        work = f"{_TITLES[row.work]}, {row.covariance_type}" if row.work != "start" else _TITLES[row.work]
        lines.append(f"| {work} | {row.label} | {cells} | {_ratio(row)} | {_answer(row)} |")
    return "\n".join([*lines, "", _conditions(rows, machine)])


def _conditions(rows: list[Row], machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    rounds = [len(values) for row in rows if row.work != "memory" for values in row.values.values()]
    return (
        f"Medians of {min(rounds, default=0)} interleaved rounds, in brackets the range of the ratio round by round; "
        f"float64, {machine['n_threads']} threads on every side, {machine['cpu']}, SIMD level "
        f"{machine['simd']['active']}; {versions}. ℓ is the mean log-likelihood per row (of a default fit: after →). "
        "Unless a row says “own start”, start and number of iterations are equal and reg_covar is 0; nothing is timed "
        "before the answers are equal. Every single time is in `benchmarks/results/`; `python -m benchmarks` measures "
        "again and rewrites this table."
    )


def replace_table(text: str, new: str) -> str:
    """Return `text` with everything between the two markers replaced by `new`.

    Raises
    ------
    ValueError
        If the markers are not there exactly once, in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"expected one {BEGIN} followed by one {END}")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


def shown_table(text: str) -> str:
    """Return what stands between the two markers; raises ValueError as `replace_table`."""
    replace_table(text, "")
    return text.partition(BEGIN)[2].partition(END)[0].strip("\n")
