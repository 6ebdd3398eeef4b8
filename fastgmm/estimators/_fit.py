"""How a `GaussianMixture` is fitted: rows are checked, a run is watched, and what came out is set as attributes."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fastgmm import fitting
from fastgmm._checks import check_enough_rows
from fastgmm._errors import NothingObservedWarning
from fastgmm._names import feature_names, refuse_other_names
from fastgmm.covariance import Parameters
from fastgmm.engine.rows import Rows
from fastgmm.sources import Source, as_source, is_elsewhere

from . import _callbacks
from ._attributes import LiveMixture
from ._printer import Printer
from ._protocol import ConvergenceWarning
from ._warn import warn_user


class FitMixin:
    """What `fit` and `fit_predict` of a `GaussianMixture` have in common."""

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: npt.ArrayLike | None,
        known_labels: npt.ArrayLike | None,
        labels: bool = False,
    ) -> fitting.FitResult:
        """Check, fit, and set all attributes at the end; returns the result."""
        self._validate_params()
        elsewhere = is_elsewhere(X) or self.max_memory is not None
        rows = Rows(X, min_rows=2, estimator=type(self).__name__) if not is_elsewhere(X) else X
        if elsewhere:
            options = {"n_threads": self.n_threads, "max_memory": self.max_memory, "missing": self.missing}
            rows = as_source(rows, sample_weight, known_labels=known_labels, **options)
        else:
            check_enough_rows(rows.n_rows, self.n_components)
        names = feature_names(rows)
        start = self._warm_start(rows)
        result = self._watch(X, y, sample_weight, rows, names, start).follow(
            fitting.run,
            rows,
            self.n_components,
            covariance_type=self.covariance_type,
            tol=self.tol,
            reg_covar=self.reg_covar,
            max_iter=self.max_iter,
            n_init=self.n_init,
            init_params=self.init_params,
            split_merge=self.split_merge,
            weights_init=self.weights_init,
            means_init=self.means_init,
            precisions_init=self.precisions_init,
            on_collapse=self.on_collapse,
            covariance_floor=self.covariance_floor,
            fixed=self.fixed,
            equal_weights=self.equal_weights,
            prior=self.prior,
            noise=self.noise,
            random_state=self.random_state,
            sample_weight=None if elsewhere else sample_weight,
            known_labels=None if elsewhere else known_labels,
            n_threads=self.n_threads,
            missing=self.missing,
            acceleration=self.acceleration,
            stopping=self.stopping,
            max_time=self.max_time,
            start=start,
            **({} if start is None else self._way()),
            labels=labels,
        )
        if result.n_unobserved:
            warn_user(fitting.NOTHING_OBSERVED.format(result.n_unobserved), NothingObservedWarning)
        if not result.converged and self.max_iter > 0:
            # Before the attributes are set: with warnings turned into errors the estimator stays as it was.
            warn_user(fitting.NOT_CONVERGED, ConvergenceWarning)
        self._publish(result, names)
        return result

    def _watch(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        rows: Rows | Source,
        names: npt.NDArray[np.object_] | None,
        start: Parameters | None,
    ) -> fitting.Watch:
        """Return who watches the fit."""
        given = (self.weights_init, self.means_init, self.precisions_init)
        n_starts = fitting.n_starts(self.n_init, self.init_params, *given, start=start) + self.split_merge
        observers: list[fitting.Observer] = []
        if self.verbose:
            observers.append(Printer(int(self.verbose), self.verbose_interval))
        if _callbacks.wanted(self):
            observers.append(_callbacks.Tasks(self, X, y, sample_weight, n_starts, rows.dtype, names))
        if self.callback is not None:
            observers.append(fitting.Told(self.callback))
        if self.progress:
            bar = fitting.ProgressBar(n_starts, self.max_iter)
            bar.watch_rows(rows)
            observers.append(bar)
        return fitting.Watch(observers, self.max_iter)

    @property
    def histories_(self) -> list[fitting.StartHistory]:
        """How each start of the fit went: `fastgmm.plot.convergence` draws it."""
        return [fitting.StartHistory(*each) for each in self._histories]

    @property
    def optima_(self) -> list[fitting.Optimum]:
        """The optima that starts came to, the best first, to `tol`: log-likelihood per row, and number of starts."""
        return fitting.optima(self.histories_, max(self.tol, 1e-6))

    def _warm_start(self, rows: Rows | Source) -> Parameters | None:
        """Return the parameters to continue from, or None for a fresh start."""
        if not (self.warm_start and hasattr(self, "converged_")):
            return None
        afresh = "Set warm_start=False to start afresh."
        try:
            mixture = self.to_mixture()
        except ValueError as error:
            raise ValueError(
                "warm_start=True continues from the fitted attributes, but they describe no mixture with "
                f"covariance_type={self.covariance_type!r}: {error}. {afresh}"
            ) from error
        refuse_other_names(mixture.feature_names, feature_names(rows))
        for what, had, has in (
            ("components", mixture.n_components, self.n_components),
            ("features", mixture.n_features, rows.n_features),
        ):
            if had != has:
                raise ValueError(
                    f"warm_start=True continues from a mixture with {had} {what}, but now there are {has}. {afresh}"
                )
        return mixture.parameters

    def _way(self) -> dict[str, Any]:
        """Return where the fit was when it stopped, for one that goes on."""
        return {"progress": fitting.Progress(*vars(self).get("_progress", ())), "path": vars(self).get("_path")}

    def _publish(
        self, result: fitting.FitResult, names: npt.NDArray[np.object_] | None, stream: list[Any] | None = None
    ) -> None:
        """Set the fitted attributes, all in one step that no signal divides. Nothing of the rows is kept.

        But by a stream that has begun.
        """
        attributes = {
            **vars(self),
            "converged_": result.converged,
            "n_iter_": result.n_iter,
            "lower_bound_": result.lower_bound,
            "lower_bounds_": list(result.lower_bounds),
            "collapses_": list(result.collapses),
            "n_failed_inits_": result.n_failed_inits,
            "best_init_": result.best_init,
            "_histories": [history.as_tuple() for history in result.histories],
            "n_features_in_": result.mixture.n_features,
            "stopped_by_": result.stopped_by,
            "last_gain_": result.last_gain,
            "convergence_rate_": result.convergence_rate,
            "remaining_gain_": result.remaining_gain,
            "gradient_norm_": result.gradient_norm,
            "_progress": list(result.progress),
            "_path": None if result.path is None else list(result.path),
            "_fitted_weight": result.total_weight,
            "_stream": stream,
            "_live": LiveMixture(),
        }
        attributes.pop("feature_names_in_", None)
        if names is not None:
            attributes["feature_names_in_"] = names
        attributes["_live"].publish(attributes, self.covariance_type, result.mixture)
        self.__dict__ = attributes

    @classmethod
    def from_result(
        cls, result: fitting.FitResult, feature_names: npt.NDArray[np.object_] | None = None, **parameters: Any
    ) -> Self:
        """Return an estimator that is fitted as a result of `fastgmm.fit` says.

        Parameters
        ----------
        result : FitResult
            Where its attributes come from; also its number of components and covariance type, unless these are given.
        feature_names : ndarray of shape (n_features,), default=None
            Names of the features; None takes those of the mixture, if it has any.
        **parameters
            Of the constructor.

        Returns
        -------
        GaussianMixture

        Examples
        --------
        >>> import fastgmm
        >>> result = fastgmm.fit([[0.0], [2.0]])
        >>> fastgmm.GaussianMixture.from_result(result).predict([[1.0]])
        array([0])
        """
        mixture = result.mixture
        of_result = {"n_components": mixture.n_components, "covariance_type": mixture.covariance_type}
        estimator = cls(**{**of_result, **parameters})
        if feature_names is None and mixture.feature_names is not None:
            feature_names = np.array(mixture.feature_names, dtype=object)
        estimator._publish(result, feature_names)
        return estimator
