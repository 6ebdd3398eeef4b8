"""The command line: every option acts, every kind of file is read, and every error is one line and an exit code."""

import errno
import inspect
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastgmm
from fastgmm import fitting
from fastgmm.cli import commands, main
from fastgmm.cli.arguments import parser
from fastgmm.io import tables
from fastgmm.selection.sweep import sweep

FAITHFUL = Path(__file__).parents[1] / "examples" / "old_faithful.csv"
X = np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)


@pytest.fixture
def cli(capsys):
    """Run a command, expect an exit code; return what went to standard output, or the one line of the error."""

    def run(*arguments, code=0):
        assert main([str(argument) for argument in arguments]) == code
        out, err = capsys.readouterr()
        if code == 0:
            assert err == ""
            return out
        assert out == ""
        assert err.startswith("fastgmm: ")
        assert err.count("\n") == 1
        return err.removeprefix("fastgmm: ").rstrip("\n")

    return run


@pytest.fixture
def fit(cli):
    """Fit Old Faithful, or another file, and return the JSON document."""

    def run(*options, file=FAITHFUL):
        return json.loads(cli("fit", file, "--json", *options))

    return run


@pytest.fixture
def model(tmp_path):
    """A model file, and the mixture in it."""
    path = tmp_path / "model.npz"
    mixture = fastgmm.fit(X, 2, random_state=0).mixture
    mixture.save(path, feature_names=["eruptions", "waiting"])
    return path, mixture


def without_times(document):
    """The document without what differs from run to run and from file to file."""
    document = {**document, "seconds": None, "data": {**document["data"], "file": None}}
    document["candidates"] = [{**each, "seconds": None} for each in document["candidates"]]
    return {**document, "chosen": {**document["chosen"], "seconds": None}}


