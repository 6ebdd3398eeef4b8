"""What a terminal can show: signs beyond ASCII, colour, a progress bar, lines of the log, eighty columns."""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any, TextIO

__all__ = ["WIDTH", "Style", "log_lines", "progress_bar"]

WIDTH = 80

_BOLD, _DIM, _GREEN, _RED, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[0m"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR = "{n_fmt}/{total_fmt} |{bar:20}| {elapsed}<{remaining}  {desc}"


@dataclasses.dataclass(frozen=True)
class Style:
    """How a report is written on some stream.

    Attributes
    ----------
    unicode : bool
        Whether signs beyond ASCII can be shown.
    colour : bool
        Whether escape sequences are understood.
    """

    unicode: bool = False
    colour: bool = False

    @classmethod
    def of(cls, stream: TextIO) -> Style:
        """What suits `stream`: Unicode if it is UTF-8; colour on a terminal unless NO_COLOR is set (no-color.org)."""
        try:
            encoding = codecs.lookup(stream.encoding or "ascii").name
        except (AttributeError, LookupError):
            encoding = "ascii"
        colour = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(encoding == "utf-8", colour)

    def sign(self, name: str) -> str:
        """The sign called `name`."""
        return _SIGNS[name][0 if self.unicode else 1]

    def strong(self, text: str) -> str:
        """Text that stands out."""
        return self._paint(_BOLD, text)

    def good(self, text: str) -> str:
        """Text about what was chosen."""
        return self._paint(_BOLD + _GREEN, text)

    def bad(self, text: str) -> str:
        """Text about what went wrong."""
        return self._paint(_RED, text)

    def faint(self, text: str) -> str:
        """Text that may be passed over."""
        return self._paint(_DIM, text)

    def bar(self, share: float, width: int) -> str:
        """A bar of `share` (0 to 1) of `width` cells, padded to `width`."""
        if not self.unicode:
            return ("#" * max(round(share * width), share > 0)).ljust(width)
        eighths = max(round(share * width * 8), share > 0)
        return (_EIGHTHS[8] * (eighths // 8) + _EIGHTHS[eighths % 8].strip()).ljust(width)

    def name(self, text: str, width: int | None = None) -> str:
        """A name from a file: without control characters, cut in its middle to `width`."""
        text = "".join(sign if sign.isprintable() else "?" for sign in text)
        if width is None or len(text) <= width:
            return text
        gap = self.sign("ellipsis")
        left = (width - len(gap)) // 2
        return text[:left] + gap + text[len(text) - (width - len(gap) - left) :]

    def _paint(self, code: str, text: str) -> str:
        return f"{code}{text}{_PLAIN}" if self.colour else text


_SIGNS = {
    "plus_minus": ("±", "+/-"),
    "times": ("×", "x"),
    "ellipsis": ("…", "..."),
    "chosen": ("◀", "<"),
    "abandoned": ("·", "."),
    "rule": ("─", "-"),
}


@contextlib.contextmanager
def log_lines(stream: TextIO) -> Iterator[None]:
    """Write what fits log to a stream, with the seconds since the program began.

    Parameters
    ----------
    stream : text file
    """
    logger, handler = logging.getLogger("fastgmm"), logging.StreamHandler(stream)
    handler.setFormatter(_Line())
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


class _Line(logging.Formatter):
    """One line of the log, without control characters: it may quote a file."""

    def format(self, record: logging.LogRecord) -> str:
        """The seconds since the program began, and the message."""
        return Style().name(f"{record.relativeCreated / 1000:9.3f} s  {record.getMessage()}")


@contextlib.contextmanager
def progress_bar(total: int, text: str, stream: TextIO | None) -> Iterator[Callable[..., None]]:
    """A bar of `total` steps on `stream`, if that is a terminal and tqdm is installed; it goes away at the end.

    Parameters
    ----------
    total : int
    text : str
        What is going on at first.
    stream : text file or None

    Yields
    ------
    show : callable
        ``show(done, text)``: that many steps are done, and this is going on. It may be called as often as one likes,
        also with another ``total``.
    """
    bar = _tqdm(total, text, stream) if stream is not None and stream.isatty() else None
    if bar is None:
        yield lambda done, text, total=None: None
        return

    def show(done: int, text: str, total: int | None = None) -> None:
        bar.total = total or bar.total
        bar.set_description_str(text, refresh=False)
        bar.update(done - bar.n)

    with bar:
        yield show


def _tqdm(total: int, text: str, stream: TextIO) -> Any:
    """The bar, or None where tqdm is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(
        total=total,
        desc=text,
        file=stream,
        leave=False,
        ncols=min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns) - 1,  # a full line might wrap
        nrows=2,  # enough for one bar: where the height is not known, tqdm may take it for none
        miniters=0,  # also an iteration, which completes no step, is news
        ascii=not Style.of(stream).unicode,
        bar_format=_BAR,
    )
