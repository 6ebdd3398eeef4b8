"""The plain NumPy twin of every kernel and of one EM step, written to be read rather than to be fast.

The engine is compared with this module, never the other way round, so nothing here imports fastgmm. The twin follows
the formulas directly: it forms every difference, every N x K array and every two-pass scatter that the engine avoids.

Notation: N rows, D features, K components; ``W_k`` is any factor with ``W_k^T W_k = inv(Sigma_k)``, and

    log pi_k p(x | k) = log_norm_k - 1/2 || W_k (x - mu_k) ||^2,
    log_norm_k        = log pi_k - D/2 log 2 pi + log |W_k|.

Besides the values the twin states how far a correct implementation may be from them: the ``*_error`` functions are
first-order rounding bounds in terms of the unit ``eps`` of the arithmetic, so that tests need no invented tolerances.
"""

import math
from typing import NamedTuple

import mpmath
import numpy as np
import scipy.linalg

LOG_2PI = math.log(2.0 * math.pi)
FAMILY_KIND = {"full": "full", "tied": "rotated", "diag": "diagonal", "spherical": "spherical"}
FAMILIES = tuple(FAMILY_KIND)
KINDS = tuple(FAMILY_KIND.values())


class Constants(NamedTuple):
    """What a kernel needs: the fields of ``fastgmm.engine.KernelConstants`` with the same names and shapes."""

    kind: str
    means: np.ndarray  # (K, D)
    factors: np.ndarray  # full (K, D, D), rotated (D, D), diagonal (K, D), spherical (K,)
    log_norm: np.ndarray  # (K,)
    shift: np.ndarray  # (D,)


class Sums(NamedTuple):
    """Sufficient statistics about a pivot, or rounding bounds for them."""

    n: np.ndarray  # (K,)
    s: np.ndarray  # (K, D)
    S: np.ndarray  # full (K, D, D), diagonal (K, D), spherical (K,), rotated (D, D) about the shift
    log_likelihood: float
    total_weight: float


class Model(NamedTuple):
    """Mixture parameters in scikit-learn's shapes."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


# ----------------------------------------------------------------------------------------------- E-step


def dense_factors(constants):
    """W_k of every component as one (K, D, D) array, whatever the kind."""
    K, D = constants.means.shape
    factors = np.asarray(constants.factors)
    if constants.kind == "full":
        return factors
    if constants.kind == "rotated":
        return np.broadcast_to(factors, (K, D, D))
    if constants.kind == "diagonal":
        return factors[:, :, None] * np.eye(D)
    return factors[:, None, None] * np.eye(D)


def log_joint(constants, X):
    """Joint log-densities log pi_k p(x_n | k), shape (N, K)."""
    X = np.asarray(X, dtype=np.float64)
    y = np.einsum("kij,nkj->nki", dense_factors(constants), X[:, None, :] - constants.means)
    return constants.log_norm - 0.5 * (y * y).sum(axis=2)


def log_joint_error(constants, X, eps):
    """Rounding bound of ``log_joint``, shape (N, K), for any order of summation and any use of the shift.

    A product of length D carries (D + few) eps of the product of magnitudes. The magnitude is
    |W_k| (|x - shift| + |mu_k - shift|): the kernel may subtract before or after it multiplies.
    """
    X = np.asarray(X, dtype=np.float64)
    D = X.shape[1]
    W = dense_factors(constants)
    size = np.abs(X - constants.shift)[:, None, :] + np.abs(constants.means - constants.shift)
    y = np.abs(np.einsum("kij,nkj->nki", W, X[:, None, :] - constants.means))
    y_error = np.einsum("kij,nkj->nki", np.abs(W), size)
    log_norm = np.where(np.isfinite(constants.log_norm), np.abs(constants.log_norm), 0.0)
    return eps * ((D + 8) * (y * y_error).sum(axis=2) + (D + 8) * (y * y).sum(axis=2) + 4 * log_norm + 4)


def log_sum_exp(joint):
    """Row-wise log-sum-exp, shape (N,); rows of -inf give -inf."""
    top = joint.max(axis=1)
    anchor = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return anchor + np.log(np.exp(joint - anchor[:, None]).sum(axis=1))


def responsibilities(joint):
    """Posterior probabilities of the components, shape (N, K)."""
    return np.exp(joint - log_sum_exp(joint)[:, None])


def responsibilities_error(resp, joint_error, eps):
    """Bound of the responsibilities: r_k (delta_k + sum_j r_j delta_j) to first order, plus the exp's own rounding."""
    mixed = (resp * joint_error).sum(axis=1, keepdims=True)
    return resp * (joint_error + mixed) + (resp.shape[1] + 8) * eps * resp + 4 * eps


