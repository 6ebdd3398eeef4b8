"""What may be written after ``python -m fastgmm``, and what it means."""

from __future__ import annotations

import argparse
import inspect
from typing import Any, NoReturn

from fastgmm import covariance, fitting
from fastgmm._checks import MISSING
from fastgmm._version import __version__
from fastgmm.selection import CRITERIA, select

from . import values

__all__ = ["SETTINGS", "parser"]

SETTINGS = (
    "n_init",
    "init_params",
    "split_merge",
    "tol",
    "stopping",
    "max_iter",
    "max_time",
    "acceleration",
    "reg_covar",
    "on_collapse",
    "covariance_floor",
    "equal_weights",
    "prior",
    "noise",
    "missing",
)
"""The options that are arguments of `fastgmm.select` of the same name; their defaults are the same too."""

_EXAMPLES = """\
examples:
  python -m fastgmm fit data.csv                          choose family and size by BIC
  python -m fastgmm fit data.csv --components 3 --covariance full --model model.npz
  python -m fastgmm fit data.csv --columns width,height --plot fit.png --labels labels.csv
  python -m fastgmm predict model.npz new.csv > labels.csv
  python -m fastgmm impute model.npz gaps.csv > filled.csv
  python -m fastgmm sample model.npz -n 1000 --seed 0 > simulated.csv
"""
_FILE = (
    "table of rows: CSV (also with semicolons, tabs or blanks), NPY or Parquet, or a folder of Parquet files; - is CSV "
    "on standard input"
)


class _Parser(argparse.ArgumentParser):
    """Errors in one line, as those of the commands."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, and leave."""
        self.exit(2, f"fastgmm: error: {message} (try: {self.prog} --help)\n")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read the arguments; of those that are not known the help of the command tells more than that of all."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            what = f"unrecognized arguments: {' '.join(unknown)} (try: {self.prog} {options.command} --help)"
            self.exit(2, f"fastgmm: error: {what}\n")
        return options


