"""GaussianMixture: scikit-learn's constructor, attributes, methods and messages, and what it does better."""

import inspect
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import problems
import pytest
import reference
import sklearn.mixture

import fastgmm
from fastgmm import GaussianMixture
from fastgmm._errors import InvalidParameterError
from fastgmm.estimators._parameters import validate

K, D, N = 3, 2, 240
by_family = pytest.mark.parametrize("family", reference.FAMILIES)
by_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])
FITTED = {
    *(
        *problems.FITTED_ARRAYS,
        "converged_",
        "n_iter_",
        "lower_bound_",
        "lower_bounds_",
        "collapses_",
        "n_failed_inits_",
        "best_init_",
        "n_features_in_",
        "stopped_by_",
        "last_gain_",
        "convergence_rate_",
        "remaining_gain_",
        "gradient_norm_",
    ),
}


@pytest.fixture(scope="module")
def X():
    return problems.rows(3, N, D, K, separation=4.0)


@pytest.fixture(scope="module")
def weight():
    return np.random.default_rng(0).integers(0, 4, N)


# ----------------------------------------------------------------------------------------------- constructor


OURS = {
    "on_collapse": "raise",
    "covariance_floor": None,
    "fixed": None,
    "split_merge": 0,
    "equal_weights": False,
    "prior": None,
    "noise": None,
    "n_threads": None,
    "acceleration": None,
    "stopping": "gain",
    "max_time": None,
    "missing": "raise",
    "callback": None,
    "progress": False,
    "max_memory": None,
    "step_decay": 0.7,
    "forgetting": 0.0,
}


def test_constructor_is_scikit_learns_and_ours():
    ours, theirs = (
        {name: (p.kind, p.default) for name, p in inspect.signature(cls).parameters.items()}
        for cls in (GaussianMixture, sklearn.mixture.GaussianMixture)
    )
    assert {name: ours.pop(name) for name in OURS} == {
        name: (inspect.Parameter.KEYWORD_ONLY, default) for name, default in OURS.items()
    }
    assert ours == theirs


def test_methods_have_scikit_learns_parameters():
    """And after them only ours, by keyword."""
    for name in (
        *("fit", "fit_predict", "predict", "predict_proba", "score_samples", "score", "bic", "aic", "sample"),
        *("get_params", "set_params", "get_metadata_routing", "__sklearn_tags__"),
    ):
        ours, theirs = (
            list(inspect.signature(getattr(cls, name)).parameters.values())
            for cls in (GaussianMixture, sklearn.mixture.GaussianMixture)
        )
        shared, extra = ours[: len(theirs)], ours[len(theirs) :]
        assert [(p.name, p.kind, p.default) for p in shared] == [(p.name, p.kind, p.default) for p in theirs], name
        assert all(p.kind is p.KEYWORD_ONLY for p in extra), name


def test_nothing_is_checked_or_changed_before_fit(X):
    odd = {name: object() for name in inspect.signature(GaussianMixture).parameters}
    for model in (GaussianMixture(**odd), GaussianMixture().set_params(**odd)):
        assert all(model.get_params()[name] is value for name, value in odd.items())
    given = problems.start_of("full", problems.start_from_rows("full", X, K))
    lists = {name: value.tolist() for name, value in given.items()}
    model = GaussianMixture(K, max_iter=2, tol=0, **lists)
    with problems.no_convergence_warning():
        model.fit(X)
    for name, value in lists.items():
        assert model.get_params()[name] is value
        assert value == given[name].tolist()


PARAMETERS_THAT_ACT = {
    "n_components": (2, 3),
    "covariance_type": ("full", "diag"),
    "tol": (1e-1, 1e-9),
    "reg_covar": (0.0, 1.0),
    "max_iter": (1, 3),
    "n_init": (1, 8),
    "init_params": ("random", "random_from_data"),
    "weights_init": (None, [0.1, 0.2, 0.7]),
    "means_init": (None, [[0.0, 0.0], [1.0, 1.0], [5.0, 5.0]]),
    "precisions_init": (None, np.tile(9.0 * np.eye(D), (3, 1, 1))),
    "on_collapse": ("floor", "drop"),
    "covariance_floor": (None, 0.5),
    "fixed": (None, {"means": True}),
    "split_merge": (0, 2),
    "equal_weights": (False, True),
    "prior": (None, "conjugate"),
    "noise": (None, True),
    "random_state": (0, 1),
    "warm_start": (False, True),
    "verbose": (0, 1),
    "verbose_interval": (1, 2),
    "n_threads": (1, 2),
    "missing": ("em", "raise"),
    "acceleration": (None, "lbfgs", "squarem"),
    "stopping": ("gain", "aitken"),
    "max_time": (None, 0),
    "callback": (None, lambda state: True),
    "progress": (False, True),
    "max_memory": (None, "1 GB"),
    "step_decay": (0.6, 1.0),
    "forgetting": (0.0, 0.5),
}


