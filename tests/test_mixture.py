"""Mixture: an immutable distribution, whichever form of its covariances it was made from, and its copies and files."""

import copy
import dataclasses
import pickle
import re

import cloudpickle
import numpy as np
import pandas
import problems
import pytest
import reference
from sklearn.mixture import GaussianMixture

import fastgmm
from fastgmm import Mixture, ModelFileError, covariance
from fastgmm.fitting import run
from fastgmm.mixture import as_mixture
from fastgmm.selection import merge_components

K, D = 3, 4
NAMES = ("a", "b", "c", "d")
FORMS = ("covariances", "precisions", "precisions_cholesky")
ARRAYS = ("weights", "means", *FORMS)
by_family = pytest.mark.parametrize("family", reference.FAMILIES)
by_dtype = pytest.mark.parametrize("dtype", ["float64", "float32"])


def mixture_of(family, dtype="float64", **options):
    """A mixture of K components in D features."""
    params = (np.asarray(array, dtype=dtype) for array in problems.model(family, 1, D, K))
    return Mixture(*params, covariance_type=family, **options)


@pytest.fixture
def round_mixture():
    return Mixture([0.25, 0.75], [[0.0, 0.0], [4.0, 4.0]], [1.0, 2.0], "spherical")


def test_what_was_fitted_stands_for_its_mixture(round_mixture):
    X, _ = round_mixture.sample(60, random_state=0)
    result, estimator = fastgmm.fit(X, 2, random_state=0), fastgmm.GaussianMixture(2, random_state=0).fit(X)
    assert as_mixture(round_mixture) is round_mixture
    assert as_mixture(result) is result.mixture
    assert as_mixture(estimator) == result.mixture
    searched = fastgmm.GaussianMixtureSelector(2, covariance_type="VVV", random_state=0).fit(X)
    for fitted in (result, estimator, searched):
        assert merge_components(X, fitted).mixture == as_mixture(fitted)
    for other in (X, None, GaussianMixture(2).fit(X), "model.npz"):
        with pytest.raises(fastgmm.InvalidParameterError, match=f"FitResult, got {type(other).__name__}"):
            as_mixture(other)
    with pytest.raises(fastgmm.NotFittedError):
        as_mixture(fastgmm.GaussianMixture())


# ----------------------------------------------------------------------------------------------- parameters


@by_dtype
@by_family
def test_parameters_have_scikit_learns_shapes_and_meaning(family, dtype):
    """scikit-learn computes the same densities from the arrays as they are."""
    mixture = mixture_of(family, dtype)
    theirs = GaussianMixture(K, covariance_type=family)
    for name in ARRAYS:
        assert getattr(mixture, name).dtype == dtype
        setattr(theirs, f"{name}_", getattr(mixture, name))
    X = problems.rows(2, 50, D, K).astype(dtype)
    np.testing.assert_allclose(
        theirs.score_samples(X), mixture.score_samples(X), rtol=2e-4 if dtype == "float32" else 1e-11
    )
    assert mixture.covariances.shape == mixture.precisions.shape == mixture.precisions_cholesky.shape
    assert mixture.covariances.shape == covariance.get(family).covariance_shape(K, D)
    dense = reference.dense_covariances(family, mixture.covariances.astype(float), K, D)
    inverse = reference.dense_covariances(family, mixture.precisions.astype(float), K, D)
    np.testing.assert_allclose(
        dense @ inverse, np.tile(np.eye(D), (K, 1, 1)), atol=1e-4 if dtype == "float32" else 1e-12
    )


@by_family
def test_sizes(family):
    mixture = mixture_of(family, feature_names=NAMES)
    theirs = GaussianMixture(K, covariance_type=family)
    theirs.means_ = mixture.means
    assert (mixture.n_components, mixture.n_features, mixture.n_parameters) == (K, D, theirs._n_parameters())
    assert mixture.covariance_type == mixture.family.name == family
    assert mixture.feature_names == NAMES


