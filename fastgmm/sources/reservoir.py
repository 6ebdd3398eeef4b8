"""A sample of rows that come by, of a size stated beforehand.

Row i of weight w_i gets the key e_i / w_i with e_i exponential; the rows of the smallest keys are the sample, which is
that of drawing without replacement in proportion to the weights (Efraimidis and Spirakis 2006, Inform. Process. Lett.
97:181). Keys need no total, so reservoirs of parts can be merged.

Rows whose component is known may be few, and starts need them. So they and the others are drawn apart: all that are
known stay, or as many as make half of the sample if there are more.
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
        self._seen = np.zeros((2, 2))  # number and weight of the rows that came by, not known and known
        self._kept = None  # keys (n,), places (n,), weights (n,), labels (n,), rows (n, D)

    def add(self, rows, weights=None, labels=None):
        """Let rows (n, D) come by, of positive weights (n,) or one, of known labels (n,), -1 for others, or none."""
        keys = self._rng.exponential(size=len(rows))
        if weights is None:
            weights = np.ones(len(rows))
        else:
            with np.errstate(over="ignore", divide="ignore"):
                keys = keys / weights
        if labels is None:
            labels = np.full(len(rows), -1)
        places = self.n_seen + np.arange(len(rows))
        self.n_seen += len(rows)
        self._seen += [(known.sum(), weights[known].sum()) for known in (labels < 0, labels >= 0)]
        arrived = keys, places, weights, labels, rows
        if self._kept is not None and len(self._kept[0]) == self.n_rows:
            better = np.zeros(len(rows), dtype=bool)
            for known, room in zip((False, True), self._rooms(), strict=True):
                kept = self._kept[0][(self._kept[3] >= 0) == known]
                limit = np.inf if len(kept) < room else kept.max(initial=-np.inf)
                better |= ((labels >= 0) == known) & (keys < limit)
            arrived = [a[better] for a in arrived]
        self._keep(*arrived)

    def merge(self, other):
        """Let the rows of another reservoir come by, after those of this one."""
        self._seen = self._seen + other._seen
        if other._kept is not None:
            keys, places, *others = other._kept
            self._keep(keys, self.n_seen + places, *others)
        self.n_seen += other.n_seen

    def _rooms(self):
        """Return how many rows are kept of those that are not known and of those that are: less as more came by."""
        half, (others, known) = self.n_rows // 2, self._seen[:, 0].astype(int)
        return max(self.n_rows - half, self.n_rows - known), max(half, self.n_rows - others)

    def _keep(self, *more):
        """Keep the smallest keys of what was kept and more; those that go give their places to those that come."""
        if self._kept is None:
            self._kept = [np.empty((0, *a.shape[1:]), a.dtype) for a in more]
        n_free = self.n_rows - len(self._kept[0])
        if n_free:
            self._kept = [np.concatenate([mine, a[:n_free]]) for mine, a in zip(self._kept, more, strict=True)]
            more = [a[n_free:] for a in more]
        if not len(more[0]):
            return
        keys, labels = (np.concatenate([self._kept[i], more[i]]) for i in (0, 3))
        stays = np.zeros(len(keys), dtype=bool)
        known = labels >= 0
        for rows, room in zip((~known, known), self._rooms(), strict=True):
            rows = np.flatnonzero(rows)
            stays[rows if len(rows) <= room else rows[np.argpartition(keys[rows], room)[:room]]] = True
        go, come = np.flatnonzero(~stays[: self.n_rows]), np.flatnonzero(stays[self.n_rows :])
        self._kept = [np.require(mine, np.result_type(mine, a), "W") for mine, a in zip(self._kept, more, strict=True)]
        for mine, a in zip(self._kept, more, strict=True):
            mine[go] = a[come]

    def source(self, *, n_threads=None):
        """Return the sample as a source: all rows with their weights if no more came by, else each of weight one.

        Where some are known, those that are and those that are not have the weight of all that came by.

        Returns
        -------
        ArraySource
        """
        rows, weights, labels = self.drawn()
        return ArraySource(rows, weights, known_labels=labels, n_threads=n_threads)

    def drawn(self):
        """Return the rows (n, D) of the sample, their weights (n,) or None, and labels (n,) or None: see `source`."""
        _, places, weights, labels, rows = self._kept
        order = np.argsort(places, kind="stable")
        known = labels >= 0
        if self.n_seen > self.n_rows:
            weights = self._shares(known, weights) if known.any() and not known.all() else None
        elif not (weights != 1).any():
            weights = None
        return rows[order], None if weights is None else weights[order], labels[order] if known.any() else None

    def _shares(self, known, weights):
        """Return weights (n,) of rows that stand for all that came by and are known, or are not known, as they are."""
        weights = weights.copy()
        for rows, (n_seen, weight) in zip((~known, known), self._seen, strict=True):
            if rows.sum() < n_seen:
                weights[rows] = weight / rows.sum()
        return weights
