"""The benchmark harness: it refuses unequal answers, start-up cancels, and the README shows what is stored."""

import dataclasses
import math
import sys

import numpy as np
import pytest
from harness import load

environment, libraries, machine, measure, memory, problems, report, run, tasks = map(
    load, ("environment", "libraries", "machine", "measure", "memory", "problems", "report", "run", "tasks")
)

ITERATION = tasks.Task("iteration", "iris", "diag")
SCORING = tasks.Task("predict_proba", "iris", "diag")
ONE_ROUND = tasks.Settings(rounds=1, n_threads=1, quick=True)
MACHINE = {"cpu": "a processor", "n_threads": 2, "simd": {"active": "avx2"}, "versions": {"fastgmm": "1.0"}}


class Impostor(libraries.ScikitLearn):
    """scikit-learn under fastgmm's name, with an error in what it answers and a count of the fits asked of it."""

    name = libraries.SUBJECT

    def __init__(self, error=0.0, stops_early=False):
        super().__init__(n_threads=1)
        self.error = error
        self.stops_early = stops_early
        self.n_fits = 0

    def iterate(self, X, start, covariance_type, n_iter):
        self.n_fits += 1
        return super().iterate(X, start, covariance_type, n_iter)

    def n_iter(self, model):
        return super().n_iter(model) - self.stops_early

    def log_likelihood(self, model, X):
        return super().log_likelihood(model, X) * (1 + self.error)

    def predict_proba(self, model, X):
        return super().predict_proba(model, X) + self.error


def make_row(**changes):
    row = tasks.Row(
        id=ITERATION.id,
        work="iteration",
        label="iris, 150 × 4, K = 3",
        covariance_type="diag",
        unit="s",
        values={libraries.REFERENCE: [0.004, 0.005, 0.006], libraries.SUBJECT: [0.0001, 0.0002, 0.0002]},
        agreement=3e-15,
    )
    return dataclasses.replace(row, **changes)


# Equal answers


@pytest.mark.parametrize("error", [2e-6, math.nan, math.inf])
def test_unequal_answers_are_refused_before_the_clock_starts(error):
    subject = Impostor(error)
    with pytest.raises(measure.UnequalAnswers, match="fastgmm"):
        tasks.run(ITERATION, [libraries.ScikitLearn(1), subject], ONE_ROUND)
    assert subject.n_fits == 1


def test_another_number_of_iterations_is_refused():
    subject = Impostor(stops_early=True)
    with pytest.raises(measure.UnequalAnswers, match="iterations"):
        tasks.run(ITERATION, [libraries.ScikitLearn(1), subject], ONE_ROUND)


def test_unequal_arrays_are_refused():
    expected = np.array([0.0, -2.0])
    assert measure.require_equal_arrays({"a": expected, "b": expected + 1e-9}) == pytest.approx(5e-10, rel=1e-6)
    for wrong in (expected + 1e-5, np.array([0.0, np.nan]), np.zeros(3)):
        with pytest.raises(measure.UnequalAnswers):
            measure.require_equal_arrays({"a": expected, "b": wrong})


@pytest.fixture
def busy_computer(monkeypatch):
    """One round on a busy computer need not show that more iterations take longer: answers are what is tested here."""
    monkeypatch.setattr(measure, "per_iteration", lambda low, high, iterations: [b / iterations[1] for b in high])


@pytest.mark.usefixtures("busy_computer")
def test_an_optional_library_that_differs_is_left_out():
    optional = Impostor(2e-6)
    optional.name = "another"
    subject = Impostor()
    row = tasks.run(ITERATION, [libraries.ScikitLearn(1), subject, optional], ONE_ROUND)
    assert set(row.values) == {libraries.REFERENCE, libraries.SUBJECT}
    assert "another" in row.details["left_out"]


@pytest.mark.usefixtures("busy_computer")
def test_equal_libraries_are_measured():
    libs = [libraries.ScikitLearn(1), Impostor()]
    for task in (ITERATION, SCORING):
        row = tasks.run(task, libs, ONE_ROUND)
        assert row.agreement == 0
        assert all(len(values) == 1 and values[0] > 0 for values in row.values.values())


# The clock


def test_start_up_cancels_and_rounds_alternate():
    now, order = [0.0], []

    def take(name, seconds):
        def action(number):
            order.append((number, name))
            now[0] += seconds

        return action

    actions = {"few": take("few", 5 + 2 * 0.25), "many": take("many", 5 + 6 * 0.25)}
    timed = measure.interleave(actions, 2, clock=lambda: now[0], settle=0)
    assert order == [(0, "few"), (0, "many"), (1, "few"), (1, "many")]
    assert measure.per_iteration(timed.seconds["few"], timed.seconds["many"], (2, 6)) == [0.25, 0.25]
    with pytest.raises(measure.NotMeasurable):
        measure.per_iteration([2.0, 1.0], [1.0, 2.0], (2, 6))
    assert measure.per_iteration([3.0, 1.0, 1.0], [1.5, 2.0, 3.0], (2, 6)) == [0.25, 0.25, 0.5]


# Problems


@pytest.mark.parametrize("name", problems.PROBLEMS)
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_common_start_is_a_valid_mixture(name, covariance_type):
    problem = problems.PROBLEMS[name]
    X = problem.data(quick=True)
    K, D = problem.n_components, X.shape[1]
    start = problem.start(X, covariance_type)
    shapes = {"full": (K, D, D), "tied": (D, D), "diag": (K, D), "spherical": (K,)}
    assert start.weights.sum() == pytest.approx(1)
    assert start.means.shape == (K, D)
    assert len(np.unique(start.means, axis=0)) == K
    assert start.precisions.shape == shapes[covariance_type]
    np.testing.assert_array_equal(X, problem.data(quick=True))