@by_family
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_mixture(family, form):
    """What was given stays as it was, bit for bit; the others follow."""
    whole = mixture_of(family)
    given = np.array(getattr(whole, form))
    made = Mixture(whole.weights, whole.means, covariance_type=family, **{form: given})
    problems.assert_close_parameters(family, made, whole, 1e-12)
    if form != "precisions":  # computed on each access
        assert problems.same_bits(getattr(made, form), given)
    np.testing.assert_allclose(made.precisions, whole.precisions, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(made.precisions_cholesky, whole.precisions_cholesky, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("family", ["full", "tied"])
def test_any_square_factor_becomes_the_triangular_one(family):
    """People take the lower Cholesky factor of the precisions, whose U U^T is the same."""
    whole = mixture_of(family)
    other = np.linalg.cholesky(whole.precisions)
    made = Mixture(whole.weights, whole.means, covariance_type=family, precisions_cholesky=other)
    np.testing.assert_allclose(made.precisions_cholesky, whole.precisions_cholesky, rtol=1e-11, atol=1e-12)
    assert problems.same_bits(made.precisions_cholesky, np.triu(made.precisions_cholesky))


@by_family
def test_forms_that_disagree_are_refused(family):
    whole = mixture_of(family)
    forms = {form: np.array(getattr(whole, form)) for form in FORMS}
    assert Mixture(whole.weights, whole.means, covariance_type=family, **forms) == whole
    for changed in ("covariances", "precisions"):
        with pytest.raises(ValueError, match=f"disagree: '{changed[:-1]}'"):
            Mixture(whole.weights, whole.means, covariance_type=family, **{**forms, changed: 1.001 * forms[changed]})


def test_type_is_float32_only_if_all_that_was_given_is(round_mixture):
    single = [np.asarray(getattr(round_mixture, name), dtype="float32") for name in ("weights", "means", "covariances")]
    assert Mixture(*single, "spherical").dtype == np.float32
    for i in range(3):
        mixed = [array.astype("float64") if i == j else array for j, array in enumerate(single)]
        assert Mixture(*mixed, "spherical").dtype == np.float64
    assert Mixture([1], [[1, 2]], np.eye(2, dtype=int)[None]).dtype == np.float64


def test_layout_of_parameters_does_not_matter():
    whole = mixture_of("full")
    arrays = [
        np.asfortranarray(whole.weights.astype(">f8")),
        whole.means[::-1][::-1],
        np.asfortranarray(whole.covariances),
    ]
    made = Mixture(*arrays)
    problems.assert_same_parameters(made, whole)
    assert made.means.flags.c_contiguous


# ----------------------------------------------------------------------------------------------- immutability


@by_family
def test_nothing_can_be_changed(family):
    mixture = mixture_of(family)
    for name in (*ARRAYS, "feature_names", "parameters", "anything"):
        with pytest.raises(AttributeError, match=f"cannot set '{name}': a Mixture does not change"):
            setattr(mixture, name, 0)
    with pytest.raises(AttributeError, match="a Mixture does not change"):
        del mixture._parameters
    with pytest.raises(dataclasses.FrozenInstanceError):
        mixture.parameters.means = 0
    for name in ARRAYS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(mixture, name)[...] = 0


def test_arrays_that_were_given_are_copied():
    whole = mixture_of("full")
    given = [np.array(getattr(whole, name)) for name in ("weights", "means", "covariances")]
    made = Mixture(*given)
    for array in given:
        array[...] = 7
        assert array.flags.writeable
    problems.assert_same_parameters(made, whole)


def test_from_parameters_takes_a_family_or_its_name_and_checks_the_shape():
    mixture = mixture_of("diag")
    for family in ("diag", covariance.get("diag")):
        assert Mixture.from_parameters(mixture.parameters, family, feature_names=NAMES) == mixture
    with pytest.raises(ValueError, match=r"full covariance.*shape"):
        Mixture.from_parameters(mixture.parameters, "full")


# ----------------------------------------------------------------------------------------------- copies, files


def test_equality_is_of_every_bit(round_mixture):
    arrays = [np.array(getattr(round_mixture, name)) for name in ("weights", "means", "covariances")]
    same = Mixture(*arrays, "spherical", feature_names=["a", "b"])
    assert same == round_mixture
    assert hash(same) == hash(round_mixture)
    assert len({same, round_mixture}) == 1
    arrays[1][0, 0] = np.nextafter(0.0, 1.0)
    assert Mixture(*arrays, "spherical") != round_mixture
    assert Mixture([0.25, 0.75], [[0, 0], [4, 4]], [[1, 1], [2, 2]], "diag") != round_mixture
    assert Mixture(
        *(np.float32(getattr(round_mixture, n)) for n in ("weights", "means", "covariances")), "spherical"
    ) != (round_mixture)
    assert round_mixture != "a mixture"


def test_repr_is_short_and_says_what_it_is(round_mixture):
    assert repr(round_mixture) == (
        "Mixture(n_components=2, n_features=2, covariance_type='spherical', dtype=float64, weights=[0.25 0.75])"
    )
    many = Mixture(np.full(100, 0.01), np.zeros((100, 1)), np.ones(100), "spherical")
    assert len(repr(many)) < 160
    assert "n_components=100" in repr(many)


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {n}": lambda m, n=n: pickle.loads(pickle.dumps(m, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)},
    "cloudpickle": lambda m: pickle.loads(cloudpickle.dumps(m)),
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_have_the_same_bits(how):
    """Promise 47."""
    for family in reference.FAMILIES:
        for dtype in ("float64", "float32"):
            mixture = mixture_of(family, dtype, feature_names=NAMES)
            made = COPIES[how](mixture)
            assert made == mixture
            assert made.feature_names == mixture.feature_names
            assert not made.means.flags.writeable


def test_pickle_is_checked_like_any_other_arrays(round_mixture):
    rebuild, (arrays, *rest) = round_mixture.__reduce__()
    assert rebuild(arrays, *rest) == round_mixture
    arrays["covariances"] = np.array([1.0, -2.0])
    with pytest.raises(ValueError, match="disagree"):
        rebuild(arrays, *rest)


@by_dtype
@by_family
def test_file_gives_the_same_bits_and_predictions(family, dtype, tmp_path):
    """Promise 46; names of features travel along, or are given when saving."""
    mixture = mixture_of(family, dtype, feature_names=NAMES)
    X = problems.rows(3, 100, D, K).astype(dtype)
    mixture.save(tmp_path / "model.npz")
    loaded = fastgmm.load(tmp_path / "model.npz")
    assert loaded == mixture
    assert loaded.feature_names == NAMES
    assert problems.same_bits(loaded.predict_proba(X), mixture.predict_proba(X))
    assert problems.same_bits(loaded.score_samples(X), mixture.score_samples(X))
    mixture.save(str(tmp_path / "named.npz"), feature_names=["é", "2", "", "c"])
    assert fastgmm.load(tmp_path / "named.npz").feature_names == ("é", "2", "", "c")
    with pytest.raises(ValueError, match="4 names"):
        mixture.save(tmp_path / "model.npz", feature_names=["a"])


def nasty(name):
    X = np.random.default_rng(4).standard_normal((120, D))
    if name == "near rank deficient":
        X[:, 3] = X[:, 0] + 1e-7 * X[:, 1]
    return {"scales": X * [1e-6, 1.0, 1e6, 1e9], "offset": X + 1e6, "tiny": X * 1e-30, "equal rows": 0 * X}.get(name, X)


@by_dtype
@by_family
@pytest.mark.parametrize("name", ["near rank deficient", "scales", "offset", "tiny", "equal rows"])
def test_every_fitted_mixture_survives_its_own_checks(name, family, dtype, tmp_path):
    """Files and pickles are checked, and no check may refuse what a fit has made."""
    mixture = run(nasty(name).astype(dtype), 2, covariance_type=family, random_state=0, max_iter=5).mixture
    mixture.save(tmp_path / "model.npz")
    assert fastgmm.load(tmp_path / "model.npz") == mixture
    assert pickle.loads(pickle.dumps(mixture)) == mixture


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weights", [0.5, 0.6], "normalized"),
        ("covariances", [1.0, 3.0], "disagree"),
        ("precisions_cholesky", [1.0, -1.0], "positive"),
    ],
)
def test_file_that_describes_no_mixture_is_refused(round_mixture, name, value, message, tmp_path, monkeypatch):
    monkeypatch.setattr(Mixture, name, np.array(value))
    round_mixture.save(tmp_path / "model.npz")
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match=rf"model\.npz does not describe a mixture.*{message}"):
        fastgmm.load(tmp_path / "model.npz")


