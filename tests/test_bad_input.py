"""What is refused before any work, each naming the argument, what was expected and what came.

Everything goes through both doors, the estimator and `fastgmm.fit`, and rows also through the methods that use a fitted
estimator. The start is a function that must not be called.
"""

import numpy as np
import pandas as pd
import polars as pl
import problems
import pytest
import reference
import scipy.sparse

import fastgmm
from fastgmm import GaussianMixture

K, D, N = 3, 4, 300


def never(*_):
    raise AssertionError("work was begun")


def by_fit(X, n_components=K, **options):
    return fastgmm.fit(X, n_components, **{"init_params": never, "callback": never, **options})


def by_estimator(X, n_components=K, method="fit", sample_weight=None, **options):
    model = GaussianMixture(n_components, **{"init_params": never, **options})
    try:
        return getattr(model, method)(X, sample_weight=sample_weight)
    finally:
        assert not [name for name in vars(model) if name.endswith("_")]


def by_fit_predict(X, **options):
    return by_estimator(X, method="fit_predict", **options)


by_door = pytest.mark.parametrize("door", [by_fit, by_estimator, by_fit_predict])


@pytest.fixture(scope="module")
def X():
    return problems.rows(1, N, D, K, separation=4.0)


@pytest.fixture(scope="module")
def fitted(X):
    return GaussianMixture(K, random_state=0).fit(X)


# ----------------------------------------------------------------------------------------------- rows

with np.errstate(over="ignore"):
    HUGE = np.longdouble(1e300) ** 2  # infinite where a long double is a double


def with_value(value, dtype=np.float64):
    rows = np.zeros((N, D), dtype)
    rows[123, 2] = value
    return rows


def masked():
    rows = np.ma.array(np.zeros((N, D)))
    rows[123, 2] = np.ma.masked
    return rows


