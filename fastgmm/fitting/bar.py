"""The progress bar of one fit, drawn by tqdm: start, iteration, log-likelihood, time passed and left."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fastgmm._errors import InvalidParameterError
from fastgmm.fitting.watch import Observer

if TYPE_CHECKING:
    from fastgmm.fitting.em import FitState

__all__ = ["ProgressBar", "check_progress", "tqdm_bar"]


def check_progress(progress: Any) -> bool:
    """Return whether a bar is wanted; raise InvalidParameterError if that is no yes or no."""
    if not isinstance(progress, bool):
        raise InvalidParameterError(f"progress must be True or False, got {progress!r}")
    return progress


def tqdm_bar() -> Any:
    """Return tqdm's bar for terminals and notebooks; ImportError if it is not installed."""
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("progress=True needs tqdm: pip install 'fastgmm[plot]'") from error
    return tqdm


class ProgressBar(Observer):
    """A bar of iterations on standard error, or in a notebook.

    How many iterations there will be is not known. The first start is taken to need `max_iter`, others as many as those
    before them on average: from that follows the time left.

    Parameters
    ----------
    n_starts : int
        Number of starts.
    max_iter : int
        Largest number of iterations of each.

    Raises
    ------
    ImportError
        If tqdm is not installed.
    """

    def __init__(self, n_starts: int, max_iter: int) -> None:
        self._tqdm, self._n_starts, self._expected = tqdm_bar(), n_starts, max_iter
        self._bar: Any = None
        self._source: Any = None
        self._best, self._text = -math.inf, ""

    def watch_rows(self, source: Any) -> None:
        """Show also how far a pass is, where a source tells and nobody has asked it yet."""
        if getattr(source, "progress", self) is None:
            self._source, source.progress = source, self._rows

    def _rows(self, passes: int, done: int, total: int | None) -> None:
        """Show how many rows of a pass are done."""
        if self._bar is not None and total:
            self._bar.set_postfix_str(f"{self._text}{done / total:.0%} of a pass", refresh=False)
            self._bar.update(0)

    def begin_start(self, init: int) -> None:
        """Show the bar, and the number of the start."""
        if self._bar is None:
            self._bar = self._tqdm(total=self._n_starts * self._expected, miniters=0)
        self._init, self._before = init, self._bar.n
        self._bar.set_description(f"start {init + 1} of {self._n_starts}", refresh=False)

    def end_iteration(self, state: FitState | None) -> bool:
        """Move the bar, and show the log-likelihood."""
        if state is not None:
            others = self._n_starts - self._init - 1
            self._bar.total = self._before + max(self._expected, state.iteration) + others * self._expected
            best = f", best {self._best:.6g}" if self._init else ""
            self._text = f"log-likelihood {state.lower_bound:.6g}{best}, "
            self._bar.set_postfix_str(self._text.removesuffix(", "), refresh=False)
            self._bar.update()
        return False

    def end_start(self, state: FitState | None) -> bool:
        """Expect of the other starts what those so far have needed."""
        if state is not None:
            self._best = max(self._best, state.lower_bound)
        ended = self._init + 1
        self._expected = math.ceil(self._bar.n / ended)
        self._bar.total = self._bar.n + (self._n_starts - ended) * self._expected
        return False

    def close(self) -> None:
        """Leave the bar as it is, and the line that it is in; ask the source no more."""
        if self._source is not None:
            self._source.progress = None
        if self._bar is not None:
            self._bar.close()
