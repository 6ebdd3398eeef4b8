"""Equal fits from every source, crossed with structures, weights, labels, acceleration, noise, prior; -rP: a table."""

import itertools

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from problems import no_convergence_warning

import fastgmm
from fastgmm import covariance
from fastgmm.distributed import DaskSource
from fastgmm.sources import BatchSource

N, D, K = 5000, 3, 3
NAMES = [name for name in covariance.names() if name not in ("E", "V")]


def rows_and_weights():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D)) + rng.choice([-5.0, 0.0, 5.0], N)[:, None]
    return X, rng.integers(0, 3, N).astype(float)


def some_known(X):
    """Components of a fifth of the rows, in another order than that of their means."""
    near = np.argmin(np.abs(X.mean(axis=1)[:, None] - [5.0, -5.0, 0.0]), axis=1)
    return np.where(np.random.default_rng(1).random(N) < 0.2, near, -1)


def places(folder, X, w, known=None):
    """The same rows in every kind of source; to the bit or, added up in another order, up to rounding."""
    import dask.array

    np.save(folder / "rows.npy", X)
    columns = {f"x{j}": X[:, j] for j in range(D)} | ({} if w is None else {"w": w})
    columns |= {} if known is None else {"y": known}
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "rows.parquet", row_group_size=999)
    cuts = [0, 10, 1234, N]
    beside = [None if a is None else [a[i:j] for i, j in itertools.pairwise(cuts)] for a in (w, known)]
    parts = [X[i:j] for i, j in itertools.pairwise(cuts)]
    if known is not None:
        batches = list(zip(parts, beside[0] or [None] * len(parts), beside[1], strict=True))
    else:
        batches = parts if w is None else list(zip(parts, beside[0], strict=True))
    mapped, lazy = np.load(folder / "rows.npy", mmap_mode="r"), dask.array.from_array(X, chunks=(1300, D))
    columns = {"weights": None if w is None else "w", "labels": None if known is None else "y"}
    yield "memory map", True, BatchSource(mapped, w, known_labels=known, max_memory="200 MB")
    yield "Parquet", True, BatchSource(folder / "rows.parquet", **columns)
    yield "batches", True, BatchSource(batches)
    yield "Dask", False, DaskSource(lazy, w, known_labels=known)


OPTIONS = {
    "plain": {},
    "accelerated": {"acceleration": "squarem"},
    "noise": {"noise": True},
    "noise of a volume": {"noise": 20.0**D},
    "prior": {"prior": "conjugate"},
    "noise, prior, accelerated": {"noise": True, "prior": "conjugate", "acceleration": "lbfgs"},
}


def agree(place, exact, found, whole):
    """A fit is that of an array to the bit, or up to rounding."""
    if exact:
        assert found == whole, place
    assert found.lower_bound == pytest.approx(whole.lower_bound, rel=1e-11), place
    np.testing.assert_allclose(found.mixture.means, whole.mixture.means, rtol=1e-7, atol=1e-9)
    if whole.mixture.noise is not None:
        assert found.mixture.noise.weight == pytest.approx(whole.mixture.noise.weight, rel=1e-7), place
        assert found.mixture.noise.log_volume == pytest.approx(whole.mixture.noise.log_volume, rel=1e-13), place


@pytest.mark.parametrize("labelled", [False, True])
def test_a_few_crossings(tmp_path, labelled):
    X, w = rows_and_weights()
    known = some_known(X) if labelled else None
    options = {"random_state": 0, "max_iter": 3, "tol": 0.0, **OPTIONS["noise, prior, accelerated"]}
    with no_convergence_warning():
        whole = fastgmm.fit(X, K, sample_weight=w, known_labels=known, **options)
        assert whole.mixture.noise is not None
        for place, exact, source in places(tmp_path, X, w, known):
            agree(place, exact, fastgmm.fit(source, K, **options), whole)


@pytest.mark.long
@pytest.mark.parametrize(
    ("beside", "option"),
    [
        ("", "plain"),
        *(("weights", option) for option in OPTIONS),
        ("labels", "plain"),
        ("weights, labels", "noise, prior, accelerated"),
    ],
)
def test_every_source_gives_the_fit_of_an_array(tmp_path, beside, option):
    X, w = rows_and_weights()
    known = some_known(X) if "labels" in beside else None
    w = w if "weights" in beside else None
    options = {"random_state": 0, "max_iter": 4, "tol": 0.0, **OPTIONS[option]}
    for name in NAMES:
        with no_convergence_warning():
            whole = fastgmm.fit(X, K, covariance_type=name, sample_weight=w, known_labels=known, **options)
            row = [f"{name:10s}"]
            for place, exact, source in places(tmp_path, X, w, known):
                found = fastgmm.fit(source, K, covariance_type=name, **options)
                agree((name, place), exact, found, whole)
                row.append(f"{place} {'bits' if found == whole else 'rounding'}")
        print(" | ".join(row))