@pytest.mark.parametrize("name", inspect.signature(GaussianMixture).parameters)
def test_every_parameter_acts(X, name, capsys, monkeypatch):
    """Promise 60: none is accepted and unused. Two values give two models, outputs, or numbers of threads."""
    from fastgmm.sources import array

    threads = []
    resolve = array.resolve
    monkeypatch.setattr(array, "resolve", lambda n_threads: threads.append(n_threads) or resolve(n_threads))
    seen = []
    for value in PARAMETERS_THAT_ACT[name]:
        base = {"n_components": 3, "init_params": "random_from_data", "random_state": 3, "max_iter": 5}
        base |= {"verbose": name == "verbose_interval", "tol": 0.1 if name == "stopping" else 0.0}
        if name == "on_collapse":  # two components of one place
            base |= {"means_init": [[0.0, 0.0], [0.0, 0.0], [5.0, 5.0]], "covariance_floor": 0.5}
        if name == "fixed":
            base |= {"means_init": [[0.0, 0.0], [1.0, 1.0], [5.0, 5.0]]}
        if name == "missing":
            X = np.where(np.eye(*X.shape, dtype=bool), np.nan, X)
        if name == "missing" and value == "raise":
            with pytest.raises(ValueError, match="contains NaN"):
                GaussianMixture(missing=value).fit(X)
            return
        threads.clear()
        with problems.no_convergence_warning():
            model = GaussianMixture(**{**base, name: value}).fit(X)
            if name == "warm_start":
                model.fit(X)
            if name in ("step_decay", "forgetting"):
                model.partial_fit(X[:20])
        shown = "".join(capsys.readouterr())
        seen.append((model.means_.tobytes(), shown, tuple(threads)))
    by_means = name not in ("verbose", "verbose_interval", "n_threads", "progress", "max_memory")
    assert (seen[0][0] != seen[1][0]) == by_means
    assert seen[0] != seen[1]


@pytest.mark.parametrize(
    "numbers",
    [
        {"n_components": np.int8(K), "max_iter": np.uint8(90), "n_init": np.uint64(2), "verbose_interval": np.int16(1)},
        {"tol": np.float32(0.125), "reg_covar": np.float16(0.25), "n_threads": np.int8(1)},
        {"tol": Fraction(1, 8), "reg_covar": Fraction(1, 4), "warm_start": np.False_, "verbose": np.False_},
        {"tol": 0, "reg_covar": 1},
    ],
    ids=str,
)
def test_numbers_of_any_kind_are_numbers(X, numbers):
    kinds = {**{name: type(value) for name, value in GaussianMixture().get_params().items()}, "n_threads": int}
    plain = {name: kinds[name](value) for name, value in numbers.items()}
    options = {"n_components": K, "random_state": 0}
    with problems.no_convergence_warning():
        one, other = (GaussianMixture(**{**options, **given}).fit(X) for given in (numbers, plain))
    problems.assert_same_fit(one, other)
    assert one.n_iter_ == other.n_iter_


@by_family
def test_estimator_is_a_coat_over_fit(X, weight, family):
    """Whatever is asked for, the bits are those of `fastgmm.fit`."""
    labels = np.arange(N) % K
    given = problems.start_of(family, problems.start_from_rows(family, X, K))
    for options in (
        {"init_params": "kmeans", "n_init": 3},
        {"init_params": "k-means++", "reg_covar": 0.1},
        {"init_params": "random", "tol": 0.1},
        {"init_params": labels},
        {"init_params": np.eye(K)[labels]},
        {"init_params": lambda X, n_components, random_state: np.asarray(X)[[0, 50, 100]]},
        given,
    ):
        options = {"covariance_type": family, "random_state": 5, "max_iter": 200, **options}
        result = fastgmm.fit(X, K, sample_weight=weight, **options)
        model = GaussianMixture(K, **options).fit(X, sample_weight=weight)
        assert model.to_mixture() == result.mixture
        assert (model.n_iter_, model.converged_, model.lower_bound_, model.lower_bounds_) == (
            *(result.n_iter, result.converged, result.lower_bound, result.lower_bounds),
        )