def score_row(constants, x):
    """Log-density, responsibilities (K,) and most probable component of one row (D,)."""
    joint = log_joint(constants, x[None])
    resp = responsibilities(joint)[0]
    return log_sum_exp(joint)[0], resp, int(resp.argmax())


def log_density_error(resp, joint_error, log_density, eps):
    """Bound of the log-sum-exp: the joint errors mixed by responsibility, plus the rounding of exp, sum and log."""
    return (resp * joint_error).sum(axis=1) + (resp.shape[1] + 8) * eps + 4 * eps * np.abs(log_density)


# ----------------------------------------------------------------------------------------------- statistics


def given(kind, X, pivot, resp, *, shift=None, sample_weight=None):
    """Statistics under given responsibilities (N, K), about the pivots (K, D)."""
    X = np.asarray(X, dtype=np.float64)
    weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    shift = np.zeros(X.shape[1]) if shift is None else shift
    return moments(kind, X[:, None, :] - pivot, X - shift, weight[:, None] * resp, weight)


def moments(kind, from_pivot, from_shift, weighted_resp, weight):
    """Weighted sums of ``from_pivot`` (N, K, D); the rotated kind keeps the total scatter of ``from_shift`` (N, D)."""
    n = weighted_resp.sum(axis=0)
    s = np.einsum("nk,nkd->kd", weighted_resp, from_pivot)
    if kind == "full":
        S = np.einsum("nki,nkj->kij", weighted_resp[:, :, None] * from_pivot, from_pivot, optimize=True)
    elif kind == "diagonal":
        S = np.einsum("nk,nkd->kd", weighted_resp, from_pivot**2)
    elif kind == "spherical":
        S = np.einsum("nk,nkd->k", weighted_resp, from_pivot**2)
    else:
        S = (weight[:, None] * from_shift).T @ from_shift
    return Sums(n, s, S, 0.0, float(weight.sum()))


def accumulate(constants, X, *, pivot=None, sample_weight=None):
    """One fused pass: statistics under the responsibilities of ``constants``, and the weighted log-likelihood."""
    joint = log_joint(constants, X)
    weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    pivot = constants.means if pivot is None else pivot
    sums = given(constants.kind, X, pivot, responsibilities(joint), shift=constants.shift, sample_weight=sample_weight)
    return sums._replace(log_likelihood=math.fsum(weight * log_sum_exp(joint)))


def accumulate_error(constants, X, eps, *, pivot=None, sample_weight=None):
    """Bounds for every number of ``accumulate``, as ``Sums``."""
    X = np.asarray(X, dtype=np.float64)
    joint, joint_error = log_joint(constants, X), log_joint_error(constants, X, eps)
    resp, log_density = responsibilities(joint), log_sum_exp(joint)
    weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    pivot = constants.means if pivot is None else pivot
    resp_error = responsibilities_error(resp, joint_error, eps)
    bound = sums_error(constants.kind, X, pivot, resp, resp_error, eps, shift=constants.shift, sample_weight=weight)
    rows = log_density_error(resp, joint_error, log_density, eps) + summing(len(X)) * eps * np.abs(log_density)
    return bound._replace(log_likelihood=float((weight * rows).sum()))


def sums_error(kind, X, pivot, resp, resp_error, eps, *, shift, sample_weight):
    """Bounds for ``given`` when the responsibilities themselves are off by ``resp_error``."""
    size = np.abs(X - shift)[:, None, :] + np.abs(pivot - shift)
    spread = (summing(len(X)) * eps * resp + resp_error) * sample_weight[:, None]
    bound = moments(kind, size, np.abs(X - shift), spread, summing(len(X)) * eps * sample_weight)
    return bound._replace(total_weight=4 * eps * float(sample_weight.sum()))


