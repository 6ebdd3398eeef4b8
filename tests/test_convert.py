"""to_sklearn and from_sklearn: exact both ways, in all families."""

import numpy as np
import pandas as pd
import problems
import pytest
import reference
import sklearn.mixture
from sklearn.exceptions import NotFittedError

from fastgmm import GaussianMixture, InvalidParameterError, Mixture

K, D = 3, 3
by_family = pytest.mark.parametrize("family", reference.FAMILIES)
by_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])
SCALARS = ("converged_", "n_iter_", "lower_bound_", "lower_bounds_", "n_features_in_")


@pytest.fixture(scope="module")
def X():
    return problems.rows(4, 300, D, K, separation=4.0)


def assert_same_attributes(a, b):
    for name in problems.FITTED_ARRAYS:
        assert problems.same_bits(getattr(a, name), getattr(b, name)), name
        assert not np.shares_memory(getattr(a, name), getattr(b, name)), name
    for name in SCALARS:
        assert getattr(a, name) == getattr(b, name), name
    assert a.lower_bounds_ is not b.lower_bounds_
    assert hasattr(a, "feature_names_in_") == hasattr(b, "feature_names_in_")
    if hasattr(a, "feature_names_in_"):
        assert a.feature_names_in_.tolist() == b.feature_names_in_.tolist()


@by_dtype
@by_family
def test_there_and_back_is_exact_from_ours(X, family, dtype):
    ours = GaussianMixture(K, covariance_type=family, random_state=0, n_init=2).fit(X.astype(dtype))
    theirs = ours.to_sklearn()
    assert type(theirs) is sklearn.mixture.GaussianMixture  # converters dispatch on the exact class
    assert_same_attributes(ours, theirs)
    back = GaussianMixture.from_sklearn(theirs)
    assert_same_attributes(ours, back)
    assert back.get_params() == ours.get_params()
    assert back.to_mixture() == ours.to_mixture()


@by_dtype
@by_family
def test_there_and_back_is_exact_from_theirs(X, family, dtype):
    theirs = sklearn.mixture.GaussianMixture(K, covariance_type=family, random_state=0).fit(X.astype(dtype))
    ours = GaussianMixture.from_sklearn(theirs)
    assert_same_attributes(ours, theirs)
    assert ours.n_failed_inits_ == 0
    back = ours.to_sklearn()
    assert_same_attributes(back, theirs)
    assert back.get_params() == theirs.get_params()


@by_family
def test_converted_estimators_predict_alike(X, family):
    """Labels exactly, the rest to 1e-11: these are two ways to the same sums."""
    theirs = sklearn.mixture.GaussianMixture(K, covariance_type=family, random_state=0).fit(X)
    ours = GaussianMixture.from_sklearn(theirs)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-11)
    assert ours.bic(X) == pytest.approx(theirs.bic(X), rel=1e-11)


@by_family
def test_either_goes_on_where_the_other_stopped(X, family):
    """warm_start across the conversion: the same further iterations, to 1e-10."""
    options = {"covariance_type": family, "warm_start": True, "tol": 0.0, "max_iter": 3}
    start = problems.start_of(family, problems.start_from_rows(family, X, K))
    with problems.no_convergence_warning():
        theirs = sklearn.mixture.GaussianMixture(K, **options, **start).fit(X)
        ours = GaussianMixture.from_sklearn(theirs).fit(X)
        there = ours.to_sklearn().fit(X)
        theirs.fit(X)
        want = reference.Model(theirs.weights_, theirs.means_, theirs.covariances_)
        problems.assert_close_parameters(family, ours.to_mixture(), want, 1e-10)
        theirs.fit(X)
    problems.assert_close_parameters(
        family,
        reference.Model(there.weights_, there.means_, there.covariances_),
        reference.Model(theirs.weights_, theirs.means_, theirs.covariances_),
        1e-10,
    )


@by_family
def test_warm_start_converges_where_scikit_learns_would(X, family):
    """The bound of the last iteration comes along, so that the first change is judged as scikit-learn judges it."""
    start = problems.start_of(family, problems.start_from_rows(family, X, K))
    for tol in (1.0, 1e-9):  # met by the first change, and by a later one
        theirs = sklearn.mixture.GaussianMixture(K, covariance_type=family, warm_start=True, max_iter=2, **start)
        with problems.no_convergence_warning():
            theirs.fit(X)
        ours = GaussianMixture.from_sklearn(theirs).set_params(tol=tol, max_iter=500).fit(X)
        assert ours.n_iter_ == theirs.set_params(tol=tol, max_iter=500).fit(X).n_iter_
        assert (ours.n_iter_ == 1) == (tol == 1.0)