class TestFit:
    def test_without_options_all_families_with_1_to_9_components_by_bic(self, fit):
        found = fit()
        tried = [(each["n_components"], each["covariance_type"]) for each in found["candidates"]]
        assert tried == [(K, family) for K in range(1, 10) for family in ("full", "tied", "diag", "spherical")]
        assert found["criterion"] == "bic"
        bic = [each["bic"] for each in found["candidates"]]
        assert found["chosen"]["index"] == np.argmin(bic)
        assert {**found["candidates"][np.argmin(bic)], **found["chosen"]} == found["chosen"]

    def test_defaults_are_those_of_the_library(self):
        options = parser().parse_args(["fit", "data.csv"])
        for function in (fastgmm.GaussianMixture, fitting.run):
            library = inspect.signature(function).parameters
            for name in ("n_init", "tol", "max_iter", "reg_covar"):
                assert getattr(options, name) == library[name].default
        swept = inspect.signature(sweep).parameters
        assert options.components == list(swept["n_components"].default)
        assert options.criterion == swept["criterion"].default

    @pytest.mark.parametrize(
        ("text", "numbers"), [("3", [3]), ("1-4", [1, 2, 3, 4]), ("2,4,8", [2, 4, 8]), ("6-7,2,6", [2, 6, 7])]
    )
    def test_components(self, fit, text, numbers):
        found = fit("--components", text, "--covariance", "diag")
        assert [each["n_components"] for each in found["candidates"]] == numbers

    def test_covariance(self, fit):
        found = fit("--components", "2", "--covariance", "spherical, full,spherical")
        assert [each["covariance_type"] for each in found["candidates"]] == ["spherical", "full"]

    @pytest.mark.parametrize("criterion", ["bic", "aic"])
    def test_criterion(self, fit, criterion):
        found = fit("--criterion", criterion)
        assert found["criterion"] == criterion
        assert found["chosen"]["index"] == np.argmin([each[criterion] for each in found["candidates"]])
        assert (found["chosen"]["index"] == fit()["chosen"]["index"]) == (criterion == "bic")

    def test_what_is_reported_is_the_fit_of_the_library(self, fit):
        found = fit("--components", "3", "--covariance", "tied")
        result = fastgmm.fit(X, 3, covariance_type="tied", random_state=0)
        chosen, mixture = found["chosen"], result.mixture
        assert chosen["log_likelihood_per_row"] == result.lower_bound
        assert chosen["log_likelihood"] == pytest.approx(result.lower_bound * len(X), rel=1e-15)
        assert chosen["bic"] == pytest.approx(mixture.bic(X), rel=1e-14)
        assert chosen["aic"] == pytest.approx(mixture.aic(X), rel=1e-14)
        assert chosen["n_parameters"] == mixture.n_parameters
        assert (chosen["iterations"], chosen["converged"]) == (result.n_iter, result.converged)
        components = found["model"]["components"]
        assert [each["weight"] for each in components] == mixture.weights.tolist()
        assert [each["mean"] for each in components] == mixture.means.tolist()
        assert [each["spread"] for each in components] == [np.sqrt(np.diag(mixture.covariances)).tolist()] * 3
        assert found["model"]["covariances"] == mixture.covariances.tolist()
        assert found["data"]["rows"] == 272
        assert found["data"]["columns"] == found["model"]["columns"] == ["eruptions", "waiting"]

    @pytest.mark.parametrize(
        ("option", "keyword"),
        [
            (("--n-init", "7"), {"n_init": 7}),
            (("--tol", "1e-9"), {"tol": 1e-9}),
            (("--max-iter", "2"), {"max_iter": 2}),
            (("--reg-covar", "0.5"), {"reg_covar": 0.5}),
            (("--seed", "5"), {"random_state": 5}),
        ],
    )
    def test_options_of_the_estimation(self, fit, option, keyword):
        common = ("--components", "6", "--covariance", "full")
        changed = fit(*common, *option)["chosen"]["log_likelihood_per_row"]
        assert changed == fitting.run(X, 6, **{"random_state": 0, **keyword}).lower_bound
        assert changed != fit(*common)["chosen"]["log_likelihood_per_row"]

    def test_options_are_reported(self, fit):
        options = ("--n-init", "2", "--tol", "0.01", "--max-iter", "30", "--reg-covar", "0", "--seed", "3")
        found = fit(*options, "--components", "1")
        assert found["options"] == {"n_init": 2, "tol": 0.01, "max_iter": 30, "reg_covar": 0, "seed": 3}

    def test_float32(self, fit):
        found = fit("--components", "2", "--covariance", "full", "--float32")
        expected = fastgmm.fit(X.astype(np.float32), 2, random_state=0)
        assert found["data"]["dtype"] == found["model"]["dtype"] == "float32"
        assert found["chosen"]["log_likelihood_per_row"] == expected.lower_bound

    def test_threads_arrive_and_change_nothing(self, cli, fit, monkeypatch, model):
        asked = []

        def watched(*arguments, n_threads, **options):
            asked.append(n_threads)
            return sweep(*arguments, n_threads=n_threads, **options)

        monkeypatch.setattr(commands, "sweep", watched)
        one, three = (without_times(fit("--threads", n, "--components", "3")) for n in (1, 3))
        assert asked == [1, 3]
        assert one == three
        assert cli("predict", model[0], FAITHFUL, "--threads", "1") == cli("predict", model[0], FAITHFUL)

    def test_columns(self, fit):
        found = fit("--columns", "waiting,eruptions", "--components", "2", "--covariance", "full")
        assert found["data"]["columns"] == ["waiting", "eruptions"]
        assert found["model"]["components"][0]["mean"][0] > 10
        assert fit("--columns", "waiting", "--components", "1")["model"]["n_features"] == 1

    def test_weights(self, fit, tmp_path):
        weights = np.arange(len(X)) % 3
        path = tmp_path / "weighted.csv"
        tables.write_table(path, {"eruptions": X[:, 0], "count": weights, "waiting": X[:, 1]})
        found = fit("--weights", "count", "--components", "2", "--covariance", "full", file=path)
        expected = fastgmm.fit(X, 2, sample_weight=weights, random_state=0)
        assert found["data"]["columns"] == ["eruptions", "waiting"]
        assert found["data"]["total_weight"] == weights.sum()
        assert found["chosen"]["log_likelihood_per_row"] == expected.lower_bound
        assert found["chosen"]["bic"] == pytest.approx(expected.mixture.bic(X, sample_weight=weights), rel=1e-14)

    def test_model_labels_and_plot(self, fit, tmp_path):
        outputs = {"model": tmp_path / "m.npz", "labels": tmp_path / "l.csv", "plot": tmp_path / "p.png"}
        options = [part for kind, path in outputs.items() for part in (f"--{kind}", path)]
        found = fit("--components", "2", "--covariance", "full", *options)
        assert found["files"] == {kind: str(path) for kind, path in outputs.items()}
        mixture = fastgmm.load(outputs["model"])
        assert mixture == fastgmm.fit(X, 2, random_state=0).mixture
        assert mixture.feature_names == ("eruptions", "waiting")
        assert outputs["labels"].read_text().split() == ["label", *map(str, mixture.predict(X))]
        assert outputs["plot"].read_bytes().startswith(b"\x89PNG")

    def test_names_that_nobody_gave_are_not_in_the_model(self, fit, tmp_path):
        np.save(tmp_path / "rows.npy", X)
        fit("--components", "1", "--model", tmp_path / "m.npz", file=tmp_path / "rows.npy")
        assert fastgmm.load(tmp_path / "m.npz").feature_names is None

    def test_csv_npy_parquet_and_standard_input_give_the_same(self, fit, tmp_path, monkeypatch):
        columns = dict(zip(["eruptions", "waiting"], X.T, strict=True))
        np.save(tmp_path / "rows.npy", X)
        tables.write_table(tmp_path / "rows.parquet", columns)
        expected = without_times(fit("--components", "1-3"))
        assert without_times(fit("--components", "1-3", file=tmp_path / "rows.parquet")) == expected
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(FAITHFUL.read_bytes())))
        assert without_times(fit("--components", "1-3", file="-")) == expected
        nameless = without_times(fit("--components", "1-3", file=tmp_path / "rows.npy"))
        assert nameless["data"].pop("columns") == nameless["model"].pop("columns") == ["x1", "x2"]
        assert expected["data"].pop("columns") == expected["model"].pop("columns") == ["eruptions", "waiting"]
        assert nameless == expected

    def test_failed_candidates_are_null_in_json(self, fit, tmp_path):
        np.savetxt(tmp_path / "few.csv", X[:3], delimiter=",")
        found = fit("--components", "3-4", "--covariance", "diag", file=tmp_path / "few.csv")
        fitted, failed = found["candidates"]
        assert fitted["error"] is None
        assert failed["error"].startswith("Expected n_samples >= n_components")
        assert failed["bic"] is failed["log_likelihood"] is failed["converged"] is failed["iterations"] is None


