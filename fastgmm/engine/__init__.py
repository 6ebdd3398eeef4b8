"""The engine: passes over rows that know kernel kinds, threads and blocks, but no covariance family."""

from fastgmm.engine import _barriers  # noqa: F401 - before all else, since it is there when OpenMP is loaded
from fastgmm.engine._core import NEGLIGIBLE, group_rows
from fastgmm.engine._scorer import Scorer
from fastgmm.engine.constants import FACTOR_SHAPES, KernelConstants
from fastgmm.engine.nearest import Nearest, nearest, potential
from fastgmm.engine.passes import Scores, accumulate, accumulate_given, score, total_scatter
from fastgmm.engine.rows import Rows, Weights, check_sample_weight
from fastgmm.engine.statistics import Statistics

__all__ = [
    "FACTOR_SHAPES",
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
    "group_rows",
    "nearest",
    "potential",
    "score",
    "total_scatter",
]
