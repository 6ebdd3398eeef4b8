"""The structures of Celeux and Govaert: M-steps against the twin and against all that is feasible, and what fits do."""

import numpy as np
import problems
import pytest
import reference
import reference_structures as twin
from sklearn.datasets import load_iris

import fastgmm
from fastgmm import covariance
from fastgmm.covariance import Parameters
from fastgmm.engine import Statistics, accumulate_given
from fastgmm.fitting.mstep import floor_of
from fastgmm.sources import ArraySource

COUPLED = tuple(name for name in covariance.names() if name not in twin.ALIASES)
by_structure = pytest.mark.parametrize("name", covariance.names())
by_coupled = pytest.mark.parametrize("name", COUPLED)
by_size = pytest.mark.parametrize(("K", "D"), [(1, 1), (1, 5), (4, 1), (3, 4), (7, 9)])


def dense(name, covariances, K, D):
    """Covariances of a structure as (K, D, D)."""
    return covariance.get(name).dense_covariances(covariances, K, D)


def nearest(name, S, mass, floor=None):
    """Covariances of the M-step (K, D, D) from sample covariances (K, D, D) and masses (K,)."""
    K, D = S.shape[:2]
    family, W = covariance.get(name), mass[:, None, None] * S
    kind = family.statistics_kind()
    variances = np.diagonal(W, axis1=1, axis2=2)
    moments = {"full": W, "diagonal": variances, "spherical": variances.sum(axis=1)}[kind]
    nothing = {"log_likelihood": 0.0, "total_weight": mass.sum(), "n_rows": 0}
    stats = Statistics(kind, mass, np.zeros((K, D)), moments, np.zeros((K, D)), np.zeros(D), **nothing)
    return dense(name, family.estimate(stats, floor=floor)[2], K, D)


# ----------------------------------------------------------------------------------------------- registry


def test_registry_has_mclusts_names_and_scikit_learns():
    assert covariance.names(n_features=1) == ("E", "V")
    for name in covariance.names():
        family = covariance.get(name)
        assert family.name == twin.ALIASES.get(name, name)
        assert family.container == twin.container(name)
    for name, general in (("E", "EII"), ("V", "VII")):
        fastgmm.Mixture([1.0], [[0.0]], [1.0], name)
        message = f"covariance_type='{name}' is for one feature, got 2; for more it is '{general}'"
        with pytest.raises(fastgmm.InvalidParameterError, match=message):
            fastgmm.Mixture([1.0], [[0.0, 0.0]], [1.0], name)
        with pytest.raises(fastgmm.InvalidParameterError, match=message):
            fastgmm.fit(np.eye(4, 2), covariance_type=name)
    with pytest.raises(fastgmm.InvalidParameterError, match=r"one of 'full', 'tied', .*'EEV', .* got 'eev'"):
        fastgmm.fit(np.eye(4, 2), covariance_type="eev")


@by_structure
@by_size
def test_parameters_are_counted_letter_by_letter(name, K, D):
    assert covariance.get(name).n_parameters(K, D) == twin.n_parameters(name, K, D)


# ----------------------------------------------------------------------------------------------- M-step


@by_structure
@by_size
@pytest.mark.parametrize("reg_covar", [0.0, 0.5])
def test_maximise_matches_twin(name, K, D, reg_covar):
    X = problems.rows(2, 300, D, K)
    rng = np.random.default_rng(2)
    resp, weight = rng.dirichlet(np.ones(K), len(X)), rng.uniform(0.1, 2, len(X))
    family, centre = covariance.get(name), X.mean(axis=0)
    options = {"resp": resp, "shift": centre, "sample_weight": weight}
    stats = accumulate_given(X, family.kind, np.tile(centre, (K, 1)), **options)
    free = reference.maximise("full", X, resp, sample_weight=weight)
    mass = free.weights * weight.sum()
    ours = family.maximise(stats, reg_covar=reg_covar)
    S = free.covariances + reg_covar * np.eye(D)
    mine = dense(name, ours.covariances, K, D)
    start = np.linalg.eigh(mine[0])[1]
    theirs = reference.Model(free.weights, free.means, twin.m_step(name, S, mass, start))
    problems.assert_close_parameters("full", reference.Model(ours.weights, ours.means, mine), theirs, 1e-9)
    assert ours.covariances.shape == family.covariance_shape(K, D) == twin.pack(name, theirs.covariances).shape


@by_structure
@pytest.mark.parametrize("condition", [10.0, 1e4, 1e8])
@pytest.mark.parametrize(("K", "D"), [(2, 2), (5, 3), (3, 6)])
@pytest.mark.parametrize("seed", [3, 4, 5])
def test_m_step_beats_a_thousand_feasible_perturbations(name, condition, K, D, seed):
    rng = np.random.default_rng((seed, K, D))
    S, mass = twin.samples(rng, K, D, condition)
    best = nearest(name, S, mass)
    value = twin.objective(best, S, mass)
    rounding = 64 * np.finfo(float).eps * condition * mass.sum()
    others = twin.perturbed(name, best, np.repeat([1e-4, 1e-3, 1e-2, 0.1, 0.5], 200), rng)
    assert twin.objective(others, S, mass).min() >= value - rounding


# ----------------------------------------------------------------------------------------------- fits

# Log-likelihoods of iris from the species as labels, three components: covariance_models, section 9, and mclust.
IRIS = {
    "EII": -401.80217579,
    "VII": -384.31409506,
    "EEI": -361.42552204,
    "VEI": -339.46872726,
    "EVI": -340.08558074,
    "VVI": -306.86046051,
    "EEE": -256.35404313,
    "VEE": -237.56016280,
    "EVE": -234.14023506,
    "VVE": -214.05320779,
    "EEV": -214.85037887,
    "VEV": -186.07328340,
    "EVV": -205.53588082,
    "VVV": -180.18547713,
}


