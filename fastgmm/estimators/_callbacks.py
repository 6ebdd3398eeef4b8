"""scikit-learn's callbacks (SLEP 23, scikit-learn 1.9): a fit as a tree of tasks, of starts and their iterations.

A fit knows of an iteration when it ends. So the task of the next one begins right after the end of the one before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._attributes import PARAMETERS

if TYPE_CHECKING:
    from fastgmm.fitting import FitState
    from fastgmm.mixture import Mixture


def wanted(estimator: Any) -> bool:
    """Whether there are callbacks to call, on the estimator or on one that it is part of."""
    return hasattr(estimator, "_skl_callbacks") or hasattr(estimator, "_parent_callback_ctx")


class Tasks:
    """The tree of tasks of one fit.

    Parameters
    ----------
    estimator : estimator
        The estimator that is fitted; it inherits from `sklearn.callback.CallbackSupportMixin`.
    X, y, sample_weight : object
        What the user passed to `fit`: callbacks may ask for it.
    n_init : int
        Number of starts.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, n_init: int) -> None:
        self._estimator = estimator
        self._known = {
            "estimator": estimator,
            "X": X,
            "y": y,
            "metadata": {} if sample_weight is None else {"sample_weight": sample_weight},
        }
        self._n_init, self._max_iter = n_init, estimator.max_iter
        self._root = estimator._init_callback_context(max_subtasks=n_init)
        self._root.call_on_fit_task_begin(**self._known)
        self._begin_start(0)

    def _begin_start(self, init: int) -> None:
        self._init = init
        self._start = self._root.subcontext(task_name="init", max_subtasks=self._max_iter)
        self._start.call_on_fit_task_begin(**self._known)
        self._begin_iteration()

    def _begin_iteration(self) -> None:
        if self._max_iter > 0:
            self._iteration = self._start.subcontext(task_name="iteration")
            self._iteration.call_on_fit_task_begin(**self._known)
