"""A sample of a source: rows in proportion to their weights, in their order."""

import numpy as np
import pytest

from fastgmm.sources import ArraySource

N = 5000


@pytest.fixture(scope="module")
def X():
    return np.arange(float(N))[:, None]


def drawn(source):
    """Return the rows of a source over the numbers 0..N-1, and their weights."""
    weights = source.weights()
    return source.rows_at(np.arange(source.n_rows))[:, 0], np.ones(source.n_rows) if weights is None else weights


def test_rows_come_in_order_one_from_each_stretch(X):
    rows, weights = drawn(ArraySource(X).sample(500, np.random.default_rng(0)))
    np.testing.assert_array_equal(rows // 10, np.arange(500))
    np.testing.assert_array_equal(weights, np.ones(500))


def test_every_row_is_as_likely(X):
    counts = np.zeros(N)
    for seed in range(400):
        counts[drawn(ArraySource(X).sample(500, np.random.default_rng(seed)))[0].astype(int)] += 1
    assert abs(counts.reshape(10, -1, 10).sum(axis=(0, 1)) - 20_000).max() < 700  # 5 standard deviations


def test_rows_are_drawn_in_proportion_to_their_weights(X):
    weight = np.ones(N)
    weight[100] = N + 1  # half of all weight, and stretches end where rows end
    rows, weights = drawn(ArraySource(X, weight).sample(1000, np.random.default_rng(0)))
    assert weights.sum() == 1000
    assert weights[rows == 100] == pytest.approx(500, abs=1)
    assert set(weights[rows != 100]) == {1.0}


def test_rows_of_weight_zero_are_never_drawn_and_change_nothing(X):
    keep = np.arange(N) % 3 > 0
    rows, weights = drawn(ArraySource(X, keep * 1.0).sample(700, np.random.default_rng(1)))
    alone, same = drawn(ArraySource(X[keep], np.ones(keep.sum())).sample(700, np.random.default_rng(1)))
    np.testing.assert_array_equal(rows, alone)
    np.testing.assert_array_equal(weights, same)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gathered_rows_are_the_same_rows(X, dtype):
    source = ArraySource(X.astype(dtype), (np.arange(N) % 3) * 1.0).sample(300, np.random.default_rng(2))
    copied = source.gathered()
    assert copied.dtype == dtype
    assert copied.n_all_rows == source.n_rows
    for ours, theirs in zip(drawn(copied), drawn(source), strict=True):
        np.testing.assert_array_equal(ours, theirs)
