"""Why a fit stopped, how fast it was and what it left: last gain, rate, Aitken's estimate, max_time."""

import pickle
import time

import numpy as np
import problems
import pytest
import reference
import reference_acceleration

import fastgmm
from fastgmm import ConvergenceWarning, GaussianMixture
from fastgmm.fitting import Progress, run
from fastgmm.fitting.convergence import STRETCH

K, D, N = 3, 2, 400
by_family = pytest.mark.parametrize("family", reference.FAMILIES)
by_acceleration = pytest.mark.parametrize("acceleration", [None, "lbfgs", "squarem"])


@pytest.fixture(scope="module")
def X():
    """Rows whose components overlap, so that EM is slow."""
    return problems.rows(8, N, D, K, separation=1.5)


def geometric(first, rate, n):
    """Progress after n bounds whose gains form a geometric series, and the sum of all gains to come."""
    progress, bound = Progress(), -5.0
    for i in range(n):
        progress = progress.after(bound)
        bound += first * rate**i
    return progress, first * rate ** (n - 1) / (1 - rate)


# ----------------------------------------------------------------------------------------------- estimates


@pytest.mark.parametrize("rate", [0.3, 0.9, 0.99])
def test_estimate_is_exact_for_a_geometric_series(rate):
    progress, remaining = geometric(0.1, rate, 2 * STRETCH + 1)
    assert progress.rate == pytest.approx(rate, rel=1e-4)
    assert progress.remaining == pytest.approx(remaining, rel=1e-4)
    assert progress.gain == pytest.approx(0.1 * rate ** (2 * STRETCH - 1), rel=1e-6)


def test_nothing_is_claimed_before_enough_was_seen():
    assert Progress().gain == np.inf
    assert geometric(0.1, 0.5, 2 * STRETCH)[0].remaining == np.inf
    assert np.isnan(geometric(0.1, 0.5, STRETCH)[0].rate)
    assert geometric(1e-3, 1.01, 40)[0].remaining == np.inf  # gains that grow


@pytest.mark.parametrize("stopping", ["gain", "aitken"])
@pytest.mark.parametrize("n_steps", [1, STRETCH, STRETCH + 1, 3 * STRETCH])
def test_steps_taken_together_are_those_taken_one_by_one(stopping, n_steps):
    rng = np.random.default_rng(n_steps)
    for tol in (0.0, 1e-3, 1.0) * 40:
        before = Progress()
        for kind, bound in zip(rng.integers(3, size=rng.integers(3 * STRETCH)), rng.normal(size=99), strict=False):
            before = (before.after(bound), before.at(bound), before.after(bound, 0.5, 0.1))[kind]
        bounds = rng.choice([0.0, 1e-9, *np.cumsum(0.5 ** np.arange(40)), *rng.normal(size=9)], n_steps).tolist()
        n_taken, progress = 0, before
        while n_taken < n_steps and not (n_taken and progress.reason(stopping, tol)):
            n_taken, progress = n_taken + 1, progress.after(bounds[n_taken])
        assert before.along(bounds, stopping, tol) == (n_taken, progress)


def test_slowest_of_the_last_steps_counts():
    """Gains 1, 1/2, 1/4 and so on, but for one step that gained as much as the one before."""
    gains = 0.5 ** np.array([*range(20), 19, 20, 21, 22])
    progress = Progress()
    for bound in np.cumsum(gains):
        progress = progress.after(bound)
    assert progress.rate == pytest.approx(1.0)


def test_gains_of_rounding_are_none():
    progress = Progress()
    for i in range(40):
        progress = progress.after(-3.0 + (i % 3) * 4e-16)
    assert progress.remaining == 0.0
    assert progress.reason("aitken", 1e-12) == "aitken"


def test_estimate_survives_a_fall():
    """As an additive reg_covar can bring about: its size counts, and it never passes for convergence."""
    progress = Progress()
    for bound in -2.0 + 0.1 * 0.9 ** np.arange(20):
        progress = progress.after(bound)
    assert progress.remaining == pytest.approx(0.1 * 0.9**19, rel=1e-6)


@by_family
@by_acceleration
def test_report_of_a_fit_is_near_the_truth(X, family, acceleration):
    """Within a factor of three for EM. Accelerated steps tell less of the rate: within ten, or too cautious."""
    start = problems.start_from_rows(family, X, K)
    best = problems.em(family, X, start, 20_000, tol=1e-14).lower_bound
    result = problems.em(family, X, start, 2000, tol=1e-5, stopping="aitken", acceleration=acceleration)
    assert result.stopped_by == "aitken"
    assert result.converged
    assert type(result.remaining_gain) is float
    assert result.remaining_gain < 1e-5
    left = best - result.progress.bound
    assert left < (3 if acceleration is None else 10) * max(result.remaining_gain, 1e-9)
    if acceleration is None:
        assert left > result.remaining_gain / 3
        assert result.last_gain == result.progress.bound - result.lower_bounds[-3]
        assert 0 < result.convergence_rate < 1


