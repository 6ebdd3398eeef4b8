"""What is computed from a mixture: densities, labels, criteria and draws, for rows of any type and however far."""

import re
import tracemalloc

import numpy as np
import problems
import pytest
import reference
import scipy.sparse
import scipy.stats

from fastgmm import Mixture

K, D = 3, 4
by_family = pytest.mark.parametrize("family", reference.FAMILIES)
by_dtype = pytest.mark.parametrize("dtype", ["float64", "float32"])
by_method = pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "component_logpdf"])


def mixture_of(family, dtype="float64", seed=1):
    params = problems.model(family, seed, D, K)
    return Mixture(*(np.asarray(array, dtype=dtype) for array in params), covariance_type=family)


def dense(mixture):
    return reference.dense_covariances(mixture.covariance_type, mixture.covariances.astype(float), K, D)


# ----------------------------------------------------------------------------------------------- densities


@by_family
def test_densities_are_scipys(family):
    mixture, X = mixture_of(family), problems.rows(2, 200, D, K)
    normals = [scipy.stats.multivariate_normal(m, S) for m, S in zip(mixture.means, dense(mixture), strict=True)]
    joint = np.log(mixture.weights) + np.stack([normal.logpdf(X) for normal in normals], axis=1)
    np.testing.assert_allclose(mixture.component_logpdf(X), joint, rtol=1e-11)
    np.testing.assert_allclose(mixture.score_samples(X), np.logaddexp.reduce(joint, axis=1), rtol=1e-11)
    assert problems.same_bits(mixture.logpdf(X), mixture.score_samples(X))
    np.testing.assert_allclose(mixture.predict_proba(X), scipy.special.softmax(joint, axis=1), rtol=1e-9, atol=1e-15)
    np.testing.assert_array_equal(mixture.predict(X), joint.argmax(axis=1))


@by_family
def test_score_and_criteria_are_what_they_say(family):
    mixture, X = mixture_of(family), problems.rows(3, 200, D, K)
    weight = np.random.default_rng(3).integers(0, 4, len(X)).astype(float)
    for options, w in (({}, np.ones(len(X))), ({"sample_weight": weight}, weight)):
        total = w @ mixture.score_samples(X)
        m, n = mixture.n_parameters, w.sum()
        assert mixture.score(X, **options) == pytest.approx(total / n, rel=1e-13)
        assert mixture.bic(X, **options) == pytest.approx(m * np.log(n) - 2 * total, rel=1e-13)
        assert mixture.aic(X, **options) == pytest.approx(2 * m - 2 * total, rel=1e-13)
        assert type(mixture.score(X, **options)) is float


@by_family
@pytest.mark.parametrize("rows_dtype", ["float64", "float32", "int32", ">f4", "float16"])
@by_dtype
def test_rows_are_computed_in_the_wider_type(family, dtype, rows_dtype):
    """float32 only where rows and parameters both are; then the rows' own float32 values are what is scored."""
    mixture, X = mixture_of(family, dtype), problems.rows(4, 100, D, K).astype(rows_dtype)
    single = dtype == rows_dtype == "float32"
    want = np.float32 if single else np.float64
    assert mixture.predict(X).dtype == np.int64
    for method in ("predict_proba", "score_samples", "component_logpdf"):
        got = getattr(mixture, method)(X)
        assert got.dtype == want
        # All that was stored is exactly representable in float64, so a mixture of the same numbers gives the answer.
        wide = Mixture.from_parameters(mixture.parameters.astype(np.float64), family)
        tolerance = 1e-4 if single else 1e-15
        np.testing.assert_allclose(got, getattr(wide, method)(X.astype(np.float64)), rtol=tolerance, atol=tolerance)


@by_method
@by_family
def test_pieces_have_the_bits_of_the_whole(family, method):
    """Whether rows are read in place or converted piece by piece, and however the caller cuts them."""
    mixture, X = mixture_of(family), np.round(64 * problems.rows(5, 30_000, D, K)).astype(np.int32) // 64
    score = getattr(mixture, method)
    whole = score(X)
    assert problems.same_bits(score(X.astype(np.float64)), whole)
    assert problems.same_bits(np.concatenate([score(part) for part in np.array_split(X, 7)]), whole)


def test_labels_need_no_responsibilities():
    """200,000 rows and 200 components: labels are 1.6 MB, responsibilities would be 320."""
    n_components = 200
    mixture = Mixture(np.full(200, 1 / 200), np.arange(200.0)[:, None], np.ones(n_components), "spherical")
    X = np.linspace(0, 199, 200_000)[:, None]
    for method in (mixture.predict, mixture.score_samples, mixture.score):
        method(X[:10])
        tracemalloc.start()
        method(X)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 * 2**20