@pytest.mark.parametrize("seed", [7, np.int64(7), np.random.SeedSequence(7)])
def test_seed_gives_the_same_on_every_call(X, seed):
    model = GaussianMixture(K, init_params="random", random_state=seed)
    first = model.fit(X).sample(5)[0], model.means_
    again = model.fit(X).sample(5)[0], model.means_
    assert all(map(problems.same_bits, first, again))


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_generator_is_advanced(X, make):
    model = GaussianMixture(K, init_params="random_from_data", random_state=make(7), max_iter=0)
    one, two = model.fit(X).means_, model.fit(X).means_
    assert not problems.same_bits(one, two)
    model.set_params(random_state=make(7))
    assert problems.same_bits(model.fit(X).means_, one)


def test_without_a_seed_numpys_global_one_decides(X):
    drawn = []
    state = np.random.mtrand._rand.get_state()
    try:
        for _ in range(2):
            np.random.mtrand._rand.seed(3)
            model = GaussianMixture(K, init_params="random_from_data", max_iter=0).fit(X)
            drawn.append((model.means_.tobytes(), model.sample(3)[0].tobytes()))
    finally:
        np.random.mtrand._rand.set_state(state)
    assert drawn[0] == drawn[1]


# ----------------------------------------------------------------------------------------------- attributes

COVARIANCE_SHAPES = {"full": (K, D, D), "tied": (D, D), "diag": (K, D), "spherical": (K,)}


@by_dtype
@by_family
def test_fitted_attributes(X, family, dtype):
    model = GaussianMixture(K, covariance_type=family, random_state=0).fit(X.astype(dtype))
    assert {name for name in vars(model) if name.endswith("_") and not name.startswith("_")} == FITTED
    shapes = {"weights_": (K,), "means_": (K, D)}
    for name in problems.FITTED_ARRAYS:
        value = getattr(model, name)
        assert value.shape == shapes.get(name, COVARIANCE_SHAPES[family]), name
        assert value.dtype == dtype, name
        assert value.flags.writeable, name
    assert [type(getattr(model, name)) for name in ("converged_", "n_iter_", "lower_bound_", "n_features_in_")] == [
        *(bool, int, float, int),
    ]
    assert model.n_features_in_ == D
    assert (model.converged_, model.n_failed_inits_, model.collapses_) == (True, 0, [])
    assert isinstance(model.lower_bounds_, list)
    assert all(type(bound) is float for bound in model.lower_bounds_)
    assert len(model.lower_bounds_) == model.n_iter_
    assert model.lower_bounds_[-1] == model.lower_bound_


@by_family
def test_precisions_invert_covariances(X, family):
    """Precision = U U^T with U upper triangular; 1/sigma for diag and spherical; 1e-12 for condition 10."""
    model = GaussianMixture(K, covariance_type=family, random_state=0).fit(X)
    U = model.precisions_cholesky_
    if family in ("full", "tied"):
        np.testing.assert_array_equal(U, np.triu(U))
        np.testing.assert_allclose(model.precisions_, U @ U.swapaxes(-1, -2), rtol=1e-12, atol=1e-14)
        product = model.precisions_ @ model.covariances_
        np.testing.assert_allclose(product, np.broadcast_to(np.eye(D), product.shape), atol=1e-12)
    else:
        np.testing.assert_allclose(model.precisions_, U**2, rtol=1e-15)
        np.testing.assert_allclose(model.precisions_ * model.covariances_, 1.0, rtol=1e-14)


