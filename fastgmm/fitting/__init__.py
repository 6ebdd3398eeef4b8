"""Fitting: starts, the EM loop, restarts. A fit asks a source for statistics and a family for parameters."""

from fastgmm.fitting.acceleration import NAMES as ACCELERATIONS
from fastgmm.fitting.convergence import STOPPING, Progress
from fastgmm.fitting.em import FitState, expectation_maximisation
from fastgmm.fitting.fit import NOT_CONVERGED, fit, run
from fastgmm.fitting.mstep import POLICIES, Collapse
from fastgmm.fitting.result import FitResult, StartHistory

__all__ = [
    "ACCELERATIONS",
    "NOT_CONVERGED",
    "POLICIES",
    "STOPPING",
    "Collapse",
    "FitResult",
    "FitState",
    "Progress",
    "StartHistory",
    "expectation_maximisation",
    "fit",
    "run",
]