# ----------------------------------------------------------------------------------------------- stopping


@by_family
def test_aitken_stops_where_the_estimate_is_first_below_tol(X, family):
    """It follows from the bounds of a longer fit; `tol` by the gain alone stops earlier, with more left."""
    start, tol = problems.start_from_rows(family, X, K), 1e-4
    first = run(X, K, covariance_type=family, max_iter=0, reg_covar=0.0, **problems.start_of(family, start)).lower_bound
    long = problems.em(family, X, start, 1500)
    result = problems.em(family, X, start, 1500, tol=tol, stopping="aitken")
    progress, expected = Progress(), 0
    for expected, bound in enumerate([first, *long.lower_bounds], start=1):  # noqa: B007
        progress = progress.after(bound)
        if progress.remaining < tol:
            break
    assert result.n_iter == expected
    assert result.lower_bounds[:-1] == long.lower_bounds[: expected - 1]
    by_gain = problems.em(family, X, start, 1500, tol=tol)
    assert by_gain.stopped_by == "tol"
    assert by_gain.n_iter < result.n_iter


@by_acceleration
def test_every_reason_is_reported(X, acceleration):
    """On the result, on its history and on the estimator."""
    options = {"random_state": 0, "acceleration": acceleration, "max_iter": 300}
    cases = {
        "tol": {"tol": 1e-4},
        "aitken": {"tol": 1e-4, "stopping": "aitken"},
        "max_iter": {"tol": 0.0, "max_iter": 3},
        "max_time": {"tol": 0.0, "max_time": 0.0},
    }
    for reason, more in cases.items():
        result = run(X, K, **{**options, **more})
        assert (result.stopped_by, result.converged) == (reason, reason in ("tol", "aitken"))
        assert result.histories[0].stopped_by == reason
        with problems.no_convergence_warning():
            model = GaussianMixture(K, **{**options, **more}).fit(X)
        assert (model.stopped_by_, model.converged_) == (reason, result.converged)
        for name in ("last_gain", "convergence_rate", "remaining_gain", "gradient_norm"):
            assert np.array_equal(getattr(model, f"{name}_"), getattr(result, name), equal_nan=True)
    stopped = run(X, K, callback=lambda state: state.iteration == 2, tol=0.0, **options)
    assert (stopped.stopped_by, stopped.n_iter) == ("callback", 2)


def test_tol_is_for_steps_of_em_where_they_are_accelerated(X):
    """The stop is at a pass whose gain is that of one step of EM from the point before."""
    result = run(X, K, random_state=0, acceleration="squarem", tol=1e-7, max_iter=1000)
    assert result.stopped_by == "tol"
    assert abs(result.last_gain) < 1e-7
    assert not any(0 < gain < 1e-7 for gain in np.diff(result.lower_bounds[:-4]))


# ----------------------------------------------------------------------------------------------- time


def test_no_time_is_one_iteration_of_one_start(X):
    result = run(X, K, max_time=0, n_init=5, init_params="random", random_state=0)
    assert (result.n_iter, len(result.histories), result.stopped_by) == (1, 1, "max_time")
    assert result.lower_bound == result.mixture.score(X)


