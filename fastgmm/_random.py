"""Random states: the one place where what a user passes becomes a generator."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from ._errors import InvalidParameterError

_SEED_WORDS = 4
"""Words of 32 bits drawn from a legacy state to seed a generator: as many as PCG64 has state."""


def generator(random_state: Any = None) -> np.random.Generator:
    """Return a generator for whatever names randomness.

    Parameters
    ----------
    random_state : None, int, numpy.random.RandomState, Generator or SeedSequence, default=None
        An int in [0, 2**32 - 1] or a SeedSequence gives the same draws on every call; a RandomState or a Generator is
        advanced by the call. None draws a seed from NumPy's global state, which `numpy.random.seed` sets, as
        scikit-learn does.

    Returns
    -------
    numpy.random.Generator

    Raises
    ------
    InvalidParameterError
        If `random_state` is none of these.

    Examples
    --------
    >>> from fastgmm._random import generator
    >>> bool(generator(3).random() == generator(3).random())
    True
    """
    if random_state is None or random_state is np.random:
        random_state = np.random.mtrand._rand
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        # `tomaxint` and `bytes` depend on the platform's long; uint32 words do not.
        words = random_state.randint(0, 2**32, size=_SEED_WORDS, dtype=np.uint32)
        return np.random.default_rng(words)
    if isinstance(random_state, np.random.SeedSequence):
        return np.random.default_rng(random_state)
    if isinstance(random_state, Integral) and 0 <= int(random_state) < 2**32:
        return np.random.default_rng(int(random_state))
    raise InvalidParameterError(
        "random_state must be None, an int in the range [0, 4294967295], a numpy RandomState, a Generator or a "
        f"SeedSequence. Got {random_state!r} instead."
    )