def test_names_of_features_travel(X):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    ours = GaussianMixture(K, random_state=0).fit(frame)
    theirs = ours.to_sklearn()
    assert_same_attributes(ours, theirs)
    np.testing.assert_array_equal(theirs.predict(frame), ours.predict(frame))
    assert_same_attributes(GaussianMixture.from_sklearn(theirs), ours)


def test_unfitted_stays_unfitted():
    theirs = GaussianMixture(K, tol=1e-5, warm_start=True, verbose=1).to_sklearn()
    assert theirs.get_params() == sklearn.mixture.GaussianMixture(K, tol=1e-5, warm_start=True, verbose=1).get_params()
    with pytest.raises(NotFittedError):
        theirs.predict(np.zeros((2, 2)))
    with pytest.raises(NotFittedError):
        GaussianMixture.from_sklearn(theirs).predict(np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("init_params", np.zeros(300, dtype=int)),
        ("init_params", lambda X, n_components, random_state: X[:n_components]),
        ("random_state", np.random.default_rng(0)),
        ("random_state", np.random.SeedSequence(0)),
        ("tol", -1.0),
    ],
)
def test_parameter_that_scikit_learn_does_not_accept_is_refused(X, name, value):
    """Rather than to leave it out: the other estimator would fit something else."""
    for ours in (GaussianMixture(), GaussianMixture().fit(X)):
        ours.set_params(**{name: value})
        with pytest.raises(InvalidParameterError, match=f"to_sklearn.*'{name}' parameter of GaussianMixture must be"):
            ours.to_sklearn()


def test_every_parameter_goes_both_ways():
    params = {"n_components": 4, "covariance_type": "tied", "tol": 1e-5, "reg_covar": 0.0, "max_iter": 7, "n_init": 2}
    params |= {"init_params": "random", "random_state": 5, "warm_start": True, "verbose": 2, "verbose_interval": 3}
    params |= {"weights_init": [0.25] * 4, "means_init": [[0.0]] * 4, "precisions_init": [[1.0]]}
    defaults = sklearn.mixture.GaussianMixture().get_params()
    assert all(params[name] != default for name, default in defaults.items())
    ours = {
        "on_collapse": "floor",
        "covariance_floor": 0.1,
        "fixed": {"means": True},
        "split_merge": 2,
        "equal_weights": True,
        "prior": "conjugate",
        "noise": 7.0,
        "n_threads": 2,
        "missing": "em",
        "acceleration": "squarem",
        "stopping": "aitken",
        "max_time": 9.0,
        "callback": print,
        "progress": True,
        "max_memory": "1 GB",
        "step_decay": 0.9,
        "forgetting": 0.1,
    }
    assert GaussianMixture(**ours, **params).to_sklearn().get_params() == params
    defaults = {name: GaussianMixture().get_params()[name] for name in ours}
    converted = GaussianMixture.from_sklearn(sklearn.mixture.GaussianMixture(**params))
    assert converted.get_params() == {**params, **defaults}


@pytest.mark.parametrize(
    ("cls", "convert"),
    [(GaussianMixture, GaussianMixture.to_sklearn), (sklearn.mixture.GaussianMixture, GaussianMixture.from_sklearn)],
    ids=["to", "from"],
)
def test_parameters_are_copies(X, cls, convert):
    """A random state that two estimators share would let one change the results of the other."""
    means, state = X[:K].copy(), np.random.RandomState(0)
    there = convert(cls(K, means_init=means, random_state=state))
    assert there.random_state.random_sample() == np.random.RandomState(0).random_sample() == state.random_sample()
    there.means_init[:] = 0.0
    np.testing.assert_array_equal(means, X[:K])


