"""The plain NumPy twin of the fourteen structures: M-steps, and what is feasible, all on dense matrices (K, D, D).

Nothing here imports fastgmm. Formulas are those of Celeux and Govaert (1995), iterated as they stand; EVE and VVE take
the steps of Browne and McNicholas (2014, Statistics and Computing 24:203). The compiled M-steps go other ways.

With S_k = W_k / n_k every M-step minimises

    Q = sum_k n_k (log|Sigma_k| + tr(Sigma_k^-1 S_k)).
"""

import numpy as np

STRUCTURES = ("EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV")
ALIASES = {"VII": "spherical", "VVI": "diag", "EEE": "tied", "VVV": "full"}


def objective(covariances, S, mass):
    """Q, of dense arrays (..., K, D, D)."""
    log_det = np.linalg.slogdet(covariances)[1]
    S = np.broadcast_to(S, covariances.shape)
    return (log_det + np.trace(np.linalg.solve(covariances, S), axis1=-2, axis2=-1)) @ mass


def off_stationary(covariances, S, mass):
    """How far common axes are from a minimum: sum_k n_k S_k Sigma_k^-1 is symmetric there. A share of n."""
    product = np.einsum("k,kij,kjl->il", mass, S, np.linalg.inv(covariances))
    return np.abs(product - product.T).max() / mass.sum()


