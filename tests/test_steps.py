"""Steps of EM that compiled code makes several of at once are those that are made one by one, to the bit."""

import re

import numpy as np
import problems
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgmm import IllDefinedCovarianceError, covariance
from fastgmm.covariance import Parameters
from fastgmm.engine import simd
from fastgmm.fitting.em import expectation_maximisation, steps_ahead
from fastgmm.sources import ArraySource

FAMILIES = covariance.names()
by_family = pytest.mark.parametrize("family", FAMILIES)


class OneByOne(ArraySource):
    """Rows over which every step of EM is made by itself."""

    def steps(self, kind, n_components, shift, reg_covar, limits, structure=None):
        return None


class Counted(ArraySource):
    """Rows that count the passes that were made one by one."""

    n_passes = 0

    def accumulate(self, constants, *, pivot=None):
        self.n_passes += 1
        return super().accumulate(constants, pivot=pivot)


def start(family, X, n_components, seed=0):
    return as_parameters(family, problems.start_from_rows(covariance.get(family).container, X, n_components, seed))


def as_parameters(family, model):
    weights, means, covariances = (np.asarray(array, dtype=np.float64) for array in model[:3])
    made = covariance.get(family)
    if made.coupled and not made.shared:
        covariances = made.nearest(covariances, weights)
    factors = made.from_covariances(covariances, *means.shape)
    return Parameters(weights, means, covariances, factors)


def em(source, family, parameters, **options):
    settings = {"tol": 1e-9, "max_iter": 40, "reg_covar": 1e-6, **options}
    return expectation_maximisation(source, covariance.get(family), parameters, **settings)


def assert_same_runs(X, family, parameters, weights=None, known=None, **options):
    """Both ways lead to the same Run, or to the same error; return the source that counted and the run."""
    counted, one_by_one = (kind(X, weights, known_labels=known, n_threads=1) for kind in (Counted, OneByOne))
    try:
        wanted = em(one_by_one, family, parameters, **options)
    except IllDefinedCovarianceError as error:
        with pytest.raises(IllDefinedCovarianceError, match=f"^{re.escape(str(error))}$"):
            em(counted, family, parameters, **options)
        return counted, None
    found = em(counted, family, parameters, **options)
    problems.assert_same_parameters(found.parameters, wanted.parameters)
    assert found.parameters.precisions_cholesky.strides == wanted.parameters.precisions_cholesky.strides
    assert found.bounds == wanted.bounds
    assert (found.stopped_by, found.progress) == (wanted.stopped_by, wanted.progress)
    assert problems.same_bits(found.gradient_norm, wanted.gradient_norm)
    return counted, found


@by_family
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(1, 40, 1), (2, 301, 2), (5, 150, 4), (3, 397, 17), (9, 260, 3)], ids=str)
def test_same_bits_as_single_steps(family, dtype, shape):
    n_components, n_rows, n_features = shape
    X = problems.rows(3, n_rows, n_features, n_components).astype(dtype)
    max_iter = 40 if n_features < 17 else 4
    counted, found = assert_same_runs(X, family, start(family, X, n_components), max_iter=max_iter)
    assert counted.n_passes == 0
    assert len(found.bounds) > 2 or n_components == 1


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_same_bits_of_rows_too_many_to_be_packed(dtype):
    shape = (40_000, 4) if dtype == np.float64 else (15_000, 18)  # more than a mebibyte, and yet little work
    X = problems.rows(6, *shape, 1).astype(dtype)
    assert assert_same_runs(X, "diag", start("diag", X, 1), max_iter=3)[0].n_passes == 0


@by_family
@pytest.mark.parametrize("level", simd.levels())
def test_same_bits_at_every_level(family, level):
    X = problems.rows(4, 130, 3, 3)
    with problems.at_level(level):
        assert assert_same_runs(X, family, start(family, X, 3))[0].n_passes == 0


@by_family
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_weights_strides_and_known_rows(family, dtype):
    rng = np.random.default_rng(5)
    X = problems.rows(5, 400, 6, 3).astype(dtype)[::2, ::-2]
    weights = rng.random(200) * (rng.random(200) < 0.8) * 1e-30
    known = np.where(rng.random(200) < 0.3, rng.integers(3, size=200), -1)
    assert assert_same_runs(X, family, start(family, X, 3), weights)[0].n_passes == 0
    assert assert_same_runs(X, family, start(family, X, 3), weights, known)[0].n_passes == 0


@by_family
@pytest.mark.parametrize("acceleration", ["lbfgs", "squarem"])
def test_same_bits_with_an_acceleration(family, acceleration):
    X = problems.rows(7, 200, 3, 4, separation=1.0)
    counted, _ = assert_same_runs(X, family, start(family, X, 4), acceleration=acceleration)
    assert counted.n_passes == 0


@by_family
@pytest.mark.parametrize("stopping", ["gain", "aitken"])
@pytest.mark.parametrize("max_iter", [1, 2, 3, 7, 100])
def test_same_end(family, stopping, max_iter):
    X = problems.rows(7, 120, 2, 3)
    assert_same_runs(X, family, start(family, X, 3), tol=1e-5, stopping=stopping, max_iter=max_iter)


@by_family
def test_time_ends_a_run_between_steps_that_were_made_together(family):
    X = problems.rows(7, 120, 2, 3)
    _, found = assert_same_runs(X, family, start(family, X, 3), deadline=0.0)
    assert (found.stopped_by, len(found.bounds)) == ("max_time", 1)


