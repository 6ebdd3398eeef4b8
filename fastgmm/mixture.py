"""The fitted distribution: a Gaussian mixture that cannot change, its checks, and its file.

    p(x) = sum_k weights_k N(x; means_k, covariances_k)

A `Mixture` knows nothing of how it was estimated. What can be computed from it is in `_density`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from . import covariance
from ._checks import check_shape, check_weights, common_dtype, floats
from ._density import Density
from ._errors import InvalidParameterError, ModelFileError
from ._forms import check_range, complete
from .covariance import Family, Parameters

__all__ = ["Mixture", "load"]


class Mixture(Density):
    """An immutable Gaussian mixture.

    Parameters
    ----------
    weights : array-like of shape (n_components,)
        Mixing proportions: not negative, with sum one (tolerance 1e-8; 1e-6 if float32).
    means : array-like of shape (n_components, n_features)
        Means of the components.
    covariances : array-like, default=None
        Covariances, of shape (K, D, D) for "full", (D, D) for "tied", (K, D) for "diag", (K,) for "spherical", where
        K = n_components and D = n_features; for a structure that of the family which contains it: see
        docs/structures.md; for a family of rank q (K, 1 + q, D), the variances psi of the noise and then the rows of
        L^T, with covariance diag(psi) + L L^T: see docs/low_rank.md.
    covariance_type : str, default="full"
        The covariance family: "full", "tied", "diag", "spherical", one of mclust's structures such as "VEV", or of rank
        q "mfa:q" or "mppca:q".
    precisions : array-like of the shape of `covariances`, default=None
        Inverse covariances.
    precisions_cholesky : array-like of the shape of `covariances`, default=None
        Factors U with precision = U U^T: upper triangular for "full" and "tied", 1/sigma for "diag" and "spherical";
        for families of low rank see `fastgmm.covariance.low_rank`.
        Any other square factor is accepted and replaced by the triangular one.
    feature_names : iterable of str, default=None
        Names of the features. They travel with the mixture into its file and take no part in any computation.

    noise : fastgmm.Noise, default=None
        A uniform component beside; `weights` are then the shares of what is not noise.

    At least one of `covariances`, `precisions` and `precisions_cholesky` is needed; if several are given they must
    describe the same distribution.

    Attributes
    ----------
    weights, means, covariances, precisions, precisions_cholesky : ndarray, read-only
        The parameters, in the shapes above. float32 if all that was given was float32, else float64.
    covariance_type : str
        Name of the covariance family.
    family : fastgmm.covariance.Family
        The covariance family itself.
    parameters : fastgmm.covariance.Parameters
        The parameters as one object, as the families take it.
    n_components, n_features, n_parameters : int
        Sizes, and the number of free parameters (covariances, means, and weights less one).
    dtype : numpy.dtype
        Type of the parameters.
    feature_names : tuple of str or None
        Names of the features, if known.

    Raises
    ------
    ValueError
        If a parameter has the wrong shape, is not finite, is out of range, is not positive definite, or disagrees with
        another.

    Examples
    --------
    >>> from fastgmm import Mixture
    >>> mixture = Mixture([0.5, 0.5], [[-3.0, 0.0], [3.0, 0.0]], [[1.0, 1.0], [1.0, 4.0]], "diag")
    >>> mixture.predict([[-2.0, 1.0], [2.5, 0.0]])
    array([0, 1])
    >>> mixture.n_parameters
    9
    """

    __slots__ = ("_feature_names",)

    _feature_names: tuple[str, ...] | None

    def __init__(
        self,
        weights: npt.ArrayLike,
        means: npt.ArrayLike,
        covariances: npt.ArrayLike | None = None,
        covariance_type: str = "full",
        *,
        precisions: npt.ArrayLike | None = None,
        precisions_cholesky: npt.ArrayLike | None = None,
        feature_names: Iterable[str] | None = None,
        noise: covariance.Noise | None = None,
    ) -> None:
        if noise is not None and not isinstance(noise, covariance.Noise):
            raise InvalidParameterError(f"noise must be None or a fastgmm.Noise, got {noise!r}")
        family = covariance.get(covariance_type)
        means = floats(means, "means")
        if means.ndim != 2 or 0 in means.shape:
            raise ValueError(
                "The parameter 'means' should have the shape of (n_components, n_features), with at least one of each, "
                f"but got {means.shape}"
            )
        family.check_features(means.shape[1])
        if noise is not None and noise.scales is not None and len(noise.scales) != means.shape[1]:
            raise ValueError(f"noise has {len(noise.scales)} scales, but means have {means.shape[1]} features")
        shape = family.covariance_shape(*means.shape)
        weights = check_weights(weights, len(means))
        forms = {"covariance": covariances, "precision": precisions, "precisions_cholesky": precisions_cholesky}
        given = {form: floats(value, f"{family.name} {form}") for form, value in forms.items() if value is not None}
        if not given:
            raise ValueError("One of 'covariances', 'precisions' and 'precisions_cholesky' is needed, but got none.")
        for form, value in given.items():
            check_shape(value, shape, f"{family.name} {form}")
        dtype = common_dtype(weights, means, *given.values())
        covariances, factors = complete(family, given, means)
        with np.errstate(over="ignore", under="ignore"):
            covariances, factors = covariances.astype(dtype, copy=False), factors.astype(dtype, copy=False)
        check_range(covariances, factors, family)
        weights, means = weights.astype(dtype, copy=False), means.astype(dtype, copy=False)
        parameters = Parameters(weights, means, covariances, factors, noise)
        self._set(parameters, family, feature_names)

    def _set(self, parameters: Parameters, family: Family, feature_names: Iterable[str] | None) -> None:
        """Set what the mixture is; the only place that does."""
        names = None if feature_names is None else _checked_names(feature_names, parameters.n_features)
        frozen = Parameters(
            weights=_read_only(parameters.weights),
            means=_read_only(parameters.means),
            covariances=_read_only(parameters.covariances),
            precisions_cholesky=_read_only(parameters.precisions_cholesky),
            noise=parameters.noise,
        )
        for name, value in (
            ("_family", family),
            ("_parameters", frozen),
            ("_feature_names", names),
            ("_constants", {}),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def from_parameters(
        cls, parameters: Parameters, covariance_type: str | Family, *, feature_names: Iterable[str] | None = None
    ) -> Mixture:
        """Wrap parameters that are known to be right, without checking or copying them.

        Parameters
        ----------
        parameters : fastgmm.covariance.Parameters
            Parameters from a covariance family. Their arrays must not be written to afterwards.
        covariance_type : str or fastgmm.covariance.Family
            The family they belong to.
        feature_names : iterable of str, default=None
            Names of the features.

        Returns
        -------
        Mixture

        Raises
        ------
        ValueError
            If the family is unknown, or the covariances have not its shape.

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> mixture = Mixture([1.0], [[0.0]], [1.0], "spherical")
        >>> Mixture.from_parameters(mixture.parameters, "spherical") == mixture
        True
        """
        family = covariance.get(covariance_type) if isinstance(covariance_type, str) else covariance_type
        shape = family.covariance_shape(parameters.n_components, parameters.n_features)
        check_shape(parameters.covariances, shape, f"{family.name} covariance")
        mixture = cls.__new__(cls)
        mixture._set(parameters, family, feature_names)
        return mixture

    @property
    def weights(self) -> npt.NDArray[np.floating]:
        """Mixing proportions, of shape (n_components,)."""
        return self._parameters.weights

    @property
    def means(self) -> npt.NDArray[np.floating]:
        """Means of the components, of shape (n_components, n_features)."""
        return self._parameters.means

    @property
    def covariances(self) -> npt.NDArray[np.floating]:
        """Covariances, in the shape of the family."""
        return self._parameters.covariances

    @property
    def precisions_cholesky(self) -> npt.NDArray[np.floating]:
        """Factors U with precision = U U^T, in the shape of the covariances."""
        return self._parameters.precisions_cholesky

    @property
    def precisions(self) -> npt.NDArray[np.floating]:
        """Inverse covariances U U^T, computed on each access, in the shape of the covariances."""
        with np.errstate(over="ignore", under="ignore"):  # variances below 1e-308 have infinite precisions
            return _read_only(self._family.precisions(self._parameters.precisions_cholesky))

    @property
    def covariance_type(self) -> str:
        """Name of the covariance family."""
        return self._family.name

    @property
    def family(self) -> Family:
        """The covariance family."""
        return self._family

    @property
    def parameters(self) -> Parameters:
        """Weights, means, covariances and factors as one object."""
        return self._parameters

    @property
    def noise(self) -> covariance.Noise | None:
        """The noise component, or None."""
        return self._parameters.noise

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the features, or None."""
        return self._feature_names

    @property
    def n_components(self) -> int:
        """Number of components."""
        return self._parameters.n_components

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self._parameters.n_features

    @property
    def dtype(self) -> np.dtype:
        """Type of the parameters: float32 or float64."""
        return self._parameters.means.dtype

    def save(self, path: str | os.PathLike[str], feature_names: Iterable[str] | None = None) -> None:
        """Write the mixture to a model file, which `fastgmm.load` reads: an .npz without pickle.

        Parameters
        ----------
        path : str or path-like
            The file; one that exists is replaced as a whole.
        feature_names : iterable of str, default=None
            Names of the features to write; None writes those of the mixture, if it has any.

        Raises
        ------
        ValueError
            If there are not as many names as features.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> import fastgmm, os, tempfile
        >>> mixture = fastgmm.Mixture([1.0], [[0.0]], [1.0], "spherical")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     mixture.save(os.path.join(folder, "model.npz"))
        ...     fastgmm.load(os.path.join(folder, "model.npz")) == mixture
        True
        """
        # Imported where it is used: who only predicts need not load the file formats.
        from .io import model_file

        model_file.write(path, *self.file_contents(feature_names))

    def file_contents(self, feature_names: Iterable[str] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the arrays and the header of a model file of the mixture, as `fastgmm.io.model_file.write` takes them.

        Parameters
        ----------
        feature_names : iterable of str, default=None
            As for `save`.

        Returns
        -------
        arrays, header : dict

        Examples
        --------
        >>> from fastgmm import Mixture
        >>> Mixture([1.0], [[0.0]], [1.0], "spherical").file_contents()[1]
        {'covariance_type': 'spherical'}
        """
        from .io import model_file

        names = self._feature_names if feature_names is None else _checked_names(feature_names, self.n_features)
        arrays = {name: getattr(self, name) for name in _FILE_ARRAYS}
        header: dict[str, Any] = {"covariance_type": self.covariance_type}
        if self.noise is not None:
            header["noise"] = [self.noise.weight, self.noise.log_volume, *(self.noise.scales or ())]
            places = dict(zip(model_file.NOISE_ARRAYS, (self.noise.centre, self.noise.axes), strict=True))
            arrays.update({name: np.array(place) for name, place in places.items() if place is not None})
        if names is not None:
            header["feature_names"] = list(names)
        return arrays, header

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        """Refuse: a mixture does not change."""
        raise AttributeError(f"cannot set {name!r}: a Mixture does not change; make a new one")

    def __delattr__(self, name: str) -> NoReturn:
        """Refuse: a mixture does not change."""
        raise AttributeError(f"cannot delete {name!r}: a Mixture does not change; make a new one")

    def _identity(self) -> tuple[Any, ...]:
        """What `__eq__` and `__hash__` compare."""
        arrays = (getattr(self, name) for name in _FILE_ARRAYS)
        return (
            self.covariance_type,
            self.dtype.str,
            self.means.shape,
            self.noise,
            *(array.tobytes() for array in arrays),
        )

    def __eq__(self, other: object) -> bool:
        """Whether family, type and every bit of the parameters are equal; names of features do not count."""
        if not isinstance(other, Mixture):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        """Hash of all that `__eq__` compares."""
        return hash(self._identity())

    def __repr__(self) -> str:
        """Sizes, family, type and weights."""
        weights = np.array2string(self.weights, precision=3, threshold=8, edgeitems=3)
        return (
            f"Mixture(n_components={self.n_components}, n_features={self.n_features}, "
            f"covariance_type={self.covariance_type!r}, dtype={self.dtype.name}, weights={weights})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arrays; unpickling checks them like any others."""
        arrays = {name: np.array(getattr(self, name)) for name in _FILE_ARRAYS}
        return _restore, (arrays, self.covariance_type, self._feature_names, self.noise)


_FILE_ARRAYS = ("weights", "means", "covariances", "precisions_cholesky")
"""The arrays that are the mixture, in a file and in a pickle: both forms of the covariances, so that no bit changes."""


def _restore(
    arrays: dict[str, Any],
    covariance_type: str,
    feature_names: Iterable[str] | None,
    noise: covariance.Noise | None = None,
) -> Mixture:
    """Rebuild a mixture from its arrays, with all checks."""
    return Mixture(covariance_type=covariance_type, feature_names=feature_names, noise=noise, **arrays)


def as_mixture(fitted: Any) -> Mixture:
    """Return the mixture that was fitted.

    Parameters
    ----------
    fitted : Mixture, estimator with `to_mixture`, or FitResult
        The mixture itself, or what has it.

    Returns
    -------
    Mixture

    Raises
    ------
    InvalidParameterError
        If it is none of these.

    Examples
    --------
    >>> import fastgmm
    >>> from fastgmm.mixture import as_mixture
    >>> as_mixture(fastgmm.fit([[0.0], [2.0]])).means
    array([[1.]])
    """
    to_mixture = getattr(fitted, "to_mixture", None)
    found = getattr(fitted, "mixture", fitted) if to_mixture is None else to_mixture()
    if not isinstance(found, Mixture):
        raise InvalidParameterError(
            f"mixture must be a fastgmm.Mixture, or a fitted estimator or FitResult, got {type(fitted).__name__}"
        )
    return found


def load(path: str | os.PathLike[str]) -> Mixture:
    """Read a mixture from a model file.

    Parameters
    ----------
    path : str or path-like
        A file that `Mixture.save`, or the `save` of an estimator, has written.

    Returns
    -------
    Mixture
        The same bits that were saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        A ValueError: if the file is malformed, truncated, of an unknown version, or does not describe a mixture.
        Nothing in it is executed, and nothing is used before all of it is checked.

    Examples
    --------
    >>> import fastgmm, os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.npz")
    ...     fastgmm.Mixture([1.0], [[0.0]], [1.0], "spherical").save(path)
    ...     fastgmm.load(path).n_components
    1
    """
    return load_all(path)[0]


def load_all(path: str | os.PathLike[str]) -> tuple[Mixture, dict[str, Any], dict[str, Any]]:
    """Read a mixture from a model file, and all arrays and the header: see `load`."""
    from .io import model_file

    arrays, header = model_file.read_all(path)
    try:
        named = {name: arrays[name] for name in _FILE_ARRAYS}
        noise = None
        if "noise" in header:
            weight, log_volume, *scales = header["noise"]
            noise = covariance.Noise(
                weight, log_volume, tuple(scales) or None, *map(arrays.get, model_file.NOISE_ARRAYS)
            )
        return _restore(named, header["covariance_type"], header.get("feature_names"), noise), arrays, header
    except ValueError as error:
        raise ModelFileError(f"{os.fspath(path)} does not describe a mixture: {error}") from error


def _read_only(array: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return a view through which nobody writes."""
    view = array.view()
    view.flags.writeable = False
    return view


def _checked_names(names: Iterable[str], n_features: int) -> tuple[str, ...]:
    """Return names of features as a tuple, or raise a ValueError."""
    checked = tuple(names) if isinstance(names, Iterable) and not isinstance(names, str) else (names,)
    if isinstance(names, str) or not all(isinstance(name, str) for name in checked):
        raise ValueError(f"feature_names should be strings, but got {names!r}")
    if len(checked) != n_features:
        raise ValueError(f"feature_names should be {n_features} names, one for each feature, but got {len(checked)}")
    return tuple(str(name) for name in checked)
