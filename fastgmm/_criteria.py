"""Criteria: what a fitted mixture is worth once its parameters are paid for, and how sure its clusters are.

With log-likelihood l of all rows, m free parameters, n rows (their total weight w_i summed), responsibilities r_ik,
entropy E = -sum_i w_i sum_k r_ik log r_ik and doubt M = -sum_i w_i log max_k r_ik:

    bic    -2 l + m log n                    Schwarz 1978, Annals of Statistics 6:461
    aic    -2 l + 2 m                        Akaike 1974, IEEE Transactions on Automatic Control 19:716
    aicc   aic + 2 m (m + 1) / (n - m - 1)   Hurvich and Tsai 1989, Biometrika 76:297
    sabic  -2 l + m log((n + 2) / 24)        Sclove 1987, Psychometrika 52:333
    icl    bic + 2 M                         Biernacki, Celeux and Govaert 2000, IEEE PAMI 22:719, of partitions
    icl_entropy  bic + 2 E                   the same with the entropy, McLachlan and Peel 2000, section 6.10
    nec    A / (l - l_1), 1 for K = 1        Celeux and Soromenho 1996, J. Classification 13:195; Biernacki et al. 1999

where l_1 is the log-likelihood of one component of the same structure. Noise, k = 0, is one component more in E and M,
and beside that one component too. A is the entropy among the clusters, noise aside,

    A = -sum_i w_i sum_{k > 0} r_ik log(r_ik / (1 - r_i0)),

which is E without noise. The rest of E, whether a row is noise, is there with one cluster as well; A is not. So NEC
stays what it is made of: l = C + A, where C is the log-likelihood with clusters assigned and noise left open, and C = l
for one cluster. Lower is better. mclust turns bic and icl round: `mclust_bic` and `mclust_icl` are theirs, higher is
better. `cv` is minus two log-likelihoods of rows that were held out of the fit (Smyth 2000, Statistics and Computing
10:63), on the scale of the others.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ._errors import InvalidParameterError

__all__ = ["CRITERIA", "Criterion", "Entropies", "Measured", "check_criterion", "xlogx"]


class Entropies(NamedTuple):
    """How uncertain the components of rows are, in nats.

    Attributes
    ----------
    entropy : float
        -sum_i w_i sum_k r_ik log r_ik, noise among the components.
    doubt : float
        -sum_i w_i log max_k r_ik.
    among : float
        The entropy among the clusters, noise aside: `entropy` where there is no noise.
    """

    entropy: float
    doubt: float
    among: float


@dataclasses.dataclass(frozen=True)
class Measured:
    """What criteria are made of. What was not measured is NaN, and so is every criterion that needs it.

    Attributes
    ----------
    log_likelihood : float
        Of all rows together, in nats.
    n_parameters : int
        Free parameters of the model.
    n_rows : float
        Number of rows, or their total weight.
    n_components : int
    entropy : float
        -sum_i w_i sum_k r_ik log r_ik, in nats.
    doubt : float
        -sum_i w_i log max_k r_ik, in nats.
    of_one : float
        Log-likelihood of a single component of the same structure, beside the same noise.
    held_out : float
        Log-likelihood of all rows, each under a fit of others.
    among : float
        Entropy among the clusters, noise aside, in nats.
    """

    log_likelihood: float
    n_parameters: int
    n_rows: float
    n_components: int = 1
    entropy: float = math.nan
    doubt: float = math.nan
    of_one: float = math.nan
    held_out: float = math.nan
    among: float = math.nan


@dataclasses.dataclass(frozen=True)
class Criterion:
    """A measure of models.

    Attributes
    ----------
    name : str
        As users write it.
    title : str
        As people read it.
    formula : callable
        From a `Measured` to the value.
    needs : str
        Attributes of `Measured` beyond log-likelihood and sizes: "", "entropy", "of_one" or "held_out".
    higher_is_better : bool
        Of mclust's criteria only.

    Examples
    --------
    >>> CRITERIA["aic"](Measured(log_likelihood=-100.0, n_parameters=5, n_rows=50))
    210.0
    >>> CRITERIA["mclust_bic"].loss(-5.0)
    5.0
    """

    name: str
    title: str
    formula: Callable[[Measured], float]
    needs: str = ""
    higher_is_better: bool = False

    def __call__(self, measured: Measured) -> float:
        """The value of the criterion."""
        return float(self.formula(measured))

    def loss(self, value: float) -> float:
        """The value with the sign by which lower is better."""
        return -value if self.higher_is_better else value

    @property
    def direction(self) -> str:
        """What is better, in words."""
        return "higher is better" if self.higher_is_better else "lower is better"


def _bic(of: Measured) -> float:
    return -2.0 * of.log_likelihood + of.n_parameters * math.log(of.n_rows)


def _aic(of: Measured) -> float:
    return -2.0 * of.log_likelihood + 2.0 * of.n_parameters


def _aicc(of: Measured) -> float:
    left = of.n_rows - of.n_parameters - 1
    return _aic(of) + 2.0 * of.n_parameters * (of.n_parameters + 1) / left if left > 0 else math.inf


def _sabic(of: Measured) -> float:
    return -2.0 * of.log_likelihood + of.n_parameters * math.log((of.n_rows + 2) / 24)


def _icl(of: Measured) -> float:
    return _bic(of) + 2.0 * of.doubt


def _icl_entropy(of: Measured) -> float:
    return _bic(of) + 2.0 * of.entropy


def _nec(of: Measured) -> float:
    if of.n_components == 1:
        return 1.0
    gain = of.log_likelihood - of.of_one
    return of.among / gain if gain > 0 or math.isnan(gain) else math.inf


CRITERIA = {
    criterion.name: criterion
    for criterion in (
        Criterion("bic", "BIC", _bic),
        Criterion("aic", "AIC", _aic),
        Criterion("aicc", "AICc", _aicc),
        Criterion("sabic", "sample-size-adjusted BIC", _sabic),
        Criterion("icl", "ICL", _icl, "entropy"),
        Criterion("icl_entropy", "ICL by entropy", _icl_entropy, "entropy"),
        Criterion("nec", "NEC", _nec, "of_one"),
        Criterion("cv", "cross-validated -2 log-likelihood", lambda of: -2.0 * of.held_out, "held_out"),
        Criterion("mclust_bic", "BIC, mclust's sign", lambda of: -_bic(of), "", True),
        Criterion("mclust_icl", "ICL, mclust's sign", lambda of: -_icl(of), "entropy", True),
    )
}
"""Criteria by name; the first is the default."""


def check_criterion(name: object) -> Criterion:
    """Return the criterion of a name.

    Raises
    ------
    InvalidParameterError
        If there is none of that name.
    """
    if not isinstance(name, str) or name not in CRITERIA:
        raise InvalidParameterError(f"criterion must be one of {', '.join(map(repr, CRITERIA))}, got {name!r}")
    return CRITERIA[name]


def xlogx(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return x log x, zero where x is: the smallest positive number inside the logarithm sees to that."""
    return values * np.log(np.maximum(values, np.finfo(np.float64).tiny))
