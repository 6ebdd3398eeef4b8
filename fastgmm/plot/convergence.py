"""How the starts of a fit went: their log-likelihoods, iteration by iteration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .picture import STYLE, caption, import_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastgmm.fitting import StartHistory

__all__ = ["convergence", "draw_gaps", "draw_log_likelihoods"]

_BEST, _OTHER = "#D55E00", "#0072B2"
_OUT_OF_SIGHT = 0.05  # part of the log-likelihoods, those of the first iterations, that may lie below the picture
_LEGEND = {"frameon": False, "fontsize": "small"}


def convergence(fitted: Any, *, title: str | None = None) -> Figure:
    """Draw the log-likelihoods of all starts of a fit.

    On the left against the iteration; on the right what each is short of the best start's end, on a logarithmic scale:
    EM ends on a straight line there, and a start that levels off has found another optimum. A start ends in a disc if
    it converged, in a circle if it was stopped.

    Parameters
    ----------
    fitted : FitResult or GaussianMixture
        Fitted, with an iteration at least.
    title : str, default=None
        Above the picture.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Not known to pyplot: no window opens, and nothing has to be closed.

    Raises
    ------
    ValueError
        If no start has made an iteration, or an estimator has not been fitted.
    TypeError
        If it is neither a result nor an estimator.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np, fastgmm
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> figure = convergence(fastgmm.fit(X, 3, n_init=4, init_params="random", tol=0.1, random_state=0))
    >>> [len(ax.get_lines()) for ax in figure.axes]
    [4, 4]
    """
    matplotlib = import_matplotlib()
    histories, best = _histories(fitted)
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(9, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        draw_log_likelihoods(left, histories, best)
        draw_gaps(right, histories, best)
        n_failed = sum(history.error is not None for history in histories)
        caption(figure, title, f"{n_failed} of {len(histories)} starts failed" if n_failed else "")
    return figure


def draw_log_likelihoods(ax: Axes, histories: Sequence[StartHistory], best: int) -> None:
    """A line for each start: mean log-likelihood against the iteration.

    Parameters
    ----------
    ax : matplotlib Axes
    histories : sequence of StartHistory
    best : int
        Number of the start that was kept.
    """
    values = np.concatenate([history.lower_bounds for history in histories])
    for history, looks in _drawn(histories, best):
        iterations = np.arange(1, len(history.lower_bounds) + 1)
        ax.plot(iterations, history.lower_bounds, markevery=[len(iterations) - 1], **looks)
    low, high = np.quantile(values, _OUT_OF_SIGHT), values.max()
    margin = 0.05 * (high - low) or abs(high) * 1e-6 or 1e-6
    ax.set(xlabel="iteration", ylabel="log-likelihood per row (nats)", ylim=(low - margin, high + margin))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(loc="lower right", **_LEGEND)


def draw_gaps(ax: Axes, histories: Sequence[StartHistory], best: int) -> None:
    """A line for each start: what its mean log-likelihood is short of the best start's last one.

    Parameters
    ----------
    ax : matplotlib Axes
    histories : sequence of StartHistory
    best : int
        Number of the start that was kept.
    """
    end = histories[best].lower_bounds[-1]
    for history, looks in _drawn(histories, best):
        gaps = end - np.asarray(history.lower_bounds)
        iterations = np.arange(1, len(gaps) + 1)
        last = np.flatnonzero(gaps > 0)[-1:]  # a logarithm has no place for none
        ax.plot(iterations, np.where(gaps > 0, gaps, np.nan), markevery=last.tolist(), **looks)
    ax.set(xlabel="iteration", ylabel="short of the best start's end (nats per row)", yscale="log")
    ax.xaxis.get_major_locator().set_params(integer=True)


def _histories(fitted: Any) -> tuple[list[StartHistory], int]:
    """The histories of a result or an estimator, and the number of the best."""
    if hasattr(fitted, "histories"):
        histories, best = fitted.histories, fitted.best_init
    elif hasattr(fitted, "histories_"):
        histories, best = fitted.histories_, fitted.best_init_
    elif hasattr(fitted, "n_init"):
        raise ValueError(f"this {type(fitted).__name__} has no histories_ to draw: call its fit first")
    else:
        raise TypeError(f"expected a FitResult or a fitted GaussianMixture, got {type(fitted).__name__}")
    if not histories[best].lower_bounds:
        raise ValueError("there is nothing to draw: the fit made no iteration")
    return list(histories), best


def _drawn(histories: Sequence[StartHistory], best: int) -> list[tuple[StartHistory, dict[str, Any]]]:
    """The starts that have not failed, the best last and so on top, and how their lines look."""
    kept = [history for number, history in enumerate(histories) if number != best and history.lower_bounds]
    looks: list[dict[str, Any]] = [
        {"color": _OTHER, "alpha": max(0.25, 1 / len(histories)), "linewidth": 1, "marker": "o", "markersize": 4}
        for _ in kept
    ]
    if kept:
        looks[0]["label"] = "other starts" if len(kept) > 1 else "the other start"
    chosen = histories[best]
    label = f"start {best}, kept: {chosen.n_iter} iterations, stopped by {chosen.stopped_by}"
    looks.append({"color": _BEST, "linewidth": 1.8, "marker": "o", "markersize": 6, "label": label})
    drawn = list(zip([*kept, chosen], looks, strict=True))
    for history, look in drawn:
        if not history.converged:
            look["markerfacecolor"] = "white"
    return drawn
