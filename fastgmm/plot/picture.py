"""A whole picture of a mixture and its rows, laid out by the number of features."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastgmm._names import refuse_other_names
from fastgmm.engine.rows import Rows, check_sample_weight
from fastgmm.io.files import replacing
from fastgmm.mixture import Mixture, as_mixture

from .axes import (
    NOISE_GREY,
    component_colours,
    draw_density,
    draw_density_curve,
    draw_ellipses,
    draw_histogram,
    draw_rows,
)
from .projection import marginal, plane_of, wide

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["STYLE", "caption", "check_format", "import_matplotlib", "picture", "save_picture"]

_MAX_PAIRS = 5  # features up to which every pair gets its own axes
_MAX_ROWS = 6000  # rows shown; more of them hide each other
_MAX_LEGEND = 24  # components named in the legend
_MARGIN = 0.06
_NOTE = "ellipses hold 95 % of a component, shades 25, 50, 75 and 95 % of the mixture"
STYLE = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "font.size": 10,
    "figure.dpi": 150,
}
_LEGEND = {"frameon": False, "alignment": "left", "handlelength": 1.0, "fontsize": "small", "title_fontsize": "small"}


def import_matplotlib() -> Any:
    """Matplotlib, or an error that says how to get it.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import matplotlib.figure
    except ImportError as error:
        raise ImportError("Pictures need matplotlib: pip install 'fastgmm[plot]'") from error
    return matplotlib


def check_format(path: str | os.PathLike[str]) -> str:
    """The picture format that the name of a file asks for; png if it has no suffix.

    Raises
    ------
    ValueError
        If matplotlib cannot write that format.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> check_format("fit.svg")
    'svg'
    """
    known = import_matplotlib().figure.Figure().canvas.get_supported_filetypes()
    suffix = os.path.splitext(os.fspath(path))[1].lstrip(".").lower() or "png"
    if suffix not in known:
        raise ValueError(f"{os.fspath(path)}: pictures are written as {', '.join(sorted(known))}, not as {suffix}")
    return suffix


def picture(
    mixture: Any,
    X: Any,
    *,
    feature_names: list[str] | None = None,
    sample_weight: npt.ArrayLike | None = None,
    title: str | None = None,
) -> Figure:
    """Draw a mixture over rows.

    One feature: histogram and density. Two: rows by component over the density, with ellipses that hold 95 % of each
    component. Three to five: the same for every pair, histograms on the diagonal. More: the plane in which the
    components are furthest apart (`cluster_directions`). Of many rows a few thousand are shown, chosen by a fixed seed.

    Parameters
    ----------
    mixture : Mixture, fitted estimator or FitResult
    X : array-like of shape (N, D)
        Rows.
    feature_names : list of D str, default=None
        Labels of the axes; default those of the mixture, or x1, x2, ...
    sample_weight : array-like of shape (N,), default=None
        Weight of each row, for the histograms; rows of weight zero are not shown.
    title : str, default=None
        Above the picture.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Not known to pyplot: no window opens, and nothing has to be closed.

    Raises
    ------
    ValueError
        If X has other features, or names of features, than the mixture, or there is not one name for each feature and
        one weight for each row.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import fastgmm
    >>> mixture = fastgmm.Mixture([0.5, 0.5], [[0.0, 0.0], [5.0, 5.0]], [1.0, 1.0], "spherical")
    >>> X, _ = mixture.sample(100, random_state=0)
    >>> picture(mixture, X).axes[0].get_xlabel()
    'x1'
    """
    matplotlib = import_matplotlib()
    mixture, rows = as_mixture(mixture), Rows.of(X)
    refuse_other_names(mixture.feature_names, rows.column_names)
    X = rows.array
    weights = None if sample_weight is None else check_sample_weight(sample_weight, len(X)).of_rows(len(X))
    shown = _shown_rows(X, weights)
    labels = mixture.predict(shown)
    names = mixture.feature_names if feature_names is None else list(feature_names)
    names = names or [f"x{j}" for j in range(1, mixture.n_features + 1)]
    if len(names) != mixture.n_features:
        raise ValueError(f"feature_names must hold {mixture.n_features} names, one for each feature, got {names}")
    colours = component_colours(mixture.n_components)
    legend = _legend_entries(mixture, colours)
    with matplotlib.rc_context(STYLE):
        if mixture.n_features == 1:
            figure = _curve_figure(mixture, X, weights, names[0], colours, legend)
        elif mixture.n_features == 2:
            figure = _plane_figure(mixture, shown, labels, names, colours, legend)
        elif mixture.n_features <= _MAX_PAIRS:
            figure = _pairs_figure(mixture, X, weights, shown, labels, names, colours, legend)
        else:
            plane = plane_of(mixture)
            figure = _plane_figure(plane.mixture(mixture), plane.rows(shown), labels, plane.titles, colours, legend)
        notes = [] if mixture.n_features == 1 else [_NOTE]
        if len(shown) < len(X):
            notes.append(f"{len(shown):,} of {len(X):,} rows shown")
        caption(figure, title, "; ".join(notes))
    return figure


