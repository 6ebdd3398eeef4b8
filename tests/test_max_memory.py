"""`max_memory` is a contract: what a process takes beyond the interpreter and its libraries stays under it."""

import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from fastgmm import Mixture
from fastgmm.sources import BatchSource

MB = 1 << 20

CODE = """
import json, warnings
import numpy as np, fastgmm, fastgmm.fitting
from fastgmm.sources import BatchSource, GappedBatchSource
warnings.simplefilter("ignore")
if {arrow}:
    import pyarrow.dataset, pyarrow.parquet

def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024

fastgmm.fit(np.eye(3), 1, max_memory="200 MB")  # what is loaded on first use
before = peak()
options = dict(covariance_type={name!r}, max_iter=2, tol=0, random_state=0, n_threads=2)
options.update(missing={missing!r}, noise={noise})
result = fastgmm.fit({X}, {K}, max_memory={limit}, **options)
Batches = BatchSource if {missing!r} == "raise" else GappedBatchSource
scored = result.mixture.score(Batches({X}, max_memory={limit}), n_threads=2)
# With gaps sums are added up chunk by chunk, and a fit that keeps room for more has smaller chunks: docs/missing.md.
assert abs(scored - result.lower_bound) <= {tolerance} * abs(scored)
print(json.dumps([peak() - before, result.lower_bound]))
"""


def taken(run_python, X, K, name, limit, arrow=False, missing="raise", noise=None):
    """Bytes that a fit takes in a fresh process beside the imported libraries, and its log-likelihood."""
    how = {"arrow": arrow, "missing": missing, "noise": noise, "tolerance": 0 if missing == "raise" else 1e-12}
    return json.loads(run_python(CODE.format(X=X, K=K, name=name, limit=limit, **how)))


def write_rows(path, n_rows, n_features):
    """An NPY file of float32 rows of two clusters, written a piece at a time."""
    rng = np.random.default_rng(0)
    part = rng.standard_normal((1 << 15, n_features), dtype=np.float32)
    part += rng.choice([-3, 3], len(part))[:, None]
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n_rows, n_features))
    for first in range(0, n_rows, len(part)):
        rows[first : first + len(part)] = part + np.float32(first / n_rows)
    rows.flush()


@pytest.mark.long  # sanitizers take memory of their own
def test_a_fit_of_a_file_larger_than_its_memory_keeps_to_it(run_python, tmp_path):
    write_rows(tmp_path / "rows.npy", 1 << 21, 20)  # 160 MB
    used, bound = taken(run_python, "np.load('rows.npy', mmap_mode='r')", 2, "full", 100 * MB)
    assert used < 100 * MB
    assert bound == taken(run_python, "'rows.npy'", 2, "full", 200 * MB)[1]


@pytest.mark.long
@pytest.mark.parametrize(
    ("K", "name", "limit"), [(2, "full", 200), (16, "full", 120), (8, "tied", 120), (8, "diag", 120)]
)
def test_a_file_many_times_larger_keeps_to_it(K, name, limit, run_python, tmp_path):
    write_rows(tmp_path / "rows.npy", 1 << 22, 32)  # 512 MB
    assert taken(run_python, "'rows.npy'", K, name, limit * MB)[0] < limit * MB


@pytest.mark.long
def test_the_box_of_noise_keeps_to_it(run_python, tmp_path):
    write_rows(tmp_path / "rows.npy", 1 << 21, 32)  # 256 MB
    assert taken(run_python, "'rows.npy'", 2, "diag", 130 * MB, noise=True)[0] < 130 * MB


@pytest.mark.long
@pytest.mark.parametrize("dictionary", [False, True])
def test_a_parquet_file_keeps_to_it(dictionary, run_python, tmp_path):
    write_rows(tmp_path / "rows.npy", 1 << 21, 40)
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    schema = pyarrow.schema({f"x{j}": "f4" for j in range(40)})
    with pyarrow.parquet.ParquetWriter(tmp_path / "rows.parquet", schema, use_dictionary=dictionary) as writer:
        for part in np.array_split(rows, 32):
            writer.write_table(pyarrow.table(dict(zip(schema.names, part.T, strict=True))))
    limit = 200 * MB
    assert taken(run_python, "'rows.parquet'", 2, "full", limit, arrow=True)[0] < limit


def test_a_mixture_that_is_scored_counts_too():
    X = np.random.default_rng(0).normal(size=(500, 40))
    K = 400
    mixture = Mixture(np.full(K, 1 / K), np.zeros((K, 40)), np.tile(np.eye(40), (K, 1, 1)))
    source = BatchSource([X], max_memory="100 MB")
    for asked in (mixture.score, lambda rows: rows.accumulate(mixture.constants())):
        with pytest.raises(
            ValueError, match=r"max_memory is 100 MB, but \d+ MB are needed .* and 400 components of 40"
        ):
            asked(source)
    assert np.isfinite(mixture.score(BatchSource([X], max_memory="1 GB")))
