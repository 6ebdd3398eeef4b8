"""Seeing a fit work: the progress bar, a callback of the estimator, and what is logged."""

import io
import logging
import re
import sys

import numpy as np
import problems
import pytest
import tqdm.auto

import fastgmm
from fastgmm import GaussianMixture, InvalidParameterError
from fastgmm.fitting import ProgressBar

K = 3
X = problems.rows(5, 200, 2, K, separation=3.0)
MANY = {"n_init": 3, "init_params": "random", "tol": 1e-5, "max_iter": 500, "random_state": 0}
WAYS = {
    "fit": lambda **options: fastgmm.fit(X, K, **options),
    "estimator": lambda **options: GaussianMixture(K, **options).fit(X),
}


@pytest.fixture(params=WAYS)
def fit(request):
    """Fit by the function and by the estimator."""
    return WAYS[request.param]


@pytest.fixture
def bars(monkeypatch):
    """All bars, each of which notes what it shows at every step."""
    made = []

    class Noting(tqdm.auto.tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, file=io.StringIO(), ascii=True, mininterval=0, **options)
            self.seen, self.closed = [], False
            made.append(self)

        def update(self, n=1):
            super().update(n)
            self.seen.append((self.n, self.total, self.desc, self.postfix))

        def close(self):
            super().close()
            self.closed = True

    monkeypatch.setattr("tqdm.auto.tqdm", Noting)
    return made


class TestProgress:
    def test_one_step_for_every_iteration_with_its_log_likelihood(self, fit, bars):
        states = []
        fit(progress=True, callback=states.append, **MANY)
        (bar,) = bars
        assert len({state.init for state in states}) == 3
        for done, (state, (n, total, described, postfix)) in enumerate(zip(states, bar.seen, strict=True), start=1):
            assert n == done <= total
            assert described == f"start {state.init + 1} of 3: "
            assert postfix.startswith(f"log-likelihood {state.lower_bound:.6g}")
        best = max(state.lower_bound for state in states if state.init < 2)
        assert bar.seen[-1][3].endswith(f"best {best:.6g}")
        assert bar.closed
        assert bar.total == bar.n == len(states)

    def test_time_left_is_that_of_starts_like_those_before(self, bars):
        states = []
        fastgmm.fit(X, K, progress=True, callback=states.append, **MANY)
        totals = {state.init: total for state, (_, total, *_) in reversed(list(zip(states, bars[0].seen, strict=True)))}
        n_iter = [sum(state.init == init for state in states) for init in range(3)]
        assert totals[0] == 3 * 500
        assert totals[1] == 3 * n_iter[0]
        mean = int(np.ceil((n_iter[0] + n_iter[1]) / 2))
        assert totals[2] == n_iter[0] + n_iter[1] + mean

    def test_failed_starts_and_starts_without_iterations(self, bars):
        labels = iter([np.arange(200) == 0, X[:, 0] > 0])
        options = {"reg_covar": 0.0, "n_init": 2, "init_params": lambda *_: next(labels).astype(int)}
        result = fastgmm.fit(X, 2, progress=True, **options)
        assert result.n_failed_inits == 1
        assert bars[0].n == bars[0].total == result.n_iter
        fastgmm.fit(X, 2, progress=True, max_iter=0)
        assert bars[1].n == bars[1].total == 0

    def test_it_is_closed_after_an_interrupt(self, fit, bars):
        def interrupt(state):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit(progress=True, callback=interrupt)
        assert bars[0].closed

    def test_the_fit_is_the_same(self, bars):
        plain = fastgmm.fit(X, K, **MANY)
        assert fastgmm.fit(X, K, progress=True, **MANY) == plain
        assert GaussianMixture(K, progress=True, **MANY).fit(X).to_mixture() == plain.mixture
        assert len(bars) == 2

    def test_it_goes_to_standard_error(self, fit, capsys):
        fit(progress=True, random_state=0)
        out, err = capsys.readouterr()
        assert out == ""
        assert "start 1 of 1: 100%" in err
        fit(random_state=0)
        assert capsys.readouterr() == ("", "")

    def test_one_start_where_all_is_given(self, bars):
        given = problems.start_of("full", problems.start_from_rows("full", X, K))
        for run in (fastgmm.fit, lambda *args, **options: GaussianMixture(*args[1:], **options).fit(args[0])):
            run(X, K, n_init=7, progress=True, **given)
        assert [bar.desc for bar in bars] == ["start 1 of 1: "] * 2

    def test_without_tqdm_the_error_comes_first_and_says_what_to_do(self, fit, monkeypatch):
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
        with pytest.raises(ImportError, match=r"progress=True needs tqdm: pip install 'fastgmm\[plot\]'"):
            fit(progress=True, callback=lambda state: pytest.fail("the fit has begun"))
        with pytest.raises(ImportError):
            ProgressBar(1, 100)
        fit(random_state=0)

    @pytest.mark.parametrize("progress", [1, "yes", None])
    def test_progress_is_true_or_false(self, fit, progress):
        with pytest.raises(InvalidParameterError, match=f"progress.* must be .*{progress!r}"):
            fit(progress=progress)


