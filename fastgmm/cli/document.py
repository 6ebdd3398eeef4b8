"""What the commands have found, as plain dictionaries: `--json` prints them, the report is made of them."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np

from fastgmm._version import __version__
from fastgmm.mixture import Mixture
from fastgmm.selection import Candidate, Selection
from fastgmm.selection.criteria import CRITERIA, Measured

from .data import Data

__all__ = ["as_json", "candidate", "data", "fit", "model", "score"]


def as_json(document: dict[str, Any]) -> str:
    """One JSON document; numbers that JSON has no word for are null."""
    return json.dumps(_finite(document), indent=2, allow_nan=False)


def fit(found: Selection, rows: Data, options: dict[str, Any], files: dict[str, str], seconds: float) -> dict[str, Any]:
    """Everything that `fit` found.

    Parameters
    ----------
    found : Selection
    rows : Data
    options : dict
        Of the search: the seed, and arguments of `fastgmm.select`.
    files : dict of str to str
        What was written, by kind.
    seconds : float
        Wall time of all fits.

    Returns
    -------
    document : dict
    """
    best = found.chosen
    return {
        "fastgmm": __version__,
        "data": data(rows),
        "options": options,
        "criterion": found.criterion.name,
        "candidates": [candidate(each) for each in found.candidates],
        "chosen": {
            **candidate(best),
            "index": found.candidates.index(best),
            "log_likelihood_per_row": float(best.result.log_likelihood),
            "optima": [each._asdict() for each in best.result.optima()],
            "failed_starts": best.result.n_failed_inits,
        },
        "model": model(best.mixture, rows.names),
        "files": files,
        "seconds": seconds,
    }


def data(rows: Data) -> dict[str, Any]:
    """Which rows were read."""
    missing, unobserved = rows.gaps()
    return {
        "file": rows.path,
        "rows": rows.n_rows,
        "columns": rows.names,
        "dtype": np.dtype(rows.dtype).name,
        "total_weight": rows.total_weight,
        "weighted": rows.weighted,
        "labelled": rows.labelled,
        "known_rows": rows.n_known,
        "missing_values": missing,
        "unobserved_rows": unobserved,
    }


def candidate(each: Candidate) -> dict[str, Any]:
    """One fit, or why there is none."""
    result = each.result
    return {
        "covariance_type": each.covariance_type,
        "n_components": each.n_components,
        "n_parameters": None if result is None else result.mixture.n_parameters,
        "log_likelihood": each.log_likelihood,
        **{name: each.value(name) for name in CRITERIA},
        "iterations": None if result is None else int(result.n_iter),
        "converged": None if result is None else bool(result.converged),
        "stopped_by": None if result is None else result.stopped_by,
        "collapses": None if result is None else [dataclasses.asdict(event) for event in result.collapses],
        "seconds": each.seconds,
        "abandoned": each.abandoned,
        "error": None if each.error is None else str(each.error) or type(each.error).__name__,
    }


def model(mixture: Mixture, names: list[str] | None) -> dict[str, Any]:
    """A mixture; `names` of the features if they are known. `spread` are standard deviations."""
    K, D = mixture.means.shape
    spread = np.sqrt(mixture.family.variances(mixture.covariances, K, D))
    return {
        "covariance_type": mixture.covariance_type,
        "n_components": K,
        "n_features": D,
        "n_parameters": mixture.n_parameters,
        "dtype": mixture.dtype.name,
        "columns": None if names is None else list(names),
        "components": [
            {"weight": float(mixture.weights[k]), "mean": mixture.means[k].tolist(), "spread": spread[k].tolist()}
            for k in range(K)
        ],
        "noise": None if mixture.noise is None else dataclasses.asdict(mixture.noise),
        "covariances": mixture.covariances.tolist(),
    }


def score(mixture: Mixture, rows: Data, per_row: float) -> dict[str, Any]:
    """How well a mixture describes rows; `per_row` is its mean log-likelihood."""
    described = data(rows)
    total = described["total_weight"]
    measured = Measured(per_row * total, mixture.n_parameters, total)
    return {
        "data": described,
        "log_likelihood": per_row * total,
        "log_likelihood_per_row": per_row,
        **{name: float(value(measured)) for name, value in CRITERIA.items()},
    }


def _finite(value: Any) -> Any:
    """`value` with None for NaN and infinities, however deep."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
