"""`partial_fit`: an estimator that learns from a stream of batches."""

from __future__ import annotations

import os
import time
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fastgmm import covariance, fitting
from fastgmm._errors import IllDefinedCovarianceError, ModelFileError, NothingObservedWarning
from fastgmm._names import feature_names
from fastgmm.engine.rows import Rows
from fastgmm.fitting import stream as streams
from fastgmm.io import model_file
from fastgmm.mixture import Mixture, load_all
from fastgmm.sources import ArraySource
from fastgmm.sources.missing import UnfilledRows

from ._attributes import LiveMixture, is_fitted
from ._feature_names import check_feature_names
from ._protocol import InvalidParameterError
from ._warn import warn_user

_NOT_OF_STREAMS = {
    "on_collapse": "raise",
    "covariance_floor": None,
    "fixed": None,
    "split_merge": 0,
    "equal_weights": False,
    "prior": None,
    "callback": None,
    "progress": False,
    "max_memory": None,
}
"""Parameters that need all rows or one long fit, at the only values that `partial_fit` knows."""

_OF_FITS = (
    *("tol", "max_iter", "n_init", "init_params", "weights_init", "means_init", "precisions_init", "random_state"),
    *("n_threads", "acceleration", "stopping", "max_time"),
)
"""Parameters that decide the fits of the warm-up."""


