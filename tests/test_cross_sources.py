"""Equal fits from every source, crossed with structures, weights, acceleration, noise, prior; -rP prints the table."""

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


def places(folder, X, w):
    """The same rows in every kind of source; to the bit or, added up in another order, up to rounding."""
    import dask.array

    np.save(folder / "rows.npy", X)
    columns = {f"x{j}": X[:, j] for j in range(D)} | ({} if w is None else {"w": w})
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "rows.parquet", row_group_size=999)
    cuts = [0, 10, 1234, N]
    batches = [X[i:j] if w is None else (X[i:j], w[i:j]) for i, j in itertools.pairwise(cuts)]
    yield "memory map", True, BatchSource(np.load(folder / "rows.npy", mmap_mode="r"), w, max_memory="200 MB")
    yield "Parquet", True, BatchSource(folder / "rows.parquet", weights=None if w is None else "w")
    yield "batches", True, BatchSource(batches)
    yield "Dask", False, DaskSource(dask.array.from_array(X, chunks=(1300, D)), w)


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


def test_a_few_crossings(tmp_path):
    X, w = rows_and_weights()
    options = {"random_state": 0, "max_iter": 3, "tol": 0.0, **OPTIONS["noise, prior, accelerated"]}
    with no_convergence_warning():
        whole = fastgmm.fit(X, K, sample_weight=w, **options)
        assert whole.mixture.noise is not None
        for place, exact, source in places(tmp_path, X, w):
            agree(place, exact, fastgmm.fit(source, K, **options), whole)


def test_known_labels_of_rows_that_come_in_blocks_are_refused(tmp_path):
    X, _ = rows_and_weights()
    labels = np.full(N, -1)
    for _, _, source in places(tmp_path, X, None):
        with pytest.raises(ValueError, match="known_labels"):
            fastgmm.fit(source, K, known_labels=labels)
    with pytest.raises(ValueError, match="known_labels needs the rows in an array, with max_memory=None"):
        fastgmm.fit(tmp_path / "rows.npy", K, known_labels=labels)


@pytest.mark.long
@pytest.mark.parametrize(("weighted", "option"), [(False, "plain"), *((True, option) for option in OPTIONS)])
def test_every_source_gives_the_fit_of_an_array(tmp_path, weighted, option):
    X, w = rows_and_weights()
    w = w if weighted else None
    options = {"random_state": 0, "max_iter": 4, "tol": 0.0, **OPTIONS[option]}
    for name in NAMES:
        with no_convergence_warning():
            whole = fastgmm.fit(X, K, covariance_type=name, sample_weight=w, **options)
            row = [f"{name:10s}"]
            for place, exact, source in places(tmp_path, X, w):
                found = fastgmm.fit(source, K, covariance_type=name, **options)
                agree((name, place), exact, found, whole)
                row.append(f"{place} {'bits' if found == whole else 'rounding'}")
        print(" | ".join(row))
