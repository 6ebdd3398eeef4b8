"""Who watches a fit: scikit-learn's callbacks, the lines of `verbose`, and Ctrl-C."""

import contextlib
import json
import pickle
import re
import signal

import numpy as np
import pandas as pd
import problems
import pytest
import sklearn.mixture
from sklearn.base import clone
from sklearn.callback import FitCallback, ScoringMonitor
from sklearn.model_selection import GridSearchCV

import fastgmm
from fastgmm import ConvergenceWarning, GaussianMixture
from fastgmm.estimators import _callbacks

K, N = 3, 200


@pytest.fixture(scope="module")
def X():
    return problems.rows(5, N, 2, K, separation=3.0)


class Recorder:
    """Writes down every call, and asks for nothing."""

    def __init__(self):
        self.calls = []

    def setup(self, estimator, context):
        self.calls.append(("setup", context.task_name))

    def teardown(self, estimator, context):
        self.calls.append(("teardown", context.task_name))

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(("begin", context.task_name, context.task_id, context.max_subtasks))

    def on_fit_task_end(self, estimator, context):
        self.calls.append(("end", context.task_name, context.task_id))


class Curious(Recorder):
    """Asks for everything; stops where it is told to."""

    def __init__(self, stop_at=()):
        super().__init__()
        self.stop_at, self.seen = stop_at, []

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.seen.append((context.task_name, X, y, metadata, fitted_estimator))
        return (context.task_name, context.task_id) in self.stop_at


def expected_calls(starts, max_iter):
    """The calls of a fit whose starts make these numbers of iterations."""
    calls = [("setup", "fit"), ("begin", "fit", 0, len(starts))]
    for start, n_iter in enumerate(starts):
        calls.append(("begin", "init", start, max_iter))
        for iteration in range(n_iter):
            calls += [("begin", "iteration", iteration, 0), ("end", "iteration", iteration)]
        calls.append(("end", "init", start))
    return [*calls, ("end", "fit", 0), ("teardown", "fit")]


def watched(*callbacks, **options):
    return GaussianMixture(K, **{"random_state": 0, **options}).set_callbacks(*callbacks)


# ----------------------------------------------------------------------------------------------- callbacks


def test_recorder_follows_the_protocol():
    assert isinstance(Recorder(), FitCallback)
    for wrong in (Recorder, 3, print):
        with pytest.raises(TypeError, match="FitCallback protocol"):
            GaussianMixture().set_callbacks(wrong)


@pytest.mark.parametrize("method", ["fit", "fit_predict"])
@pytest.mark.parametrize("n_init", [1, 3])
def test_fit_is_a_tree_of_starts_and_iterations(X, method, n_init):
    recorder = Recorder()
    options = {"n_init": n_init, "init_params": "random", "max_iter": 300, "random_state": 0}
    getattr(watched(recorder, **options), method)(X)
    starts = [history.n_iter for history in fastgmm.fit(X, K, **options).histories]
    assert len(starts) == n_init
    assert recorder.calls == expected_calls(starts, 300)


def test_no_iteration_and_one_start_where_there_are_none_or_one(X):
    recorder = Recorder()
    watched(recorder, n_init=2, max_iter=0).fit(X)
    assert recorder.calls == expected_calls([0, 0], 0)
    recorder.calls.clear()
    given = problems.start_of("full", problems.start_from_rows("full", X, K))
    model = watched(recorder, n_init=5, max_iter=4, tol=0.0, warm_start=True, **given)
    with problems.no_convergence_warning():
        model.fit(X)
        model.fit(X)
    assert recorder.calls == 2 * expected_calls([4], 4)


def test_failed_start_ends_its_tasks(X):
    labels = [np.arange(N) == 0, X[:, 0] > 0, np.arange(N) == 1]
    starts = iter(labels)
    recorder, curious = Recorder(), Curious()
    model = GaussianMixture(2, n_init=3, reg_covar=0.0, max_iter=2, tol=0.0)
    model.set_params(init_params=lambda *_: next(starts).astype(int)).set_callbacks(recorder, curious)
    with problems.no_convergence_warning():
        model.fit(X)
    assert model.n_failed_inits_ == 2
    assert recorder.calls == expected_calls([1, 2, 1], 2)
    fitted = [(name, fitted is not None) for name, *_, fitted in curious.seen]
    failed, made = [("iteration", False), ("init", False)], [("iteration", True), ("iteration", True), ("init", True)]
    assert fitted == [*failed, *made, *failed, ("fit", True)]


def test_callback_is_given_what_the_user_gave(X):
    curious, y, weight = Curious(), np.zeros(N), np.arange(1.0, N + 1)
    frame = X.tolist()
    watched(curious).fit(frame, y, sample_weight=weight)
    assert all(rows is frame and target is y for _, rows, target, *_ in curious.seen)
    assert all(metadata["sample_weight"] is weight for *_, metadata, _ in curious.seen)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("family", ["full", "tied", "diag", "spherical"])
