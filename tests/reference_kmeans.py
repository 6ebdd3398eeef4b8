"""Plain twins of k-means: every distance anew in every step."""

import numpy as np


def _distances2(X, centres):
    return ((X[:, None] - centres) ** 2).sum(axis=2)


def seed(X, weights, first, draws):
    """Positions of the rows that greedy k-means++ takes; draws (K - 1, n_trials) choose the candidates."""
    chosen = [first]
    for draw in draws:
        closest = _distances2(X, X[chosen]).min(axis=1)
        heap = np.cumsum(weights * closest)
        if heap[-1] > 0:
            candidates = [int(np.flatnonzero(heap > share * heap[-1])[0]) for share in draw]
        else:
            candidates = [int(share * len(X)) for share in draw]
        inertias = [weights @ _distances2(X, X[[*chosen, one]]).min(axis=1) for one in candidates]
        chosen.append(candidates[int(np.argmin(inertias))])
    return chosen


def lloyd(X, weights, centres, max_iter, gain):
    """Centres, labels of which they are the means, and the inertia before they moved last."""
    before = np.inf
    for _ in range(max_iter):
        distances2 = _distances2(X, centres)
        labels, nearest = distances2.argmin(axis=1), distances2.min(axis=1)
        inertia = weights @ nearest
        centres = centres.copy()
        for k in range(len(centres)):
            mine = labels == k
            if mine.any():
                centres[k] = weights[mine] @ X[mine] / weights[mine].sum()
            else:
                farthest = int(np.argmax(nearest))
                centres[k], nearest[farthest] = X[farthest], 0
        if before - inertia <= gain * inertia:
            break
        before = inertia
    return centres, labels, inertia
