"""Values of options: text from a shell made into what Python takes, or an error that says what was expected."""

import argparse
import csv

from fastgmm import fitting
from fastgmm.selection import CRITERIA
from fastgmm.sources import parse_memory

__all__ = [
    "count",
    "criterion",
    "memory",
    "names",
    "not_negative",
    "numbers",
    "positive",
    "seed",
    "share",
    "start",
    "volume",
]

_MAX_CANDIDATES = 1000  # numbers of components in one sweep


def numbers(text: str) -> list[int]:
    """Numbers of components: "3", "1-9", "2,4,8-10", rising and each once."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            low = int(first)
            high = int(last) if dash else low
        except ValueError:
            raise _wrong("numbers such as 3, 1-9 or 2,4,8", text) from None
        if not 1 <= low <= high:
            raise _wrong("numbers from 1, the smaller first", text)
        if high - low + len(found) >= _MAX_CANDIDATES:
            raise _wrong(f"at most {_MAX_CANDIDATES} numbers", text)
        found.update(range(low, high + 1))
    return sorted(found)


def names(text: str) -> list[str]:
    """Names between commas; one that holds a comma stands in double quotes."""
    found = [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]
    if not found or not all(found):
        raise _wrong("names with commas between", text)
    return found


def criterion(text: str) -> str:
    """The name of a criterion."""
    if text not in CRITERIA:
        raise _wrong(f"one of {', '.join(CRITERIA)}", text)
    return text


def start(text: str) -> str | list[str]:
    """One name, or several that are raced."""
    found = [name.strip() for name in text.split(",")]
    known = (*fitting.STARTS, fitting.RACE) if len(found) == 1 else fitting.STARTS
    for name in found:
        if name not in known:
            raise _wrong(f"{'one' if len(found) == 1 else 'any'} of {', '.join(known)}", name)
    return found[0] if len(found) == 1 else found


def positive(text: str) -> int:
    """A whole number from 1."""
    return _whole(text, 1)


def count(text: str) -> int:
    """A whole number from 0."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not least <= number < 2**63:  # what an array can be long
        raise _wrong(f"a whole number from {least}", text)
    return number


def memory(text: str) -> str:
    """A size of memory, as it was written."""
    try:
        parse_memory(text)
    except ValueError:
        raise _wrong("a size such as 500MB or 2GB", text) from None
    return text


def seed(text: str) -> int:
    """A seed of random numbers."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not 0 <= number < 2**32:
        raise _wrong("a whole number from 0 to 4294967295", text)
    return number


def not_negative(text: str) -> float:
    """A number from 0."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise _wrong("a number from 0", text)
    return number


def volume(text: str) -> float:
    """A number above 0."""
    number = not_negative(text)
    if number == 0:
        raise _wrong("a number above 0", text)
    return number


def share(text: str) -> float:
    """A number above 0, up to 1."""
    number = not_negative(text)
    if not 0 < number <= 1:
        raise _wrong("a number above 0, up to 1", text)
    return number


def _wrong(expected: str, text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
