"""mfa:q and mppca:q: covariances of low rank plus noise, Sigma_k = L_k L_k^T + diag(psi_k) with L_k of q columns.

A row of component k is x = mu_k + L_k f + e with latent coordinates f ~ N(0, I_q) and noise e ~ N(0, diag(psi_k)):
mixtures of factor analysers (Ghahramani and Hinton 1996, CRG-TR-96-1; McLachlan and Peel 2000, Finite Mixture Models,
ch. 8), and with psi_k = sigma_k^2 1 of probabilistic principal components (Tipping and Bishop 1999, Neural Comput.
11:443). Nothing of size K x D x D is ever made.

Arrays, q + 1 rows of D numbers for each component:

    covariances           psi, then L^T
    precisions            1 / psi, then V, with inverse covariance diag(1 / psi) - V^T V
    precisions_cholesky   a = psi^(-1/2), then R diag(g) Q^T, where diag(a) L = Q diag(s) R^T and g = (1 + s^2)^(-1/2)

L is determined but for a rotation R of the latent coordinates; all three forms keep it, so that it turns no more than
it must from one iteration to the next.

M-step. With S_k = W_k / n_k about the new mean, and at the previous parameters, M = I + L^T diag(1/psi) L and
beta = M^-1 L^T diag(1/psi), the posterior means of the latent coordinates are beta (x - mu), and

    Theta = M^-1 + beta S beta^T = T T^T (Cholesky),    L^T <- T^-1 beta S,    psi <- diag(S) - sum_l L_l^2

(of psi the mean for mppca). This is the step of Ghahramani and Hinton with its L times T, which lets the latent
coordinates have the covariance Theta: parameter-expanded EM (Liu, Rubin and Wu 1998, Biometrika 85:755), which is
faster and as monotone. S enters by diag(S) and beta S alone, q + 1 rows that a pass sums up. The mean is maximised
before, under the same responsibilities, so that this is an ECM algorithm (Meng and Rubin 1993, Biometrika 80:267).
"""

from abc import abstractmethod

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError, InvalidParameterError
from fastgmm.covariance.base import Family
from fastgmm.covariance.floor import MEETS

__all__ = ["FactorAnalysers", "LowRank", "PrincipalComponents"]

START_PASSES = 3  # over the rows, to find the directions in which the components of a start vary most
LEAST_NOISE = (
    0.7  # share of a feature's variance that a start leaves to noise at least: of less, EM ends in worse optima
)
RESOLVED = 1e-12  # share of the largest variance along axes below which one is taken for none

NO_LATENT = "transform needs a family of low rank, covariance_type='mfa:q' or 'mppca:q', got {!r}"