NOT_A_NUMBER = r"X must hold numbers, but row 123, column 2 \(counted from 0\) holds none: "
SPARSE = r"Sparse data was passed for X, but dense data is required. Use '\.toarray\(\)'"
BAD_ROWS = {
    "scalar": (3.0, ValueError, "Expected 2D array, got scalar array"),
    "1-D": (np.zeros(5), ValueError, "Expected 2D array, got 1D array"),
    "3-D": (np.zeros((5, 2, 2)), ValueError, "dim 3"),
    "empty": (np.zeros((0, D)), ValueError, r"0 sample\(s\)"),
    "empty list": ([], ValueError, "Expected 2D array, got 1D array"),
    "no features": (np.zeros((5, 0)), ValueError, r"0 feature\(s\)"),
    "ragged": ([[1.0, 2.0], [3.0]], ValueError, "X must be a rectangular array of numbers, but setting an array"),
    "NaN": (with_value(np.nan), ValueError, "X contains NaN.*row 123, column 2"),
    "infinity": (with_value(-np.inf), ValueError, "X contains infinity.*row 123, column 2"),
    "float32 NaN": (with_value(np.nan, "f4"), ValueError, "X contains NaN.*row 123, column 2"),
    "float32 infinity": (with_value(np.inf, "f4"), ValueError, r"infinity.*dtype\('float32'\).*row 123, column 2"),
    "float16 NaN": (with_value(np.nan, "f2"), ValueError, "X contains NaN.*row 123, column 2"),
    "big-endian NaN": (with_value(np.nan, ">f8"), ValueError, "X contains NaN.*row 123, column 2"),
    "NaN object": (with_value(np.nan, object), ValueError, "X contains NaN.*row 123, column 2"),
    "NaN in Fortran order": (np.asfortranarray(with_value(np.nan)), ValueError, "X contains NaN.*row 123, column 2"),
    "beyond float64": (
        with_value(HUGE, np.longdouble),
        ValueError,
        "X contains infinity or a value too large.*row 123",
    ),
    "integer beyond float64": (with_value(10**400, object), ValueError, NOT_A_NUMBER + ".*too large"),
    "complex": (np.zeros((5, D), complex), ValueError, "Complex data not supported"),
    "complex object": (with_value(1j, object), TypeError, NOT_A_NUMBER + ".*'complex'"),
    "text object": (with_value("a", object), ValueError, NOT_A_NUMBER + "could not convert string to float: 'a'"),
    "None": (None, ValueError, "Expected 2D array, got scalar array"),
    "dictionary": ({"a": [1.0, 2.0]}, TypeError, "X must be an array or a data frame, got dict$"),
    "set": ({1.0, 2.0}, TypeError, "X must be an array or a data frame, got set$"),
    "lazy frame": (
        pl.DataFrame({"a": [1.0, 2.0]}).lazy(),
        TypeError,
        r"LazyFrame: its rows are not there before X.collect\(\)",
    ),
    "None within": (with_value(None, object), ValueError, "X contains NaN.*row 123, column 2"),
    "dictionary within": (with_value({}, object), TypeError, NOT_A_NUMBER + ".*'dict'"),
    "strings": (np.full((5, D), "1.0"), ValueError, "bytes/strings. Convert X to numeric values explicitly"),
    "bytes": (np.full((5, D), b"1.0"), ValueError, "bytes/strings"),
    "no such file": ("rows.csv", FileNotFoundError, "rows.csv"),
    "dates": (np.zeros((5, D), "M8[s]"), TypeError, r"X must hold numbers, got dtype datetime64\[s\]"),
    "records": (np.zeros((5, D), "f8,f8"), TypeError, r"X must hold numbers, got dtype \[\('f0'"),
    "masked": (masked(), TypeError, r"X has 1 masked values, but .*\. In X\.filled\(numpy\.nan\) of a"),
    "csr array": (scipy.sparse.csr_array(np.eye(D)), TypeError, SPARSE),
    "csc matrix": (scipy.sparse.csc_matrix(np.eye(D)), TypeError, SPARSE),
    "coo array": (scipy.sparse.coo_array(np.eye(D)), TypeError, SPARSE),
    "pandas NaN": (pd.DataFrame(with_value(np.nan)), ValueError, "X contains NaN.*row 123, column 2"),
    "pandas NA": (pd.DataFrame(with_value(pd.NA, object)), ValueError, "X contains NaN.*row 123, column 2"),
    "pandas text": (pd.DataFrame(with_value("a", object)), ValueError, NOT_A_NUMBER + "could not convert"),
    "polars null": (pl.DataFrame(with_value(np.nan)).fill_nan(None), ValueError, "X contains NaN.*row 123, column 2"),
}
BAD_ROWS_FOR_A_FIT = {
    **BAD_ROWS,
    "one row": (np.zeros((1, D)), ValueError, r"1 sample\(s\).*minimum of 2"),
    "fewer rows than components": (np.zeros((2, D)), ValueError, "n_components = 3, n_samples = 2"),
}


@by_door
@pytest.mark.parametrize("name", BAD_ROWS_FOR_A_FIT)
def test_bad_rows_are_refused_before_any_work(door, name):
    X, error, message = BAD_ROWS_FOR_A_FIT[name]
    with pytest.raises(error, match=message):
        door(X)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "score", "bic", "aic"])
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_bad_rows_are_refused_by_a_fitted_estimator(fitted, method):
    """test_density has the same for Mixture."""
    for X, error, message in BAD_ROWS.values():
        with pytest.raises(error, match=message):
            getattr(fitted, method)(X)
    for wrong in (D - 1, D + 1):
        with pytest.raises(ValueError, match=f"X has {wrong} features, but GaussianMixture is expecting 4 features"):
            getattr(fitted, method)(np.zeros((5, wrong)))
    with pytest.raises(fastgmm.NotFittedError, match="This GaussianMixture instance is not fitted yet"):
        getattr(GaussianMixture(), method)(np.zeros((5, D)))


@pytest.mark.parametrize("method", ["sample", "save", "to_mixture"])
def test_what_needs_a_fit_says_so(method, tmp_path):
    arguments = [tmp_path / "model.npz"] if method == "save" else []
    with pytest.raises(fastgmm.NotFittedError, match="This GaussianMixture instance is not fitted yet"):
        getattr(GaussianMixture(), method)(*arguments)
    assert not list(tmp_path.iterdir())


def test_masked_arrays_without_a_masked_value_are_arrays(X):
    """Wherever an array is taken."""
    given = problems.start_of("full", problems.start_from_rows("full", X, K))
    weight = np.arange(1.0, N + 1)
    plain = fastgmm.fit(X, K, sample_weight=weight, **given).mixture
    masks = {name: np.ma.array(value) for name, value in given.items()}
    assert fastgmm.fit(np.ma.array(X), K, sample_weight=np.ma.array(weight), **masks).mixture == plain
    assert GaussianMixture(K, **masks).fit(np.ma.array(X), sample_weight=np.ma.array(weight)).to_mixture() == plain


