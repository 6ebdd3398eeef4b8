"""Starts, restarts, stopping, continuing and interrupting a fit."""

import inspect
import json

import numpy as np
import problems
import pytest
import reference
from sklearn.cluster import KMeans

import fastgmm
from fastgmm import ConvergenceWarning, IllDefinedCovarianceError, Mixture, covariance
from fastgmm.fitting import kmeans, run
from fastgmm.fitting.starts import first_parameters
from fastgmm.sources import ArraySource

EPS = np.finfo(float).eps
NAMED_STARTS = ("kmeans", "k-means++", "random", "random_from_data")
by_family = pytest.mark.parametrize("family", reference.FAMILIES)
by_start = pytest.mark.parametrize("init_params", NAMED_STARTS)


@pytest.fixture(scope="module")
def X():
    return problems.rows(1, 600, 3, 4, separation=4.0)


# ----------------------------------------------------------------------------------------------- starts


@by_start
def test_named_start_repeats_with_its_seed(X, init_params):
    one, same, other = (run(X, 4, init_params=init_params, random_state=s, max_iter=0).mixture for s in (1, 1, 2))
    problems.assert_same_parameters(one, same)
    assert not problems.same_bits(one.means, other.means)


def test_fit_leaves_the_global_generator_alone(X):
    before = np.random.mtrand._rand.get_state(legacy=False)["state"]
    run(X, 4, random_state=1, max_iter=1)
    after = np.random.mtrand._rand.get_state(legacy=False)["state"]
    assert before["pos"] == after["pos"]
    np.testing.assert_array_equal(before["key"], after["key"])


@by_family
def test_labels_responsibilities_and_a_callable_are_one_start(X, family):
    """The start is the M-step of what was given."""
    labels = np.random.default_rng(2).integers(4, size=len(X))
    resp = np.eye(4)[labels]
    want = reference.maximise(family, X, resp, reg_covar=1e-6)
    for start in (labels, resp, lambda X, n_components, random_state: labels, lambda *_: resp):
        got = run(X, 4, covariance_type=family, init_params=start, max_iter=0)
        problems.assert_close_parameters(family, got.mixture, want, 1e-12)
        assert got.n_iter == 0
        assert got.lower_bounds == []
        assert not got.converged


def test_callable_may_return_means(X):
    centres = X[[3, 99, 400, 5]]
    got = run(X, 4, init_params=lambda X, n_components, random_state: centres, max_iter=0).mixture
    labels, _ = reference.nearest(X, centres)
    want = reference.maximise("full", X, np.eye(4)[labels], reg_covar=1e-6)
    problems.assert_close_parameters("full", got, want, 1e-12)


@by_family
def test_given_parts_replace_those_of_the_start(X, family):
    labels = np.arange(len(X)) % 4
    given = problems.start_of(family, problems.model(family, 3, 3, 4))
    plain = run(X, 4, covariance_type=family, init_params=labels, max_iter=0).mixture
    for name, attribute in (("weights_init", "weights"), ("means_init", "means"), ("precisions_init", "precisions")):
        got = run(X, 4, covariance_type=family, init_params=labels, max_iter=0, **{name: given[name]}).mixture
        np.testing.assert_allclose(getattr(got, attribute), given[name], rtol=1e-12)
        for other in {"weights", "means", "precisions"} - {attribute}:
            assert problems.same_bits(getattr(got, other), getattr(plain, other)), f"{name} changed {other}"


@by_family
def test_max_iter_zero_keeps_the_given_parameters(X, family):
    """Promise 49; no ConvergenceWarning is due."""
    model = problems.model(family, 4, 3, 4)
    given = problems.start_of(family, model)
    result = fastgmm.fit(X, 4, covariance_type=family, max_iter=0, **given)
    np.testing.assert_array_equal(result.mixture.weights, given["weights_init"])
    np.testing.assert_array_equal(result.mixture.means, given["means_init"])
    np.testing.assert_allclose(result.mixture.precisions, given["precisions_init"], rtol=1e-12, atol=1e-12)
    assert (result.n_iter, result.lower_bounds, result.converged) == (0, [], False)
    assert result.lower_bound == result.mixture.score(X)


@pytest.mark.parametrize("n_rows", [3000, 20_000], ids=["sought among all rows", "sought among a sample"])
def test_kmeans_start_is_as_good_as_scikit_learn(n_rows):
    """Inertia no worse than 1 % above, on average over ten seeds; a start's means are the cluster means."""
    X = problems.rows(5, n_rows, 4, 12, separation=2.0)
    ours, theirs = [], []
    for seed in range(10):
        means = run(X, 12, init_params="kmeans", random_state=seed, max_iter=0).mixture.means
        ours.append(reference.lloyd_step(X, means)[1])
        theirs.append(KMeans(12, n_init=1, random_state=seed).fit(X).inertia_)
    assert np.mean(ours) <= 1.01 * np.mean(theirs)