@by_dtype
@by_family
def test_lower_bound_is_the_score_bit_for_bit(X, weight, family, dtype):
    """Promise 6; scikit-learn's belongs to the parameters before the last M-step."""
    X = X.astype(dtype)
    model = GaussianMixture(K, covariance_type=family, random_state=0)
    assert model.fit(X).lower_bound_ == model.score(X)
    assert model.fit(X, sample_weight=weight).lower_bound_ == model.score(X, sample_weight=weight)


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", ">f8", "f2", "g", "i1", "u8", "?", "O"])
def test_float32_stays_and_all_else_is_float64(X, dtype):
    model = GaussianMixture(2, random_state=0).fit((10 * X).astype(dtype))
    for name in problems.FITTED_ARRAYS:
        assert getattr(model, name).dtype == (np.float32 if dtype == "f4" else np.float64)
        assert getattr(model, name).dtype.isnative


def test_float32_parameters_score_float64_rows_in_float64(X):
    model = GaussianMixture(K, random_state=0).fit(X.astype(np.float32))
    assert model.score_samples(X).dtype == model.predict_proba(X).dtype == np.float64


@by_family
def test_edited_attributes_are_what_predictions_follow(X, family):
    model = GaussianMixture(K, covariance_type=family, random_state=0).fit(X)
    moved = X + np.array([100.0, 0.0])
    before = model.score_samples(X)
    model.means_[:, 0] += 100.0
    np.testing.assert_allclose(model.score_samples(moved), before, rtol=1e-9)
    model.covariances_ = 4.0 * model.covariances_
    want = sklearn.mixture.GaussianMixture(K, covariance_type=family)
    want.weights_, want.means_, want.covariances_ = model.weights_, model.means_, model.covariances_
    want.precisions_cholesky_ = 0.5 * model.precisions_cholesky_
    np.testing.assert_allclose(model.score_samples(moved), want.score_samples(moved), rtol=1e-10)
    np.testing.assert_allclose(model.precisions_cholesky_, want.precisions_cholesky_, rtol=1e-12, atol=1e-14)


def test_edited_attributes_are_checked(X):
    model = GaussianMixture(K, random_state=0).fit(X)
    for name, value, message in (
        ("weights_", [0.5, 0.6, 0.7], "normalized"),
        ("means_", np.full((K, D), np.nan), "NaN"),
        ("covariances_", np.zeros((K, D, D)), "positive-definite"),
        ("precisions_cholesky_", np.zeros((K, D)), r"shape of \(3, 2, 2\), but got \(3, 2\)"),
    ):
        kept = getattr(model, name)
        setattr(model, name, value)
        with pytest.raises(ValueError, match=message):
            model.predict(X)
        setattr(model, name, kept)
    model.predict(X)


def test_attributes_set_by_hand_make_a_model(X):
    fitted = GaussianMixture(K, random_state=0).fit(X)
    model = GaussianMixture(K)
    model.weights_, model.means_, model.precisions_ = fitted.weights_, fitted.means_, fitted.precisions_
    np.testing.assert_allclose(model.score_samples(X), fitted.score_samples(X), rtol=1e-12)
    np.testing.assert_allclose(model.covariances_, fitted.covariances_, rtol=1e-12, atol=1e-14)


# ----------------------------------------------------------------------------------------------- methods


@by_family
def test_methods_return_what_scikit_learns_do(X, family):
    """The same types and shapes, and the same numbers from the same parameters, to 1e-11."""
    model = GaussianMixture(K, covariance_type=family, random_state=0).fit(X)
    theirs = model.to_sklearn()
    for name in ("predict", "predict_proba", "score_samples"):
        ours, want = getattr(model, name)(X), getattr(theirs, name)(X)
        assert (ours.shape, ours.dtype) == (want.shape, want.dtype), name
        np.testing.assert_allclose(ours, want, rtol=1e-11, atol=1e-13)
    for name in ("score", "bic", "aic"):
        ours, want = getattr(model, name)(X), getattr(theirs, name)(X)
        assert type(ours) is float, name
        assert ours == pytest.approx(want, rel=1e-11)
    assert model.fit(X, np.zeros(N)) is model
    assert model.score(X, np.zeros(N)) == model.score(X, None) == model.score(X)


@by_family
@pytest.mark.parametrize("max_iter", [0, 1, 100])
def test_fit_predict_is_fit_and_predict(X, weight, family, max_iter):
    options = {"covariance_type": family, "random_state": 0, "n_init": 2, "max_iter": max_iter}
    with problems.no_convergence_warning():
        labels = GaussianMixture(K, **options).fit_predict(X, None, sample_weight=weight)
        model = GaussianMixture(K, **options).fit(X, sample_weight=weight)
    assert problems.same_bits(labels, model.predict(X))
    assert labels.dtype == np.int64