# ----------------------------------------------------------------------------------------------- far rows


@by_family
@pytest.mark.parametrize("size", [1e10, 1e50, 1e100, 1e150])
def test_far_rows_have_finite_densities(family, size):
    """Up to 1e150 standard deviations the squared distance is a float64; beyond, the log-density may be -inf."""
    mixture = mixture_of(family)
    X = size * np.random.default_rng(6).standard_normal((40, D))
    constants = reference.constants_of(family, reference.Model(mixture.weights, mixture.means, mixture.covariances))
    got = mixture.score_samples(X)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, reference.log_sum_exp(reference.log_joint(constants, X)), rtol=1e-12)
    assert np.isfinite(mixture.score(X))


@by_family
def test_far_float32_rows_have_finite_densities(family):
    """Up to 1e18 standard deviations: the square is a float32, or is taken in float64."""
    mixture = mixture_of(family, "float32")
    X = (1e18 * np.random.default_rng(7).standard_normal((40, D))).astype(np.float32)
    wide = Mixture.from_parameters(mixture.parameters.astype(np.float64), family)
    np.testing.assert_allclose(mixture.score_samples(X), wide.score_samples(X), rtol=1e-5)


@by_dtype
@by_family
def test_component_of_weight_zero_takes_no_row(family, dtype):
    params = problems.model(family, 8, D, K)._replace(weights=np.array([0.5, 0.0, 0.5]))
    mixture = Mixture(*(np.asarray(array, dtype=dtype) for array in params), covariance_type=family)
    decades = np.array([1.0, 1e5, 1e18, 1e25, 1e38] + ([1e100, 1e200, 1e308] if dtype == "float64" else []))
    X = (decades[:, None] * np.sign(np.random.default_rng(8).standard_normal((len(decades), D)))).astype(dtype)
    resp = mixture.predict_proba(X)
    assert (resp[:, 1] == 0).all()
    assert np.abs(resp.sum(axis=1) - 1).max() <= 4 * np.finfo(dtype).eps
    assert (mixture.component_logpdf(X)[:, 1] == -np.inf).all()
    assert not np.isnan(mixture.component_logpdf(X)).any()


# ----------------------------------------------------------------------------------------------- bad rows


@by_method
@by_dtype
@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_row_that_is_not_finite_is_named(method, dtype, value, what):
    X = np.zeros((5000, D), dtype=dtype)
    X[4321, 2] = value
    with pytest.raises(ValueError, match=rf"X contains {what}.*row 4321, column 2"):
        getattr(mixture_of("full", dtype), method)(X)


def test_row_of_weight_zero_may_hold_anything():
    """For the log-likelihood it is as if it were not there."""
    mixture, X = mixture_of("full"), problems.rows(9, 50, D, K)
    weight = np.ones(50)
    want = mixture.score(X[1:])
    X[0], weight[0] = np.nan, 0
    assert mixture.score(X, weight) == pytest.approx(want, rel=1e-14)


