"""Errors of the command line: one line on standard error that says what is wrong, an exit code, and nothing else."""

import errno
import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from problems import FAITHFUL

from fastgmm.cli import commands, main
from fastgmm.io import tables

F = str(FAITHFUL)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "the following arguments are required: COMMAND (try: python -m fastgmm --help)"),
        ("fitt x.csv", "invalid choice: 'fitt'"),
        ("fit", "the following arguments are required: FILE (try: python -m fastgmm fit --help)"),
        (f"fit {F} --bogus", "unrecognized arguments: --bogus (try: python -m fastgmm fit --help)"),
        (f"fit {F} --compon 3", "unrecognized arguments: --compon 3"),
        (f"fit {F} --components", "argument --components: expected one argument"),
        (f"fit {F} --components 0", "argument --components: expected numbers from 1, the smaller first, got '0'"),
        (f"fit {F} --components 4-2", "expected numbers from 1, the smaller first, got '4-2'"),
        (f"fit {F} --components few", "argument --components: expected numbers such as 3, 1-9 or 2,4,8, got 'few'"),
        (f"fit {F} --components 1-", "expected numbers such as 3, 1-9 or 2,4,8, got '1-'"),
        (f"fit {F} --components 1-2000", "expected at most 1000 numbers, got '1-2000'"),
        (f"fit {F} --components 300", "n_samples >= n_components but got n_components = 300, n_samples = 272"),
        (f"fit {F} --covariance full,round", "--covariance: 'round' is not a family; they are full, tied, diag"),
        (f"fit {F} --covariance full,", "argument --covariance: expected names with commas between, got 'full,'"),
        (f"fit {F} --criterion mdl", "argument --criterion: expected one of bic, aic,"),
        (f"fit {F} --n-init 0", "argument --n-init: expected a whole number from 1, got '0'"),
        (f"fit {F} --max-iter 1.5", "argument --max-iter: expected a whole number from 1, got '1.5'"),
        (f"fit {F} --threads -1", "argument --threads: expected a whole number from 1, got '-1'"),
        (f"fit {F} --tol small", "argument --tol: expected a number from 0, got 'small'"),
        (f"fit {F} --tol nan", "argument --tol: expected a number from 0, got 'nan'"),
        (f"fit {F} --reg-covar=-1e-6", "argument --reg-covar: expected a number from 0, got '-1e-6'"),
        (f"fit {F} --seed 1e3", "argument --seed: expected a whole number from 0 to 4294967295, got '1e3'"),
        (f"fit {F} --init magic", "argument --init: expected one of kmeans, "),
        (f"fit {F} --init kmeans,magic", "random, random_from_data, got 'magic'"),
        (f"fit {F} --init random,race", "random, random_from_data, got 'race'"),
        (f"fit {F} --init random,", "random, random_from_data, got ''"),
        (f"fit {F} --split-merge -1", "argument --split-merge: expected a whole number from 0, got '-1'"),
        (f"fit {F} --split-merge 1 --noise", "split_merge moves components of Gaussians alone, so it goes with no"),
        (f"fit {F} --max-time -1", "argument --max-time: expected a number from 0, got '-1'"),
        (f"fit {F} --covariance-floor 0", "argument --covariance-floor: expected a number above 0, up to 1, got '0'"),
        (f"fit {F} --covariance-floor 2", "argument --covariance-floor: expected a number above 0, up to 1, got '2'"),
        (f"fit {F} --on-collapse ignore", "argument --on-collapse: invalid choice: 'ignore'"),
        (f"fit {F} --acceleration warp", "argument --acceleration: invalid choice: 'warp'"),
        (f"fit {F} --stopping now", "argument --stopping: invalid choice: 'now'"),
        (f"fit {F} --convergence p.xyz", "p.xyz: pictures are written as "),
        (f"fit {F} --plot p.png --convergence p.png", "two outputs have the same file name"),
        (f"score m.npz {F} --per-row --json", "--per-row writes CSV, --json a report: give one of them"),
        (f"fit {F} --columns length", "has no column 'length'; its columns are eruptions, waiting"),
        (f"fit {F} --columns eruptions,eruptions", "a column is asked for more than once: eruptions, eruptions"),
        (f"fit {F} --weights w", "has no column 'w'; its columns are eruptions, waiting"),
        (f"fit {F} --weights waiting --columns waiting", "column 'waiting' cannot be both data and weights"),
        (f"fit {F} --model none/m.npz", "none/m.npz: No such file or directory"),
        (f"fit {F} --plot p.xyz", "p.xyz: pictures are written as "),
        (f"fit {F} --model same --labels ./same", "two outputs have the same file name"),
        ("fit none.csv", "none.csv: No such file or directory"),
        ("fit .", ". is not a readable folder of Parquet files"),
        ("fit empty.csv", "empty.csv is empty"),
        ("fit header.csv", "header.csv has a header but no rows"),
        ("fit one.csv", "Found array with 1 sample(s) (shape=(1, 2)) while a minimum of 2 is required."),
        ("fit ragged.csv", "ragged.csv, line 3: expected 2 fields, got 1"),
        ("fit gap.csv", "gap.csv, line 2, column 'b': the value is missing; fill in or remove such rows first"),
        ("fit text.csv --columns b", "text.csv, line 3, column 'b': expected a number, got 'y'"),
        ("fit text.csv", "expected a number, got 'y' (to use the columns of numbers: --columns a)"),
        ("fit negative.csv --weights b", "negative.csv, row 2, column 'b': a weight cannot be negative, got -1"),
        ("fit gap.csv", 'or, if it is one of data, take it with missing="em" (--missing em)'),
        ("fit nan.npy", "Input X contains NaN. The first is in row 1, column 0 (counted from 0). fastgmm.fit and Gau"),
        ("fit damaged.npy", "damaged.npy is not a readable NPY file of numbers"),
        ("predict none.npz x.csv", "none.npz: No such file or directory"),
        (f"predict {F} {F}", "old_faithful.csv is not a readable fastgmm model file: it is not a zip archive"),
        (f"predict m.npz {F} --columns waiting", "has 1 columns, but the model has 2 features; choose as many"),
        (f"predict m.npz {F} --output none/l.csv", "none/l.csv: No such file or directory"),
        ("score m.npz header.csv", "has no column 'eruptions'; its columns are a, b"),
        (f"fit m.npz --model {F}/m.npz", "old_faithful.csv/m.npz: No such file or directory"),
        ("fit m.npz", "m.npz is not a table: expected CSV, NPY or Parquet, but it is a zip archive"),
        ("sample m.npz -n 0", "argument -n/--rows: expected a whole number from 1, got '0'"),
        ("sample m.npz -n 1000000000000000000000", "argument -n/--rows: expected a whole number from 1, got '1000"),
        ("info empty.csv", "empty.csv is not a readable fastgmm model file: it is too short"),
    ],
)  # fmt: skip
def test_wrong_usage_and_input(cli, model, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    files = {
        "empty": "",
        "header": "a,b\n",
        "one": "a,b\n1,2\n",
        "ragged": "a,b\n1,2\n3\n",
        "gap": "a,b\n1,\n",
        "text": "a,b\n1,2\n3,y\n",
        "negative": "a,b\n1,2\n3,-1\n",
    }
    for name, text in files.items():
        Path(f"{name}.csv").write_text(text)
    np.save("nan.npy", [[1.0, 2.0], [np.nan, 3.0]])
    Path("damaged.npy").write_bytes(Path("nan.npy").read_bytes()[:100])
    model[0].rename("m.npz")
    before = sorted(os.listdir())
    assert message in cli(*arguments.split(), code=2)
    assert sorted(os.listdir()) == before


def test_no_mixture_can_be_fitted(cli, tmp_path):
    (tmp_path / "same.csv").write_text("1,2\n" * 10)
    error = cli("fit", tmp_path / "same.csv", "--reg-covar", "0", "--components", "1", code=1)
    assert error.startswith("error: no candidate could be fitted: components collapsed")


def test_memory_runs_out(cli, model, monkeypatch):
    def too_large(path):
        raise MemoryError("Unable to allocate 9.15 PiB")

    monkeypatch.setattr(commands, "load", too_large)
    assert cli("sample", model[0], code=1) == "error: not enough memory: Unable to allocate 9.15 PiB"


def test_interrupt(cli, model, monkeypatch):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "load", interrupted)
    assert cli("info", model[0], code=130) == "interrupted"