@by_acceleration
def test_time_is_looked_at_between_iterations_and_starts(X, acceleration, monkeypatch):
    """A clock that a callback moves on by a second per iteration."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def callback(state):
        now[0] += 1.0

    options = {"tol": 0.0, "n_init": 4, "init_params": "random", "random_state": 0, "acceleration": acceleration}
    limited = run(X, K, max_time=6.5, max_iter=5, callback=callback, **options)
    assert [(history.n_iter, history.stopped_by) for history in limited.histories] == [(5, "max_iter"), (3, "max_time")]
    monkeypatch.undo()
    whole = run(X, K, max_iter=5, **options)
    assert limited.histories[0] == whole.histories[0]


def test_observers_are_told_of_the_end_by_time(X, capsys):
    with pytest.warns(ConvergenceWarning):
        model = GaussianMixture(K, max_time=0, tol=0.0, n_init=3, random_state=0, verbose=1, verbose_interval=1).fit(X)
    assert capsys.readouterr().out.splitlines() == [
        "Initialization 0",
        "  Iteration 1",
        "Initialization did not converge.",
    ]
    assert model.stopped_by_ == "max_time"


def test_fit_that_time_has_stopped_goes_on(X):
    options = {"random_state": 0, "tol": 0.0, "acceleration": "squarem"}
    with problems.no_convergence_warning():
        model = GaussianMixture(K, warm_start=True, max_time=0, **options)
        for _ in range(9):
            model.fit(X)
        whole = GaussianMixture(K, max_iter=9, **options).fit(X)
    problems.assert_same_fit(model, whole)


@by_acceleration
def test_continued_fit_stops_where_one_fit_would(X, acceleration):
    """By the estimate too, which rests on what was seen before the break; over a pickle."""
    options = {"random_state": 0, "tol": 1e-5, "stopping": "aitken", "acceleration": acceleration}
    whole = GaussianMixture(K, max_iter=2000, **options).fit(X)
    model = GaussianMixture(K, warm_start=True, max_iter=whole.n_iter_ - 3, **options)
    with pytest.warns(ConvergenceWarning):
        model.fit(X)
    model = pickle.loads(pickle.dumps(model)).fit(X)
    assert (model.n_iter_, model.stopped_by_) == (3, "aitken")
    problems.assert_same_fit(model, whole)
    assert model.remaining_gain_ == pytest.approx(whole.remaining_gain_, rel=1e-6)


# ----------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("stopping", "bic", "'gain'.*'aitken'"),
        ("stopping", None, "'gain'.*'aitken'"),
        ("max_time", -1.0, r"-1\.0"),
        ("max_time", np.nan, "nan"),
        ("max_time", "1s", "1s"),
    ],
)
def test_bad_value_is_named(X, name, value, expected):
    with pytest.raises(ValueError, match=f"{name}.*{expected}"):
        fastgmm.fit(X, K, **{name: value})
    with pytest.raises(ValueError, match=f"'{name}' parameter of GaussianMixture must be .*{expected}"):
        GaussianMixture(K, **{name: value}).fit(X)


# ----------------------------------------------------------------------------------------------- gradient


@by_family
def test_gradient_norm_matches_twin(X, family):
    """A step of EM is the gradient over the information to first order, so they agree the better the nearer the end."""
    start = problems.start_from_rows(family, X, K)
    for n_iter, share in ((12, 0.1), (60, 0.01)):
        before, result = (problems.em(family, X, start, n) for n in (n_iter - 1, n_iter))
        model = reference.Model(*before.mixture.parameters.arrays()[:3])
        assert result.gradient_norm == pytest.approx(reference_acceleration.gradient_norm(family, model, X), rel=share)
        assert type(result.gradient_norm) is float


@by_acceleration
def test_gradient_norm_at_the_end_is_that_of_em(X, acceleration):
    """Half its square to its square is what a step gains: it is as small as the last gain says."""
    start = problems.start_from_rows("full", X, K)
    result = problems.em("full", X, start, 5000, tol=1e-9, acceleration=acceleration)
    assert result.stopped_by == "tol"
    assert result.gradient_norm**2 < 3e-9
    more = problems.em("full", X, reference.Model(*result.mixture.parameters.arrays()[:3]), 1)
    assert more.gradient_norm**2 < 3e-9


@by_family
def test_gradient_norm_is_the_slope_along_a_step_of_em(X, family):
    """D log-likelihood = (gradient, step) = |step|^2 where the step is the gradient over the metric."""
    start = problems.start_from_rows(family, X, K)
    one, two = (problems.em(family, X, start, n) for n in (30, 31))
    centre, scale = X.mean(axis=0), X.std(axis=0)
    here, there = (reference.Model(*fit.mixture.parameters.arrays()[:3]) for fit in (one, two))
    a, b = (reference.coordinates(family, model, centre, scale) for model in (here, there))
    ahead, back = (
        reference.log_density(
            family, reference.from_coordinates(family, a + h * (b - a), here, centre, scale), X
        ).mean()
        for h in (0.5, -0.5)
    )
    assert two.gradient_norm == pytest.approx(np.sqrt(ahead - back), rel=0.02)


def test_gradient_norm_falls_to_zero_in_any_units(X):
    sure = problems.em("full", X, problems.start_from_rows("full", X, K), 5000, tol=1e-15)
    assert sure.gradient_norm < 1e-6
    one = run(X, K, random_state=0, max_iter=5, tol=0.0, reg_covar=0.0, means_init=X[:K])
    other = run(X * 1024, K, random_state=0, max_iter=5, tol=0.0, reg_covar=0.0, means_init=X[:K] * 1024)
    assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-9)
    assert one.gradient_norm > 1e-3
    assert np.isnan(run(X, K, random_state=0, max_iter=0).gradient_norm)
    assert GaussianMixture(K, random_state=0, max_iter=5, tol=10).fit(X).gradient_norm_ > 0
