"""Rows whose component is known, on the command line: read from every format, fitted, written, and refused."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

import fastgmm
from fastgmm import select, sources
from fastgmm.io.tables import read_table

N = 600
NOT_KNOWN = ("", "NA", "-1", "null", " ", "nan")
FILES = ("rows.csv", "rows.npy", "rows.parquet")


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """Rows (N, 2), weights and labels, which are known of a fifth, in files; where they are blocks, these are short."""
    monkeypatch.setattr(sources.batches, "CHUNK_BYTES", 5000)
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    there = rng.integers(3, size=N)
    X = rng.normal(size=(N, 2)) + np.array([[0, 0], [3, 0], [0, 3]])[there]
    w = rng.integers(0, 3, N).astype(float)
    known = np.where(rng.random(N) < 0.2, (there + 1) % 3, -1)
    known[1::100] = 0  # some not where the mixture would have them
    write(X, w, known)
    return X, w, known


def write(X, w, known):
    """Write the files; labels stand between the data, weights at the end."""
    lines = ["a,kind,b,w"]
    for number, (row, label, weight) in enumerate(zip(X.tolist(), known, w, strict=True)):
        a, b = ("" if np.isnan(value) else repr(value) for value in row)
        lines.append(f"{a},{label if label >= 0 else NOT_KNOWN[number % 6]},{b},{weight}")
    Path("rows.csv").write_text("\n".join(lines))
    given = np.where(known >= 0, known, np.where(np.arange(N) % 2, np.nan, -1))
    np.save("rows.npy", np.column_stack([X[:, 0], given, X[:, 1], w]))
    kind = pyarrow.array(np.where(known >= 0, known, -1), mask=(known < 0) & (np.arange(N) % 2 > 0))
    a, b = (pyarrow.array(column, from_pandas=True) for column in X.T)
    parquet.write_table(pyarrow.table({"a": a, "kind": kind, "b": b, "w": w}), "rows.parquet")


def named(path, weights=True):
    """Options that name the columns of a file."""
    kind, w, data = ("x2", "x4", "x1,x3") if path.endswith("npy") else ("kind", "w", "a,b")
    return ("--known-labels", kind, *(("--weights", w) if weights else ("--columns", data)))


@pytest.mark.parametrize("path", FILES)
def test_tables_have_labels(rows, path):
    X, w, known = rows
    kind, weights = ("x2", "x4") if path.endswith("npy") else ("kind", "w")
    table = read_table(path, weights=weights, labels=kind)
    np.testing.assert_array_equal(table.values, X)
    np.testing.assert_array_equal(table.weights, w)
    np.testing.assert_array_equal(table.labels, known)
    assert table.labels.dtype == np.int64
    assert read_table(path, ["x1"] if path.endswith("npy") else ["a"], labels=kind).values.shape == (N, 1)
    assert read_table(path, weights=weights, columns=["x1"] if path.endswith("npy") else ["a"]).labels is None


@pytest.mark.parametrize("memory", [(), ("--max-memory", "200MB")], ids=["held", "read"])
@pytest.mark.parametrize("path", FILES)
def test_fits_are_those_of_the_library(cli, rows, path, memory):
    X, w, known = rows
    plan = ("--components", "1-4", "--covariance", "full,EEI", "--model", "m.npz", "--labels", "l.csv")
    found = json.loads(cli("fit", path, *named(path), *plan, *memory, "--json"))
    expected = select(X, [1, 2, 3, 4], ["full", "EEI"], sample_weight=w, known_labels=known, random_state=0)
    chosen = expected.chosen
    assert found["chosen"]["bic"] == chosen.value("bic")
    assert fastgmm.load("m.npz") == chosen.mixture
    for mine, theirs in zip(found["candidates"], expected.candidates, strict=True):
        assert mine["bic"] == (None if theirs.error else theirs.value("bic"))
        assert mine["error"] == (None if theirs.error is None else str(theirs.error))
    assert [each["error"] is None for each in found["candidates"]] == [False] * 4 + [True] * 4
    assert found["data"]["labelled"] is True
    assert found["data"]["known_rows"] == ((known >= 0) & (w > 0)).sum()
    labels = chosen.mixture.predict(X)
    assert (labels[known >= 0] != known[known >= 0]).any()
    np.testing.assert_array_equal(read_table("l.csv").values[:, 0], np.where((known >= 0) & (w > 0), known, labels))


def test_the_model_does_not_take_labels_for_data(cli, rows):
    X, _, known = rows
    cli("fit", "rows.csv", *named("rows.csv"), "--components", "3", "--covariance", "full", "--model", "m.npz")
    mixture = fastgmm.load("m.npz")
    assert mixture.feature_names == ("a", "b")
    for path in ("rows.csv", "rows.parquet"):
        assert cli("predict", "m.npz", path).split() == ["label", *map(str, mixture.predict(X))]
    said = json.loads(cli("score", "m.npz", "rows.csv", "--json"))
    assert said["log_likelihood_per_row"] == mixture.score(X)
    assert (said["data"]["labelled"], said["data"]["known_rows"]) == (False, 0)
    assert (known >= 0).any()


@pytest.mark.parametrize("memory", [(), ("--max-memory", "200MB")], ids=["held", "read"])
@pytest.mark.parametrize("path", FILES)
def test_with_gaps(cli, rows, path, memory):
    X, w, known = rows
    X = X.copy()
    X[::7, 0] = np.nan
    X[5::11, 1] = np.nan
    write(X, w, known)
    plan = ("--components", "3", "--covariance", "full", "--missing", "em", "--labels", "l.csv", "--json")
    found = json.loads(cli("fit", path, *named(path), *plan, *memory))
    options = {"missing": "em", "sample_weight": w, "known_labels": known, "random_state": 0}
    chosen = select(X, 3, "full", **options).chosen
    assert found["chosen"]["log_likelihood"] == pytest.approx(chosen.log_likelihood, rel=1e-10)
    assert found["data"]["missing_values"] > 0
    assert found["data"]["known_rows"] == ((known >= 0) & (w > 0)).sum()
    labels = np.where((known >= 0) & (w > 0), known, chosen.mixture.predict(X, missing="em"))
    np.testing.assert_array_equal(read_table("l.csv").values[:, 0], labels)


@pytest.mark.parametrize("memory", [(), ("--max-memory", "200MB")], ids=["held", "read"])
def test_with_noise(cli, rows, memory):
    X, _, known = rows
    plan = ("--components", "3-4", "--covariance", "VVI", "--noise", "--criterion", "icl", "--labels", "l.csv")
    found = json.loads(cli("fit", "rows.csv", *named("rows.csv", weights=False), *plan, *memory, "--json"))
    chosen = select(X, [3, 4], "VVI", "icl", noise=True, known_labels=known, random_state=0).chosen
    assert found["chosen"]["icl"] == pytest.approx(chosen.value("icl"), rel=1e-12)
    assert found["model"]["noise"]["weight"] == chosen.mixture.noise.weight
    labels = np.where(known >= 0, known, chosen.mixture.predict(X))
    assert (labels == -1).any()
    np.testing.assert_array_equal(read_table("l.csv").values[:, 0], labels)


def test_the_report_says_how_many_are_known(cli, rows):
    X, w, known = rows
    n_known = (known >= 0).sum()
    options = ("--components", "2-3", "--covariance", "full")
    said = cli("fit", "rows.csv", *named("rows.csv", weights=False), *options)
    assert f"\nknown labels: {n_known} rows ({n_known / N:.1%})\n" in said
    assert "failed: full 2: known_labels must be below n_components=2, or -1" in " ".join(said.split())
    write(X, w, np.where(np.arange(N) == 7, 1, -1))
    assert "\nknown labels: 1 row (0.2%)\n" in cli("fit", "rows.csv", *named("rows.csv", weights=False), *options)
    assert "known labels" not in cli("fit", "rows.csv", "--columns", "a,b", *options)


def test_where_nothing_is_known(cli, rows):
    X, w, _ = rows
    write(X, w, np.full(N, -1))
    options = ("--components", "3", "--covariance", "full", "--model", "m.npz")
    for path in FILES:
        for memory in ((), ("--max-memory", "200MB")):
            said = cli("fit", path, *named(path, weights=False), *options, *memory)
            assert "known labels: 0 rows (0.0%)" in said
            assert fastgmm.load("m.npz") == fastgmm.select(X, 3, "full", random_state=0).chosen.mixture


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--known-labels", "argument --known-labels: expected one argument"),
        ("--known-labels species", "rows.csv has no column 'species'; its columns are a, kind, b, w"),
        ("--known-labels w --weights w", "column 'w' cannot be both weights and labels"),
        ("--known-labels a --columns a,b", "column 'a' cannot be both data and labels"),
        (
            "--known-labels kind --components 1,2",
            "rows.csv, column 'kind': known labels must be below the largest number of --components, 2, as they count "
            "from 0, got 2",
        ),
        ("--known-labels kind --on-collapse drop", "known_labels name components, so that on_collapse must be 'raise'"),
        ("--known-labels kind --split-merge 2", "known_labels name components, so that split_merge must be 0, got 2"),
        (
            "--known-labels kind --criterion nec",
            "criterion 'nec' compares with one component, but known_labels name 3: use 'bic'",
        ),
    ],
)
@pytest.mark.parametrize("memory", ["", " --max-memory 200MB"], ids=["held", "read"])
def test_wrong_usage(cli, rows, memory, arguments, message):
    assert message in cli("fit", "rows.csv", *shlex.split(arguments + memory), code=2)


@pytest.mark.parametrize("memory", [(), ("--max-memory", "200MB")], ids=["held", "read"])
@pytest.mark.parametrize("label", ["-2", "0.5", "1e+300", "inf"])
def test_wrong_labels(cli, rows, memory, label):
    X, w, known = rows
    numbers = known.astype(float)
    numbers[301] = float(label)
    lines = Path("rows.csv").read_text().split("\n")
    a, _, *others = lines[302].split(",")
    lines[302] = ",".join([a, label, *others])
    Path("rows.csv").write_text("\n".join(lines))
    np.save("rows.npy", np.column_stack([X[:, 0], numbers, X[:, 1], w]))
    parquet.write_table(pyarrow.table({"a": X[:, 0], "kind": numbers, "b": X[:, 1], "w": w}), "rows.parquet")
    for path in FILES:
        said = cli("fit", path, *named(path), *memory, "--model", "m.npz", code=2)
        number = re.match(
            rf"error: {path}, (row|line) (\d+), column '(kind|x2)': expected the number of a component, "
            rf"from 0 on, or -1 or nothing where it is not known, got '?{re.escape(label)}'?$",
            said,
        )
        assert number[2] == ("303" if number[1] == "line" else "302")
        assert not Path("m.npz").exists()


@pytest.mark.parametrize("memory", [(), ("--max-memory", "200MB")], ids=["held", "read"])
def test_names_of_classes_are_refused(cli, tmp_path, monkeypatch, memory):
    monkeypatch.chdir(tmp_path)
    Path("iris.csv").write_text("petal,species\n1.0,\n2.0,setosa\n3.0,1\n")
    said = cli("fit", "iris.csv", "--known-labels", "species", *memory, code=2)
    assert said == (
        "error: iris.csv, line 3, column 'species': expected the number of a component, from 0 on, or -1 or nothing "
        "where it is not known, got 'setosa'"
    )
    table = pyarrow.table({"petal": [1.0, 2.0], "species": ["setosa", None]})
    parquet.write_table(table, "iris.parquet")
    said = cli("fit", "iris.parquet", "--known-labels", "species", *memory, code=2)
    assert said == "error: iris.parquet, column 'species': expected numbers, got string"


def test_only_columns_of_data_are_suggested(cli, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,w,y,b\n1,1,0,x\n2,1,,y\n")
    known = ("--known-labels", "y")
    assert cli("fit", path, "--weights", "w", *known, code=2).endswith("(to use the columns of numbers: --columns a)")
    assert cli("fit", path, "--weights", "b", *known, code=2).endswith("column 'b': expected a number, got 'x'")
