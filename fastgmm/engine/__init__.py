"""The engine: passes over rows that know kernel kinds, threads and blocks, but no covariance family."""

from fastgmm.engine._core import NEGLIGIBLE
from fastgmm.engine._scorer import Scorer
from fastgmm.engine.constants import KernelConstants
from fastgmm.engine.passes import (
    Nearest,
    Scores,
    accumulate,
    accumulate_given,
    nearest,
    potential,
    score,
    total_scatter,
)
from fastgmm.engine.rows import Rows, Weights, check_sample_weight
from fastgmm.engine.statistics import Statistics

__all__ = [
    "NEGLIGIBLE",
    "KernelConstants",
    "Nearest",
    "Rows",
    "Scorer",
    "Scores",
    "Statistics",
    "Weights",
    "accumulate",
    "accumulate_given",
    "check_sample_weight",
    "nearest",
    "potential",
    "score",
    "total_scatter",
]
