"""From arguments to exit code: which command runs, and what people see when it cannot."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from .arguments import parser

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
        0 if all went well, 1 if no mixture could be fitted, 2 for wrong usage or input, 130 after Ctrl-C, 141 if the
        reader of the output went away.

    Examples
    --------
    >>> main(["info", "none.npz"])  # on standard error: fastgmm: error: none.npz: No such file or directory
    2
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a name that the terminal cannot show is no reason to fail
    try:
        return _run(parser().parse_args(arguments))
    except SystemExit as stop:  # argparse, after --help or an error that it has shown
        return int(stop.code or 0)


def _run(options: Any) -> int:
    """Run the command, and turn what it raises into one line and an exit code."""
    from . import commands
    from .commands import FitFailedError

    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            getattr(commands, options.command)(options)
            sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at its end; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        return _complain("interrupted", _INTERRUPTED)
    except FitFailedError as error:
        return _complain(error, 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        return _complain(f"{where}{error.strerror or error}", 2)
    except (ValueError, TypeError) as error:
        return _complain(error, 2)
    return 0


def _complain(what: object, code: int) -> int:
    print(f"fastgmm: error: {' '.join(str(what).split())}", file=sys.stderr)
    return code


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"fastgmm: warning: {' '.join(str(message).split())}", file=sys.stderr)
