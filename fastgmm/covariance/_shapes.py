"""Algebra of volumes and shapes, which structures share: variances v_kj along axes that are known.

With S_kj the sample variances along the axes and n_k the masses, all of them minimise

    sum_k n_k sum_j (log v_kj + S_kj / v_kj)

under what their structure says of v_kj = lambda_k a_kj, and v_kj >= least_j: the floor. Without one:
`fastgmm.engine._structures`.
"""

import numpy as np

__all__ = ["equal_shapes", "equal_volumes", "pooled", "varying"]

MAX_ROUNDS, TOLERANCE = 10_000, 1e-13  # of coordinate descent where a floor is met

NOTHING = 1e-30  # share of a floor: a sample variance of less is none, but has a logarithm


def varying(variances, mass, least):
    """Return the v_kj that minimise with nothing in common: v_kj = max(S_kj, least_j)."""
    return np.maximum(variances, least)


def pooled(variances, mass, least):
    """Return the v_kj that minimise with v_kj = v_j: the average of S_kj, not below least_j."""
    return np.maximum(np.broadcast_to(mass @ variances / mass.sum(), variances.shape), least)


def equal_volumes(variances, mass, least, most=np.inf):
    """Return the v_kj that minimise with equal volumes lambda = prod_j v_kj^(1/D), none larger than `most`."""
    found = _equal_volumes_above(variances, mass, least)
    return found if found.max() <= most else _equal_volumes_within(variances, mass, least, most)


def equal_shapes(variances, mass, least, *, start=None):
    """Return the v_kj that minimise with equal shapes: lambda_k >= 1 and b_j >= least_j in turn, until lambda_k stay.

    Of all factors that could be moved between both, these are what v_kj >= least_j comes to. The objective is convex in
    the logarithms and the constraints are separate, so that coordinate descent ends at the minimum.

    Parameters
    ----------
    variances, mass, least : arrays
    start : (K,) array, optional
        The lambda_k, but for a common factor, that are expected.
    """
    scales = np.ones(len(mass)) if start is None else start / start.min()
    for _ in range(MAX_ROUNDS):
        shape = np.maximum((mass / scales) @ variances / mass.sum(), least)
        before, scales = scales, np.maximum((variances / shape).mean(axis=1), 1.0)
        if np.abs(scales / before - 1).max() <= TOLERANCE:
            break
    return scales[:, None] * shape


def _own(variances, mass, least):
    """Return the logarithms of n_k S_kj, of next to nothing where S_kj is zero."""
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log(np.maximum(variances, 0.0)), np.log(least) + np.log(NOTHING))
    return np.log(mass)[:, None] + logs


def _equal_volumes_above(variances, mass, least):
    """Return `equal_volumes` above a floor.

    Let t_kj = log v_kj and s = sum_j t_kj. For a given s, v_kj = max(least_j, n_k S_kj / m_k), where the multiplier m_k
    is such that the sum is s. In s the objective is convex, with the slope n - sum_k m_k: s is where that is zero, or
    where everything lies at the floor.
    """
    floor = np.broadcast_to(np.log(least), variances.shape)
    own = _own(variances, mass, least)
    logs = own
    breaks = logs - floor  # from log m_k on, t_kj is at the floor
    order = np.argsort(-breaks, axis=1)
    logs, floor, breaks = (np.take_along_axis(array, order, axis=1) for array in (logs, floor, breaks))
    # With the first i axes above the floor: s = sum of i logs - i log m_k + sum of the other floors.
    above = np.cumsum(logs, axis=1)
    total = floor.sum(axis=1, keepdims=True)
    rest = total - np.cumsum(floor, axis=1)
    count = np.arange(1, variances.shape[1] + 1)
    reached = above - count * breaks + rest  # s at which axis i leaves the floor

    def multipliers(s):
        n_above = np.maximum((reached < s).sum(axis=1), 1)
        rows = np.arange(len(logs)), n_above - 1
        return (above[rows] + rest[rows] - s) / n_above, n_above

    s = total[0, 0]
    for _ in range(MAX_ROUNDS):
        log_multipliers, n_above = multipliers(s)
        shares = np.exp(log_multipliers - np.log(mass.sum()))
        excess = shares.sum() - 1  # falls in s and is convex: Newton's steps from below stay below
        step = np.log1p(excess) * shares.sum() / (shares / n_above).sum()
        if not (excess > TOLERANCE and s + step > s):
            break
        s += step
    return np.maximum(np.exp(own - log_multipliers[:, None]), least)


def _equal_volumes_within(variances, mass, least, most):
    """Return `equal_volumes` above a floor and below a ceiling.

    For a given s the v_kj are n_k S_kj / m_k, brought between both.
    """
    from scipy.optimize import brentq  # what few fits need is not imported by all

    floor, ceiling = (np.broadcast_to(np.log(bound), variances.shape) for bound in (least, most))
    own = _own(variances, mass, least)
    # where axes leave the floor and come to the ceiling, and what s is there
    breaks = np.sort(np.concatenate([own - floor, own - ceiling], axis=1), axis=1)[:, ::-1]
    reached = np.clip(own[:, None] - breaks[:, :, None], floor[:, None], ceiling[:, None]).sum(axis=2)

    def multipliers(s):
        return np.array([np.interp(s, at, where) for at, where in zip(reached, breaks, strict=True)])

    def excess(s):
        return np.log(np.exp(multipliers(s)).sum() / mass.sum())

    s, high = floor[0].sum(), ceiling[0].sum()
    if excess(s) > 0:
        s = brentq(excess, s, high, xtol=TOLERANCE) if excess(high) < 0 else high
    return np.exp(np.clip(own - multipliers(s)[:, None], floor, ceiling))
