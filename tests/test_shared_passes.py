"""Passes that several fits share: the bits of passes of their own, and fewer readings."""

import itertools
import threading

import dask
import dask.array
import numpy as np
import pytest
from gap_cases import with_gaps

from fastgmm import Mixture, select
from fastgmm.distributed import DaskSource, GappedDaskSource
from fastgmm.selection import Selection
from fastgmm.sources import ArraySource, BatchSource, GappedBatchSource, SharedPasses
from fastgmm.sources.chunks import Chunk, Recut

pytestmark = pytest.mark.usefixtures("no_cluster")

D = 2
RNG = np.random.default_rng(0)
X = RNG.normal(size=(150_000, D)) + RNG.choice([-4.0, 0.0, 4.0], 150_000)[:, None]
W = RNG.integers(0, 3, len(X)).astype(float)
FEW = X[:1500]
FAMILIES = ("full", "tied", "diag", "spherical", "VEI")


ASKED = [(what, family, K) for what in ("accumulate", "score") for family in ("full", "diag", "tied") for K in (1, 4)]


def asked():
    shapes = {"full": np.eye(D)[None], "diag": np.ones((1, D)), "tied": np.eye(D)}
    for what, family, K in ASKED:
        covariances = shapes[family] if family == "tied" else np.repeat(shapes[family], K, axis=0)
        mixture = Mixture(np.full(K, 1 / K), RNG.normal(size=(K, D)), covariances, family)
        yield what, mixture.constants(np.float64)


def ragged(*arrays):
    cuts = [0, 5, 30_000, 100_001, len(arrays[0])]
    return [tuple(a[i:j] for a in arrays) for i, j in itertools.pairwise(cuts)]


def in_partitions(X):
    return dask.array.from_array(X, chunks=((5, 29_995, 70_001, len(X) - 100_001), D))


GAPPED = with_gaps(X[:20_000], 0.1, np.random.default_rng(0))
SOURCES = {
    "batches": lambda: BatchSource([rows for (rows,) in ragged(X)]),
    "weights": lambda: BatchSource(ragged(X, W)),
    "gaps": lambda: GappedBatchSource([GAPPED[:7000], GAPPED[7000:]]),
    "no gaps": lambda: GappedBatchSource([X]),
    "Dask": lambda: DaskSource(in_partitions(X), W),
    "Dask with gaps": lambda: GappedDaskSource(dask.array.from_array(GAPPED, chunks=(7000, D))),
    "array": lambda: ArraySource(X, W),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("counted", [False, True])
def test_together_is_each_alone(name, counted, monkeypatch):
    source, many = SOURCES[name](), list(asked())
    if counted:
        source.moments()  # it is known then whether there are gaps
    alone = [getattr(source, what)(constants) for what, constants in many]
    monkeypatch.setattr(BatchSource, "_chunk_rows", lambda *_: 7001)  # no multiple of any group
    for found, expected in zip(source.together(many), alone, strict=True):
        assert found.log_likelihood == pytest.approx(expected.log_likelihood, rel=0 if name != "gaps" else 1e-12)
        assert found.total_weight == expected.total_weight
        if hasattr(expected, "S") and name != "gaps":
            for each in "nsS":
                np.testing.assert_array_equal(getattr(found, each), getattr(expected, each))


@pytest.mark.parametrize("sizes", [(3, 3, 3), (1, 1, 1, 1, 1), (7, 1, 13), (0, 2, 0, 9), (4,), ()])
def test_chunks_are_cut_anew(sizes):
    rows, seen = np.arange(sum(sizes), dtype=float)[:, None], []
    cut = Recut(4, lambda rows: seen.append([each.copy() for each in rows]))
    for i, j in itertools.pairwise(np.cumsum((0, *sizes))):
        cut.push(Chunk(rows[i:j], 2 * rows[i:j, 0], -rows[i:j, 0].astype(int)))
    cut.end()
    assert all(len(values) % 4 == 0 for values, *_ in seen[:-1])
    if seen:
        values, weights, labels = (np.concatenate(each) for each in zip(*seen, strict=True))
        np.testing.assert_array_equal(values, rows)
        np.testing.assert_array_equal(weights, 2 * rows[:, 0])
        np.testing.assert_array_equal(labels, -rows[:, 0])
    assert sum(len(values) for values, *_ in seen) == len(rows)


# ----------------------------------------------------------------------------------------------------------- selection

PLAN = {"n_components": [1, 2, 3], "covariance_type": FAMILIES, "random_state": 0}


class Counted:
    """Batches, and how often they were gone through."""

    def __init__(self, rows):
        self.rows, self.n_times = rows, 0

    def __call__(self):
        self.n_times += 1
        return iter([self.rows[:400], self.rows[400:]])


def test_selections_have_the_bits_of_passes_of_their_own_and_read_less():
    shared, alone = Counted(FEW), Counted(FEW)
    found = select(BatchSource(shared), **PLAN)
    expected = select(BatchSource(alone, max_memory="1 GB"), **PLAN)  # memory is counted, so that nothing is shared
    assert [each.mixture for each in found.candidates] == [each.mixture for each in expected.candidates]
    assert shared.n_times < 0.6 * alone.n_times


def test_a_cell_that_fails_stops_no_other():
    flat = np.column_stack([FEW[:, 0], np.zeros(len(FEW))])
    found, expected = select(BatchSource([flat]), **PLAN, reg_covar=0.0), select(flat, **PLAN, reg_covar=0.0)
    assert [each.error is None for each in found.candidates] == [each.error is None for each in expected.candidates]
    assert any(each.error is not None for each in found.candidates)
    assert any(each.error is None for each in found.candidates)


def test_an_interrupt_ends_all_and_the_search_goes_on():
    def stop(done, total, text):
        if done == 6:
            raise KeyboardInterrupt

    before = set(threading.enumerate())
    part = select(BatchSource([FEW]), **PLAN, progress=stop)
    assert isinstance(part, Selection)
    assert part.interrupted
    assert set(threading.enumerate()) <= before
    whole = select(BatchSource([FEW]), **PLAN, resume=part)
    assert [a.mixture for a in whole.candidates] == [b.mixture for b in select(BatchSource([FEW]), **PLAN).candidates]


def test_what_goes_wrong_in_a_pass_is_raised():
    class Breaks(Counted):
        def __call__(self):
            super().__call__()
            if self.n_times > 8:
                raise OSError("the disk is gone")
            return iter([self.rows])

    with pytest.raises(OSError, match="the disk is gone"):
        select(BatchSource(Breaks(FEW)), **PLAN)


def test_an_error_of_one_is_that_of_nobody_else():
    source = SharedPasses(BatchSource([FEW]))
    right, wrong = Mixture([1.0], [[0.0, 0.0]], [1.0], "spherical"), Mixture([1.0], [[0.0]], [1.0], "spherical")
    found = {}

    def fit(name, mixture):
        try:
            found[name] = source.score(mixture.constants(np.float64)).log_likelihood
        except ValueError as error:
            found[name] = error
        source.expect(-1)

    source.expect(2)
    threads = [threading.Thread(target=fit, args=args) for args in (("right", right), ("wrong", wrong))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found["right"] == pytest.approx(right.score(FEW) * len(FEW), rel=1e-12)
    assert isinstance(found["wrong"], ValueError)
