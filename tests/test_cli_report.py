"""The report that people read: aligned, within eighty columns, honest about what failed, and fit for the terminal."""

import contextlib
import functools
import io
import json
import re
import sys

import numpy as np
import pytest
import tqdm

from fastgmm.cli import main, numbers, report
from fastgmm.cli.terminal import WIDTH, Style, progress_bar
from fastgmm.io import tables

PLAIN, FULL = Style(), Style(unicode=True)
ESCAPE = re.compile(r"\x1b\[\d+m")


@pytest.fixture
def fitted(tmp_path, capsys):
    """Fit columns, a dict, and return the document."""

    def fit(columns, *options, name="rows.csv"):
        path = tmp_path / name
        tables.write_table(path, columns)
        assert main(["fit", str(path), "--json", *options]) == 0
        return json.loads(capsys.readouterr().out)

    return fit


def clusters(n_features=2, n_rows=90, scale=1.0):
    """Columns with three clusters, ten standard deviations apart."""
    rows = np.random.default_rng(0).normal(size=(n_rows, n_features)) + 10 * (np.arange(n_rows) % 3)[:, None]
    return {f"x{j}": column * scale for j, column in enumerate(rows.T)}


def candidate_lines(text):
    """The lines of the table of candidates, its head first."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("   K"))
    return lines[first : next(i for i, line in enumerate(lines) if "chosen:" in line)]


class TestWidth:
    @pytest.mark.parametrize("style", [PLAIN, FULL])
    @pytest.mark.parametrize(
        "columns",
        [
            clusters(1),
            clusters(2, scale=1e6),
            clusters(3, scale=1e-9),
            {**clusters(2), "x1": 1e15 + clusters(2)["x1"]},
            clusters(30),
            {"a name that is longer than anybody would like it to be " * 3: clusters(1)["x0"], "b": clusters(1)["x0"]},
            {f"column number {j}": column for j, column in enumerate(clusters(9).values())},
        ],
    )
    def test_reports_fit_into_eighty_columns(self, fitted, columns, style):
        document = fitted(columns, "--components", "1-4", "--max-iter", "2", name="a" * 120 + ".csv")
        document["files"] = {"model": "m.npz"}
        scored = {**document["chosen"], "data": document["data"]}
        for text in (
            report.fit(document, style),
            report.fit({**document, "files": {}}, style),
            report.info(document["model"], document["data"]["file"], style),
            report.score(scored, style),
        ):
            assert max(map(len, text.splitlines())) <= WIDTH
            assert not any(line.endswith(" ") for line in text.splitlines())

    def test_the_last_columns_are_counted(self, fitted):
        text = report.fit(fitted(clusters(30), "--components", "1", "--covariance", "diag"), PLAIN)
        shown = re.findall(r"\bx\d+\b", text.split("Components")[0])
        assert f"{shown[-1]} and {30 - len(shown)} more" in text
        assert "and 18 more columns, which --json shows" in text


class TestCandidates:
    def test_columns_line_up_and_hold_the_criterion(self, fitted):
        document = fitted(clusters(), "--criterion", "aic")
        head, *lines = candidate_lines(report.fit(document, PLAIN))
        ends = [match.end() for match in re.finditer(r"[a-z]+", head)]
        assert len(lines) == 9
        aic = iter(document["candidates"])
        for line in lines:
            found = list(re.finditer(r"-?\d+\.\d+", line))
            assert [match.end() for match in found] == ends
            assert [float(match[0]) for match in found] == [round(next(aic)["aic"], 1) for _ in ends]
        assert "AIC of K components in each covariance family" in report.fit(document, PLAIN)

    @pytest.mark.parametrize(("style", "sign"), [(PLAIN, "<"), (FULL, "◀")])
    def test_the_chosen_one_is_marked_and_the_next_is_named(self, fitted, style, sign):
        document = fitted(clusters(), "--covariance", "full,tied", "--components", "2-4")
        marked = [line for line in candidate_lines(report.fit(document, style)) if sign in line]
        assert len(marked) == 1
        chosen = document["chosen"]
        assert f"{chosen['bic']:.1f} {sign}" in marked[0]
        assert marked[0].split()[0] == str(chosen["n_components"]) == "3"
        first, second = sorted(document["candidates"], key=lambda each: each["bic"])[:2]
        assert (
            f"   {sign} chosen: {first['covariance_type']} covariance, 3 components\n"
            f"     next best: {second['covariance_type']} covariance, {second['n_components']} components "
            f"({second['bic'] - first['bic']:+.1f})\n"
        ) in report.fit(document, style)

    def test_what_did_not_converge_is_marked_and_counted(self, fitted):
        document = fitted(clusters(), "--max-iter", "1", "--components", "2-3")
        text = report.fit(document, PLAIN)
        loose = sum(not each["converged"] for each in document["candidates"])
        assert loose > 0
        assert sum(line.count("~") for line in candidate_lines(text)) == loose - (not document["chosen"]["converged"])
        assert f"~ not converged after 1 iteration ({loose} of 8; see --max-iter)" in text
        assert "1, not converged: raise --max-iter or --tol" in text

    def test_limits_of_time_are_named_and_collapses_counted(self, fitted):
        document = fitted(clusters(), "--components", "3-4", "--covariance", "diag", "--max-time", "0")
        text = report.fit(document, PLAIN)
        assert "~ not converged (2 of 2; see --max-iter and --max-time)" in text
        assert "1, not converged: raise --max-time or --tol" in text
        assert "collapses" not in text
        options = ("--components", "5", "--covariance", "diag", "--on-collapse", "drop", "--covariance-floor", "0.5")
        document = fitted(clusters(), *options, "--stopping", "aitken", "--n-init", "3")
        text = report.fit(document, PLAIN)
        last = {each["component"]: each["action"] for each in document["chosen"]["collapses"]}
        n_dropped = list(last.values()).count("dropped")
        assert document["model"]["n_components"] == 5 - n_dropped < 5
        assert f"model            diag covariance, {5 - n_dropped} component" in text
        assert re.search(rf"  collapses        .*\b{n_dropped} dropped\n", text)
        assert "converged (estimate of what is still to gain per row below 1e-05)" in text

    def test_failures_are_shown_and_told_together_if_they_differ_in_numbers_only(self, fitted):
        text = report.fit(
            fitted({"a": np.arange(3.0) ** 2}, "--covariance", "full,diag", "--components", "1,2,4-6"), PLAIN
        )
        assert [line.split() for line in candidate_lines(text)[-3:]] == [[K, "failed", "failed"] for K in "456"]
        assert "failed: full 4-6, diag 4-6: Expected n_samples >= n_components but got" in " ".join(text.split())

    def test_the_largest_number_is_worth_a_hint(self, fitted):
        hint = "this is the largest number tried"
        assert hint in report.fit(fitted(clusters(), "--components", "1-3"), PLAIN)
        assert hint not in report.fit(fitted(clusters(), "--components", "1-4"), PLAIN)
        assert hint not in report.fit(fitted(clusters(), "--components", "3"), PLAIN)

    def test_a_single_candidate_needs_no_table(self, fitted):
        text = report.fit(fitted(clusters(), "--components", "3", "--covariance", "full"), PLAIN)
        assert "chosen" not in text
        assert " candidates" not in text


class TestComponents:
    def test_weights_means_and_deviations(self, fitted):
        document = fitted(clusters(), "--components", "3", "--covariance", "diag")
        text = report.fit(document, FULL)
        lines = text.split("Components: weight, then mean ± standard deviation\n")[1].splitlines()
        assert lines[0].split() == ["#", "weight", "x0", "x1"]
        for k, (line, component) in enumerate(zip(lines[1:4], document["model"]["components"], strict=True)):
            found = [float(text) for text in re.findall(r"-?\d+\.\d+", line)]
            shown = [value for pair in zip(component["mean"], component["spread"], strict=True) for value in pair]
            assert line.split()[0] == str(k)
            np.testing.assert_allclose(found[0], 100 * component["weight"], atol=0.05)
            np.testing.assert_allclose(found[1:], shown, atol=0.005)
        assert len({line.rindex("±") for line in lines[1:4]}) == 1

    def test_weighted_rows_are_said_to_be(self, fitted):
        document = fitted({**clusters(), "w": np.full(90, 2.5)}, "--weights", "w", "--components", "1")
        assert "weighted rows, total weight 225" in report.fit(document, PLAIN)


class TestNumbers:
    @pytest.mark.parametrize(
        ("means", "spreads", "texts"),
        [
            ([80.0, 54.4789], [5.97, 5.814], ["80.0 +/- 6.0", "54.5 +/- 5.8"]),
            ([12345.6, -3.0], [120.0, 340.0], ["12346 +/- 120", "   -3 +/- 340"]),
            ([1.0, 2.0], [0.0, 0.25], ["1.00 +/- 0.00", "2.00 +/- 0.25"]),
            ([1.0], [0.0], ["1.0 +/- 0.0"]),
            ([3e-9, 4e-9], [1e-9, 2e-9], ["3.0e-09 +/- 1.0e-09", "4.0e-09 +/- 2.0e-09"]),
            ([1e12], [1e9], ["1.0000e+12 +/- 1.0e+09"]),
            ([1e8, 1.0], [1.0, 1.0], ["1.000000000e+08 +/- 1.0e+00", "1.000000000e+00 +/- 1.0e+00"]),
            ([1e-6, 500.0], [1e-9, 10.0], ["  0.00 +/-  0.00", "500.00 +/- 10.00"]),
        ],
    )
    def test_measurements(self, means, spreads, texts):
        assert numbers.measurements(means, spreads, "+/-") == texts

    def test_values(self):
        assert numbers.values([2322.1917, -99.96]) == ["2322.2", "-100.0"]
        assert numbers.values([41.6857, np.inf]) == ["41.686", "inf"]
        assert numbers.values([1.5e12]) == ["1.50000000e+12"]

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0.0, "0 ms"),
            (0.9994, "999 ms"),
            (0.9996, "1.0 s"),
            (99.9, "99.9 s"),
            (100.4, "1 min 40 s"),
            (7260, "2 h 1 min"),
        ],
    )
    def test_duration(self, seconds, text):
        assert numbers.duration(seconds) == text

    def test_ranges(self):
        assert numbers.ranges([3]) == "3"
        assert numbers.ranges([1, 2, 4, 6, 7, 8]) == "1-2,4,6-8"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True


class TestTerminal:
    def test_colour_is_for_terminals_that_want_it(self, monkeypatch):
        for name in ("NO_COLOR", "TERM"):
            monkeypatch.delenv(name, raising=False)
        assert Style.of(Terminal()) == Style(unicode=True, colour=True)
        assert not Style.of(io.StringIO()).colour
        monkeypatch.setenv("NO_COLOR", "1")
        assert not Style.of(Terminal()).colour
        monkeypatch.setenv("NO_COLOR", "")
        monkeypatch.setenv("TERM", "dumb")
        assert not Style.of(Terminal()).colour

    @pytest.mark.parametrize(("encoding", "unicode"), [("utf-8", True), ("UTF8", True), ("ascii", False), ("x", False)])
    def test_signs_suit_the_encoding(self, encoding, unicode):
        stream = Terminal()
        stream.encoding = encoding
        assert Style.of(stream).unicode is unicode

    def test_plain_reports_are_ascii_and_colour_adds_nothing_else(self, fitted):
        document = fitted(clusters(), "--max-iter", "2", "--components", "1-4,99")
        assert report.fit(document, PLAIN).isascii()
        coloured = report.fit(document, Style(unicode=True, colour=True))
        assert ESCAPE.sub("", coloured) == report.fit(document, FULL)
        assert len(ESCAPE.findall(coloured)) > 10

    def test_bars(self):
        assert FULL.bar(0.5, 4) == "██  "
        assert FULL.bar(0.3, 4) == "█▎  "
        assert FULL.bar(1.0, 4) == "████"
        assert FULL.bar(1e-9, 4) == "▏   "  # something is not nothing
        assert FULL.bar(0.0, 4) == "    "
        assert PLAIN.bar(0.5, 4) == "##  "
        assert PLAIN.bar(1e-9, 4) == "#   "

    def test_names_from_files_cannot_control_the_terminal(self, fitted):
        assert FULL.name("a\x1b[31mb\nc\u202e") == "a?[31mb?c?"
        text = report.fit(fitted({"\x1b[2J": clusters()["x0"]}, "--components", "1"), FULL)
        assert "\x1b" not in text

    def test_long_names_are_cut_in_their_middle(self):
        assert FULL.name("abcdefghij", 5) == "ab…ij"
        assert PLAIN.name("abcdefghij", 7) == "ab...ij"
        assert PLAIN.name("abcdefghij", 10) == "abcdefghij"


@pytest.fixture
def every_step_drawn(monkeypatch):
    """Let tqdm draw at every call, however soon after the last."""
    monkeypatch.setattr("tqdm.tqdm", functools.partial(tqdm.tqdm, mininterval=0))


@pytest.mark.usefixtures("every_step_drawn")
class TestProgressBar:
    def test_it_is_drawn_in_one_line_and_goes_away(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        stream = Terminal()
        with progress_bar(8, "full 3", stream) as show:
            show(4, "full 3: iteration 12" + "!" * 200)
        first, drawn, blank, end = stream.getvalue().split("\r")[1:]
        assert first == f"0/8 |{' ' * 20}| 00:00<?  full 3"
        assert re.match(r"4/8 \|█{10} {10}\| 00:00<00:00  full 3: iteration 12!", drawn)
        assert len(drawn) == len(blank) == WIDTH - 1
        assert blank.isspace()
        assert end == ""

    def test_a_narrow_terminal_is_not_overrun(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "30")
        stream = Terminal()
        with progress_bar(8, "full 3", stream) as show:
            show(4, "full 3: iteration 1")
        assert {len(line) for line in stream.getvalue().split("\r")} == {0, 29}

    @pytest.mark.parametrize(("encoding", "cell"), [("utf-8", "█"), ("gb18030", "#")])
    def test_it_has_the_signs_of_the_report(self, encoding, cell):
        stream = Terminal()
        stream.encoding = encoding
        with progress_bar(8, "full 1", stream) as show:
            show(4, "full 3")
        assert f"|{cell * 10}{' ' * 10}|" in stream.getvalue()

    def test_it_goes_away_after_an_error_too(self):
        stream = Terminal()
        with contextlib.suppress(KeyboardInterrupt), progress_bar(8, "full 1", stream):
            raise KeyboardInterrupt
        assert re.search(r"full 1\r +\r$", stream.getvalue())

    def test_nothing_is_written_where_there_is_no_terminal(self):
        stream = io.StringIO()
        with progress_bar(8, "", stream) as show:
            show(1, "full 1")
        assert stream.getvalue() == ""

    def test_without_tqdm_there_is_none(self, fitted, monkeypatch):
        monkeypatch.setitem(sys.modules, "tqdm", None)
        monkeypatch.setattr("sys.stderr", Terminal())
        assert fitted(clusters(), "--components", "3")["chosen"]["n_components"] == 3
        assert sys.stderr.getvalue() == ""

    def test_a_fit_on_a_terminal_tells_what_is_going_on(self, fitted, monkeypatch):
        stream = Terminal()
        monkeypatch.setattr("sys.stderr", stream)
        fitted(clusters(), "--components", "2-3", "--covariance", "full,diag", "--n-init", "2")
        seen = [text.strip() for text in re.findall(r"/6 \|.*?\| \S+  ([^\r]*)", stream.getvalue())]
        assert seen[0] == "full 2"
        told = list(dict.fromkeys(text.split(":")[0] for text in seen if text))
        assert told[:4] == ["full 2", "diag 2", "full 3", "diag 3"]
        assert {"full 2: iteration 1", "diag 3: iteration 1"} <= set(seen)
        assert stream.getvalue().endswith(" \r")
