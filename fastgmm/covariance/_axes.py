"""Algebra of orientations, which structures share: the axes D_k of covariances, (K, D, D)."""

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.engine._axes import common_axes, turning

__all__ = ["above", "along", "common", "principal"]

PROMISE = 1e-18  # share of n: what the planes of all pairs of axes promise to gain at the end
SWEEPS = 8  # of planes, between two steps of Newton's
MAX_ROUNDS = 50
MAX_ROUNDS_ABOVE = 50  # where a floor is met
MAX_PLANES = 600  # of more, a step of Newton's costs more than the sweeps that it saves
MAX_TURN = 0.5  # radian, of a step
LENGTHS = 4.0 ** -np.arange(6)  # shares of a step that are tried, until one gains


def principal(covariances):
    """Return eigenvalues (K, D), rising and not below zero, and eigenvectors (K, D, D) as columns.

    Raises
    ------
    IllDefinedCovarianceError
        If a matrix is not finite.
    """
    if not np.isfinite(covariances).all():
        raise IllDefinedCovarianceError
    variances, axes = np.linalg.eigh(covariances)
    return np.maximum(variances, 0.0), axes


def along(axes, variances):
    """Return the matrices of some variances (K, D) along axes, columns of (K, D, D): symmetric to the last bit.

    Axes need not be orthogonal.
    """
    half = axes * np.sqrt(variances)[:, None, :]
    full = half @ half.transpose(0, 2, 1)
    return (full + full.transpose(0, 2, 1)) / 2


def common(covariances, mass, previous, equal_volumes):
    """Return axes (D, D) that K components share, and the sample variances (K, D) along them.

    The axes are a local minimum of what the best variances along them leave of the objective: see
    `fastgmm.engine._axes`. It is looked for from the axes of `previous`, covariances (K, D, D) of the structure;
    without them from the axes of each component and those of all together, and the best is kept.

    Raises
    ------
    IllDefinedCovarianceError
        If sample variances along the axes are not positive.
    """
    if not np.isfinite(covariances).all():
        raise IllDefinedCovarianceError
    if previous is None:
        pooled = np.tensordot(mass, covariances, 1)
        starts = np.linalg.eigh(np.concatenate([pooled[None], covariances]))[1]
        tried = [_settled(covariances, mass, start, equal_volumes, 1) for start in starts]
        left = [_left(_diagonals(turned), mass, equal_volumes) for _, turned in tried]
        start = tried[int(np.argmin(left))][0]
    else:
        start = _shared(previous)
    axes, turned = _settled(covariances, mass, start, equal_volumes, MAX_ROUNDS)
    variances = _diagonals(turned)
    if not (variances > 0).all():
        raise IllDefinedCovarianceError(int(np.argmin(variances.min(axis=1))))
    return axes, variances


def above(shaped, covariances, mass, previous, least, *, equal_volumes):
    """Return common axes (1, D, D), and variances (K, D) along them not below `least`, that minimise: a local minimum.

    Variances, which `shaped` of `_shapes` gives, and axes are looked for in turn. They begin at the axes of `previous`;
    without them at those that are best without a floor for rows blurred by it.
    """
    D = covariances.shape[1]
    if previous is None:
        blurred = covariances + least * np.eye(D)
        axes, _ = common(blurred, mass, previous, equal_volumes)
    else:
        axes = _shared(previous)
    least, before = np.full(D, least), np.inf
    for _ in range(MAX_ROUNDS_ABOVE):
        own = _diagonals(_turned(covariances, axes))
        variances = shaped(own, mass, least)
        left = float(mass @ (np.log(variances) + own / variances).sum(axis=1))
        if not before - left > 1e-13 * mass.sum():
            break
        before = left
        axes = _orthogonal(common_axes(covariances, mass, axes, False, 0.0, SWEEPS, 1 / variances)[0])
    return axes[None], variances


def _shared(covariances):
    """Return the axes of covariances that share them: those of any of their averages."""
    blend = np.arange(1.0, len(covariances) + 1) / np.trace(covariances, axis1=1, axis2=2)
    return np.linalg.eigh((blend @ covariances.reshape(len(covariances), -1)).reshape(covariances.shape[1:]))[1]


def _turned(covariances, axes):
    """Return A^T S_k A."""
    return axes.T @ covariances @ axes


def _diagonals(turned):
    """Return the diagonals (K, D) of matrices (K, D, D)."""
    return np.diagonal(turned, axis1=1, axis2=2)


def _orthogonal(axes):
    """Return axes that rounding has made not quite orthogonal, orthogonal to the last bits: a step of Newton-Schulz."""
    return 1.5 * axes - 0.5 * axes @ (axes.T @ axes)


def _left(variances, mass, equal_volumes):
    """Return F: what is to be minimised over the axes."""
    logs = np.log(variances)
    if not equal_volumes:
        return float(mass @ logs.sum(axis=1))
    return float(mass.sum() * variances.shape[1] * np.log(mass @ np.exp(logs.mean(axis=1)) / mass.sum()))


def _settled(covariances, mass, axes, equal_volumes, max_rounds):
    """Return axes and the T_k after rounds of sweeps, with a step of Newton's between two rounds that gains."""
    D = covariances.shape[1]
    before, rounding = np.inf, 1e-15 * D * mass.sum()
    for number in range(1, max_rounds + 1):
        axes, turned, promised = common_axes(covariances, mass, axes, equal_volumes, PROMISE, SWEEPS)
        axes = _orthogonal(axes)
        if not promised > PROMISE or number == max_rounds:
            break
        left = _left(_diagonals(turned), mass, equal_volumes)
        if not before - left > rounding:  # NaN too
            break
        before = left
        if D * (D - 1) // 2 > MAX_PLANES:
            continue
        step = _newton(turned, mass, equal_volumes)
        for length in () if step is None else LENGTHS:
            turn = step * (length / 2)
            nearer = axes @ np.linalg.solve(np.eye(D) - turn, np.eye(D) + turn)  # Cayley's: orthogonal
            if _left(_diagonals(_turned(covariances, nearer)), mass, equal_volumes) <= left + rounding:
                axes = nearer
                break
    return axes, turned


def _newton(turned, mass, equal_volumes):
    """Return the skew-symmetric X (D, D) for which A exp(X) is Newton's step from axes A, in F; T_k = A^T S_k A given.

    Directions in which F bends down are taken as if it bent up by as much, and the step is shortened where it turns
    an axis by more than MAX_TURN.
    """
    slope, bend = turning(turned, mass, equal_volumes)
    try:
        np.linalg.cholesky(bend)
        turn = -np.linalg.solve(bend, slope)
    except np.linalg.LinAlgError:
        if not np.isfinite(bend).all():  # variances are next to nothing
            return None
        values, vectors = np.linalg.eigh(bend)
        values = np.maximum(np.abs(values), 1e-12 * np.abs(values).max())
        turn = -vectors @ ((slope @ vectors) / values)
    step = np.zeros(turned.shape[1:])
    step[np.triu_indices(len(step), 1)] = turn
    step -= step.T
    return step * min(1.0, MAX_TURN / np.sqrt((step**2).sum(axis=0).max()))