@pytest.mark.parametrize("name", [libraries.REFERENCE, libraries.SUBJECT])
def test_centres_of_a_start_are_centres_of_rows(name):
    X = problems.PROBLEMS["iris"].data()
    centres = libraries.make(name, 1).kmeans(X, 3, 0)
    assert centres.shape == (3, 4)
    assert tasks.inertia(X, centres) == pytest.approx(78.85, abs=0.01)


def test_grid_names_known_problems_and_work():
    assert len({task.id for task in tasks.GRID}) == len(tasks.GRID)
    for task in tasks.GRID:
        assert task.problem in problems.PROBLEMS
        assert task.work in tasks.WORK
    assert [task.id for task in tasks.select(["memory"])] == ["memory/2M-8-16/full"]
    with pytest.raises(ValueError, match="no task matches 'nonsense'"):
        tasks.select(["nonsense"])


# Memory


def test_peak_memory_of_a_fit_is_seen_from_a_child_process():
    def weigh():
        return memory.fit_in_child(libraries.REFERENCE, "china", "diag", n_iter=1, n_threads=1, quick=False)

    if sys.platform != "linux":
        with pytest.raises(measure.NotMeasurable, match="Linux"):
            weigh()
        return
    seen = weigh()
    n_rows = seen["data_bytes"] / 8 / 3
    assert n_rows == 427 * 640
    assert seen["extra_bytes"] >= n_rows * 8 * 8  # scikit-learn holds the responsibilities of 8 components
    assert seen["log_likelihood"] > 0


# The report


def test_table_shows_medians_ratios_and_equality():
    text = report.table([make_row()], MACHINE)
    assert (
        "| one EM iteration, diag | iris, 150 × 4, K = 3 | 5.00 ms | 200 µs | **30×** (25–40) | ℓ equal to 3e-15 |"
        in text
    )
    fit = make_row(
        work="fit",
        agreement=None,
        quality={libraries.REFERENCE: [-1.5, -1.5, -1.5], libraries.SUBJECT: [-1.4, -1.4, -1.4]},
    )
    assert "5.00 ms → -1.5000 | 200 µs → -1.4000" in report.table([fit], MACHINE)
    assert "own start: ℓ +0.1000" in report.table([fit], MACHINE)


def test_quantities_are_readable():
    assert report.quantity(0.0123456, "s") == "12.3 ms"
    assert report.quantity(1234.5, "s") == "1230 s"
    assert report.quantity(0, "bytes") == "0 B"
    assert report.quantity(1.5 * 2**30, "bytes") == "1.50 GiB"


def test_only_the_text_between_the_markers_changes():
    before = f"# A\n{report.BEGIN}\nold\n{report.END}\nB\n"
    after = report.replace_table(before, "new")
    assert after == f"# A\n{report.BEGIN}\nnew\n{report.END}\nB\n"
    assert report.shown_table(after) == "new"
    for broken in ("no markers", f"{report.END}\n{report.BEGIN}", before + before):
        with pytest.raises(ValueError, match="expected one"):
            report.replace_table(broken, "new")


def test_results_survive_a_round_trip_and_check_tells_an_old_table(tmp_path):
    readme = tmp_path / "README.md"
    results = report.Results({ITERATION.id: make_row()}, MACHINE)
    results.save(tmp_path)
    assert report.Results.load(tmp_path) == results
    assert len((tmp_path / "results.csv").read_text(encoding="utf-8").splitlines()) == 3
    readme.write_text(f"{report.BEGIN}\nold\n{report.END}\n", encoding="utf-8")
    assert "does not show" in run.check(readme, tmp_path)
    run.write_readme(results, readme)
    assert run.check(readme, tmp_path) is None
    assert "FileNotFoundError" in run.check(readme, tmp_path / "nowhere")


def test_readme_shows_the_stored_results():
    assert run.check() is None


@pytest.mark.checkout  # compiler flags are read in setup.py
def test_description_does_not_depend_on_what_was_loaded_first(monkeypatch):
    pools = [{"user_api": "openmp", "num_threads": 2}, {"user_api": "blas", "version": "1", "filepath": "/somewhere"}]
    described = []
    for order in (pools, pools[::-1]):
        monkeypatch.setattr("threadpoolctl.threadpool_info", lambda order=order: order)
        described.append(machine.describe([], 1)["thread_pools"])
    assert described[0] == described[1]
    assert "filepath" not in str(described)


def test_environment_is_left_alone_without_misleading_variables(monkeypatch):
    for name in environment.MISLEADING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.execve", lambda *args: pytest.fail("restarted"))
    environment.restart_without_misleading_variables("benchmarks")


def test_misleading_variables_are_removed_and_recorded(monkeypatch):
    restarts = []
    for name in environment.MISLEADING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "NEHALEM")
    monkeypatch.setattr("os.execve", lambda *args: restarts.append(args))
    environment.restart_without_misleading_variables("benchmarks")
    ((_, command, cleaned),) = restarts
    assert command[1:3] == ["-m", "benchmarks"]
    assert "OPENBLAS_CORETYPE" not in cleaned
    assert cleaned[environment.REMOVED] == "OPENBLAS_CORETYPE"
