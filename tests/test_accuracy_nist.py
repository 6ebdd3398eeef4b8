"""NIST StRD univariate summary statistics NumAcc1 to NumAcc4: certified digits of the standard deviation (promise 9).

The data are given by formula in https://www.itl.nist.gov/div898/strd/univ/homepage.html; the certified standard
deviation divides by N - 1. What the last two data sets can give is limited by how their rows round to float64.
"""

import math

import numpy as np
import pytest
import reference

from fastgmm.fitting import run

NUM_ACC = {
    # name: (rows, certified mean, certified standard deviation, digits promised)
    "NumAcc1": (np.array([10000001.0, 10000003.0, 10000002.0]), 10000002.0, 1.0, 14),
    "NumAcc2": (np.array([1.2] + 500 * [1.1, 1.3]), 1.2, 0.1, 13),
    "NumAcc3": (np.array([1000000.2] + 500 * [1000000.1, 1000000.3]), 1000000.2, 0.1, 9),
    "NumAcc4": (np.array([10000000.2] + 500 * [10000000.1, 10000000.3]), 10000000.2, 0.1, 8),
}


def digits(value, certified):
    """Log relative error: the number of correct significant digits, at most 15."""
    error = abs(value - certified) / abs(certified)
    return 15.0 if error == 0 else min(15.0, -math.log10(error))


@pytest.mark.parametrize("family", reference.FAMILIES)
@pytest.mark.parametrize("name", NUM_ACC)
def test_standard_deviation_has_its_certified_digits(name, family):
    rows, mean, deviation, promised = NUM_ACC[name]
    result = run(rows[:, None], 1, covariance_type=family, reg_covar=0.0, tol=0, max_iter=2)
    variance = float(np.ravel(result.mixture.covariances)[0]) * len(rows) / (len(rows) - 1)
    assert digits(math.sqrt(variance), deviation) >= promised
    assert digits(float(result.mixture.means[0, 0]), mean) >= 14
