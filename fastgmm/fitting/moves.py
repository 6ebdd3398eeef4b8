"""Split-and-merge moves out of an optimum: two components become one, and a third becomes two.

Ueda, Nakano, Ghahramani and Hinton (2000), Neural Computation 12:2109. To be merged are components i and j that share
most of their rows, by the cosine of their responsibilities; to be split is the k whose rows differ most from what it
says, by the divergence of its rows, weighted by responsibility, from its density. A component is cut at its mean across
the one of its principal axes on which the halves differ most for their spread.
"""

import itertools

import numpy as np

__all__ = ["proposals"]

FLAT = 1e-10  # share of the largest variance: what varies less along an axis is rounding
MERGES, SPLITS = 4, 3  # pairs that are tried, and components that are split for each


def proposals(source, mixture):
    """Return responsibilities (N, K) of moves, the most promising first; none for fewer than three components.

    Parameters
    ----------
    source : ArraySource
    mixture : Mixture
    """
    if mixture.n_components < 3:
        return []
    scores = source.score(mixture.constants(source.dtype), resp=True, joint=True)
    resp, joint = scores.resp.astype(np.float64), scores.joint.astype(np.float64)
    kept = source.numbers()
    weights = source.weights()
    mass = resp[kept] if weights is None else weights[:, None] * resp[kept]
    deviations = np.sqrt(source.moments()[1])
    rows = source.rows_at(np.arange(source.n_rows)) - source.moments()[0]
    rows = np.divide(rows, deviations, out=np.zeros_like(rows), where=deviations > 0)
    worst = _worst_first(mass, resp[kept], joint[kept])
    moved = []
    for i, j in _pairs(mass, resp[kept])[:MERGES]:
        for k in [k for k in worst if k not in (i, j)][:SPLITS]:
            one = resp.copy()
            one[:, i] += resp[:, j]
            upper = np.zeros(len(resp), dtype=bool)
            upper[kept] = _beyond_mean(rows, mass[:, k])
            one[:, j] = np.where(upper, resp[:, k], 0)
            one[upper, k] = 0
            moved.append(one)
    return moved


def _pairs(mass, resp):
    """Return pairs of components, those that share most of their rows first."""
    shared = resp.T @ mass
    norms = np.sqrt(np.maximum(np.diagonal(shared), np.finfo(np.float64).tiny))
    shared = shared / np.outer(norms, norms)
    return sorted(itertools.combinations(range(len(shared)), 2), key=lambda pair: -shared[pair])


def _worst_first(mass, resp, joint):
    """Return the components that hold rows, the one that fits its rows worst first.

    The divergence of f = r / n from p = exp(joint) / weight is sum f log(f / p), but for what all share.
    """
    n = mass.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(mass > 0, mass * (np.log(resp) - joint), 0.0)
        misfit = terms.sum(axis=0) / n
    holds = np.flatnonzero(n > 2 * mass.sum() / len(mass))  # two rows can be parted
    return holds[np.argsort(-misfit[holds], kind="stable")].tolist()


def _beyond_mean(rows, mass):
    """Return which rows (n, D) lie beyond the mean of those of one component, along the axis on which halves differ.

    The share of the variance along an axis that a cut at the mean explains is (E|x|)^2 / E x^2: 2 / pi for a Gaussian,
    one for two points.
    """
    offsets = rows - mass @ rows / mass.sum()
    along = offsets @ np.linalg.eigh((mass[:, None] * offsets).T @ offsets)[1]
    spread = mass @ along**2 * mass.sum()
    thin = spread <= FLAT * spread.max()
    share = np.divide((mass @ np.abs(along)) ** 2, spread, out=np.zeros_like(spread), where=~thin)
    return along[:, np.argmax(share)] > 0
