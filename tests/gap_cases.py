"""Mixtures and rows with gaps that more than one test file uses."""

import warnings

import numpy as np
import pytest
import reference_structures as structures

import fastgmm
from fastgmm import covariance

STRUCTURES, NAMES = covariance.names(), covariance.known()
by_structure = pytest.mark.parametrize("name", STRUCTURES)
by_family = pytest.mark.parametrize("name", covariance.SKLEARN)


def mixture_of(name, K, D, rng, apart=3.0):
    """A random mixture of a structure, and its dense covariances."""
    name = {"full": "VVV", "tied": "EEE", "diag": "VVI", "spherical": "VII"}.get(name, name)
    dense = structures.random(name, K, D, rng)
    weights = rng.dirichlet(np.full(K, 5.0))
    return fastgmm.Mixture(weights, apart * rng.standard_normal((K, D)), structures.pack(name, dense), name), dense


def with_gaps(X, share, rng):
    """X with a share of its values missing; of the third row everything."""
    holes = rng.random(X.shape) < share
    if share:
        holes[2] = True
    return np.where(holes, np.nan, X)


def case(name, *, K=3, D=5, n=100, share=0.3, seed=0):
    """A mixture, its dense covariances, and rows of it with gaps."""
    rng = np.random.default_rng((seed, NAMES.index(name)))
    mixture, dense = mixture_of(name, K, D, rng)
    return mixture, dense, with_gaps(mixture.sample(n, random_state=seed, shuffle=True)[0], share, rng)


def fitted(X, K, **options):
    """A fit whose warnings are no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastgmm.NothingObservedWarning)
        warnings.simplefilter("ignore", fastgmm.ConvergenceWarning)
        return fastgmm.fit(X, K, missing="em", **options)
