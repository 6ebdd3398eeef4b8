"""k-means in one compiled call takes the way that it takes pass by pass, to the bit."""

import numpy as np
import problems
import pytest

from fastgmm.engine import kmeans as at_once
from fastgmm.engine import simd
from fastgmm.fitting import kmeans
from fastgmm.sources import ArraySource

by_type = pytest.mark.parametrize("dtype", [np.float64, np.float32])


class PassByPass(ArraySource):
    """Rows over which every pass of k-means is made by itself."""

    def lloyd(self, centres, *, shift, **how):
        return None

    def seed(self, first, draws, *, shift):
        return None


class Counted(ArraySource):
    """Rows that count the passes of k-means that were made by themselves."""

    n_passes = 0

    def nearest(self, centres, *, shift, **wanted):
        self.n_passes += 1
        return super().nearest(centres, shift=shift, **wanted)


def assert_same(X, n_clusters, weights=None, **options):
    """Both ways lead to the same centres, labels and inertia; return the source that counted."""
    found = []
    for kind in (Counted, PassByPass):
        source = kind(X, weights, n_threads=1)
        seeds = kmeans.seed(source, n_clusters, np.random.default_rng(3))
        found.append((source, seeds, *kmeans.lloyd(source, seeds, **options)))
    (counted, *one), (_, *other) = found
    for mine, theirs in zip(one, other, strict=True):
        assert (mine is theirs is None) or problems.same_bits(mine, theirs)
    return counted


@by_type
@pytest.mark.parametrize("shape", [(1, 20, 1), (2, 301, 2), (5, 150, 4), (9, 260, 17)], ids=str)
def test_same_bits_as_pass_by_pass(dtype, shape):
    n_clusters, n_rows, n_features = shape
    X = problems.rows(1, n_rows, n_features, n_clusters).astype(dtype)
    assert assert_same(X, n_clusters).n_passes == 0


@pytest.mark.parametrize("level", simd.levels())
def test_same_bits_at_every_level(level):
    with problems.at_level(level):
        assert assert_same(problems.rows(2, 130, 3, 4), 4).n_passes == 0


@by_type
@pytest.mark.parametrize("options", [{"labels": False}, {"max_iter": 0}, {"max_iter": 2}, {"gain": 0.0}], ids=str)
def test_weights_strides_and_options(dtype, options):
    rng = np.random.default_rng(5)
    X = problems.rows(5, 400, 6, 3).astype(dtype)[::2, ::-2]
    weights = rng.random(200) * (rng.random(200) < 0.8) * 1e-30
    assert assert_same(X, 3, weights, **options).n_passes == 0
    assert assert_same(X, 3, **options).n_passes == 0


def test_centre_that_loses_its_rows_goes_pass_by_pass():
    X = np.array([[0.0], [0.1], [0.2], [5.0]])
    start = np.array([[0.1], [5.0], [100.0]])
    found = [kmeans.lloyd(kind(X), start) for kind in (ArraySource, PassByPass)]
    for mine, theirs in zip(*found, strict=True):
        assert problems.same_bits(mine, theirs)
    assert found[0][2] < 0.01


def test_rows_that_are_all_the_same_are_drawn_all_alike():
    X = np.ones((40, 2))
    assert assert_same(X, 3).n_rows == 40
    np.testing.assert_array_equal(at_once.positions(np.zeros(4), np.array([0.0, 0.3, 0.99, 1 - 1e-17])), [0, 1, 3, 3])


def test_positions_are_in_proportion_to_the_masses():
    heap = at_once.heap_of(np.array([1.0, 0.0, 2.0, 1.0]), np.array([1.0, 5.0, 0.5, 2.0]))
    np.testing.assert_array_equal(heap, [1.0, 1.0, 2.0, 4.0])
    np.testing.assert_array_equal(
        at_once.positions(heap, np.array([0.0, 0.2499, 0.25, 0.499, 0.5, 0.999])), [0, 0, 2, 2, 3, 3]
    )


@pytest.mark.parametrize(
    "X", [np.arange(60).reshape(20, 3) % 7, problems.rows(14, 50, 3, 2).astype(">f8")], ids=["int", "swapped"]
)
def test_rows_to_be_converted_go_pass_by_pass(X):
    assert assert_same(X, 2).n_passes > 0


def test_long_passes_go_by_themselves():
    assert assert_same(problems.rows(15, 60_000, 16, 2), 8, max_iter=2).n_passes > 0
