"""select: which family of covariances and how many components, as one search instead of many fits.

Over the numbers of components K, rising: all families start from the same partitions of few rows, and from their own
best with K - 1 components, of which one is split. The starts race for a few iterations; the winner goes on over all
rows. Then falling: two components of the best with K + 1 are merged, which often leads to a better K than any start of
its own. In the end the first of the ranking are brought closer to their optima.

What a fit may not cost is time without hope: a fit that could not become the best even if it gained ten times what its
last gains promise is abandoned. Cells of one K do not depend on each other, so that they may run beside each other, and
the result does not depend on how many do.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm import covariance, fitting
from fastgmm._checks import check_missing, check_number
from fastgmm._errors import IllDefinedCovarianceError, InvalidParameterError
from fastgmm._random import generator
from fastgmm.covariance import Family, Floor, Parameters
from fastgmm.engine import check_sample_weight
from fastgmm.engine.rows import Rows
from fastgmm.engine.threads import resolve
from fastgmm.mixture import Mixture
from fastgmm.sources import ArraySource, MissingSource, as_source, is_elsewhere

from .candidate import Candidate
from .criteria import Criterion, Measured, check_criterion, cross_validate
from .progress import Progress, progress_of
from .selection import Selection
from .starts import Few, race

__all__ = ["NothingFittedError", "select"]

# What the numbers of one cell may bring about; anything else is wrong for all of them.
_FAILURES = (ValueError, ArithmeticError, MemoryError)

RACE_ITERATIONS = 3
RACE_KEPT = 2
MARGIN = 20.0
"""How much worse than the best a fit must be, after all that it may gain, to be abandoned."""
HOPE = 10.0
"""How many times the estimate of what is to come may be wrong."""
N_IMPROVED = 2  # best cells for which better optima are looked for
MOVE_ROUNDS = 10
POLISHED = 10.0  # worse than the best by less: brought closer to the optimum
POLISH = 1e-2  # of `tol`
THIN = 1e-6  # share of the data's covariance: components below have collapsed
SMALL_WORK = 2e6  # flops of a pass below which Python takes longer than the pass: nothing runs beside anything
LARGE_WORK = 5e8  # from here on a pass keeps all threads busy


def select(
    X: Any,
    n_components: int | Iterable[int] = range(1, 10),
    covariance_type: str | Iterable[str] = "all",
    criterion: str = "bic",
    *,
    sample_weight: npt.ArrayLike | None = None,
    n_init: int = 1,
    init_params: str = "kmeans",
    tol: float = 1e-5,
    stopping: str = "gain",
    max_iter: int = 1000,
    max_time: float | None = None,
    acceleration: str | None = None,
    reg_covar: float = 0.0,
    on_collapse: str = "raise",
    covariance_floor: float | None = None,
    equal_weights: bool = False,
    prior: str | covariance.ConjugatePrior | None = None,
    abandon: bool = True,
    n_folds: int = 10,
    random_state: Any = None,
    n_threads: int | None = None,
    missing: str = "raise",
    progress: bool | Callable[[int, int, str], object] = False,
    resume: Selection | None = None,
) -> Selection:
    """Choose the number of components and the structure of their covariances.

    Every combination is fitted, as far as it may become the best; one that fails is kept with its reason and does not
    stop the others. Ctrl-C ends the search and returns what there is, which `resume` continues.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features), path, pyarrow data set, or fastgmm.sources.Source
        Rows.
    n_components : int or iterable of int, default=range(1, 10)
        Numbers of components to try.
    covariance_type : str or iterable of str, default="all"
        Structures to try: names that `GaussianMixture` knows. "all" are all of mclust's. Two names of one structure
        count once.
    criterion : str, default="bic"
        What ranks them: "bic", "aic", "aicc", "sabic", "icl", "icl_entropy", "nec", "cv", "mclust_bic" or "mclust_icl".
    sample_weight : array-like of shape (n_rows,), default=None
        Weight of each row; their sum is the number of rows that criteria take.
    n_init : int, default=1
        Starts of each kind, for each number of components.
    init_params : str, default="kmeans"
        "kmeans" makes partitions that all structures share, by k-means of standardised and of whitened rows and by
        agglomeration. The others are those of `GaussianMixture`. Splits and merges of neighbours come beside them.
    tol, stopping, max_iter, max_time, acceleration, on_collapse, covariance_floor, equal_weights, prior
        Of each fit, as in `fastgmm.fit`. `tol` has to be small beside differences of the criterion divided by the
        number of rows.
    reg_covar : float, default=0.0
        Added to the variances, in units of the features squared. Without it maxima of the likelihood are compared, and
        components that collapse onto few rows fail.
    abandon : bool, default=True
        Whether fits that have no chance of being the best are given up early. Their values in the table are those they
        had come to, worse than they would have become. With a `prior` none is given up: criteria are of the
        likelihood, which may fall on the way.
    n_folds : int, default=10
        For the criterion "cv".
    random_state : None, int, RandomState, Generator or SeedSequence, default=None
        One seed is drawn from it; an int is that seed.
    n_threads : int, default=None
        No result depends on it. Where fits are small several run beside each other.
    missing : {"raise", "em"}, default="raise"
        What happens to gaps in X, NaN: an error, or fits take the expectation over them too, as in `fastgmm.fit`.
    progress : bool or callable, default=False
        Whether to show a progress bar on standard error, which needs tqdm; or a function that is called with the number
        of visits to cells that are made, of all, and a text that says what is going on. Cells are visited twice.
    resume : Selection, default=None
        An earlier result for the same rows and settings: its cells are kept, and others added.

    Returns
    -------
    Selection
        `best` is the fitted `GaussianMixture`, `table` the records, `report()` a text, `plot()` a picture.

    Raises
    ------
    InvalidParameterError
        If an argument is out of range, a structure is unknown, or the criterion says nothing about what is asked for.
    ValueError
        If rows or weights are not valid, or no cell could be fitted: with the reason of each.

    References
    ----------
    Fraley and Raftery (2002), J. Amer. Statist. Assoc. 97:611. Celeux and Govaert (1995), Pattern Recognition 28:781.

    Examples
    --------
    >>> import numpy as np, fastgmm
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(-5, 1, (80, 2)), rng.normal(5, 1, (80, 2))])
    >>> found = fastgmm.select(X, range(1, 4), random_state=0)
    >>> found.chosen.covariance_type, found.chosen.n_components
    ('EII', 2)
    """
    names = _feature_names(X)
    settings = {
        "tol": check_number(tol, "tol", Real, 0),
        "stopping": stopping,
        "max_iter": check_number(max_iter, "max_iter", Integral, 1),
        "max_time": max_time,
        "acceleration": acceleration,
        "reg_covar": check_number(reg_covar, "reg_covar", Real, 0),
        "on_collapse": on_collapse,
        "covariance_floor": covariance_floor,
        "equal_weights": equal_weights,
        "prior": prior,
    }
    if init_params not in fitting.STARTS:
        raise InvalidParameterError(
            f"init_params must be one of {', '.join(map(repr, fitting.STARTS))}, got {init_params!r}"
        )
    wanted = check_criterion(criterion)
    numbers = _numbers(n_components, wanted)
    if not is_elsewhere(X):
        X = X if isinstance(X, Rows) else Rows(X, min_rows=2)
        sample_weight = check_sample_weight(sample_weight, X.n_rows)
    elif wanted.needs:
        raise InvalidParameterError(
            f"criterion {criterion!r} needs the rows in an array, but they are elsewhere: use 'bic', 'aic', 'aicc' or "
            "'sabic'"
        )
    source = as_source(X, sample_weight, n_threads=n_threads, missing=check_missing(missing))
    families = _families(covariance_type, source.n_features)
    if resume is not None and not isinstance(resume, Selection):
        raise InvalidParameterError(f"resume must be None or a Selection, got {type(resume).__name__}")
    seed = _seed(random_state) if resume is None or random_state is not None else resume.settings["seed"]
    plan = {
        **settings,
        "criterion": criterion,
        "n_init": check_number(n_init, "n_init", Integral, 1),
        "init_params": init_params,
        "abandon": abandon,
        "n_folds": check_number(n_folds, "n_folds", Integral, 2),
        "missing": missing,
        "seed": seed,
    }
    rows = (X, sample_weight) if not is_elsewhere(X) else (source, None)
    search = _Search(source, rows, numbers, families, wanted, settings, plan, resolve(n_threads), names)
    if resume is not None:
        search.take_over(resume)
    return search.run(progress_of(progress))


def _seed(random_state: Any) -> int:
    """One seed for all cells."""
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        generator(random_state)
        return int(random_state)
    return int(generator(random_state).integers(2**32))


def _feature_names(X: Any) -> Any:
    """The names of the columns of a data frame, None of anything else."""
    if isinstance(X, np.ndarray | list | tuple | Rows) or is_elsewhere(X):
        return None
    from fastgmm.estimators import feature_names  # loads scikit-learn, which a search does not need

    return feature_names(X)


def _numbers(n_components: Any, criterion: Criterion) -> tuple[int, ...]:
    """The numbers of components, rising, each once."""
    if isinstance(n_components, Iterable) and not isinstance(n_components, str):
        numbers = [check_number(K, "n_components", Integral, 1) for K in n_components]
    else:
        numbers = [check_number(n_components, "n_components", Integral, 1)]
    if not numbers:
        raise InvalidParameterError("n_components must hold at least one number, got none")
    numbers = tuple(sorted({int(K) for K in numbers}))
    if criterion.needs in ("entropy", "of_one") and numbers == (1,):
        raise InvalidParameterError(
            f"criterion {criterion.name!r} compares partitions, of which one component has none: add larger numbers to "
            "n_components, or use criterion='bic'"
        )
    if criterion.needs == "of_one" and 1 not in numbers:
        raise InvalidParameterError(
            f"criterion {criterion.name!r} compares with one component: add 1 to n_components, got {list(numbers)}"
        )
    return numbers


def _families(names: Any, n_features: int) -> dict[str, Family]:
    """The families by the names they were asked for, each once."""
    names = [names] if isinstance(names, str | Family) else list(names)
    families: dict[str, Family] = {}
    for name in names:
        for each in covariance.names(n_features) if isinstance(name, str) and name == "all" else [name]:
            family = covariance.get(each)
            family.check_features(n_features)
            if family not in families.values():
                families[each if isinstance(each, str) else family.name] = family
    if not families:
        raise InvalidParameterError("covariance_type must name at least one structure, got none")
    return families


class _Hope(NamedTuple):
    """Whether a fit may still become better than a target.

    From its last two gains follows Aitken's estimate of what is still to gain; several times as much is granted.
    """

    loss: Callable[[float], float]
    target: float

    def is_lost(self, bounds: list[float]) -> bool:
        """Whether there is none, after these mean log-likelihoods, of which the last three count."""
        if len(bounds) < 3:
            return False
        before, gain = bounds[-2] - bounds[-3], bounds[-1] - bounds[-2]
        if not 0 < gain < before:
            return False
        return self.loss(bounds[-1] + HOPE * gain * gain / (before - gain)) > self.target


class _Hopeless:
    """A callback that stops a fit without hope, or when the search was interrupted."""

    def __init__(self, hope: _Hope, stop: threading.Event, tell: Callable[[str], None]) -> None:
        self._hope, self._stop, self._tell, self._bounds = hope, stop, tell, []
        self.why: str | None = None

    def __call__(self, state: fitting.FitState) -> bool:
        """Return whether to stop."""
        self._bounds.append(state.lower_bound)
        self._tell(f"iteration {state.iteration}")
        if self._hope.is_lost(self._bounds):
            self.why = f"after {state.iteration} iterations it could hardly become better than {self._hope.target:.6g}"
        return self.why is not None or self._stop.is_set()


class _Interrupted(Exception):
    """The search was told to stop."""


class _Search:
    """The state of one search: cells, visits made, and where the best stands."""

    def __init__(self, source, rows, numbers, families, criterion, settings, plan, n_threads, names):
        self.source, (self.rows, self.weights) = source, rows
        # rows with gaps are sorted by them once for all fits
        self.fitted = (source, None) if isinstance(source, MissingSource) else rows
        self.numbers, self.families, self.names = numbers, families, names
        self.criterion, self.settings, self.plan = criterion, settings, plan
        self.cells: dict[tuple[str, int], Candidate] = {}
        self.visited: set[tuple[str, str, int]] = set()
        self.stop = threading.Event()
        self.n_rows = source.moments()[2]  # what is wrong with the data is wrong for every cell
        work = source.n_rows * numbers[-1] * source.n_features * (source.n_features + 4)
        is_here = isinstance(source, ArraySource)
        self.beside = n_threads if is_here and SMALL_WORK < work < LARGE_WORK else 1
        self.within = n_threads if not is_here or work >= LARGE_WORK else 1
        self.few = Few(source, numbers[-1], np.random.default_rng([plan["seed"], 0]))
        self.floor = self._floor()
        self.earlier = 0.0
        self._abandons = plan["abandon"] and plan["prior"] is None

    def _floor(self) -> Floor | None:
        """The covariances below which a component has collapsed, None where the user says what happens then."""
        if self.settings["on_collapse"] != "raise" or self.settings["covariance_floor"] is not None:
            return None
        few = self.few
        offsets = few.rows - few.mean
        total = (few.weights[:, None] * offsets).T @ offsets / few.weights.sum()
        return Floor.of(THIN, total, few.mean, self.source.dtype) if np.isfinite(total).all() else None

    def is_thin(self, family: Family, parameters: Parameters) -> bool:
        """Whether a component has collapsed."""
        floor = self.floor
        if floor is None or not floor.live.any():
            return False
        dense = family.dense_covariances(parameters.covariances, parameters.n_components, parameters.n_features)
        whiten = floor.whiten[floor.live]
        return bool((np.linalg.eigvalsh(whiten @ dense @ whiten.T)[:, 0] <= floor.share).any())

    def fingerprint(self) -> tuple[Any, ...]:
        """What tells these rows and weights from others."""
        mean, variances, weight = self.source.moments()
        shape = self.source.n_rows, self.source.n_features
        return shape, self.source.dtype.str, weight, mean.tobytes(), variances.tobytes()

    def take_over(self, earlier: Selection) -> None:
        """Begin with the cells of an earlier search."""
        if earlier.fingerprint != self.fingerprint():
            raise ValueError("resume is a selection for other rows or weights: start afresh with resume=None")
        different = [name for name, value in self.plan.items() if earlier.settings[name] != value]
        if different:
            name = different[0]
            raise ValueError(
                f"resume is a selection with {name}={earlier.settings[name]!r}, but now it is {self.plan[name]!r}: use "
                "the same, or start afresh with resume=None"
            )
        wanted = {(name, K) for name in self.families for K in self.numbers}
        self.cells = {
            key: cell for cell in earlier.candidates if (key := (cell.covariance_type, cell.n_components)) in wanted
        }
        self.visited = {visit for visit in earlier.visited if visit[1:] in self.cells}
        if any(("up", *key) not in self.visited for key in wanted):
            self.visited = {visit for visit in self.visited if visit[0] == "up"}  # neighbours are new
        self.earlier = earlier.seconds

    def run(self, progress: Progress) -> Selection:
        """Visit all cells, and return what was found, also if that is not all."""
        start, interrupted, self.progress = time.perf_counter(), False, progress
        visits = [("up", name, K) for K in self.numbers for name in self.families]
        visits += [("down", name, K) for name in self.families for K in self.numbers[:-1]]
        with progress.of(len(visits)):
            try:
                for K in self.numbers:
                    self._up(K)
                self._down()
                self._improve()
            except (KeyboardInterrupt, _Interrupted):
                interrupted = True
        found = Selection(
            tuple(self.cells[name, K] for K in self.numbers for name in self.families if (name, K) in self.cells),
            self.criterion,
            n_rows=self.n_rows,
            n_features=self.source.n_features,
            seconds=self.earlier + time.perf_counter() - start,
            interrupted=interrupted,
            settings=self.plan,
            fingerprint=self.fingerprint(),
            visited=frozenset(self.visited),
            feature_names=self.names,
        )
        if not found.ranked:
            if interrupted:
                raise KeyboardInterrupt
            raise NothingFittedError(found.reasons(), [cell.error for cell in found.candidates if cell.error])
        return found

    # ------------------------------------------------------------------------------------------------ visits

    def _each(self, tasks: list[Callable[[], Iterator[tuple[tuple[str, str, int], Candidate]]]]) -> None:
        """Run tasks, beside each other where that pays, and record what they yield."""

        def record(task):
            for visit, cell in task():
                self.cells[visit[1:]] = cell
                self.visited.add(visit)
                self._tell("")

        if self.beside == 1:
            for task in tasks:
                record(task)
            return
        with ThreadPoolExecutor(self.beside) as pool:
            try:
                for done in as_completed([pool.submit(record, task) for task in tasks]):
                    done.result()
            except BaseException:
                self.stop.set()  # fits in progress stop after their iteration
                pool.shutdown(cancel_futures=True)
                raise

    def _tell(self, text: str) -> None:
        """Tell what is going on; the last phase, of which nobody knows how long it takes, counts for nothing."""
        self.progress.show(len(self.visited), text)

    def _best(self, numbers: Iterable[int]) -> float:
        """The lowest loss of the cells with these numbers of components."""
        losses = [self._loss(cell) for (_, K), cell in self.cells.items() if K in numbers]
        return min(losses, default=math.inf)

    def _loss(self, cell: Candidate) -> float:
        return cell.loss(self.criterion.name)

    def _up(self, K: int) -> None:
        """Visit all families with K components."""
        names = [name for name in self.families if ("up", name, K) not in self.visited]
        if not names:
            return
        best = self._best(range(K))
        rng = np.random.default_rng([self.plan["seed"], 1, K])
        shared = self.few.partitions(K, self.plan["n_init"], rng) if self.plan["init_params"] == "kmeans" else []

        def task(name):
            begin = time.perf_counter()
            self._tell(f"{name} {K}")
            try:
                cell = self._fitted(name, K, self._starts(name, K, shared), best + MARGIN)
            except InvalidParameterError:
                raise
            except _FAILURES as error:
                cell = Candidate(name, K, 0.0, error=error)
            yield ("up", name, K), replace(cell, seconds=time.perf_counter() - begin)

        self._each([lambda name=name: task(name) for name in names])

    def _starts(self, name: str, K: int, shared: list[Any]) -> list[Parameters]:
        """Parameters that a family with K components may start from, after a race between them."""
        family, plan = self.families[name], self.plan
        if self.source.n_rows < K:
            raise ValueError(
                f"Expected n_samples >= n_components but got n_components = {K}, n_samples = {self.source.n_rows}"
            )
        reg_covar = plan["reg_covar"]
        given = list(shared)
        below = self.cells.get((name, K - 1))
        if below is not None and below.result is not None:
            given += self.few.splits(below.result.mixture)
        starts = [each.parameters(family, reg_covar) for each in given]
        if plan["init_params"] != "kmeans":
            seed = [plan["seed"], 2, K]
            starts += self.few.drawn(family, K, plan["init_params"], plan["n_init"], seed, reg_covar)
        return [start for start in starts if start is not None]

    def _fitted(
        self, name: str, K: int, starts: list[Parameters], target: float, only_better: bool = False
    ) -> Candidate:
        """The best fit from some starts, or the first that does not fail; `only_better`: none if there is no hope."""
        hope = _Hope(self._loss_of(name, K), target if self._abandons else math.inf)
        if K > 1:
            starts, is_lost = self._raced(name, starts, hope)
            if is_lost and only_better:
                starts = []
        error: Exception = CollapsedError()
        for start in starts:
            try:
                return self._fit(name, start, hope, K=K)
            except IllDefinedCovarianceError as failed:
                error = failed
        if self.floor is None and not only_better:  # the user says what happens to components that collapse
            plain = {"init_params": self.plan["init_params"], "n_init": self.plan["n_init"]}
            return self._fit(name, None, hope, K=K, random_state=self.plan["seed"], **plain)
        raise error

    def _raced(self, name: str, starts: list[Parameters], hope: _Hope) -> tuple[list[Parameters], bool]:
        """The starts after the race, the best first, and whether all is lost: all run, then those ahead run on."""
        few, family = self.few.source, self.families[name]
        options = {"reg_covar": self.plan["reg_covar"], "is_thin": self.is_thin}
        runners = race(few, family, starts, n_iter=RACE_ITERATIONS, **options)
        ahead = [runner.parameters for runner in runners[:RACE_KEPT]]
        is_lost = bool(runners) and self.few.is_all and hope.is_lost(runners[0].bounds)
        if len(runners) > 1 and not is_lost:
            again = race(few, family, ahead, n_iter=RACE_ITERATIONS, **options)
            ahead = [runner.parameters for runner in again]
        return ahead + [runner.parameters for runner in runners[RACE_KEPT:]], is_lost

    def _loss_of(self, name: str, K: int) -> Callable[[float], float]:
        """The criterion as a function of the mean log-likelihood, at its best: without entropy."""
        D = self.source.n_features
        m = self.families[name].n_parameters(K, D) + K * D + K - 1
        return lambda bound: self.criterion.loss(
            self.criterion(Measured(bound * self.n_rows, m, self.n_rows, K, 0.0, 0.0))
        )

    def _fit(self, name: str, start: Parameters | None, hope: _Hope, *, K: int, **options: Any) -> Candidate:
        """EM over all rows from one start; without one, from those that `fastgmm.fit` makes."""
        family = self.families[name]
        watch = _Hopeless(hope, self.stop, lambda text: self._tell(f"{name} {K}: {text}"))
        rows, weights = self.fitted
        result = fitting.run(
            rows,
            K,
            covariance_type=family,
            start=start,
            sample_weight=weights,
            n_threads=self.within,
            callback=watch,
            **{**self.settings, **options},
        )
        if self.stop.is_set():
            raise _Interrupted
        if self.is_thin(family, result.mixture.parameters):
            raise CollapsedError
        return Candidate(name, K, 0.0, result, self._measured(name, result.mixture), abandoned=watch.why)

    def _measured(self, name: str, mixture: Mixture) -> Measured:
        """What criteria need."""
        one = self.cells.get((name, 1))
        of_one = math.nan if one is None else one.log_likelihood
        options = {"entropy": not is_elsewhere(self.rows), "of_one": of_one, "n_threads": self.within}
        options["missing"] = self.plan["missing"]
        measured = mixture.measured(self.rows, self.weights, **options)
        if self.criterion.needs == "held_out":
            folds = cross_validate(
                self.rows,
                start=mixture,
                n_folds=self.plan["n_folds"],
                sample_weight=self.weights,
                random_state=self.plan["seed"],
                n_threads=self.within,
                missing=self.plan["missing"],
                **self.settings,
            )
            measured = replace(measured, held_out=folds.log_likelihood)
        return measured

    def _down(self) -> None:
        """Visit all families again, from many components to few, with what merging says."""
        best = self._best(self.numbers)

        def task(name):
            for K in reversed(self.numbers[:-1]):
                if ("down", name, K) not in self.visited:
                    begin = time.perf_counter()
                    cell = self._merged(name, K, best)
                    yield ("down", name, K), replace(cell, seconds=cell.seconds + time.perf_counter() - begin)

        self._each([lambda name=name: task(name) for name in self.families])

    def _merged(self, name: str, K: int, best: float) -> Candidate:
        """The cell, or a better one whose fit began with two components of K + 1 made one."""
        cell, above = self.cells[name, K], self.cells.get((name, K + 1))
        if K == 1 or above is None or above.result is None:
            return cell
        if self._abandons and min(self._loss(cell), self._loss(above)) > best + 2 * MARGIN:
            return cell
        return self._better(cell, self.few.merges(above.mixture))

    def _improve(self) -> None:
        """Look for better optima of the best cells: two components merged and a third split; then polish them."""
        cells = [cell for cell in self.cells.values() if cell.result is not None and cell.n_components > 1]
        for cell in sorted(cells, key=self._loss)[:N_IMPROVED]:
            key, begin = (cell.covariance_type, cell.n_components), time.perf_counter()
            if cell.n_components > 2 and ("move", *key) not in self.visited:
                cell = self._moved(cell)
            if cell.result.stopped_by == "tol" and self._loss(cell) <= self._best(self.numbers) + POLISHED:
                cell = self._polished(cell)
            self.visited.add(("move", *key))
            if cell is not self.cells[key]:
                self.cells[key] = replace(cell, seconds=self.cells[key].seconds + time.perf_counter() - begin)

    def _moved(self, cell: Candidate) -> Candidate:
        """The cell, or a better one with as many components."""
        for _ in range(MOVE_ROUNDS):
            moves = self.few.moves(cell.mixture, self.plan["reg_covar"])
            better = self._better(cell, moves)
            if better is cell:
                break
            cell = better
        return cell

    def _better(self, cell: Candidate, given: list[Any]) -> Candidate:
        """The cell, or a better one whose fit began from other responsibilities."""
        name, K = cell.covariance_type, cell.n_components
        starts = [each.parameters(self.families[name], self.plan["reg_covar"]) for each in given]
        try:
            found = self._fitted(name, K, [start for start in starts if start is not None], self._loss(cell), True)
        except InvalidParameterError:
            raise
        except _FAILURES:
            return cell
        return found if self._loss(found) < self._loss(cell) else cell

    def _polished(self, cell: Candidate) -> Candidate:
        """The cell closer to its optimum."""
        name, K = cell.covariance_type, cell.n_components
        finer = {"tol": POLISH * self.plan["tol"], "acceleration": self.plan["acceleration"] or "squarem"}
        try:
            hope = _Hope(self._loss_of(name, K), math.inf)
            closer = self._fit(name, cell.mixture.parameters, hope, K=cell.mixture.n_components, **finer)
        except _FAILURES:
            return cell
        return closer if self._loss(closer) < self._loss(cell) else cell


class NothingFittedError(ValueError):
    """No cell of a sweep could be fitted.

    Attributes
    ----------
    errors : list of Exception
        Of each cell, in order.
    """

    def __init__(self, reasons: str, errors: list[Exception]) -> None:
        super().__init__(f"No cell could be fitted.\n{reasons}")
        self.errors = errors


class CollapsedError(IllDefinedCovarianceError):
    """All starts of a cell led to components that had collapsed onto few rows."""

    def __str__(self) -> str:
        """What happened, and what helps."""
        return (
            "components collapsed onto rows that hardly differ, or features do not vary or follow from others: there "
            "the likelihood has no maximum; fewer components, reg_covar or on_collapse='floor' help"
        )
