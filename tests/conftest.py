"""Fixtures that more than one test file uses."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from problems import FAITHFUL

import fastgmm
from fastgmm.cli import main
from fastgmm.io import tables

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a job in the background starts, and all that it starts
    signal.signal(signal.SIGINT, signal.default_int_handler)
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


@pytest.fixture
def cli(capsys):
    """Run a command, expect an exit code; return what went to standard output, or the one line of the error."""

    def run(*arguments, code=0):
        assert main([str(argument) for argument in arguments]) == code
        out, err = capsys.readouterr()
        if code == 0:
            assert err == ""
            return out
        assert out == ""
        assert err.startswith("fastgmm: ")
        assert err.count("\n") == 1
        return err.removeprefix("fastgmm: ").rstrip("\n")

    return run


@pytest.fixture
def model(tmp_path):
    """A model file, and the mixture in it."""
    path = tmp_path / "model.npz"
    mixture = fastgmm.fit(tables.read_table(FAITHFUL).values, 2, random_state=0).mixture
    mixture.save(path, feature_names=["eruptions", "waiting"])
    return path, mixture


@pytest.fixture
def no_cluster():
    """Tasks of Dask are done in this thread, one after the other."""
    import dask

    with dask.config.set(scheduler="sync"):
        yield
