"""The same start and the same number of iterations give scikit-learn's numbers, to 1e-9 relative, on real data."""

from functools import cache

import numpy as np
import problems
import pytest
import reference
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from fastgmm.fitting import run

TOLERANCE = 1e-9
COMPONENTS = {"iris": 3, "wine": 3, "breast cancer": 2, "digits": 10, "china": 8}
ITERATIONS = {"china": 3}
by_problem = pytest.mark.parametrize("name", COMPONENTS)
by_family = pytest.mark.parametrize("family", reference.FAMILIES)


@cache
def table(name):
    """Rows of a data set; every seventh pixel of the photograph."""
    if name == "china":
        return (datasets.load_sample_image("china.jpg").reshape(-1, 3)[::7] / 255.0).astype(np.float64)
    if name == "digits":
        return PCA(16, random_state=0).fit_transform(datasets.load_digits().data)
    loaders = {"iris": datasets.load_iris, "wine": datasets.load_wine, "breast cancer": datasets.load_breast_cancer}
    return np.ascontiguousarray(loaders[name]().data)


@cache
def pair(name, family, tol, max_iter):
    """(fastgmm's FitResult, scikit-learn's fitted estimator) from the same start."""
    X = table(name)
    start = problems.start_of(family, problems.start_from_rows(family, X, COMPONENTS[name], seed=1))
    options = {"covariance_type": family, "reg_covar": 1e-6, "tol": tol, "max_iter": max_iter, **start}
    with problems.no_convergence_warning():
        theirs = GaussianMixture(COMPONENTS[name], **options).fit(X)
    return run(X, COMPONENTS[name], **options), theirs


@by_family
@by_problem
def test_parameters_equal_scikit_learn(name, family):
    ours, theirs = pair(name, family, 0.0, ITERATIONS.get(name, 10))
    want = reference.Model(theirs.weights_, theirs.means_, theirs.covariances_)
    problems.assert_close_parameters(family, ours.mixture, want, TOLERANCE)
    np.testing.assert_allclose(ours.mixture.weights, want.weights, rtol=TOLERANCE)
    assert ours.mixture.covariances.shape == want.covariances.shape
    dense = [
        reference.dense_covariances(family, c, *want.means.shape) for c in (theirs.precisions_, ours.mixture.precisions)
    ]
    size = np.sqrt(np.diagonal(dense[0], axis1=1, axis2=2))
    error = np.abs(dense[1] - dense[0]) / (size[:, :, None] * size[:, None, :])
    condition = np.linalg.cond(dense[0] / (size[:, :, None] * size[:, None, :])).max()
    assert error.max() <= TOLERANCE * condition  # inverting spends up to one condition number of the agreement


@by_family
@by_problem
def test_log_likelihood_equals_scikit_learn(name, family):
    """Of the result, and of every model on the way (scikit-learn records each before its M-step)."""
    X = table(name)
    ours, theirs = pair(name, family, 0.0, ITERATIONS.get(name, 10))
    np.testing.assert_allclose(ours.lower_bound, theirs.score(X), rtol=TOLERANCE)
    np.testing.assert_allclose(ours.lower_bounds[:-1], theirs.lower_bounds_[1:], rtol=TOLERANCE)
    scale = np.abs(theirs.score_samples(X)).max()
    np.testing.assert_allclose(ours.mixture.score_samples(X), theirs.score_samples(X), atol=TOLERANCE * scale)


@by_family
@by_problem
def test_labels_equal_scikit_learn(name, family):
    X = table(name)
    ours, theirs = pair(name, family, 0.0, ITERATIONS.get(name, 10))
    np.testing.assert_array_equal(ours.mixture.predict(X), theirs.predict(X))


@by_family
@pytest.mark.parametrize("name", ["iris", "wine", "breast cancer", "digits"])
def test_number_of_iterations_equals_scikit_learn(name, family):
    ours, theirs = pair(name, family, 1e-3, 200)
    assert (ours.n_iter, ours.converged) == (theirs.n_iter_, theirs.converged_)


@by_family
def test_criteria_equal_scikit_learn(family):
    """Promise 45: 1e-10."""
    X = table("wine")
    ours, theirs = pair("wine", family, 0.0, 10)
    np.testing.assert_allclose(ours.mixture.bic(X), theirs.bic(X), rtol=1e-10)
    np.testing.assert_allclose(ours.mixture.aic(X), theirs.aic(X), rtol=1e-10)
    assert ours.mixture.n_parameters == theirs._n_parameters()
