"""Mixtures of low rank that tests of them share."""

import numpy as np
import pytest
import reference_low_rank as twin

from fastgmm import Mixture

NAMES = ("mfa", "mppca")
by_name = pytest.mark.parametrize("name", NAMES)


def model_of(name, seed, D, K, q, strength=1.5):
    """A random model of the family."""
    model = twin.random_model(seed, D, K, q, strength)
    if name == "mfa":
        return model
    return model._replace(psi=np.repeat(model.psi[:, :1], D, axis=1))


def mixture_of(name, model, dtype=np.float64):
    """The same as a Mixture."""
    arrays = (array.astype(dtype) for array in (model.weights, model.means, twin.packed(model)))
    return Mixture(*arrays, f"{name}:{model.loadings.shape[2]}")


def start_at(mixture):
    """The mixture as the three ``*_init`` arguments."""
    return {"weights_init": mixture.weights, "means_init": mixture.means, "precisions_init": mixture.precisions}


def twin_of(mixture):
    """The mixture as the twin has it."""
    covariances = mixture.covariances.astype(np.float64)
    return twin.Model(mixture.weights, mixture.means, covariances[:, 0], covariances[:, 1:].transpose(0, 2, 1))
