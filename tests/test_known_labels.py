"""Rows whose component is known: passes against the twin at every level, and fits with them."""

import numpy as np
import problems
import pytest
import reference

import fastgmm
from fastgmm import GaussianMixture, covariance, engine
from fastgmm.engine import simd
from fastgmm.fitting import run
from fastgmm.sources import ArraySource

N, D, K, EPS = 200, 3, 3, np.finfo(float).eps
by_family = pytest.mark.parametrize("family", reference.FAMILIES)


@pytest.fixture(scope="module")
def X():
    return problems.rows(41, N, D, K, separation=1.5)


@pytest.fixture(scope="module")
def known():
    """A third of the rows are known, at random."""
    rng = np.random.default_rng(0)
    return np.where(rng.random(N) < 0.3, rng.integers(K, size=N), -1)


def keep(joint, known):
    """The joint log-densities (N, K) with those of other components than the known one taken out."""
    return np.where((known[:, None] >= 0) & (known[:, None] != np.arange(joint.shape[1])), -np.inf, joint)


def em_step(family, model, X, known, weight=None):
    """The twin's iteration: the new model, and the mean log-likelihood of the old one."""
    joint = keep(reference.log_joint(reference.constants_of(family, model), X), known)
    bound = float(np.average(reference.log_sum_exp(joint), weights=weight))
    return reference.maximise(family, X, reference.responsibilities(joint), sample_weight=weight), bound


