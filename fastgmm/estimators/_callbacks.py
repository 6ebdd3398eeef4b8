"""scikit-learn's callbacks (SLEP 23, scikit-learn 1.9): a fit as a tree of tasks, of starts and their iterations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastgmm import covariance
from fastgmm.fitting import Observer
from fastgmm.mixture import Mixture

from ._attributes import PARAMETERS

if TYPE_CHECKING:
    from fastgmm.fitting import FitResult, FitState


def wanted(estimator: Any) -> bool:
    """Whether there are callbacks to call, on the estimator or on one that it is part of."""
    return hasattr(estimator, "_skl_callbacks") or hasattr(estimator, "_parent_callback_ctx")


class Tasks(Observer):
    """The tree of tasks of one fit, told to scikit-learn's callbacks.

    Parameters
    ----------
    estimator : estimator
        The estimator that is fitted; it inherits from `sklearn.callback.CallbackSupportMixin`.
    X, y, sample_weight : object
        What the user passed to `fit`: callbacks may ask for it.
    n_init : int
        Number of starts.
    dtype : numpy.dtype
        Type of the parameters that a fit on these rows ends with.
    names : ndarray of str or None
        Names of the features, if X has them.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        sample_weight: Any,
        n_init: int,
        dtype: npt.DTypeLike,
        names: npt.NDArray[np.object_] | None,
    ) -> None:
        self._estimator, self._dtype, self._n_init, self._names = estimator, dtype, n_init, names
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        # A callable among the values would be called for its result; so every value goes in one that returns it.
        self._known = {"X": lambda: X, "y": lambda: y, "metadata": lambda: metadata}
        self._open: list[Any] = []

    def begin(self) -> None:
        """Begin the task of the fit."""
        self._begin_task(self._estimator._init_callback_context(max_subtasks=self._n_init))

    def begin_start(self, init: int) -> None:
        """Begin the task of a start."""
        self._begin_task(self._open[-1].subcontext(task_name="init", max_subtasks=self._estimator.max_iter))

    def begin_iteration(self) -> None:
        """Begin the task of an iteration."""
        self._begin_task(self._open[-1].subcontext(task_name="iteration"))

    def end_iteration(self, state: FitState | None) -> bool:
        """End the task of an iteration; return whether a callback wants its start to stop."""
        return self._end_task(None if state is None else lambda: self._after(state))

    def end_start(self, state: FitState | None) -> bool:
        """End the task of a start; return whether a callback wants it to be the last."""
        return self._end_task(None if state is None else lambda: self._after(state))

    def end(self, result: FitResult) -> None:
        """End the task of the fit."""
        self._end_task(lambda: self._reconstruction(result.mixture, result.converged, result.n_iter))

    def _begin_task(self, context: Any) -> None:
        context.call_on_fit_task_begin(estimator=self._estimator, **self._known)
        self._open.append(context)

    def _end_task(self, reconstruction: Callable[[], Mapping[str, Any]] | None) -> bool:
        return self._open.pop().call_on_fit_task_end(
            estimator=self._estimator, **self._known, reconstruction_attributes=reconstruction
        )

    def _after(self, state: FitState) -> dict[str, Any]:
        """Fitted attributes as if the fit ended with this iteration."""
        family = covariance.get(self._estimator.covariance_type)
        mixture = Mixture.from_parameters(state.parameters.astype(self._dtype), family)
        return self._reconstruction(mixture, state.converged, state.iteration)

    def _reconstruction(self, mixture: Mixture, converged: bool, n_iter: int) -> dict[str, Any]:
        attributes = {name: getattr(mixture, name.removesuffix("_")) for name in PARAMETERS}
        attributes |= {"converged_": converged, "n_iter_": n_iter, "n_features_in_": mixture.n_features}
        # Set on a copy of the estimator, which may have names from a fit before.
        return {**attributes, "feature_names_in_": self._names}
