"""The command line as a process of its own: streams, signals, exit codes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from problems import FAITHFUL

import fastgmm


@pytest.fixture
def process(tmp_path):
    """Start `python -m fastgmm` in an empty folder; `redirect` is what a shell appends."""

    def start(*arguments, redirect="", **options):
        found = [str(Path(fastgmm.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, found)),
            "PYTHONIOENCODING": "utf-8",
        }
        command = [sys.executable, "-W", "error", "-m", "fastgmm", *map(str, arguments)]
        if redirect:
            command = ["sh", "-c", f'exec "$@" {redirect}', "sh", *command]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes)

    return start


def test_the_main_job(process):
    running = process("fit", FAITHFUL)
    out, err = running.communicate(timeout=120)
    assert (running.returncode, err) == (0, b"")
    assert "272 rows × 2 columns" in out.decode()
    assert b"\x1b" not in out


def test_an_error(process):
    running = process("fit", "none.csv")
    out, err = running.communicate(timeout=120)
    assert (running.returncode, out) == (2, b"")
    assert err == b"fastgmm: error: none.csv: No such file or directory\n"


def test_an_error_of_the_environment(process, monkeypatch):
    monkeypatch.setenv("FASTGMM_SIMD", "none")
    running = process("fit", FAITHFUL)
    out, err = running.communicate(timeout=120)
    assert (running.returncode, out) == (2, b"")
    assert err.startswith(b"fastgmm: error: FASTGMM_SIMD")
    assert err.count(b"\n") == 1


def test_the_reader_of_the_output_goes_away(process, model):
    running = process("sample", model[0], "-n", 200_000)
    assert running.stdout.readline() == b"eruptions,waiting,label\n"
    running.stdout.close()
    assert running.stderr.read() == b""
    running.stderr.close()
    assert running.wait(timeout=120) == 141


@pytest.mark.parametrize("redirect", [">&-", "2>&-", "<&-"])
def test_streams_may_be_closed(process, tmp_path, redirect):
    running = process("fit", FAITHFUL, "--components", 1, "--model", "m.npz", redirect=redirect)
    out, err = running.communicate(timeout=120)
    assert (running.returncode, err) == (0, b"")
    assert (out == b"") == (redirect == ">&-")
    assert (tmp_path / "m.npz").is_file()


def test_standard_input_may_be_closed(process):
    running = process("fit", "-", redirect="<&-")
    _, err = running.communicate(timeout=120)
    assert running.returncode == 2
    assert err == b"fastgmm: error: there is no standard input to read; it is closed\n"


def test_ctrl_c_on_a_terminal_ends_bar_and_fit(process, tmp_path):
    import pty

    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(20_000, 8)))
    terminal, theirs = pty.openpty()  # its size is not known: 0 rows of 0 columns
    running = process("fit", "rows.npy", "--tol", 0, "--max-iter", 100_000, "--components", "1-9", stderr=theirs)
    os.close(theirs)
    seen = b""
    while b"iteration" not in seen:  # the bar is there, so the fit is going on
        seen += os.read(terminal, 1000)
    running.send_signal(signal.SIGINT)
    while not seen.endswith(b"interrupted\r\n"):
        seen += os.read(terminal, 1000)
    os.close(terminal)
    assert seen.endswith(b" \rfastgmm: interrupted\r\n")
    assert running.communicate(timeout=120)[0] == b""
    assert running.returncode == 130