def test_kmeans_start_is_a_fixed_point_of_lloyd(X):
    """Well separated clusters: one more Lloyd step moves no centre, up to rounding."""
    means = run(X, 4, init_params="kmeans", random_state=3, max_iter=0).mixture.means
    moved, _ = reference.lloyd_step(X, means)
    np.testing.assert_allclose(moved, means, rtol=1e-10, atol=1e-10)


def test_kmeans_of_many_rows_ends_among_all_of_them():
    """Centres are sought in samples, yet what is returned is as good as where Lloyd's algorithm ends on all rows."""
    X = problems.rows(2, 30_000, 3, 4, separation=6.0)
    centres, labels, inertia = kmeans.cluster(ArraySource(X), 4, np.random.default_rng(0))
    np.testing.assert_allclose(centres, [X[labels == k].mean(axis=0) for k in range(4)], rtol=1e-10)
    best = reference.lloyd_step(X, centres)[1]
    assert best <= inertia <= (1 + 1e-3) * best
    assert best <= (1 + 1e-5) * kmeans.lloyd(ArraySource(X), centres, gain=0.0)[2]
    assert labels.shape == (30_000,)


def test_kmeans_of_very_many_rows_passes_over_all_of_them_once():
    """Rows without clusters, where Lloyd's algorithm goes on for long: samples make most of the way."""
    n_rows, n_passes = 70_000, 0

    class Counted(ArraySource):
        def nearest(self, centres, *, shift, **wanted):
            nonlocal n_passes
            n_passes += self.n_rows == n_rows
            return super().nearest(centres, shift=shift, **wanted)

        def lloyd(self, centres, *, shift, **how):
            return None

    X = np.random.default_rng(3).random((n_rows, 2))
    found = [kmeans.cluster(Counted(X, n_threads=n), 20, np.random.default_rng(0)) for n in (1, 2)]
    assert n_passes == 2
    for one, two in zip(*found, strict=True):
        assert problems.same_bits(one, two)
    centres, labels, inertia = found[0]
    assert labels.shape == (n_rows,)
    on_the_end = kmeans.lloyd(ArraySource(X), centres, gain=0.0)[2]
    assert on_the_end <= reference.lloyd_step(X, centres)[1] <= inertia <= 1.03 * on_the_end


@pytest.mark.parametrize(("n_features", "n_clusters"), [(2, 4), (80, 4), (2, 64)], ids=["large", "wide", "many"])
def test_kmeans_start_from_the_moments_of_a_sample(n_features, n_clusters):
    """Large clusters of a sample give EM its start; where they are not large, all rows do. Both are near the truth."""
    X = problems.rows(6, 9_000, n_features, n_clusters, separation=8.0)
    asked = []

    class Asked(ArraySource):
        def accumulate_given(self, kind, pivot, **given):
            asked.append(self)
            return super().accumulate_given(kind, pivot, **given)

        def nearest(self, centres, **wanted):
            asked.append("nearest")
            return super().nearest(centres, **wanted)

    source = Asked(X)
    family, rng = covariance.get("full"), np.random.default_rng(1)
    parameters = first_parameters(source, family, n_clusters, "kmeans", rng, reg_covar=1e-6)
    assert bool(asked) is ((n_features, n_clusters) != (2, 4))
    if n_clusters == 4:
        labels, _ = reference.nearest(X, parameters.means)
        for k in range(4):
            own = X[labels == k]
            np.testing.assert_allclose(parameters.weights[k], len(own) / len(X), rtol=0.1)
            np.testing.assert_allclose(parameters.means[k], own.mean(axis=0), atol=0.5)


# ----------------------------------------------------------------------------------------------- the loop


@by_family
def test_iterations_match_twin(X, family):
    """Ten EM steps with regularisation; 1e-10 allows for rounding to grow over the steps."""
    model = start = problems.start_from_rows(family, X, 4)
    bounds = []
    for _ in range(10):
        model, bound = reference.em_step(family, model, X, reg_covar=1e-3)
        bounds.append(bound)
    result = problems.em(family, X, start, 10, reg_covar=1e-3)
    problems.assert_close_parameters(family, result.mixture, model, 1e-10)
    np.testing.assert_allclose(result.lower_bounds[:-1], bounds[1:], rtol=1e-12)


@by_family
def test_warm_start_a_then_b_is_a_plus_b(X, family):
    """Promise 48, bit for bit."""
    start = problems.start_from_rows(family, X, 4)
    whole = problems.em(family, X, start, 9)
    first = problems.em(family, X, start, 4)
    options = {"covariance_type": family, "reg_covar": 0.0, "tol": 0.0}
    rest = run(X, 4, start=first.mixture.parameters, max_iter=5, **options)
    problems.assert_same_parameters(rest.mixture, whole.mixture)
    # The bound where the fits join is a score, about another origin than the passes of EM: the same to rounding.
    np.testing.assert_allclose(first.lower_bounds + rest.lower_bounds, whole.lower_bounds, rtol=4 * EPS)


