"""Equal fits from every source, crossed with structures, weights, acceleration; pytest -rP prints the table."""

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


@pytest.mark.long
@pytest.mark.parametrize("acceleration", [None, "squarem"])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_source_gives_the_fit_of_an_array(tmp_path, weighted, acceleration):
    X, w = rows_and_weights()
    w = w if weighted else None
    options = {"random_state": 0, "max_iter": 6, "tol": 0.0, "acceleration": acceleration}
    for name in NAMES:
        with no_convergence_warning():
            whole = fastgmm.fit(X, K, covariance_type=name, sample_weight=w, **options)
            row = [f"{name:10s}"]
            for place, exact, source in places(tmp_path, X, w):
                found = fastgmm.fit(source, K, covariance_type=name, **options)
                if exact:
                    assert found == whole, (name, place)
                assert found.lower_bound == pytest.approx(whole.lower_bound, rel=1e-11), (name, place)
                np.testing.assert_allclose(found.mixture.means, whole.mixture.means, rtol=1e-7, atol=1e-9)
                row.append(f"{place} {'bits' if found == whole else 'rounding'}")
        print(" | ".join(row))
