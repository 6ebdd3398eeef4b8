"""Plain NumPy twins of what accelerations add to EM: the length of a step, the norm of the gradient, and L-BFGS."""

import numpy as np
import reference


def step(family, before, after):
    """The step between two models as a vector whose length is that of the complete-data information."""
    K, D = before.means.shape
    U, V = (
        np.swapaxes(reference.dense_factors(reference.constants_of(family, model)), 1, 2) for model in (before, after)
    )
    share = before.weights if family != "tied" else np.full(K, 1 / K)  # one covariance, counted once
    parts = [(after.weights - before.weights) / np.sqrt(before.weights)]
    for k in range(K):
        parts.append(np.sqrt(before.weights[k]) * (after.means[k] - before.means[k]) @ U[k])
        B = np.linalg.inv(U[k]) @ V[k]
        parts.append(np.sqrt(2 * share[k]) * np.log(np.diagonal(B)))
        parts.append(np.sqrt(share[k]) * B[np.triu_indices(D, 1)])
    return np.concatenate(parts)


def gradient_norm(family, model, X):
    """Norm of the gradient of the mean log-likelihood, from the scores of weights, means and covariances."""
    K, D = model.means.shape
    resp = reference.responsibilities(reference.log_joint(reference.constants_of(family, model), X))
    W = reference.dense_factors(reference.constants_of(family, model))
    p = resp.mean(axis=0)  # (K,)
    square = ((p - model.weights) ** 2 / model.weights).sum()
    pooled = np.zeros((D, D))
    for k in range(K):
        y = (X - model.means[k]) @ W[k].T
        square += np.linalg.norm((resp[:, k] @ y) / len(X)) ** 2 / model.weights[k]
        score = (resp[:, k] * y.T) @ y / len(X) - p[k] * np.eye(D)  # of the covariance, twice
        pooled += score
        if family == "full":
            square += 0.5 * (score**2).sum() / model.weights[k]
        elif family == "diag":
            square += 0.5 * (np.diagonal(score) ** 2).sum() / model.weights[k]
        elif family == "spherical":
            square += 0.5 * np.trace(score) ** 2 / D / model.weights[k]
    if family == "tied":
        square += 0.5 * (pooled**2).sum()
    return np.sqrt(square)


def lbfgs(family, X, start, n_passes):
    """L-BFGS of ``n_passes`` passes: the last image of EM, the bounds of the kept points, and how trials went.

    The largest length of a trial, in the metric of `step`, is halved by one that fails and doubled by one that has it.
    """
    centre, scale = X.mean(axis=0), X.std(axis=0)
    point, image, kept, trial, pairs, bounds, trials = start, start, None, None, [], [], []
    kept_model, f, em = start, None, None
    kept_bound, radius, reach, saved = -np.inf, 0.25, 0.0, 0.0
    for n in range(1, n_passes + 1):
        mapped, bound = reference.em_step(family, point, X)
        if trial is not None:
            trials.append(bool(bound >= kept_bound + 0.1 * em @ em))
            if not trials[-1]:
                point, trial, pairs, radius = image, None, [], reach / 2
                bounds.append(kept_bound)
                continue
            saved += min((bound - kept_bound) / (em @ em), reach / np.linalg.norm(em)) - 1
            radius = min(2 * reach, 0.25) if reach >= radius else radius
        here = reference.coordinates(family, point, centre, scale) if trial is None else trial
        f_new = reference.coordinates(family, mapped, centre, scale) - here
        em_new = step(family, point, mapped)
        if kept is not None:
            s, y = step(family, kept_model, point), em - em_new
            if s @ y > 1e-8 * y @ y:
                pairs = [*pairs[-4:], (here - kept, f - f_new, s, y)]
        slow = kept is None or trial is not None
        if not slow:
            f_f, f_new_f, new_new = em @ em, em_new @ em, em_new @ em_new
            slow = new_new >= 0.1 * f_f and f_new_f >= 0.5 * np.sqrt(f_f * new_new)
        kept, kept_model, kept_bound, f, em, image = here, point, bound, f_new, em_new, mapped
        bounds.append(bound)
        point, trial, lost, least = mapped, None, trials.count(False), 2 * np.linalg.norm(em)
        if pairs and slow and least <= 0.25 and lost + 1 <= 0.2 * (n + 1 - lost + saved):
            ahead, length = direction(pairs, f, em)
            reach = min(np.linalg.norm(length), max(radius, least))
            trial = kept + ahead * (reach / np.linalg.norm(length))
            point = reference.from_coordinates(family, trial, mapped, centre, scale)
    return image, bounds, trials


def direction(pairs, f, em):
    """H f, where the matrix H is BFGS's update (I - r s y') H (I - r y s') + r s s' of a multiple of I, pair by pair.

    Inner products are those of steps of known length, results are in coordinates and as such a step.
    """
    s, y = pairs[-1][2:]
    scale = min((s @ y) / (y @ y), 3.0)

    def apply(n, f, em):
        if n == 0:
            return scale * f, scale * em
        s, y, s_length, y_length = pairs[n - 1]
        r = 1 / (s_length @ y_length)
        a = r * (s_length @ em)
        f, em = apply(n - 1, f - a * y, em - a * y_length)
        b = a - r * (y_length @ em)
        return f + b * s, em + b * s_length

    return apply(len(pairs), f, em)
