"""Names of the columns of a data frame (pandas, polars, pyarrow, and whatever else has them)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["feature_names", "refuse_other_names"]

_SHOWN = 5
"""How many names a message lists before it breaks off."""


def feature_names(X: Any) -> npt.NDArray[np.object_] | None:
    """Return the names of the columns, or None if there are none or they are not strings.

    Parameters
    ----------
    X : object
        What a user passed as data, or the `Rows` or source that were made of it.

    Returns
    -------
    names : ndarray of str, dtype object, or None

    Raises
    ------
    TypeError
        If some names are strings and others are not.

    Examples
    --------
    >>> from fastgmm._names import feature_names
    >>> feature_names([[1.0, 2.0]]) is None
    True
    """
    if isinstance(X, np.ndarray | list | tuple) or type(X).__name__ == "LazyFrame":  # which is refused as rows
        return None
    # pyarrow's tables have their columns' data under `columns`.
    columns: Any = getattr(X, "column_names", None)
    if columns is None:
        columns = getattr(X, "columns", None)
    try:
        names = list(columns)
    except TypeError:
        return None
    types = sorted({type(name).__qualname__ for name in names})
    if len(types) > 1 and "str" in types:
        raise TypeError(
            "Feature names are only supported if all input features have string names, but your input has "
            f"{types} as feature name / column name types. If you want feature names to be stored and validated, you "
            "must convert them all to strings, by using X.columns = X.columns.astype(str) for example. Otherwise you "
            "can remove feature / column names from your input data, or convert them all to a non-string data type."
        )
    return np.array(names, dtype=object) if types == ["str"] else None


def refuse_other_names(
    fitted: Sequence[str] | npt.NDArray[np.object_] | None, names: npt.NDArray[np.object_] | None
) -> None:
    """Raise a ValueError if the names of columns are not those of a fit, in their order, where both are known.

    Parameters
    ----------
    fitted, names : sequence of str or None

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm._names import refuse_other_names
    >>> refuse_other_names(("a", "b"), np.array(["a", "b"], dtype=object))
    """
    if fitted is None or names is None or list(fitted) == list(names):
        return
    unseen = sorted(set(names) - set(fitted))
    missing = sorted(set(fitted) - set(names))
    message = "The feature names should match those that were passed during fit.\n"
    if unseen:
        message += "Feature names unseen at fit time:\n" + _listed(unseen)
    if missing:
        message += "Feature names seen at fit time, yet now missing:\n" + _listed(missing)
    if not unseen and not missing:
        message += "Feature names must be in the same order as they were in fit.\n"
    raise ValueError(message)


def _listed(names: list[str]) -> str:
    """One name a line, and an ellipsis after the first few."""
    lines = [f"- {name}\n" for name in names[:_SHOWN]]
    return "".join(lines) + ("- ...\n" if len(names) > _SHOWN else "")
