"""What a sweep has found: its cells, the best of them, and a report."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .candidate import Candidate
from .criteria import Criterion

if TYPE_CHECKING:
    import pandas

    from fastgmm.estimators import GaussianMixture

__all__ = ["Records", "Selection"]

N_RUNNERS_UP = 3
WIDTH = 100


class Records(list):
    """A list of dictionaries with the same keys."""

    def to_pandas(self) -> pandas.DataFrame:
        """Return the records as a data frame.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas") from error
        return pandas.DataFrame.from_records(self)


@dataclasses.dataclass(frozen=True, repr=False)
class Selection:
    """All cells of a sweep and the criterion that ranks them.

    Attributes
    ----------
    candidates : tuple of Candidate
        By number of components, then by family; of an interrupted sweep those that it came to.
    criterion : Criterion
        The measure.
    n_rows : float
        Number of rows, or their total weight.
    n_features : int
    seconds : float
        Wall time, that of earlier parts of a resumed sweep included.
    interrupted : bool
        Whether Ctrl-C ended it.
    settings : dict
        Of the sweep, its seed included.
    fingerprint, visited
        By which it can be resumed.
    feature_names : ndarray or None
        Of the rows.

    Examples
    --------
    >>> import fastgmm, numpy as np
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> found = fastgmm.select(X, range(1, 3), ["full", "diag"], random_state=0)
    >>> found.best
    GaussianMixture(covariance_type='diag', max_iter=1000, random_state=0,
                    reg_covar=0.0, tol=1e-05)
    >>> len(found.table), sorted(found.table[0])[:3]
    (4, ['abandoned', 'aic', 'aicc'])
    """

    candidates: tuple[Candidate, ...]
    criterion: Criterion
    n_rows: float
    n_features: int
    seconds: float
    interrupted: bool
    settings: dict[str, Any]
    fingerprint: tuple[Any, ...]
    visited: frozenset[tuple[str, str, int]]
    feature_names: Any = None

    @cached_property
    def ranked(self) -> list[Candidate]:
        """The cells that were fitted, the best first; among equals the one with fewer parameters."""
        losses = [(each.loss(self.criterion.name), each) for each in self.candidates]
        fitted = [(loss, each) for loss, each in losses if math.isfinite(loss)]
        return [each for _, each in sorted(fitted, key=lambda pair: (pair[0], pair[1].mixture.n_parameters))]

    @property
    def chosen(self) -> Candidate:
        """The cell with the best criterion."""
        return self.ranked[0]

    @property
    def runners_up(self) -> list[Candidate]:
        """All other cells that were fitted, the next best first."""
        return self.ranked[1:]

    @cached_property
    def best(self) -> GaussianMixture:
        """The best cell as a fitted estimator, with the parameters that fit it again."""
        from fastgmm.estimators import GaussianMixture  # loads scikit-learn, which a search does not need

        chosen, settings = self.chosen, self.settings
        names = ("tol", "stopping", "max_iter", "max_time", "acceleration", "reg_covar", "on_collapse", "missing")
        parameters = {name: settings[name] for name in (*names, "covariance_floor", "equal_weights", "prior", "noise")}
        return GaussianMixture.from_result(
            chosen.result,
            self.feature_names,
            covariance_type=chosen.covariance_type,
            random_state=settings["seed"],
            **parameters,
        )

    @property
    def table(self) -> Records:
        """One record of each cell: sizes, log-likelihood, all criteria, and how its fit went."""
        return Records(each.record() for each in self.candidates)

    def plot(self) -> Any:
        """Draw the criterion against the number of components, a line for each structure.

        Returns
        -------
        figure : matplotlib.figure.Figure
            `fastgmm.plot.save_picture` writes it to a file.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from fastgmm.plot import criterion_lines

        name = self.criterion.name
        lines: dict[str, list[tuple[int, float, bool]]] = {}
        for each in self.candidates:
            if each.result is not None:
                point = each.n_components, each.value(name), each.abandoned is not None
                lines.setdefault(each.covariance_type, []).append(point)
        chosen = self.chosen
        label = f"{self.criterion.title} ({self.criterion.direction})"
        return criterion_lines(lines, (chosen.covariance_type, chosen.n_components), label)

    def report(self) -> str:
        """Return the result as text: the table of the criterion, the best, the runners-up, and what failed and why."""
        return "\n".join(self._lines())

    def reasons(self) -> str:
        """Return why cells failed, a line for each reason."""
        return "\n".join(self._reasons())

    def _lines(self) -> Iterator[str]:
        chosen, name = self.chosen, self.criterion.name
        yield f"Selection by {self.criterion.title} ({self.criterion.direction}), {self.n_rows:g} rows, " + (
            f"{self.n_features} features, {self.seconds:.2g} s" + (", interrupted" if self.interrupted else "")
        )
        yield from self._table()
        yield f"best: {_what(chosen)}, {self.criterion.title} {chosen.value(name):.2f}"
        for each in self.runners_up[:N_RUNNERS_UP]:
            yield f"then: {_what(each)}, {each.value(name) - chosen.value(name):+.2f}"
        yield from self._warnings()
        yield from self._reasons()

    def _table(self) -> Iterator[str]:
        """Rows of K, columns of structures, as many at a time as fit."""
        name = self.criterion.name
        cells = {(each.covariance_type, each.n_components): each for each in self.candidates}
        families = list(dict.fromkeys(family for family, _ in cells))
        texts = {key: self._text(each.value(name), each) for key, each in cells.items()}
        width = 2 + max(map(len, [*texts.values(), *families]))
        step = max(1, (WIDTH - 4) // width)
        for block in (families[first : first + step] for first in range(0, len(families), step)):
            yield "   K" + "".join(f"{family:>{width - 1}} " for family in block).rstrip()
            for K in dict.fromkeys(K for _, K in cells):
                yield f"{K:>4}" + "".join(f"{texts.get((family, K), ' '):>{width}}" for family in block).rstrip()

    def _text(self, value: float, each: Candidate) -> str:
        if each.result is None:
            return "failed "
        mark = "*" if each is self.chosen else "." if each.abandoned else " " if each.result.converged else "~"
        return (f"{value:.1f}" if abs(value) >= 10 else f"{value:.4g}") + mark

    def _warnings(self) -> Iterator[str]:
        abandoned = sum(each.abandoned is not None for each in self.candidates)
        if abandoned:
            yield f". abandoned: {abandoned} of {len(self.candidates)} fits could not become the best"
        loose = [each for each in self.candidates if each.result is not None and not each.abandoned]
        loose = [each for each in loose if not each.result.converged]
        if loose:
            yield f"~ not converged: {len(loose)} of {len(self.candidates)}; raise max_iter or tol"
        numbers = {each.n_components for each in self.candidates}
        if len(numbers) > 1 and self.chosen.n_components == max(numbers):
            yield "the best has the largest number of components that was tried: more may be better"

    def _reasons(self) -> Iterator[str]:
        """Failed cells, those together whose reasons differ in their numbers only."""
        groups: dict[str, list[Candidate]] = {}
        for each in self.candidates:
            if each.error is not None:
                groups.setdefault(re.sub(r"\d+", "", str(each.error)), []).append(each)
        for failed in groups.values():
            where: dict[str, list[str]] = {}
            for each in failed:
                where.setdefault(each.covariance_type, []).append(str(each.n_components))
            which = "; ".join(f"{family} {','.join(numbers)}" for family, numbers in where.items())
            yield f"failed: {which}: {failed[0].record()['error']}"

    def __repr__(self) -> str:
        """The report."""
        return self.report()


def _what(each: Candidate) -> str:
    plural = "" if each.n_components == 1 else "s"
    return f"{each.covariance_type}, {each.n_components} component{plural}, {each.mixture.n_parameters} parameters"
