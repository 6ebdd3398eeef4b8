"""The twin itself, against SciPy, scikit-learn and mpmath: what the engine is compared with must be right first."""

import numpy as np
import problems
import pytest
import reference
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture


@pytest.mark.parametrize("family", reference.FAMILIES)
def test_twin_density_equals_scipy(family):
    X, model = problems.rows(1, 50, 4, 3), problems.model(family, 1, 4, 3)
    dense = reference.dense_covariances(family, model.covariances, 3, 4)
    joint = np.log(model.weights) + np.column_stack(
        [multivariate_normal(m, c).logpdf(X) for m, c in zip(model.means, dense, strict=True)]
    )
    np.testing.assert_allclose(reference.log_joint(reference.constants_of(family, model), X), joint, rtol=1e-12)
    np.testing.assert_allclose(reference.log_density(family, model, X), logsumexp(joint, axis=1), rtol=1e-12)


@pytest.mark.parametrize("family", reference.FAMILIES)
def test_twin_em_step_equals_scikit_learn(family):
    X, model = problems.rows(2, 300, 3, 3), problems.model(family, 2, 3, 3)
    theirs = GaussianMixture(
        3, covariance_type=family, reg_covar=1e-3, max_iter=1, tol=0, **problems.start_of(family, model)
    )
    with problems.no_convergence_warning():
        theirs.fit(X)
    ours, bound = reference.em_step(family, model, X, reg_covar=1e-3)
    np.testing.assert_allclose(bound, theirs.lower_bound_, rtol=1e-12)
    for name in reference.Model._fields:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name + "_"), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("family", reference.FAMILIES)
def test_twin_density_equals_mpmath(family):
    X, model = problems.rows(3, 5, 3, 2), problems.model(family, 3, 3, 2)
    constants = reference.constants_of(family, model)
    dense = reference.dense_factors(constants)
    exact = [float(reference.log_density_mp(model.weights, model.means, dense, x)) for x in X]
    np.testing.assert_allclose(reference.log_density(family, model, X), exact, rtol=1e-13)


def test_twin_lloyd_step_equals_scikit_learn():
    X = problems.rows(4, 200, 3, 4)
    weight = np.random.default_rng(4).uniform(0.5, 2.0, len(X))
    centres, inertia = X[:4], None
    for _ in range(3):
        centres, inertia = reference.lloyd_step(X, centres, weight)
    theirs = KMeans(4, init=X[:4], n_init=1, max_iter=3, tol=0, algorithm="lloyd")
    with problems.no_convergence_warning():
        theirs.fit(X, sample_weight=weight)
    np.testing.assert_allclose(centres, theirs.cluster_centers_, rtol=1e-10)
    assert inertia >= theirs.inertia_  # theirs is after the last step, ours before it