@by_family
def test_weights_count_rows_in_every_method(X, weight, family):
    """Integer weights are repetition, to 1e-12; in bic too, whose number of rows is the sum of weights."""
    repeated = np.repeat(X, weight, axis=0)
    start = {"means_init": X[:K], "covariance_type": family, "init_params": "random_from_data", "random_state": 0}
    start |= problems.start_of(family, problems.start_from_rows(family, X, K))
    weighted = GaussianMixture(K, **start).fit(X, sample_weight=weight)
    plain = GaussianMixture(K, **start).fit(repeated)
    problems.assert_close_parameters(family, weighted.to_mixture(), plain.to_mixture(), 1e-11)
    for name in ("score", "bic", "aic"):
        got = getattr(plain, name)(X, sample_weight=weight)
        assert got == pytest.approx(getattr(plain, name)(repeated), rel=1e-12), name
        assert got != getattr(plain, name)(X), name


def test_unit_weights_are_none(X):
    problems.assert_same_fit(
        GaussianMixture(K, random_state=0).fit(X, sample_weight=1.0),
        GaussianMixture(K, random_state=0).fit(X, sample_weight=np.ones(N)),
    )


def test_sample_groups_rows_by_component_or_shuffles(X):
    model = GaussianMixture(K, random_state=0).fit(X)
    rows, labels = model.sample(500)
    assert (rows.shape, rows.dtype, labels.shape, labels.dtype) == ((500, D), np.float64, (500,), np.int64)
    assert (np.diff(labels) >= 0).all()
    assert np.abs(np.bincount(labels, minlength=K) / 500 - model.weights_).max() < 5 * 0.5 / np.sqrt(500)
    mixed, mixed_labels = model.sample(500, shuffle=True)
    assert not (np.diff(mixed_labels) >= 0).all()
    np.testing.assert_array_equal(np.sort(mixed, axis=0), np.sort(rows, axis=0))
    assert model.sample()[0].shape == (1, D)


@pytest.mark.parametrize("far", [1e20, 1e160, 1e300])
def test_probabilities_are_finite_however_far_the_row(X, far):
    """scikit-learn's are NaN from 1e160 on."""
    resp = GaussianMixture(K, random_state=0).fit(X).predict_proba([[far, -far], [0.0, far]])
    np.testing.assert_allclose(resp.sum(axis=1), 1.0, rtol=1e-12)
    assert (resp >= 0).all()


# ----------------------------------------------------------------------------------------------- threads


def test_threads_share_an_estimator(X):
    """Eight predict at once with attributes that were just edited (promise 54)."""
    model = GaussianMixture(K, random_state=0).fit(X)
    want = model.score_samples(X).tobytes()
    for _ in range(20):
        model.means_ = model.means_.copy()
        model.covariances_ = 1.0 * model.covariances_
        with ThreadPoolExecutor(8) as pool:
            got = list(pool.map(lambda _: model.score_samples(X).tobytes(), range(16)))
        assert set(got) == {want}


@by_family
def test_n_threads_changes_no_bit(family):
    X = problems.rows(2, 20_000, 3, K)
    results = []
    for n_threads in (None, 1, 2, 3):
        model = GaussianMixture(K, covariance_type=family, random_state=0, max_iter=3, tol=0, n_threads=n_threads)
        with problems.no_convergence_warning():
            model.fit(X)
        results.append((model, model.predict_proba(X), model.score(X)))
    for model, resp, score in results[1:]:
        problems.assert_same_fit(model, results[0][0])
        assert problems.same_bits(resp, results[0][1])
        assert score == results[0][2]


def test_defaults_are_not_looked_at_again_because_they_meet_their_rules():
    defaults = {name: each.default for name, each in inspect.signature(GaussianMixture).parameters.items()}
    assert GaussianMixture._defaults == {name: value for name, value in defaults.items() if name != "n_components"}
    validate(GaussianMixture._rules, defaults, "GaussianMixture")


def test_defaults_of_subclasses_are_looked_at(X):
    class Impatient(GaussianMixture):
        def __init__(self, n_components=1, *, tol=-1.0):
            super().__init__(n_components, tol=tol)

    with pytest.raises(InvalidParameterError, match="'tol' parameter of Impatient"):
        Impatient().fit(X)