# ----------------------------------------------------------------------------------------------- weights


def weight_with(value, dtype=np.float64):
    weight = np.ones(N, dtype)
    weight[123] = value
    return weight


BAD_WEIGHTS = {
    "short": (np.ones(N - 1), ValueError, r"sample_weight.shape == \(299,\), expected \(300,\)"),
    "long": (np.ones(N + 1), ValueError, r"sample_weight.shape == \(301,\), expected \(300,\)"),
    "2-D": (np.ones((N, 1)), ValueError, "Sample weights must be 1D array or scalar, got 2D array as sample_weight"),
    "negative": (weight_with(-0.5), ValueError, "Negative values .* `sample_weight`: row 123 has -0.5"),
    "negative number": (-1.0, ValueError, "Negative values in data passed to `sample_weight`"),
    "all zero": (np.zeros(N), ValueError, "sample_weight: all weights are zero"),
    "zero": (0, ValueError, "sample_weight: all weights are zero"),
    "NaN": (weight_with(np.nan), ValueError, "sample_weight contains NaN. The first is in row 123"),
    "infinity": (weight_with(np.inf), ValueError, "sample_weight contains infinity. The first is in row 123"),
    "huge": (np.full(N, 1e299), ValueError, "the sum of the weights is .*, expected at most 1e.300"),
    "huge sum": (np.full(N, 1e308), ValueError, "the sum of the weights is inf, expected at most 1e.300"),
    "complex": (np.ones(N, complex), ValueError, "sample_weight must hold numbers, got dtype complex128"),
    "text": (np.full(N, "heavy"), ValueError, "sample_weight must hold numbers, got dtype <U5"),
    "text object": (weight_with("a", object), ValueError, "sample_weight must hold numbers, but row 123 .*'a'"),
    "ragged": ([[1.0], [1.0, 2.0]], ValueError, "sample_weight must be a rectangular array of numbers"),
    "masked": (np.ma.masked_equal(np.arange(N), 7), TypeError, "sample_weight has 1 masked values"),
    "sparse": (scipy.sparse.csr_array(np.ones((1, N))), TypeError, "Sparse data was passed for sample_weight"),
}


@by_door
@pytest.mark.parametrize("name", BAD_WEIGHTS)
def test_bad_weights_are_refused_before_any_work(X, door, name):
    weight, error, message = BAD_WEIGHTS[name]
    with pytest.raises(error, match=message):
        door(X, sample_weight=weight)


@by_door
def test_rows_of_weight_zero_are_no_rows_for_components(X, door):
    with pytest.raises(ValueError, match="n_components = 3, n_samples = 2"):
        door(X, sample_weight=np.arange(N) < 2)


@pytest.mark.parametrize("method", ["score", "bic", "aic"])
@pytest.mark.parametrize("name", BAD_WEIGHTS)
def test_bad_weights_are_refused_by_a_fitted_estimator(X, fitted, method, name):
    weight, error, message = BAD_WEIGHTS[name]
    with pytest.raises(error, match=message):
        getattr(fitted, method)(X, sample_weight=weight)


# ----------------------------------------------------------------------------------------------- numbers and choices

