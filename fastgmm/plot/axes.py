"""One thing at a time on given axes: rows, density, ellipses, histogram, density curve.

What has two dimensions takes a `Mixture` of two features, what has one takes one of one feature;
`fastgmm.plot.projection` makes such mixtures of any other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastgmm.mixture import Mixture

from .projection import wide

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "component_colours",
    "draw_density",
    "draw_density_curve",
    "draw_ellipses",
    "draw_histogram",
    "draw_rows",
]

# Okabe and Ito's palette without black, told apart by the colour-blind too (Wong 2011, Nature Methods 8, 441).
_PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442")
_GRID = 160  # points a side at which a density is evaluated
_HELD = (0.95, 0.75, 0.5, 0.25)  # parts of the probability inside the contours
_ELLIPSE = 0.95

NOISE_GREY = "#9a9a9a"


def component_colours(n_components: int) -> list[str]:
    """A colour for each component.

    Parameters
    ----------
    n_components : int

    Returns
    -------
    colours : list of str
        Hexadecimal; a palette for the colour-blind up to seven, above that hues all round the circle.

    Examples
    --------
    >>> component_colours(2)
    ['#0072B2', '#E69F00']
    """
    if n_components <= len(_PALETTE):
        return list(_PALETTE[:n_components])
    from matplotlib import colormaps, colors

    hues = np.linspace(0, 1, n_components, endpoint=False)
    return [colors.to_hex(colour) for colour in colormaps["hsv"](hues) * [0.85, 0.75, 0.85, 1]]


def draw_rows(ax: Axes, X: npt.ArrayLike, labels: npt.ArrayLike, colours: list[str]) -> None:
    """Scatter of rows, each in the colour of its component.

    Parameters
    ----------
    ax : matplotlib Axes
    X : array-like of shape (N, 2)
    labels : array-like of shape (N,), int
    colours : list of str
        By component; noise, -1, is grey.
    """
    X = np.asarray(X)
    size = float(np.clip(6000 / max(len(X), 1), 3, 22))  # many points are drawn small
    shades = np.array([*colours, NOISE_GREY])[np.asarray(labels)]
    ax.scatter(X[:, 0], X[:, 1], s=size, c=shades, alpha=0.75, linewidths=0, zorder=2, rasterized=len(X) > 2000)


def draw_density(ax: Axes, mixture: Mixture, extent: tuple[float, float, float, float]) -> Any:
    """Filled contours of the density that hold 95, 75, 50 and 25 % of the probability.

    Parameters
    ----------
    ax : matplotlib Axes
    mixture : Mixture
        Of two features.
    extent : tuple of float
        Left, right, bottom, top.

    Returns
    -------
    contours : matplotlib QuadContourSet or None
        None where the density is too concentrated for the grid to see it.
    """
    left, right, bottom, top = extent
    x, y = np.linspace(left, right, _GRID), np.linspace(bottom, top, _GRID)
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    log_density = np.asarray(mixture.score_samples(points), dtype=np.float64).reshape(_GRID, _GRID)
    density = np.exp(log_density - log_density.max())
    descending = np.sort(density, axis=None)[::-1]
    held = np.cumsum(descending) / descending.sum()
    levels = np.unique([descending[np.searchsorted(held, part)] for part in _HELD])
    if len(levels) < 2:
        return None
    return ax.contourf(x, y, density, levels=[*levels, 1.0 + 1e-9], cmap="Greys", vmin=-0.3, vmax=2.6, zorder=1)


def draw_ellipses(ax: Axes, mixture: Mixture, colours: list[str], probability: float = _ELLIPSE) -> list[Any]:
    """For each component, the ellipse that holds `probability` of it, and a cross at its mean.

    Parameters
    ----------
    ax : matplotlib Axes
    mixture : Mixture
        Of two features.
    colours : list of str
        By component.
    probability : float, default=0.95
        In (0, 1). In two dimensions the squared distance (x - mu)^T Sigma^-1 (x - mu) is below -2 log(1 - p) with
        probability p (chi-squared with two degrees of freedom).

    Returns
    -------
    ellipses : list of matplotlib Ellipse
        By component.
    """
    from matplotlib.patches import Ellipse

    if not 0 < probability < 1:
        raise ValueError(f"probability must be in the range (0, 1). Got {probability!r} instead.")
    radius = math.sqrt(-2 * math.log1p(-probability))
    _, means, covariances = wide(mixture)
    ellipses = []
    for mean, sigma, colour in zip(means, covariances, colours, strict=True):
        values, vectors = np.linalg.eigh(sigma)
        width, height = 2 * radius * np.sqrt(values)
        angle = math.degrees(math.atan2(vectors[1, 0], vectors[0, 0]))
        ellipse = Ellipse(mean, width, height, angle=angle, fill=False, edgecolor=colour, linewidth=1.8, zorder=3)
        ellipses.append(ax.add_patch(ellipse))
        ax.plot(*mean, marker="+", markersize=9, markeredgewidth=3.5, color="white", zorder=4)
        ax.plot(*mean, marker="+", markersize=8, markeredgewidth=1.8, color=colour, zorder=5)
    return ellipses


def draw_histogram(ax: Axes, x: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> None:
    """Histogram of one feature, scaled to the area one.

    Parameters
    ----------
    ax : matplotlib Axes
    x : array-like of shape (N,)
    sample_weight : array-like of shape (N,), default=None
        Weight of each row.
    """
    x = np.asarray(x, dtype=np.float64)
    n_bins = int(np.clip(2 * len(x) ** (1 / 3), 10, 120))  # Rice's rule
    ax.hist(x, bins=n_bins, weights=sample_weight, density=True, color="0.86", edgecolor="white", linewidth=0.5)


def draw_density_curve(ax: Axes, mixture: Mixture, extent: tuple[float, float], colours: list[str]) -> None:
    """The density of a mixture of one feature, and under it what each component contributes, noise in grey.

    Parameters
    ----------
    ax : matplotlib Axes
    mixture : Mixture
        Of one feature.
    extent : tuple of float
        Left and right.
    colours : list of str
        By component.
    """
    _, means, covariances = wide(mixture)
    spread = np.sqrt(covariances[:, 0, 0])
    # Narrow components get points of their own, or the curve would miss them.
    near = (means[:, 0, None] + spread[:, None] * np.linspace(-6, 6, 121)).ravel()
    x = np.union1d(np.linspace(*extent, 400), near[(near >= extent[0]) & (near <= extent[1])])
    parts = np.exp(np.asarray(mixture.component_logpdf(x[:, None]), dtype=np.float64))
    colours = colours if mixture.noise is None else [*colours, NOISE_GREY]
    for part, colour in zip(parts.T, colours, strict=True):
        ax.fill_between(x, part, color=colour, alpha=0.25, linewidth=0)
        ax.plot(x, part, color=colour, linewidth=1.2)
    ax.plot(x, parts.sum(axis=1), color="0.15", linewidth=1.6)
