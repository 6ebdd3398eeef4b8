"""Fits of rows that lie on many machines: see docs/sources.md."""

from fastgmm.sources.dask_source import DaskSource

__all__ = ["DaskSource"]