def summing(n_rows):
    """Growth of the rounding error of a sum, in eps of the summed magnitudes.

    Sums run over at most 512 rows in the compute dtype before they reach a float64 accumulator, and rounding errors
    add like a random walk: 4 standard deviations of that walk, plus the rounding of each term.
    """
    return 16 + 4 * math.sqrt(min(n_rows, 512))


def nearest(X, centres):
    """Index of the nearest centre (N,), and all squared distances (N, K)."""
    X = np.asarray(X, dtype=np.float64)
    distances2 = ((X[:, None, :] - centres) ** 2).sum(axis=2)
    return distances2.argmin(axis=1), distances2


def lloyd_step(X, centres, sample_weight=None):
    """One step of Lloyd's algorithm: new centres, and the inertia under the old ones; an empty cluster stays put."""
    weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    labels, distances2 = nearest(X, centres)
    member = weight[:, None] * np.eye(len(centres))[labels]
    n = member.sum(axis=0)
    means = (member.T @ X) / np.where(n > 0, n, 1.0)[:, None]
    return np.where(n[:, None] > 0, means, centres), float(weight @ distances2.min(axis=1))


# ----------------------------------------------------------------------------------------------- families


def dense_covariances(family, covariances, K, D):
    """Covariances in scikit-learn's shape for the family as one (K, D, D) array."""
    covariances = np.asarray(covariances, dtype=np.float64)
    if family == "full":
        return covariances
    if family == "tied":
        return np.broadcast_to(covariances, (K, D, D))
    if family == "diag":
        return covariances[:, :, None] * np.eye(D)
    return covariances[:, None, None] * np.eye(D)


def pack_covariances(family, dense):
    """Inverse of ``dense_covariances`` for matrices that have the family's structure."""
    if family == "full":
        return dense
    if family == "tied":
        return dense[0]
    diagonal = np.diagonal(dense, axis1=1, axis2=2)
    return diagonal.copy() if family == "diag" else diagonal[:, 0].copy()


def precisions_of(family, covariances, K, D):
    """Inverse covariances in the family's shape."""
    return pack_covariances(family, np.linalg.inv(dense_covariances(family, covariances, K, D)))


def factors_of(family, covariances):
    """W with W^T W = inv(Sigma), lower triangular, in the kernel's shape."""
    if family in ("diag", "spherical"):
        return 1.0 / np.sqrt(covariances)
    return np.linalg.inv(np.linalg.cholesky(covariances))


def constants_of(family, model, shift=None):
    """Kernel constants of a model."""
    K, D = model.means.shape
    factors = factors_of(family, model.covariances)
    shift = model.weights @ model.means if shift is None else shift
    unnormalised = Constants(FAMILY_KIND[family], model.means, factors, np.zeros(K), shift)
    log_det = np.log(np.diagonal(dense_factors(unnormalised), axis1=1, axis2=2)).sum(axis=1)
    with np.errstate(divide="ignore"):
        return unnormalised._replace(log_norm=np.log(model.weights) - 0.5 * D * LOG_2PI + log_det)


def maximise(family, X, resp, *, reg_covar=0.0, sample_weight=None):
    """M-step in two passes: means first, then scatter about them (covariance_models: VVV, EEE, VVI, VII)."""
    X = np.asarray(X, dtype=np.float64)
    weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    r = weight[:, None] * resp
    n = r.sum(axis=0)
    means = (r.T @ X) / n[:, None]
    offset = X[:, None, :] - means
    scatter = np.einsum("nki,nkj->kij", r[:, :, None] * offset, offset, optimize=True)
    D = X.shape[1]
    if family == "full":
        covariances = scatter / n[:, None, None] + reg_covar * np.eye(D)
    elif family == "tied":
        covariances = scatter.sum(axis=0) / n.sum() + reg_covar * np.eye(D)
    else:
        covariances = np.diagonal(scatter, axis1=1, axis2=2) / n[:, None] + reg_covar
        covariances = covariances if family == "diag" else covariances.mean(axis=1)
    return Model(n / n.sum(), means, covariances)


