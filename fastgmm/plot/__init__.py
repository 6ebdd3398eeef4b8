"""Pictures of mixtures and of fits, drawn with matplotlib: rows by component, density, ellipses; log-likelihoods.

`picture` makes a whole figure of a mixture and chooses what suits the number of features, `convergence` one of how the
starts of a fit went; the functions whose names begin with `draw_` draw one thing each on axes of your own.
`cluster_directions` are those in which components are seen apart.
"""

from .axes import component_colours, draw_density, draw_density_curve, draw_ellipses, draw_histogram, draw_rows
from .convergence import convergence, draw_gaps, draw_log_likelihoods
from .picture import import_matplotlib, picture, save_picture
from .projection import cluster_directions
from .selection import criterion_lines, entropy_lines

__all__ = [
    "cluster_directions",
    "component_colours",
    "convergence",
    "criterion_lines",
    "draw_density",
    "draw_density_curve",
    "draw_ellipses",
    "draw_gaps",
    "draw_histogram",
    "draw_log_likelihoods",
    "draw_rows",
    "entropy_lines",
    "import_matplotlib",
    "picture",
    "save_picture",
]
