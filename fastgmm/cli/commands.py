"""The commands: each takes the parsed arguments, does its work, and writes what it found."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fastgmm import covariance
from fastgmm._errors import IllDefinedCovarianceError
from fastgmm._random import generator
from fastgmm.io.files import check_writable
from fastgmm.io.tables import check_table, write_csv, writing_table
from fastgmm.mixture import Mixture, load
from fastgmm.selection import Candidate, NothingFittedError, Selection, select
from fastgmm.sources import BatchSource

from . import document, report
from .arguments import SETTINGS
from .data import Data, open_for, open_table
from .terminal import Style, log_lines, progress_bar

__all__ = ["FitFailedError", "fit", "impute", "info", "predict", "sample", "score"]


class FitFailedError(ValueError):
    """The data are sound, but no mixture could be fitted to them."""

    exit_code = 1


def fit(options: Any) -> None:
    """Fit all candidates, write the files that were asked for, and report the best."""
    outputs = {kind: getattr(options, kind) for kind in ("model", "labels", "plot", "convergence")}
    outputs = {kind: path for kind, path in outputs.items() if path is not None}
    _check_outputs(outputs, options.file)
    families = _families(options.covariance)
    precision = "float32" if options.float32 else None
    data = open_table(
        options.file,
        options.columns,
        options.weights,
        precision,
        options.max_memory,
        n_threads=options.threads,
        missing=options.missing,
        labels=options.known_labels,
    )
    start = time.perf_counter()
    with log_lines(sys.stderr) if options.verbose else contextlib.nullcontext():
        found = _select(data, families, options)
    seconds = time.perf_counter() - start
    mixture = found.chosen.mixture
    if data.named:
        mixture = Mixture.from_parameters(mixture.parameters, mixture.family, feature_names=data.names)
    _write_outputs(outputs, mixture, data, found.chosen, {"n_threads": options.threads, "missing": options.missing})
    described = document.fit(found, data, {"seed": options.seed, **_settings(options)}, outputs, seconds)
    if options.json:
        print(document.as_json(described))
    else:
        print(report.fit(described, Style.of(sys.stdout)))


def predict(options: Any) -> None:
    """Write the component of every row, and on request the probabilities and latent coordinates."""
    _check_outputs({"output": options.output}, options.model, options.file)
    mixture = load(options.model)
    how = {"n_threads": options.threads, "missing": options.missing}
    data = open_for(mixture, options.file, options.columns, **how)

    def found(rows: np.ndarray) -> dict[str, np.ndarray]:
        columns: dict[str, np.ndarray] = {"label": mixture.predict(rows, **how)}
        if options.proba:
            probabilities = mixture.predict_proba(rows, **how)
            columns |= {f"p{k}": probabilities[:, k] for k in range(mixture.n_components)}
            if mixture.noise is not None:
                columns["noise"] = probabilities[:, -1]
        if options.latent:
            coordinates = mixture.transform(rows, n_threads=options.threads)
            columns |= {f"f{j}": coordinates[:, j] for j in range(coordinates.shape[1])}
        return columns

    n_columns = 1 + (mixture.n_components + 1) * options.proba + mixture.n_features * options.latent
    _write_parts(map(found, data.blocks(n_columns)), options.output)


def score(options: Any) -> None:
    """Report the log-likelihood of all rows, or write that of each."""
    if options.per_row and options.json and options.output is None:
        raise ValueError("--per-row writes CSV, --json a report: give one of them, or a file to the rows by --output")
    _check_outputs({"output": options.output}, options.model, options.file)
    mixture = load(options.model)
    how = {"n_threads": options.threads, "missing": options.missing}
    data = open_for(mixture, options.file, options.columns, options.weights, **how)
    if options.per_row or options.output is not None:
        densities = (mixture.score_samples(rows, **how) for rows in data.blocks(1))
        _write_parts(({"log_density": each} for each in densities), options.output)
        if options.output is None:
            return
    per_row = mixture.score(data.X, sample_weight=data.weights, **how)
    described = document.score(mixture, data, float(per_row))
    print(document.as_json(described) if options.json else report.score(described, Style.of(sys.stdout)))


def impute(options: Any) -> None:
    """Write the rows with their gaps filled, once or several times."""
    _check_outputs({"output": options.output}, options.model, options.file)
    mixture = load(options.model)
    data = open_for(mixture, options.file, options.columns, missing="em")
    names, draws, rng = _distinct(data.names, "draw"), options.draws, generator(options.seed)

    def filled() -> Iterator[dict[str, np.ndarray]]:
        for rows in data.blocks(data.n_features * (draws or 1)):
            several = mixture.impute(rows, draws, rng, n_threads=options.threads)
            for number, each in enumerate(several if draws is not None else several[None]):
                columns = {} if draws is None else {"draw": np.full(len(each), number)}
                yield columns | dict(zip(names, each.T, strict=True))

    _write_parts(filled(), options.output)


def sample(options: Any) -> None:
    """Write random rows."""
    _check_outputs({"output": options.output}, options.model)
    mixture = load(options.model)
    rows, labels = mixture.sample(options.rows, random_state=options.seed)
    names = mixture.feature_names or [f"x{j}" for j in range(1, mixture.n_features + 1)]
    columns = dict(zip(_distinct(names, "label"), rows.T, strict=True))
    _write_parts([{**columns, "label": labels}], options.output)


def info(options: Any) -> None:
    """Report what a model file holds."""
    mixture = load(options.model)
    names = None if mixture.feature_names is None else list(mixture.feature_names)
    described = document.model(mixture, names)
    print(document.as_json(described) if options.json else report.info(described, options.model, Style.of(sys.stdout)))


def _families(names: list[str] | None) -> list[str]:
    """The families asked for, each known."""
    known = covariance.known()
    for name in names or ():
        if not covariance.is_known(name) and name != "all":
            possible = ", ".join((*known, *covariance.WITH_RANK))
            raise ValueError(f"--covariance: {name!r} is not a family; they are {possible}, or all")
    if "all" in (names or ()):
        return ["all"]
    return list(names or covariance.SKLEARN)


def _settings(options: Any) -> dict[str, Any]:
    """What the estimation is told, as `fastgmm.select` calls it."""
    return {name: getattr(options, name) for name in SETTINGS}


def _select(data: Data, families: list[str], options: Any) -> Selection:
    """All fits, under a progress bar."""
    n_done, doing = 0, ""
    with progress_bar(1, "", None if options.verbose else sys.stderr) as show:

        def follow(done: int, total: int, text: str) -> None:
            nonlocal n_done, doing
            n_done, doing = done, text
            show(done, text, total)

        def read(_: int, n_rows: int, of: int | None) -> None:
            total = "" if of is None else f" of {of:,}"
            show(n_done, f"{doing}, {n_rows:,}{total} rows")

        if isinstance(data.X, BatchSource):
            data.X.progress = read

        try:
            found = select(
                data.X,
                options.components,
                families,
                options.criterion,
                sample_weight=data.weights,
                known_labels=data.known,
                random_state=options.seed,
                progress=follow,
                n_threads=options.threads,
                **_settings(options),
            )
        except NothingFittedError as error:
            _check_known(data, options)
            first = error.errors[0]
            if isinstance(first, IllDefinedCovarianceError):
                raise FitFailedError(f"no candidate could be fitted: {first}") from error
            raise first from error
    if found.interrupted:
        raise KeyboardInterrupt
    return found


def _check_known(data: Data, options: Any) -> None:
    """Say so if all candidates have too few components for the labels that are known."""
    if data.n_named > max(options.components):
        raise ValueError(
            f"{data.path}, column {options.known_labels!r}: known labels must be below the largest number of "
            f"--components, {max(options.components)}, as they count from 0, got {data.n_named - 1}"
        )


def _check_outputs(outputs: dict[str, str | None], *inputs: str) -> None:
    """Refuse, before any work, files that could not be written after it, or in place of what is read."""
    paths = {kind: path for kind, path in outputs.items() if path is not None}
    for kind, path in paths.items():
        if kind in ("plot", "convergence"):
            _check_picture(path, kind)
        else:
            (check_writable if kind == "model" else check_table)(path)
    if len({os.path.realpath(path) for path in paths.values()}) < len(paths):
        raise ValueError("two outputs have the same file name")
    read = {os.path.realpath(path) for path in inputs if path != "-"}
    for kind, path in paths.items():
        if os.path.realpath(path) in read and os.path.isfile(path):  # devices and pipes are not replaced
            raise ValueError(f"--{kind}: {path} is read too, and would be lost; give another file")


def _check_picture(path: str, option: str) -> None:
    from fastgmm.plot.picture import check_format

    check_writable(path)
    try:
        check_format(path)
    except ImportError as error:
        raise ValueError(f"--{option}: {error}") from error


def _write_outputs(outputs: dict[str, str], mixture: Mixture, data: Data, best: Candidate, how: dict[str, Any]) -> None:
    """The model, the labels and the pictures, as far as they were asked for."""
    if "model" in outputs:
        mixture.save(outputs["model"])
    if "labels" in outputs:
        labels = data.labels(lambda rows: mixture.predict(rows, **how))
        _write_parts(({"label": each} for each in labels), outputs["labels"])
    title = f"{os.path.basename(data.path)}: {best.covariance_type} covariance, {mixture.n_components} components"
    if "plot" in outputs:
        from fastgmm.plot import picture, save_picture

        rows, weights = data.shown()
        if how["missing"] == "em":  # by the Gaussians alone: noise need not know where it is, and a picture shows it
            own = Mixture.from_parameters(dataclasses.replace(mixture.parameters, noise=None), mixture.family)
            rows = own.impute(rows)
        figure = picture(mixture, rows, feature_names=data.names, sample_weight=weights, title=title)
        save_picture(figure, outputs["plot"])
    if "convergence" in outputs:
        from fastgmm.plot import convergence, save_picture

        save_picture(convergence(best.result, title=title), outputs["convergence"])


def _write_parts(parts: Iterable[dict[str, np.ndarray]], path: str | None) -> None:
    """Parts of a table to a file, or as CSV to standard output, where they appear one by one."""
    if path is None:
        for number, part in enumerate(parts):
            write_csv(sys.stdout, part, header=number == 0)
    else:
        with writing_table(path) as write:
            for part in parts:
                write(part)


def _distinct(names: Iterable[str], taken: str) -> list[str]:
    """The names, each made different from those before it and from `taken`, so that none hides another."""
    distinct = [taken]
    for name in names:
        while name in distinct:
            name += "_"
        distinct.append(name)
    return distinct[1:]