def test_fit_warns_when_it_did_not_converge(X):
    with pytest.warns(ConvergenceWarning, match="Best performing initialization did not converge"):
        result = fastgmm.fit(X, 4, max_iter=2, tol=0.0, random_state=0)
    assert not result.converged
    assert result.n_iter == 2


@by_family
def test_stops_at_the_first_change_below_tol(X, family):
    start = problems.start_from_rows(family, X, 4)
    tol = 1e-4
    long = problems.em(family, X, start, 200)
    result = problems.em(family, X, start, 200, tol=tol)
    first = run(X, 4, covariance_type=family, max_iter=0, reg_covar=0.0, **problems.start_of(family, start))
    before = np.array([first.lower_bound, *long.lower_bounds])  # of the parameters before each M-step
    expected = 2 + int(np.flatnonzero(np.abs(np.diff(before)) < tol)[0])
    assert result.converged
    assert result.n_iter == expected
    assert result.lower_bounds[:-1] == long.lower_bounds[: expected - 1]
    # The last is that of a scoring pass, for tied about another shift than EM's: it is that of a run that ends there.
    assert result.lower_bounds == problems.em(family, X, start, expected).lower_bounds


# ----------------------------------------------------------------------------------------------- restarts


def test_kept_run_is_the_best_of_n_init():
    """Promise 8, over fifty seeds (scikit-learn#10869 missed it half the time)."""
    X = problems.rows(6, 80, 2, 3, separation=1.0)
    not_last = 0
    for seed in range(50):
        result = run(X, 4, covariance_type="diag", n_init=4, init_params="random", random_state=seed, max_iter=30)
        finals = [history.lower_bounds[-1] for history in result.histories]
        assert len(finals) == 4
        assert result.lower_bound == max(finals)
        assert result.best_init == int(np.argmax(finals))
        assert result.lower_bounds == result.histories[result.best_init].lower_bounds
        not_last += result.best_init != 3
    assert not_last > 10  # the seeds do put the best run elsewhere than last


def failing(times, X):
    """A start that gives a component a single row the first ``times`` times, and good labels after."""
    calls = []

    def start(rows, n_components, random_state):
        calls.append(n_components)
        single = (np.arange(len(X)) == 0).astype(np.int64)
        return single if len(calls) <= times else (X[:, 0] > np.median(X[:, 0])).astype(np.int64)

    return start, calls


@pytest.mark.parametrize("family", ["full", "diag", "spherical"])
@pytest.mark.parametrize("failures", [1, 2])
def test_failed_start_is_skipped_and_counted(X, family, failures):
    """Promise 40."""
    start, calls = failing(failures, X)
    result = run(X, 2, covariance_type=family, init_params=start, n_init=3, reg_covar=0.0)
    assert calls == [2, 2, 2]
    assert result.n_failed_inits == failures
    assert result.best_init >= failures
    assert [history.error is not None for history in result.histories] == [i < failures for i in range(3)]
    assert np.isfinite(result.lower_bound)


def test_error_is_raised_when_every_start_fails(X):
    start, calls = failing(3, X)
    with pytest.raises(IllDefinedCovarianceError, match="ill-defined empirical covariance"):
        run(X, 2, init_params=start, n_init=3, reg_covar=0.0)
    assert len(calls) == 3


def test_more_starts_never_hurt_on_duplicates():
    """60 rows, 6 of them equal, K = 5, no regularisation: scikit-learn succeeds less often with more starts."""
    successes = {}
    for n_init in (1, 5):
        successes[n_init] = 0
        for seed in range(15):
            rows = np.random.default_rng(seed).standard_normal((60, 2))
            rows[:6] = rows[0]
            try:
                run(rows, 5, n_init=n_init, reg_covar=0.0, random_state=seed)
            except IllDefinedCovarianceError:
                continue
            successes[n_init] += 1
    assert successes[5] >= successes[1]


# ----------------------------------------------------------------------------------------------- callback, interrupt


def test_callback_sees_every_iteration_and_may_stop(X):
    seen = []

    def callback(state):
        seen.append((state.init, state.iteration, state.lower_bound))
        return state.iteration == 3

    result = run(X, 4, random_state=0, tol=0.0, max_iter=20, n_init=2, callback=callback)
    assert [entry[:2] for entry in seen] == [(i, j) for i in range(2) for j in (1, 2, 3)]
    assert [entry[2] for entry in seen[1:3]] == result.histories[0].lower_bounds[:-1]  # before its M-step
    assert result.n_iter == 3
    assert not result.converged


