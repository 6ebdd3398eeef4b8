"""Where rows come from: a source gives statistics under given parameters, and nothing else knows where rows live."""

from fastgmm.sources.array import ArraySource

__all__ = ["ArraySource"]