# ----------------------------------------------------------------------------------------------- bad parameters

GOOD = {
    "weights": [0.5, 0.5],
    "means": [[0.0, 0.0], [4.0, 4.0]],
    "covariances": np.stack([np.eye(2), 2 * np.eye(2)]),
    "covariance_type": "full",
}
BAD = [
    ({"weights": [0.5, 0.6]}, "weights.*normalized.*1.1"),
    ({"weights": [-0.5, 1.5]}, r"weights.*range \[0, 1\].*max value 1.50000, min value -0.50000"),
    ({"weights": [1.0]}, r"weights.*shape of \(2,\), but got \(1,\)"),
    ({"weights": [np.nan, 0.5]}, "weights.*NaN"),
    ({"weights": ["a", "b"]}, "weights.*real numbers"),
    ({"means": [0.0, 1.0]}, r"means.*\(n_components, n_features\).*\(2,\)"),
    ({"means": np.empty((0, 2))}, r"means.*\(0, 2\)"),
    ({"means": [[0.0, 0.0], [1.0, np.inf]]}, "means.*infinity"),
    ({"means": [[0j, 0.0], [1.0, 1.0]]}, "means.*[Cc]omplex"),
    ({"means": [[0.0], [1.0, 2.0]]}, "means.*inhomogeneous"),
    ({"covariances": None}, "'covariances', 'precisions' and 'precisions_cholesky'"),
    ({"covariances": np.ones((2, 3, 3))}, r"full covariance.*\(2, 2, 2\), but got \(2, 3, 3\)"),
    ({"covariances": np.stack([np.eye(2), np.diag([1.0, -1.0])])}, "full covariance.*positive-definite; component 1"),
    ({"covariances": np.stack([np.eye(2), np.ones((2, 2))])}, "full covariance.*positive-definite; component 1"),
    ({"covariances": np.stack([np.eye(2), [[1.0, 0.5], [0.2, 1.0]]])}, "full covariance.*symmetric"),
    ({"covariances": np.diag([1.0, -1.0]), "covariance_type": "tied"}, "tied covariance.*positive-definite"),
    ({"covariances": [[1.0, 0.5], [0.2, 1.0]], "covariance_type": "tied"}, "tied covariance.*symmetric"),
    ({"covariances": [[1.0, 1.0], [0.0, 1.0]], "covariance_type": "diag"}, "diag covariance.*positive; component 1"),
    ({"covariances": [-1.0, 1.0], "covariance_type": "spherical"}, "spherical covariance.*positive; component 0"),
    ({"covariances": [np.nan, 1.0], "covariance_type": "spherical"}, "spherical covariance.*NaN"),
    ({"covariances": None, "precisions": [0.0, 1.0], "covariance_type": "spherical"}, "spherical precision.*positive"),
    ({"covariances": None, "precisions": [1e-310, 1.0], "covariance_type": "spherical"}, "out of the range of float64"),
    ({"covariances": None, "precisions_cholesky": np.ones((2, 2)), "covariance_type": "tied"}, "tied.*invertible"),
    ({"covariances": None, "precisions_cholesky": [1.0, -1], "covariance_type": "spherical"}, "spherical.*positive"),
    ({"covariances": None, "precisions_cholesky": [1e-200, 1], "covariance_type": "spherical"}, "range of float64"),
    (
        {"covariance_type": "round"},
        "covariance_type must be one of 'full', 'tied', .*'VVV', 'E', 'V', 'mfa:q', 'mppca:q', got 'round'",
    ),
    ({"feature_names": ["a"]}, "feature_names.*2 names.*got 1"),
    ({"feature_names": "ab"}, "feature_names should be strings"),
    ({"feature_names": [1, 2]}, "feature_names should be strings"),
    ({"feature_names": 3}, "feature_names should be strings, but got 3"),
]


