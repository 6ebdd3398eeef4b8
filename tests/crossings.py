"""Rows in every kind of place, crossed with everything a fit can do: what is equal to a fit of an array, and how.

`test_crossings.py` makes these fits and compares them; `python tests/crossings.py` writes the table of docs/sources.md.
"""

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from problems import no_convergence_warning

import fastgmm
from fastgmm import covariance
from fastgmm.distributed import DaskSource, GappedDaskSource
from fastgmm.sources import BatchSource, GappedBatchSource

PAGE = Path(__file__).parents[1] / "docs" / "sources.md"
BEGIN, END = "<!-- crossings:begin -->\n", "<!-- crossings:end -->"

N, D, K = 5000, 3, 3
STRUCTURES = tuple(name for name in covariance.names() if name not in ("E", "V"))
LOW_RANK = ("mfa:1", "mppca:1")


class Rows(NamedTuple):
    """Rows (N, D), and what may be known of them: weights (N,) and components (N,), -1 where they are not known."""

    X: np.ndarray
    weights: np.ndarray | None
    labels: np.ndarray | None

    def parts(self):
        """Return batches of uneven sizes, each as short as it can be."""
        cuts = (0, 10, 1234, len(self.X))
        cut = [[None if a is None else a[i:j] for a in self] for i, j in itertools.pairwise(cuts)]
        if self.labels is not None:
            return [tuple(part) for part in cut]
        return [part[0] if self.weights is None else tuple(part[:2]) for part in cut]


@functools.cache
def rows(beside, n):
    """Return n rows that a crossing is of: three clusters, with gaps and in float32 if that is asked for."""
    rng = np.random.default_rng(0)
    centre = rng.choice([-5.0, 0.0, 5.0], n)
    X = rng.normal(size=(n, D)) + centre[:, None]
    labels = np.where(rng.random(n) < 0.2, np.searchsorted([-1.0, 1.0], -centre), -1)
    weights = rng.integers(0, 3, n).astype(float)
    if "gaps" in beside:
        X[:, 1:][rng.random((n, D - 1)) < 0.1] = np.nan
    X = X.astype(np.float32) if "float32" in beside else X
    if "strays" in beside:  # labels of rows of weight zero, that say nothing
        labels = np.where((weights == 0) & (rng.random(n) < 0.5), rng.choice([0, 2, 9], n), labels)
    return Rows(X, weights if "weights" in beside else None, labels if "labels" in beside else None)


def _npy(folder, own):
    np.save(folder / "rows.npy", own.X)
    return folder / "rows.npy"


def _memory_map(source, folder, own):
    mapped = np.load(_npy(folder, own), mmap_mode="r")
    return source(mapped, own.weights, known_labels=own.labels, max_memory="200 MB")


def _file(source, folder, own):
    return source(_npy(folder, own), own.weights, known_labels=own.labels)


def _parquet(source, folder, own):
    import pyarrow
    import pyarrow.parquet

    columns = {f"x{j}": own.X[:, j] for j in range(D)}
    columns |= {name: values for name, values in (("w", own.weights), ("y", own.labels)) if values is not None}
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "rows.parquet", row_group_size=999)
    named = {"weights": own.weights is not None and "w", "labels": own.labels is not None and "y"}
    return source(folder / "rows.parquet", **{what: name or None for what, name in named.items()})


def _batches(source, folder, own):
    return source(own.parts())


def _once(source, folder, own):
    return source(iter(own.parts()), spool=folder)


def _dask(source, folder, own):
    import dask.array

    source = GappedDaskSource if source is GappedBatchSource else DaskSource
    return source(dask.array.from_array(own.X, chunks=(1300, D)), own.weights, known_labels=own.labels)


PLACES: dict[str, Callable[..., Any]] = {
    "memory map": _memory_map,
    "NPY file": _file,
    "Parquet": _parquet,
    "batches": _batches,
    "batches that come once": _once,
    "Dask": _dask,
}


class Crossing(NamedTuple):
    """What is fitted to the rows of every place.

    Attributes
    ----------
    options : dict
        Arguments of `fastgmm.fit`, or of `fastgmm.select`.
    beside : str
        Which of weights, labels, gaps and float32 there are, and strays, labels of rows of weight zero.
    families : tuple of str
        Each is fitted; none: they are what `select` chooses among.
    """

    options: dict[str, Any]
    beside: str = ""
    families: tuple[str, ...] = ("full",)


_HELD = {"fixed": {"means": [True, False, False]}, "means_init": np.array([[-5.0], [0.0], [5.0]]) + np.zeros(D)}
_NEC = {"criterion": "nec", "noise": True, "n_components": [1, 3]}
_CV = {"criterion": "cv", "n_folds": 3}
_ALL = {"noise": True, "prior": "conjugate", "acceleration": "lbfgs", "stopping": "aitken", "n_init": 2}

