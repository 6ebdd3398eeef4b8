"""Plain twins of the agglomerative starts: every pair is priced anew before every merger."""

import numpy as np


def _term(rows, weights):
    """Return n log|(W + I) / n| of one cluster, from its rows."""
    n, d = weights.sum(), rows.shape[1]
    offsets = rows - weights @ rows / n
    return n * np.linalg.slogdet((np.eye(d) + (weights[:, None] * offsets).T @ offsets) / n)[1]


def _numbered(clusters, n_rows):
    labels = np.empty(n_rows, dtype=int)
    for number, cluster in enumerate(sorted(clusters)):
        labels[cluster] = number
    return labels


def merge_free(rows, weights, n_clusters):
    """Labels of the clusters that are left when sum_k n_k log|(W_k + I) / n_k| was minimised merger by merger."""
    clusters = [[i] for i in range(len(rows))]

    def term(cluster):
        return _term(rows[cluster], weights[cluster])

    while len(clusters) > n_clusters:
        pairs = [(i, j) for i in range(len(clusters)) for j in range(i + 1, len(clusters))]
        costs = [term(clusters[i] + clusters[j]) - term(clusters[i]) - term(clusters[j]) for i, j in pairs]
        i, j = pairs[int(np.argmin(costs))]
        clusters[i] = sorted(clusters[i] + clusters.pop(j))
    return _numbered(clusters, len(rows))


def merge_shared(rows, weights, n_clusters, renewal):
    """The same for one covariance, to first order, in a metric that is renewed when a share of clusters is left."""
    clusters = [[i] for i in range(len(rows))]
    renew_at = len(rows)

    def centre(cluster):
        return weights[cluster] @ rows[cluster] / weights[cluster].sum()

    while len(clusters) > n_clusters:
        if len(clusters) == renew_at:
            renew_at = max(n_clusters, min(renew_at - 1, int(renewal * renew_at)))
            pooled = np.eye(rows.shape[1])
            for cluster in clusters:
                offsets = rows[cluster] - centre(cluster)
                pooled += (weights[cluster, None] * offsets).T @ offsets
            metric = np.linalg.inv(pooled)

        def cost(one, other, metric=metric):
            n, m = weights[one].sum(), weights[other].sum()
            offset = centre(one) - centre(other)
            return n * m / (n + m) * offset @ metric @ offset

        pairs = [(i, j) for i in range(len(clusters)) for j in range(i + 1, len(clusters))]
        i, j = pairs[int(np.argmin([cost(clusters[i], clusters[j]) for i, j in pairs]))]
        clusters[i] = sorted(clusters[i] + clusters.pop(j))
    return _numbered(clusters, len(rows))