@by_family
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_scores_of_the_end(family, dtype):
    """What several steps are made with gives the scores of their source too, where a `Mixture` has the same kernel."""
    rng = np.random.default_rng(6)
    X, weights = problems.rows(6, 300, 3, 3).astype(dtype), rng.random(300) * (rng.random(300) < 0.8)
    known = np.where(rng.random(300) < 0.3, rng.integers(3, size=300), -1)
    source = ArraySource(X, weights, known_labels=known)
    ahead = steps_ahead(source, covariance.get(family), 1e-6, 1e-9, "gain", None)
    assert ahead.scores(start(family, X, 3)) is None  # before a step
    parameters = em(source, family, start(family, X, 3), ahead=ahead).parameters.astype(dtype)
    found = ahead.scores(parameters)
    if family == "EEE" or dtype == np.float32:
        assert found is None
        return
    wanted = source.score(covariance.get(family).constants(parameters, dtype=X.dtype))
    assert (found.log_likelihood, found.total_weight) == (wanted.log_likelihood, wanted.total_weight)


@by_family
def test_runs_may_share_their_steps(family):
    source = ArraySource(problems.rows(6, 200, 2, 3))
    ahead = steps_ahead(source, covariance.get(family), 1e-6, 1e-9, "gain", None)
    for seed in range(3):
        begin = start(family, source.array, 3, seed)
        shared, alone = em(source, family, begin, ahead=ahead), em(source, family, begin)
        problems.assert_same_parameters(shared.parameters, alone.parameters)
        assert shared.bounds == alone.bounds


@by_family
def test_callback_sees_every_step(family):
    X = problems.rows(8, 120, 2, 3)
    seen = []
    for kind in (ArraySource, OneByOne):
        states = []
        em(
            kind(X),
            family,
            start(family, X, 3),
            callback=lambda s, states=states: states.append(s) or s.iteration == 11,
        )
        seen.append(states)
    assert len(seen[0]) == len(seen[1]) == 11
    for one, other in zip(*seen, strict=True):
        problems.assert_same_parameters(one.parameters, other.parameters)
        assert (one.iteration, one.lower_bound, one.change) == (other.iteration, other.lower_bound, other.change)


def far_component(family, X, n_components):
    """A start whose last component has no row."""
    made = start(family, X, n_components)
    means = made.means.copy()
    means[-1] = 1e6
    return Parameters(made.weights, means, made.covariances, made.precisions_cholesky)


@by_family
def test_component_without_rows(family):
    X = problems.rows(9, 120, 2, 3)
    counted, _ = assert_same_runs(X, family, far_component(family, X, 3))
    assert counted.n_passes > 0


@by_family
def test_matrix_that_is_not_definite(family):
    """Rows that are equal in one feature have no covariance there unless reg_covar gives one."""
    X = problems.rows(10, 60, 3, 2)
    X[:, 1] = 1.0
    for reg_covar in (0.0, 1e-6, 1e-300):
        assert_same_runs(X, family, start(family, X, 2), reg_covar=reg_covar)


@by_family
def test_moments_that_cancel_are_taken_again(family):
    """A start a thousand standard deviations off."""
    X = problems.rows(11, 80, 2, 1) + 1e5
    made = start(family, X, 1)
    wide = Parameters(made.weights, made.means + 3e3, made.covariances, made.precisions_cholesky)
    counted, _ = assert_same_runs(X, family, wide)
    assert counted.n_passes >= (family != "EEE")


def test_means_far_apart_are_not_rotated():
    X = np.concatenate([problems.rows(12, 40, 2, 1), problems.rows(13, 40, 2, 1) + 1e5])
    model = start("tied", X, 2)
    apart = Parameters(model.weights, np.array([X[0], X[-1]]), np.eye(2), np.eye(2))
    counted, _ = assert_same_runs(X, "tied", apart)
    assert counted.n_passes > 0


@pytest.mark.parametrize(
    "X", [np.arange(60).reshape(20, 3) % 7, problems.rows(14, 50, 3, 2).astype(">f8")], ids=["int", "swapped"]
)
def test_rows_to_be_converted_are_visited_one_by_one(X):
    counted, found = assert_same_runs(X, "diag", start("diag", X, 2))
    assert counted.n_passes == len(found.bounds)


def test_long_passes_are_made_one_by_one():
    X = problems.rows(15, 60_000, 8, 2)
    counted, found = assert_same_runs(X, "full", start("full", X, 4), max_iter=3)
    assert counted.n_passes == len(found.bounds)


def test_families_that_are_stepped():
    """All of mclust's, for which the two ways are compared above; those of low rank have rounds of their own."""
    assert all(covariance.get(name).stepped for name in (*FAMILIES, "V", "E"))
    assert not any(covariance.get(name).stepped for name in ("mfa:1", "mppca:1"))


@st.composite
def small_problems(draw):
    n_features, n_components = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    values = st.one_of(st.integers(-3, 3), st.floats(-1e3, 1e3, width=32), st.sampled_from([1e-12, 1e9, -1e15]))
    n_rows = draw(st.integers(n_components + 1, 40))
    X = draw(st.lists(values, min_size=n_rows * n_features, max_size=n_rows * n_features))
    return np.array(X, dtype=np.float64).reshape(n_rows, n_features), n_components


@settings(max_examples=150, deadline=None)
@given(small_problems(), st.sampled_from(FAMILIES), st.booleans(), st.sampled_from([0.0, 1e-6]))
def test_hard_problems_take_the_same_way(problem, family, single, reg_covar):
    X, n_components = problem
    X = X.astype(np.float32) if single else X
    try:
        parameters = start(family, X, n_components)
    except IllDefinedCovarianceError:
        return
    assert_same_runs(X, family, parameters, reg_covar=reg_covar)