def test_attributes_set_by_hand_travel(X):
    """On either side a model may be made of attributes alone."""
    source = GaussianMixture(K, random_state=0).fit(X)
    ours, theirs = GaussianMixture(K), sklearn.mixture.GaussianMixture(K)
    ours.weights_, ours.means_, ours.covariances_ = source.weights_, source.means_, source.covariances_
    theirs.weights_, theirs.means_ = source.weights_, source.means_
    theirs.precisions_cholesky_ = source.precisions_cholesky_
    np.testing.assert_allclose(ours.to_sklearn().score_samples(X), source.score_samples(X), rtol=1e-12)
    there = GaussianMixture.from_sklearn(theirs)
    assert problems.same_bits(there.precisions_cholesky_, source.precisions_cholesky_)
    np.testing.assert_allclose(there.score_samples(X), source.score_samples(X), rtol=1e-12)


@pytest.mark.parametrize(("dtype", "offset"), [(np.float32, 100.0), (np.float64, 1e6)])
def test_covariance_that_cancellation_left_unsymmetric_is_converted(dtype, offset):
    """scikit-learn's tied covariance is a difference of two sums, of which one rounds its two triangles apart."""
    X = (np.random.default_rng(0).normal(size=(70, 5)) + offset).astype(dtype)
    theirs = sklearn.mixture.GaussianMixture(covariance_type="tied").fit(X)
    assert np.abs(theirs.covariances_ - theirs.covariances_.T).max() > 1e-4
    ours = GaussianMixture.from_sklearn(theirs)
    assert_same_attributes(ours, theirs)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-3)
    mixture = Mixture(theirs.weights_, theirs.means_, theirs.covariances_, "tied")  # reads the triangle that they read
    np.testing.assert_allclose(mixture.precisions_cholesky, theirs.precisions_cholesky_, atol=1e-5)
    theirs.covariances_[0] += 0.1
    with pytest.raises(ValueError, match="'tied covariance' should be symmetric"):
        GaussianMixture.from_sklearn(theirs)


def test_edited_attributes_are_checked_before_they_leave(X):
    ours = GaussianMixture(K, covariance_type="diag", random_state=0).fit(X)
    ours.covariances_ *= 4.0
    theirs = ours.to_sklearn()
    np.testing.assert_allclose(theirs.precisions_cholesky_**-2.0, ours.covariances_, rtol=1e-14)
    ours.covariances_[0] = -1.0
    with pytest.raises(ValueError, match="'diag covariance' should be positive"):
        ours.to_sklearn()


def test_damaged_estimator_of_theirs_is_refused(X):
    theirs = sklearn.mixture.GaussianMixture(K, random_state=0).fit(X)
    theirs.weights_ = theirs.weights_ * 2
    with pytest.raises(ValueError, match="weights"):
        GaussianMixture.from_sklearn(theirs)
    theirs.weights_, theirs.covariances_ = theirs.weights_ / 2, theirs.covariances_ * 2
    with pytest.raises(ValueError, match="disagree"):
        GaussianMixture.from_sklearn(theirs)


@pytest.mark.parametrize(
    "other", [None, "GaussianMixture", sklearn.mixture.BayesianGaussianMixture(), GaussianMixture()], ids=repr
)
def test_only_their_gaussian_mixture_is_converted(other):
    with pytest.raises(TypeError, match=r"estimator must be a sklearn\.mixture\.GaussianMixture\. Got .* instead"):
        GaussianMixture.from_sklearn(other)


def test_subclasses_convert_to_what_they_are(X):
    class Ours(GaussianMixture):
        pass

    class Theirs(sklearn.mixture.GaussianMixture):
        def __init__(self, n_components=1):
            super().__init__(n_components, covariance_type="diag")

    theirs = Ours(K, random_state=0).fit(X).to_sklearn()
    assert type(theirs) is sklearn.mixture.GaussianMixture
    assert type(Ours.from_sklearn(theirs)) is Ours
    fitted = Theirs(K).fit(X)
    assert_same_attributes(GaussianMixture.from_sklearn(fitted), fitted)


@pytest.mark.parametrize("base", [GaussianMixture, sklearn.mixture.GaussianMixture], ids=["to", "from"])
def test_subclass_with_parameters_of_its_own_is_refused(base):
    class Extended(base):
        def __init__(self, n_components=1, *, temperature=1.0):
            super().__init__(n_components)
            self.temperature = temperature

    with pytest.raises(TypeError, match=r"can be converted\. Got Extended\(n_components=3\), which has 'temperature'"):
        Extended(3).to_sklearn() if base is GaussianMixture else GaussianMixture.from_sklearn(Extended(3))