@pytest.mark.parametrize("level", simd.levels())
@pytest.mark.parametrize("kind", ["full", "diagonal", "spherical", "rotated"])
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_passes_are_the_twins_at_every_level(level, kind, dtype):
    constants = problems.random_constants(kind, 3, D, K)
    rows = problems.rows_near(constants, 5, 77, np.dtype(dtype))
    rng = np.random.default_rng(1)
    known, weight = rng.integers(-1, K, size=77), rng.integers(0, 3, 77).astype(float)
    joint = keep(reference.log_joint(constants, rows.astype(float)), known)
    resp, density = reference.responsibilities(joint), reference.log_sum_exp(joint)
    tolerance = 1e-12 if dtype == "d" else 2e-4
    with problems.at_level(level):
        ours = problems.kernel_constants(constants, np.dtype(dtype))
        options = {"sample_weight": weight, "known_labels": known}
        found = engine.score(rows, ours, resp=True, labels=True, log_density=True, joint=True, **options)
        stats = engine.accumulate(rows, ours, **options)
    np.testing.assert_allclose(found.resp, resp, atol=tolerance)
    np.testing.assert_allclose(found.log_density, density, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found.joint, reference.log_joint(constants, rows.astype(float)), rtol=10 * tolerance)
    np.testing.assert_allclose(found.log_likelihood, weight @ density, rtol=tolerance)
    np.testing.assert_array_equal(found.labels[known >= 0], known[known >= 0])
    assert stats.log_likelihood == found.log_likelihood
    np.testing.assert_allclose(stats.n, weight @ resp, rtol=tolerance, atol=77 * tolerance)
    np.testing.assert_allclose(stats.means(), (weight[:, None] * resp).T @ rows / (weight @ resp)[:, None], atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_known_row_far_from_everything(dtype):
    far = 1e30 if dtype is np.float32 else 1e200
    rows = np.array([[0.0], [far], [far], [1.0]], dtype=dtype)
    constants = fastgmm.Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical").constants(np.dtype(dtype))
    found = engine.score(rows, constants, resp=True, labels=True, known_labels=np.array([-1, 0, 1, 1]))
    np.testing.assert_array_equal(found.resp[1:], [[1, 0], [0, 1], [0, 1]])
    np.testing.assert_array_equal(found.labels, [0, 0, 1, 1])


@by_family
@pytest.mark.parametrize("weighted", [False, True])
def test_fits_follow_the_twin(X, known, family, weighted):
    weight = np.random.default_rng(2).integers(0, 4, N).astype(float) if weighted else None
    model = start = problems.start_from_rows(family, X, K)
    options = {"sample_weight": weight, "known_labels": known}
    result = problems.em(family, X, start, 6, **options)
    bounds = []
    for _ in range(6):
        model, bound = em_step(family, model, X, known, weight)
        bounds.append(bound)
    problems.assert_close_parameters(family, result.mixture, model, 1e-9)
    np.testing.assert_allclose(result.lower_bounds[:-1], bounds[1:], rtol=1e-11)


@pytest.mark.parametrize("name", covariance.names())
@pytest.mark.parametrize("options", [{}, {"acceleration": "squarem"}, {"prior": "conjugate"}])
def test_log_likelihood_never_falls_in_any_structure(X, known, name, options):
    options = {"reg_covar": 0.0, "tol": 0.0, "max_iter": 30, "random_state": 0, "known_labels": known, **options}
    result = run(X, K, covariance_type=name, labels=True, **options)
    bounds = np.array(result.lower_bounds)
    assert np.diff(bounds).min() >= -1e-12 * np.abs(bounds).max()
    np.testing.assert_array_equal(result.labels[known >= 0], known[known >= 0])
    joint = keep(result.mixture.component_logpdf(X), known)
    np.testing.assert_allclose(result.log_likelihood, reference.log_sum_exp(joint).mean(), rtol=1e-12)


@by_family
def test_all_known_is_the_m_step_of_labels(X, family):
    labels = np.arange(N) % K
    result = run(X, K, covariance_type=family, known_labels=labels, reg_covar=0.0)
    assert result.n_iter == 2  # the second changes nothing
    want = reference.maximise(family, X, np.eye(K)[labels])
    problems.assert_close_parameters(family, result.mixture, want, 1e-12)


@by_family
def test_none_known_is_the_plain_fit(X, family):
    options = {"covariance_type": family, "random_state": 0, "max_iter": 5}
    plain, other = run(X, K, **options), run(X, K, known_labels=np.full(N, -1), **options)
    assert plain == other


@pytest.mark.parametrize("start", ["kmeans", "k-means++", "random", "random_from_data", "labels", "resp"])
def test_components_are_those_that_were_named(start):
    """Three far clusters; rows of two are known, in another order than any start would find them in."""
    rng = np.random.default_rng(3)
    truth = rng.integers(3, size=300)
    X = 20.0 * truth[:, None] + rng.standard_normal((300, 2))
    known = np.where((truth != 1) & (rng.random(300) < 0.1), np.array([2, -1, 0])[truth], -1)
    init = {"labels": rng.integers(3, size=300), "resp": rng.dirichlet(np.ones(3), 300)}.get(start, start)
    result = run(X, 3, init_params=init, known_labels=known, random_state=0, labels=True, max_iter=300)
    np.testing.assert_array_equal(result.labels, np.array([2, 1, 0])[truth])


def test_source_carries_them(X, known):
    source = ArraySource(X, known_labels=known)
    assert run(source, K, random_state=0) == run(X, K, known_labels=known, random_state=0)
    few = source.sample(50, np.random.default_rng(0))
    np.testing.assert_array_equal(few.on_kept_rows(few.known_labels), few.on_kept_rows(known))


def test_labels_of_the_best_start_are_the_known_ones(X, known):
    result = run(X, K, known_labels=known, random_state=0, n_init=2, labels=True)
    np.testing.assert_array_equal(result.labels[known >= 0], known[known >= 0])


@pytest.mark.parametrize("n_threads", [2, 3])
def test_number_of_threads_changes_nothing(n_threads):
    rows = problems.rows(5, 40_000, 8, 4)
    known = np.where(np.arange(len(rows)) % 7 == 0, np.arange(len(rows)) % 4, -1)
    options = {"max_iter": 2, "tol": 0.0, "init_params": np.arange(len(rows)) % 4, "known_labels": known}
    assert run(rows, 4, n_threads=1, **options) == run(rows, 4, n_threads=n_threads, **options)


def test_integer_weight_is_that_many_rows(X, known):
    weight = np.random.default_rng(4).integers(0, 3, N)
    start = problems.start_from_rows("full", X, K)
    one = problems.em("full", X, start, 5, sample_weight=weight, known_labels=known)
    repeated = [np.repeat(each, weight, axis=0) for each in (X, known)]
    other = problems.em("full", repeated[0], start, 5, known_labels=repeated[1])
    problems.assert_close_parameters("full", one.mixture, other.mixture, 1e-10)


def test_estimator(X, known):
    model = GaussianMixture(K, random_state=0)
    labels = model.fit_predict(X, known_labels=known)
    np.testing.assert_array_equal(labels[known >= 0], known[known >= 0])
    result = run(X, K, known_labels=known, random_state=0)
    assert model.lower_bound_ == result.lower_bound
    problems.assert_same_fit(model, GaussianMixture(K, random_state=0).fit(X, known_labels=list(known)))


BAD = [
    ({"known_labels": [0]}, "known_labels must have the shape (200,), one for each row of X, got (1,)"),
    ({"known_labels": np.full(N, 0.0)}, "known_labels must be integers, -1 where they are not known, got float64"),
    ({"known_labels": np.full(N, -2)}, "known_labels must be components, or -1 where they are not known, got -2"),
    (
        {"known_labels": np.full(N, 2**63, np.uint64)},
        "known_labels must be components, or -1 where they are not known, got 9223372036854775808",
    ),
    (
        {"known_labels": np.full(N, 3)},
        "known_labels must be below n_components=3, or -1 where they are not",
    ),
    (
        {"known_labels": np.zeros(N, int), "split_merge": 1},
        "known_labels name components, so that split_merge must be 0",
    ),
    ({"known_labels": np.zeros(N, int), "on_collapse": "drop"}, "known_labels name components, so that on_collapse"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_labels_are_named(X, options, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        run(X, K, **options)
    assert str(caught.value).startswith(message)


def test_who_knows_labels_already_or_has_other_components(X):
    constants = fastgmm.Mixture([0.5, 0.5], np.zeros((2, D)), [1.0, 1.0], "spherical").constants()
    with pytest.raises(ValueError, match="must be below 2, the number of components, got 2"):
        fastgmm.accumulate(X, constants, known_labels=np.full(N, 2))
    with pytest.raises(ValueError, match="known_labels must be None where X is a ArraySource"):
        run(ArraySource(X), K, known_labels=np.zeros(N, int))
