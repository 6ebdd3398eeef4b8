"""From arguments to exit code: which command runs, and what people see when it cannot."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from .terminal import Style

__all__ = ["main"]

# What a shell makes of a process that the signal ended.
_INTERRUPTED = 130
_BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command of ``python -m fastgmm``.

    Parameters
    ----------
    arguments : sequence of str, default=None
        What follows the name of the program; None takes it from `sys.argv`.

    Returns
    -------
    code : int
        0 if all went well, 1 if no mixture could be fitted or memory ran out, 2 for wrong usage or input, 130 after
        Ctrl-C, 141 if the reader of the output went away.

    Examples
    --------
    >>> main(["info", "none.npz"])  # on standard error: fastgmm: error: none.npz: No such file or directory
    2
    """
    with _streams():
        return _guarded(arguments)


@contextlib.contextmanager
def _streams() -> Iterator[None]:
    """See to it that both streams exist, and that no name of a column can break them."""
    closed = [name for name in ("stdout", "stderr") if getattr(sys, name) is None]
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        for name in closed:  # by the shell (>&-): nobody wants to see what goes there
            setattr(sys, name, nowhere)
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")
        try:
            yield
        finally:
            for name in closed:
                setattr(sys, name, None)


def _guarded(arguments: Sequence[str] | None) -> int:
    """Run the command, and turn what it raises into one line and an exit code."""
    try:
        return _run(arguments)
    except BrokenPipeError:
        # Python flushes once more at its end; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        return _say("interrupted", _INTERRUPTED)
    except MemoryError as error:
        return _say(f"error: not enough memory: {error}", 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        return _say(f"error: {where}{error.strerror or error}", 2)
    except (ValueError, TypeError) as error:
        return _say(f"error: {error}", getattr(error, "exit_code", 2))


def _run(arguments: Sequence[str] | None) -> int:
    """Read the arguments, run the command, and see its output off."""
    # Imported here, where what goes wrong is caught: Ctrl-C, or an engine that refuses what its environment asks for.
    from . import commands
    from .arguments import parser

    code = 0
    try:
        options = parser().parse_args(arguments)
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            getattr(commands, options.command)(options)
    except SystemExit as stop:  # argparse, after --help or an error that it has shown
        code = int(stop.code or 0)
    sys.stdout.flush()
    return code


def _say(what: str, code: int) -> int:
    line = Style().name(" ".join(what.split()))  # without control characters: it may quote a file
    print(f"fastgmm: {line}", file=sys.stderr)
    return code


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    _say(f"warning: {message}", 0)
