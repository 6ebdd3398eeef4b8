"""Errors and warnings of GaussianMixture say what scikit-learn's say, word for word, and to whom it concerns."""

import re

import numpy as np
import pytest
import sklearn.mixture

from fastgmm import ConvergenceWarning, GaussianMixture, covariance


def message_of(cls, options, X, method="fit"):
    """Class and text of the error that a fit raises."""
    with pytest.raises((ValueError, TypeError)) as caught:
        getattr(cls(**options), method)(X)
    return str(caught.value)


by_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])
ROWS = np.random.default_rng(1).standard_normal((60, 2))
SAME_MESSAGES = [
    *({"n_components": value} for value in (0, -1, 2.5, "2", None)),
    *({"covariance_type": "round"}, {"covariance_type": None}),
    *({name: value} for name in ("tol", "reg_covar") for value in (-1, np.nan, np.inf, "small", None)),
    *({"max_iter": value} for value in (-1, 1.5, None)),
    *({name: value} for name in ("n_init", "verbose_interval") for value in (0, 1.5, None)),
    *({"warm_start": value} for value in (2, "yes", None)),
    *({"weights_init": value} for value in (3.0, "equal")),
    {"n_components": 70},
    {"n_components": 2, "weights_init": [0.2, 0.3, 0.5]},
    {"n_components": 2, "weights_init": [0.5, 0.6]},
    {"n_components": 2, "weights_init": [[0.5, 0.5]]},
    {"n_components": 2, "means_init": np.zeros((3, 2))},
    {"n_components": 2, "precisions_init": np.zeros((3, 2, 2))},
    {"n_components": 2, "precisions_init": np.zeros((3, 2)), "covariance_type": "diag"},
    {"n_components": 2, "precisions_init": np.zeros((2, 2)), "covariance_type": "diag"},
    {"n_components": 2, "precisions_init": np.zeros(2), "covariance_type": "spherical"},
    {"n_components": 2, "precisions_init": -np.tile(np.eye(2), (2, 1, 1))},
    {"n_components": 2, "precisions_init": -np.eye(2), "covariance_type": "tied"},
    {"n_components": 2, "precisions_init": np.array([[1.0, 2.0], [0.0, 1.0]]), "covariance_type": "tied"},
]


@pytest.mark.parametrize("options", SAME_MESSAGES, ids=str)
def test_message_is_scikit_learns_word_for_word(options):
    ours, theirs = (message_of(cls, options, ROWS) for cls in (GaussianMixture, sklearn.mixture.GaussianMixture))
    if "covariance_type" in options and "among" in theirs:  # a set has no order, and ours has more in it
        (ours, our_names, our_end), (theirs, their_names, their_end) = (
            re.split("[{}]", each) for each in (ours, theirs)
        )
        assert set(our_names.split(", ")) == {
            *their_names.split(", "),
            *map(repr, (*covariance.known(), *covariance.WITH_RANK)),
        }
        assert our_end == their_end
    assert ours == theirs


@pytest.mark.parametrize(
    "rows",
    [ROWS[:1], np.zeros((0, 2)), np.zeros((3, 0)), np.zeros((2, 2, 2)), ROWS[:, 0], np.float64(3.0), ROWS + 1j],
    ids=["one row", "no rows", "no features", "3-D", "1-D", "scalar", "complex"],
)
def test_message_about_rows_is_scikit_learns_word_for_word(rows):
    ours, theirs = (message_of(cls, {}, rows) for cls in (GaussianMixture, sklearn.mixture.GaussianMixture))
    assert ours == theirs


@pytest.mark.parametrize("name", ["predict", "predict_proba", "score_samples", "score", "bic", "aic"])
def test_message_of_use_is_scikit_learns_word_for_word(name):
    ours, theirs = (message_of(cls, {}, ROWS, name) for cls in (GaussianMixture, sklearn.mixture.GaussianMixture))
    assert ours == theirs
    classes = GaussianMixture, sklearn.mixture.GaussianMixture
    texts = []
    for fitted in (cls().fit(ROWS) for cls in classes):
        with pytest.raises(ValueError, match="is expecting 2 features as input") as caught:
            getattr(fitted, name)(ROWS[:, :1])
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_range_of_weights_is_told_the_right_way_round():
    """scikit-learn swaps the two numbers."""
    message = message_of(GaussianMixture, {"n_components": 2, "weights_init": [-0.5, 1.5]}, ROWS)
    assert message == (
        "The parameter 'weights' should be in the range [0, 1], but got max value 1.50000, min value -0.50000"
    )


def test_sum_of_weights_is_told_with_the_digits_that_matter():
    message = message_of(GaussianMixture, {"n_components": 2, "weights_init": [0.5, 0.5 + 3e-7]}, ROWS)
    assert message == "The parameter 'weights' should be normalized, but got sum(weights) = 1.0000003000"


def test_sample_of_nothing_names_what_came():
    """scikit-learn prints n_components."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        GaussianMixture().fit(ROWS).sample(0)
    assert str(caught.value) == "Invalid value for 'n_samples': 0 . The sampling requires at least one sample."


@by_dtype
def test_collapse_is_told_in_scikit_learns_words(dtype):
    rows = np.repeat(ROWS[:2], 5, axis=0).astype(dtype)
    options = {"n_components": 2, "reg_covar": 0.0, "random_state": 0}
    ours, theirs = (message_of(cls, options, rows) for cls in (GaussianMixture, sklearn.mixture.GaussianMixture))
    assert ours == theirs
    assert ("float32" in ours) == (dtype == np.float32)


def test_convergence_warning_is_scikit_learns_at_the_users_line():
    texts = []
    for cls in (GaussianMixture, sklearn.mixture.GaussianMixture):
        with pytest.warns(UserWarning, match="Best performing") as record:
            cls(3, max_iter=1, random_state=0).fit(ROWS)
        texts.append(str(record[0].message))
    assert texts[0] == texts[1]
    with pytest.warns(ConvergenceWarning, match="Best performing") as record:
        GaussianMixture(3, max_iter=1, random_state=0).fit_predict(ROWS)
    assert record[0].filename == __file__
