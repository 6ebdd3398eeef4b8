"""A sample of rows that come by, of a size stated beforehand.

Row i of weight w_i gets the key e_i / w_i with e_i exponential; the rows of the smallest keys are the sample, which is
that of drawing without replacement in proportion to the weights (Efraimidis and Spirakis 2006, Inform. Process. Lett.
97:181). Keys need no total, so reservoirs of parts can be merged.
"""

import numpy as np

from fastgmm.sources.array import ArraySource

__all__ = ["Reservoir"]


class Reservoir:
    """The n_rows rows of the smallest keys among those that came by.

    Parameters
    ----------
    n_rows : int
        Rows to keep.
    rng : numpy.random.Generator
        Gives each row its key, in the order in which rows come: how they are cut into parts does not matter.

    Examples
    --------
    >>> import numpy as np
    >>> reservoir = Reservoir(2, np.random.default_rng(0))
    >>> reservoir.add(np.arange(6.0).reshape(3, 2))
    >>> len(reservoir.source().rows_at(np.arange(2)))
    2
    """

    def __init__(self, n_rows, rng):
        self.n_rows, self.n_seen = n_rows, 0
        self._rng = rng
        self._kept = None  # keys (n,), places (n,), weights (n,), rows (n, D)

    def add(self, rows, weights=None):
        """Let rows (n, D) with positive weights (n,), or all of weight one, come by."""
        keys = self._rng.exponential(size=len(rows))
        if weights is None:
            weights = np.ones(len(rows))
        else:
            with np.errstate(over="ignore", divide="ignore"):
                keys = keys / weights
        places = self.n_seen + np.arange(len(rows))
        self.n_seen += len(rows)
        if self._kept is not None and len(self._kept[0]) == self.n_rows:
            better = np.flatnonzero(keys < self._kept[0].max())
            keys, places, weights, rows = keys[better], places[better], weights[better], rows[better]
        self._keep(keys, places, weights, rows)

    def merge(self, other):
        """Let the rows of another reservoir come by, after those of this one."""
        if other._kept is not None:
            keys, places, weights, rows = other._kept
            self._keep(keys, self.n_seen + places, weights, rows)
        self.n_seen += other.n_seen

    def _keep(self, *more):
        """Keep the smallest keys of what was kept and more."""
        joined = [np.array(a) for a in more]
        if self._kept is not None:
            joined = [np.concatenate(pair) for pair in zip(self._kept, more, strict=True)]
        if len(joined[0]) > self.n_rows:
            smallest = np.sort(np.argpartition(joined[0], self.n_rows)[: self.n_rows])
            joined = [a[smallest] for a in joined]
        self._kept = joined

    def source(self, *, n_threads=None):
        """Return the sample as a source: all rows with their weights if no more came by, else each of weight one.

        Returns
        -------
        ArraySource
        """
        rows, weights = self.drawn()
        return ArraySource(rows, weights, n_threads=n_threads)

    def drawn(self):
        """Return the rows (n, D) of the sample, and their weights (n,) or None: see `source`."""
        _, places, weights, rows = self._kept
        order = np.argsort(places, kind="stable")
        weighed = self.n_seen <= self.n_rows and (weights != 1).any()
        return rows[order], weights[order] if weighed else None
