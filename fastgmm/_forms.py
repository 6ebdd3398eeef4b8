"""The three forms of a covariance: Sigma, its inverse, and a factor U with U U^T = inverse. Each gives the others.

Users may give any of them, and several if they describe the same distribution.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ._errors import IllDefinedCovarianceError
from .covariance import Family, LowRank
from .covariance._matrices import check_symmetric

_Array = npt.NDArray[np.floating]


def complete(family: Family, given: dict[str, _Array], means: _Array) -> tuple[_Array, _Array]:
    """Return covariances and factors from whichever forms are given, which must agree.

    Parameters
    ----------
    family : Family
        The covariance family.
    given : dict
        Arrays of the family's shape under "covariance", "precision", "precisions_cholesky"; at least one of them.
    means : ndarray of shape (n_components, n_features)
        Means of the components: covariances of data far from the origin may have lost digits by that.

    Returns
    -------
    covariances, factors : ndarray
        In the family's shape. What was given is returned as it was given, bit for bit.

    Raises
    ------
    ValueError
        If a form is not symmetric and positive definite, if two of them describe different distributions, or if one
        that was not given is out of the range of float64.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import covariance
    >>> from fastgmm._forms import complete
    >>> complete(covariance.get("diag"), {"precision": np.array([[4.0, 1.0]])}, np.zeros((1, 2)))
    (array([[0.25, 1.  ]]), array([[2., 1.]]))
    """
    # A narrow type only stores: everything is derived and compared in float64.
    wide = {form: array.astype(np.float64) for form, array in given.items()}
    if isinstance(family, LowRank):
        return _complete_low_rank(family, wide, max(float(np.finfo(array.dtype).eps) for array in given.values()))
    matrices = _are_matrices(family)
    n_components, n_features = means.shape
    if "covariance" in given and matrices:
        square = given["covariance"].reshape(-1, n_features, n_features)
        check_symmetric(square, f"{family.name} covariance", _cancellation(means, square.dtype))
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):  # `check_range` says it better
        if "precisions_cholesky" in given:
            factors = _triangular(wide["precisions_cholesky"], family.name) if matrices else wide["precisions_cholesky"]
            if not matrices and factors.min() <= 0.0:
                raise ValueError(f"'{family.name} precisions_cholesky' should be positive")
            covariances = wide["covariance"] if "covariance" in given else _covariances(factors, matrices)
        elif "covariance" in given:
            covariances = wide["covariance"]
            symmetric = _symmetric(covariances) if matrices else covariances
            factors = _factors(family, symmetric, n_components, n_features, matrices)
        else:
            covariances, factors = family.from_precisions(wide["precision"], n_components, n_features)
    if len(given) > 1:
        eps = max(float(np.finfo(array.dtype).eps) for array in given.values())
        for form in ("covariance", "precision"):
            if form in wide:
                _check_agreement(form, wide[form], factors, matrices, eps, family.name)
    check_range(covariances, factors, family)
    check_structure(family, covariances, factors, max(float(np.finfo(array.dtype).eps) for array in given.values()))
    return covariances, factors


def _complete_low_rank(family: LowRank, given: dict[str, _Array], eps: float) -> tuple[_Array, _Array]:
    """Return covariances and factors of a family of low rank, as `complete`; `eps` is the unit of what was given."""
    name, (K, _, D) = family.name, next(iter(given.values())).shape
    forms: dict[str, tuple[_Array, _Array]] = {}
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        if "covariance" in given:
            covariances = given["covariance"]
            try:
                forms["covariance"] = covariances, family.from_covariances(covariances, K, D)
            except IllDefinedCovarianceError:
                raise ValueError(f"the first rows of '{name} covariance', psi, should be positive") from None
        if "precisions_cholesky" in given:
            factors = given["precisions_cholesky"]
            forms["precisions_cholesky"] = family.covariances_of(factors), factors
        if "precision" in given:
            forms["precision"] = family.from_precisions(given["precision"], K, D)
    covariances, factors = next(iter(forms.values()))
    factors = given.get("precisions_cholesky", factors)
    check_range(covariances, factors, family)
    for form, (other, _) in forms.items():
        if not family.agree(covariances, other, 16 * np.sqrt(eps)):
            raise ValueError(
                f"The {name} parameters disagree: '{form}' does not belong to the same distribution as the other forms "
                "of the covariance that were given"
            )
    psi = covariances[:, 0]
    if not (np.abs(family.noise(psi) - psi) <= np.sqrt(eps) * psi).all():
        raise ValueError(f"the first rows of '{name} covariance', psi, should be the same in all features")
    return covariances, factors


def check_structure(family: Family, covariances: _Array, factors: _Array, eps: float, form: str = "covariance") -> None:
    """Raise a ValueError if covariances do not have what those of the family's components have in common.

    They are compared with the nearest that do, as `_check_agreement` compares.

    Parameters
    ----------
    family : Family
    covariances, factors : ndarray
        Float64, in the family's shape, positive definite.
    eps : float
        Unit of the type that they were given in.
    form : str
        What to call them.
    """
    if not family.coupled or family.shared:
        return
    matrices = _are_matrices(family)
    covariances = _symmetric(covariances) if matrices else covariances
    nearest = family.nearest(covariances, np.ones(len(covariances)), previous=covariances)
    if not _agrees("covariance", nearest, factors, matrices, eps, any_direction=True):
        raise ValueError(f"'{family.name} {form}' should have the structure {family.name}: {family.summary}")


def check_range(covariances: _Array, factors: _Array, family: Family) -> None:
    """Raise a ValueError if covariances or factors became infinite, or variances zero, in the type that they have."""
    if isinstance(family, LowRank):
        variances = covariances[:, 0]
    else:
        variances = np.diagonal(covariances, axis1=-2, axis2=-1) if _are_matrices(family) else covariances
    if not (np.isfinite(covariances).all() and np.isfinite(factors).all() and variances.min() > 0.0):
        raise ValueError(
            f"The {family.name} covariances or their inverses are out of the range of {covariances.dtype}."
        )


def _cancellation(means: _Array, dtype: np.dtype) -> _Array:
    """Return how far X^T X - sum_k n_k mu_k mu_k^T, which scikit-learn computes as such, is from symmetric, (D, D).

    The first product is symmetric; the second rounds each of its K terms.
    """
    with np.errstate(over="ignore", under="ignore"):
        reach = np.abs(means.astype(np.float64)).max(axis=0)
        return (len(means) + 2) * np.finfo(dtype).eps * np.outer(reach, reach)


def _symmetric(covariances: _Array) -> _Array:
    """Return what the lower triangles say: scikit-learn's factorisations read those alone."""
    return np.tril(covariances) + np.swapaxes(np.tril(covariances, -1), -1, -2)


