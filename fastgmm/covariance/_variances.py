"""Algebra that diag and spherical share: arrays of variances."""

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError

__all__ = ["factor_of_inverse", "from_precisions"]


def factor_of_inverse(variances):
    """Return 1 / sigma; raise IllDefinedCovarianceError for the first component without positive, finite variances."""
    good = (variances > 0) & (variances < np.inf)
    if not good.all():
        component = int(np.argwhere(~good)[0][0])
        raise IllDefinedCovarianceError(component, variances.dtype == np.float32)
    return 1 / np.sqrt(variances)


def from_precisions(precisions, name):
    """Return variances and 1 / sigma of precisions; raise ValueError if one is not positive."""
    if not ((precisions > 0) & (precisions < np.inf)).all():
        raise ValueError(f"'{name}' should be positive")
    return 1 / precisions, np.sqrt(precisions)