@by_structure
@pytest.mark.parametrize("acceleration", [None, "squarem", "lbfgs"])
def test_iris_ends_where_it_is_known_to_end(name, acceleration):
    X, species = load_iris(return_X_y=True)
    options = {"init_params": species, "reg_covar": 0.0, "tol": 1e-13, "max_iter": 5000}
    result = fastgmm.fit(X, 3, covariance_type=name, acceleration=acceleration, **options)
    path = len(X) * np.array(result.lower_bounds)
    assert abs(path[-1] - IRIS[name]) <= 1e-8 * abs(IRIS[name])
    assert np.diff(path).min() >= -64 * np.finfo(float).eps * abs(path[-1])


def least_of(name, X, share):
    """A floor as a matrix, for a structure: what no covariance may be below."""
    if twin.container(name) == "spherical":
        return share * np.eye(X.shape[1]) * X.var(axis=0).mean()
    if twin.container(name) == "diag":
        return share * np.diag(X.var(axis=0))
    matrix = share * reference.floor_matrix(X)
    if name in ("EVE", "VVE", "EEV", "VEV"):
        return np.linalg.eigvalsh(matrix)[0] * np.eye(X.shape[1])
    return matrix


@by_coupled
@pytest.mark.parametrize("share", [1e-6, 0.1, 0.5, 1.0])
def test_m_step_above_a_floor_beats_all_that_is_feasible(name, share):
    """From sample covariances of which one has no variance along an axis, and one none at all."""
    K, D = 4, 3
    rng = np.random.default_rng(8)
    X, (S, mass) = problems.rows(8, 200, D, 2), twin.samples(rng, K, D)
    S[1], S[2] = np.diag([1.0, 0.0, 2.0]), 0.0
    least, floor = least_of(name, X, share), floor_of(ArraySource(X), covariance.get(name), share)
    best = nearest(name, S, mass, floor=floor)

    whiten = np.linalg.inv(np.linalg.cholesky(least))

    def relative(covariances):
        """Eigenvalues of covariances in units of the floor."""
        return np.linalg.eigvalsh(whiten @ covariances @ whiten.T)

    assert relative(best).min() >= 1 - 64 * np.finfo(float).eps * relative(best).max()
    others = twin.perturbed(name, best, np.repeat([1e-4, 1e-3, 1e-2, 0.1], 250), rng)
    lowest = np.minimum(relative(others).min(axis=(1, 2)), 1)
    others = others / lowest[:, None, None, None]  # larger as a whole, where they are below
    value = twin.objective(best, S, mass)
    assert twin.objective(others, S, mass).min() >= value - 1e-10 * abs(value)


@by_coupled
@pytest.mark.parametrize("share", [1e-3, 0.1, 0.9])
def test_log_likelihood_never_falls_above_a_floor(name, share):
    X = problems.rows(5, 300, 3, 3)
    options = {"covariance_type": name, "covariance_floor": share, "reg_covar": 0.0, "random_state": 0}
    with problems.no_convergence_warning():
        result = fastgmm.fit(X, 4, tol=0.0, max_iter=100, **options)
    assert np.diff(result.lower_bounds).min() >= -64 * np.finfo(float).eps * abs(result.lower_bound)


@by_coupled
def test_structure_is_asked_of_covariances_that_are_given(name):
    K, D = 3, 4
    good = twin.random(name, K, D, np.random.default_rng(6))
    bad = twin.random("VVV", K, D, np.random.default_rng(6))
    if twin.container(name) != "full":
        bad = twin.random("VVI", K, D, np.random.default_rng(6))
    if twin.container(name) == "spherical":
        bad = twin.random("VII", K, D, np.random.default_rng(6))
    weights, means = np.full(K, 1 / K), np.zeros((K, D))
    mixture = fastgmm.Mixture(weights, means, twin.pack(name, good), name)
    np.testing.assert_allclose(mixture.covariances, twin.pack(name, good))
    fastgmm.Mixture(weights, means, twin.pack(name, good).astype(np.float32), name)
    message = f"'{name} covariance' should have the structure {name}: "
    with pytest.raises(ValueError, match=message):
        fastgmm.Mixture(weights, means, twin.pack(name, bad), name)
    X, wrong = problems.rows(6, 100, D, K), twin.pack(name, np.linalg.inv(bad))
    with pytest.raises(ValueError, match=f"'{name} precision' should have the structure {name}: "):
        fastgmm.fit(X, K, covariance_type=name, precisions_init=wrong)


@by_coupled
def test_coordinates_come_back(name):
    """Also from between two members, where it is a member again."""
    K, D = 3, 4
    family, rng, scale = covariance.get(name), np.random.default_rng(7), np.array([0.1, 1.0, 3.0, 10.0])
    there = []
    for _ in range(2):
        packed = twin.pack(name, twin.random(name, K, D, rng))
        factors = family.from_covariances(packed, K, D)
        there.append(family.to_coordinates(factors, scale))
        back, again = family.from_coordinates(there[-1], scale)
        np.testing.assert_allclose(back, packed, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(again, factors, rtol=1e-9, atol=1e-12)
    for step in (0.5, -1.0, 2.0):
        covariances, factors = family.from_coordinates(there[0] + step * (there[1] - there[0]), scale)
        params = family.feasible(Parameters(np.full(K, 1 / K), np.zeros((K, D)), covariances, factors))
        given = {"precisions_cholesky": params.precisions_cholesky}
        fastgmm.Mixture(*params.arrays()[:3], name, **given)  # refused if it were none