@pytest.mark.parametrize(("changed", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_parameter_is_named(changed, message):
    with pytest.raises(ValueError, match=message) as caught:
        Mixture(**{**GOOD, **changed})
    assert not re.search("[Ff]itting", str(caught.value))  # nothing is being fitted here


def test_what_float32_cannot_hold_is_refused():
    """1 / sigma = 1e25 is a float32, and its variance is none."""
    single = [np.ones(1, "float32"), np.zeros((1, 1), "float32")]
    with pytest.raises(ValueError, match="out of the range of float32"):
        Mixture(*single, covariance_type="spherical", precisions_cholesky=np.array([1e25], "float32"))


def test_precisions_beyond_float64_are_infinite():
    mixture = Mixture([1.0], [[0.0]], [1e-310], "spherical")
    assert mixture.precisions == np.inf
    assert np.isfinite(mixture.score_samples([[0.0]])).all()


def test_missing_folder_is_named_by_the_path_that_was_given(round_mixture, tmp_path):
    path = str(tmp_path / "missing" / "model.npz")
    for use in (round_mixture.save, fastgmm.load):
        with pytest.raises(FileNotFoundError) as caught:
            use(path)
        assert caught.value.filename == path


@by_family
def test_variances_next_to_the_smallest_number_come_back_too(family):
    """Their inverses are infinite, their factors are not: the check of a pickle has to do without the squares."""
    variances = np.array([1e-312, 3e-310])
    covariances = {
        "full": variances[:, None, None] * np.eye(2),
        "tied": np.diag(variances),
        "diag": np.stack([variances, variances[::-1]]),
        "spherical": variances,
    }[family]
    mixture = Mixture([0.5, 0.5], np.zeros((2, 2)), covariances, family)
    assert pickle.loads(pickle.dumps(mixture)) == mixture


def test_columns_of_a_frame_are_those_that_the_mixture_names(tmp_path):
    """Not columns that happen to stand in their places: also of a file, but not of a source, whose maker chose them."""
    mixture = mixture_of("full", feature_names=NAMES)
    frame = pandas.DataFrame(mixture.sample(20, random_state=0)[0], columns=NAMES)
    expected = mixture.score_samples(frame.to_numpy())
    assert (mixture.score_samples(frame) == expected).all()
    turned, unnamed = frame[[*reversed(NAMES)]], frame.set_axis(range(D), axis=1)
    assert (mixture.score_samples(unnamed) == expected).all()
    paths = []
    for given in (frame, turned):
        paths.append(str(tmp_path / f"{len(paths)}.parquet"))
        given.to_parquet(paths[-1])
    assert (mixture.score_samples(paths[0]) == expected).all()
    chosen = fastgmm.sources.BatchSource(paths[1], columns=list(NAMES))
    assert (mixture.score_samples(chosen) == expected).all()
    asked = (mixture.score, mixture.predict, mixture.predict_proba, mixture.entropies)
    for X in (turned, paths[1]):
        for ask in (*asked, lambda X: mixture.criterion(X, "icl")):
            with pytest.raises(ValueError, match="same order as they were in fit"):
                ask(X)
    with pytest.raises(ValueError, match="same order as they were in fit"):
        mixture.impute(turned)
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- e\n[^:]*now missing:\n- d"):
        mixture.score(frame.rename(columns={"d": "e"}))
