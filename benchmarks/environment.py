"""Environment variables that would falsify a comparison, and how to get rid of them.

OpenBLAS reads OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE once, when it is loaded, and then runs the kernels of another
processor than the one at hand. Libraries that spend their time in BLAS would look slower than they are. The
variables can only be removed before numpy is imported, so the command starts itself again without them.
"""

from __future__ import annotations

import os
import sys

MISLEADING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
REMOVED = "FASTGMM_BENCHMARK_REMOVED"  # tells the restarted process, and machine.json, what was removed


def restart_without_misleading_variables(module: str) -> None:
    """Replace this process by `python -m module` with the same arguments and a clean environment, if it is needed."""
    found = [name for name in MISLEADING if name in os.environ]
    if not found:
        return
    cleaned = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    cleaned[REMOVED] = ",".join(found)
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], cleaned)


def describe() -> dict[str, object]:
    """Return the variables that steer threads, BLAS and SIMD levels, and the ones that were removed."""
    prefixes = ("OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "BLIS_", "NUMEXPR_", "FASTGMM_SIMD")
    kept = {name: value for name, value in sorted(os.environ.items()) if name.startswith(prefixes)}
    removed = [name for name in os.environ.get(REMOVED, "").split(",") if name]
    return {"set": kept, "removed": removed}
