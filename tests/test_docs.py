"""What README.md and docs/ say is so: commands give the output shown, options are those of the parser, code runs."""

import argparse
import contextlib
import functools
import io
import json
import re
import shlex
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from problems import FAITHFUL

import fastgmm
from fastgmm import fitting
from fastgmm.cli import main
from fastgmm.cli.arguments import parser
from fastgmm.io import model_file
from fastgmm.selection import CRITERIA

CHECKOUT = Path(__file__).parents[1]
COMMAND_LINE = (CHECKOUT / "docs" / "command_line.md").read_text(encoding="utf-8")
DEGENERATE = (CHECKOUT / "docs" / "degenerate.md").read_text(encoding="utf-8")
KNOWLEDGE = (CHECKOUT / "docs" / "knowledge.md").read_text(encoding="utf-8")
EMBEDDING = (CHECKOUT / "docs" / "embedding.md").read_text(encoding="utf-8")
MODEL_FILE = (CHECKOUT / "docs" / "model_file.md").read_text(encoding="utf-8")
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?")
TIME = re.compile(r"\d+(?:\.\d+)? m?s\b")


def blocks(text, language):
    """Contents of the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def section(text, title):
    """What stands under a heading of the second level."""
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)[1]


def rows(text):
    """Cells of the rows of all tables in `text`, those of headings and rules left out."""
    lines = [line for line in text.splitlines() if re.match(r"\| `", line)]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


COMMANDS = next(each for each in parser()._actions if isinstance(each, argparse._SubParsersAction)).choices


class TestCommandLine:
    def test_output_is_as_shown(self, tmp_path, monkeypatch):
        (tmp_path / "examples").mkdir()
        shutil.copy(FAITHFUL, tmp_path / "examples")
        monkeypatch.chdir(tmp_path)
        transcript = "".join(blocks(COMMAND_LINE, "console"))
        for shown in re.split(r"^\$ ", transcript, flags=re.MULTILINE)[1:]:
            line, _, expected = shown.partition("\n")
            command, _, n_lines = line.partition(" | head -n ")
            printed = self.output(shlex.split(command)).splitlines(keepends=True)
            printed = "".join(printed[: int(n_lines)] if n_lines else printed)
            expected, printed = TIME.sub("T", expected), TIME.sub("T", printed)
            assert NUMBER.sub("N", printed) == NUMBER.sub("N", expected)
            numbers = [np.array(NUMBER.findall(text), dtype=float) for text in (printed, expected)]
            np.testing.assert_allclose(*numbers, rtol=1e-9)  # other processors round the last digits differently

    def output(self, words):
        assert words[:3] == ["python", "-m", "fastgmm"]
        stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            main(words[3:])
        stream.flush()
        return stream.buffer.getvalue().decode("utf-8")

    @pytest.mark.parametrize("command", COMMANDS)
    def test_options_are_those_of_the_parser(self, command):
        expected = []
        for action in COMMANDS[command]._actions[1:]:  # the first is --help
            value = r"\|".join(action.choices) if action.choices else action.metavar
            value = f"[{value}]" if action.nargs == "?" else value
            names = [f"{name} {value}" if value else name for name in action.option_strings] or [value]
            expected.append([", ".join(f"`{name}`" for name in names), action.help % vars(action)])
        assert rows(section(COMMAND_LINE, command.capitalize())) == expected

    def test_keys_of_the_json_document(self, capsys):
        main(["fit", str(FAITHFUL), "--components", "1", "--json"])
        document = json.loads(capsys.readouterr().out)
        text = re.search(r"with the keys (.*?)\. ", COMMAND_LINE, flags=re.DOTALL)[1]
        assert re.findall(r"`(\w+)`", text) == list(document)


class TestModelFile:
    def test_header_and_members(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        mixture = fastgmm.Mixture([0.25, 0.75], [[0.0, 1.0], [2.0, 3.0]], [np.eye(2)] * 2)
        mixture.save("model.npz", feature_names=["eruptions", "waiting"])
        with zipfile.ZipFile("model.npz") as archive:
            assert archive.read("header.json").decode() == blocks(MODEL_FILE, "json")[0].strip()
            members = [name.strip("`") for name, _ in rows(MODEL_FILE)[:5]]
            assert archive.namelist() == members
        keys = {key.strip("`") for key, _ in rows(MODEL_FILE)[5:]}
        assert keys == model_file._KEYS
        names = {}
        exec(blocks(MODEL_FILE, "python")[0], names)
        assert names["header"]["version"] == model_file.VERSION
        np.testing.assert_array_equal(names["means"], mixture.means)
        np.testing.assert_array_equal(names["covariances"], mixture.covariances)


class TestDegenerate:
    def test_python_runs(self, capsys):
        names = {}
        for block in blocks(DEGENERATE, "python"):
            exec(block, names)
        assert capsys.readouterr().out.splitlines()[0].startswith("3 Collapse(iteration=")

    def test_policies_are_those_of_the_library(self):
        shown = [cells[0] for cells in rows(DEGENERATE)]
        assert [re.match(r'`"(\w+)"`', cell)[1] for cell in shown[1:]] == list(fitting.POLICIES)


class TestLowRank:
    def test_python_runs(self, capsys):
        exec(blocks((CHECKOUT / "docs" / "low_rank.md").read_text(encoding="utf-8"), "python")[0], {})
        assert capsys.readouterr().out.split("\n")[1] == "(2000, 3)"


class TestKnowledge:
    def test_python_runs(self):
        names = {}
        for block in blocks(KNOWLEDGE, "python"):
            exec(block, names)
        assert names["few_rows"].converged
        assert names["half_known"].mixture.means[0].mean() < names["half_known"].mixture.means[1].mean()
        assert names["outliers"].mixture.predict([[30.0, -30.0, 30.0]]).tolist() == [-1]
        assert names["accuracy"] > 0.9
        assert names["stiffer"].log_likelihood < names["few_rows"].log_likelihood


class TestEmbedding:
    def test_python_runs(self):
        exec(blocks(EMBEDDING, "python")[0], {})

    @pytest.mark.parametrize(
        ("language", "file"), [("cython", "embed_cython/embed_cython.pyx"), ("c", "embed_c/embed_c.c")]
    )
    def test_what_is_shown_is_what_the_example_packages_run(self, language, file):
        source = (CHECKOUT / "examples" / file).read_text(encoding="utf-8")
        shown = blocks(EMBEDDING, language)
        assert shown
        assert all(block in source for block in shown)

    def test_set_up_is_that_of_the_example_package(self):
        source = (CHECKOUT / "examples" / "embed_cython" / "setup.py").read_text(encoding="utf-8")
        assert blocks(EMBEDDING, "python")[1] == source


class TestMigrating:
    TEXT = (CHECKOUT / "docs" / "migrating.md").read_text(encoding="utf-8")

    def test_python_runs_and_finds_what_mclust_publishes(self, tmp_path, monkeypatch, capsys):
        (tmp_path / "examples").mkdir()
        shutil.copy(FAITHFUL, tmp_path / "examples")
        monkeypatch.chdir(tmp_path)
        names = {}
        exec(blocks(self.TEXT, "python")[0], names)
        lines = capsys.readouterr().out.splitlines()
        assert lines[-2:] == re.findall(r"^print\(.*\)  # (EEE 3 11|[-.\d]+ [-.\d]+)", self.TEXT, flags=re.MULTILINE)
        assert lines[0].startswith("Selection by BIC, mclust's sign")
        assert names["uncertainty"].max() < 2 / 3

    def test_names_are_there(self):
        for name in re.findall(r"`fastgmm\.([\w.]+)", self.TEXT):
            functools.reduce(getattr, name.split("."), fastgmm)
        for name in re.findall(r"`selection\.(\w+)", self.TEXT):
            assert name in fastgmm.selection.__all__
        parameters = fastgmm.GaussianMixture().get_params()
        for name in re.findall(r"`(\w+)=", self.TEXT):
            assert name in {*parameters, "criterion", "known_labels"}


class TestReadme:
    def test_python_runs(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        names = {}
        exec(blocks(README, "python")[0], names)
        assert sorted(np.bincount(names["labels"])) == [300, 300]
        assert 0 < names["outliers"].sum() < 60
        np.testing.assert_array_equal(names["mixture"].predict(names["X"]), names["labels"])

    def test_python_runs_with_scikit_learn_but_for_the_last_two_lines(self):
        lines = blocks(README, "python")[0].splitlines()
        assert lines[1] == "from fastgmm import GaussianMixture, load"
        assert [line.partition("(")[0] for line in lines[-2:]] == ["model.save", "mixture = load"]
        lines[1] = "from sklearn.mixture import GaussianMixture"
        ours, theirs = {}, {}
        exec("\n".join(lines[:-2]), theirs)
        exec("\n".join(blocks(README, "python")[0].splitlines()[:-2]), ours)
        assert type(theirs["model"]).__module__.startswith("sklearn")
        agreement = np.mean(ours["labels"] == theirs["labels"])
        assert agreement in (0, 1)  # the numbers of the components may be swapped


class TestSelection:
    TEXT = (CHECKOUT / "docs" / "selection.md").read_text(encoding="utf-8")

    def test_python_runs(self, tmp_path, monkeypatch, capsys):
        (tmp_path / "examples").mkdir()
        shutil.copy(FAITHFUL, tmp_path / "examples")
        monkeypatch.chdir(tmp_path)
        names = {}
        for block in blocks(self.TEXT, "python"):
            exec(block, names)
        assert "best: EEE, 3 components" in capsys.readouterr().out

    def test_criteria_are_those_of_the_library(self):
        shown = [name for cells in rows(section(self.TEXT, "Criteria")) for name in re.findall(r"`(\w+)`", cells[0])]
        assert shown == list(CRITERIA)
