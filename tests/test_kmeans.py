"""k-means, of few rows packed once and of many pass by pass, is what its plain twin is."""

import math

import numpy as np
import problems
import pytest
import reference_kmeans

from fastgmm.engine import simd
from fastgmm.fitting import kmeans
from fastgmm.sources import ArraySource

by_type = pytest.mark.parametrize("dtype", [np.float64, np.float32])
by_kind = pytest.mark.parametrize("kind", ["packed", "pass by pass"])


class PassByPass(ArraySource):
    """Rows over which every pass of k-means is made by itself."""

    def lloyd(self, centres, *, shift, **how):
        return None

    def seed(self, first, draws, *, shift):
        return None


KINDS = {"packed": ArraySource, "pass by pass": PassByPass}


class Known:
    """A generator whose draws are known: the first row, or what gives it among weights, and the candidates."""

    def __init__(self, first, share, draws):
        self.first, self.share, self.draws = first, share, draws

    def integers(self, n):
        return self.first

    def random(self, shape):
        return self.draws if shape == self.draws.shape else np.full(shape, self.share)


def assert_twin(X, n_clusters, kind, weights=None, rtol=1e-10, **options):
    """Seeds are those of the twin, and so is what Lloyd's algorithm makes of them."""
    source = KINDS[kind](X, weights)
    n_trials = 2 + int(math.log(n_clusters))
    first, draws = 1, np.random.default_rng(7).random((n_clusters - 1, n_trials))
    exact = np.asarray(X, dtype=np.float64)
    w = np.ones(len(X)) if weights is None else weights
    kept = w > 0
    exact, w = exact[kept], w[kept]
    want = exact[reference_kmeans.seed(exact, w, first, draws)]

    share = (w[0] + 0.5 * w[1]) / w.sum()
    seeds = kmeans.seed(source, n_clusters, Known(first, share, draws))
    np.testing.assert_array_equal(seeds, want)
    options = {"max_iter": 100, "gain": 1e-3} | options
    centres, labels, inertia = kmeans.lloyd(source, seeds, **options)
    want_centres, want_labels, want_inertia = reference_kmeans.lloyd(exact, w, want, **options)
    np.testing.assert_allclose(centres, want_centres, rtol=rtol, atol=rtol)
    np.testing.assert_array_equal(labels[kept], want_labels)
    assert (labels[~kept] == -1).all()
    assert inertia == pytest.approx(want_inertia, rel=rtol)


@by_type
@by_kind
@pytest.mark.parametrize("shape", [(1, 20, 1), (2, 301, 2), (5, 1500, 4), (9, 260, 17), (33, 1100, 3)], ids=str)
def test_is_its_twin(dtype, kind, shape):
    n_clusters, n_rows, n_features = shape
    X = problems.rows(1, n_rows, n_features, n_clusters).astype(dtype)
    assert_twin(X, n_clusters, kind, rtol=1e-10 if dtype == np.float64 else 1e-5)


@pytest.mark.parametrize("level", simd.levels())
def test_is_its_twin_at_every_level(level):
    with problems.at_level(level):
        assert_twin(problems.rows(2, 130, 3, 4), 4, "packed")


@by_kind
@pytest.mark.parametrize("options", [{"max_iter": 1}, {"max_iter": 2}, {"gain": 0.0}], ids=str)
def test_weights_and_options(kind, options):
    rng = np.random.default_rng(5)
    X = problems.rows(5, 400, 6, 3)
    assert_twin(X, 3, kind, rng.random(400) * (rng.random(400) < 0.8) * 1e-30, **options)
    assert_twin(X, 3, kind, **options)


def test_heavy_rows_that_change_clusters_leave_nothing_behind():
    X = np.array([[0.0], [0.1], [4.0], [4.5], [9.0]])
    weights = np.array([1.0, 1e-19, 1e-19, 1.0, 1e-19])
    start = np.array([[2.2], [4.4]])
    want = reference_kmeans.lloyd(X, weights, start, 10, 0.0)
    got = kmeans.lloyd(ArraySource(X, weights), start, gain=0.0)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-12, atol=1e-18)


@by_kind
def test_centres_that_lose_their_rows_go_to_the_farthest(kind):
    X = np.array([[0.0], [0.1], [0.25], [5.0], [7.0]])
    start = np.array([[0.1], [5.0], [100.0], [200.0]])
    centres, labels, inertia = kmeans.lloyd(KINDS[kind](X), start)
    want_centres, want_labels, want_inertia = reference_kmeans.lloyd(X, np.ones(5), start, 300, 1e-3)
    np.testing.assert_allclose(centres, want_centres, rtol=1e-12)
    np.testing.assert_array_equal(labels, want_labels)
    assert inertia == pytest.approx(want_inertia)
    assert inertia < 0.1


@by_kind
def test_rows_that_are_all_the_same_are_drawn_all_alike(kind):
    assert_twin(np.ones((40, 2)), 3, kind)


@by_kind
def test_draws_are_in_proportion_to_weight_and_distance(kind):
    X, weights = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([1.0, 4.0, 0.25, 2.0])  # masses 0, 4, 1, 18
    source = KINDS[kind](X, weights)
    for draw, want in ((0.0, 1), (0.17, 1), (0.18, 2), (0.21, 2), (0.22, 3), (1 - 1e-16, 3)):
        seeds = kmeans.seed(source, 2, Known(0, 0.0, np.full((1, 2), draw)))
        np.testing.assert_array_equal(seeds, X[[0, want]])


def test_rows_that_were_packed_about_one_point_serve_for_another():
    X = problems.rows(16, 200, 2, 3, separation=5.0)
    source = ArraySource(X)
    at_first = kmeans.lloyd(source, X[:3])
    again = kmeans.lloyd(source, X[:3], shift=np.array([100.0, -3.0]))
    np.testing.assert_allclose(again[0], at_first[0], rtol=1e-12)
    np.testing.assert_array_equal(again[1], at_first[1])


def test_layouts_change_no_bit():
    X = np.round(100 * problems.rows(14, 300, 3, 2))
    wide = np.zeros((600, 7))
    wide[::2, 1::2] = X
    zeros = np.repeat(X, 2, axis=0)
    layouts = {
        "strides": ArraySource(wide[::2, 1::2]),
        "columns": ArraySource(np.asfortranarray(X)),
        "swapped": ArraySource(X.astype(">f8")),
        "integers": ArraySource(X.astype(np.int32)),
        "weight zero": ArraySource(zeros, np.tile([1.0, 0.0], 300)),
    }
    for name, source in layouts.items():
        like = ArraySource(X, None if source.weights() is None else np.ones(300))
        want = kmeans.cluster(like, 4, np.random.default_rng(0))
        got = kmeans.cluster(source, 4, np.random.default_rng(0))
        assert problems.same_bits(got[0], want[0]), name
        np.testing.assert_array_equal(source.on_kept_rows(got[1]), want[1])


@pytest.mark.parametrize("n_rows", [16_000, 60_000])
def test_threads_change_no_bit(n_rows):
    X = problems.rows(15, n_rows, 16, 2)
    one, two = (kmeans.cluster(ArraySource(X, n_threads=n), 32, np.random.default_rng(0)) for n in (1, 2))
    for mine, theirs in zip(one, two, strict=True):
        assert problems.same_bits(mine, theirs)


def test_rows_are_packed_once_for_all_starts():
    source = ArraySource(problems.rows(3, 300, 2, 3))
    panels = []
    for seed in range(3):
        kmeans.cluster(source, 3, np.random.default_rng(seed))
        panels.append(source._panels(None))
    assert panels[0] is panels[1] is panels[2]
