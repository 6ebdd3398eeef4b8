"""Families of low rank against full, diag and spherical on rows of 784 features: time, memory, and what they explain.

    python -m benchmarks.low_rank              # measure, store, rewrite the table in docs/low_rank.md
    python -m benchmarks.low_rank --table      # rewrite the table from what is stored

The rows are synthetic, in the shape of Fashion-MNIST: classes of images of 28 x 28 pixels, smooth, with smooth
variations and noise. All families start from the same labels and make the same number of iterations, each in a process
of its own (Linux only, for the memory).
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks import memory, report

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks" / "results" / "low_rank.json"
PAGE = ROOT / "docs" / "low_rank.md"
SIDE, N_COMPONENTS, LATENT = 28, 20, 12
N_ROWS, N_HELD_OUT, N_ITER = 6000, 3000, 5
REG_COVAR = 1e-3  # fewer rows than features in a component: full covariances are singular without
FAMILIES = ("full", "mfa:10", "mppca:10", "diag", "spherical")
N_SCORES = 3  # of which the fastest counts


@dataclass(frozen=True)
class Outcome:
    """What one family took and gave: seconds of an iteration of EM and of scoring a row, bytes beyond the data, ℓ."""

    covariance_type: str
    n_parameters: int
    iteration: float
    score_row: float
    extra_bytes: int
    log_likelihood: float
    held_out: float


def images(n_rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return images (n, 784) float32 and their classes."""
    model = np.random.default_rng(0)
    wave = np.exp(-0.5 * ((np.arange(SIDE)[:, None] - np.arange(SIDE)) / 3.0) ** 2)

    def smooth(n: int) -> np.ndarray:
        fields = wave @ model.standard_normal((n, SIDE, SIDE)) @ wave
        return (fields / fields.std()).reshape(n, -1)

    templates = smooth(N_COMPONENTS)
    modes = 0.4 * smooth(N_COMPONENTS * LATENT).reshape(N_COMPONENTS, LATENT, -1)
    noise = model.uniform(0.1, 0.5, (N_COMPONENTS, SIDE * SIDE))
    label = rng.integers(N_COMPONENTS, size=n_rows)
    X = np.empty((n_rows, SIDE * SIDE), dtype=np.float32)
    for k in range(N_COMPONENTS):
        n = int((label == k).sum())
        varied = templates[k] + rng.standard_normal((n, LATENT)) @ modes[k]
        X[label == k] = varied + noise[k] * rng.standard_normal((n, SIDE * SIDE))
    return X, label


def measure_here(covariance_type: str, n_threads: int) -> Outcome:
    """Fit and score in this process."""
    import fastgmm

    X, label = images(N_ROWS, np.random.default_rng(1))
    held_out, _ = images(N_HELD_OUT, np.random.default_rng(2))
    options = {"covariance_type": covariance_type, "reg_covar": REG_COVAR, "tol": 0.0, "n_threads": n_threads}
    warnings.simplefilter("ignore", fastgmm.ConvergenceWarning)
    first = np.arange(60)
    fastgmm.fit(X[first], 2, max_iter=1, init_params=first % 2, **options)  # all code is loaded
    gc.collect()
    memory.reset_peak()
    before = memory.peak()
    times: list[float] = []
    result = fastgmm.fit(
        X,
        N_COMPONENTS,
        init_params=label,
        max_iter=N_ITER,
        callback=lambda state: times.append(time.perf_counter()),
        **options,
    )
    extra = memory.peak() - before
    seconds = []
    for _ in range(N_SCORES):
        start = time.perf_counter()
        result.mixture.score_samples(held_out, n_threads=n_threads)
        seconds.append(time.perf_counter() - start)
    return Outcome(
        covariance_type,
        result.mixture.n_parameters,
        float(np.median(np.diff(times))),
        min(seconds) / N_HELD_OUT,
        extra,
        result.lower_bound,
        result.mixture.score(held_out),
    )


def measure(covariance_type: str, n_threads: int) -> Outcome:
    """Run `measure_here` in a fresh Python process and return what it printed."""
    command = [sys.executable, "-m", "benchmarks.low_rank", "--family", covariance_type, "--threads", str(n_threads)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if child.returncode != 0:
        raise RuntimeError(f"the measurement of {covariance_type} failed:\n{child.stderr}")
    return Outcome(**json.loads(child.stdout))


def table(outcomes: list[Outcome]) -> str:
    """Return the table in Markdown."""
    lines = [
        "| family | free parameters | one EM iteration | `score_samples`, a row | "
        "peak memory of the fit beyond the data | ℓ, rows of the fit | ℓ, other rows |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {each.covariance_type} | {each.n_parameters:,} | {report.quantity(each.iteration, 's')} | "
        f"{report.quantity(each.score_row, 's')} | {report.quantity(each.extra_bytes, 'B')} | "
        f"{each.log_likelihood:.1f} | {each.held_out:.1f} |"
        for each in outcomes
    ]
    return "\n".join(lines)


def load() -> list[Outcome]:
    """Return what is stored."""
    return [Outcome(**each) for each in json.loads(RECORD.read_text(encoding="utf-8"))]


def shown_is_stored() -> bool:
    """Whether the page shows the table of what is stored."""
    return report.shown_table(PAGE.read_text(encoding="utf-8")) == table(load())


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.low_rank", description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="only rewrite the table from what is stored")
    parser.add_argument("--family", help="measure one family and print it")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(arguments)
    if args.family:
        print(json.dumps(asdict(measure_here(args.family, args.threads))))
        return 0
    if not args.table:
        outcomes = []
        for family in FAMILIES:
            print(family, file=sys.stderr)
            outcomes.append(measure(family, args.threads))
        RECORD.write_text(json.dumps([asdict(each) for each in outcomes], indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(report.replace_table(PAGE.read_text(encoding="utf-8"), table(load())), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
