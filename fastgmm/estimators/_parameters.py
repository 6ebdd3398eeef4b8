"""Rules for constructor parameters: one table per estimator, read by validation, messages and scikit-learn's checks.

A table maps the name of a parameter to a tuple of rules, one of which its value must meet. Messages are worded as
scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Protocol

import numpy as np

from fastgmm import covariance
from fastgmm._checks import is_number

from ._protocol import InvalidParameterError


class Rule(Protocol):
    """One way for a value to be right."""

    def accepts(self, value: Any) -> bool:
        """Whether the value meets the rule."""

    def for_sklearn(self) -> Any:
        """The rule as scikit-learn's `_parameter_constraints` has it."""

    def __str__(self) -> str:
        """What the message says is expected."""


@dataclass(frozen=True)
class Number:
    """An int or a float from `low` on, up to and with `high`; if `open_low` or `open_high`, without it."""

    kind: type[Any]
    low: float
    high: int | None = None
    open_low: bool = False
    open_high: bool = False

    def accepts(self, value: Any) -> bool:
        """Whether the value is of the kind, finite and in the range."""
        if not is_number(value, self.kind, self.low) or (self.open_low and value == self.low):
            return False
        if self.high is None:
            return True
        return bool(value < self.high if self.open_high else value <= self.high)

    def for_sklearn(self) -> Any:
        """An `Interval`."""
        from sklearn.utils._param_validation import Interval

        return Interval(self.kind, self.low, self.high, closed=self._closed)

    @property
    def _closed(self) -> str:
        if self.open_low:
            return "neither" if self.high is None or self.open_high else "right"
        return "left" if self.high is None or self.open_high else "both"

    def __str__(self) -> str:
        """Such as "an int in the range [1, inf)"."""
        name = "an int" if self.kind is Integral else "a float"
        return f"{name} in the range {'(' if self.open_low else '['}{self.low}, " + (
            "inf)" if self.high is None else f"{self.high}{')' if self.open_high else ']'}"
        )


@dataclass(frozen=True)
class Choice:
    """One of some strings."""

    options: tuple[str, ...]

    def accepts(self, value: Any) -> bool:
        """Whether the value is one of the strings."""
        return isinstance(value, str) and value in self.options

    def for_sklearn(self) -> Any:
        """A `StrOptions`."""
        from sklearn.utils._param_validation import StrOptions

        return StrOptions(set(self.options))

    def __str__(self) -> str:
        """Such as "a str among {'full', 'tied'}"."""
        return f"a str among {{{', '.join(map(repr, self.options))}}}"


@dataclass(frozen=True)
class FamilyName(Choice):
    """One of some strings, or a name of a covariance family with its rank."""

    def accepts(self, value: Any) -> bool:
        """Whether the value is the name of a family."""
        return covariance.is_known(value)

    def __str__(self) -> str:
        """Such as "a str among {'full', 'tied', 'mfa:q', 'mppca:q'}"."""
        return str(Choice((*self.options, *covariance.WITH_RANK)))


@dataclass(frozen=True)
class Instance:
    """An object of a type."""

    kind: type

    def accepts(self, value: Any) -> bool:
        """Whether the value is of the type."""
        return isinstance(value, self.kind)

    def for_sklearn(self) -> Any:
        """The type itself."""
        return self.kind

    def __str__(self) -> str:
        """Such as "an instance of 'bool'"."""
        module = "" if self.kind.__module__ == "builtins" else f"{self.kind.__module__}."
        return f"an instance of '{module}{self.kind.__qualname__}'"


class Nothing:
    """None."""

    def accepts(self, value: Any) -> bool:
        """Whether the value is None."""
        return value is None

    def for_sklearn(self) -> Any:
        """None."""

    def __str__(self) -> str:
        """The word "None"."""
        return "None"


class ArrayLike:
    """Something that has a length or a shape and is no scalar, string or sparse matrix."""

    def accepts(self, value: Any) -> bool:
        """Whether the value looks like an array; what is in it is checked with the data."""
        if np.isscalar(value) or isinstance(value, type) or hasattr(value, "tocsr"):
            return False
        return any(hasattr(value, name) for name in ("__len__", "shape", "__array__"))

    def for_sklearn(self) -> Any:
        """The string "array-like"."""
        return "array-like"

    def __str__(self) -> str:
        """The words "an array-like"."""
        return "an array-like"


class Function:
    """A callable."""

    def accepts(self, value: Any) -> bool:
        """Whether the value can be called."""
        return callable(value)

    def for_sklearn(self) -> Any:
        """The built-in `callable`."""
        return callable

    def __str__(self) -> str:
        """The words "a callable"."""
        return "a callable"


BOOLEAN = (Instance(bool), Instance(np.bool_))
VERBOSE = (Number(Integral, 0), *BOOLEAN)
OPTIONAL_ARRAY = (ArrayLike(), Nothing())
POSITIVE_INT = (Number(Integral, 1),)
NON_NEGATIVE_INT = (Number(Integral, 0),)
NON_NEGATIVE = (Number(Real, 0.0),)
OPTIONAL_SHARE = (Number(Real, 0.0, 1, open_low=True), Nothing())
RANDOM_STATE = (
    Number(Integral, 0, 2**32 - 1),
    Instance(np.random.RandomState),
    Instance(np.random.Generator),
    Instance(np.random.SeedSequence),
    Nothing(),
)


def validate(rules: Mapping[str, tuple[Rule, ...]], params: Mapping[str, Any], owner: str) -> None:
    """Raise an InvalidParameterError for the first parameter that breaks its rules.

    Parameters
    ----------
    rules : mapping of str to tuple of Rule
        The table of the estimator.
    params : mapping of str to object
        Values by name.
    owner : str
        The estimator's name, for the message.

    Raises
    ------
    InvalidParameterError
        A ValueError and a TypeError that names the parameter, what was expected, and what came.

    Examples
    --------
    >>> from fastgmm.estimators._parameters import POSITIVE_INT, validate
    >>> validate({"n_init": POSITIVE_INT}, {"n_init": 1}, "GaussianMixture")
    """
    for name, alternatives in rules.items():
        value = params[name]
        for rule in alternatives:
            if rule.accepts(value):
                break
        else:
            *others, last = map(str, alternatives)
            expected = f"{', '.join(others)} or {last}" if others else last
            raise InvalidParameterError(f"The {name!r} parameter of {owner} must be {expected}. Got {value!r} instead.")


def as_sklearn(rules: Mapping[str, tuple[Rule, ...]]) -> dict[str, list[Any]]:
    """Return the table in the form of scikit-learn's `_parameter_constraints`, which its checks read."""
    return {name: [rule.for_sklearn() for rule in alternatives] for name, alternatives in rules.items()}
