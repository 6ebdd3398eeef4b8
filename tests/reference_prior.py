"""The plain NumPy and SciPy twin of the conjugate prior: log-densities on dense matrices, by their definition.

Nothing here imports fastgmm.
"""

import numpy as np
from scipy import stats


def log_prior(name, means, dense, *, shrinkage, mean, dof, scale):
    """Log-density of means (K, D) and covariances (K, D, D) of a structure, its constants included.

    Matrices are inverse Wishart, variances inverse gamma; where all components have one covariance it counts once.
    """
    K, D = means.shape
    total = 0.0
    if shrinkage > 0:
        total += sum(stats.multivariate_normal(mean, dense[k] / shrinkage).logpdf(means[k]) for k in range(K))
    for k in range(1 if name in ("EII", "EEI", "EEE", "E") else K):
        if name in ("E", "V") or name[1:] == "II":
            total += stats.invgamma(dof / 2, scale=scale / 2).logpdf(dense[k][0, 0])
        elif name[2] == "I":
            each = np.broadcast_to(scale, D)
            total += sum(stats.invgamma(dof / 2, scale=each[j] / 2).logpdf(dense[k][j, j]) for j in range(D))
        else:
            total += stats.invwishart(dof, scale).logpdf(dense[k])
    return float(total)


def log_posterior(name, weights, means, dense, X, resp, **prior):
    """Expected log-likelihood of rows with their components, plus the log-prior."""
    total = log_prior(name, means, dense, **prior)
    for k, (weight, mean, covariance) in enumerate(zip(weights, means, dense, strict=True)):
        total += resp[:, k] @ (np.log(weight) + stats.multivariate_normal(mean, covariance).logpdf(X))
    return float(total)
