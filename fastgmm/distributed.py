"""Fits of rows that lie on many machines: see docs/sources.md."""

from fastgmm.sources.dask_source import DaskSource
from fastgmm.sources.missing_dask import GappedDaskSource

__all__ = ["DaskSource", "GappedDaskSource"]