class StreamMixin:
    """What a `GaussianMixture` needs to learn from a stream."""

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        *,
        sample_weight: npt.ArrayLike | None = None,
        known_labels: npt.ArrayLike | None = None,
    ) -> Self:
        """Learn from a batch of rows, by stepwise EM: one E-step of the batch and one M-step.

        The first batches, until there are `n_components` times 500 rows (or 5 for each feature, if that is more), are
        held and fitted together; from then on no row is kept. `step_decay` and `forgetting` say how fast batches before
        this one lose their influence: see docs/streams.md. After `fit` it goes on from the fitted mixture, as if the
        rows of the fit had been the first batches. With ``noise=True`` the volume is that of the box around the rows
        that were held, and stays.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The batch, of any number of rows, also of one.
        y : Ignored
            Present by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        known_labels : array-like of shape (n_samples,), default=None
            Components of the rows that are known, -1 for others, as for `fit`. Batches with and without may come.

        Returns
        -------
        self : GaussianMixture
            With all attributes set, after the first batch already: `n_iter_` counts batches, `lower_bound_` is the mean
            log-likelihood of recent rows before they were learned from, `stopped_by_` is "stream".

        Raises
        ------
        InvalidParameterError
            If a parameter of the constructor is out of range, or one that needs all rows or one long fit:
            `on_collapse`, `covariance_floor`, `fixed`, `split_merge`, `equal_weights`, `prior`, `callback`,
            `progress`, `max_memory`.
        ValueError
            If the batch has gaps without ``missing="em"``, other features or another type than those before it, or
            labels of components that there are not; if nothing but gaps was seen of a column, `noise` is not what the
            mixture so far has, its box has no volume at the end of the warm-up, or a covariance is not positive
            definite. The estimator is then as it was.

        Warns
        -----
        NothingObservedWarning
            If nothing was observed of some rows of the batch.

        References
        ----------
        Cappe and Moulines (2009), J. R. Statist. Soc. B 71:593.

        Examples
        --------
        >>> import numpy as np
        >>> from fastgmm import GaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> model = GaussianMixture(2, random_state=0)
        >>> for _ in range(50):
        ...     model = model.partial_fit(rng.normal(size=(20, 1)) + rng.choice([-9.0, 9.0], (20, 1)))
        >>> np.sort(model.means_.ravel()).round()
        array([-9.,  9.])
        """
        self._validate_params()
        for name, only in _NOT_OF_STREAMS.items():
            given = getattr(self, name)
            if given != only:
                raise InvalidParameterError(
                    f"{name} must be {only!r} for partial_fit, which learns from single batches, got {given!r}"
                )
        family = covariance.get(self.covariance_type)
        if family.rank:
            raise InvalidParameterError(
                f"covariance_type must be another than {family.name!r} for partial_fit: axes of low rank "
                "change with every batch"
            )
        rows = Rows(X, estimator=type(self).__name__)
        gaps = self.missing == "em" and rows.has_gaps()
        names = feature_names(X)
        before = self._stream_before(rows, X)
        began = time.perf_counter()
        beside = {"known_labels": known_labels, "n_threads": self.n_threads}
        source = (UnfilledRows if gaps else ArraySource)(rows, sample_weight, **beside)
        if not gaps:
            source.moments()  # every value is looked at before any work
        after = streams.advance(
            before,
            source,
            family,
            self.n_components,
            noise=self.noise,
            reg_covar=self.reg_covar,
            decay=self.step_decay,
            forgetting=self.forgetting,
            settings={name: getattr(self, name) for name in _OF_FITS},
        )
        if before is not None:
            names = vars(self).get("feature_names_in_")
        self._publish_stream(after, family, source.dtype, names)
        if gaps and source.n_unobserved:
            warn_user(fitting.NOTHING_OBSERVED.format(source.n_unobserved), NothingObservedWarning)
        if self.verbose and after.n_batches % self.verbose_interval == 0:
            lapse = time.perf_counter() - began
            details = f"\t time lapse {lapse:.5f}s\t lower bound {after.bound:.5f}" if int(self.verbose) > 1 else ""
            print(f"  Batch {after.n_batches}{details}")
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted mixture to a model file: an .npz without pickle, which `fastgmm.load` reads.

        After `partial_fit` the state of the stream is written too, for `load`: the statistics or, in the warm-up, the
        rows that it holds.

        Parameters
        ----------
        path : str or path-like
            The file; one that exists is replaced as a whole.

        Raises
        ------
        NotFittedError
            Before a fit.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> import fastgmm, os, tempfile
        >>> model = fastgmm.GaussianMixture().fit([[0.0], [2.0]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(os.path.join(folder, "model.npz"))
        ...     fastgmm.load(os.path.join(folder, "model.npz")) == model.to_mixture()
        True
        """
        mixture = self.to_mixture()
        arrays, header = mixture.file_contents()
        stream = self._unedited_stream(mixture)
        if stream is not None:
            named, header["stream"] = stream.named()
            arrays |= {f"stream_{name}": array for name, array in named.items()}
        model_file.write(path, arrays, header)

    @classmethod
    def load(cls, path: str | os.PathLike[str], **params: Any) -> Self:
        """Read an estimator from a model file: its fitted attributes, and the state of its stream if it had one.

        Parameters
        ----------
        path : str or path-like
            A file that `save` has written.
        **params
            Parameters of the constructor, which files do not hold, but for `n_components` and `covariance_type`.

        Returns
        -------
        GaussianMixture
            `partial_fit` goes on with the same bits; with float32 batches but for the rounding of the attributes.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ModelFileError
            A ValueError: as for `fastgmm.load`.

        Examples
        --------
        >>> import os, tempfile
        >>> from fastgmm import GaussianMixture
        >>> model = GaussianMixture().partial_fit([[0.0], [2.0]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(os.path.join(folder, "model.npz"))
        ...     again = GaussianMixture.load(os.path.join(folder, "model.npz"))
        >>> again.partial_fit([[4.0]]).means_
        array([[2.]])
        """
        mixture, arrays, header = load_all(path)
        model = cls(mixture.n_components, covariance_type=mixture.covariance_type, **params)
        names = None if mixture.feature_names is None else np.array(mixture.feature_names, dtype=object)
        if "stream" in header:
            kept = {name.removeprefix("stream_"): array for name, array in arrays.items()}
            kept["weights"] = arrays.get("stream_weights")
            try:
                stream = streams.Stream.from_named(kept, header["stream"], mixture.parameters.astype(np.float64))
            except (ValueError, LookupError) as error:
                raise ModelFileError(f"{os.fspath(path)} does not hold the state of a stream: {error}") from error
            model._publish_stream(stream, mixture.family, mixture.dtype, names)
            return model
        attributes = {"n_features_in_": mixture.n_features} | ({} if names is None else {"feature_names_in_": names})
        vars(model).update(attributes, _live=LiveMixture())
        model._live.publish(vars(model), model.covariance_type, mixture)
        return model

    def _unedited_stream(self, mixture: Mixture) -> streams.Stream | None:
        """Return the stream that has led to the mixture, if one has."""
        plain = vars(self).get("_stream")
        stream = None if plain is None else streams.Stream.from_plain(plain)
        return stream if stream is not None and _same(stream.parameters, mixture) else None

    def _stream_before(self, rows: Rows, X: Any) -> streams.Stream | None:
        """Return where the stream stands, after a check that the rows go on with it; None if they are the first."""
        if not is_fitted(vars(self)):
            return None
        mixture = self.to_mixture()
        check_feature_names(vars(self).get("feature_names_in_"), X, type(self).__name__)
        afresh = "fit or clone the estimator to start afresh"
        for what, had, has in (
            ("components", mixture.n_components, self.n_components),
            ("dtype", mixture.dtype, rows.dtype),
        ):
            if had != has:
                raise ValueError(f"partial_fit goes on with {what} {had}, but now there is {has}: {afresh}")
        if rows.n_features != mixture.n_features:
            raise ValueError(
                f"X has {rows.n_features} features, but {type(self).__name__} is expecting {mixture.n_features} "
                "features as input."
            )
        if not _goes_on(self.noise, mixture.noise):
            had = "without noise" if mixture.noise is None else f"with noise of the volume {mixture.noise.volume:.6g}"
            raise ValueError(f"partial_fit goes on {had}, but now noise is {self.noise!r}: set it so, or {afresh}")
        stream = self._unedited_stream(mixture)
        if stream is not None:
            return stream
        weight = vars(self).get("_fitted_weight")
        if weight is None:
            weight = float(streams.warm_up_rows(mixture.n_components, mixture.n_features))
        return streams.as_if_fitted(mixture.parameters.astype(np.float64), mixture.family, weight)

    def _publish_stream(self, stream: streams.Stream, family: Any, dtype: np.dtype, names: Any) -> None:
        """Set the fitted attributes."""
        mixture = Mixture.from_parameters(stream.parameters.astype(dtype), family)
        if not all(np.isfinite(array).all() for array in mixture.parameters.arrays()):
            raise IllDefinedCovarianceError(single_precision=dtype == np.float32)
        result = fitting.FitResult(
            mixture=mixture,
            converged=False,
            n_iter=stream.n_batches,
            lower_bound=stream.bound,
            log_likelihood=stream.bound,
            lower_bounds=[stream.bound],
            n_failed_inits=0,
            best_init=0,
            histories=[],
            stopped_by="stream",
            total_weight=stream.seen,
        )
        self._publish(result, names, stream.plain())


def _goes_on(given: bool | float | None, noise: covariance.Noise | None) -> bool:
    """Whether the parameter `noise` is that of a mixture that has this Noise."""
    if noise is None or not given:
        return noise is None and not given
    return given is True or bool(np.isclose(np.log(given), noise.log_volume, rtol=1e-12, atol=1e-12))


def _same(parameters: covariance.Parameters, mixture: Mixture) -> bool:
    """Whether a mixture has these parameters, up to its type: nobody has edited them."""
    pairs = zip(parameters.astype(mixture.dtype).arrays(), mixture.parameters.arrays(), strict=True)
    return parameters.noise == mixture.noise and all(np.array_equal(one, other) for one, other in pairs)
