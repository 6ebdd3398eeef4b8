"""Plain NumPy twin of the low-rank kind and of mixtures of factor analysers, from dense covariances, in float64.

A component is x = mu + L f + e with f ~ N(0, I_q) and e ~ N(0, diag(psi)): its covariance is diag(psi) + L L^T.
"""

from typing import NamedTuple

import numpy as np

LOG_2PI = np.log(2 * np.pi)


class Model(NamedTuple):
    """weights (K,), means (K, D), psi (K, D), loadings L (K, D, q)."""

    weights: np.ndarray
    means: np.ndarray
    psi: np.ndarray
    loadings: np.ndarray


def random_model(seed, D, K, q, strength=1.5):
    """A model whose loadings are `strength` times as strong as its noise."""
    rng = np.random.default_rng((seed, D, K, q))
    psi = rng.uniform(0.3, 2.0, (K, D))
    loadings = strength * rng.standard_normal((K, D, q))
    return Model(rng.dirichlet(np.full(K, 3.0)), 2.0 * rng.standard_normal((K, D)), psi, loadings)


def draw(model, seed, n_rows, dtype=np.float64):
    """Rows of the model."""
    rng = np.random.default_rng((seed, n_rows))
    K, D, q = model.loadings.shape
    k = rng.integers(K, size=n_rows)
    f, e = rng.standard_normal((n_rows, q)), rng.standard_normal((n_rows, D))
    return (model.means[k] + np.einsum("ndq,nq->nd", model.loadings[k], f) + np.sqrt(model.psi[k]) * e).astype(dtype)


def covariances(model):
    """Dense covariances (K, D, D)."""
    return model.psi[:, :, None] * np.eye(model.psi.shape[1]) + model.loadings @ model.loadings.transpose(0, 2, 1)


def packed(model):
    """Covariances as the library holds them, (K, 1 + q, D): psi, then the loadings row by row."""
    return np.concatenate([model.psi[:, None], model.loadings.transpose(0, 2, 1)], axis=1)


def factors(model):
    """Factors of the low-rank kind (K, 1 + q, D), by singular values: see `fastgmm.engine.KernelConstants`."""
    a = 1 / np.sqrt(model.psi)
    U, s, _ = np.linalg.svd(a[:, :, None] * model.loadings, full_matrices=False)
    return np.concatenate([a[:, None], (U / np.sqrt(1 + s**2)[:, None]).transpose(0, 2, 1)], axis=1)


def axes(factors):
    """The axes (K, q, D) of factors."""
    rows = factors[:, 1:]
    return rows / np.linalg.norm(rows, axis=2, keepdims=True) * factors[:, :1]


def log_norms(model):
    """Constants log pi_k - D / 2 log 2 pi - 1 / 2 log |Sigma_k| (K,)."""
    return np.log(model.weights) - 0.5 * (model.psi.shape[1] * LOG_2PI + np.linalg.slogdet(covariances(model))[1])


def squared_distances(model, X):
    """Mahalanobis distances squared (N, K), by solving with dense covariances."""
    offsets = np.asarray(X, dtype=np.float64)[:, None] - model.means
    solved = np.linalg.solve(covariances(model)[None], offsets[..., None])[..., 0]
    return (offsets * solved).sum(axis=-1)


def log_joint(model, X):
    """Joint log-densities, log pi_k p(x | k) (N, K)."""
    return log_norms(model) - 0.5 * squared_distances(model, X)


def moments(X, resp, pivot, axes):
    """Moments n (K,), s (K, D), S (K, 1 + q, D) about the pivots: sums over dense arrays (N, K, D)."""
    offsets = np.asarray(X, dtype=np.float64)[:, None] - pivot
    t = np.einsum("kqd,nkd->nkq", axes, offsets)
    S = np.concatenate(
        [np.einsum("nk,nkd->kd", resp, offsets**2)[:, None], np.einsum("nk,nkq,nkd->kqd", resp, t, offsets)], axis=1
    )
    return resp.sum(axis=0), np.einsum("nk,nkd->kd", resp, offsets), S


def moments_size(X, resp, pivot, axes):
    """Sums of the sizes of the terms of `moments`: what their rounding is a share of."""
    offsets = np.abs(np.asarray(X, dtype=np.float64)[:, None] - pivot) + np.abs(pivot)
    t = np.einsum("kqd,nkd->nkq", np.abs(axes), offsets)
    S = np.concatenate(
        [np.einsum("nk,nkd->kd", resp, offsets**2)[:, None], np.einsum("nk,nkq,nkd->kqd", resp, t, offsets)], axis=1
    )
    return resp.sum(axis=0), np.einsum("nk,nkd->kd", resp, offsets), S


# ------------------------------------------------------------------------------------------------------- estimation


def responsibilities(model, X):
    """Responsibilities (N, K)."""
    joint = log_joint(model, X)
    joint = np.exp(joint - joint.max(axis=1, keepdims=True))
    return joint / joint.sum(axis=1, keepdims=True)


def log_likelihood(model, X, sample_weight=None):
    """Mean log-likelihood per unit of weight."""
    joint = log_joint(model, X)
    top = joint.max(axis=1)
    density = top + np.log(np.exp(joint - top[:, None]).sum(axis=1))
    return np.average(density, weights=sample_weight)


def em_step(model, X, *, isotropic=False, reg_covar=0.0, sample_weight=None):
    """One step of EM with dense scatter matrices: parameter-expanded, so that the latent covariance is taken into L."""
    resp = responsibilities(model, X) * (np.ones(len(X)) if sample_weight is None else sample_weight)[:, None]
    n = resp.sum(axis=0)
    means = (resp.T @ X) / n[:, None]
    psi, loadings = np.empty_like(model.psi), np.empty_like(model.loadings)
    sigma = covariances(model)
    for k, L in enumerate(model.loadings):
        offsets = X - means[k]
        S = (resp[:, k, None] * offsets).T @ offsets / n[k]
        beta = L.T @ np.linalg.inv(sigma[k])
        theta = np.eye(L.shape[1]) - beta @ L + beta @ S @ beta.T
        regressed = S @ beta.T @ np.linalg.inv(theta)  # the L of Ghahramani and Hinton
        psi[k] = np.diag(S - regressed @ beta @ S)
        loadings[k] = regressed @ np.linalg.cholesky(theta)
        if isotropic:
            psi[k] = psi[k].mean()
    return Model(n / n.sum(), means, psi + reg_covar, loadings)


def latent_means(model, X, labels):
    """E[f | x] (N, q) in given components."""
    beta = model.loadings.transpose(0, 2, 1) @ np.linalg.inv(covariances(model))
    return np.einsum("nqd,nd->nq", beta[labels], X - model.means[labels])