CROSSINGS = {
    "every covariance structure": Crossing({}, families=STRUCTURES),
    "factor analysers, principal components": Crossing({}, families=LOW_RANK),
    "float32": Crossing({}, "float32", ("full", "tied", "diag")),
    "weights": Crossing({}, "weights", STRUCTURES),
    "known labels": Crossing({}, "labels", STRUCTURES),
    "labels of rows of weight zero": Crossing({}, "weights labels strays"),
    "noise": Crossing({"noise": True}, families=STRUCTURES),
    "noise of a given volume": Crossing({"noise": 20.0**D}, "weights"),
    "a prior": Crossing({"prior": "conjugate"}, "weights", STRUCTURES),
    "a floor of covariances": Crossing({"on_collapse": "reseed", "covariance_floor": 0.05}, "weights"),
    "held means": Crossing(_HELD, "weights"),
    "equal weights": Crossing({"equal_weights": True}, "weights"),
    "acceleration: SQUAREM": Crossing({"acceleration": "squarem"}, "weights", STRUCTURES),
    "acceleration: L-BFGS": Crossing({"acceleration": "lbfgs"}, "weights", STRUCTURES),
    "a race of starts": Crossing({"init_params": "race", "n_init": 2}, "weights"),
    "split-and-merge moves": Crossing({"split_merge": 1}, "weights"),
    "selection by BIC": Crossing({}, "weights", ()),
    "selection by ICL, with noise": Crossing({"criterion": "icl", "noise": True}, "weights", ()),
    "selection by NEC, with noise": Crossing(_NEC, "weights", ()),
    "selection by cross-validation, with known labels": Crossing(_CV, "weights labels", ()),
    "gaps": Crossing({"missing": "em"}, "gaps", STRUCTURES),
    "gaps, noise": Crossing({"missing": "em", "noise": True}, "gaps", ("full", "tied", "diag")),
    "gaps, weights, known labels": Crossing({"missing": "em"}, "gaps weights labels", ("full", "EEI")),
    "selection, with gaps": Crossing({"missing": "em"}, "gaps", ()),
    "selection by cross-validation, with gaps and noise": Crossing({**_CV, "missing": "em", "noise": True}, "gaps", ()),
    "weights, known labels, noise, a prior, two starts, L-BFGS": Crossing(_ALL, "weights labels", STRUCTURES),
}


def _found(crossing, family, X, **beside):
    """Return the fit, or all fits of a selection, and their numbers or the criterion."""
    if family is None:
        families = ("full", "diag", "EEE")
        options = {"n_components": [2, 3], **crossing.options, **beside}
        chosen = fastgmm.select(X, covariance_type=families, random_state=0, **options)
        values = [one.value(chosen.criterion.name) for one in chosen.candidates]
        return [one.result for one in chosen.candidates], values
    options = {"random_state": 0, "max_iter": 4, "tol": 0.0, **crossing.options, **beside}
    with no_convergence_warning():
        result = fastgmm.fit(X, K, covariance_type=family, **options)
    own = result.mixture
    noise = [] if own.noise is None else [own.noise.weight, own.noise.log_volume]
    return result, [result.lower_bound, *own.weights, *own.means.ravel(), *np.ravel(own.covariances), *noise]


@functools.cache
def _of_array(name, family, n):
    """Return what `_found` does of rows in an array: once for all places."""
    own = rows(CROSSINGS[name].beside, n)
    return _found(CROSSINGS[name], family, own.X, sample_weight=own.weights, known_labels=own.labels)


def equality(name, place, folder, n=N, n_families=None):
    """Return "bits" or "rounding": how fits of rows in a place equal those of an array, or AssertionError."""
    crossing = CROSSINGS[name]
    own = rows(crossing.beside, n)
    source = GappedBatchSource if "gaps" in crossing.beside else BatchSource
    worst = "bits"
    for family in crossing.families[:n_families] or (None,):
        whole, expected = _of_array(name, family, n)
        found, values = _found(crossing, family, PLACES[place](source, folder, own))
        worst = worst if found == whole else "rounding"
        near = 1e-4 if own.X.dtype == np.float32 else 1e-7
        np.testing.assert_allclose(values, expected, rtol=near, atol=near, err_msg=f"{family}, {place}")
    return worst


def expected(crossing, place):
    """Return how fits should be equal: sums over rows in another order than an array's are so to rounding."""
    return "rounding" if place == "Dask" or "gaps" in crossing.beside else "bits"


def table():
    """Return the table in Markdown."""
    heads = ["", *PLACES]
    lines = [[name, *(expected(crossing, place) for place in PLACES)] for name, crossing in CROSSINGS.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in [heads, ["---"] * len(heads), *lines]) + "\n"


def in_page(text):
    """Return where the table begins and ends in a page."""
    return text.index(BEGIN) + len(BEGIN), text.index(END)


def main():
    """Write the table."""
    text = PAGE.read_text(encoding="utf-8")
    first, last = in_page(text)
    PAGE.write_text(text[:first] + table() + text[last:], encoding="utf-8")


if __name__ == "__main__":
    main()
