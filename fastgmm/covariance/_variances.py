"""Algebra that diag and spherical share: arrays of variances."""

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.engine._linalg import inverse_roots

__all__ = ["factor_of_inverse", "from_precisions"]


def factor_of_inverse(variances):
    """Return 1 / sigma; raise IllDefinedCovarianceError for the first component without positive, finite variances."""
    try:
        return inverse_roots(variances).astype(variances.dtype, copy=False)
    except IllDefinedCovarianceError as error:
        raise IllDefinedCovarianceError(error.component, variances.dtype == np.float32) from None


def from_precisions(precisions, name):
    """Return variances and 1 / sigma of precisions; raise ValueError if one is not positive."""
    if not ((precisions > 0) & (precisions < np.inf)).all():
        raise ValueError(f"'{name}' should be positive")
    return 1 / precisions, np.sqrt(precisions)
