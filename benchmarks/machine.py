"""What the numbers were measured on: processor, caches, compiler, SIMD level, versions. No names, no paths."""

from __future__ import annotations

import ast
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks import environment
from benchmarks.libraries import Library

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_SETUP = Path(__file__).resolve().parent.parent / "setup.py"


def _field(path: Path, name: str) -> str | None:
    """Return the first `name : value` line's value in a file under /proc, None where there is none."""
    if not path.exists():
        return None
    found = re.search(rf"^{name}\s*:\s*(.+)$", path.read_text(), re.MULTILINE)
    return found.group(1).strip() if found else None


def _caches() -> dict[str, str]:
    """Return the caches that the first core sees, as the kernel names them."""
    caches = {}
    for index in sorted(_CACHES.glob("index*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        caches[f"L{level} {kind.lower()}"] = size
    return caches


def _compiler() -> str | None:
    """Return the compiler that built fastgmm's engine, as it signed the extension; None where it left no signature."""
    from fastgmm.engine import _core

    signature = re.search(rb"GCC: \([^)\0]*\) [0-9.]+|clang version [0-9.]+", Path(_core.__file__).read_bytes())
    return signature.group().decode() if signature else None


def compiler_flags() -> str:
    """Return the flags that setup.py adds to the interpreter's own (GCC and clang)."""
    for statement in ast.parse(_SETUP.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "UNIX_FLAGS":
            return " ".join([*ast.literal_eval(statement.value), *os.environ.get("CFLAGS", "").split()])
    raise RuntimeError("setup.py no longer has a list UNIX_FLAGS")


def _blas() -> list[dict[str, Any]]:
    """Return the BLAS and OpenMP libraries that are loaded, without their paths, in an order that no run changes."""
    from threadpoolctl import threadpool_info

    kept = ("user_api", "internal_api", "version", "architecture", "threading_layer", "num_threads")
    pools = [{name: pool[name] for name in kept if name in pool} for pool in threadpool_info()]
    return sorted((pool for number, pool in enumerate(pools) if pool not in pools[:number]), key=repr)


def describe(libs: list[Library], n_threads: int) -> dict[str, Any]:
    """Return everything that a reader needs to judge the numbers, ready for machine.json."""
    from fastgmm._config import config

    ours = config()
    memory = _field(_MEMINFO, "MemTotal")
    return {
        "cpu": _field(_CPUINFO, "model name") or platform.processor() or platform.machine(),
        "cpu_family_and_model": [_field(_CPUINFO, "cpu family"), _field(_CPUINFO, "model")],
        "cores": os.cpu_count(),
        "caches": _caches(),
        "memory_gib": round(int(memory.split()[0]) / 2**20) if memory else None,
        "platform": ours["platform"],
        "compiler": _compiler(),
        "compiler_flags": compiler_flags(),
        "simd": {"active": ours["simd"], "available": list(ours["simd_available"])},
        "openmp": ours["openmp"],
        "n_threads": n_threads,
        "thread_pools": _blas(),
        "environment": environment.describe(),
        "versions": {
            **{name: ours[name] for name in ("python", "numpy", "scipy")},
            **{lib.name: lib.version for lib in libs},
        },
        "free_threading": not getattr(sys, "_is_gil_enabled", lambda: True)(),
    }


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the names of the entries in which two descriptions differ."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