def test_output_cannot_be_written(cli, model, monkeypatch):
    class Full(io.StringIO):
        def flush(self):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sys, "stdout", Full())
    assert cli("info", model[0], code=2) == f"error: {os.strerror(errno.ENOSPC)}"


@pytest.mark.parametrize(
    "arguments",
    [
        "fit in.csv --components 2 --model in.csv",
        "fit in.csv --components 2 --labels ./in.csv",
        "fit link.csv --components 2 --labels in.csv",
        "predict m.npz in.csv --output in.csv",
        "score m.npz in.csv --output m.npz",
        "impute m.npz in.csv --output link.csv",
        "sample m.npz --output m.npz",
    ],
)
def test_what_is_read_is_not_replaced(cli, model, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_bytes(FAITHFUL.read_bytes())
    Path("link.csv").symlink_to("in.csv")
    model[0].rename("m.npz")
    before = Path("in.csv").read_bytes(), Path("m.npz").read_bytes()
    assert "is read too, and would be lost; give another file" in cli(*arguments.split(), code=2)
    assert (Path("in.csv").read_bytes(), Path("m.npz").read_bytes()) == before


def test_a_failed_fit_leaves_older_output_alone(cli, tmp_path):
    (tmp_path / "m.npz").write_text("older")
    (tmp_path / "text.csv").write_text("a,b\n1,2\n3,y\n")
    cli("fit", tmp_path / "text.csv", "--model", tmp_path / "m.npz", code=2)
    assert (tmp_path / "m.npz").read_text() == "older"


@pytest.mark.parametrize(
    ("module", "extra", "arguments"),
    [
        ("matplotlib.figure", "plot", f"fit {F} --plot p.png"),
        ("matplotlib.figure", "plot", f"fit {F} --convergence p.png"),
        ("pyarrow", "parquet", f"fit {F} --labels l.parquet"),
        ("pyarrow", "parquet", "sample m.npz --output s.parquet"),
        ("pyarrow", "parquet", "fit rows.parquet"),
    ],
)
def test_a_missing_package_is_named_before_any_work(cli, tmp_path, monkeypatch, module, extra, arguments):
    monkeypatch.chdir(tmp_path)
    tables.write_table("rows.parquet", {"a": np.arange(5.0)})
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(commands, "select", None)
    monkeypatch.setattr(commands, "load", None)
    assert f"pip install 'fastgmm[{extra}]'" in cli(*arguments.split(), code=2)


def test_what_stands_in_a_file_cannot_control_the_terminal(cli, tmp_path):
    (tmp_path / "rows.csv").write_text("a\x1b[2J,b\n1,2\n3,4\n")
    assert "its columns are a?[2J, b" in cli("fit", tmp_path / "rows.csv", "--columns", "c", code=2)


def test_a_bug_is_not_hidden(model, monkeypatch):
    monkeypatch.setattr(commands, "load", lambda path: {}["bug"])
    with pytest.raises(KeyError):
        main(["info", str(model[0])])
