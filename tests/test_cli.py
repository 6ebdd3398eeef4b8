"""The command line: every option acts, every kind of file is read, and a saved model is used."""

import inspect
import io
import itertools
import json
import re
import sys

import numpy as np
import pytest
from problems import FAITHFUL

import fastgmm
from fastgmm.cli import commands, main
from fastgmm.cli.arguments import SETTINGS, parser
from fastgmm.io import tables
from fastgmm.selection import select

X = np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)


@pytest.fixture
def fit(cli):
    """Fit Old Faithful, or another file, and return the JSON document."""

    def run(*options, file=FAITHFUL):
        return json.loads(cli("fit", file, "--json", *options))

    return run


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
        library = inspect.signature(select).parameters
        for name in SETTINGS:
            assert getattr(options, name) == library[name].default
        assert options.components == list(library["n_components"].default)
        assert options.criterion == library["criterion"].default

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
        result = select(X, 3, "tied", random_state=0).chosen.result
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

    def test_seconds_are_those_that_pass(self, fit, monkeypatch):
        monkeypatch.setattr("time.perf_counter", itertools.count().__next__)  # a second passes with every look at it
        found = fit("--components", "1", "--covariance", "full")
        assert (found["chosen"]["seconds"], found["seconds"]) == (1, 5)

    @pytest.mark.parametrize(
        ("option", "keyword"),
        [
            (("--n-init", "7"), {"n_init": 7}),
            (("--tol", "1e-9"), {"tol": 1e-9}),
            (("--max-iter", "2"), {"max_iter": 2}),
            (("--reg-covar", "0.5"), {"reg_covar": 0.5}),
            (("--seed", "5"), {"random_state": 5}),
            (("--init", "random"), {"init_params": "random"}),
            (("--init", "race"), {"init_params": "race"}),
            (("--init", "kmeans,random"), {"init_params": ["kmeans", "random"]}),
            (("--split-merge", "2"), {"split_merge": 2}),
            (("--stopping", "aitken"), {"stopping": "aitken"}),
            (("--max-time", "0"), {"max_time": 0}),
            (("--acceleration", "squarem"), {"acceleration": "squarem"}),
            (("--on-collapse", "floor"), {"on_collapse": "floor"}),
            (("--covariance-floor", "0.3"), {"covariance_floor": 0.3}),
            (("--equal-weights",), {"equal_weights": True}),
            (("--prior", "conjugate"), {"prior": "conjugate"}),
            (("--noise",), {"noise": True}),
            (("--noise", "1e3"), {"noise": 1e3}),
        ],
    )
    def test_options_of_the_estimation(self, fit, option, keyword):
        common = ("--components", "6", "--covariance", "full")
        found = fit(*common, *option)
        expected = select(X, 6, "full", **{"random_state": 0, **keyword})
        assert found["chosen"]["log_likelihood_per_row"] == expected.chosen.result.log_likelihood
        told = {"seed": expected.settings["seed"], **keyword}
        told.pop("random_state", None)
        assert {name: found["options"][name] for name in told} == told

    def test_the_optima_of_several_starts_are_reported(self, cli, fit):
        options = (
            "--components",
            "4",
            "--covariance",
            "full",
            "--init",
            "race",
            "--n-init",
            "12",
            "--split-merge",
            "3",
        )
        found = fit(*options)["chosen"]
        chosen = select(X, 4, "full", init_params="race", n_init=12, split_merge=3, random_state=0).chosen.result
        assert found["optima"] == [each._asdict() for each in chosen.optima()]
        n_runs = sum(each["n_starts"] for each in found["optima"])
        assert len(found["optima"]) > 1
        assert n_runs + found["failed_starts"] == len(chosen.histories) >= 5  # a third of 12, and a move
        best = found["optima"][0]
        assert best["lower_bound"] == found["log_likelihood_per_row"]
        n = best["n_starts"]
        line = f"  optima           {len(found['optima'])}: {best['lower_bound']:.4f} ({n} start{'s' * (n > 1)})"
        assert line in cli("fit", FAITHFUL, *options)
        assert "  optima  " not in cli("fit", FAITHFUL, *options[:4])

    def test_on_collapse(self, fit, tmp_path):
        np.savetxt(tmp_path / "same.csv", np.repeat(X[:2], 10, axis=0), delimiter=",")
        options = ("--components", "3", "--covariance", "full", "--reg-covar", "0", "--on-collapse", "drop")
        found = fit(*options, file=tmp_path / "same.csv")
        assert found["model"]["n_components"] < 3
        assert {each["action"] for each in found["chosen"]["collapses"]} == {"kept", "dropped"}

    def test_options_are_reported(self, fit):
        options = ("--n-init", "2", "--tol", "0.01", "--max-iter", "30", "--reg-covar", "0", "--seed", "3")
        found = fit(*options, "--components", "1")
        given = {"n_init": 2, "tol": 0.01, "max_iter": 30, "reg_covar": 0, "seed": 3}
        library = inspect.signature(select).parameters
        assert found["options"] == {**{name: library[name].default for name in SETTINGS}, **given}

    def test_verbose_shows_the_log_of_fits_on_standard_error(self, capsys):
        assert main(["fit", str(FAITHFUL), "--components", "2", "--covariance", "full,diag", "--verbose"]) == 0
        out, err = capsys.readouterr()
        assert out.startswith("Gaussian mixture of ")
        lines = [re.fullmatch(r" *\d+\.\d{3} s  (.*)", line)[1] for line in err.splitlines()]
        begun = [line for line in lines if line.startswith("fit begins: 2 components, ")]
        assert ["full covariance" in line for line in begun][:2] == [True, False]
        fastgmm.fit(X, 2)
        assert capsys.readouterr().err == ""

    def test_convergence(self, fit, tmp_path):
        path = tmp_path / "starts.svg"
        found = fit("--components", "3", "--covariance", "full", "--n-init", "3", "--convergence", path)
        assert found["files"] == {"convergence": str(path)}
        assert "old_faithful.csv: full covariance, 3 components" in path.read_text()

    def test_float32(self, fit):
        found = fit("--components", "2", "--covariance", "full", "--float32")
        expected = select(X.astype(np.float32), 2, "full", random_state=0).chosen.result
        assert found["data"]["dtype"] == found["model"]["dtype"] == "float32"
        assert found["chosen"]["log_likelihood_per_row"] == expected.lower_bound

    def test_threads_arrive_and_change_nothing(self, cli, fit, monkeypatch, model):
        asked = []

        def watched(*arguments, n_threads, **options):
            asked.append(n_threads)
            return select(*arguments, n_threads=n_threads, **options)

        monkeypatch.setattr(commands, "select", watched)
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
        expected = select(X, 2, "full", sample_weight=weights, random_state=0).chosen.result
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
        assert mixture == select(X, 2, "full", random_state=0).chosen.mixture
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
        found = fit("--components", "1,4", "--covariance", "diag", file=tmp_path / "few.csv")
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
