"""Pictures of mixtures, drawn with matplotlib: rows by component, density, ellipses.

`picture` makes a whole figure and chooses what suits the number of features; the functions of `fastgmm.plot.axes` draw
one thing each on axes of your own.
"""

from .axes import component_colours, draw_density, draw_density_curve, draw_ellipses, draw_histogram, draw_rows
from .picture import import_matplotlib, picture, save_picture

__all__ = [
    "component_colours",
    "draw_density",
    "draw_density_curve",
    "draw_ellipses",
    "draw_histogram",
    "draw_rows",
    "import_matplotlib",
    "picture",
    "save_picture",
]
