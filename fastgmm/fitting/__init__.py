"""Fitting: starts, the EM loop, restarts. A fit asks a source for statistics and a family for parameters."""

from fastgmm.fitting.acceleration import NAMES as ACCELERATIONS
from fastgmm.fitting.bar import ProgressBar
from fastgmm.fitting.convergence import STOPPING, Progress
from fastgmm.fitting.em import FitState, expectation_maximisation
from fastgmm.fitting.fit import NOT_CONVERGED, NOTHING_OBSERVED, fit
from fastgmm.fitting.mstep import POLICIES, Collapse
from fastgmm.fitting.result import FitResult, Optimum, StartHistory, optima
from fastgmm.fitting.run import n_starts, run
from fastgmm.fitting.starts import NAMES as STARTS
from fastgmm.fitting.starts import RACE
from fastgmm.fitting.watch import Observer, Told, Watch

__all__ = [
    "ACCELERATIONS",
    "NOTHING_OBSERVED",
    "NOT_CONVERGED",
    "POLICIES",
    "RACE",
    "STARTS",
    "STOPPING",
    "Collapse",
    "FitResult",
    "FitState",
    "Observer",
    "Optimum",
    "Progress",
    "ProgressBar",
    "StartHistory",
    "Told",
    "Watch",
    "expectation_maximisation",
    "fit",
    "n_starts",
    "optima",
    "run",
]
