"""The agreement between an estimator's fitted attributes and the `Mixture` that computes with them.

People edit attributes: they assign `means_`, or write into it. So that predictions always follow the attributes, and
never use unchecked ones, every use compares the attributes with the bytes that the mixture at hand was made from. That
costs a copy of the parameters, which is little beside the pass over K x D x D factors that follows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastgmm.covariance import Noise
from fastgmm.mixture import Mixture

FORMS = {"covariances_": "covariances", "precisions_": "precisions", "precisions_cholesky_": "precisions_cholesky"}
"""Attributes that say the same thing in three forms, and the names that `Mixture` has for them."""

NOISE = ("noise_weight_", "noise_log_volume_", "noise_scales_", "noise_centre_", "noise_axes_")
"""Fitted attributes of a noise component, if there is one."""

PARAMETERS = ("weights_", "means_", *FORMS)
"""Fitted attributes that are the mixture."""


class LiveMixture:
    """The mixture that an estimator's attributes describe, made anew when they have changed."""

    def __init__(self) -> None:
        # What the mixture was made from, and the mixture. Replaced as a whole, so that threads see a pair that fits.
        self._state: tuple[dict[str, Any], Mixture | None] = ({}, None)

    def publish(self, attributes: dict[str, Any], covariance_type: str, mixture: Mixture) -> None:
        """Set the attributes that describe the mixture, as arrays that the user may write into.

        Parameters
        ----------
        attributes : dict
            The estimator's `__dict__`.
        covariance_type : str
            The estimator's parameter.
        mixture : Mixture
            The fitted mixture.
        """
        for name in PARAMETERS:
            attributes[name] = np.array(getattr(mixture, name.removesuffix("_")))
        for name in NOISE:
            attributes.pop(name, None)
        if mixture.noise is not None:
            attributes.update(zip(NOISE, dataclasses.astuple(mixture.noise), strict=True))
        names = attributes.get("feature_names_in_")
        if names is not None or mixture.feature_names is not None:
            mixture = Mixture.from_parameters(mixture.parameters, mixture.family, feature_names=names)
        self._state = (_seen(attributes, covariance_type), mixture)

    def current(self, attributes: dict[str, Any], covariance_type: str) -> Mixture:
        """Return the mixture that the attributes describe now.

        If one form of the covariances was changed, the others follow: they are recomputed and set. If several were,
        they have to agree.

        Parameters
        ----------
        attributes : dict
            The estimator's `__dict__`.
        covariance_type : str
            The estimator's parameter.

        Returns
        -------
        Mixture

        Raises
        ------
        ValueError
            If the attributes describe no mixture: wrong shapes, not finite, not positive definite, disagreeing.
        """
        before, mixture = self._state
        now = _seen(attributes, covariance_type)
        if mixture is not None and now == before:
            return mixture
        present = [name for name in FORMS if attributes.get(name) is not None]
        changed = [name for name in present if now[name] != before.get(name)]
        trusted = changed or present
        mixture = Mixture(
            attributes["weights_"],
            attributes["means_"],
            covariance_type=covariance_type,
            feature_names=attributes.get("feature_names_in_"),
            noise=Noise(*(attributes[name] for name in NOISE)) if NOISE[0] in attributes else None,
            **{FORMS[name]: attributes[name] for name in trusted},
        )
        for name in PARAMETERS:
            stale = name in FORMS and name not in trusted
            if stale or not isinstance(attributes[name], np.ndarray):
                attributes[name] = np.array(getattr(mixture, name.removesuffix("_")))
        self._state = (_seen(attributes, covariance_type), mixture)
        return mixture


def is_fitted(attributes: Mapping[str, Any]) -> bool:
    """Whether weights, means and some form of the covariances are there, from a fit or set by hand."""
    return (
        attributes.get("weights_") is not None
        and attributes.get("means_") is not None
        and any(attributes.get(name) is not None for name in FORMS)
    )


def _seen(attributes: dict[str, Any], covariance_type: str) -> dict[str, Any]:
    """What the attributes are, in a form that compares by value.

    Only arrays do. Whatever else a user has assigned is a new object each time, equal to nothing, and so converted.
    """
    names = attributes.get("feature_names_in_")
    seen: dict[str, Any] = {"covariance_type": covariance_type, "names": None if names is None else tuple(names)}
    seen["noise"] = [attributes.get(name) for name in NOISE]
    for name in PARAMETERS:
        value = attributes.get(name)
        seen[name] = (value.dtype, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else object()
    return seen
