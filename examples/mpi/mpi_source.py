"""A fit over the ranks of an MPI job: each rank holds rows of its own, and sees the same mixture.

    mpiexec -n 2 python examples/mpi/mpi_source.py

needs mpi4py and an MPI library (pip install mpi4py mpich). The source is twenty lines: statistics are summed by
allreduce, in the order of the ranks; rows for the start are gathered from all.
"""

import numpy as np
from mpi4py import MPI

import fastgmm
from fastgmm.sources import Reservoir, Source


class MPISource(Source):
    """The rows (n, D) that each rank of a communicator holds."""

    def __init__(self, rows, comm=MPI.COMM_WORLD):
        self.rows, self.comm = rows, comm
        self.n_features, self.dtype = rows.shape[1], rows.dtype

    def accumulate(self, constants, *, pivot=None):
        mine = fastgmm.accumulate(self.rows, constants, pivot=pivot)
        return self.comm.allreduce(mine, op=MPI.SUM)

    def sample(self, n_rows, rng):
        mine = Reservoir(n_rows, np.random.default_rng([int(rng.integers(2**63)), self.comm.rank]))
        mine.add(self.rows)
        whole, *others = self.comm.allgather(mine)
        for other in others:
            whole.merge(other)
        return whole.source()


def main():
    comm = MPI.COMM_WORLD
    rng = np.random.default_rng(comm.rank)
    rows = rng.normal(size=(10_000, 2)) + rng.choice([-4.0, 4.0], 10_000)[:, None]
    result = fastgmm.fit(MPISource(rows, comm), 2, random_state=0)
    assert len({mixture.means.tobytes() for mixture in comm.allgather(result.mixture)}) == 1  # equal bits on all ranks
    gathered = comm.gather(rows)
    if comm.rank == 0:
        whole = fastgmm.fit(np.concatenate(gathered), 2, random_state=0)
        np.testing.assert_allclose(result.mixture.means, whole.mixture.means, rtol=1e-10)
        print(f"{comm.size} ranks, {len(rows) * comm.size} rows: log-likelihood {result.lower_bound:.6f} per row")


if __name__ == "__main__":
    main()
