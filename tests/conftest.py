"""Fixtures that more than one test file uses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastgmm

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib: no test opens a window


@pytest.fixture
def run_python(tmp_path):
    """Run code in a fresh interpreter that sees the same fastgmm; return what it printed.

    The interpreter starts in an empty folder, so that no fastgmm/ of a checkout is imported by accident.
    """

    def run(code):
        found = [str(Path(fastgmm.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, found))}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
