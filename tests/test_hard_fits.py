"""Random fits of data that have no honest optimum: with a policy on collapse every one ends, and ends well.

`python tests/test_hard_fits.py 10000 [first seed]` makes as many as one likes.
"""

import sys
import warnings

import numpy as np
import pytest
import reference
from reference_structures import STRUCTURES

from fastgmm import ConvergenceWarning
from fastgmm import covariance as covariances
from fastgmm.fitting import run

FAMILIES = (*reference.FAMILIES, *reference.FAMILIES, *(name for name in STRUCTURES if covariances.get(name).coupled))
POLICIES = ("floor", "reseed", "drop")
TROUBLES = ("duplicates", "constant features", "rank deficient", "few rows", "outlier", "as many components", "grid")


def hard_rows(rng):
    """Rows (N, D) with one to three troubles, at some scale and offset; and a number of components."""
    N, D, K = int(rng.integers(2, 60)), int(rng.integers(1, 7)), int(rng.integers(1, 9))
    troubles = rng.choice(TROUBLES, size=rng.integers(1, 4), replace=False).tolist()
    if "few rows" in troubles:
        N, D = int(rng.integers(2, 8)), int(rng.integers(4, 12))
    centres = rng.standard_normal((3, D)) * rng.choice([0.0, 1.0, 30.0])
    X = centres[rng.integers(3, size=N)] + rng.standard_normal((N, D))
    if "grid" in troubles:
        X = np.round(X)
    if "duplicates" in troubles:
        X[rng.random(N) < 0.6] = X[0]
    if "rank deficient" in troubles and D > 1:
        X[:, -1] = X[:, 0] - 2 * X[:, D // 2]
    if "constant features" in troubles:
        X[:, rng.random(D) < 0.5] = rng.choice([0.0, 1.0, -3.5])
    if "outlier" in troubles:
        X[rng.integers(N)] += 10.0 ** rng.uniform(1, 9)
    X += rng.choice([0.0, 0.0, 1.0, 1e6])
    if rng.random() < 0.5 and X.any():
        X *= 10.0 ** rng.choice([rng.uniform(-6, 6), rng.uniform(-150, 150)]) / np.abs(X).max()
    K = N if "as many components" in troubles else min(K, N)
    return X, K


def hard_fit(seed):
    """One random fit: rows and result; where it must not fall, what rounding takes off the log-likelihood; the path."""
    rng = np.random.default_rng(seed)
    X, K = hard_rows(rng)
    if rng.random() < 0.2 and 1e-12 < np.abs(X).max() < 1e12:
        X = X.astype(np.float32)
    weight = rng.integers(0, 3, len(X)).astype(float) if rng.random() < 0.2 else None
    if weight is not None and (weight > 0).sum() < max(K, 2):
        weight = None
    policy = str(rng.choice(POLICIES))
    options = {
        "covariance_type": str(rng.choice(FAMILIES)),
        "init_params": str(rng.choice(["kmeans", "k-means++", "random", "random_from_data"])),
        "covariance_floor": rng.choice([None, None, 1e-9, 1e-3]),
        "equal_weights": bool(rng.random() < 0.1),
        "n_init": int(rng.integers(1, 3)),
        "tol": float(rng.choice([0.0, 1e-3])),
        "acceleration": rng.choice([None, "lbfgs", "squarem"]),
        "stopping": str(rng.choice(["gain", "aitken"])),
    }
    paths = [[], []]  # of each start, what every iteration led to
    result = run(
        *(X, K),
        on_collapse=policy,
        reg_covar=0.0,
        max_iter=30,
        random_state=seed,
        sample_weight=weight,
        callback=lambda state: paths[state.init].append(state.parameters),
        **options,
    )
    if policy != "floor" or X.dtype == np.float32:
        return X, result, None, None
    return X, result, 64 * np.finfo(np.float64).eps, paths[result.best_init]


def condition(family, parameters):
    """The largest condition of the correlations of a component; no covariance may be indefinite."""
    worst = 1.0
    for covariance in covariances.get(family).dense_covariances(parameters.covariances, *parameters.means.shape):
        deviations = np.sqrt(np.diagonal(covariance))
        values = np.linalg.eigvalsh(covariance / deviations / deviations[:, None])
        assert values[0] > 0
        worst = max(worst, values[-1] / values[0])
    return worst


def assert_ends_well(X, result, fall, path):
    mixture = result.mixture
    K, D = mixture.means.shape
    assert result.n_failed_inits == 0
    assert result.n_iter <= 30
    for name in ("weights", "means", "covariances", "precisions_cholesky"):
        assert np.isfinite(getattr(mixture, name)).all(), name
    assert condition(mixture.covariance_type, mixture) < np.inf
    assert (mixture.weights >= 0).all()
    assert abs(mixture.weights.sum(dtype=np.float64) - 1) <= 8 * K * np.finfo(mixture.weights.dtype).eps
    assert np.isfinite(result.lower_bounds).all()
    assert np.isfinite(mixture.predict_proba(X)).all()
    if fall is None:
        return
    bounds = np.array(result.lower_bounds)
    allowed = fall * np.abs(bounds).max(initial=0.0)
    for i in np.flatnonzero(np.diff(bounds) < -allowed):
        # A covariance is factorised to eps relative to its largest correlations; the smallest have that much more.
        rounding = max(condition(mixture.covariance_type, parameters) for parameters in path[i : i + 2])
        assert bounds[i + 1] >= bounds[i] - allowed - 64 * np.finfo(np.float64).eps * D * rounding


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_hard_fits_end_well(first):
    for seed in range(first, first + 50):
        with np.errstate(all="raise", under="ignore"):
            assert_ends_well(*hard_fit(seed))


def test_a_thin_component_of_equal_volume_ends_well():
    assert_ends_well(*hard_fit(62545))


@pytest.mark.long
def test_many_hard_fits_end_well():
    for seed in range(400, 1200):
        assert_ends_well(*hard_fit(seed))


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    n_fits, first_seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    failures = 0
    for seed in range(first_seed, first_seed + n_fits):
        try:
            assert_ends_well(*hard_fit(seed))
        except Exception as error:
            failures += 1
            print(f"seed {seed}: {error!r}"[:300])
    print(f"{n_fits} fits, {failures} failures")
    sys.exit(failures > 0)