class LowRank(Family):
    """Each component has its own q directions of variation, and noise.

    Parameters
    ----------
    rank : int
        Number q of latent coordinates, from 1.
    """

    kind = "low_rank"
    container = "full"
    prefix: str

    def __init__(self, rank):
        self.rank = rank
        self.name = f"{self.prefix}:{rank}"

    def check_features(self, n_features):
        if self.rank >= n_features:
            instead = f"a rank of at most {n_features - 1}, or " if n_features > 1 else ""
            raise InvalidParameterError(
                f"covariance_type={self.name!r} needs more features than its rank {self.rank}, got "
                f"n_features={n_features}; take {instead}'full'"
            )

    def covariance_shape(self, n_components, n_features):
        return n_components, 1 + self.rank, n_features

    def n_loadings(self, n_features):
        """Return the free numbers of L: a rotation of its columns changes nothing."""
        return n_features * self.rank - self.rank * (self.rank - 1) // 2

    @abstractmethod
    def noise(self, variances):
        """Return psi (K, D) of what the loadings leave of the variances."""

    @abstractmethod
    def units(self, variances):
        """Return the units (D,) in which the directions of a start are looked for."""

    # ------------------------------------------------------------------------------------------------------- M-step

    def first_statistics(self, source, pivot, given):
        """Return statistics along the directions in which the components vary most, by subspace iteration."""
        unit = self.units(source.moments()[1])
        K, D = pivot.shape
        rows = np.linalg.qr(np.random.default_rng(0).standard_normal((D, self.rank)))[0].T
        rows = np.broadcast_to(rows, (K, self.rank, D))
        for last in range(START_PASSES - 1, -1, -1):
            factors = np.concatenate([np.broadcast_to(1 / unit, (K, 1, D)), rows], axis=1)
            stats = source.accumulate_given(self.kind, pivot, factors=factors, **given)
            pivot = stats.means()
            if last:
                images = (stats.within()[:, 1:] / unit).transpose(0, 2, 1)  # S times the directions, (K, D, q)
                if not np.isfinite(images).all():
                    raise IllDefinedCovarianceError
                rows = np.linalg.qr(images)[0].transpose(0, 2, 1)
        return stats

    def estimate_covariances(self, stats, mass, empty, *, reg_covar, previous, floor):
        within = stats.within() / mass[:, None, None]
        if not np.isfinite(within).all():
            raise IllDefinedCovarianceError
        variances, images = within[:, 0], within[:, 1:]
        if previous is None:
            loadings = _first_loadings(variances, images, stats.axes)
        else:
            loadings = _next_loadings(previous.covariances[:, 1:], images, stats.axes)
        psi = self.noise(np.maximum(variances - (loadings**2).sum(axis=1), 0.0)) + reg_covar
        covariances = np.concatenate([psi[:, None], loadings], axis=1)
        if empty is not None and previous is not None:
            covariances[empty] = previous.covariances[empty]
        return covariances

    def maximise_covariances(self, stats, mass, reg_covar):
        return self.estimate_covariances(stats, mass, None, reg_covar=reg_covar, previous=None, floor=None)

    def floored(self, covariances, floor):
        least = self.least(floor)
        psi = np.maximum(covariances[:, 0], least)
        met = ((psi <= MEETS * least) | ~floor.varies).all(axis=1) & floor.varies.any()
        return np.concatenate([psi[:, None], covariances[:, 1:]], axis=1), met

    @abstractmethod
    def least(self, floor):
        """Return the least psi (D,) above a floor: given L, the likelihood has its maximum there or where it was."""

    def seeded(self, floor, n_features):
        """Return the covariance of a component that is put anew: half loadings in all directions, half noise.

        Without loadings at all it would never find any.
        """
        variances = floor.share * floor.deviations**2
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (self.rank, n_features))
        loadings = signs * np.sqrt(variances / (2 * self.rank))
        return np.concatenate([self.noise(variances[None] / 2), loadings])

    # -------------------------------------------------------------------------------------------------------- forms

    def from_covariances(self, covariances, n_components, n_features):
        wide = covariances.astype(np.float64, copy=False)
        sound = np.isfinite(wide).all(axis=(1, 2)) & (wide[:, 0] > 0).all(axis=1)
        if not sound.all():
            raise IllDefinedCovarianceError(int(np.argmin(sound)), covariances.dtype == np.float32)
        a = wide[:, 0] ** -0.5
        turn, strength, rows = np.linalg.svd(wide[:, 1:] * a[:, None], full_matrices=False)
        return _stacked(a, turn, 1 / np.hypot(1.0, strength), rows).astype(covariances.dtype, copy=False)

    def from_precisions(self, precisions, n_components, n_features):
        what = f"'{self.name} precision' should be positive-definite"
        if not (precisions[:, 0] > 0).all():
            raise ValueError(what)
        a = np.sqrt(precisions[:, 0])
        turn, h, rows = np.linalg.svd(precisions[:, 1:] / a[:, None], full_matrices=False)
        if not (h < 1).all():
            raise ValueError(what)
        g = np.sqrt((1 - h) * (1 + h))
        return _stacked(a**-2, turn, h / g, rows, 1 / a), _stacked(a, turn, g, rows)

    def precisions(self, precisions_cholesky):
        a, turn, g, rows = _parts(precisions_cholesky)
        precisions = _stacked(a**2, turn, np.sqrt(np.maximum((1 - g) * (1 + g), 0.0)), rows, a)
        return precisions.astype(precisions_cholesky.dtype, copy=False)

    def covariances_of(self, precisions_cholesky):
        """Return the covariances of factors; ValueError if these are not positive or g is not in (0, 1]."""
        a, turn, g, rows = _parts(precisions_cholesky)
        slack = 1 + 16 * np.finfo(precisions_cholesky.dtype).eps
        if not ((a > 0).all() and (g > 0).all() and (g <= slack).all()):
            raise ValueError(
                f"'{self.name} precisions_cholesky' should have a positive first row, and singular values of the "
                "others in (0, 1]"
            )
        return _stacked(a**-2, turn, _strength(g), rows, 1 / a)

    def agree(self, covariances, others, tolerance):
        """Return whether two arrays of covariances are the same but for a rotation of the latent coordinates."""
        psi, other = covariances[:, 0], others[:, 0]
        A, B = covariances[:, 1:] / np.sqrt(psi)[:, None], others[:, 1:] / np.sqrt(psi)[:, None]
        left, _, right = np.linalg.svd(A @ B.transpose(0, 2, 1))
        same = (np.abs(psi - other) <= tolerance * psi).all()
        return bool(same and (np.abs(left @ right @ B - A) <= tolerance * (1 + np.abs(A).max())).all())

    def factors(self, params):
        a, _, g, rows = _parts(params.precisions_cholesky.astype(np.float64, copy=False))
        factors = np.ascontiguousarray(np.concatenate([a[:, None], g[:, :, None] * rows], axis=1))
        return self.kind, factors, np.log(a).sum(axis=1) + np.log(g).sum(axis=1)

    def to_coordinates(self, precisions_cholesky, scale):
        a, turn, g, rows = _parts(precisions_cholesky)
        return _stacked(np.log(a * scale), turn, _strength(g), rows, 1 / (a * scale))

    def from_coordinates(self, coordinates, scale):
        psi = np.exp(-2 * coordinates[:, :1]) * scale**2
        covariances = np.concatenate([psi, coordinates[:, 1:] * scale], axis=1)
        if not (np.isfinite(covariances).all() and (psi > 0).all()):
            return covariances, np.full_like(covariances, np.nan)
        return covariances, self.from_covariances(covariances, *coordinates.shape[::2])

    def scaled_step(self, before, after):
        """Return steps of means and covariances as `Family.scaled_step`: where the latent coordinates are known too."""
        (psi, old), (other, new) = ((p.covariances[:, :1], p.covariances[:, 1:]) for p in (before, after))
        with np.errstate(all="ignore"):
            width = 1 / np.sqrt(psi)
            covariances = np.concatenate([np.sqrt(0.5) * np.log(other / psi), (new - old) * width], axis=1)
            return (after.means - before.means) * width[:, 0], covariances

    def variances(self, covariances, n_components, n_features):
        return covariances[:, 0] + (covariances[:, 1:] ** 2).sum(axis=1)

    def dense_covariances(self, covariances, n_components, n_features):
        loadings = covariances[:, 1:]
        return covariances[:, 0, :, None] * np.eye(n_features, dtype=covariances.dtype) + (
            loadings.transpose(0, 2, 1) @ loadings
        )

    # --------------------------------------------------------------------------------------------------------- rows

    def n_normals(self, n_features):
        return n_features + self.rank

    def scale_draws(self, params, component, normal):
        psi, loadings = params.covariances[component, 0], params.covariances[component, 1:]
        noise, latent = normal[:, : len(psi)], normal[:, len(psi) :]
        return latent @ loadings.astype(np.float64) + noise * np.sqrt(psi.astype(np.float64))

    def latent_means(self, params, component, offsets):
        """Return the posterior means (n, q) of the latent coordinates of rows of a component, from x - mu (n, D)."""
        wide = params.precisions_cholesky[component : component + 1].astype(np.float64)
        a, turn, g, rows = (part[0] for part in _parts(wide))
        return (offsets * a) @ rows.T @ ((_strength(g) * g**2)[:, None] * turn.T)