def _factors(family: Family, covariances: _Array, n_components: int, n_features: int, matrices: bool) -> _Array:
    """Return the factors of covariances, or raise a ValueError that names the component where they do not exist."""
    try:
        return family.from_covariances(covariances, n_components, n_features)
    except IllDefinedCovarianceError as error:
        what = "symmetric, positive-definite" if matrices else "positive"
        where = "" if error.component is None else f"; component {error.component} is not"
        raise ValueError(f"'{family.name} covariance' should be {what}{where}") from None


def _are_matrices(family: Family) -> bool:
    """Whether the family's covariances are matrices (full, tied), and not variances (diag, spherical)."""
    return family.covariance_shape(1, 2)[-2:] == (2, 2)


def _covariances(factors: _Array, matrices: bool) -> _Array:
    """Return U^-T U^-1, or 1 / u^2: never by way of U U^T, which would square the condition number."""
    if not matrices:
        return factors**-2.0
    inverse = np.linalg.inv(factors)
    return np.swapaxes(inverse, -1, -2) @ inverse


def _triangular(factors: _Array, family_name: str) -> _Array:
    """Return the upper triangular factors with positive diagonals of the same precisions.

    Such factors are returned untouched. Others (people take the lower triangle of a Cholesky factorisation) are
    reduced by U = R Q with Q orthogonal, so that U U^T = R R^T.
    """
    diagonal = np.diagonal(factors, axis1=-2, axis2=-1)
    if np.array_equal(np.triu(factors), factors) and diagonal.min() > 0.0:
        return factors
    # QR of the reversed transpose is RQ of the matrix: rows reversed, the lower triangle becomes the upper one.
    reduced = np.swapaxes(np.linalg.qr(np.swapaxes(factors[..., ::-1, :], -1, -2), mode="r"), -1, -2)[..., ::-1, ::-1]
    diagonal = np.diagonal(reduced, axis1=-2, axis2=-1)
    largest = np.abs(factors).max(axis=(-2, -1))
    if (np.abs(diagonal).min(axis=-1) <= np.finfo(np.float64).eps * largest).any():
        raise ValueError(f"'{family_name} precisions_cholesky' should be invertible")
    return np.triu(reduced * np.sign(diagonal)[..., None, :])


def _check_agreement(form: str, array: _Array, factors: _Array, matrices: bool, eps: float, family_name: str) -> None:
    """Raise a ValueError if a covariance or precision describes another distribution than the factors."""
    if matrices and form == "covariance":
        array = _symmetric(array)
    if not _agrees(form, array, factors, matrices, eps):
        raise ValueError(
            f"The {family_name} parameters disagree: '{form}' does not belong to the same distribution as the other "
            "forms of the covariance that were given"
        )


def _agrees(
    form: str, array: _Array, factors: _Array, matrices: bool, eps: float, *, any_direction: bool = False
) -> bool:
    """Return whether a covariance or precision describes the distribution of the factors.

    Rounding a covariance to `eps` changes U^T Sigma U by about eps times the condition number of Sigma, so this much
    disagreement is no mistake: scaled to a unit diagonal, or not, if what was rounded is along `any_direction`.
    """
    if matrices:
        inverse = np.linalg.inv(factors)
        sigma = np.sqrt((inverse**2).sum(axis=-2))
        if any_direction:
            sigma = np.broadcast_to(sigma.max(axis=-1, keepdims=True), sigma.shape)
        condition = ((sigma[..., :, None] * factors) ** 2).sum(axis=(-2, -1))
        white = factors if form == "covariance" else np.swapaxes(inverse, -1, -2)
        product = np.swapaxes(white, -1, -2) @ array @ white
        residual = np.abs(product - np.eye(factors.shape[-1])).max(axis=(-2, -1))
    else:
        condition = 1.0
        # One factor after the other: the square of 1 / sigma overflows before a variance is zero.
        product = array * factors * factors if form == "covariance" else array / factors / factors
        residual = np.abs(product - 1.0)
    size = factors.shape[-1] if matrices else 1
    tolerance = np.sqrt(eps) + 16.0 * eps * size * condition
    return bool(np.all(residual <= tolerance))