def test_callback_state_is_the_model_of_that_iteration(X):
    states = []
    result = run(X, 4, random_state=0, tol=0.0, max_iter=4, callback=states.append)
    problems.assert_same_parameters(states[-1].parameters, result.mixture)
    assert Mixture.from_parameters(states[1].parameters, "full").score(X) == states[2].lower_bound
    assert [state.change for state in states[2:]] == np.diff([state.lower_bound for state in states[1:]]).tolist()
    assert states[0].change == np.inf
    assert not any(state.converged for state in states)


def test_exception_in_a_callback_comes_out_unchanged(X):
    class Own(Exception):
        pass

    def callback(state):
        raise Own("enough")

    with pytest.raises(Own, match="enough"):
        run(X, 4, random_state=0, callback=callback)


INTERRUPTED = """
import json, signal, threading, time, _thread, os
import numpy as np
from fastgmm import Mixture
from fastgmm.engine import accumulate
from fastgmm.fitting import run

model = Mixture(np.full(4, 0.25), np.arange(8.0).reshape(4, 2), np.ones((4, 2)), covariance_type="diag")
small = np.random.default_rng(0).standard_normal((5000, 2))
before = run(small, 4, random_state=0, max_iter=5, tol=0).mixture.means.tobytes()
endless = np.broadcast_to(np.array([[0.5, 1.0]]), (10**12, 2))  # 8 terabytes by its shape: days of work
outcomes = []
for job in (
    lambda: accumulate(endless, model.family.constants(model.parameters)),
    lambda: run(endless, 4, covariance_type="diag", weights_init=model.weights, means_init=model.means,
                precisions_init=model.precisions),
    lambda: run(small, 4, random_state=0, tol=0, max_iter=10**9),
):
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        job()
        outcomes.append("finished")
    except KeyboardInterrupt:
        outcomes.append("interrupted")
after = run(small, 4, random_state=0, max_iter=5, tol=0).mixture.means.tobytes()
print(json.dumps([outcomes, before == after]))
"""


def test_interrupt_ends_a_pass_that_would_take_days(run_python):
    """Ctrl-C arrives inside one pass and between passes, and what follows works as before (promise 51)."""
    outcomes, same = json.loads(run_python(INTERRUPTED))
    assert outcomes == ["interrupted"] * 3
    assert same


# ----------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_components", 0),
        ("n_components", 2.5),
        ("covariance_type", "round"),
        ("tol", -1.0),
        ("reg_covar", -1e-9),
        ("reg_covar", np.nan),
        ("max_iter", -1),
        ("n_init", 0),
        ("init_params", "best"),
        ("init_params", np.zeros(5, dtype=int)),
        ("init_params", np.full(600, 4)),
        ("weights_init", [0.5, 0.5, 0.5, 0.5]),
        ("weights_init", [1.0]),
        ("means_init", np.zeros((3, 3))),
        ("precisions_init", -np.tile(np.eye(3), (4, 1, 1))),
        ("random_state", "seed"),
        ("n_threads", 0),
        ("callback", 3),
    ],
)
def test_bad_argument_is_named(X, name, value):
    options = {"n_components": 4, name: value}
    with pytest.raises((ValueError, TypeError), match="precision" if name == "precisions_init" else name.split("_")[0]):
        run(X, options.pop("n_components"), **options)


def test_more_components_than_rows_is_refused():
    with pytest.raises(ValueError, match=r"n_samples >= n_components but got n_components = 7, n_samples = 6"):
        run(np.random.default_rng(0).standard_normal((6, 2)), 7)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("tol", (1e-1, 1e-9)),
        ("reg_covar", (0.0, 1.0)),
        ("max_iter", (1, 3)),
        ("n_init", (1, 8)),
        ("covariance_type", ("full", "diag")),
        ("random_state", (0, 1)),
        ("init_params", ("random", "random_from_data")),
    ],
)
def test_every_parameter_acts(X, name, values):
    """Promise 60: none is accepted and unused."""
    base = {"init_params": "random_from_data", "random_state": 3, "max_iter": 40}
    one, other = (run(X, 6, **{**base, name: value}) for value in values)
    assert not problems.same_bits(one.mixture.means, other.mixture.means)


def test_fit_has_the_parameters_and_defaults_of_run():
    """What `run` takes beside serves estimators and is none of `fit`'s; the progress bar is drawn around it."""
    ours, theirs = (inspect.signature(function).parameters.values() for function in (fastgmm.fit, run))
    defaults = [(p.name, p.kind, p.default) for p in ours if p.name != "progress"]
    assert defaults == [(p.name, p.kind, p.default) for p in theirs][: len(defaults)]
    with pytest.raises(TypeError, match=r"fit\(\) got an unexpected keyword argument 'labels'"):
        fastgmm.fit(np.eye(4), labels=True)