BAD_ROWS = {
    "1-D": (np.zeros(D), ValueError, "Expected 2D array, got 1D array"),
    "number": (3.0, ValueError, "Expected 2D array, got scalar array"),
    "3-D": (np.zeros((2, D, 2)), ValueError, "dim 3"),
    "no rows": (np.zeros((0, D)), ValueError, r"0 sample\(s\)"),
    "no features": (np.zeros((3, 0)), ValueError, r"0 feature\(s\)"),
    "other features": (np.zeros((3, D + 1)), ValueError, "X has 5 features, but Mixture is expecting 4"),
    "complex": (np.zeros((3, D), complex), ValueError, "Complex data not supported"),
    "strings": (np.full((3, D), "1"), ValueError, "bytes/strings"),
    "objects": (np.full((3, D), "a", dtype=object), ValueError, "could not convert string to float: 'a'"),
    "dates": (np.zeros((3, D), "M8[D]"), TypeError, "X must hold numbers, got dtype datetime64"),
    "ragged": ([[1.0] * D, [1.0]], ValueError, "inhomogeneous"),
    "sparse": (scipy.sparse.csr_matrix(np.eye(D)), TypeError, r"Sparse.*'\.toarray\(\)'"),
    "masked": (np.ma.masked_equal(np.eye(D), 1.0), TypeError, "X has 4 masked values"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_rows_are_refused(name):
    X, error, message = BAD_ROWS[name]
    for method in ("predict", "score_samples", "score", "bic"):
        with pytest.raises(error, match=message):
            getattr(mixture_of("full"), method)(X)


@pytest.mark.parametrize("n_threads", [0, -1, 1.5, True, "2"])
def test_bad_number_of_threads_is_refused(n_threads):
    with pytest.raises(ValueError, match=f"n_threads must be None or an int >= 1, got {re.escape(repr(n_threads))}"):
        mixture_of("diag").predict(np.zeros((3, D)), n_threads=n_threads)


# ----------------------------------------------------------------------------------------------- draws


@by_dtype
@by_family
def test_draws_have_the_moments_of_the_mixture(family, dtype):
    """Shares, means and covariances of the components within five standard errors (promise 43)."""
    mixture, n = mixture_of(family, dtype), 60_000
    X, y = mixture.sample(n, random_state=0)
    assert (X.dtype, y.dtype, X.shape, y.shape) == (np.float64, np.int64, (n, D), (n,))
    weights = mixture.weights.astype(float)
    counts = np.bincount(y, minlength=K)
    assert (np.abs(counts - n * weights) < 5 * np.sqrt(n * weights * (1 - weights))).all()
    for k, covariance in enumerate(dense(mixture)):
        rows, sigma = X[y == k], np.sqrt(np.diag(covariance))
        assert (np.abs(rows.mean(axis=0) - mixture.means[k]) < 5 * sigma / np.sqrt(counts[k])).all()
        error = np.sqrt((np.outer(sigma, sigma) ** 2 + covariance**2) / counts[k])  # of a normal sample's covariance
        assert (np.abs(np.cov(rows.T) - covariance) < 5 * error).all()


def test_int_seed_gives_the_same_rows_and_states_move_on():
    mixture = mixture_of("full")

    def rows(state):
        return mixture.sample(20, random_state=state)[0].tobytes()

    assert rows(3) == rows(3) == rows(np.int64(3)) != rows(4)
    assert rows(np.random.SeedSequence(3)) == rows(np.random.SeedSequence(3))
    for kind in (np.random.default_rng, np.random.RandomState):
        one, other = kind(5), kind(5)
        assert [rows(one), rows(one)] == [rows(other), rows(other)]
        assert rows(one) != rows(one)


def test_rows_come_grouped_or_shuffled():
    mixture = mixture_of("diag")
    X, y = mixture.sample(500, random_state=1)
    assert (np.diff(y) >= 0).all()
    shuffled, labels = mixture.sample(500, random_state=1, shuffle=True)
    assert (np.diff(labels) < 0).any()
    order, back = np.lexsort((*X.T, y)), np.lexsort((*shuffled.T, labels))
    np.testing.assert_array_equal(X[order], shuffled[back])
    np.testing.assert_array_equal(y[order], labels[back])


def test_one_row_is_drawn_unless_told_otherwise():
    assert mixture_of("tied").sample()[0].shape == (1, D)


@pytest.mark.parametrize(
    ("n_samples", "error", "message"),
    [
        (0, ValueError, "Invalid value for 'n_samples': 0 . The sampling requires at least one sample."),
        (-3, ValueError, "Invalid value for 'n_samples': -3 ."),
        (2.0, TypeError, "n_samples must be an int. Got 2.0 instead."),
        (True, TypeError, "n_samples must be an int. Got True instead."),
    ],
)
def test_bad_number_of_draws_is_refused(n_samples, error, message):
    with pytest.raises(error, match=re.escape(message)):
        mixture_of("full").sample(n_samples)


@pytest.mark.parametrize("random_state", [-1, 2**32, 1.5, "seed"])
def test_bad_random_state_is_refused(random_state):
    with pytest.raises(ValueError, match=r"random_state must be None, an int in the range \[0, 4294967295\]"):
        mixture_of("full").sample(3, random_state=random_state)


# ----------------------------------------------------------------------------------------------- constants


def test_constants_are_made_once_for_each_type():
    mixture = mixture_of("full", "float32")
    assert mixture.constants(np.float64) is mixture.constants(np.float64)
    assert (mixture.constants().dtype, mixture.constants("float64").dtype) == (np.float32, np.float64)
    assert mixture_of("full").constants(np.float32).dtype == np.float64
    with pytest.raises(TypeError, match="dtype must be float32 or float64"):
        mixture.constants(complex)
