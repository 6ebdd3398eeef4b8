"""Peak memory of a fit beyond the data, measured in a process of its own (Linux only).

    python -m benchmarks.memory --library fastgmm --problem 2M-8-16 --covariance full --iterations 2 --threads 2

The child makes the data (which touches every page of them), fits one component to one column so that all code is
loaded but no scratch of the real fit's size is there yet, resets the kernel's high-water mark, fits, and reads the mark
again. It prints one line of JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

from benchmarks import environment, libraries
from benchmarks.measure import NotMeasurable
from benchmarks.problems import PROBLEMS, Start

ROOT = Path(__file__).resolve().parent.parent
WARM_UP_ROWS = 5_000
_ONE = {"full": (1, 1, 1), "tied": (1, 1), "diag": (1, 1), "spherical": (1,)}  # precisions of one component, one column
_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def _kibibytes(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"{_STATUS} has no field {field}")


def peak() -> int:
    """Return the largest resident size of this process since `reset_peak`, in bytes."""
    return 1024 * _kibibytes("VmHWM")


def reset_peak() -> None:
    """Set the kernel's high-water mark back to what is resident now."""
    _CLEAR_REFS.write_text("5")


def fit_in_child(
    library: str, problem: str, covariance_type: str, *, n_iter: int, n_threads: int, quick: bool
) -> dict[str, float]:
    """Run `fit_here` in a fresh Python process and return what it printed."""
    if not _CLEAR_REFS.exists():
        raise NotMeasurable(f"peak memory is measured through {_CLEAR_REFS}, which only Linux has")
    command = [sys.executable, "-m", "benchmarks.memory", "--library", library, "--problem", problem]
    command += ["--covariance", covariance_type, "--iterations", str(n_iter), "--threads", str(n_threads)]
    child = subprocess.run(command + ["--quick"] * quick, cwd=ROOT, capture_output=True, text=True, check=False)
    if child.returncode != 0:
        raise RuntimeError(f"the memory measurement of {library} failed:\n{child.stderr}")
    return json.loads(child.stdout)


def fit_here(
    library: str, problem: str, covariance_type: str, *, n_iter: int, n_threads: int, quick: bool
) -> dict[str, float]:
    """Fit in this process; return extra peak bytes, bytes of the data and the mean log-likelihood reached."""
    adapter = libraries.make(library, n_threads)
    X = PROBLEMS[problem].data(quick)
    start = PROBLEMS[problem].start(X, covariance_type)
    with warnings.catch_warnings(), libraries.thread_limit(n_threads):
        warnings.simplefilter("ignore")  # short fits do not converge, and are not meant to
        column = X[:WARM_UP_ROWS, :1]
        adapter.iterate(column, Start(np.ones(1), column[:1], np.ones(_ONE[covariance_type])), covariance_type, 1)
        gc.collect()
        reset_peak()
        before = peak()
        model = adapter.iterate(X, start, covariance_type, n_iter)
        extra = peak() - before
        return {
            "extra_bytes": extra,
            "data_bytes": X.nbytes,
            "log_likelihood": adapter.log_likelihood(model, X),
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--library", required=True, choices=list(libraries.AVAILABLE))
    parser.add_argument("--problem", required=True, choices=list(PROBLEMS))
    parser.add_argument("--covariance", required=True)
    parser.add_argument("--iterations", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    result = fit_here(
        args.library, args.problem, args.covariance, n_iter=args.iterations, n_threads=args.threads, quick=args.quick
    )
    print(json.dumps(result))


if __name__ == "__main__":
    environment.restart_without_misleading_variables("benchmarks.memory")
    main()
