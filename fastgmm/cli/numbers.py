"""Numbers as people like to read them: as many digits as mean something, aligned in their column."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["duration", "measurements", "ranges", "values"]

_MAX_DECIMALS = 6
_MAX_RATIO = 1e-2  # of a spread to the largest in its column, down to which it gets digits of its own
_MAX_PLAIN = 1e8  # larger numbers are written with an exponent


def measurements(means: Sequence[float], spreads: Sequence[float], plus_minus: str) -> list[str]:
    """Means with their spreads: two digits of the smallest spread, unless it is far smaller than the largest.

    Parameters
    ----------
    means, spreads : sequence of float
        Of one feature, by component.
    plus_minus : str
        The sign between them.

    Returns
    -------
    texts : list of str
        Aligned at the sign and of one width.

    Examples
    --------
    >>> measurements([4.2897, 2.0364], [0.41, 0.26], "+/-")
    ['4.29 +/- 0.41', '2.04 +/- 0.26']
    """
    known = [spread for spread in spreads if spread > 0] or [1.0]
    smallest = max(min(known), max(known) * _MAX_RATIO)
    decimals = max(0, 1 - math.floor(math.log10(smallest)))
    largest = max(abs(number) for number in (*means, *spreads))
    if decimals > _MAX_DECIMALS or largest >= _MAX_PLAIN:
        digits = max(2, math.floor(math.log10(max(largest, smallest))) - math.floor(math.log10(smallest)) + 2)
        left = [f"{mean:.{min(digits, 17) - 1}e}" for mean in means]
        right = [f"{spread:.1e}" for spread in spreads]
    else:
        left = [f"{mean:.{decimals}f}" for mean in means]
        right = [f"{spread:.{decimals}f}" for spread in spreads]
    pairs = zip(_aligned(left), _aligned(right), strict=True)
    return [f"{mean} {plus_minus} {spread}" for mean, spread in pairs]


def values(numbers: Sequence[float]) -> list[str]:
    """Numbers that are to be compared, all with equally many decimals: one from a hundred on, else three.

    Examples
    --------
    >>> values([2322.192, 2314.38])
    ['2322.2', '2314.4']
    """
    largest = max((abs(number) for number in numbers if math.isfinite(number)), default=0.0)
    form = ".8e" if largest >= 1e11 else ".1f" if largest >= 100 else ".3f"
    return [f"{number:{form}}" for number in numbers]


def ranges(rising: Sequence[int]) -> str:
    """Whole numbers as `--components` takes them.

    Examples
    --------
    >>> ranges([1, 4, 5, 6])
    '1,4-6'
    """
    runs: list[list[int]] = []
    for number in rising:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def duration(seconds: float) -> str:
    """A wall time.

    Examples
    --------
    >>> duration(0.0123), duration(4.2), duration(3725)
    ('12 ms', '4.2 s', '1 h 2 min')
    """
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _aligned(texts: list[str]) -> list[str]:
    width = max(map(len, texts))
    return [text.rjust(width) for text in texts]
