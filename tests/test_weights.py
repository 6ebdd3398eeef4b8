"""sample_weight means what repetition means (promises 21 to 26)."""

import numpy as np
import problems
import pytest
import reference
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgmm.fitting import run

N_ITER = 8
by_family = pytest.mark.parametrize("family", reference.FAMILIES)


def weighted_problem(family, seed=1):
    """Rows, integer weights from 0 to 4, and a start."""
    X = problems.rows(seed, 400, 3, 3)
    weight = np.random.default_rng(seed).integers(0, 5, len(X)).astype(float)
    return X, weight, problems.start_from_rows(family, X, 3)


@by_family
def test_integer_weights_are_repetition(family):
    """1e-12: the same sums, other summands."""
    X, weight, start = weighted_problem(family)
    weighted = problems.em(family, X, start, N_ITER, sample_weight=weight)
    repeated = problems.em(family, np.repeat(X, weight.astype(int), axis=0), start, N_ITER)
    problems.assert_close_parameters(family, weighted.mixture, repeated.mixture, 1e-12)
    np.testing.assert_allclose(weighted.lower_bounds, repeated.lower_bounds, rtol=1e-12)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(
    family=st.sampled_from(reference.FAMILIES),
    n_features=st.integers(1, 6),
    n_components=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_integer_weights_are_repetition(family, n_features, n_components, seed):
    X = problems.rows(seed, 120, n_features, n_components)
    weight = np.random.default_rng(seed).integers(1, 4, len(X))
    start = problems.start_from_rows(family, X, n_components, seed)
    weighted = problems.em(family, X, start, 3, sample_weight=weight, reg_covar=1e-3)
    repeated = problems.em(family, np.repeat(X, weight, axis=0), start, 3, reg_covar=1e-3)
    problems.assert_close_parameters(family, weighted.mixture, repeated.mixture, 1e-12)


@by_family
@pytest.mark.parametrize("init_params", ["given", "kmeans", "k-means++", "random", "random_from_data"])
def test_zero_weight_is_removal(family, init_params):
    """Bit for bit, the draws of the start included."""
    X, weight, start = weighted_problem(family)
    kept = weight > 0
    assert 0 < kept.sum() < len(X)
    if init_params == "given":
        options = problems.start_of(family, start)
    else:
        options = {"init_params": init_params, "random_state": 3}
    options |= {"covariance_type": family, "max_iter": N_ITER, "tol": 0}
    weighted = run(X, 3, sample_weight=weight, **options)
    removed = run(X[kept], 3, sample_weight=weight[kept], **options)
    problems.assert_same_parameters(weighted.mixture, removed.mixture)
    assert weighted.lower_bounds == removed.lower_bounds


@by_family
def test_given_labels_follow_their_rows_when_weightless_rows_go(family):
    X, weight, _ = weighted_problem(family)
    kept, labels = weight > 0, np.arange(len(X)) % 3
    options = {"covariance_type": family, "max_iter": 2, "tol": 0}
    for start in (labels, np.eye(3)[labels]):
        weighted = run(X, 3, sample_weight=weight, init_params=start, **options)
        removed = run(X[kept], 3, sample_weight=weight[kept], init_params=start[kept], **options)
        problems.assert_same_parameters(weighted.mixture, removed.mixture)


@by_family
@pytest.mark.parametrize("factor", [2.0**-40, 1e-3, 3.0, 1e6])
def test_all_weights_times_a_factor_change_nothing(family, factor):
    """The same parameters and the same log-likelihood per unit weight (promise 23)."""
    X, weight, start = weighted_problem(family)
    weight = weight + 0.25
    one = problems.em(family, X, start, N_ITER, sample_weight=weight)
    other = problems.em(family, X, start, N_ITER, sample_weight=factor * weight)
    problems.assert_close_parameters(family, other.mixture, one.mixture, 1e-12)
    np.testing.assert_allclose(other.lower_bounds, one.lower_bounds, rtol=1e-12)


@by_family
@pytest.mark.parametrize("factor", [1e-200, 1e-60, 1e60, 1e200])
def test_weights_keep_their_range_in_single_precision(family, factor):
    """Weights are float64 and no rows: what float32 can hold is not their limit; 1e-4 for float32 sums."""
    X, weight, start = weighted_problem(family)
    weight, X = weight + 0.25, X.astype(np.float32)
    one = problems.em(family, X, start, 3, sample_weight=weight)
    other = problems.em(family, X, start, 3, sample_weight=factor * weight)
    problems.assert_close_parameters(family, other.mixture, one.mixture, 1e-4)


@by_family
def test_unit_weights_are_no_weights(family):
    X, _, start = weighted_problem(family)
    plain = problems.em(family, X, start, N_ITER)
    ones = problems.em(family, X, start, N_ITER, sample_weight=np.ones(len(X)))
    problems.assert_close_parameters(family, ones.mixture, plain.mixture, 1e-12)
    started = {"n_components": 3, "covariance_type": family, "random_state": 0}
    assert run(X, sample_weight=np.ones(len(X)), **started) == run(X, **started)


@by_family
def test_splitting_a_row_into_fractions_changes_nothing(family):
    """Promise 25, 1e-12."""
    X, weight, start = weighted_problem(family)
    weight = weight + 1
    fractions = np.random.default_rng(2).dirichlet(np.ones(3), len(X))
    split = problems.em(
        family, np.repeat(X, 3, axis=0), start, N_ITER, sample_weight=(weight[:, None] * fractions).ravel()
    )
    whole = problems.em(family, X, start, N_ITER, sample_weight=weight)
    problems.assert_close_parameters(family, split.mixture, whole.mixture, 1e-12)


@by_family
def test_one_component_does_not_know_the_order_of_rows(family):
    """Promise 26 for K = 1, whatever the start draws."""
    X, weight, _ = weighted_problem(family)
    order = np.random.default_rng(3).permutation(len(X))
    options = {"covariance_type": family, "random_state": 4, "max_iter": 2, "tol": 0}
    one = run(X, 1, sample_weight=weight, **options)
    other = run(X[order], 1, sample_weight=weight[order], **options)
    problems.assert_close_parameters(family, other.mixture, one.mixture, 1e-12)


@pytest.mark.parametrize(
    "weight",
    [
        np.zeros(50),
        np.where(np.arange(50) == 7, -1.0, 1.0),
        np.where(np.arange(50) == 7, np.nan, 1.0),
        np.where(np.arange(50) == 7, np.inf, 1.0),
        np.ones(49),
        np.ones((50, 1)),
        np.where(np.arange(50) < 2, 1.0, 0.0),
        np.full(50, "heavy"),
        np.full(50, 1j),
    ],
    ids=("all zero", "negative", "NaN", "infinite", "short", "2-D", "fewer than components", "text", "complex"),
)
def test_bad_weights_are_refused_before_any_work(weight):
    """Promise 24; three components need three rows that count."""
    with pytest.raises((ValueError, TypeError)):
        run(problems.rows(1, 50, 2, 3), 3, sample_weight=weight, random_state=0)


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random_from_data"])
def test_starts_draw_repeated_permuted_rows_as_often_as_weighted_ones(init_params):
    """Promise 26 for K > 1: equal in distribution, by Kolmogorov and Smirnov over 200 seeds."""
    rng = np.random.default_rng(7)
    X = problems.rows(7, 60, 2, 3, separation=2.0)
    weight = np.where(X[:, 0] > np.median(X[:, 0]), 1, 20)
    repeated = rng.permutation(np.repeat(X, weight, axis=0))

    def bounds(rows, sample_weight, first_seed):
        options = {"covariance_type": "spherical", "init_params": init_params, "max_iter": 0}
        return [
            run(rows, 4, sample_weight=sample_weight, random_state=seed, **options).lower_bound
            for seed in range(first_seed, first_seed + 200)
        ]

    weighted, others = bounds(X, weight, 0), bounds(repeated, None, 1000)
    assert np.unique(weighted).size > 5
    assert scipy.stats.ks_2samp(weighted, others).pvalue > 0.01