def test_fitted_estimator_is_the_fit_stopped_there(X, family, dtype):
    X = X.astype(dtype)
    curious = Curious()
    options = {"covariance_type": family, "tol": 0.0}
    with problems.no_convergence_warning():
        watched(curious, max_iter=4, **options).fit(X)
        stopped = [GaussianMixture(K, random_state=0, max_iter=n, **options).fit(X) for n in (1, 2, 3, 4)]
    for (*_, there), model in zip(curious.seen, [*stopped, stopped[-1], stopped[-1]], strict=True):
        assert problems.same_bits(there.predict_proba(X), model.predict_proba(X))
        assert there.score(X) == model.lower_bound_
        assert there.n_iter_ == model.n_iter_


def test_fitted_estimator_has_the_names_of_this_fit(X):
    """And none of the fit before."""
    frame = pd.DataFrame(X, columns=["long", "wide"])

    class Predicting(Curious):
        def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
            self.seen.append((fitted_estimator.predict(X), fitted_estimator.to_mixture().feature_names))

    predicting = Predicting()
    model = watched(predicting)
    for rows, names in ((frame, ("long", "wide")), (X, None), (frame[["wide", "long"]], ("wide", "long"))):
        predicting.seen.clear()
        model.fit(rows)
        np.testing.assert_array_equal(predicting.seen[-1][0], model.predict(rows))
        assert all(seen == names for _, seen in predicting.seen)


def test_idle_callback_costs_no_model(X, monkeypatch):
    def never(*_):
        raise AssertionError("nobody asked")

    monkeypatch.setattr(_callbacks.Tasks, "_after", never)
    monkeypatch.setattr(_callbacks.Tasks, "_reconstruction", never)
    watched(Recorder()).fit(X)


def test_callback_may_stop_a_start(X):
    curious = Curious({("iteration", 1)})
    model = watched(curious, n_init=2, tol=0.0, max_iter=50)
    with pytest.warns(ConvergenceWarning):
        model.fit(X)
    assert (model.n_iter_, model.converged_) == (2, False)
    assert [name for name, *_ in curious.seen] == [*(["iteration", "iteration", "init"] * 2), "fit"]


def test_callback_may_stop_the_starts(X):
    """The best of those made so far is kept."""
    curious = Curious({("init", 1)})
    model = watched(curious, n_init=5, init_params="random").fit(X)
    scores = [fitted.score(X) for name, *_, fitted in curious.seen if name == "init"]
    assert len(scores) == 2
    assert model.lower_bound_ == max(scores)


def test_callbacks_do_not_change_the_fit(X):
    plain, seen = GaussianMixture(K, random_state=0, n_init=2).fit(X), watched(Curious(), n_init=2).fit(X)
    assert seen.to_mixture() == plain.to_mixture()
    assert set(vars(seen)) - set(vars(plain)) == {"_skl_callbacks"}
    assert set(vars(seen.set_callbacks())) == set(vars(plain))


def test_error_in_a_callback_comes_out_and_changes_nothing(X):
    class Failing(Recorder):
        def on_fit_task_begin(self, estimator, context):
            super().on_fit_task_begin(estimator, context)
            if (context.task_name, context.task_id) == ("iteration", 2):
                raise RuntimeError("enough")

    failing = Failing()
    model = GaussianMixture(K, random_state=1, max_iter=0).fit(X).set_callbacks(failing).set_params(max_iter=9, tol=0.0)
    before = dict(vars(model))
    with pytest.raises(RuntimeError, match="enough"):
        model.fit(X)
    assert vars(model) == before
    assert failing.calls[-1] == ("teardown", "fit")


def test_clone_keeps_callbacks_and_pickle_works(X):
    recorder = Recorder()
    model = watched(recorder).fit(X)
    assert clone(model)._skl_callbacks == [recorder]
    twin = pickle.loads(pickle.dumps(model))
    assert twin.to_mixture() == model.to_mixture()
    assert twin._skl_callbacks[0].calls == recorder.calls


def test_scoring_monitor_logs_the_score_of_every_iteration(X):
    monitor = ScoringMonitor(scoring=lambda estimator, X, y: {"mean": estimator.score(X)})
    model = watched(monitor, tol=0.0, max_iter=5)
    with problems.no_convergence_warning():
        model.fit(X, np.zeros(N))
    rows = monitor.get_logs().data
    scores = [row["mean"] for row in rows if row["task_name"] == "iteration"]
    np.testing.assert_allclose(scores, model.lower_bounds_, rtol=4 * np.finfo(float).eps)


def test_callback_of_a_grid_search_sees_the_fits_inside(X):
    """An auto-propagated callback, set on the outermost estimator."""

    class Propagated(Recorder):
        max_propagation_depth = None

        def on_fit_task_begin(self, estimator, context):
            if context.task_name == "iteration":
                path = [context.estimator_name]
                while context.parent is not None:
                    context = context.parent
                    path.append(context.estimator_name)
                self.calls.append(path)

    recorder = Propagated()
    search = GridSearchCV(GaussianMixture(random_state=0), {"n_components": [2, 3]}, cv=2).set_callbacks(recorder)
    search.fit(X)
    paths = [call for call in recorder.calls if isinstance(call, list)]
    assert len(paths) >= 5  # an iteration at least of two candidates on two splits, and of the refit
    assert all(path[:3] == ["GaussianMixture"] * 3 and path[-1] == "GridSearchCV" for path in paths)
    assert not hasattr(search.best_estimator_, "_parent_callback_ctx")


