"""What can be computed from a mixture's parameters: densities, labels, scores and draws.

Everything on rows is one pass of the engine that writes only what was asked for.
"""

from __future__ import annotations

import functools
import math
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from . import engine
from ._checks import check_missing, check_number
from ._criteria import Measured, check_criterion
from ._errors import InvalidParameterError
from ._impute import conditional_draws, conditional_means
from ._random import generator
from .covariance import Family, LowRank, Parameters
from .engine.gaps import GappedRows
from .engine.rows import Rows, check_sample_weight
from .sources import MissingSource, as_source, is_elsewhere

_RESP_VALUES = 1 << 19  # responsibilities at once, where only sums over rows are wanted
_TINY = np.finfo(np.float64).tiny


_CHUNK = 1 << 20  # numbers that are taken to float64 at a time
_SETTLED = 1e-9  # share of a log-likelihood that EM gains no more


class Density:
    """The methods of a mixture: they read its family and parameters, and change nothing."""

    __slots__ = ("_constants", "_family", "_parameters")

    _constants: dict[np.dtype, engine.KernelConstants]
    _family: Family
    _parameters: Parameters

    @property
    def n_parameters(self) -> int:
        """Number of free parameters: of the covariances, K D means, K - 1 weights, and two of a noise component."""
        k, d = self._parameters.means.shape
        noise = 0 if self._parameters.noise is None else 2  # its weight and its volume, as mclust counts
        return self._family.n_parameters(k, d) + k * d + k - 1 + noise

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

    def bic(
        self,
        X: Any,
        sample_weight: npt.ArrayLike | None = None,
        *,
        n_threads: int | None = None,
        missing: str = "raise",
    ) -> float:
        """Return the Bayesian information criterion, -2 log-likelihood + m log n (Schwarz 1978); lower is better.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), path, pyarrow data set or Source
            Rows.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows; n is their sum.
        n_threads : int, default=None
            Threads; None takes as many as are worth it. No effect on the result.
        missing : {"raise", "em"}, default="raise"
            What happens to gaps in X, NaN: an error, or rows count by the marginal density of what was observed.

        Returns
        -------
        bic : float
            With m = `n_parameters` and n the number of rows, or the sum of their weights.

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> round(Mixture([1.0], [[0.0]], [1.0], "spherical").bic([[0.0], [1.0]]), 4)
        6.062
        """
        return self.criterion(X, "bic", sample_weight, n_threads=n_threads, missing=missing)

    def aic(
        self,
        X: Any,
        sample_weight: npt.ArrayLike | None = None,
        *,
        n_threads: int | None = None,
        missing: str = "raise",
    ) -> float:
        """Return Akaike's information criterion, -2 log-likelihood + 2 m (Akaike 1974); lower is better.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), path, pyarrow data set or Source
            Rows.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.
        n_threads : int, default=None
            Threads; None takes as many as are worth it. No effect on the result.
        missing : {"raise", "em"}, default="raise"
            What happens to gaps in X, NaN: an error, or rows count by the marginal density of what was observed.

        Returns
        -------
        aic : float
            With m = `n_parameters`.

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> round(Mixture([1.0], [[0.0]], [1.0], "spherical").aic([[0.0], [1.0]]), 6)
        8.675754
        """
        return self.criterion(X, "aic", sample_weight, n_threads=n_threads, missing=missing)

    def icl(
        self,
        X: Any,
        sample_weight: npt.ArrayLike | None = None,
        *,
        n_threads: int | None = None,
        missing: str = "raise",
    ) -> float:
        """Return the integrated complete-data likelihood criterion, BIC - 2 sum_i log max_k r_ik; lower is better.

        It asks for components that are clusters: rows between two of them cost (Biernacki, Celeux and Govaert 2000).

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Rows.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.
        n_threads : int, default=None
            Threads; None takes as many as are worth it. No effect on the result.
        missing : {"raise", "em"}, default="raise"
            What happens to gaps in X, NaN: an error, or rows count by the marginal density of what was observed.

        Returns
        -------
        icl : float
            The BIC where there is one component.

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> mixture = Mixture([0.5, 0.5], [[0.0], [1.0]], [1.0, 1.0], "spherical")
        >>> round(mixture.icl([[0.5]]) - mixture.bic([[0.5]]), 6)
        1.386294
        """
        return self.criterion(X, "icl", sample_weight, n_threads=n_threads, missing=missing)

    def criterion(
        self,
        X: Any,
        name: str = "bic",
        sample_weight: npt.ArrayLike | None = None,
        *,
        n_threads: int | None = None,
        missing: str = "raise",
    ) -> float:
        """Return a criterion of model choice by its name.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Rows that the mixture was fitted to.
        name : {"bic", "aic", "aicc", "sabic", "icl", "icl_entropy", "nec", "mclust_bic", "mclust_icl"}, default="bic"
            Which; lower is better, but for those with mclust's sign. Formulas and sources are in docs/selection.md.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows; their sum is the number of rows n.
        n_threads : int, default=None
            Threads; None takes as many as are worth it. No effect on the result.
        missing : {"raise", "em"}, default="raise"
            What happens to gaps in X, NaN: an error, or rows count by the marginal density of what was observed.

        Returns
        -------
        value : float
            Infinite where the criterion does not exist, as AICc with as many parameters as rows.

        Raises
        ------
        InvalidParameterError
            If there is no such criterion, or it needs more than a mixture and rows, as "cv" does.

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> mixture = Mixture([1.0], [[0.0]], [1.0], "spherical")
        >>> mixture.criterion([[0.0], [1.0]], "bic") == -mixture.criterion([[0.0], [1.0]], "mclust_bic")
        True
        """
        wanted = check_criterion(name)
        if wanted.needs == "held_out":
            raise InvalidParameterError(
                f"criterion {name!r} is no property of a fitted mixture: use fastgmm.selection.cross_validate, or "
                "fastgmm.select with this criterion"
            )
        of_one = math.nan
        if wanted.needs == "of_one":
            of_one = self._single(X, sample_weight, n_threads, missing)
        entropy = bool(wanted.needs)
        return wanted(
            self.measured(X, sample_weight, entropy=entropy, of_one=of_one, n_threads=n_threads, missing=missing)
        )

    def measured(
        self,
        X: Any,
        sample_weight: npt.ArrayLike | None = None,
        *,
        entropy: bool = True,
        of_one: float = math.nan,
        n_threads: int | None = None,
        missing: str = "raise",
    ) -> Measured:
        """Return what criteria are made of: log-likelihood, sizes, and entropies of the responsibilities.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Rows.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.
        entropy : bool, default=True
            Whether the entropies are wanted, which take another pass.
        of_one : float, default=nan
            Log-likelihood of a single component of the same structure.
        n_threads : int, default=None
            Threads; None takes as many as are worth it. No effect on the result.
        missing : {"raise", "em"}, default="raise"
            What happens to gaps in X, NaN: an error, or rows count by the marginal density of what was observed.

        Returns
        -------
        measured : Measured

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> round(Mixture([0.5, 0.5], [[0.0], [1.0]], [1.0, 1.0], "spherical").measured([[0.5]]).entropy, 6)
        0.693147
        """
        rows = X if is_elsewhere(X) else Rows.of(X)
        if entropy and is_elsewhere(X):
            raise TypeError("entropies need the rows in an array: X must be an array-like, got rows elsewhere")
        scores = self._score(rows, n_threads, missing, sample_weight=sample_weight)
        k = self._parameters.n_components
        uncertain = {}
        if entropy:
            found = self._entropies(rows, sample_weight, n_threads, missing)
            uncertain = dict(zip(("entropy", "doubt"), found, strict=True))
        return Measured(
            scores.log_likelihood, self.n_parameters, scores.total_weight, n_components=k, of_one=of_one, **uncertain
        )

    def _entropies(self, rows: Rows, sample_weight: Any, n_threads: int | None, missing: str) -> tuple[float, float]:
        """Return -sum_i w_i sum_k r_ik log r_ik and -sum_i w_i log max_k r_ik, a few megabytes of r_ik at a time."""
        if self._parameters.n_components == 1 and self._parameters.noise is None:
            return 0.0, 0.0
        weights = check_sample_weight(sample_weight, rows.n_rows)
        kept = np.arange(rows.n_rows) if weights.kept is None else weights.kept
        step = max(1, _RESP_VALUES // self._parameters.n_components)
        entropy = doubt = 0.0
        for first in range(0, len(kept), step):
            here = kept[first : first + step]
            piece = rows.array[here[0] : here[-1] + 1] if weights.kept is None else rows.array[here]
            resp = self._score(piece, n_threads, missing, resp=True).resp.astype(np.float64)
            w = np.ones(len(here)) if weights.values is None else weights.values[first : first + step]
            # r log r as a product with the smallest positive number inside the logarithm: zero where r is.
            entropy -= float(w @ (resp * np.log(np.maximum(resp, _TINY))).sum(axis=1))
            doubt -= float(w @ np.log(resp.max(axis=1)))
        return max(entropy, 0.0), max(doubt, 0.0)

    def _single(self, X: Any, sample_weight: npt.ArrayLike | None, n_threads: int | None, missing: str) -> float:
        """Return the log-likelihood of the one component of the same structure that is most likely."""
        family, missing = self._family, check_missing(missing)
        source = as_source(Rows.of(X), sample_weight, n_threads=n_threads, missing=missing)
        steps = isinstance(family, LowRank) or isinstance(source, MissingSource)  # of others one is all
        stats = family.first_statistics(source, source.moments()[0][None], {"labels": None})
        parameters, log_likelihood = family.maximise(stats), -math.inf
        while True:
            scores = source.score(family.constants(parameters, dtype=source.dtype))
            gain, log_likelihood = scores.log_likelihood - log_likelihood, scores.log_likelihood
            if not (steps and gain > _SETTLED * abs(log_likelihood)):
                return log_likelihood
            stats = source.accumulate(family.constants(parameters, dtype=source.dtype))
            parameters = family.maximise(stats, previous=parameters)

    def impute(
        self, X: Any, draws: int | None = None, random_state: Any = None, *, n_threads: int | None = None
    ) -> npt.NDArray[np.floating]:
        """Fill gaps in rows from what was observed of them: by their expectation, or by draws.

        Draws have the spread that the expectation lacks: what is computed from several of them varies as the gaps leave
        it open (multiple imputation, Rubin 1987). A row with nothing observed gets the mean of the mixture, or a draw
        from it.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Rows; gaps are NaN.
        draws : int, default=None
            How many draws; None for the expectation.
        random_state : None, int, RandomState, Generator or SeedSequence, default=None
            Randomness of the draws. An int gives the same ones on every call.
        n_threads : int, default=None
            Threads; None takes as many as are worth it.

        Returns
        -------
        filled : ndarray of shape (n_rows, n_features), or (draws, n_rows, n_features)
            Copies of X without gaps: float32 if X is, else float64.

        Raises
        ------
        InvalidParameterError
            If `draws` is neither None nor an int of at least one.
        ValueError
            If X holds infinities or has other features than the mixture.

        Examples
        --------
        >>> import numpy as np
        >>> from fastgmm import Mixture
        >>> mixture = Mixture([1.0], [[0.0, 1.0]], [[[2.0, 1.0], [1.0, 2.0]]])
        >>> mixture.impute([[2.0, np.nan], [0.0, 3.0]])
        array([[2., 2.],
               [0., 3.]])
        >>> mixture.impute([[2.0, np.nan]], draws=3, random_state=0).shape
        (3, 1, 2)
        """
        rows = self._checked_source(Rows.of(X))
        if draws is not None:
            draws = check_number(draws, "draws", Integral, 1)
        self.refuse_noise("an imputation")
        gapped, constants = GappedRows.of(rows), self.constants(np.float64)
        filled = np.array(rows.array, dtype=rows.dtype)
        if draws is None:
            if gapped is not None:
                conditional_means(gapped, constants, filled, n_threads)
            return filled
        filled = np.repeat(filled[None], draws, axis=0)
        if gapped is not None:
            conditional_draws(gapped, constants, filled, generator(random_state), n_threads)
        return filled

    def sample(
        self, n_samples: int = 1, random_state: Any = None, shuffle: bool = False
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Draw rows from the mixture.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : None, int, RandomState, Generator or SeedSequence, default=None
            An int gives the same rows on every call.
        shuffle : bool, default=False
            Whether to put the rows in random order; else they are grouped by component.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), float64
            The rows.
        y : ndarray of shape (n_samples,), int64
            The component of each row.

        Raises
        ------
        ValueError
            If `n_samples` is less than one.
        TypeError
            If `n_samples` is not an int.

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> X, y = Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical").sample(10, random_state=0)
        >>> X.shape, y.shape
        ((10, 1), (10,))
        """
        self.refuse_noise("a draw")
        if not isinstance(n_samples, Integral) or isinstance(n_samples, bool):
            raise TypeError(f"n_samples must be an int. Got {n_samples!r} instead.")
        if n_samples < 1:
            raise ValueError(f"Invalid value for 'n_samples': {n_samples} . The sampling requires at least one sample.")
        rng = generator(random_state)
        weights = self._parameters.weights.astype(np.float64)
        counts = rng.multinomial(n_samples, weights / weights.sum())
        X = np.concatenate([self._family.draw(self._parameters, k, int(n), rng) for k, n in enumerate(counts)])
        y = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
        if shuffle:
            order = rng.permutation(len(y))
            X, y = X[order], y[order]
        return X.astype(np.float64, copy=False), y

    def transform(self, X: Any, *, n_threads: int | None = None) -> npt.NDArray[np.floating]:
        """Return the posterior latent coordinates of each row, in its most probable component.

        For families of low rank, "mfa:q" and "mppca:q": dimension reduction inside the model. A row of component k is
        x = means_k + L_k f + noise with f ~ N(0, I_q), and this is E[f | x]. Coordinates of different components have
        nothing to do with each other: see `predict`. Within one they are determined but for a rotation.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Rows.
        n_threads : int, default=None
            Threads that find the components; None takes as many as are worth it. No effect on the result.

        Returns
        -------
        latent : ndarray of shape (n_rows, q)

        Raises
        ------
        ValueError
            If the family has no latent coordinates.

        References
        ----------
        Ghahramani and Hinton (1996), CRG-TR-96-1.

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> mixture = Mixture([1.0], [[0.0, 0.0]], [[[1.0, 1.0], [1.0, 1.0]]], "mfa:1")
        >>> mixture.transform([[3.0, 0.0]])
        array([[1.]])
        """
        family, parameters = self._family, self._parameters
        if not isinstance(family, LowRank):
            raise ValueError(
                f"transform needs a family of low rank, covariance_type='mfa:q' or 'mppca:q', got {family.name!r}"
            )
        self.refuse_noise("a latent coordinate")
        rows = Rows.of(X)
        labels = self.predict(rows, n_threads=n_threads)
        out = np.empty((len(labels), family.rank), np.result_type(rows.dtype, parameters.means.dtype))
        step = max(1, _CHUNK // parameters.n_features)
        for k in range(parameters.n_components):
            members = np.flatnonzero(labels == k)
            for first in range(0, len(members), step):
                some = members[first : first + step]
                offsets = np.asarray(rows.array[some], dtype=np.float64) - parameters.means[k]
                out[some] = family.latent_means(parameters, k, offsets)
        return out

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
        self.refuse_noise("a scorer")
        return self._family.constants(self._parameters, dtype=np.dtype(dtype)).scorer()

    def _per_row(self, X: Any, n_threads: int | None, missing: str, what: str) -> npt.NDArray[Any]:
        """Return one of the arrays of `engine.Scores`; where rows are elsewhere, what their source makes of it."""
        if is_elsewhere(X):
            noise = self._parameters.noise is not None
            width = None if what in ("log_density", "labels") else self._parameters.n_components + noise
            source = self._checked_source(as_source(X, n_threads=n_threads))
            dtype = np.int64 if what == "labels" else np.result_type(source.dtype, self._parameters.means.dtype)
            return source.map_rows(functools.partial(_array_of, self, n_threads, missing, what), width, np.dtype(dtype))
        found = getattr(self._score(X, n_threads, missing, **{what: True}), what)
        return self.named(found) if what == "labels" else found

    def named(self, labels: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64] | None:
        """Return labels as they are given out: -1 for rows that are noise."""
        if labels is None or self._parameters.noise is None:
            return labels
        return np.where(labels == self._parameters.n_components, -1, labels)

    def refuse_noise(self, what: str) -> None:
        """Raise a ValueError if there is a noise component, which has no such thing."""
        if self._parameters.noise is not None:
            raise ValueError(f"{what} is not to be had of a mixture with a noise component")

    def _checked_source(self, source: Any) -> Any:
        """Return rows or their source; raise a ValueError if they have other features than the mixture."""
        n_features = self._parameters.n_features
        if source.n_features != n_features:
            raise ValueError(
                f"X has {source.n_features} features, but {type(self).__name__} is expecting {n_features} features as "
                "input."
            )
        return source

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
            source = self._checked_source(
                as_source(X, sample_weight, n_threads=n_threads, missing=check_missing(missing))
            )
            return source.score(self.constants(source.dtype))
        rows = self._checked_source(Rows.of(X))
        constants = self.constants(rows.dtype)
        if check_missing(missing) == "em":
            self.refuse_noise("the density of rows with gaps, missing='em',")
            gapped = GappedRows.of(rows, sample_weight, n_threads=n_threads)
            if gapped is not None:
                return gapped.score(constants, **wanted)
        return engine.score(rows, constants, sample_weight=sample_weight, n_threads=n_threads, **wanted)


def _array_of(
    density: Density, n_threads: int | None, missing: str, what: str, rows: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Return one of the arrays of `engine.Scores` of some rows: what a source is given to do, here or elsewhere."""
    return density._per_row(rows, n_threads, missing, what)
