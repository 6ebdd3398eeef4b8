"""What the kernels need to know of a mixture."""

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from fastgmm.engine import _core, _linalg, _scorer

__all__ = ["FACTOR_SHAPES", "KernelConstants", "shape_fits"]

FACTOR_SHAPES = {
    "full": lambda K, D: (K, D, D),
    "diagonal": lambda K, D: (K, D),
    "spherical": lambda K, D: (K,),
    "rotated": lambda K, D: (D, D),
}
"""Shape of the factors by kernel kind (`_core.KINDS`), and of the second moments, see `Statistics.S`. That of the last
kind, low_rank, depends on the rank q >= 1 too: (K, 1 + q, D)."""


UNIT = math.sqrt(2 * math.log(2))
"""Kernels compute log2 densities; this factor makes a spherical logit the negative squared distance."""


def plain(array):
    """Return an array as compiled code reads it."""
    return array if _linalg.is_plain(array) else np.require(array, np.float64, ["C", "A"])


def unit_factors(kind, n_components, n_features):
    """Return factors under which logits are negative squared distances."""
    factors = np.empty(FACTOR_SHAPES[kind](n_components, n_features))
    factors.fill(UNIT)
    return factors


def point_kernel(kind, points, shift, single):
    """Return the kernel of ``KernelConstants.points(kind, points, shift)``, for those who make many."""
    factors = unit_factors(kind, *points.shape)
    return _core.Kernel(kind, single, plain(points), factors, np.zeros(len(points)), plain(shift))


def as_computed(points, shift, single):
    """Return points (K, D), float64, as the compute type holds them."""
    if single:
        return shift + (points - shift).astype(np.float32)
    return plain(points)


def shape_fits(kind, shape, n_components, n_features):
    """Return whether factors, or second moments, of this shape are those of a kind."""
    if kind != "low_rank":
        return shape == FACTOR_SHAPES[kind](n_components, n_features)
    return len(shape) == 3 and shape == (n_components, max(shape[1], 2), n_features)