class TestSavedModel:
    def test_predict(self, cli, model, tmp_path):
        path, mixture = model
        expected = ["label", *map(str, mixture.predict(X))]
        assert cli("predict", path, FAITHFUL).split() == expected
        assert cli("predict", path, FAITHFUL, "--output", tmp_path / "l.csv") == ""
        assert (tmp_path / "l.csv").read_text().split() == expected

    def test_predict_probabilities(self, cli, model):
        path, mixture = model
        lines = cli("predict", path, FAITHFUL, "--proba").splitlines()
        assert lines[0] == "label,p0,p1"
        values = np.array([line.split(",") for line in lines[1:]], dtype=float)
        np.testing.assert_array_equal(values[:, 0], mixture.predict(X))
        np.testing.assert_array_equal(values[:, 1:], mixture.predict_proba(X))

    def test_columns_are_found_by_name_else_by_position(self, cli, model, tmp_path):
        path, _ = model
        expected = cli("predict", path, FAITHFUL)
        columns = {"note": np.zeros(len(X)), "waiting": X[:, 1], "eruptions": X[:, 0]}
        tables.write_table(tmp_path / "other.csv", columns)
        assert cli("predict", path, tmp_path / "other.csv") == expected
        np.save(tmp_path / "rows.npy", X)
        assert cli("predict", path, tmp_path / "rows.npy") == expected
        np.save(tmp_path / "swapped.npy", X[:, ::-1])
        assert cli("predict", path, tmp_path / "swapped.npy", "--columns", "x2,x1") == expected

    def test_score(self, cli, model):
        path, mixture = model
        found = json.loads(cli("score", path, FAITHFUL, "--json"))
        assert found["log_likelihood_per_row"] == mixture.score(X)
        assert found["log_likelihood"] == pytest.approx(mixture.score_samples(X).sum(), rel=1e-14)
        assert found["bic"] == pytest.approx(mixture.bic(X), rel=1e-14)
        assert found["aic"] == pytest.approx(mixture.aic(X), rel=1e-14)
        assert f"{found['log_likelihood']:.4f}" in cli("score", path, FAITHFUL)

    def test_score_of_weighted_rows(self, cli, model, tmp_path):
        path, mixture = model
        weights = 1.0 + np.arange(len(X)) % 3
        tables.write_table(tmp_path / "w.csv", {"eruptions": X[:, 0], "waiting": X[:, 1], "w": weights})
        found = json.loads(cli("score", path, tmp_path / "w.csv", "--weights", "w", "--json"))
        assert found["log_likelihood_per_row"] == mixture.score(X, sample_weight=weights)

    def test_score_of_each_row(self, cli, model, tmp_path):
        path, mixture = model
        expected = ["log_density", *map(repr, mixture.score_samples(X).tolist())]
        assert cli("score", path, FAITHFUL, "--per-row").split() == expected
        report = cli("score", path, FAITHFUL, "--output", tmp_path / "s.csv")
        assert report == cli("score", path, FAITHFUL)
        assert (tmp_path / "s.csv").read_text().split() == expected

    def test_sample(self, cli, model):
        path, mixture = model
        rows, labels = mixture.sample(20, random_state=4)
        lines = cli("sample", path, "-n", "20", "--seed", "4").splitlines()
        assert lines[0] == "eruptions,waiting,label"
        values = np.array([line.split(",") for line in lines[1:]], dtype=float)
        np.testing.assert_array_equal(values, np.column_stack([rows, labels]))
        assert len(cli("sample", path).splitlines()) == 2
        assert cli("sample", path) != cli("sample", path)

    def test_sample_writes_files_and_keeps_columns_apart(self, cli, model, tmp_path):
        _, mixture = model
        mixture.save(tmp_path / "m.npz", feature_names=["label", "label_"])
        assert cli("sample", tmp_path / "m.npz", "--output", tmp_path / "s.csv", "--rows", "5") == ""
        lines = (tmp_path / "s.csv").read_text().splitlines()
        assert (lines[0], len(lines)) == ("label_,label__,label", 6)

    def test_info(self, cli, model):
        path, mixture = model
        found = json.loads(cli("info", path, "--json"))
        assert [each["mean"] for each in found["components"]] == mixture.means.tolist()
        assert found["columns"] == ["eruptions", "waiting"]
        assert "2 components, 2 columns, 11 free parameters" in cli("info", path)

    def test_what_sample_writes_fit_reads(self, cli, model, fit, tmp_path):
        cli("sample", model[0], "-n", "2000", "--seed", "0", "--output", tmp_path / "s.csv")
        found = fit("--columns", "eruptions,waiting", "--covariance", "full", file=tmp_path / "s.csv")
        assert found["chosen"]["n_components"] == 2