class FactorAnalysers(LowRank):
    """Mixtures of factor analysers: each feature has its own noise."""

    prefix = "mfa"
    summary = "each component its own q directions of variation, and noise of its own in each feature"

    def n_parameters(self, n_components, n_features):
        free = n_features * (n_features + 1) // 2  # of any matrix: a rank so large restricts nothing
        return n_components * min(self.n_loadings(n_features) + n_features, free)

    def noise(self, variances):
        return variances

    def units(self, variances):
        return np.where(variances > 0, np.sqrt(variances), 1.0)

    def least(self, floor):
        return floor.share * floor.deviations**2


class PrincipalComponents(LowRank):
    """Mixtures of probabilistic principal components: the noise of a component is the same in all features."""

    prefix = "mppca"
    summary = "each component its own q directions of variation, and noise that is the same in all features"

    def n_parameters(self, n_components, n_features):
        return n_components * (self.n_loadings(n_features) + 1)

    def noise(self, variances):
        return np.broadcast_to(variances.mean(axis=1, keepdims=True), variances.shape)

    def units(self, variances):
        return np.full(len(variances), np.sqrt(variances.mean()) if variances.any() else 1.0)

    def least(self, floor):
        return np.full(len(floor.deviations), floor.share * floor.mean_variance)


def _first_loadings(variances, images, axes):
    """Return L^T (K, q, D) of a start, with L L^T the covariance of E[x | t] for the coordinates t along given axes.

    `images` (K, q, D) is axes S.
    """
    along = images @ axes.transpose(0, 2, 1)  # covariance of t
    values, turn = np.linalg.eigh(_symmetric(along))
    resolved = values > RESOLVED * np.maximum(values[:, -1:], 0.0)
    scale = np.where(resolved, 1 / np.sqrt(np.where(resolved, values, 1.0)), 0.0)
    loadings = scale[:, :, None] * (turn.transpose(0, 2, 1) @ images)
    explained = (loadings**2).sum(axis=1)
    most = (1 - LEAST_NOISE) * variances
    return loadings * np.sqrt(np.where(explained > most, most / np.where(explained > 0, explained, 1.0), 1.0))[:, None]


