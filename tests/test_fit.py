"""fastgmm.fit: what it takes, and the FitResult that it returns; what it refuses is in test_bad_input."""

import dataclasses
import pickle
import re

import numpy as np
import problems
import pytest
import reference

import fastgmm
from fastgmm.fitting import FitState, run

K, D, N = 3, 4, 300
NAMED_STARTS = fastgmm.fitting.STARTS
by_dtype = pytest.mark.parametrize("dtype", ["float64", "float32"])
by_family = pytest.mark.parametrize("family", reference.FAMILIES)


@pytest.fixture(scope="module")
def X():
    return problems.on_grid(problems.rows(1, N, D, K, separation=4.0), bits=10)  # exact in float32 too


def starts(X):
    """Every kind of start by name."""
    labels = np.arange(N) % K
    given = problems.start_of("full", problems.start_from_rows("full", X, K))
    return {
        **{name: {"init_params": name} for name in NAMED_STARTS},
        "labels": {"init_params": labels},
        "list of labels": {"init_params": labels.tolist()},
        "responsibilities": {"init_params": np.eye(K)[labels]},
        "callable": {"init_params": lambda X, n_components, random_state: np.asarray(X[::100], dtype=float)},
        "given": given,
        "given means": {"means_init": given["means_init"]},
    }


START_NAMES = tuple(starts(np.zeros((N, D)) + np.arange(N)[:, None]))
by_start = pytest.mark.parametrize("start", START_NAMES)


# ----------------------------------------------------------------------------------------------- rows and starts


@by_start
def test_every_start_leads_uphill_to_more_than_one_gaussian_gives(X, start):
    result = fastgmm.fit(X, K, random_state=0, reg_covar=0.0, tol=1e-6, max_iter=500, **starts(X)[start])
    assert result.converged
    assert np.diff(result.lower_bounds).min() >= -64 * np.finfo(float).eps * abs(result.lower_bound)
    assert result.lower_bound > fastgmm.fit(X, 1).lower_bound + 0.1


@by_start
@pytest.mark.parametrize("layout", ["Fortran", "steps", "backwards", "big-endian", "read-only", "memory map", "list"])
def test_no_start_depends_on_the_layout_of_the_rows(X, start, layout, tmp_path):
    """Nor changes the rows; test_rows holds the passes themselves to that, layout by layout."""
    other = np.asfortranarray(X)
    if layout == "steps":
        other = np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
    elif layout == "backwards":
        other = np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1]
    elif layout == "big-endian":
        other = X.astype(">f8")
    elif layout == "read-only":
        other.flags.writeable = False
    elif layout == "memory map":
        np.save(tmp_path / "rows.npy", X)
        other = np.load(tmp_path / "rows.npy", mmap_mode="r")
    elif layout == "list":
        other = X.tolist()
    before = np.array(other)
    options = {"random_state": 2, "max_iter": 2, "tol": 0, **starts(X)[start]}
    problems.assert_same_parameters(run(other, K, **options).mixture, run(X, K, **options).mixture)
    np.testing.assert_array_equal(other, before)


@by_start
@by_family
def test_float32_rows_give_a_float32_mixture_near_that_of_float64(X, family, start):
    """The same start from the same numbers; 1e-4 of a standard deviation is rounding to float32."""
    options = {"covariance_type": family, "random_state": 3, "max_iter": 3, "tol": 0, **starts(X)[start]}
    if start.startswith("given"):
        given = problems.start_of(family, problems.start_from_rows(family, X, K))
        options |= {name: given[name] for name in starts(X)[start]}
    single, double = run(X.astype(np.float32), K, **options), run(X, K, **options)
    for name in ("weights", "means", "covariances", "precisions", "precisions_cholesky"):
        assert getattr(single.mixture, name).dtype == np.float32
    assert double.mixture.dtype == np.float64
    problems.assert_close_parameters(family, single.mixture, double.mixture, 1e-4)
    assert type(single.lower_bound) is type(double.lower_bound) is float


def test_integers_and_float16_are_float64_rows():
    X = np.random.default_rng(4).integers(0, 9, (N, D))
    want = run(X.astype(float), K, random_state=0, max_iter=3, tol=0).mixture
    for dtype in (np.int8, np.uint64, np.float16):
        problems.assert_same_parameters(run(X.astype(dtype), K, random_state=0, max_iter=3, tol=0).mixture, want)


def test_arguments_are_left_as_they_were(X):
    given = problems.start_of("full", problems.start_from_rows("full", X, K))
    weight, labels = np.ones(N), np.arange(N) % K
    arrays = [X, weight, labels, *given.values()]
    before = [array.copy() for array in arrays]
    for options in (given, {"init_params": labels}):
        run(X, K, sample_weight=weight, max_iter=2, tol=0, **options)
    for array, copy in zip(arrays, before, strict=True):
        assert problems.same_bits(array, copy)


