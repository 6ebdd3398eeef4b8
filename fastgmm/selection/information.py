"""Standard errors of parameters from the observed information.

With s_i the derivative of log p(x_i) by the free parameters, the information of the rows is estimated by

    I = sum_i w_i s_i s_i^T,

the empirical information matrix (McLachlan and Peel 2000, Finite Mixture Models, section 2.15; Meilijson 1989, J. R.
Statist. Soc. B 51:127), and the covariance of the estimates by its inverse. By Fisher's identity s_i is the expectation
of the derivative for complete data:

    by pi_k:     r_ik / pi_k - r_iK / pi_K                             k = 1 .. K - 1
    by mu_k:     r_ik Lambda_k d_ik                                    d_ik = x_i - mu_k,  Lambda_k = Sigma_k^-1
    by Sigma_k:  r_ik G_ik,  G_ik = (Lambda_k d_ik d_ik^T Lambda_k - Lambda_k) / 2,

of which an off-diagonal element counts twice, being there twice. If covariances are equal their derivatives add up; of
diag and spherical ones they are the diagonal of G, and its trace.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm import covariance
from fastgmm._errors import InvalidParameterError
from fastgmm.engine import check_sample_weight
from fastgmm.mixture import Mixture

from .checks import check_mixture, check_rows

__all__ = ["standard_errors"]

_VALUES = 1 << 21  # derivatives held at once


def standard_errors(
    X: Any, mixture: Any, *, sample_weight: npt.ArrayLike | None = None
) -> dict[str, npt.NDArray[np.float64]]:
    """Return standard errors of the parameters of a fit, from the empirical information.

    They hold for many rows and components that are apart; otherwise `bootstrap_parameters` says more.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features)
        Rows that the mixture was fitted to.
    mixture : Mixture, fitted estimator or FitResult
        A fit that has converged, of the families full, tied, diag or spherical.
    sample_weight : array-like of shape (n_rows,), default=None
        Weights that are counts.

    Returns
    -------
    errors : dict
        "weights" (K,), "means" (K, D) and "covariances" in the shape of the family.

    Raises
    ------
    InvalidParameterError
        If the family is another one.
    ValueError
        If the information is singular: there are more parameters than rows, or components that are equal.

    References
    ----------
    McLachlan and Peel (2000), Finite Mixture Models, section 2.15.

    Examples
    --------
    >>> import fastgmm, numpy as np
    >>> X = np.random.default_rng(0).normal(size=(400, 1))
    >>> mixture = fastgmm.fit(X, reg_covar=0.0).mixture
    >>> bool(abs(standard_errors(X, mixture)["means"][0, 0] - 1 / 20) < 0.005)
    True
    """
    mixture = check_mixture(mixture, "a standard error")
    if mixture.covariance_type not in covariance.SKLEARN:
        raise InvalidParameterError(
            f"standard errors from the information are for the families {', '.join(covariance.SKLEARN)}, got "
            f"{mixture.covariance_type!r}: use bootstrap_parameters"
        )
    rows = check_rows(X, mixture)
    given = check_sample_weight(sample_weight, rows.n_rows)
    kept = given.indices(rows.n_rows)
    w = np.ones(len(kept)) if given.values is None else given.values
    n_free = mixture.n_parameters
    information = np.zeros((n_free, n_free))
    step = max(1, _VALUES // (n_free + mixture.n_components * mixture.n_features**2))
    for first in range(0, len(kept), step):
        part = np.asarray(rows.array[kept[first : first + step]], dtype=np.float64)
        s = scores(part, mixture)
        information += (w[first : first + step, None] * s).T @ s
    try:
        spread = np.linalg.inv(information)
    except np.linalg.LinAlgError:
        spread = np.full_like(information, np.nan)
    variances = np.diagonal(spread)
    if not (variances > 0).all():
        raise ValueError(
            f"the information of {len(kept)} rows about {n_free} parameters is singular: fit fewer components or a "
            "family with fewer parameters"
        )
    return _in_shape(spread, mixture)


def scores(X: npt.NDArray[np.float64], mixture: Mixture) -> npt.NDArray[np.float64]:
    """Return the derivatives (n, m) of log p(x_i) by the free parameters: weights but the last, means, covariances.

    Covariance matrices come as their lower triangles, row by row.

    Parameters
    ----------
    X : (n, D) array
    mixture : Mixture
    """
    n, (K, D) = len(X), mixture.means.shape
    r = mixture.predict_proba(X).astype(np.float64)
    ratio = r / mixture.weights
    dense = mixture.family.dense_covariances(mixture.covariances, K, D).astype(np.float64)
    inverse = np.linalg.inv(dense)
    offsets = X[:, None] - mixture.means  # (n, K, D)
    pulled = np.einsum("kij,nkj->nki", inverse, offsets)
    by_means = r[:, :, None] * pulled
    if mixture.covariance_type in ("diag", "spherical"):
        by_variance = r[:, :, None] * (pulled**2 - np.diagonal(inverse, axis1=1, axis2=2)) / 2  # (n, K, D)
        by_covariances = by_variance if mixture.covariance_type == "diag" else by_variance.sum(axis=2)
    else:
        below = np.tril_indices(D)
        twice = np.where(below[0] == below[1], 0.5, 1.0)
        outer = pulled[:, :, below[0]] * pulled[:, :, below[1]] - inverse[:, below[0], below[1]]
        by_covariances = r[:, :, None] * twice * outer
        if mixture.covariance_type == "tied":
            by_covariances = by_covariances.sum(axis=1)
    return np.concatenate(
        [ratio[:, :-1] - ratio[:, -1:], by_means.reshape(n, -1), by_covariances.reshape(n, -1)], axis=1
    )


def _in_shape(spread: npt.NDArray[np.float64], mixture: Mixture) -> dict[str, npt.NDArray[np.float64]]:
    """Return the standard errors of parameters whose covariance is given, in the shapes of the mixture."""
    K, D = mixture.means.shape
    errors = np.sqrt(np.diagonal(spread))
    last = np.sqrt(max(spread[: K - 1, : K - 1].sum(), 0.0))  # the weights have sum one
    covariances = errors[K - 1 + K * D :]
    if mixture.covariance_type in ("full", "tied"):
        below = np.tril_indices(D)
        matrices = np.empty((K if mixture.covariance_type == "full" else 1, D, D))
        matrices[:, below[0], below[1]] = covariances.reshape(len(matrices), -1)
        matrices[:, below[1], below[0]] = matrices[:, below[0], below[1]]
        covariances = matrices
    return {
        "weights": np.append(errors[: K - 1], last),
        "means": errors[K - 1 : K - 1 + K * D].reshape(K, D),
        "covariances": covariances.reshape(mixture.covariances.shape),
    }
