"""GaussianMixture's parameters: scikit-learn's and ours, each of which acts, and seeds."""

import inspect
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


@pytest.fixture(scope="module")
def X():
    return problems.rows(3, N, D, K, separation=4.0)


@pytest.fixture(scope="module")
def weight():
    return np.random.default_rng(0).integers(0, 4, N)


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


@pytest.mark.parametrize("family", reference.FAMILIES)
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