def test_callable_gets_the_rows_the_number_and_a_seed(X):
    seen = []

    def start(rows, n_components, random_state):
        seen.append((rows, n_components, random_state))
        return np.arange(N) % K

    for _ in range(2):
        run(X, K, init_params=start, n_init=2, random_state=5, max_iter=1, tol=0)
    assert all(rows is X and n_components == K for rows, n_components, _ in seen)
    seeds = [seed for *_, seed in seen]
    assert seeds[:2] == seeds[2:]
    assert seeds[0] != seeds[1]
    assert all(isinstance(seed, int) and 0 <= seed < 2**31 for seed in seeds)


# ----------------------------------------------------------------------------------------------- the result


def test_result_is_complete_and_frozen(X):
    result = fastgmm.fit(X, K, random_state=0, n_init=3, init_params="random")
    assert isinstance(result, fastgmm.FitResult)
    assert isinstance(result.mixture, fastgmm.Mixture)
    assert type(result.converged) is bool
    assert (result.n_failed_inits, len(result.histories), result.labels) == (0, 3, None)
    best = result.histories[result.best_init]
    assert (best.n_iter, best.converged, best.error) == (result.n_iter, result.converged, None)
    assert best.lower_bounds == result.lower_bounds
    assert all(type(bound) is float for history in result.histories for bound in history.lower_bounds)
    for frozen in (result, best):
        with pytest.raises(dataclasses.FrozenInstanceError):
            frozen.n_iter = 0


def test_result_says_in_a_line_how_it_went(X):
    text = repr(fastgmm.fit(X, K, random_state=0, n_init=20))
    for name in ("mixture=Mixture(", "converged=True", "n_iter=", "lower_bound=", "n_failed_inits=0", "best_init="):
        assert name in text
    assert len(text) < 400


def test_equal_fits_are_equal(X):
    """Also where labels were asked for, whose comparison would be an array."""
    one, same, other = (run(X, K, random_state=seed, labels=True) for seed in (0, 0, 1))
    assert one == same
    assert one != other
    assert pickle.loads(pickle.dumps(one)) == one


def test_labels_are_those_of_the_mixture(X):
    for n_init in (1, 3):
        result = run(X, K, random_state=0, n_init=n_init, labels=True)
        assert problems.same_bits(result.labels, result.mixture.predict(X))


def test_callback_gets_a_state(X):
    states = []
    result = fastgmm.fit(X, K, random_state=0, callback=states.append)
    assert all(isinstance(state, FitState) for state in states)
    assert [state.iteration for state in states] == list(range(1, result.n_iter + 1))
    assert [state.converged for state in states] == [False] * (result.n_iter - 1) + [True]
    assert re.match(r"FitState\(init=0, iteration=1, lower_bound=", repr(states[0]))


@pytest.mark.parametrize("single", [False, True])
def test_error_of_a_failed_fit_survives_the_way_between_processes(single):
    """Its hint and its component included."""
    rows = np.ones((20, 2), dtype="float32" if single else "float64")
    with pytest.raises(fastgmm.IllDefinedCovarianceError) as caught:
        fastgmm.fit(rows, 2, reg_covar=0.0, random_state=0)
    sent = pickle.loads(pickle.dumps(caught.value))
    assert (str(sent), sent.component) == (str(caught.value), caught.value.component)
    assert ("float64 data instead of float32" in str(sent)) == single


@pytest.mark.parametrize("distance", [1.0, 1e1, 1e2, 1e3, 1e4])
@by_dtype
def test_tied_components_far_apart_keep_their_common_covariance(distance, dtype):
    """Their scatter is the total less that between components: at 1e4 times eight standard deviations, 1e-10 of it.

    float32 rows may lose 1e-4 of it at eighty standard deviations; from a hundred on each component has its own factor.
    """
    tolerance = 1e-10 if dtype == "float64" else 1e-4 if distance == 1e1 else 1e-6
    labels = np.arange(600) % K
    X = problems.on_grid(np.random.default_rng(6).standard_normal((600, D)), bits=8)
    X = (X + 8 * distance * np.eye(K, D)[labels]).astype(dtype)
    mixture = run(X, K, covariance_type="tied", init_params=labels, reg_covar=0.0, max_iter=3, tol=0).mixture
    want = reference.maximise("tied", X, np.eye(K)[labels])
    np.testing.assert_array_equal(mixture.predict(X), labels)
    sigma = np.sqrt(np.diag(want.covariances))
    assert np.abs((mixture.covariances - want.covariances) / np.outer(sigma, sigma)).max() <= tolerance


def test_warning_of_a_fit_that_did_not_converge_points_at_the_call(X):
    with pytest.warns(fastgmm.ConvergenceWarning) as caught:
        fastgmm.fit(X, K, max_iter=1, tol=0.0, random_state=0)
    assert [warning.filename for warning in caught] == [__file__]