def parser() -> argparse.ArgumentParser:
    """The parser of all commands.

    Returns
    -------
    parser : argparse.ArgumentParser
        What it returns has the name of the command in `command`.

    Examples
    --------
    >>> options = parser().parse_args(["fit", "data.csv", "--components", "2-4"])
    >>> options.command, options.components
    ('fit', [2, 3, 4])
    """
    top = _Parser(
        prog="python -m fastgmm",
        description="Gaussian mixtures: fit one to a table of rows, and use it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"fastgmm {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for add in (_add_fit, _add_predict, _add_score, _add_impute, _add_sample, _add_info):
        add(commands)
    return top


def _command(commands: Any, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=summary, description=description, allow_abbrev=False)


def _add_fit(commands: Any) -> None:
    fit = _command(
        commands,
        "fit",
        "fit mixtures to a table and report the best",
        "Fit mixtures with several numbers of components and several families of covariances to the rows of a table, "
        "choose one by an information criterion, and report it.",
    )
    fit.add_argument("file", metavar="FILE", help=_FILE)
    models = fit.add_argument_group("models to try")
    models.add_argument(
        "--components",
        type=values.numbers,
        default="1-9",
        metavar="K",
        help="numbers of components: 3, 1-9 or 2,4,8 (default: %(default)s)",
    )
    known = (*covariance.known(), *covariance.WITH_RANK)
    models.add_argument(
        "--covariance",
        type=values.names,
        metavar="LIST",
        help=f"families: any of {','.join(known)}, or all (default: the first four)",
    )
    first = next(iter(CRITERIA))
    models.add_argument(
        "--criterion",
        type=values.criterion,
        default=first,
        metavar="NAME",
        help=f"what chooses among them: {', '.join(CRITERIA)} (default: %(default)s)",
    )
    _add_columns(fit, weights=True, labels=True)
    _add_missing(fit)
    _add_estimation(fit)
    output = fit.add_argument_group("output")
    output.add_argument("--model", metavar="OUT.npz", help="write the chosen mixture to this file")
    output.add_argument("--labels", metavar="OUT.csv", help="write the component of every row to this file")
    output.add_argument("--plot", metavar="OUT.png", help="draw the chosen mixture into this file (needs matplotlib)")
    output.add_argument(
        "--convergence",
        metavar="OUT.png",
        help="draw the log-likelihoods of all its starts into this file (needs matplotlib)",
    )
    output.add_argument(
        "--verbose", action="store_true", help="tell on standard error how fits go, in place of the progress bar"
    )
    _add_json(output)
    library = inspect.signature(select).parameters
    fit.set_defaults(**{name: library[name].default for name in SETTINGS})


def _add_estimation(fit: argparse.ArgumentParser) -> None:
    em = fit.add_argument_group("estimation")
    em.add_argument(
        "--n-init",
        type=values.positive,
        metavar="N",
        help="starts of each kind and number of components (default: %(default)s)",
    )
    em.add_argument(
        "--init",
        type=values.start,
        dest="init_params",
        metavar="NAME",
        help=f"how starts are made: {', '.join(fitting.STARTS)}; several with commas between are raced, as race does "
        "with several kinds (default: %(default)s)",
    )
    em.add_argument(
        "--split-merge",
        type=values.count,
        metavar="N",
        help="moves out of poor optima that each model makes at most: two components made one, another cut in two "
        "(default: %(default)s)",
    )
    em.add_argument(
        "--tol",
        type=values.not_negative,
        metavar="T",
        help="stop when the log-likelihood per row gains less (default: %(default)g)",
    )
    em.add_argument(
        "--stopping",
        choices=fitting.STOPPING,
        help="what has to be below --tol: the last gain, or an estimate of all that is to come (default: %(default)s)",
    )
    em.add_argument("--max-iter", type=values.positive, metavar="N", help="iterations at most (default: %(default)s)")
    em.add_argument(
        "--max-time", type=values.not_negative, metavar="SECONDS", help="for each model to try (default: without limit)"
    )
    em.add_argument(
        "--acceleration", choices=fitting.ACCELERATIONS, help="take fewer iterations (default: those of plain EM)"
    )
    em.add_argument(
        "--reg-covar",
        type=values.not_negative,
        metavar="R",
        help="added to all variances, so that none becomes zero; in squared units of the data (default: %(default)g)",
    )
    em.add_argument(
        "--on-collapse",
        choices=fitting.POLICIES,
        help="what happens to components that lose their rows or their width (default: %(default)s)",
    )
    em.add_argument(
        "--covariance-floor",
        type=values.share,
        metavar="F",
        help="keep covariances above this share of the data's (default: 1e-6 where --on-collapse needs a floor)",
    )
    em.add_argument(
        "--prior",
        choices=("conjugate",),
        help="maximise the posterior density under mclust's default prior (default: the likelihood)",
    )
    em.add_argument(
        "--noise",
        type=values.volume,
        nargs="?",
        const=True,
        metavar="VOLUME",
        help="a uniform component for outliers, label -1; without VOLUME in a box around the rows (default: none)",
    )
    em.add_argument("--equal-weights", action="store_true", help="give all components the same weight")
    em.add_argument(
        "--seed",
        type=values.seed,
        default=0,
        metavar="S",
        help="of the random starts; it decides the result (default: %(default)s)",
    )
    em.add_argument("--float32", action="store_true", help="compute in single precision")
    _add_threads(em)
    em.add_argument(
        "--max-memory",
        type=values.memory,
        metavar="SIZE",
        help="such as 500MB: read the file in every pass instead of holding it (default: hold it)",
    )


def _add_predict(commands: Any) -> None:
    predict = _command(
        commands,
        "predict",
        "component of every row of a table",
        "Write the most probable component of every row, as CSV.",
    )
    _add_model_and_file(predict)
    predict.add_argument("--proba", action="store_true", help="also the probability of every component")
    predict.add_argument(
        "--latent", action="store_true", help="also the latent coordinates in it, of families mfa:q and mppca:q"
    )
    _add_columns(predict)
    _add_missing(predict)
    _add_output(predict)
    _add_threads(predict)


def _add_score(commands: Any) -> None:
    score = _command(
        commands, "score", "log-likelihood of a table", "Say how well a mixture describes the rows of a table."
    )
    _add_model_and_file(score)
    score.add_argument("--per-row", action="store_true", help="write the log-density of every row instead, as CSV")
    _add_columns(score, weights=True)
    _add_missing(score)
    _add_output(score, "write to this file what --per-row gives")
    _add_json(score)
    _add_threads(score)


def _add_impute(commands: Any) -> None:
    impute = _command(
        commands,
        "impute",
        "fill the gaps of a table",
        "Write the rows of a table with their gaps filled by what a mixture expects there, as CSV.",
    )
    _add_model_and_file(impute)
    impute.add_argument(
        "--draws",
        type=values.positive,
        metavar="M",
        help="draw values instead, so many times: a column draw says which",
    )
    impute.add_argument(
        "--seed",
        type=values.seed,
        metavar="S",
        help="the same seed gives the same draws (default: other ones each time)",
    )
    _add_columns(impute)
    _add_output(impute)
    _add_threads(impute)


def _add_missing(group: Any) -> None:
    group.add_argument(
        "--missing",
        choices=MISSING,
        default="raise",
        help="gaps in the table: an error, or rows count by what was observed (default: %(default)s)",
    )


def _add_sample(commands: Any) -> None:
    sample = _command(commands, "sample", "draw rows from a mixture", "Write random rows of a mixture, as CSV.")
    sample.add_argument("model", metavar="MODEL", help="model file")
    sample.add_argument(
        "-n", "--rows", type=values.positive, default=1, metavar="N", help="how many (default: %(default)s)"
    )
    sample.add_argument(
        "--seed",
        type=values.seed,
        metavar="S",
        help="the same seed gives the same rows (default: other ones each time)",
    )
    _add_output(sample)


def _add_info(commands: Any) -> None:
    info = _command(commands, "info", "what a model file holds", "Show the mixture in a model file.")
    info.add_argument("model", metavar="MODEL", help="model file")
    _add_json(info)


def _add_model_and_file(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", help="model file, as written by fit --model")
    command.add_argument("file", metavar="FILE", help=_FILE)


def _add_columns(command: Any, weights: bool = False, labels: bool = False) -> None:
    group = command.add_argument_group("data")
    group.add_argument(
        "--columns", type=values.names, metavar="A,B", help="columns to use, by name; x1, x2, ... where they have none"
    )
    if weights:
        group.add_argument("--weights", metavar="COLUMN", help="column that holds the weight of each row")
    if labels:
        group.add_argument(
            "--known-labels",
            metavar="COLUMN",
            help="column that holds the component of each row, from 0 on, and nothing or -1 where it is not known",
        )


def _add_output(command: Any, text: str = "write to this file instead of standard output") -> None:
    command.add_argument("--output", metavar="OUT.csv", help=text)


def _add_threads(group: Any) -> None:
    group.add_argument(
        "--threads",
        type=values.positive,
        metavar="N",
        help="threads; the result is the same for any number (default: as many as are free)",
    )


def _add_json(group: Any) -> None:
    group.add_argument("--json", action="store_true", help="write the report as one JSON document")
