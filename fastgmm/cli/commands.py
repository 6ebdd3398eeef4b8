"""The commands: each takes the parsed arguments, does its work, and writes what it found."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shlex
import sys
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastgmm import covariance
from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.io.files import check_writable
from fastgmm.io.tables import Table, TableError, check_table, read_table, write_csv, write_table
from fastgmm.mixture import Mixture, load
from fastgmm.selection.sweep import Candidate, Sweep, sweep

from . import document, report
from .arguments import SETTINGS
from .terminal import Style, log_lines, progress_bar

__all__ = ["FitFailedError", "fit", "info", "predict", "sample", "score"]


class FitFailedError(ValueError):
    """The data are sound, but no mixture could be fitted to them."""

    exit_code = 1


def fit(options: Any) -> None:
    """Fit all candidates, write the files that were asked for, and report the best."""
    outputs = {kind: getattr(options, kind) for kind in ("model", "labels", "plot", "convergence")}
    outputs = {kind: path for kind, path in outputs.items() if path is not None}
    _check_outputs(outputs)
    families = _families(options.covariance)
    table = _read(options.file, options.columns, options.weights, dtype="float32" if options.float32 else None)
    start = time.perf_counter()
    with log_lines(sys.stderr) if options.verbose else contextlib.nullcontext():
        found = _sweep(table, families, options)
    seconds = time.perf_counter() - start
    mixture = found.best.mixture
    if table.named:
        mixture = Mixture.from_parameters(mixture.parameters, mixture.family, feature_names=table.names)
    _write_outputs(outputs, mixture, table, found.best, options.threads)
    described = document.fit(found, table, {"seed": options.seed, **_settings(options)}, outputs, seconds)
    if options.json:
        print(document.as_json(described))
    else:
        print(report.fit(described, Style.of(sys.stdout)))


def predict(options: Any) -> None:
    """Write the component of every row, and on request the probabilities."""
    _check_outputs({"output": options.output})
    mixture = load(options.model)
    table = _read_for(mixture, options.file, options.columns)
    columns: dict[str, np.ndarray] = {"label": mixture.predict(table.values, n_threads=options.threads)}
    if options.proba:
        probabilities = mixture.predict_proba(table.values, n_threads=options.threads)
        columns |= {f"p{k}": probabilities[:, k] for k in range(mixture.n_components)}
    _write_columns(columns, options.output)


def score(options: Any) -> None:
    """Report the log-likelihood of all rows, or write that of each."""
    if options.per_row and options.json and options.output is None:
        raise ValueError("--per-row writes CSV, --json a report: give one of them, or a file to the rows by --output")
    _check_outputs({"output": options.output})
    mixture = load(options.model)
    table = _read_for(mixture, options.file, options.columns, options.weights)
    if options.per_row or options.output is not None:
        _write_columns({"log_density": mixture.score_samples(table.values, n_threads=options.threads)}, options.output)
        if options.output is None:
            return
    per_row = mixture.score(table.values, sample_weight=table.weights, n_threads=options.threads)
    described = document.score(mixture, table, float(per_row))
    print(document.as_json(described) if options.json else report.score(described, Style.of(sys.stdout)))


def sample(options: Any) -> None:
    """Write random rows."""
    _check_outputs({"output": options.output})
    mixture = load(options.model)
    rows, labels = mixture.sample(options.rows, random_state=options.seed)
    names = mixture.feature_names or [f"x{j}" for j in range(1, mixture.n_features + 1)]
    columns = dict(zip(_distinct(names, "label"), rows.T, strict=True))
    _write_columns({**columns, "label": labels}, options.output)


def info(options: Any) -> None:
    """Report what a model file holds."""
    mixture = load(options.model)
    names = None if mixture.feature_names is None else list(mixture.feature_names)
    described = document.model(mixture, names)
    print(document.as_json(described) if options.json else report.info(described, options.model, Style.of(sys.stdout)))


def _families(names: list[str] | None) -> list[str]:
    """The families asked for, each known and once."""
    known = covariance.known()
    for name in names or ():
        if name not in known and name != "all":
            raise ValueError(f"--covariance: {name!r} is not a family; they are {', '.join(known)}, or all")
    families: list[str] = []
    for name in names or covariance.SKLEARN:
        families += covariance.names() if name == "all" else [name]
    return list(dict.fromkeys(families))


def _settings(options: Any) -> dict[str, Any]:
    """What the estimation is told, as `fastgmm.fit` calls it."""
    return {name: getattr(options, name) for name in SETTINGS}


def _sweep(table: Table, families: list[str], options: Any) -> Sweep:
    """All fits, under a progress bar."""
    names = [f"{family} {K}" for K in options.components for family in families]  # in the order of the sweep
    n_done = 0
    with progress_bar(len(names), names[0], None if options.verbose else sys.stderr) as show:

        def count(_: Candidate) -> None:
            nonlocal n_done
            n_done += 1
            show(n_done, [*names, ""][n_done])

        def follow(state: Any) -> None:
            start = f"start {state.init + 1}, " if options.n_init > 1 else ""
            show(n_done, f"{names[n_done]}: {start}iteration {state.iteration}")

        try:
            return sweep(
                table.values,
                options.components,
                families,
                criterion=options.criterion,
                sample_weight=table.weights,
                random_state=options.seed,
                progress=count,
                callback=follow,
                n_threads=options.threads,
                **_settings(options),
            )
        except IllDefinedCovarianceError as error:
            raise FitFailedError(f"no candidate could be fitted: {error}") from error


def _check_outputs(outputs: dict[str, str | None]) -> None:
    """Refuse, before any work, files that could not be written after it."""
    paths = {kind: path for kind, path in outputs.items() if path is not None}
    for kind, path in paths.items():
        if kind in ("plot", "convergence"):
            _check_picture(path, kind)
        else:
            (check_writable if kind == "model" else check_table)(path)
    if len({os.path.realpath(path) for path in paths.values()}) < len(paths):
        raise ValueError("two outputs have the same file name")


def _check_picture(path: str, option: str) -> None:
    from fastgmm.plot.picture import check_format

    check_writable(path)
    try:
        check_format(path)
    except ImportError as error:
        raise ValueError(f"--{option}: {error}") from error


def _read(path: str, columns: list[str] | None, weights: str | None = None, **options: Any) -> Table:
    """The table; its error with the option that helps."""
    try:
        return read_table(path, columns, weights, **options)
    except TableError as error:
        if error.numeric:
            raise TableError(f"{error} (to use the columns of numbers: --columns {_option(error.numeric)})") from error
        raise


def _read_for(mixture: Mixture, path: str, columns: list[str] | None, weights: str | None = None) -> Table:
    """The columns of a table that the mixture was fitted to: by name where both have names, else by position."""
    table = _read(path, columns, weights, if_named=mixture.feature_names)
    if table.values.shape[1] != mixture.n_features:
        raise ValueError(
            f"{path} has {table.values.shape[1]} columns, but the model has {mixture.n_features} features; choose as "
            "many with --columns"
        )
    return table


def _option(names: list[str]) -> str:
    """Names as `--columns` takes them in a shell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return shlex.quote(text.getvalue())


