"""Algebra that full and tied share: symmetric positive definite matrices (K, D, D) and their factors."""

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.engine._linalg import inverse_cholesky

__all__ = [
    "check_symmetric",
    "factor_of_inverse",
    "from_precisions",
    "lift",
    "lower",
    "scale",
]

LIFTS = 10.0 ** np.arange(-15, -1)  # shares of the variances by which `lift` tries to make a matrix definite


def factor_of_inverse(covariances):
    """Return upper-triangular U_k with U_k U_k^T the inverse of covariance k, in the dtype of the covariances."""
    try:
        return inverse_cholesky(covariances).astype(covariances.dtype, copy=False)
    except IllDefinedCovarianceError as error:
        single = covariances.dtype == np.float32
        raise IllDefinedCovarianceError(error.component, single) from None


def lift(covariances):
    """Return covariances (K, D, D), made definite where they are not, and their factors: see `Family.lift`."""
    covariances, factors = covariances.copy(), np.empty_like(covariances)
    diagonal = np.arange(covariances.shape[1])
    for k, covariance in enumerate(covariances):
        variances = covariance[diagonal, diagonal].copy()
        for share in (0.0, *LIFTS * len(diagonal)):
            covariance[diagonal, diagonal] = variances * (1 + share)
            try:
                factors[k] = inverse_cholesky(covariance[None])[0]
                break
            except IllDefinedCovarianceError:
                continue
        else:
            raise IllDefinedCovarianceError(k)
    return covariances, factors


def from_precisions(precisions, name):
    """Return covariances and precisions_cholesky of precision matrices (K, D, D).

    With J the exchange of first and last, J Lambda J = L L^T gives Lambda = U U^T with U = J L J upper-triangular. The
    compiled factorisation gives the inverse of L, transposed, from which covariance and U follow without another solve:
    its rows and columns exchanged are the Cholesky factor of the covariance.

    Raises
    ------
    ValueError
        If a matrix is not symmetric and positive definite.
    """
    check_symmetric(precisions, name)
    flipped = precisions[:, ::-1, ::-1]
    try:
        inverse = inverse_cholesky(flipped)[:, ::-1, ::-1]  # J L^-T J, the lower factor C with covariance C C^T
    except IllDefinedCovarianceError:
        raise ValueError(f"'{name}' should be symmetric, positive-definite") from None
    covariances = inverse @ inverse.transpose(0, 2, 1)
    factors = np.linalg.inv(inverse).transpose(0, 2, 1)
    return covariances.astype(precisions.dtype), np.triu(factors).astype(precisions.dtype)


def check_symmetric(matrices, name, rounding=0.0):
    """Raise ValueError if matrices (K, D, D) are not symmetric, up to rounding: their own, and `rounding` if larger."""
    scale = np.abs(matrices).max(axis=(1, 2), keepdims=True)
    tolerance = 1e-4 if matrices.dtype == np.float32 else 1e-8
    # Beyond a hundredth it is a mistake, however large the numbers were that have been subtracted.
    allowed = np.maximum(tolerance * scale, np.minimum(rounding, 1e-2 * scale))
    if not (np.abs(matrices - matrices.transpose(0, 2, 1)) <= allowed).all():
        raise ValueError(f"'{name}' should be symmetric, positive-definite")


def lower(factors):
    """Return the kernels' W_k = U_k^T, C-contiguous float64: no copy of what `factor_of_inverse` returned."""
    return np.ascontiguousarray(factors.swapaxes(-1, -2), dtype=np.float64)


def scale(factor, normal):
    """Return standard normal rows (n, D) as rows of covariance (factor factor^T)^-1: solve x factor = normal."""
    return np.linalg.solve(factor.astype(np.float64).T, normal.T).T