# ----------------------------------------------------------------------------------------------- verbose


@pytest.mark.parametrize("verbose", [True, 1, 2])
@pytest.mark.parametrize(
    "options", [{}, {"max_iter": 3}, {"verbose_interval": 1}, {"verbose_interval": 3, "tol": 1e-8}], ids=str
)
def test_verbose_prints_scikit_learns_lines(X, capsys, verbose, options):
    """Up to the times."""
    given = problems.start_of("full", problems.start_from_rows("full", X, K))
    printed = []
    for cls in (GaussianMixture, sklearn.mixture.GaussianMixture):
        with problems.no_convergence_warning():
            cls(K, verbose=verbose, **{"max_iter": 500, **options, **given}).fit(X)
        printed.append(re.sub(r"lapse \d+\.\d{5}s", "lapse", capsys.readouterr().out))
    assert printed[0] == printed[1]
    assert printed[0].startswith("Initialization 0\n")


def test_verbose_numbers_the_starts(X, capsys):
    GaussianMixture(K, verbose=1, verbose_interval=10**6, n_init=3, random_state=0).fit(X)
    assert capsys.readouterr().out == "".join(f"Initialization {i}\nInitialization converged.\n" for i in range(3))
    GaussianMixture(K, verbose=2, max_iter=0, random_state=0).fit(X)
    assert capsys.readouterr().out == "Initialization 0\n"
    GaussianMixture(K, random_state=0).fit(X)
    assert capsys.readouterr().out == ""


# ----------------------------------------------------------------------------------------------- Ctrl-C


@contextlib.contextmanager
def python_handles_interrupts():
    """A test run in the background of a shell starts with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("when", ["start", "iteration", "last iteration"])
def test_interrupt_leaves_the_estimator_as_it_was(X, when):
    """Promise 51, wherever in the fit the signal arrives."""

    class Interrupting(Recorder):
        def on_fit_task_end(self, estimator, context):
            if (context.task_name, context.task_id) == ("iteration", {"iteration": 2, "last iteration": 9}.get(when)):
                signal.raise_signal(signal.SIGINT)

    def start(X, n_components, random_state):
        if when == "start":
            signal.raise_signal(signal.SIGINT)
        return np.arange(N) % K

    model = GaussianMixture(K, random_state=0).fit(X)
    model.set_callbacks(Interrupting()).set_params(init_params=start, tol=0.0, max_iter=10)
    before, scores = dict(vars(model)), model.score_samples(X)
    with python_handles_interrupts(), pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert vars(model) == before
    assert problems.same_bits(model.score_samples(X), scores)


INTERRUPTED = """
import json, os, signal, threading
import numpy as np
from fastgmm import GaussianMixture

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with the signal ignored
small = np.random.default_rng(0).standard_normal((3000, 2))
model = GaussianMixture(3, covariance_type="diag", random_state=0, max_iter=500).fit(small)
before, scores = dict(vars(model)), model.score_samples(small).tobytes()
endless = np.broadcast_to(np.array([[0.5, 1.0]]), (10**12, 2))  # 8 terabytes by its shape: days of work
outcomes = []
for work in (model.fit, model.fit_predict, model.score):
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        work(endless)
    except KeyboardInterrupt:
        outcomes.append(vars(model) == before and model.score_samples(small).tobytes() == scores)
print(json.dumps(outcomes))
"""


def test_interrupt_ends_a_fit_that_would_take_days(run_python):
    assert json.loads(run_python(INTERRUPTED)) == [True] * 3


IN_A_WAVE = """
import json, os, signal, threading
import numpy as np
from fastgmm import Mixture
from fastgmm.engine import passes
from fastgmm.engine.rows import Rows, Weights

signal.signal(signal.SIGINT, signal.default_int_handler)
K, D = 50, 500  # a thread's share of a wave, 32 groups, takes seconds
mixture = Mixture(np.full(K, 1 / K), np.zeros((K, D)), np.broadcast_to(np.eye(D), (K, D, D)))
rows = Rows(np.broadcast_to(np.zeros(D), (10**9, D)))
kernel = mixture.constants(np.dtype(np.float64)).kernel()
added = []
for n_threads in (1, 2):
    total = np.zeros(2)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        passes._score_rows(rows, Weights(), kernel, {}, total, n_threads)
    except KeyboardInterrupt:
        added.append(total[1])
print(json.dumps([added, 32 * kernel.group_rows]))
"""


def test_interrupt_is_heard_within_a_wave_of_groups(run_python):
    """Of the first wave not all rows are added up."""
    added, wave = json.loads(run_python(IN_A_WAVE))
    assert len(added) == 2
    assert max(added) < wave