def em_step(family, model, X, *, reg_covar=0.0, sample_weight=None):
    """One EM iteration: the new model, and the mean log-likelihood of the old one."""
    joint = log_joint(constants_of(family, model), X)
    bound = float(np.average(log_sum_exp(joint), weights=sample_weight))
    new = maximise(family, X, responsibilities(joint), reg_covar=reg_covar, sample_weight=sample_weight)
    return new, bound


def coordinates(family, model, centre, scale):
    """Free coordinates: log-weights, standardised means, and the log-Cholesky factor of standardised precisions."""
    W = factors_of(family, model.covariances)
    if family in ("full", "tied"):
        W = W * scale
        diagonal = np.eye(len(scale), dtype=bool)
        W = np.where(diagonal, np.log(np.where(diagonal, W, 1.0)), W)
    else:
        W = np.log(W * scale if family == "diag" else W)
    return np.concatenate([np.log(model.weights), ((model.means - centre) / scale).ravel(), W.ravel()])


def from_coordinates(family, t, like, centre, scale):
    """The model at coordinates, in the shapes of another."""
    K, D = like.means.shape
    weights = np.exp(t[:K])
    W = t[K + K * D :].reshape(like.covariances.shape)
    if family in ("full", "tied"):
        diagonal = np.eye(D, dtype=bool)
        W = np.where(diagonal, np.exp(np.where(diagonal, W, 0.0)), W) / scale
        covariances = np.linalg.inv(np.swapaxes(W, -1, -2) @ W)
    else:
        covariances = np.exp(-2 * W) * (scale**2 if family == "diag" else 1.0)
    return Model(weights / weights.sum(), centre + scale * t[K : K + K * D].reshape(K, D), covariances)


def squarem(family, X, start, n_passes, *, cap=4.0, radius=0.25):
    """SQUAREM of ``n_passes`` passes: the last image of EM, the bounds of the kept points, and how trials went.

    A trial that gains less than half of what EM promises costs a pass: there are only so many that those lost stay
    within a fifth of the others. A step of EM gains about the square of its length, and none is tried where two of its
    length are beyond the radius, or where it is half as long again as the one before.
    """
    centre, scale = X.mean(axis=0), X.std(axis=0)
    point = image = start
    kept, trial, kept_bound = None, None, -np.inf
    factor, promised, bounds, trials = 1.0, 0.0, [], []
    for n in range(1, n_passes + 1):
        mapped, bound = em_step(family, point, X)
        if trial is not None:
            trials.append(bool(bound >= kept_bound + 0.5 * promised))
            if trials[-1]:
                kept, kept_bound, image = trial, bound, mapped
                cap = 4 * cap if factor == cap else cap
            else:
                cap = max(cap / 2, 2.0)
            point, trial = image, None
        else:
            before, kept, gain, kept_bound = kept, coordinates(family, point, centre, scale), bound - kept_bound, bound
            image = point = mapped
            lost = trials.count(False)
            if before is not None and lost + 1 <= 0.2 * (n + 1 - lost) and 4 * gain <= radius**2:
                r, r_next = kept - before, coordinates(family, mapped, centre, scale) - kept
                v, promised = r_next - r, gain * (r_next @ r_next) / (r @ r)
                factor = min(np.linalg.norm(r) / np.linalg.norm(v), cap, radius / np.sqrt(gain))
                if factor >= 1.05 and np.linalg.norm(r_next) <= 1.5 * np.linalg.norm(r):
                    trial = before + 2 * factor * r + factor**2 * v
                    point = from_coordinates(family, trial, mapped, centre, scale)
        bounds.append(kept_bound)
    return image, bounds, trials


def log_density(family, model, X):
    """Log-density of the mixture, shape (N,)."""
    return log_sum_exp(log_joint(constants_of(family, model), X))


# ----------------------------------------------------------------------------------------------- many digits


