"""Where rows come from. A source gives statistics under given parameters; nothing else of a fit knows where rows live."""

from fastgmm.sources.array import ArraySource

__all__ = ["ArraySource"]