@dataclass(frozen=True, eq=False)
class KernelConstants:
    """A mixture in evaluation form: log pi_k p(x | k) = log_norm_k - 0.5 ||W_k (x - mu_k)||^2.

    The engine sees only this, never a covariance family: families are many, kinds of arithmetic few.

    Parameters
    ----------
    kind : {"full", "diagonal", "spherical", "rotated", "low_rank"}
        How W_k is given.
    means : (K, D) array
    factors : array
        full: (K, D, D), lower-triangular W_k with W_k^T W_k the inverse covariance; diagonal: (K, D), 1 / sigma;
        spherical: (K,), 1 / sigma; rotated: (D, D), one lower-triangular W for all components; low_rank: (K, 1 + q, D),
        first a = 1 / sqrt(psi), then rows g_l Q_l with Q_l orthonormal: W_k has the rows (I - Q^T Q) diag(a) and
        g_l Q_l diag(a), where the covariance is diag(psi) + L L^T, (1 + s_l^2) = g_l^-2 and s_l, Q_l are the singular
        values and vectors of diag(a) L.
    log_norm : (K,) array
        log pi_k - D / 2 log 2 pi + log |W_k|; -inf for a component of weight zero.
    shift : (D,) array
        A point near the data that is taken off the rows before anything else. It matters for float32 rows and for the
        rotated kind, whose rows are rotated before the means are taken off.
    dtype : numpy.dtype, default=float64
        The type that rows are computed in: float32 or float64. Sums over rows are float64 always.
    log_sides : (D,) array, optional
        Where the last component is uniform (`with_uniform`): logarithms of the sides of its box, for rows with gaps.
    """

    kind: str
    means: np.ndarray
    factors: np.ndarray
    log_norm: np.ndarray
    shift: np.ndarray
    dtype: np.dtype = np.dtype(np.float64)
    log_sides: np.ndarray | None = None

    def __post_init__(self):
        """Refuse what does not fit together: behind these arrays are raw pointers."""
        if self.kind not in _core.KINDS:
            raise ValueError(f"kind must be one of {', '.join(_core.KINDS)}, got {self.kind!r}")
        if self.dtype.char not in "fd":
            raise TypeError(f"dtype must be float32 or float64, got {self.dtype}")
        shape = self.log_norm.shape + self.shift.shape
        if len(shape) != 2 or self.means.shape != shape or not shape_fits(self.kind, self.factors.shape, *shape):
            shapes = ", ".join(f"{n} {getattr(self, n).shape}" for n in ("means", "factors", "log_norm", "shift"))
            raise ValueError(f"the shapes of {shapes} do not fit together for the kind {self.kind!r}")

    @property
    def n_components(self):
        """Number of components."""
        return self.means.shape[0]

    @property
    def n_features(self):
        """Number of features."""
        return self.means.shape[1]

    @property
    def rank(self):
        """The rank q of the low-rank kind; 0 for others."""
        return self.factors.shape[1] - 1 if self.kind == "low_rank" else 0

    def axes(self):
        """Return the axes Q_l diag(a) (K, q, D) that moments of the low-rank kind are taken along; None for others."""
        if self.kind != "low_rank":
            return None
        lengths = np.sqrt((self.factors[:, 1:] ** 2).sum(axis=2, keepdims=True))
        return self.factors[:, 1:] / np.where(lengths > 0, lengths, 1.0) * self.factors[:, :1]

    @property
    def single(self):
        """Whether rows are computed in float32."""
        return self.dtype.itemsize == 4

    @property
    def group_rows(self):
        """Rows in a group: chunks of rows that are multiples of it accumulate to the same bits as the whole."""
        return _core.group_rows(self.kind, self.n_components, self.n_features, self.rank, self.single)

    def kernel(self):
        """Return the constants as the compiled passes read them."""
        return _core.Kernel(self.kind, self.single, *self._contiguous())

    @cached_property
    def _prepared(self):
        return {}

    def prepared(self):
        """Return `kernel()` as it was made on the first call at this instruction level: for passes that only read it.

        The preparation touches all K D^2 factors, which is more work than scoring a row with them.
        """
        level = _core.active()
        if level not in self._prepared:
            self._prepared[level] = self.kernel()
        return self._prepared[level]

    def __getstate__(self):
        """Leave out what is prepared on first use: it belongs to this process."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def scorer(self):
        """Return the constants as single rows are scored with them."""
        return _scorer.Scorer(self.kind, self.single, *self._contiguous(), self.has_uniform)

    def _contiguous(self):
        """Return the arrays as compiled code reads them."""
        return map(plain, (self.means, self.factors, self.log_norm, self.shift))

    def unpooled(self):
        """Return the same mixture with a factor of its own for every component, so that no scatter is pooled.

        Rotating before the means come off, and taking the scatter between components off the total, costs as many
        roundings as the squared distance between components in standard deviations. The full kind is free of that.
        """
        if self.kind != "rotated":
            return self
        factors = np.broadcast_to(self.factors, (self.n_components, *self.factors.shape))
        return replace(self, kind="full", factors=factors)

    @cached_property
    def has_uniform(self):
        """Whether the last component is uniform."""
        return self.kind != "rotated" and not self.factors[-1].any()

    def with_uniform(self, log_share, log_density, log_sides=None):
        """Return the mixture with one more component, the last, whose log-density is the same everywhere.

        Its factor is zero. The others get the share `log_share`, a logarithm. Nothing is pooled then. Rows with gaps
        need to know the sides of its box, `log_sides` (D,).
        """
        own = self.unpooled()
        last = np.zeros((1, *own.factors.shape[1:]))
        centre = own.means.mean(axis=0, keepdims=True)
        return replace(
            own,
            means=np.concatenate([own.means, centre]),
            factors=np.concatenate([own.factors, last]),
            log_norm=np.append(own.log_norm + log_share, log_density),
            log_sides=log_sides,
        )

    def pivot(self):
        """Return the points (K, D), float64, that moments are taken about: the means as the compute type holds them."""
        return as_computed(self.means, self.shift, self.single)

    @classmethod
    def points(cls, kind, points, shift, dtype=np.float64, factors=None):
        """Return constants that only place K points (K, D): for moments about them and for distances to them.

        Moments of the low-rank kind need `factors`, which say along which axes.
        """
        K, D = points.shape
        if factors is None:
            factors = unit_factors(kind, K, D)
        return cls(kind, points, factors, np.zeros(K), shift, np.dtype(dtype))
