"""What is missing of rows, given what was observed, under a mixture: its expectation, or draws of it."""

import numpy as np

from fastgmm.engine import score
from fastgmm.engine.gaps import Marginal, separate

__all__ = ["conditional_draws", "conditional_means"]


def conditional_means(gapped, constants, out, n_threads):
    """Write E[x_m | x_o] = sum_k r_k (mu_km + B_k (x_o - mu_ko)) into the gaps of out (N, D).

    Parameters
    ----------
    gapped : GappedRows
    constants : KernelConstants
    out : (N, D) array
    n_threads : int or None
    """
    constants = separate(constants.unpooled())
    for p in gapped.patterns:
        if not len(p.missing):
            continue
        marginal, resp, values = _seen(p, constants, n_threads)
        expected = np.zeros((len(p.rows), len(p.missing)))
        for k in range(constants.n_components):
            expected += resp[:, k, None] * _mean(k, p, marginal, constants, values)
        out[p.rows[:, None], p.missing] = expected


def conditional_draws(gapped, constants, out, rng, n_threads, sides=None):
    """Write draws from p(x_m | x_o) into the gaps of out (draws, N, D): a component of each row, then its values.

    Parameters
    ----------
    gapped : GappedRows
    constants : KernelConstants
    out : (draws, N, D) array
    rng : numpy.random.Generator
    n_threads : int or None
    sides : (D,) array, optional
        Of the box about its mean in which the last component is uniform; None if that is no noise.
    """
    constants = separate(constants.unpooled())
    K = constants.n_components
    for p in gapped.patterns:
        m = len(p.missing)
        if not m:
            continue
        marginal, resp, values = _seen(p, constants, n_threads)
        means = [_mean(k, p, marginal, constants, values) for k in range(K)]
        roots = [_root(marginal.conditional[k]) for k in range(K)]
        border = np.cumsum(resp, axis=1)[:, :-1]
        for draw in out:
            chosen = (rng.random(len(p.rows))[:, None] >= border).sum(axis=1)
            normal, filled = rng.standard_normal((len(p.rows), m)), np.empty((len(p.rows), m))
            for k in range(K):
                here = chosen == k
                if sides is not None and k == K - 1:
                    offsets = (rng.random((here.sum(), m)) - 0.5) * sides[p.missing]
                else:
                    offsets = normal[here] @ roots[k].T
                filled[here] = means[k][here] + offsets
            draw[p.rows[:, None], p.missing] = filled


def _seen(p, constants, n_threads):
    """Return the Marginal of a pattern, responsibilities (n, K) and what was observed (n, d), float64."""
    marginal = Marginal(constants, p.observed, p.missing)
    if p.values is None:
        return marginal, marginal.nothing_observed(None, len(p.rows))[1], np.empty((len(p.rows), 0))
    resp = score(p.values, marginal.constants, resp=True, n_threads=n_threads).resp
    return marginal, resp.astype(np.float64), p.values.array.astype(np.float64)


def _mean(k, p, marginal, constants, values):
    """Return E[x_m | x_o, k], (n, m) or (1, m)."""
    mean = constants.means[k]
    if marginal.regression is None:
        return np.broadcast_to(mean[p.missing], (len(values), len(p.missing)))
    return mean[p.missing] + (values - mean[p.observed]) @ marginal.regression[k].T


def _root(covariance):
    """Return L (m, m) with L L^T the covariance (m, m), or of the variances (m,)."""
    if covariance.ndim == 1:
        return np.diag(np.sqrt(covariance))
    values, axes = np.linalg.eigh(covariance)
    return axes * np.sqrt(np.maximum(values, 0.0))
