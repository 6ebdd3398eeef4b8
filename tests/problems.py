"""Rows, models and starts shared by the tests, and small helpers to run them."""

import contextlib
import warnings
from pathlib import Path

import numpy as np
import reference

from fastgmm.engine import KernelConstants, simd
from fastgmm.fitting import run

FAITHFUL = Path(__file__).parents[1] / "examples" / "old_faithful.csv"
EPS = {np.dtype("float64"): np.finfo(np.float64).eps, np.dtype("float32"): np.finfo(np.float32).eps}


# ----------------------------------------------------------------------------------------------- data


def rows(seed, n_rows, n_features, n_components, *, separation=3.0):
    """Rows of a mixture of stretched clusters, ``separation`` standard deviations apart, shape (N, D)."""
    rng = np.random.default_rng(seed)
    centres = separation * rng.standard_normal((n_components, n_features))
    stretch = np.eye(n_features) + 0.4 * rng.standard_normal((n_features, n_features)) / np.sqrt(n_features)
    labels = rng.integers(n_components, size=n_rows)
    return centres[labels] + rng.standard_normal((n_rows, n_features)) @ stretch


def on_grid(X, bits=20):
    """X rounded to multiples of 2**-bits, so that adding a large offset is exact."""
    return np.round(X * 2.0**bits) / 2.0**bits


def spd(rng, n_features, condition):
    """Random symmetric positive definite matrix of the given condition, unit geometric mean of the eigenvalues."""
    Q = np.linalg.qr(rng.standard_normal((n_features, n_features)))[0]
    values = condition ** (np.linspace(-0.5, 0.5, n_features) if n_features > 1 else np.zeros(1))
    matrix = (Q * values) @ Q.T
    return 0.5 * (matrix + matrix.T)


def model(family, seed, n_features, n_components, *, separation=3.0, condition=10.0):
    """Random model of the family as ``reference.Model``."""
    rng = np.random.default_rng((seed, n_features, n_components))
    weights = rng.dirichlet(np.full(n_components, 5.0))
    means = separation * rng.standard_normal((n_components, n_features))
    if family == "full":
        covariances = np.stack([spd(rng, n_features, condition) for _ in range(n_components)])
    elif family == "tied":
        covariances = spd(rng, n_features, condition)
    else:
        shape = (n_components, n_features) if family == "diag" else (n_components,)
        covariances = condition ** rng.uniform(-0.5, 0.5, shape)
    return reference.Model(weights, means, covariances)


def start_from_rows(family, X, n_components, seed=0):
    """A usable start for any data: rows as means, the spread of all rows as covariance; ``reference.Model``."""
    rng = np.random.default_rng(seed)
    X = np.asarray(X, dtype=np.float64)
    D = X.shape[1]
    means = X[rng.choice(len(X), n_components, replace=False)]
    total = np.atleast_2d(np.cov(X.T)) + 1e-3 * np.diag(X.var(axis=0)) + 1e-6 * np.eye(D)
    scale = rng.uniform(0.3, 0.6, n_components)
    if family == "full":
        covariances = scale[:, None, None] * total
    elif family == "tied":
        covariances = 0.5 * total
    elif family == "diag":
        covariances = scale[:, None] * np.diag(total)
    else:
        covariances = scale * np.diag(total).mean()
    return reference.Model(rng.dirichlet(np.full(n_components, 10.0)), means, covariances)


def start_of(family, start):
    """The model as the three ``*_init`` arguments."""
    K, D = start.means.shape
    precisions = reference.precisions_of(family, start.covariances, K, D)
    return {"weights_init": start.weights, "means_init": start.means, "precisions_init": precisions}


# ----------------------------------------------------------------------------------------------- engine


def random_constants(kind, seed, n_features, n_components):
    """Kernel constants with well-conditioned random factors, as ``reference.Constants``."""
    rng = np.random.default_rng((seed, n_features, n_components))
    K, D = n_components, n_features
    diagonal = {"full": (K, D), "rotated": (D,), "diagonal": (K, D), "spherical": (K,)}[kind]
    factors = rng.uniform(0.5, 1.5, diagonal)
    if kind in ("full", "rotated"):
        below = np.tril(rng.standard_normal((*diagonal, D)), -1) * (0.5 / np.sqrt(D))
        factors = factors[..., None] * np.eye(D) + below
    means = 2.0 * rng.standard_normal((K, D))
    bare = reference.Constants(kind, means, factors, np.zeros(K), rng.standard_normal(D))
    log_det = np.log(np.diagonal(reference.dense_factors(bare), axis1=1, axis2=2)).sum(axis=1)
    weights = rng.dirichlet(np.full(K, 3.0))
    return bare._replace(log_norm=np.log(weights) - 0.5 * D * reference.LOG_2PI + log_det)


def rows_near(constants, seed, n_rows, dtype=np.float64):
    """Rows scattered about the components of ``constants``."""
    rng = np.random.default_rng((seed, n_rows))
    K, D = constants.means.shape
    X = constants.means[rng.integers(K, size=n_rows)] + 1.5 * rng.standard_normal((n_rows, D))
    return X.astype(dtype)


def kernel_constants(constants, dtype=np.float64):
    """``reference.Constants`` as the engine's own."""
    return KernelConstants(**constants._asdict(), dtype=np.dtype(dtype))


@contextlib.contextmanager
def at_level(name):
    """Run the body at a SIMD level, then go back."""
    before = simd.active()
    simd.use(name)
    try:
        yield
    finally:
        simd.use(before)


# ----------------------------------------------------------------------------------------------- fits


def em(family, X, start, n_iter, **options):
    """FitResult after exactly ``n_iter`` EM iterations (tol 0, reg_covar 0 unless given) from a ``reference.Model``."""
    settings = {"reg_covar": 0.0, "tol": 0.0, "max_iter": n_iter, **start_of(family, start), **options}
    return run(X, len(start.means), covariance_type=family, **settings)


@contextlib.contextmanager
def no_convergence_warning():
    """Silence warnings about too few iterations, ours and scikit-learn's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(did not converge|Number of distinct).*")
        yield


def same_bits(a, b):
    """True if two arrays have the same dtype, shape and bytes."""
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def assert_same_parameters(a, b):
    """Two mixtures, or two Parameters, agree bit for bit."""
    for name in ("weights", "means", "covariances", "precisions_cholesky"):
        assert same_bits(getattr(a, name), getattr(b, name)), f"{name} differ"


FITTED_ARRAYS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")


def assert_same_fit(a, b):
    """Two fitted estimators have the same attributes, bit for bit, but for the bounds on the way."""
    for name in FITTED_ARRAYS:
        assert same_bits(getattr(a, name), getattr(b, name)), f"{name} differ"
    assert (a.converged_, a.lower_bound_) == (b.converged_, b.lower_bound_)


def assert_close_parameters(family, ours, theirs, tolerance):
    """Weights absolutely, means in standard deviations and covariances in products of them, all to ``tolerance``."""
    K, D = np.asarray(theirs.means).shape
    dense = reference.dense_covariances(family, theirs.covariances, K, D)
    sigma = np.sqrt(np.diagonal(dense, axis1=1, axis2=2))
    mine = reference.dense_covariances(family, ours.covariances, K, D)
    assert np.abs(ours.weights - theirs.weights).max() <= tolerance
    assert (np.abs(ours.means - theirs.means) / sigma).max() <= tolerance
    assert (np.abs(mine - dense) / (sigma[:, :, None] * sigma[:, None, :])).max() <= tolerance
