"""Where rows come from: a source gives statistics under given parameters, and nothing else knows where rows live."""

from fastgmm.sources.array import ArraySource
from fastgmm.sources.base import Source
from fastgmm.sources.batches import BatchSource
from fastgmm.sources.choice import as_source, is_elsewhere
from fastgmm.sources.memory import parse_memory
from fastgmm.sources.missing import MissingSource
from fastgmm.sources.missing_batches import GappedBatchSource
from fastgmm.sources.reservoir import Reservoir
from fastgmm.sources.shared import SharedPasses

__all__ = [
    "ArraySource",
    "BatchSource",
    "GappedBatchSource",
    "MissingSource",
    "Reservoir",
    "SharedPasses",
    "Source",
    "as_source",
    "is_elsewhere",
    "parse_memory",
]
