"""Leaving components out where they cannot count changes no bit, and the order of rows that serves it no result."""

import numpy as np
import problems
import pytest
from problems import at_level, same_bits

from fastgmm import Mixture
from fastgmm.engine import accumulate, simd
from fastgmm.fitting import arrangement, run
from fastgmm.sources import ArraySource

FIELDS = ("n", "s", "S")


def mixture_and_rows(seed, n_features, n_components, *, separation, condition, n_rows=700, sort=True):
    """A full mixture and rows drawn from it, (N, D), those of a component together."""
    model = problems.model("full", seed, n_features, n_components, separation=separation, condition=condition)
    rng = np.random.default_rng(seed)
    labels = rng.choice(n_components, size=n_rows, p=model.weights)
    factors = np.linalg.cholesky(model.covariances)
    normal = rng.standard_normal((n_rows, n_features))
    X = model.means[labels] + np.einsum("nij,nj->ni", factors[labels], normal)
    return Mixture(model.weights, model.means, model.covariances), X[np.argsort(labels)] if sort else X


def same_statistics(one, other):
    return one.log_likelihood == other.log_likelihood and all(
        same_bits(getattr(one, name), getattr(other, name)) for name in FIELDS
    )


@pytest.mark.parametrize("level", simd.levels())
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_features", [1, 2, 4, 5, 16, 17, 33])
def test_no_bit_depends_on_it(level, dtype, n_features):
    for seed, (n_components, separation, condition) in enumerate(
        [(1, 1, 1), (3, 1, 10), (3, 1e3, 10), (40, 1, 10), (40, 20, 1), (40, 50, 1e6), (40, 1e4, 1e8), (17, 10, 1e4)]
    ):
        mixture, X = mixture_and_rows(
            seed, n_features, n_components, separation=separation, condition=condition, sort=seed % 3 > 0
        )
        X = X.astype(dtype)
        X[::97] *= 1e3  # a few rows that belong to nobody
        weight = np.random.default_rng(seed).uniform(0, 2, len(X)) * (np.arange(len(X)) % 5 > 0)
        with at_level(level):
            constants = mixture.constants(dtype)
            for options in ({}, {"sample_weight": weight}):
                dense = accumulate(X, constants, **options)
                assert same_statistics(accumulate(X, constants, sparse=True, **options), dense)


@pytest.mark.parametrize("distance", [1e8, 1e150, 1e200])
def test_rows_whose_distance_overflows_leave_nobody_out(distance):
    mixture, X = mixture_and_rows(5, 3, 8, separation=30.0, condition=10.0)
    X[40:45] *= distance
    constants = mixture.constants()
    assert same_statistics(accumulate(X, constants, sparse=True), accumulate(X, constants))


def test_component_of_weight_zero_gets_nothing():
    means = np.arange(40.0)[:, None] * [100.0, 1.0]
    weights = np.r_[0.0, np.full(39, 1 / 39)]
    mixture = Mixture(weights, means, np.broadcast_to(np.eye(2), (40, 2, 2)))
    X = np.repeat(means, 10, axis=0) + 0.1
    stats = accumulate(X, mixture.constants(), sparse=True)
    assert stats.n[0] == 0
    assert same_statistics(stats, accumulate(X, mixture.constants()))


# ----------------------------------------------------------------------------------------------- order of rows

K, D, N = 32, 4, 32_000


@pytest.fixture(scope="module")
def separated():
    """Rows of 32 components far apart, in no order."""
    rng = np.random.default_rng(8)
    centres = rng.normal(scale=30.0, size=(K, D))
    return centres[rng.integers(K, size=N)] + rng.standard_normal((N, D))


def fit(X, **options):
    means = X[np.random.default_rng(3).choice(len(X), K, replace=False)]
    options = {"means_init": means, "init_params": "random_from_data", "random_state": 0, "tol": 0.0, **options}
    return run(X, K, **{"max_iter": 4, **options})


def test_like_rows_are_put_beside_like(separated):
    found = arrangement.arranged(ArraySource(separated), "full", K)
    rows = found.rows_at(np.arange(N))
    steps = np.linalg.norm(np.diff(rows, axis=0), axis=1)
    assert np.mean(steps > 20) < 0.01
    np.testing.assert_array_equal(np.sort(rows[:, 0]), np.sort(separated[:, 0]))


@pytest.mark.parametrize(
    ("kind", "n_components", "change"),
    [
        ("full", K, lambda X: X * 0.01 + np.random.default_rng(0).standard_normal(X.shape)),  # they overlap
        ("full", K - 1, lambda X: X),
        ("full", K, lambda X: X[: 1000 * K - 1]),
        ("full", K, lambda X: X[:, :3]),
        ("full", K, np.ones_like),
        ("diagonal", K, lambda X: X),
        ("rotated", K, lambda X: X),
    ],
    ids=["overlap", "few components", "few rows", "few features", "all rows alike", "diagonal", "rotated"],
)
def test_rows_stay_where_it_would_not_pay(separated, kind, n_components, change):
    source = ArraySource(change(separated))
    assert arrangement.arranged(source, kind, n_components) is source


def test_results_do_not_depend_on_the_order(separated, monkeypatch):
    weight = np.random.default_rng(1).uniform(0.5, 2, N)
    weight[:500] = 0
    X = np.r_[separated, separated[:1000]]
    weight = np.r_[weight, np.ones(1000)]
    one = fit(X, sample_weight=weight, labels=True)
    monkeypatch.setattr(arrangement, "MIN_COMPONENTS", K + 1)
    other = fit(X, sample_weight=weight, labels=True)
    for name in ("weights", "means", "covariances"):
        a, b = getattr(one.mixture, name), getattr(other.mixture, name)
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_allclose(one.lower_bounds, other.lower_bounds, rtol=1e-13)


def test_a_continued_fit_visits_its_rows_as_before(separated):
    whole = fit(separated, max_iter=5)
    first = fit(separated, max_iter=2)
    rest = run(separated, K, start=first.mixture.parameters, progress=first.progress, tol=0.0, max_iter=3)
    problems.assert_same_parameters(rest.mixture, whole.mixture)