class TestHelp:
    def test_help_and_version(self, cli):
        for command in ("fit", "predict", "score", "sample", "info"):
            assert f"\n    {command} " in cli("--help")
            assert cli(command, "--help").startswith(f"usage: python -m fastgmm {command}")
        assert cli("--version") == f"fastgmm {fastgmm.__version__}\n"

    def test_nothing_is_wider_than_a_terminal(self, cli, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        for command in ("fit", "predict", "score", "sample", "info"):
            assert max(map(len, cli(command, "--help").splitlines())) <= 80


F = str(FAITHFUL)


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("", "the following arguments are required: COMMAND (try: python -m fastgmm --help)"),
            ("fitt x.csv", "invalid choice: 'fitt'"),
            ("fit", "the following arguments are required: FILE (try: python -m fastgmm fit --help)"),
            (f"fit {F} --bogus", "unrecognized arguments: --bogus"),
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
            (f"fit {F} --criterion mdl", "argument --criterion: invalid choice: 'mdl'"),
            (f"fit {F} --n-init 0", "argument --n-init: expected a whole number from 1, got '0'"),
            (f"fit {F} --max-iter 1.5", "argument --max-iter: expected a whole number from 1, got '1.5'"),
            (f"fit {F} --threads -1", "argument --threads: expected a whole number from 1, got '-1'"),
            (f"fit {F} --tol small", "argument --tol: expected a number from 0, got 'small'"),
            (f"fit {F} --tol nan", "argument --tol: expected a number from 0, got 'nan'"),
            (f"fit {F} --reg-covar=-1e-6", "argument --reg-covar: expected a number from 0, got '-1e-6'"),
            (f"fit {F} --seed 1e3", "argument --seed: expected a whole number from 0 to 4294967295, got '1e3'"),
            (f"fit {F} --columns length", "has no column 'length'; its columns are eruptions, waiting"),
            (f"fit {F} --columns eruptions,eruptions", "a column is asked for more than once: eruptions, eruptions"),
            (f"fit {F} --weights w", "has no column 'w'; its columns are eruptions, waiting"),
            (f"fit {F} --weights waiting --columns waiting", "column 'waiting' cannot be both data and weights"),
            (f"fit {F} --model none/m.npz", "none/m.npz: No such file or directory"),
            (f"fit {F} --plot p.xyz", "p.xyz: pictures are written as "),
            (f"fit {F} --model same --labels ./same", "two outputs have the same file name"),
            ("fit none.csv", "none.csv: No such file or directory"),
            ("fit .", ".: Is a directory"),
            ("fit empty.csv", "empty.csv is empty"),
            ("fit header.csv", "header.csv has a header but no rows"),
            ("fit one.csv", "Found array with 1 sample(s) (shape=(1, 2)) while a minimum of 2 is required."),
            ("fit ragged.csv", "ragged.csv, line 3: expected 2 fields, got 1"),
            ("fit gap.csv", "gap.csv, line 2, column 'b': the value is missing; fill in or remove such rows first"),
            ("fit text.csv --columns b", "text.csv, line 3, column 'b': expected a number, got 'y'"),
            ("fit text.csv", "expected a number, got 'y' (to use the columns of numbers: --columns a)"),
            ("fit negative.csv --weights b", "negative.csv, row 2, column 'b': a weight cannot be negative, got -1"),
            ("fit nan.npy", "Input X contains NaN. The first is in row 1, column 0 (counted from 0)."),
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
    def test_wrong_usage_and_input(self, cli, model, tmp_path, monkeypatch, arguments, message):
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

    def test_no_mixture_can_be_fitted(self, cli, tmp_path):
        (tmp_path / "same.csv").write_text("1,2\n" * 10)
        error = cli("fit", tmp_path / "same.csv", "--reg-covar", "0", "--components", "1", code=1)
        assert error.startswith("error: no candidate could be fitted: Fitting the mixture model failed")

    def test_memory_runs_out(self, cli, model, monkeypatch):
        def too_large(path):
            raise MemoryError("Unable to allocate 9.15 PiB")

        monkeypatch.setattr(commands, "load", too_large)
        assert cli("sample", model[0], code=1) == "error: not enough memory: Unable to allocate 9.15 PiB"

    def test_interrupt(self, cli, model, monkeypatch):
        def interrupted(path):
            raise KeyboardInterrupt

        monkeypatch.setattr(commands, "load", interrupted)
        assert cli("info", model[0], code=130) == "interrupted"

    def test_output_cannot_be_written(self, cli, model, monkeypatch):
        class Full(io.StringIO):
            def flush(self):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(sys, "stdout", Full())
        assert cli("info", model[0], code=2) == f"error: {os.strerror(errno.ENOSPC)}"

    def test_a_failed_fit_leaves_older_output_alone(self, cli, tmp_path):
        (tmp_path / "m.npz").write_text("older")
        (tmp_path / "text.csv").write_text("a,b\n1,2\n3,y\n")
        cli("fit", tmp_path / "text.csv", "--model", tmp_path / "m.npz", code=2)
        assert (tmp_path / "m.npz").read_text() == "older"

    @pytest.mark.parametrize(("module", "extra"), [("matplotlib.figure", "plot"), ("pyarrow", "parquet")])
    def test_a_missing_package_is_named_before_any_work(self, cli, tmp_path, monkeypatch, module, extra):
        tables.write_table(tmp_path / "rows.parquet", {"a": X[:, 0]})
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.setattr(commands, "sweep", None)
        file = tmp_path / "rows.parquet" if extra == "parquet" else FAITHFUL
        options = ("--plot", tmp_path / "p.png") if extra == "plot" else ()
        assert f"pip install 'fastgmm[{extra}]'" in cli("fit", file, *options, code=2)

    def test_a_bug_is_not_hidden(self, model, monkeypatch):
        monkeypatch.setattr(commands, "load", lambda path: {}["bug"])
        with pytest.raises(KeyError):
            main(["info", str(model[0])])


class TestProcess:
    """What only a process of its own shows."""

    @pytest.fixture
    def process(self, tmp_path):
        """Start `python -m fastgmm` in an empty folder; `redirect` is what a shell appends."""

        def start(*arguments, redirect="", **options):
            found = [str(Path(fastgmm.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
            environment = {
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, found)),
                "PYTHONIOENCODING": "utf-8",
            }
            command = [sys.executable, "-W", "error", "-m", "fastgmm", *map(str, arguments)]
            if redirect:
                command = ["sh", "-c", f'exec "$@" {redirect}', "sh", *command]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
            return subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes)

        return start

    def test_the_main_job(self, process):
        running = process("fit", FAITHFUL)
        out, err = running.communicate(timeout=120)
        assert (running.returncode, err) == (0, b"")
        assert "272 rows × 2 columns" in out.decode()
        assert b"\x1b" not in out

    def test_an_error(self, process):
        running = process("fit", "none.csv")
        out, err = running.communicate(timeout=120)
        assert (running.returncode, out) == (2, b"")
        assert err == b"fastgmm: error: none.csv: No such file or directory\n"

    def test_an_error_of_the_environment(self, process, monkeypatch):
        monkeypatch.setenv("FASTGMM_SIMD", "none")
        running = process("fit", FAITHFUL)
        out, err = running.communicate(timeout=120)
        assert (running.returncode, out) == (2, b"")
        assert err.startswith(b"fastgmm: error: FASTGMM_SIMD")
        assert err.count(b"\n") == 1

    def test_the_reader_of_the_output_goes_away(self, process, model):
        running = process("sample", model[0], "-n", 200_000)
        assert running.stdout.readline() == b"eruptions,waiting,label\n"
        running.stdout.close()
        assert running.stderr.read() == b""
        running.stderr.close()
        assert running.wait(timeout=120) == 141

    @pytest.mark.parametrize("redirect", [">&-", "2>&-", "<&-"])
    def test_streams_may_be_closed(self, process, tmp_path, redirect):
        running = process("fit", FAITHFUL, "--components", 1, "--model", "m.npz", redirect=redirect)
        out, err = running.communicate(timeout=120)
        assert (running.returncode, err) == (0, b"")
        assert (out == b"") == (redirect == ">&-")
        assert (tmp_path / "m.npz").is_file()

    def test_standard_input_may_be_closed(self, process):
        running = process("fit", "-", redirect="<&-")
        _, err = running.communicate(timeout=120)
        assert running.returncode == 2
        assert err == b"fastgmm: error: there is no standard input to read; it is closed\n"

    def test_ctrl_c_on_a_terminal_ends_bar_and_fit(self, process, tmp_path):
        import pty

        np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(20_000, 8)))
        terminal, theirs = pty.openpty()
        running = process("fit", "rows.npy", "--n-init", 1000, "--components", 9, stderr=theirs)
        os.close(theirs)
        seen = b""
        while b"iteration" not in seen:  # the bar is there, so the fit is going on
            seen += os.read(terminal, 1000)
        running.send_signal(signal.SIGINT)
        while not seen.endswith(b"interrupted\r\n"):
            seen += os.read(terminal, 1000)
        os.close(terminal)
        assert seen.endswith(b" \rfastgmm: interrupted\r\n")
        assert running.communicate(timeout=120)[0] == b""
        assert running.returncode == 130