def save_picture(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to `path`, whole or not at all, in the format that its suffix names.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : str or path-like

    Raises
    ------
    ValueError
        If the suffix is no picture format.
    OSError
        If the file cannot be written.
    """
    kind = check_format(path)
    with replacing(path) as file:
        figure.savefig(file, format=kind)


def _shown_rows(X: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """The rows to draw: all that count, or a few thousand of them."""
    kept = np.arange(len(X)) if weights is None else np.flatnonzero(weights)
    if len(kept) > _MAX_ROWS:
        kept = np.sort(np.random.default_rng(0).choice(kept, _MAX_ROWS, replace=False))
    return X[kept]


def _range(x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> tuple[float, float]:
    """From where to where to draw: all rows, two standard deviations of every component, and a margin."""
    spread = 2 * np.sqrt(variance)
    low, high = min(x.min(), (mean - spread).min()), max(x.max(), (mean + spread).max())
    margin = _MARGIN * (high - low)
    return float(low - margin), float(high + margin)


def _ranges(mixture: Mixture, X: np.ndarray) -> list[tuple[float, float]]:
    """The range of every feature."""
    _, means, covariances = wide(mixture)
    return [_range(X[:, j], means[:, j], covariances[:, j, j]) for j in range(mixture.n_features)]


def _new_figure(width: float, height: float) -> Figure:
    return import_matplotlib().figure.Figure(figsize=(width, height), layout="constrained")


def _legend_entries(mixture: Mixture, colours: list[str]) -> dict[str, Any]:
    """Handles and labels: the colour, number and weight of each component, and the share of noise."""
    from matplotlib.patches import Patch

    weights = mixture.weights[:_MAX_LEGEND]
    entries = [
        Patch(color=colour, label=f"{k}: {weight:.0%}")
        for k, (weight, colour) in enumerate(zip(weights, colours, strict=False))
    ]
    if len(colours) > _MAX_LEGEND:
        entries.append(Patch(alpha=0, label=f"and {len(colours) - _MAX_LEGEND} more"))
    if mixture.noise is not None:
        entries.append(Patch(color=NOISE_GREY, label=f"noise: {mixture.noise.weight:.0%} of all"))
    return {"handles": entries, "title": "component: weight", **_LEGEND}


def _curve_figure(mixture: Mixture, X: np.ndarray, weights: Any, name: str, colours: list[str], legend: Any) -> Figure:
    figure = _new_figure(7, 4.5)
    ax = figure.subplots()
    extent = _ranges(mixture, X)[0]
    draw_histogram(ax, X[:, 0], weights)
    draw_density_curve(ax, mixture, extent, colours)
    ax.set(xlabel=name, ylabel="density", xlim=extent, ylim=(0, None))
    ax.legend(**legend)
    return figure


def _plane_figure(
    mixture: Mixture, shown: np.ndarray, labels: np.ndarray, names: Any, colours: list[str], legend: Any
) -> Figure:
    figure = _new_figure(7, 5.5)
    ax = figure.subplots()
    _draw_plane(ax, mixture, shown, labels, colours)
    ax.set(xlabel=names[0], ylabel=names[1])
    figure.legend(loc="outside right upper", **legend)
    return figure


def _draw_plane(ax: Any, mixture: Mixture, shown: np.ndarray, labels: np.ndarray, colours: list[str]) -> None:
    """Density, rows and ellipses of a mixture of two features."""
    x_range, y_range = _ranges(mixture, shown)
    draw_density(ax, mixture, (*x_range, *y_range))
    draw_rows(ax, shown, labels, colours)
    draw_ellipses(ax, mixture, colours)
    ax.set(xlim=x_range, ylim=y_range)


def _pairs_figure(
    mixture: Mixture,
    X: np.ndarray,
    weights: Any,
    shown: np.ndarray,
    labels: np.ndarray,
    names: Any,
    colours: list[str],
    legend: Any,
) -> Figure:
    D = mixture.n_features
    figure = _new_figure(2 + 2 * D, 1.5 + 1.8 * D)
    grid = figure.subplots(D, D, squeeze=False)
    for row in range(D):
        for column in range(D):
            ax = grid[row, column]
            if column > row:
                ax.set_axis_off()
                continue
            if column == row:
                extent = _ranges(marginal(mixture, [row]), X[:, [row]])[0]
                draw_histogram(ax, X[:, row], weights)
                draw_density_curve(ax, marginal(mixture, [row]), extent, colours)
                ax.set(xlim=extent, yticks=[])
                ax.spines["left"].set_visible(False)
            else:
                _draw_plane(ax, marginal(mixture, [column, row]), shown[:, [column, row]], labels, colours)
            ax.set_xlabel(names[column] if row == D - 1 else "")
            ax.set_ylabel(names[row] if column == 0 and row > 0 else "")
            ax.tick_params(labelbottom=row == D - 1, labelleft=column == 0 and row > 0)
    figure.align_labels()
    grid[0, D - 1].legend(loc="upper right", **legend)
    return figure


def caption(figure: Figure, title: str | None, note: str) -> None:
    """Write the title in the first line, and what has to be said in smaller type.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    title, note : str or None
    """
    if title:
        figure.suptitle(title, x=0.02, ha="left", fontsize="large", fontweight="bold")
    if note:
        figure.supxlabel(note, x=0.99, ha="right", fontsize="x-small", color="0.4")
