"""Instruction levels: which are built in and run here, which is in use, and how to force one.

The environment variable FASTGMM_SIMD picks the level when the package is imported; without it the fastest is used.
"""

from fastgmm.engine._core import active, lanes, levels, use

__all__ = ["active", "lanes", "levels", "use"]
