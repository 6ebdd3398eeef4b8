"""Rows that a mixture makes: draws, gaps filled, and latent coordinates."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm import engine
from fastgmm._checks import check_number
from fastgmm._impute import conditional_draws, conditional_means
from fastgmm._random import generator
from fastgmm.covariance.low_rank import NO_LATENT
from fastgmm.covariance.noise import NO_PLACE
from fastgmm.engine import KernelConstants
from fastgmm.engine.gaps import NO_SIDES, GappedRows
from fastgmm.engine.rows import Rows

from .criteria import Criteria

__all__ = ["Density"]

_CHUNK = 1 << 20  # numbers that are taken to float64 at a time


class Density(Criteria):
    """All methods of a mixture."""

    __slots__ = ()

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
            The component of each row, -1 for noise.

        Raises
        ------
        ValueError
            If `n_samples` is less than one, or it is not known where noise is: see `fastgmm.Noise`.
        TypeError
            If `n_samples` is not an int.

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> X, y = Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical").sample(10, random_state=0)
        >>> X.shape, y.shape
        ((10, 1), (10,))
        """
        if not isinstance(n_samples, Integral) or isinstance(n_samples, bool):
            raise TypeError(f"n_samples must be an int. Got {n_samples!r} instead.")
        if n_samples < 1:
            raise ValueError(f"Invalid value for 'n_samples': {n_samples} . The sampling requires at least one sample.")
        rng = generator(random_state)
        weights, noise = self._parameters.weights.astype(np.float64), self._parameters.noise
        shares = weights / weights.sum()
        if noise is not None:
            shares = np.append((1 - noise.weight) * shares, noise.weight)
        counts = rng.multinomial(n_samples, shares)
        parts = [self._family.draw(self._parameters, k, int(n), rng) for k, n in enumerate(counts[: len(weights)])]
        if noise is not None:
            parts.append(noise.draw(int(counts[-1]), rng))
        X = np.concatenate(parts)
        y = self.named(np.repeat(np.arange(len(counts), dtype=np.int64), counts))
        if shuffle:
            order = rng.permutation(len(y))
            X, y = X[order], y[order]
        return X.astype(np.float64, copy=False), y

    def impute(
        self, X: Any, draws: int | None = None, random_state: Any = None, *, n_threads: int | None = None
    ) -> npt.NDArray[np.floating]:
        """Fill gaps in rows from what was observed of them: by their expectation, or by draws.

        Draws have the spread that the expectation lacks: what is computed from several of them varies as the gaps leave
        it open (multiple imputation, Rubin 1987). A row with nothing observed gets the mean of the mixture, or a draw
        from it. Of noise the expectation is the centre of its box, and a draw is uniform in it; where it is turned, in
        the box along the features that stands for it: see `fastgmm.Noise`.

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
            If X holds infinities or has other features than the mixture, or if there are gaps, and noise whose scales
            or centre are not known: see `fastgmm.Noise`.

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
        rows = self._checked_source(X, Rows.of(X))
        if draws is not None:
            draws = check_number(draws, "draws", Integral, 1)
        gapped = GappedRows.of(rows)
        filled = np.array(rows.array, dtype=rows.dtype)
        if draws is not None:
            filled = np.repeat(filled[None], draws, axis=0)
        if gapped is None:
            return filled
        constants, sides = self._filling()
        if draws is None:
            conditional_means(gapped, constants, filled, n_threads)
        else:
            conditional_draws(gapped, constants, filled, generator(random_state), n_threads, sides)
        return filled

    def _filling(self) -> tuple[KernelConstants, npt.NDArray[np.float64] | None]:
        """Return what gaps are filled by, and the sides (D,) of noise, whose mean is the centre of its box."""
        constants, noise = self.constants(np.float64), self._parameters.noise
        if noise is None:
            return constants, None
        logs = noise.log_sides()
        if logs is None:
            raise ValueError(NO_SIDES)
        if noise.centre is None:
            raise ValueError(NO_PLACE.format("imputations"))
        return replace(constants, means=np.concatenate([constants.means[:-1], [noise.centre]])), np.exp(logs)

    def transform(self, X: Any, *, n_threads: int | None = None) -> npt.NDArray[np.floating]:
        """Return the posterior latent coordinates of each row, in its most probable component.

        For families of low rank, "mfa:q" and "mppca:q": dimension reduction inside the model. A row of component k is
        x = means_k + L_k f + noise with f ~ N(0, I_q), and this is E[f | x]. Coordinates of different components have
        nothing to do with each other: see `predict`. Within one they are determined but for a rotation.
        The uniform component of `fastgmm.Noise` has no directions, and so no coordinates: rows that are rather noise,
        which `predict` says, have those in the most probable of the others.

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
            If the family has no latent coordinates, or X has other features than the mixture.

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
        if not family.rank:
            raise ValueError(NO_LATENT.format(family.name))
        rows = self._checked_source(X, Rows.of(X))
        dtype = np.result_type(rows.dtype, parameters.means.dtype)
        constants = family.constants(replace(parameters, noise=None), dtype=dtype)
        labels = engine.score(rows, constants, labels=True, n_threads=n_threads).labels
        out = np.empty((len(labels), family.rank), dtype)
        step = max(1, _CHUNK // parameters.n_features)
        for k in range(parameters.n_components):
            members = np.flatnonzero(labels == k)
            for first in range(0, len(members), step):
                some = members[first : first + step]
                offsets = np.asarray(rows.array[some], dtype=np.float64) - parameters.means[k]
                out[some] = family.latent_means(parameters, k, offsets)
        return out