def n_parameters(name, K, D):
    """Number of covariance parameters, letter by letter: volumes, shapes, orientations."""
    volume, shape, orientation = name
    count = {"E": 1, "V": K}[volume] + {"I": 0, "E": D - 1, "V": K * (D - 1)}[shape]
    return count + {"I": 0, "E": D * (D - 1) // 2, "V": K * D * (D - 1) // 2}[orientation]


def container(name):
    """scikit-learn's family that holds the structure's arrays."""
    return "tied" if name == "EEE" else {"II": "spherical", "EI": "diag", "VI": "diag"}.get(name[1:], "full")


def geometric_mean(values):
    """Along the last axis, kept."""
    return np.exp(np.log(values).mean(axis=-1, keepdims=True))


def volume_and_shape(name, variances, mass, n_rounds=5000):
    """Variances (K, D) along known axes that minimise Q for the first two letters, from sample variances (K, D)."""
    n = mass.sum()
    if name[1] == "I":
        own = variances.mean(axis=1, keepdims=True)
        return np.ones_like(variances) * (own if name[0] == "V" else mass @ own / n)
    if name[:2] == "VV":
        return variances
    if name[:2] == "EE":
        return np.ones_like(variances) * (mass @ variances / n)
    if name[:2] == "EV":
        volumes = geometric_mean(variances)
        return variances / volumes * (mass @ volumes / n)
    volumes = variances.mean(axis=1, keepdims=True)
    for _ in range(n_rounds):
        shape = (mass[:, None] * variances / volumes).sum(axis=0)
        shape = shape / geometric_mean(shape)
        before, volumes = volumes, (variances / shape).mean(axis=1, keepdims=True)
        if np.abs(volumes / before - 1).max() <= 1e-15:
            break
    return volumes * shape


def m_step(name, S, mass, start=None, n_rounds=5000):
    """Covariances (K, D, D) of a structure that minimise Q; EVE and VVE from the axes `start`, a local minimum."""
    K, D = S.shape[:2]
    if name == "VEE":
        volumes = np.trace(S, axis1=1, axis2=2) / D
        for _ in range(n_rounds):
            shape = np.einsum("k,kij->ij", mass / volumes, S)
            shape = shape / np.exp(np.linalg.slogdet(shape)[1] / D)
            before, volumes = volumes, np.trace(np.linalg.solve(np.stack([shape] * K), S), axis1=1, axis2=2) / D
            if np.abs(volumes / before - 1).max() <= 1e-15:
                break
        return volumes[:, None, None] * shape
    if name == "EEE":
        return np.broadcast_to(np.einsum("k,kij->ij", mass, S) / mass.sum(), S.shape)
    if name in ("VVV", "EVV"):
        volumes = np.exp(np.linalg.slogdet(S)[1] / D)[:, None, None]
        return S if name == "VVV" else S / volumes * (mass @ volumes[:, 0, 0] / mass.sum())
    if name[2] == "I":
        axes = np.stack([np.eye(D)] * K)
    elif name[2] == "V":
        axes = np.linalg.eigh(S)[1]
    else:
        axes = np.stack([common_axes(name, S, mass, start, n_rounds)] * K)
    variances = np.einsum("kji,kjl,kli->ki", axes, S, axes)
    values = volume_and_shape(name, variances, mass, n_rounds)
    return np.einsum("kij,kj,klj->kil", axes, values, axes)


def common_axes(name, S, mass, start, n_rounds):
    """Axes of EVE or VVE by the two majorise-minimise steps in turn: D <- U V^T with the SVD of G1, then of G2."""
    axes, W = start, mass[:, None, None] * S
    largest = np.linalg.eigvalsh(W)[:, -1]
    for _ in range(n_rounds):
        before = axes
        inverse = 1 / volume_and_shape(name, np.einsum("ji,kjl,li->ki", axes, S, axes), mass)
        step = np.einsum("k,ij,kj->ij", largest, axes, inverse) - np.einsum("kij,jl,kl->il", W, axes, inverse)
        U, _, Vt = np.linalg.svd(step)
        axes = U @ Vt
        inverse = 1 / volume_and_shape(name, np.einsum("ji,kjl,li->ki", axes, S, axes), mass)
        step = np.einsum("kij,jl,kl->il", W, axes, inverse.max(axis=1, keepdims=True) - inverse)
        U, _, Vt = np.linalg.svd(step)
        axes = U @ Vt
        if np.abs(axes - before).max() <= 1e-14:
            break
    return axes


def parts(name, covariances):
    """Logarithms of variances (K, D) along axes (K, D, D), in an order in which what is equal is at the same place."""
    K, D = covariances.shape[:2]
    if name[2] == "I":
        axes = np.stack([np.eye(D)] * K)
    elif name[2] == "V":
        axes = np.linalg.eigh(covariances)[1]
    else:
        scale = np.trace(covariances, axis1=1, axis2=2)[:, None, None]
        blend = np.random.default_rng(0).uniform(1, 2, K)
        axes = np.stack([np.linalg.eigh(np.einsum("k,kij->ij", blend, covariances / scale))[1]] * K)
    return np.log(np.einsum("kji,kjl,kli->ki", axes, covariances, axes)), axes


def perturbed(name, covariances, sizes, rng):
    """Members (M, K, D, D) of the structure near to one (K, D, D): all its parts moved by about `sizes` (M,)."""
    (K, D), (logs, axes) = covariances.shape[:2], parts(name, covariances)
    M, sizes = len(sizes), np.asarray(sizes)[:, None, None]
    volume = sizes * rng.standard_normal((M, K if name[0] == "V" else 1, 1))
    shape = sizes * rng.standard_normal((M, K if name[1] == "V" else 1, D)) * (name[1] != "I")
    logs = logs + volume + shape - shape.mean(axis=-1, keepdims=True)
    if name[2] != "I":
        skew = sizes[..., None] * rng.standard_normal((M, K if name[2] == "V" else 1, D, D))
        skew = (skew - np.swapaxes(skew, -1, -2)) / 2
        axes = axes @ np.linalg.solve(np.eye(D) - skew / 2, np.eye(D) + skew / 2)  # Cayley's: orthogonal
    half = axes * np.exp(logs / 2)[..., None, :]
    return half @ np.swapaxes(half, -1, -2)


def random(name, K, D, rng, condition=10.0):
    """Random covariances of a structure, of about a condition."""
    half = np.log(condition) / 2
    volume = 0.5 * rng.standard_normal((K if name[0] == "V" else 1, 1))
    shape = rng.uniform(-half, half, (K if name[1] == "V" else 1, D)) * (name[1] != "I")
    logs = np.zeros((K, D)) + volume + shape - shape.mean(axis=1, keepdims=True)
    axes = np.stack([np.eye(D)] * K)
    if name[2] != "I":
        axes = axes @ np.linalg.qr(rng.standard_normal((K if name[2] == "V" else 1, D, D)))[0]
    half = axes * np.exp(np.sort(logs, axis=1) / 2 if name[1:] == "EV" else logs / 2)[:, None, :]
    return half @ half.transpose(0, 2, 1)


def pack(name, dense):
    """Dense covariances in the shape that the family holds them in."""
    variances = np.diagonal(dense, axis1=1, axis2=2)
    shape = container(name)
    return {"tied": dense[0], "full": dense, "diag": variances.copy(), "spherical": variances[:, 0].copy()}[shape]


def samples(rng, K, D, condition=10.0):
    """Random sample covariances S_k (K, D, D) of a condition and different sizes, and masses (K,)."""
    axes = np.linalg.qr(rng.standard_normal((K, D, D)))[0]
    values = condition ** np.sort(rng.uniform(-0.5, 0.5, (K, D)), axis=1)
    if D > 1:
        values[:, 0], values[:, -1] = condition**-0.5, condition**0.5
    half = axes * np.sqrt(values * rng.uniform(0.5, 2, (K, 1)))[:, None, :]
    return half @ half.transpose(0, 2, 1), rng.uniform(5, 50, K)
