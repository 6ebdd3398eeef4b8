"""Sufficient statistics: all that an M-step needs to know of the rows."""

import io
import zlib
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from fastgmm.engine import _linalg
from fastgmm.engine._core import KINDS
from fastgmm.engine.constants import shape_fits

__all__ = ["Statistics"]

_ARRAYS = ("n", "s", "S", "pivot", "shift")
_MAGIC = b"fastgmm statistics 1\n"  # then four bytes of checksum, then an .npz
_WITHIN = {
    "full": _linalg.within_full,
    "diagonal": _linalg.within_diagonal,
    "spherical": _linalg.within_spherical,
}


def _read_only(array):
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Statistics:
    """Weighted sums over rows under responsibilities r_ik, float64, mergeable and serialisable.

    Parameters
    ----------
    kind : {"full", "diagonal", "spherical", "rotated", "low_rank"}
        Kernel kind, which decides the shape of `S`.
    n : (K,) array
        sum_i r_ik.
    s : (K, D) array
        sum_i r_ik (x_i - pivot_k).
    S : array
        Second moments about the pivot. full: (K, D, D), sum_i r_ik (x_i - pivot_k) (x_i - pivot_k)^T; diagonal: (K,
        D), its diagonal; spherical: (K,), its trace; rotated: (D, D), the total scatter sum_i w_i (x_i - shift) (x_i
        - shift)^T about `shift`, which does not depend on the responsibilities; low_rank: (K, 1 + q, D), the diagonal,
        and sum_i r_ik t_il (x_i - pivot_k) for the q coordinates t_i = axes_k (x_i - pivot_k).
    pivot : (K, D) array
        The points that offsets are taken from, close to the means: that keeps the cancellation in `within` harmless.
    shift : (D,) array
        The point that the total scatter is taken about.
    log_likelihood : float
        sum_i w_i log p(x_i) under the parameters that gave the responsibilities; 0 where they were given.
    total_weight : float
        sum_i w_i.
    n_rows : int
        Rows with positive weight.
    axes : (K, q, D) array, optional
        Of the low-rank kind: see `KernelConstants.axes`.

    Examples
    --------
    >>> import numpy as np, fastgmm
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> one = fastgmm.Mixture([1.0], [[0.0]], [[[1.0]]])
    >>> a, b = (fastgmm.accumulate(part, one.constants()) for part in (X[:1], X[1:]))
    >>> (a + b).means()
    array([[1.]])
    """

    kind: str
    n: np.ndarray
    s: np.ndarray
    S: np.ndarray
    pivot: np.ndarray
    shift: np.ndarray
    log_likelihood: float
    total_weight: float
    n_rows: int
    axes: np.ndarray | None = None

    def __post_init__(self):
        """Hold native float64 arrays in C order, since compiled code reads them, of shapes that fit together."""
        for name in self._arrays:
            array = getattr(self, name)
            if not _linalg.is_plain(array):
                object.__setattr__(self, name, np.require(array, np.float64, ["C", "A"]))
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        shape = self.n.shape + self.shift.shape
        fits = len(shape) == 2 and self.s.shape == self.pivot.shape == shape
        fits = fits and shape_fits(self.kind, self.S.shape, *shape)
        if not fits or self._axes_shape() != (None if self.axes is None else self.axes.shape):
            shapes = ", ".join(f"{name} {getattr(self, name).shape}" for name in self._arrays)
            raise ValueError(f"the shapes of {shapes} do not fit together for the kind {self.kind!r}")

    @classmethod
    def of_pass(cls, *values):
        """Return the Statistics of what a pass has made, in the order of the parameters, without looking at it again.

        A small problem has hundreds of passes in the time that the checks of a few hundred would take.
        """
        made = object.__new__(cls)
        made.__dict__.update(zip(_FIELDS, values, strict=True))
        return made

    def _axes_shape(self):
        """Return the shape of `axes`; None where the kind has none."""
        return self.S[:, 1:].shape if self.kind == "low_rank" else None

    @property
    def _arrays(self):
        """Names of the arrays that there are."""
        return _ARRAYS if self.axes is None else (*_ARRAYS, "axes")

    @property
    def n_components(self):
        """Number of components."""
        return self.s.shape[0]

    @property
    def n_features(self):
        """Number of features."""
        return self.s.shape[1]

    @cached_property
    def _means(self):
        return _read_only(_linalg.means(self.n, self.s, self.pivot))

    @cached_property
    def _within(self):
        if self.kind == "rotated":
            within, cancellation = _linalg.within_rotated(self.n, self._means, self.S, self.shift)
        elif self.kind == "low_rank":
            within = self.S.copy()
            diagonal, cancellation = _linalg.within_diagonal(self.n, self.s, np.ascontiguousarray(self.S[:, 0]))
            within[:, 0] = diagonal
            mass = np.where(self.n > 0, self.n, 1.0)[:, None, None]
            within[:, 1:] -= (self.axes @ self.s[:, :, None]) * (self.s[:, None, :] / mass)
        else:
            within, cancellation = _WITHIN[self.kind](self.n, self.s, self.S)
        return _read_only(within), cancellation

    def means(self):
        """Return the means (K, D), read-only; the pivot for components without mass."""
        return self._means

    def within(self):
        """Return the second moments about the means instead of the pivots, in the shape of `S`, read-only.

        For the rotated kind it is the scatter within components, pooled: total minus between.
        """
        return self._within[0]

    def mean_and_variances(self):
        """Return mean (D,), variances (D,) and weight, of the only component and of kind "diagonal".

        Raises
        ------
        IllDefinedCovarianceError
            If the squares of the rows have overflowed float64.
        """
        return _linalg.mean_and_variances(self.n, self.s, self.S, self.pivot)

    def cancellation(self):
        """Return the factor by which `within` cancelled, the largest over components and features.

        The relative rounding error of `within` is about this many times that of a sum. With the pivots at the
        previous means the factor stays small unless a component shrinks by orders of magnitude in one iteration.
        """
        return self._within[1]

    def about(self, pivot, shift):
        """Return the same statistics about other points.

        Parameters
        ----------
        pivot : (K, D) array
        shift : (D,) array
        """
        step = self.pivot - pivot  # x - pivot = (x - self.pivot) + step
        s = self.s + self.n[:, None] * step
        if self.kind == "full":
            cross = self.s[:, :, None] * step[:, None, :]
            S = self.S + cross + cross.transpose(0, 2, 1) + self.n[:, None, None] * step[:, :, None] * step[:, None, :]
        elif self.kind == "diagonal":
            S = self.S + 2 * self.s * step + self.n[:, None] * step**2
        elif self.kind == "spherical":
            S = self.S + (2 * self.s * step + self.n[:, None] * step**2).sum(axis=1)
        elif self.kind == "low_rank":
            S = self.S.copy()
            S[:, 0] += 2 * self.s * step + self.n[:, None] * step**2
            # t moves by axes step: sum r (t + axes step) (x - pivot + step)^T
            sums, moved = self.axes @ self.s[:, :, None], self.axes @ step[:, :, None]
            S[:, 1:] += sums * step[:, None, :] + moved * s[:, None, :]
        else:
            move = self.shift - shift
            sums = (self.s + self.n[:, None] * (self.pivot - self.shift)).sum(axis=0)  # of x - self.shift
            cross = np.outer(sums, move)
            S = self.S + cross + cross.T + self.total_weight * np.outer(move, move)
        return replace(self, s=s, S=S, pivot=pivot, shift=shift)

    def scaled(self, factor):
        """Return the statistics of the same rows with all weights times a factor."""
        return replace(
            self,
            n=self.n * factor,
            s=self.s * factor,
            S=self.S * factor,
            log_likelihood=self.log_likelihood * factor,
            total_weight=self.total_weight * factor,
        )

    def without_last(self):
        """Return the statistics of all components but the last; the log-likelihood and weight stay those of all."""
        axes = None if self.axes is None else self.axes[:-1]
        return replace(self, n=self.n[:-1], s=self.s[:-1], S=self.S[:-1], pivot=self.pivot[:-1], axes=axes)

    def with_last(self, weight):
        """Return the statistics with one component more, the last, of rows of some weight that lie at one point."""
        s, S = (np.concatenate([a, np.zeros((1, *a.shape[1:]))]) for a in (self.s, self.S))
        pivot = np.concatenate([self.pivot, self.pivot.mean(axis=0, keepdims=True)])
        n, total = np.append(self.n, weight), self.total_weight + weight
        return replace(self, n=n, s=s, S=S, pivot=pivot, total_weight=total)

    def with_means(self, held, means):
        """Return the statistics as an M-step has to see them where some means are held.

        `means` and `within` of the result are the given means, and the second moments about them.

        Parameters
        ----------
        held : (K,) array of bool
            Which means are given; the others are estimated.
        means : (K, D) array
        """
        about = self.about(np.where(held[:, None], means, self.pivot), self.shift)
        S = about.S
        if self.kind == "rotated":
            # W = S - sum_k n_k g_k g_k^T with g_k = mean_k - shift; about a given mean it is n_k (x_k - mean_k)(...)^T
            # more than about the average x_k. Both together are -n_k (x_k - mean_k) g_k^T and its transpose in S.
            cross = about.s[held].T @ (means[held] - self.shift)
            S = S - cross - cross.T
        return replace(about, s=np.where(held[:, None], 0.0, about.s), S=S)

    def __add__(self, other):
        """Return the statistics of both sets of rows, about the first one's pivots."""
        if not isinstance(other, Statistics):
            return NotImplemented
        if self.kind != other.kind or self.s.shape != other.s.shape:
            raise ValueError(
                f"statistics of kind {self.kind!r} with shape {self.s.shape} cannot be added to those of kind "
                f"{other.kind!r} with shape {other.s.shape}"
            )
        if self.axes is not None and not np.array_equal(self.axes, other.axes):
            raise ValueError("statistics of kind 'low_rank' along different axes cannot be added")
        if not (np.array_equal(self.pivot, other.pivot) and np.array_equal(self.shift, other.shift)):
            other = other.about(self.pivot, self.shift)
        return replace(
            self,
            n=self.n + other.n,
            s=self.s + other.s,
            S=self.S + other.S,
            log_likelihood=self.log_likelihood + other.log_likelihood,
            total_weight=self.total_weight + other.total_weight,
            n_rows=self.n_rows + other.n_rows,
        )

    def to_bytes(self):
        """Return the statistics as bytes, to send or store them; nothing in them is executable."""
        out = io.BytesIO()
        scalars = np.array([self.log_likelihood, self.total_weight, self.n_rows])
        np.savez(out, kind=np.array(self.kind), scalars=scalars, **{name: getattr(self, name) for name in self._arrays})
        stored = out.getvalue()
        return _MAGIC + zlib.crc32(stored).to_bytes(4, "little") + stored

    @classmethod
    def from_bytes(cls, data):
        """Return the statistics that `to_bytes` wrote.

        Raises
        ------
        ValueError
            If the bytes are not statistics, or not as they were written.
        """
        head = len(_MAGIC) + 4
        if data[: len(_MAGIC)] != _MAGIC or zlib.crc32(data[head:]).to_bytes(4, "little") != data[len(_MAGIC) : head]:
            raise ValueError("data does not hold Statistics, or was damaged")
        try:
            with np.load(io.BytesIO(data[head:]), allow_pickle=False) as stored:
                likelihood, weight, n_rows = stored["scalars"].tolist()
                arrays = {name: stored[name] for name in (*_ARRAYS, "axes") if name != "axes" or name in stored}
                return cls(
                    str(stored["kind"]), **arrays, log_likelihood=likelihood, total_weight=weight, n_rows=int(n_rows)
                )
        except Exception as error:
            raise ValueError(f"data does not hold Statistics: {error}") from error


_FIELDS = tuple(field.name for field in fields(Statistics))
