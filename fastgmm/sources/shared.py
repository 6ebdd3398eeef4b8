"""Passes that several fits share: the rows are read once for all that wait for them.

Fits that run beside each other, each in a thread of its own, ask for a pass and wait. When all of them wait the rows
are gone through once, and each gets its own statistics, of the bits that it would have had alone. So fits need not know
of each other.
"""

import threading

from fastgmm.sources.base import Source

__all__ = ["SharedPasses"]


class SharedPasses(Source):
    """The rows of another source, for several fits at a time.

    Parameters
    ----------
    source : Source
        Whose `together` says what is read once.
    """

    def __init__(self, source):
        self._source, self._turn = source, threading.Condition()
        self._n_fits, self._waiting = 0, []
        self.dtype, self.n_features = source.dtype, source.n_features
        self.takes_gaps, self.column_names = source.takes_gaps, getattr(source, "column_names", None)

    def expect(self, n_fits):
        """Count that many fits more among those that are waited for, or less; each asks from a thread of its own."""
        with self._turn:
            self._n_fits += n_fits
            self._turn.notify_all()  # the others may all be waiting now

    def accumulate(self, constants, *, pivot=None):
        """Return the Statistics of all rows under a mixture: see `Source.accumulate`."""
        if pivot is not None:
            return self._alone("accumulate", constants, pivot=pivot)
        return self._asked("accumulate", constants)

    def score(self, constants):
        """Return the Scores of all rows under a mixture: see `Source.score`."""
        return self._asked("score", constants)

    def _asked(self, name, constants):
        """Return what a pass makes, when all fits wait for one."""
        if self._n_fits <= 0:
            return self._alone(name, constants)
        mine = _Asked(name, constants)
        with self._turn:
            self._waiting.append(mine)
            while not mine.is_done:
                if len(self._waiting) >= self._n_fits:
                    self._pass()
                else:
                    self._turn.wait()
        if mine.error is not None:
            raise mine.error
        return mine.made

    def _pass(self):
        """Go through the rows for all that wait."""
        asked, self._waiting = self._waiting, []
        try:
            found = self._source.together([(each.name, each.constants) for each in asked])
            for each, made in zip(asked, found, strict=True):
                each.made = made
        except Exception:  # whose it is shows where each has a pass of its own
            for each in asked:
                try:
                    each.made = getattr(self._source, each.name)(each.constants)
                except Exception as error:
                    each.error = error
        except BaseException as error:
            for each in asked:
                each.error = error
        for each in asked:
            each.is_done = True
        self._turn.notify_all()

    def _alone(self, name, *args, **options):
        """Return what a method of the source makes, while nobody else reads."""
        with self._turn:
            return getattr(self._source, name)(*args, **options)

    @property
    def has_gaps(self):
        """Whether values are missing of rows with positive weight."""
        with self._turn:
            return self._source.has_gaps

    @property
    def gives_rows(self):
        """Whether the source has a `sum_over`."""
        return self._source.gives_rows

    @property
    def n_unobserved(self):
        """Number of rows with positive weight of which nothing was observed."""
        with self._turn:
            return self._source.n_unobserved

    @property
    def n_named(self):
        """Number of components that known labels name."""
        with self._turn:
            return self._source.n_named

    @property
    def n_known(self):
        """Number of rows with positive weight whose component is known."""
        with self._turn:
            return self._source.n_known

    def unknown(self):
        """Return the source of the rows whose component is not known: see `Source.unknown`."""
        rest = self._alone("unknown")
        if rest is None:
            return None
        rest = SharedPasses(rest)
        rest._turn = self._turn
        return rest

    def only(self, fold_of_row, fold, *, inside):
        """Return the source of the rows of one fold, or of all others, which are read while nobody else reads."""
        rest = SharedPasses(self._alone("only", fold_of_row, fold, inside=inside))
        rest._turn = self._turn
        return rest

    @property
    def gives_folds(self):
        """Whether the source has an `only`."""
        return self._source.gives_folds

    def with_known(self, labels):
        """Return labels with those of rows that are known in their places: see `Source.with_known`."""
        return self._alone("with_known", labels)

    def _first_pass(self):
        with self._turn:
            return self._source.moments(), self._source.n_rows

    def reserve(self, kind, n_components, n_start_rows=0, rank=0, acceleration=None):
        """Take note that a mixture will be fitted: see `Source.reserve`."""
        self._alone("reserve", kind, n_components, n_start_rows, rank, acceleration)

    def sample(self, n_rows, rng):
        """Return a sample of the rows: see `Source.sample`."""
        return self._alone("sample", n_rows, rng)

    def cluster(self, n_clusters, rng):
        """Return candidates for centres of k-means, or None: see `Source.cluster`."""
        return self._alone("cluster", n_clusters, rng)

    def accumulate_nearest(self, kind, centres):
        """Return the Statistics of all rows, each given to the nearest of some centres: see `Source.cluster`."""
        return self._alone("accumulate_nearest", kind, centres)

    def accumulate_all(self, kind, point):
        """Return the Statistics of all rows as one component: see `Source.accumulate_all`."""
        return self._alone("accumulate_all", kind, point)

    def sum_over(self, function, n_rows=1):
        """Return the sum of what a function makes of parts of the rows: see `Source.sum_over`."""
        return self._alone("sum_over", function, n_rows)

    def map_rows(self, function, width, dtype):
        """Return what a function makes of every row: see `Source.map_rows`."""
        return self._alone("map_rows", function, width, dtype)


class _Asked:
    """What a fit waits for: the name of a method, and a mixture for it."""

    def __init__(self, name, constants):
        self.name, self.constants = name, constants
        self.made, self.error, self.is_done = None, None, False
