"""The plain NumPy twin of EM on rows with gaps, row by row with dense covariances. Nothing here imports fastgmm.

With o the observed and m the missing features of a row,

    log p(x_o) = log sum_k pi_k N(x_o; mu_ko, Sigma_koo),
    E[x_m | x_o, k] = mu_km + Sigma_kmo Sigma_koo^-1 (x_o - mu_ko),
    C_k = Cov[x_m | x_o, k] = Sigma_kmm - Sigma_kmo Sigma_koo^-1 Sigma_kom

(Dempster, Laird and Rubin 1977; Ghahramani and Jordan 1994).
"""

import numpy as np
import scipy.linalg
import scipy.special
import scipy.stats


def log_joint(weights, means, dense, x):
    """Return log pi_k p(x_o | k) of one row, (K,); covariances are dense (K, D, D)."""
    o = ~np.isnan(x)
    joint = np.log(weights)
    if o.any():
        for k, (mean, cov) in enumerate(zip(means, dense, strict=True)):
            L = np.linalg.cholesky(cov[np.ix_(o, o)])
            z = scipy.linalg.solve_triangular(L, x[o] - mean[o], lower=True)
            joint[k] += -0.5 * (z @ z + o.sum() * np.log(2 * np.pi)) - np.log(np.diagonal(L)).sum()
    return joint


def conditional(mean, cov, x):
    """The completed row (D,) under one component, and its covariance (D, D), zero where it was observed."""
    o = ~np.isnan(x)
    completed, C = np.where(o, x, mean), np.zeros_like(cov)
    regression = np.linalg.solve(cov[np.ix_(o, o)], cov[np.ix_(o, ~o)]).T
    completed[~o] += regression @ (x[o] - mean[o])
    C[np.ix_(~o, ~o)] = cov[np.ix_(~o, ~o)] - regression @ cov[np.ix_(o, ~o)]
    return completed, C


def e_step(weights, means, dense, X, sample_weight=None, known=None):
    """Log-densities (N,), responsibilities (N, K), and n (K,), means (K, D), scatter about them (K, D, D).

    Rows whose component is known (N,), not negative, have the joint density with it alone.
    """
    X = np.asarray(X, dtype=np.float64)
    w = np.ones(len(X)) if sample_weight is None else sample_weight
    joint = np.array([log_joint(weights, means, dense, x) for x in X])
    if known is not None:
        joint[(known[:, None] >= 0) & (known[:, None] != np.arange(len(weights)))] = -np.inf
    log_density = scipy.special.logsumexp(joint, axis=1)
    resp = np.exp(joint - log_density[:, None])
    n = w @ resp
    new, scatter = np.empty(means.shape), np.empty(dense.shape)
    for k in range(len(n)):
        rows = [conditional(means[k], dense[k], x) for x in X]
        completed = np.array([row for row, _ in rows])
        r = w * resp[:, k]
        new[k] = r @ completed / n[k]
        offset = completed - new[k]
        scatter[k] = (r[:, None] * offset).T @ offset + np.einsum("i,iab->ab", r, np.array([C for _, C in rows]))
    return log_density, resp, n, new, scatter


def expectation(weights, means, dense, X):
    """X with the expectation of what is missing."""
    filled = np.empty(np.shape(X))
    for i, x in enumerate(X):
        joint = log_joint(weights, means, dense, x)
        resp = np.exp(joint - scipy.special.logsumexp(joint))
        filled[i] = resp @ [conditional(mean, cov, x)[0] for mean, cov in zip(means, dense, strict=True)]
    return np.where(np.isnan(X), filled, X)
