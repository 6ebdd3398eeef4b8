"""Warnings that point at the user's line."""

from __future__ import annotations

import sys
import warnings

_INSIDE = ("fastgmm", "sklearn")


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn at the innermost call from outside fastgmm and scikit-learn.

    How many calls lie between differs: scikit-learn wraps methods, and its meta-estimators call them.

    Parameters
    ----------
    message : str
        The text.
    category : type
        Class of the warning.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
