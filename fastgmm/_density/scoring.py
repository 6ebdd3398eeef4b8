"""Densities, responsibilities and labels of rows: one pass of the engine that writes only what was asked for."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm import engine
from fastgmm._checks import check_missing
from fastgmm._names import feature_names, refuse_other_names
from fastgmm.covariance import Family, Parameters
from fastgmm.engine.gaps import GappedRows
from fastgmm.engine.rows import Rows
from fastgmm.sources import Source, as_source, is_elsewhere

__all__ = ["Scoring"]


class Scoring:
    """What a mixture says of rows. All methods read its family and parameters, and change nothing."""

    __slots__ = ("_constants", "_family", "_parameters")

    _constants: dict[np.dtype, engine.KernelConstants]
    _family: Family
    _feature_names: tuple[str, ...] | None
    _parameters: Parameters

    def predict(self, X: Any, *, n_threads: int | None = None, missing: str = "raise") -> npt.NDArray[np.int64]:
        """Return the most probable component of each row.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), path, pyarrow data set or Source
            Rows.
        n_threads : int, default=None
            Threads; None takes as many as are worth it. No effect on the result.
        missing : {"raise", "em"}, default="raise"
            What happens to gaps in X, NaN: an error, or rows count by the marginal density of what was observed.

        Returns
        -------
        labels : ndarray of shape (n_rows,), int64
            The index with the largest responsibility; ties go to the lowest index. -1 for noise.

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical").predict([[1.0], [3.0]])
        array([0, 1])
        """
        return self._per_row(X, n_threads, missing, "labels")

    def predict_proba(
        self, X: Any, *, n_threads: int | None = None, missing: str = "raise"
    ) -> npt.NDArray[np.floating]:
        """Return the responsibility of every component for every row.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), path, pyarrow data set or Source
            Rows.
        n_threads : int, default=None
            Threads; None takes as many as are worth it. No effect on the result.
        missing : {"raise", "em"}, default="raise"
            What happens to gaps in X, NaN: an error, or rows count by the marginal density of what was observed.

        Returns
        -------
        resp : ndarray of shape (n_rows, n_components)
            Posterior probabilities; each row has sum one, also for rows far from every mean. A noise component has one
            more column, the last.

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical").predict_proba([[2.0]])
        array([[0.5, 0.5]])
        """
        return self._per_row(X, n_threads, missing, "resp")

    def score_samples(
        self, X: Any, *, n_threads: int | None = None, missing: str = "raise"
    ) -> npt.NDArray[np.floating]:
        """Return the log-density of every row (natural logarithm).

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), path, pyarrow data set or Source
            Rows.
        n_threads : int, default=None
            Threads; None takes as many as are worth it. No effect on the result.
        missing : {"raise", "em"}, default="raise"
            What happens to gaps in X, NaN: an error, or rows count by the marginal density of what was observed.

        Returns
        -------
        log_density : ndarray of shape (n_rows,)
            log p(x).

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> Mixture([1.0], [[0.0]], [1.0], "spherical").score_samples([[0.0]]).round(6)
        array([-0.918939])
        """
        return self._per_row(X, n_threads, missing, "log_density")

    logpdf = score_samples
    """The name that SciPy's distributions have for `score_samples`."""

    def component_logpdf(
        self, X: Any, *, n_threads: int | None = None, missing: str = "raise"
    ) -> npt.NDArray[np.floating]:
        """Return the weighted log-density of every component at every row.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), path, pyarrow data set or Source
            Rows.
        n_threads : int, default=None
            Threads; None takes as many as are worth it. No effect on the result.
        missing : {"raise", "em"}, default="raise"
            What happens to gaps in X, NaN: an error, or rows count by the marginal density of what was observed.

        Returns
        -------
        joint : ndarray of shape (n_rows, n_components)
            log weights_k + log N(x; means_k, covariances_k).

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical").component_logpdf([[0.0]]).round(4)
        array([[-1.6121, -9.6121]])
        """
        return self._per_row(X, n_threads, missing, "joint")

    def score(
        self,
        X: Any,
        sample_weight: npt.ArrayLike | None = None,
        *,
        n_threads: int | None = None,
        missing: str = "raise",
    ) -> float:
        """Return the mean log-likelihood per unit of weight.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), path, pyarrow data set or Source
            Rows.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows; None weighs each row by one.
        n_threads : int, default=None
            Threads; None takes as many as are worth it. No effect on the result.
        missing : {"raise", "em"}, default="raise"
            What happens to gaps in X, NaN: an error, or rows count by the marginal density of what was observed.

        Returns
        -------
        score : float
            sum_i w_i log p(x_i) / sum_i w_i.

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> round(Mixture([1.0], [[0.0]], [1.0], "spherical").score([[0.0], [1.0]]), 6)
        -1.168939
        """
        scores = self._score(X, n_threads, missing, sample_weight=sample_weight)
        return float(scores.log_likelihood / scores.total_weight)

    def constants(self, dtype: npt.DTypeLike = np.float32) -> engine.KernelConstants:
        """Return the mixture in the form that the engine's passes take, such as `fastgmm.accumulate`.

        Parameters
        ----------
        dtype : dtype, default=float32
            Type of the rows. They are computed in the wider of it and the type of the parameters.

        Returns
        -------
        constants : fastgmm.KernelConstants

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> Mixture([1.0], [[0.0]], [1.0], "spherical").constants().dtype
        dtype('float64')
        """
        dtype = np.result_type(dtype, self._parameters.means.dtype)
        constants = self._constants.get(dtype)
        if constants is None:
            # Two threads may both compute them: they are equal, and the assignment is atomic.
            constants = self._constants[dtype] = self._family.constants(self._parameters, dtype=dtype)
        return constants

    def scorer(self, dtype: npt.DTypeLike = np.float64) -> engine.Scorer:
        """Return a compiled scorer of single rows: no checks of their values, no allocation, no GIL.

        For pipelines that score row after row: a call costs about a microsecond, and threads may share one scorer. Many
        rows at once are faster through `score_samples` and its like. See docs/embedding.md for use from Cython and C.
        Noise, if there is some, counts as one more component, the last, whose label is -1.

        Parameters
        ----------
        dtype : dtype, default=float64
            float64 or float32: the type of the rows, of the arithmetic, and of the results.

        Returns
        -------
        scorer : fastgmm.engine.Scorer
            Its method `score` writes log-densities, responsibilities and labels into arrays of the caller.

        Raises
        ------
        TypeError
            If `dtype` is another type.

        Examples
        --------
        >>> import numpy as np
        >>> from fastgmm import Mixture
        >>> scorer = Mixture([1.0], [[0.0]], [1.0], "spherical").scorer()
        >>> log_density = np.empty(1)
        >>> scorer.score(np.array([0.0]), log_density)
        >>> log_density.round(6)
        array([-0.918939])
        """
        return self._family.constants(self._parameters, dtype=np.dtype(dtype)).scorer()

    def named(self, labels: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64] | None:
        """Return labels as they are given out: -1 for rows that are noise."""
        if labels is None or self._parameters.noise is None:
            return labels
        return np.where(labels == self._parameters.n_components, -1, labels)

    def _per_row(self, X: Any, n_threads: int | None, missing: str, what: str) -> npt.NDArray[Any]:
        """Return one of the arrays of `engine.Scores`; where rows are elsewhere, what their source makes of it."""
        if is_elsewhere(X):
            noise = self._parameters.noise is not None
            width = None if what in ("log_density", "labels") else self._parameters.n_components + noise
            source = self._checked_source(X, as_source(X, n_threads=n_threads, missing=check_missing(missing)))
            dtype = np.int64 if what == "labels" else np.result_type(source.dtype, self._parameters.means.dtype)
            return source.map_rows(functools.partial(_array_of, self, n_threads, missing, what), width, np.dtype(dtype))
        found = getattr(self._score(X, n_threads, missing, **{what: True}), what)
        return self.named(found) if what == "labels" else found

    def _score(
        self,
        X: Any,
        n_threads: int | None,
        missing: str,
        sample_weight: npt.ArrayLike | None = None,
        **wanted: bool,
    ) -> engine.Scores:
        """Run the one scoring pass, in the wider of the types of the rows and of the parameters."""
        if is_elsewhere(X):
            source = as_source(X, sample_weight, n_threads=n_threads, missing=check_missing(missing))
            source = self._checked_source(X, source)
            return source.score(self.constants(source.dtype))
        rows = self._checked_source(X, Rows.of(X))
        constants = self.constants(rows.dtype)
        if check_missing(missing) == "em":
            gapped = GappedRows.of(rows, sample_weight, n_threads=n_threads)
            if gapped is not None:
                return gapped.score(constants, **wanted)
        return engine.score(rows, constants, sample_weight=sample_weight, n_threads=n_threads, **wanted)

    def _checked_source(self, X: Any, source: Any) -> Any:
        """Return rows X as Rows or a source; raise a ValueError if they have other features than the mixture.

        Names count where both have some. Columns of a source are those that its maker chose.
        """
        if self._feature_names is not None and not isinstance(X, Source):
            refuse_other_names(self._feature_names, feature_names(X if isinstance(source, Rows) else source))
        n_features = self._parameters.n_features
        if source.n_features != n_features:
            raise ValueError(
                f"X has {source.n_features} features, but {type(self).__name__} is expecting {n_features} features as "
                "input."
            )
        return source


def _array_of(
    density: Scoring, n_threads: int | None, missing: str, what: str, rows: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Return one of the arrays of `engine.Scores` of some rows: what a source is given to do, here or elsewhere."""
    return density._per_row(rows, n_threads, missing, what)