NO_INT = (1.5, 2.0, "2", None, [1], np.nan, True)
NO_NUMBER = (-1e-9, 10**400, np.nan, np.inf, -np.inf, "1", None, [1.0], 1j)
BAD_VALUES = {
    "n_components": (0, -1, *NO_INT),
    "covariance_type": ("round", "FULL", None, 1, ["full"], b"full"),
    "tol": NO_NUMBER,
    "reg_covar": NO_NUMBER,
    "max_iter": (-1, *NO_INT),
    "n_init": (0, -1, *NO_INT),
    "init_params": ("best", None),
    "on_collapse": ("skip", None, 1, ["floor"]),
    "covariance_floor": (0, 0.0, -1e-9, 1.5, np.nan, np.inf, "1", [0.5], True),
    "fixed": ("means", 1, True, ["means"]),
    "split_merge": (-1, *NO_INT),
    "equal_weights": (None, 2, "yes"),
    "noise": (0.0, -1.0, np.inf, np.nan, "yes", [1.0]),
    "prior": (True, "flat", 0.01, [0.01]),
    "random_state": (-1, 2**32, 1.5, "seed", [1, 2]),
    "warm_start": (None, 2, "yes"),
    "verbose": (-1, 1.5, None, "yes"),
    "verbose_interval": (0, *NO_INT),
    "n_threads": (0, -1, 1.5, 2.0, "2", [1], np.nan, True),
    "missing": (None, "mean", 1, ["em"]),
    "acceleration": ("daarem", "SQUAREM", "", True, 1, ["squarem"]),
    "stopping": ("bic", None, 1, ["gain"]),
    "max_time": (-1.0, np.nan, np.inf, "1s", [1.0], True),
    "callback": (3, "print", [print]),
    "progress": (None, 1, "yes"),
    "max_memory": (0, -1, 1.5, True),
    "step_decay": (0.5, 1.1, None, "slow"),
    "forgetting": (-0.1, 1.0, None, "all"),
}
ARRAYS = {"weights_init", "means_init", "precisions_init"}


def test_every_parameter_is_in_the_tables():
    assert {*BAD_VALUES, *ARRAYS} == set(GaussianMixture().get_params())


@pytest.mark.parametrize("name", BAD_VALUES)
def test_value_out_of_range_is_named_before_any_work(X, name):
    for value in BAD_VALUES[name]:
        expected = f"The {name!r} parameter of GaussianMixture must be "
        for door in (by_estimator, by_fit_predict):
            with pytest.raises(fastgmm.InvalidParameterError) as caught:
                door(X, **{name: value})
            assert str(caught.value).startswith(expected)
            assert str(caught.value).endswith(f" Got {value!r} instead.")
        if name not in ("warm_start", "verbose", "verbose_interval", "step_decay", "forgetting"):
            with pytest.raises((ValueError, TypeError)) as caught:
                by_fit(X, **{name: value})
            assert str(caught.value).startswith(f"{name} must be ")
            assert repr(value) in str(caught.value)


# ----------------------------------------------------------------------------------------------- starts

BAD_STARTS = [
    (np.zeros(N - 1, int), ValueError, r"init_params as labels.*\(300,\), but got \(299,\)"),
    (np.arange(N) % 2, ValueError, "init_params as labels .* but component 2 has none"),
    (np.arange(N) % 4, ValueError, r"init_params as labels should lie in 0\.\.2, but got 0\.\.3"),
    (np.arange(N) % 3 - 1, ValueError, r"init_params as labels should lie in 0\.\.2, but got -1\.\.1"),
    (np.ones((N, 2)), ValueError, r"init_params as responsibilities.*\(300, 3\), but got \(300, 2\)"),
    (np.ones((N, K)), ValueError, "init_params as responsibilities .* sum 1 in every row"),
    (np.full((N, K), np.nan), ValueError, "init_params as responsibilities should be finite"),
    (np.tile([2.0, -1.0, 0.0], (N, 1)), ValueError, "init_params as responsibilities should be .* not negative"),
    (np.zeros(N), ValueError, "init_params should be integer labels.*dtype float64 and shape"),
    (np.full(N, "a"), ValueError, "init_params should be integer labels.*dtype <U1 and shape"),
    (np.zeros((N, K), complex), ValueError, "init_params should be integer labels.*dtype complex128 and shape"),
    ([[1.0], [0.5, 0.5]], ValueError, "init_params must be a rectangular array of numbers"),
    (np.ma.masked_equal(np.arange(N) % K, 1), TypeError, "init_params has 100 masked values"),
]
CALLABLE = "what the init_params callable returned"


@by_door
@pytest.mark.parametrize(("start", "error", "message"), BAD_STARTS, ids=[message for *_, message in BAD_STARTS])
def test_bad_start_is_named(X, door, start, error, message):
    with pytest.raises(error, match=message):
        door(X, init_params=start)
    with pytest.raises(error, match=message.replace("init_params", CALLABLE, 1)):
        door(X, init_params=lambda *_: start)