class TestCallback:
    def test_the_estimator_calls_it_as_fit_does(self):
        seen = {name: [] for name in WAYS}
        for name, run in WAYS.items():
            with problems.no_convergence_warning():
                run(callback=lambda state, name=name: seen[name].append(state) or state.iteration == 3, **MANY)
        assert [state.iteration for state in seen["fit"]] == [1, 2, 3] * 3
        told = [[(state.init, state.iteration, state.lower_bound) for state in states] for states in seen.values()]
        assert told[0] == told[1]

    def test_the_estimator_says_that_it_was_stopped(self):
        with problems.no_convergence_warning():
            model = GaussianMixture(K, callback=lambda state: True).fit(X)
        assert (model.n_iter_, model.stopped_by_, model.converged_) == (1, "callback", False)

    def test_what_cannot_be_called(self, fit):
        with pytest.raises(InvalidParameterError, match="callback"):
            fit(callback=3)


class TestHistories:
    def test_the_estimator_keeps_those_of_all_starts(self):
        result, model = (run(**MANY) for run in WAYS.values())
        assert model.histories_ == result.histories
        assert model.best_init_ == result.best_init
        assert model.histories_[model.best_init_].lower_bounds == model.lower_bounds_


class TestLog:
    def lines(self, caplog, level, **options):
        caplog.clear()
        with caplog.at_level(level, logger="fastgmm"):
            result = fastgmm.fit(X, K, **options)
        assert {(record.name, record.levelno >= level) for record in caplog.records} == {("fastgmm", True)}
        return result, [record.getMessage() for record in caplog.records]

    def test_fits_starts_and_why_they_stop(self, caplog):
        result, lines = self.lines(caplog, logging.INFO, **MANY)
        assert lines[0].startswith(
            "fit begins: 3 components, full covariance, 200 rows, 2 features, starts: 3, tol=1e-05"
        )
        for init, history in enumerate(result.histories):
            assert lines[1 + 2 * init] == f"start {init} begins"
            assert lines[2 + 2 * init] == (
                f"start {init} ends after {history.n_iter} iterations by tol, "
                f"log-likelihood {history.lower_bounds[-1]:.10g} per row"
            )
        assert lines[7].startswith(f"fit ends: start {result.best_init} of 3 is kept")
        assert len(lines) == 8

    def test_iterations(self, caplog):
        result, lines = self.lines(caplog, logging.DEBUG, random_state=0)
        found = [
            re.fullmatch(r"start 0, iteration (\d+): log-likelihood (\S+) per row, gain \S+", line) for line in lines
        ]
        found = [match for match in found if match]
        assert [int(match[1]) for match in found] == list(range(1, result.n_iter + 1))
        np.testing.assert_allclose([float(match[2]) for match in found[1:]], result.lower_bounds[:-1], rtol=1e-9)

    def test_collapses(self, caplog):
        options = {"on_collapse": "drop", "covariance_floor": 0.5, "random_state": 0, "reg_covar": 0.0}
        result, lines = self.lines(caplog, logging.INFO, **options)
        expected = [
            f"iteration {each.iteration}: component {each.component} collapsed ({each.cause}) and was {each.action}"
            for each in result.collapses
        ]
        assert expected
        assert [line for line in lines if line.startswith("iteration")] == expected

    def test_failures(self, caplog):
        labels = iter([np.arange(200) == 0, X[:, 0] > 0])
        options = {"reg_covar": 0.0, "n_init": 2, "init_params": lambda *_: next(labels).astype(int)}
        with caplog.at_level(logging.INFO, logger="fastgmm"):
            fastgmm.fit(X, 2, **options)
        assert caplog.messages[2].startswith("start 0 fails: Fitting the mixture model failed")
        assert caplog.messages[-1].endswith("starts that failed: 1")

    def test_silence_unless_asked(self, capsys):
        fastgmm.fit(X, K, **MANY)
        assert capsys.readouterr() == ("", "")