def _next_loadings(loadings, images, axes):
    """Return L^T (K, q, D) after an M-step: see the top of this module.

    `images` (K, q, D) is axes S, with axes = Q^T diag(a).
    """
    along = axes @ loadings.transpose(0, 2, 1)  # P with diag(a) L = Q P
    turned = along.transpose(0, 2, 1)
    inverse = np.linalg.inv(np.eye(along.shape[1]) + turned @ along)
    gain = inverse @ turned  # beta = gain axes
    regressed = gain @ images
    spread = regressed @ axes.transpose(0, 2, 1) @ gain.transpose(0, 2, 1)  # beta S beta^T
    try:
        root = np.linalg.cholesky(_symmetric(inverse + spread))
    except np.linalg.LinAlgError:  # of float32 sums, beside an outlier
        values, vectors = np.linalg.eigh(_symmetric(spread))
        spread = (vectors * np.maximum(values, 0.0)[:, None, :]) @ vectors.transpose(0, 2, 1)
        try:
            root = np.linalg.cholesky(_symmetric(inverse + spread))
        except np.linalg.LinAlgError:
            raise IllDefinedCovarianceError from None
    return np.linalg.solve(root, regressed)


def _symmetric(matrices):
    return (matrices + matrices.transpose(0, 2, 1)) / 2


def _parts(precisions_cholesky):
    """Return a (K, D), R (K, q, q), g (K, q) and Q^T (K, q, D) of factors."""
    turn, g, rows = np.linalg.svd(precisions_cholesky[:, 1:], full_matrices=False)
    return precisions_cholesky[:, 0], turn, g, rows


def _strength(g):
    """Return s of g = (1 + s^2)^(-1/2)."""
    return np.sqrt(np.maximum((1 - g) * (1 + g), 0.0)) / g


def _stacked(first, turn, values, rows, scale=1.0):
    """Return the array (K, 1 + q, D) of a first row and of turn diag(values) rows, times `scale` (K, D)."""
    others = (turn * values[:, None, :]) @ rows
    return np.concatenate([first[:, None], others * (scale if np.isscalar(scale) else scale[:, None])], axis=1)
