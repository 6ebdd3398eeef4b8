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

from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm import covariance, fitting
from fastgmm._checks import check_choice, check_missing, check_number
from fastgmm._errors import InvalidParameterError
from fastgmm._names import feature_names
from fastgmm._random import generator
from fastgmm.covariance import Family
from fastgmm.engine import check_sample_weight
from fastgmm.engine.rows import Rows
from fastgmm.engine.threads import resolve
from fastgmm.fitting.arguments import check_moves, check_split_merge
from fastgmm.fitting.starts import check_init_params, is_raced
from fastgmm.sources import ArraySource, SharedPasses, as_source, is_elsewhere

from .criteria import Criterion, check_criterion
from .problem import Problem
from .progress import progress_of
from .search import Search
from .selection import Selection

__all__ = ["select"]


def select(
    X: Any,
    n_components: int | Iterable[int] = range(1, 10),
    covariance_type: str | Iterable[str] = "all",
    criterion: str = "bic",
    *,
    sample_weight: npt.ArrayLike | None = None,
    n_init: int = 1,
    init_params: str | Sequence[Any] = "kmeans",
    split_merge: int = 0,
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
    noise: bool | float | None = None,
    known_labels: npt.ArrayLike | None = None,
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
    X : array-like of shape (n_rows, n_features), path, pyarrow data set, Dask collection, or fastgmm.sources.Source
        Rows. Where they are not in an array criteria that the search does not need are not computed if they take a
        pass of their own, and starts are made of a sample.
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
    init_params : str or list, default="kmeans"
        "kmeans" makes partitions that all structures share, by k-means of standardised and of whitened rows and by
        agglomeration. The others are those of `GaussianMixture`. Splits and merges of neighbours come beside them.
        "race" or a list of names and callables gives every cell a race of its own, and runs from the best of it, as
        `fastgmm.fit` does; merges come beside them, and what others start from only where all these runs collapse.
    split_merge : int, default=0
        Largest number of split-and-merge moves that every cell makes, as in `fastgmm.fit`; the search makes some with
        its best cells in any case. Cells with moves or races are never given up early.
    tol, stopping, max_iter, max_time, acceleration, on_collapse, covariance_floor, equal_weights, prior
        Of each fit, as in `fastgmm.fit`. `tol` has to be small beside differences of the criterion divided by the
        number of rows.
    noise : None, True or float, default=None
        Whether there is a uniform component for outliers, and its volume, the same in all cells: see `fastgmm.fit`.
    known_labels : array-like of shape (n_rows,), default=None
        Components of rows that are known, -1 for others: see `fastgmm.fit`. Cells with fewer components than they name
        fail. Criteria take the likelihood of rows and labels, and components are neither split nor merged.
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
        "noise": noise,
    }
    if is_raced(init_params):
        check_init_params(init_params, None, None)
    else:
        check_choice(init_params, "init_params", (*fitting.STARTS, fitting.RACE))
    wanted = check_criterion(criterion)
    numbers = _numbers(n_components, wanted)
    if not is_elsewhere(X):
        X = Rows.of(X, min_rows=2)
        sample_weight = check_sample_weight(sample_weight, X.n_rows)
    source = as_source(X, sample_weight, known_labels=known_labels, n_threads=n_threads, missing=check_missing(missing))
    if wanted.needs == "held_out" and not source.gives_folds:
        raise InvalidParameterError(
            f"criterion {criterion!r} leaves rows out, which a {type(source).__name__} without `only` cannot: use 'bic'"
        )
    names = feature_names(source if is_elsewhere(X) else X)
    check_moves(source, split_merge)
    if wanted.needs == "of_one" and source.n_named > 1:
        raise InvalidParameterError(
            f"criterion {criterion!r} compares with one component, but known_labels name {source.n_named}: use 'bic'"
        )
    families = _families(covariance_type, source.n_features)
    if not isinstance(source, ArraySource) and not source.is_bounded and len(families) > 1:
        source = SharedPasses(source)
    if resume is not None and not isinstance(resume, Selection):
        raise InvalidParameterError(f"resume must be None or a Selection, got {type(resume).__name__}")
    seed = _seed(random_state) if resume is None or random_state is not None else resume.settings["seed"]
    plan = {
        **settings,
        "criterion": criterion,
        "n_init": check_number(n_init, "n_init", Integral, 1),
        "init_params": init_params,
        "split_merge": check_split_merge(split_merge, None, noise),
        "abandon": abandon,
        "n_folds": check_number(n_folds, "n_folds", Integral, 2),
        "missing": missing,
        "seed": seed,
    }
    rows = (X, sample_weight) if not is_elsewhere(X) else (source, None)
    search = Search(Problem(source, *rows, numbers, families, wanted, settings, plan, resolve(n_threads), names))
    if resume is not None:
        search.take_over(resume)
    return search.run(progress_of(progress))


def _seed(random_state: Any) -> int:
    """One seed for all cells."""
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        generator(random_state)
        return int(random_state)
    return int(generator(random_state).integers(2**32))


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