def _write_outputs(
    outputs: dict[str, str], mixture: Mixture, table: Table, best: Candidate, n_threads: int | None
) -> None:
    """The model, the labels and the pictures, as far as they were asked for."""
    if "model" in outputs:
        mixture.save(outputs["model"])
    if "labels" in outputs:
        write_table(outputs["labels"], {"label": mixture.predict(table.values, n_threads=n_threads)})
    title = f"{os.path.basename(table.path)}: {best.covariance_type} covariance, {mixture.n_components} components"
    if "plot" in outputs:
        from fastgmm.plot import picture, save_picture

        figure = picture(mixture, table.values, feature_names=table.names, sample_weight=table.weights, title=title)
        save_picture(figure, outputs["plot"])
    if "convergence" in outputs:
        from fastgmm.plot import convergence, save_picture

        save_picture(convergence(best.result, title=title), outputs["convergence"])


def _write_columns(columns: dict[str, np.ndarray], path: str | None) -> None:
    """Columns to a file, or as CSV to standard output."""
    if path is None:
        write_csv(sys.stdout, columns)
    else:
        write_table(path, columns)


def _distinct(names: Iterable[str], taken: str) -> list[str]:
    """The names, each made different from those before it and from `taken`, so that none hides another."""
    distinct = [taken]
    for name in names:
        while name in distinct:
            name += "_"
        distinct.append(name)
    return distinct[1:]
