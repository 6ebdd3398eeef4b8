"""Fits of the mixtures of classes: of all together, or of each by itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastgmm import covariance, fitting
from fastgmm._random import generator
from fastgmm.covariance import Family, Parameters
from fastgmm.engine.rows import Rows
from fastgmm.mixture import Mixture


def fit_together(classifier, rows, codes, weights, counts, priors):
    """One M-step for all classes: the mixture, its number of parameters without weights, that it converged, 1."""
    result = fitting.run(
        rows,
        len(counts),
        covariance_type=classifier.covariance_type,
        init_params=codes.astype(np.int64),
        max_iter=0,
        reg_covar=classifier.reg_covar,
        prior=classifier.prior,
        sample_weight=weights,
        n_threads=classifier.n_threads,
    )
    made, family = result.mixture.parameters, result.mixture.family
    parameters = Parameters(priors.astype(made.means.dtype), *made.arrays()[1:])
    n_parameters = result.mixture.n_parameters - (len(counts) - 1)
    return Mixture.from_parameters(parameters, family), n_parameters, True, 1


def fit_each(classifier, rows, codes, weights, counts, priors):
    """A fit for each class: the mixture of all, how many parameters, whether all converged, iterations."""
    results, rng = [], generator(classifier.random_state)
    for label, count in enumerate(counts):
        members = np.flatnonzero(codes == label)
        if len(members) < count:
            raise ValueError(f"class {label} has {len(members)} rows, but n_components={count} were asked for")
        results.append(
            fitting.run(
                Rows(rows.array[members]),
                int(count),
                covariance_type=classifier.covariance_type,
                tol=classifier.tol,
                max_iter=classifier.max_iter,
                n_init=classifier.n_init,
                init_params=classifier.init_params,
                random_state=rng,
                reg_covar=classifier.reg_covar,
                prior=classifier.prior,
                sample_weight=weights[members],
                n_threads=classifier.n_threads,
            )
        )
    mixtures = [result.mixture for result in results]
    converged = all(result.converged or count == 1 for result, count in zip(results, counts, strict=True))
    n_parameters, n_iter = sum(each.n_parameters for each in mixtures), max(each.n_iter for each in results)
    return _together(mixtures, priors), n_parameters, converged, max(n_iter, 1)


def _together(mixtures: list[Mixture], priors: npt.NDArray[np.float64]) -> Mixture:
    """The mixture of several, of one family, by their probabilities.

    Where components of one have something in common, those of all have not: they are written out.
    """
    parts = [(prior * mixture.weights, mixture) for prior, mixture in zip(priors, mixtures, strict=True)]
    family: Family = mixtures[0].family
    target = family
    if family.coupled:
        target = covariance.get("full" if family.container == "tied" else family.container)
    covariances, factors = [], []
    for mixture in mixtures:
        arrays = mixture.covariances, mixture.precisions_cholesky
        if family.shared:
            arrays = tuple(np.repeat(each[None], mixture.n_components, axis=0) for each in arrays)
        covariances.append(arrays[0])
        factors.append(arrays[1])
    weights = np.concatenate([weights for weights, _ in parts])
    means = np.concatenate([mixture.means for mixture in mixtures])
    parameters = Parameters(weights.astype(means.dtype), means, np.concatenate(covariances), np.concatenate(factors))
    return Mixture.from_parameters(parameters, target)
