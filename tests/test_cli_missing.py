"""Tables with gaps on the command line: what is read, fitted, predicted, scored, drawn and imputed."""

import json

import numpy as np
import pyarrow
import pytest
from problems import FAITHFUL
from pyarrow import parquet

import fastgmm
from fastgmm.io.tables import TableError, read_table
from fastgmm.sources import BatchSource

MISSING_WORDS = ("", "NA", "n/a", "NaN", "null", "None", " ")


@pytest.fixture
def gaps(tmp_path):
    """Old Faithful with gaps, in a file, and its values."""
    values = read_table(FAITHFUL).values.copy()
    rng = np.random.default_rng(0)
    values[rng.random(values.shape) < 0.15] = np.nan
    path = tmp_path / "gaps.csv"
    lines = ["eruptions,waiting"]
    for number, row in enumerate(values):
        lines.append(",".join(MISSING_WORDS[number % 7] if np.isnan(value) else repr(float(value)) for value in row))
    path.write_text("\n".join(lines) + "\n")
    return path, values


def columns(text):
    """The columns of a CSV text, by name."""
    head, *lines = text.splitlines()
    table = np.array([line.split(",") for line in lines], dtype=float)
    return dict(zip(head.split(","), table.T, strict=True))


@pytest.fixture
def fitted(cli, gaps, tmp_path):
    """A model file fitted to them, and the mixture that `fastgmm.select` finds."""
    path, values = gaps
    model = tmp_path / "model.npz"
    command = ("fit", path, "--missing", "em", "--components", "2", "--covariance", "full", "--model", model)
    report = cli(*command)
    mixture = fastgmm.select(values, [2], ["full"], missing="em", random_state=0).chosen.mixture
    n_missing, n_nothing = np.isnan(values).sum(), np.isnan(values).all(axis=1).sum()
    assert f"gaps: {n_missing} values missing ({n_missing / values.size:.1%}), all those of {n_nothing} rows" in report
    assert fastgmm.load(model) == mixture
    return model, mixture


@pytest.mark.parametrize("dtype", [None, "float32"])
def test_gaps_are_read_from_every_format(gaps, tmp_path, dtype):
    path, values = gaps
    expected = values.astype(dtype or "float64")
    np.testing.assert_array_equal(read_table(path, dtype=dtype, gaps=True).values, expected)
    np.save(tmp_path / "gaps.npy", values)
    np.testing.assert_array_equal(read_table(tmp_path / "gaps.npy", dtype=dtype, gaps=True).values, expected)
    arrays = {name: pyarrow.array(column, from_pandas=True) for name, column in zip("ab", values.T, strict=True)}
    assert arrays["a"].null_count
    parquet.write_table(pyarrow.table(arrays), tmp_path / "gaps.parquet")
    np.testing.assert_array_equal(read_table(tmp_path / "gaps.parquet", dtype=dtype, gaps=True).values, expected)


def test_integers_and_booleans_with_nulls(tmp_path):
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"a": [1, None, 3], "b": [True, False, None]}), path)
    np.testing.assert_array_equal(read_table(path, gaps=True).values, [[1, 1], [np.nan, 0], [3, np.nan]])


def test_a_first_row_of_gaps_is_no_header(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("NA,1\n2,NA\n")
    np.testing.assert_array_equal(read_table(path, gaps=True).values, [[np.nan, 1], [2, np.nan]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,\n2,inf\n", "line 3, column 'b': inf is not finite"),
        ("a,b\n1,\n2,x\n", "line 3, column 'b': expected a number, got 'x'"),
        ("a,b\n1,\n2\n", "line 3: expected 2 fields, got 1"),
        ("a,b\n,1\n1,\n", r"line 3, column 'b': the value is missing"),
    ],
)
def test_everything_else_stays_an_error(tmp_path, text, message):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    weights = "b" if "is missing" in message else None
    with pytest.raises(TableError, match=message):
        read_table(path, weights=weights, gaps=True)


def test_infinities_and_gaps_of_weights_in_parquet(tmp_path):
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"a": [1.0, None, np.inf], "w": [1.0, None, 2.0]}), path)
    with pytest.raises(TableError, match="row 3, column 'a': inf is not a finite"):
        read_table(path, ["a"], gaps=True)
    parquet.write_table(pyarrow.table({"a": [1.0, None, 2.0], "w": [1.0, None, 2.0]}), path)
    with pytest.raises(TableError, match="row 2, column 'w': the value is missing"):
        read_table(path, weights="w", gaps=True)


