"""Pictures of choosing a model: a criterion against the number of components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .picture import STYLE, import_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["criterion_lines"]

_MARKERS = "os^vDP*X"


def _limits(best: float, lines: Mapping[str, Sequence[tuple[int, float, bool]]]) -> tuple[float, float]:
    """From where to where the criterion is shown: around the best, so that what is far worse flattens nothing."""
    values = sorted(abs(value - best) for points in lines.values() for _, value, _ in points)
    reach = min(values[-1], 4 * values[len(values) // 2]) or 1.0
    worse = next((value for points in lines.values() for _, value, _ in points if value != best), best + 1.0)
    ends = best - 0.08 * reach, best + 1.05 * reach
    return ends if worse > best else (best - 1.05 * reach, best + 0.08 * reach)


def criterion_lines(
    lines: Mapping[str, Sequence[tuple[int, float, bool]]], chosen: tuple[str, int], label: str
) -> Figure:
    """Draw a criterion against the number of components, a line for each structure.

    Parameters
    ----------
    lines : mapping of str to sequence of (n_components, value, abandoned)
        By structure. Points of fits that were abandoned are hollow.
    chosen : (str, int)
        Structure and number of components that are ringed.
    label : str
        Of the axis of the criterion.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Not known to pyplot: no window opens, and nothing has to be closed.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> figure = criterion_lines({"full": [(1, 5.0, False), (2, 3.0, False)]}, ("full", 2), "BIC")
    >>> figure.axes[0].get_ylabel()
    'BIC'
    """
    matplotlib = import_matplotlib()
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(8, 5), layout="constrained")
        ax = figure.subplots()
        for i, (name, points) in enumerate(lines.items()):
            numbers, values, _ = zip(*points, strict=True)
            style = {"color": colormaps["tab20"](i % 20), "marker": _MARKERS[i % len(_MARKERS)], "markersize": 4}
            ax.plot(numbers, values, linewidth=1, label=name, **style)
            left = [point[:2] for point in points if point[2]]
            if left:
                ax.plot(*zip(*left, strict=True), linestyle="", markerfacecolor="white", **style)
        best = next(value for number, value, _ in lines[chosen[0]] if number == chosen[1])
        ax.plot(chosen[1], best, "o", markersize=12, color="0.2", fillstyle="none")
        ax.annotate(
            f"{chosen[0]}, {chosen[1]}",
            (chosen[1], best),
            xytext=(8, -14),
            textcoords="offset points",
            fontsize="small",
        )
        ax.set(xlabel="number of components", ylabel=label, ylim=_limits(best, lines))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return figure


def entropy_lines(entropy: Sequence[float], merged_rows: Sequence[float], suggested: int) -> Figure:
    """Draw the entropy of merged components against the number of clusters, and against the rows merged so far.

    Parameters
    ----------
    entropy : sequence of K float
        Of 1, ..., K clusters.
    merged_rows : sequence of K - 1 float
        Weight of the rows in what each step, from K clusters on, united.
    suggested : int
        Number of clusters that is ringed.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Not known to pyplot: no window opens, and nothing has to be closed.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> entropy_lines([0.0, 1.0, 30.0], [10.0, 50.0], 2).axes[1].get_xlabel()
    'rows merged so far'
    """
    matplotlib = import_matplotlib()
    numbers = range(1, len(entropy) + 1)
    so_far = [sum(merged_rows[: len(entropy) - n]) for n in numbers]
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(9, 4), layout="constrained")
        for ax, x, label in zip(
            figure.subplots(1, 2), (numbers, so_far), ("number of clusters", "rows merged so far"), strict=True
        ):
            ax.plot(x, entropy, "o-", color="#0072B2", markersize=4, linewidth=1)
            ax.plot(x[suggested - 1], entropy[suggested - 1], "o", markersize=12, color="0.2", fillstyle="none")
            ax.set(xlabel=label, ylabel="entropy in nats")
        figure.axes[0].set_xticks(list(numbers))
    return figure