@by_door
@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.zeros((K, D + 1)), rf"{CALLABLE}.*\(300, 3\), but got \(3, 5\)"),
        (np.full((K, D), np.nan), "the means that the init_params callable returned should be finite"),
        (np.zeros((K, D), complex), f"{CALLABLE} should be integer labels.*dtype complex128"),
        (np.full((K, D), "a"), f"{CALLABLE} should be integer labels.*dtype <U1"),
        (None, f"{CALLABLE} should be integer labels"),
    ],
)
def test_bad_return_of_a_callable_is_named(X, door, returned, message):
    with pytest.raises(ValueError, match=message):
        door(X, init_params=lambda *_: returned)


GOOD = {
    "weights_init": np.full(K, 1 / K),
    "means_init": np.zeros((K, D)),
    "precisions_init": np.tile(np.eye(D), (K, 1, 1)),
}
NAMES = {"weights_init": "weights", "means_init": "means", "precisions_init": "full precision"}


@by_door
@pytest.mark.parametrize("name", ARRAYS)
def test_starting_parameter_that_is_no_finite_array_is_named(X, door, name):
    good, called = GOOD[name], NAMES[name]
    objects, gaps = good.astype(object), np.ma.array(good)
    objects.flat[-1], gaps[-1] = "a", np.ma.masked
    for value, error, message in (
        (np.full_like(good, np.nan), ValueError, f"'{called}' should be finite, but it contains NaN"),
        (np.full_like(good, np.inf), ValueError, f"'{called}' should be finite, but it contains infinity"),
        (good.astype(complex), ValueError, f"'{called}' should be an array of real numbers, but Complex data"),
        (good.astype(str), ValueError, f"'{called}' should be an array of real numbers, but it has the type <U"),
        (objects, ValueError, f"'{called}' should be an array of real numbers, but could not convert"),
        (gaps, TypeError, f"{called} has .* masked values, but an array without gaps is expected"),
        ([[1.0], [1.0, 2.0]], ValueError, f"{called} must be a rectangular array of numbers"),
        (good[:-1], ValueError, f"'{called}' should have the shape of "),
        (good[None], ValueError, f"'{called}' should have the shape of "),
        ([], ValueError, f"'{called}' should have the shape of "),
    ):
        with pytest.raises(error, match=message):
            door(X, **{name: value})


@by_door
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0.5, 0.5, 0.5], r"should be normalized, but got sum\(weights\) = 1\.50000"),
        ([-0.5, 0.75, 0.75], r"should be in the range \[0, 1\], but got max value 0\.75000, min value -0\.50000"),
        ([0.0, 0.0, 0.0], r"should be normalized, but got sum\(weights\) = 0\.00000"),
        ([0.25, 0.25, 0.5 + 2e-8], r"should be normalized, but got sum\(weights\) = 1\.0000000200"),
    ],
)
def test_starting_weights_that_are_no_proportions_are_named(X, door, weights, message):
    with pytest.raises(ValueError, match="The parameter 'weights' " + message):
        door(X, weights_init=weights)


def indefinite(family):
    """Precisions that are none: indefinite, singular, not symmetric."""
    shape = {"full": (K, D, D), "tied": (D, D), "diag": (K, D), "spherical": (K,)}[family]
    if family in ("diag", "spherical"):
        zero, negative = np.ones(shape), np.ones(shape)
        zero.flat[-1], negative.flat[-1] = 0.0, -1.0
        return zero, negative
    unit = np.broadcast_to(np.eye(D), shape)
    skew = np.array(unit)
    skew[..., 0, 1] = 0.5
    return -unit, np.ones(shape), np.zeros(shape), skew


@by_door
@pytest.mark.parametrize("family", reference.FAMILIES)
def test_starting_precisions_that_are_none_are_named(X, door, family):
    expected = "symmetric, positive-definite" if family in ("full", "tied") else "positive"
    for precisions in indefinite(family):
        with pytest.raises(ValueError, match=f"'{family} precision' should be {expected}"):
            door(X, covariance_type=family, precisions_init=precisions)


@pytest.mark.parametrize("name", ARRAYS)
def test_starting_parameter_of_a_wrong_kind_is_named(X, name):
    for value in (3.0, "equal", never, scipy.sparse.csr_array(np.eye(D))):
        with pytest.raises(fastgmm.InvalidParameterError, match=f"'{name}' .* must be an array-like or None. Got"):
            by_estimator(X, **{name: value})
        with pytest.raises((ValueError, TypeError), match=NAMES[name]):
            by_fit(X, **{name: value})
