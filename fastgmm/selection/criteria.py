"""Information criteria: what a log-likelihood is worth once its parameters are paid for. Lower is better."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

__all__ = ["CRITERIA", "Criterion"]


@dataclasses.dataclass(frozen=True)
class Criterion:
    """A measure of models, lower for better ones.

    Attributes
    ----------
    name : str
        As users write it.
    title : str
        As people read it.
    penalty : callable
        What one free parameter costs among so many rows (their total weight): ``penalty(n_rows) -> float``.

    Examples
    --------
    >>> CRITERIA["aic"](log_likelihood=-100.0, n_parameters=5, n_rows=50)
    210.0
    """

    name: str
    title: str
    penalty: Callable[[float], float]

    def __call__(self, log_likelihood: float, n_parameters: int, n_rows: float) -> float:
        """Minus two log-likelihoods, plus the penalty of every parameter.

        Parameters
        ----------
        log_likelihood : float
            Of all rows together, in nats.
        n_parameters : int
            Free parameters of the model.
        n_rows : float
            Number of rows, or their total weight.

        Returns
        -------
        value : float
            In nats, doubled as is the custom.
        """
        return -2.0 * log_likelihood + n_parameters * self.penalty(n_rows)


CRITERIA = {
    criterion.name: criterion
    for criterion in (
        Criterion("bic", "BIC", math.log),  # Schwarz 1978, Annals of Statistics 6, 461
        Criterion("aic", "AIC", lambda n_rows: 2.0),  # Akaike 1974, IEEE Transactions on Automatic Control 19, 716
    )
}
"""Criteria by name; the first is the default."""