def test_columns_of_numbers_are_suggested_gaps_and_all(cli, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b,c\n1,x,\n,y,2\n")
    assert "--columns a,c" in cli("fit", path, "--missing", "em", code=2)


def test_fit_predict_and_score(cli, gaps, fitted):
    (path, values), (model, mixture) = gaps, fitted
    predicted = columns(cli("predict", model, path, "--missing", "em", "--proba"))
    np.testing.assert_array_equal(predicted["label"], mixture.predict(values, missing="em"))
    np.testing.assert_array_equal(predicted["p1"], mixture.predict_proba(values, missing="em")[:, 1])
    densities = columns(cli("score", model, path, "--missing", "em", "--per-row"))["log_density"]
    np.testing.assert_array_equal(densities, mixture.score_samples(values, missing="em"))
    scored = json.loads(cli("score", model, path, "--missing", "em", "--json"))
    assert scored["log_likelihood_per_row"] == mixture.score(values, missing="em")
    assert scored["data"]["missing_values"] == np.isnan(values).sum()
    assert scored["data"]["unobserved_rows"] == np.isnan(values).all(axis=1).sum()


def test_labels_and_picture(cli, gaps, tmp_path):
    path, values = gaps
    outputs = ("--labels", tmp_path / "labels.csv", "--plot", tmp_path / "fit.png")
    cli("fit", path, "--missing", "em", "--components", "2", "--covariance", "diag", *outputs)
    assert len(columns((tmp_path / "labels.csv").read_text())["label"]) == len(values)
    assert (tmp_path / "fit.png").stat().st_size > 1000


def test_impute(cli, gaps, fitted, tmp_path):
    (path, values), (model, mixture) = gaps, fitted
    filled = columns(cli("impute", model, path))
    np.testing.assert_array_equal(np.column_stack([*filled.values()]), mixture.impute(values))
    assert list(filled) == ["eruptions", "waiting"]
    drawn = columns(cli("impute", model, path, "--draws", "3", "--seed", "7"))
    assert list(drawn) == ["draw", "eruptions", "waiting"]
    np.testing.assert_array_equal(drawn["draw"], np.repeat([0, 1, 2], len(values)))
    expected = mixture.impute(values, 3, 7).reshape(-1, 2)
    np.testing.assert_array_equal(np.column_stack([drawn["eruptions"], drawn["waiting"]]), expected)
    assert cli("impute", model, path, "--output", tmp_path / "filled.npy") == ""
    np.testing.assert_array_equal(np.load(tmp_path / "filled.npy"), mixture.impute(values))


def test_gaps_are_errors_without_the_option(cli, gaps, model):
    path, _ = gaps
    assert "the value is missing; fill in or remove such rows first" in cli("fit", path, code=2).replace("('NA') ", "")
    assert "is missing" in cli("predict", model[0], path, code=2)


def test_files_are_read_block_by_block(cli, gaps, fitted, tmp_path, monkeypatch):
    """The same columns; of draws each block has its own, one draw after the other."""
    monkeypatch.setattr(BatchSource, "_chunk_rows", lambda *_: 100)
    (path, values), (model, mixture) = gaps, fitted
    command = ("fit", path, "--missing", "em", "--components", "2", "--covariance", "full", "--max-memory", "200MB")
    again = tmp_path / "again.npz"
    report = cli(*command, "--model", again, "--labels", tmp_path / "labels.csv", "--plot", tmp_path / "fit.png")
    assert f"gaps: {np.isnan(values).sum()} values missing" in report
    np.testing.assert_allclose(fastgmm.load(again).means, mixture.means, rtol=1e-10)
    expected = mixture.predict(values, missing="em")
    np.testing.assert_array_equal(columns((tmp_path / "labels.csv").read_text())["label"], expected)
    np.testing.assert_array_equal(columns(cli("predict", model, path, "--missing", "em"))["label"], expected)
    densities = columns(cli("score", model, path, "--missing", "em", "--per-row"))["log_density"]
    np.testing.assert_array_equal(densities, mixture.score_samples(values, missing="em"))
    filled = columns(cli("impute", model, path))
    np.testing.assert_array_equal(np.column_stack([*filled.values()]), mixture.impute(values))
    drawn = columns(cli("impute", model, path, "--draws", "2", "--seed", "7"))
    sizes = [100, 100, len(values) - 200]
    np.testing.assert_array_equal(drawn["draw"], np.concatenate([np.repeat([0, 1], size) for size in sizes]))
    for draw in (0, 1):
        rows = np.column_stack([drawn[name][drawn["draw"] == draw] for name in ("eruptions", "waiting")])
        np.testing.assert_array_equal(rows[~np.isnan(values)], values[~np.isnan(values)])
        assert not np.isnan(rows).any()
