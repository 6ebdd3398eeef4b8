"""What a fit asks of the place where rows live. Nothing else of the library knows where that is.

A source has to say the type and number of the features, give `Source.accumulate` and draw `Source.sample`; the rest is
made of these. A source that can do better than that overrides it. docs/sources.md has one in twenty lines.
"""

from abc import ABC, abstractmethod

import numpy as np

from fastgmm.engine import KernelConstants, Scores

__all__ = ["NO_ROWS", "Source"]

NO_ROWS = "X has no rows of positive weight, but at least two are needed"
FAR = 1e3  # factor of cancellation from which moments are taken once more, about the mean


class Source(ABC):
    """Rows that are fitted by passes over them.

    Attributes
    ----------
    dtype : numpy.dtype
        The type that rows are computed in: float32 or float64.
    n_features : int
    n_named : int
        Components that known labels name, from 0 on; 0 where no row is known: see `ArraySource`.
    n_known : int
        Rows with positive weight whose component is known.
    has_gaps : bool
        Whether values are missing of rows with positive weight.
    n_unobserved : int
        Rows of which nothing was observed: see `MissingSource`.
    takes_gaps : bool
        Whether values may be missing.
    is_bounded : bool
        Whether memory is counted, so that there may not be enough for several mixtures at a time.
    """

    takes_gaps = False
    is_bounded = False
    has_gaps = False
    n_unobserved = 0
    n_named = n_known = 0
    dtype = np.dtype(np.float64)
    n_features: int

    @abstractmethod
    def accumulate(self, constants, *, pivot=None):
        """Return the Statistics of all rows under a mixture, one pass: see `fastgmm.accumulate`.

        Parameters
        ----------
        constants : KernelConstants
        pivot : (K, D) array, optional
            Points to take moments about instead of the means.

        Returns
        -------
        Statistics
            Of equal bits for equal constants.
        """

    def together(self, asked):
        """Return what several calls of `accumulate` and `score` return, in a list; rows may be read once for all.

        Parameters
        ----------
        asked : list of (str, KernelConstants)
            "accumulate" or "score", and the mixture.
        """
        return [getattr(self, name)(constants) for name, constants in asked]

    @abstractmethod
    def sample(self, n_rows, rng):
        """Return an ArraySource of about n_rows of the rows, drawn in proportion to their weights.

        If there are no more, it is of all of them, in their order.

        Starts are made of it. `fastgmm.sources.Reservoir` draws from parts, and merges what was drawn elsewhere.

        Parameters
        ----------
        n_rows : int
        rng : numpy.random.Generator
        """

    def steps(self, kind, n_components, shift, reg_covar, limits, structure=None):  # noqa: B027 (passes elsewhere are long)
        """Return what makes several steps of EM at once, where passes are short; else None.

        Parameters
        ----------
        kind : str
            Kernel kind of the mixtures.
        n_components : int
        shift : (D,) array
            Of the constants of all steps.
        reg_covar : float
            Added to the diagonals of the covariances.
        limits : fastgmm.engine.steps.Limits
        structure : str, optional
            What the covariances have in common: `Family.structure`.
        """

    def reserve(self, kind, n_components, n_start_rows=0, rank=0, acceleration=None):  # noqa: B027 (most do nothing)
        """Take note that a mixture will be fitted, before any pass: a source with little room may refuse it.

        Parameters
        ----------
        kind : str
            Kernel kind of its statistics.
        n_components : int
        n_start_rows : int, default=0
            Rows of the sample that starts are made of.
        rank : int, default=0
            Of the low-rank kind.
        acceleration : str, optional
            Of the fit.
        """

    def cluster(self, n_clusters, rng):  # noqa: B027 (most sources have no candidates)
        """Return an ArraySource of candidates for centres of k-means, or None if those of `sample` serve.

        A source that returns some has ``accumulate_nearest(kind, centres)`` too.
        """

    def accumulate_all(self, kind, point):
        """Return the Statistics of kind "full" or "diagonal" of all rows as one component, about a point (D,)."""
        return self.accumulate(KernelConstants.points(kind, point[None], point, self.dtype))

    def moments(self):
        """Return mean (D,), variances (D,) and total weight of the rows; the first call takes a pass, or two.

        Raises
        ------
        IllDefinedCovarianceError
            If the squares of the rows overflow float64.
        """
        return self._first_pass()[0]

    @property
    def n_rows(self):
        """Number of rows with positive weight."""
        return self._first_pass()[1]

    @property
    def n_threads(self):
        """Number of threads that may share the work between its passes: where they run in this process, theirs."""
        return 1

    def _first_pass(self):
        """Moments and number of rows, once."""
        if not hasattr(self, "_moments"):
            stats = self.accumulate_all("diagonal", self._some_point())
            moments = stats.mean_and_variances()
            if stats.cancellation() > FAR:
                moments = self.accumulate_all("diagonal", moments[0]).mean_and_variances()
            self._moments = moments, stats.n_rows
        return self._moments

    def _some_point(self):
        """Return a point (D,) that need not be near the rows."""
        return np.zeros(self.n_features)

    def covariance(self):
        """Return the covariance (D, D) of the rows, which takes a pass."""
        stats = self.accumulate_all("full", self.moments()[0])
        return stats.within()[0] / stats.n[0]

    def map_rows(self, function, width, dtype):
        """Return what a function makes of every row, in their order; rows of weight zero too.

        Parameters
        ----------
        function : callable
            Takes rows (n, D) and returns an array (n,) or (n, width).
        width : int or None
        dtype : numpy.dtype
            Of what the function returns.
        """
        raise TypeError(f"a {type(self).__name__} gives no values row by row: pass it the rows in parts")

    def unknown(self):
        """Return the source of the rows whose component is not known, None if there are no such rows."""
        return self

    def with_known(self, labels):
        """Return labels (N,) of all rows, in their order, with those of rows that are known in their places."""
        return labels

    def only(self, fold_of_row, fold, *, inside):
        """Return the source of the rows of one fold, or of all others.

        Parameters
        ----------
        fold_of_row : (n_rows,) array of int
            Of the rows with positive weight, in their order.
        fold : int
        inside : bool
            Whether the rows of the fold are meant, or the others.
        """
        raise TypeError(f"a {type(self).__name__} cannot leave rows out")

    @property
    def gives_folds(self):
        """Whether there is an `only`: sources of one's own need none."""
        return type(self).only is not Source.only

    @property
    def gives_rows(self):
        """Whether there is a `sum_over`: sources of one's own need none."""
        return type(self).sum_over is not Source.sum_over

    def sum_over(self, function, n_rows=1):
        """Return the sum of what a function makes of parts of the rows with positive weight, in one pass.

        Parameters
        ----------
        function : callable
            Takes rows (n, D) and weights (n,), or None if all are one, and returns a number, an array or what else
            adds up, to zero too.
        n_rows : int, default=1
            Where rows come one after the other, all parts but the last are multiples of so many.
        """
        raise TypeError(f"a {type(self).__name__} gives no values row by row: pass it the rows in parts")

    def score(self, constants):
        """Return the Scores of all rows under a mixture: their log-likelihood and weight."""
        stats = self.accumulate(constants)
        return Scores(stats.log_likelihood, stats.total_weight)