def log_joint_mp(weights, means, factors, x, digits=60):
    """Joint log-densities of one row as a list of mpmath numbers, from lower-triangular dense factors (K, D, D).

    Every float64 input is taken as the exact number it is; offsets of 1e9 and conditions of 1e12 cost 30 digits of 60.
    """
    with mpmath.workdps(digits):
        half_log_2pi = mpmath.log(2 * mpmath.pi) / 2
        joint = []
        for weight, mean, factor in zip(weights, means, factors, strict=True):
            offset = [mpmath.mpf(float(a)) - mpmath.mpf(float(b)) for a, b in zip(x, mean, strict=True)]
            value = mpmath.log(mpmath.mpf(float(weight))) - len(offset) * half_log_2pi
            for i, row in enumerate(factor):
                y = mpmath.fsum(mpmath.mpf(float(row[j])) * offset[j] for j in range(i + 1))
                value += mpmath.log(mpmath.mpf(float(row[i]))) - y * y / 2
            joint.append(value)
        return joint


def log_density_mp(weights, means, factors, x, digits=60):
    """Log-density of one row as an mpmath number."""
    with mpmath.workdps(digits):
        joint = log_joint_mp(weights, means, factors, x, digits)
        top = max(joint)
        return top + mpmath.log(mpmath.fsum(mpmath.exp(value - top) for value in joint))


# ----------------------------------------------------------------------------------------------- constrained M-steps


def complete_log_likelihood(family, model, X, resp, sample_weight=None):
    """sum_i w_i sum_k r_ik log pi_k p(x_i | k): what every M-step maximises."""
    weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    return float((weight[:, None] * resp * log_joint(constants_of(family, model), X)).sum())


def floor_matrix(X, least_spread=1e-4):
    """The covariance of the rows, axes along which they hardly vary counted as if they varied like a single feature.

    No feature may be constant.
    """
    deviations = np.std(X, axis=0)
    spread, axes = np.linalg.eigh(np.atleast_2d(np.corrcoef(X.T)))
    spread = np.where(spread >= least_spread, spread, 1.0)
    return deviations[:, None] * ((axes * spread) @ axes.T) * deviations


def floored(family, covariances, X, share):
    """Covariances that maximise the likelihood above a share of those of the rows, from those that maximise it freely.

    By the generalised eigenproblem Sigma V = G V diag(v) with V^T G V = 1, so that Sigma = G V diag(v) V^T G.
    """
    if family == "diag":
        return np.maximum(covariances, share * np.var(X, axis=0))
    if family == "spherical":
        return np.maximum(covariances, share * np.var(X, axis=0).mean())
    G = floor_matrix(X)
    raised = []
    for covariance in covariances if family == "full" else covariances[None]:
        values, vectors = scipy.linalg.eigh(covariance, G)
        raised.append(G @ (vectors * np.maximum(values, share)) @ vectors.T @ G)
    return np.stack(raised) if family == "full" else raised[0]


def maximise_held(family, X, resp, held, start, *, equal_weights=False, share=0.0):
    """M-step in which the parameters named in `held`, masks (K,), stay at those of `start`; see `maximise`, `floored`.

    With n_k = sum_i r_ik, the free weights share what the held ones leave in proportion to n_k, and the scatter of a
    component is about the mean that it has, held or not.
    """
    nobody = np.zeros(resp.shape[1], dtype=bool)
    keep = {name: np.asarray(held.get(name, nobody)) for name in Model._fields}
    n = resp.sum(axis=0)
    free = ~keep["weights"]
    weights = start.weights.copy()
    weights[free] = n[free] / n[free].sum() * (1 - start.weights[~free].sum()) if free.any() else []
    weights = np.full(len(n), 1 / len(n)) if equal_weights else weights
    means = np.where(keep["means"][:, None], start.means, (resp.T @ X) / n[:, None])
    offset = X[:, None, :] - means
    scatter = np.einsum("nki,nkj->kij", resp[:, :, None] * offset, offset)
    dense = scatter.sum(axis=0, keepdims=True) / n.sum() if family == "tied" else scatter / n[:, None, None]
    if family == "spherical":
        dense = np.trace(dense, axis1=1, axis2=2)[:, None, None] / X.shape[1] * np.eye(X.shape[1])
    covariances = pack_covariances(family, dense)
    covariances = floored(family, covariances, X, share) if share else covariances
    if family == "tied":
        covariances = start.covariances if keep["covariances"].any() else covariances
    else:
        covariances[keep["covariances"]] = start.covariances[keep["covariances"]]
    return Model(weights, means, covariances)
