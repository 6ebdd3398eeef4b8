"""Components that overlap become clusters: against a search of all pairs, step by step, in plain NumPy."""

import numpy as np
import pytest
from problems import rows

import fastgmm
from fastgmm import InvalidParameterError, Mixture
from fastgmm.selection import merge_components

X = rows(3, 400, 2, 5)
MIXTURE = fastgmm.fit(X, 6, random_state=0).mixture
WEIGHTS = np.arange(400) % 4 / 2


def entropy(t, w):
    return -(w[:, None] * np.where(t > 0, t * np.log(np.where(t > 0, t, 1)), 0)).sum()


def plain(resp, w):
    """Groups and entropies from K clusters to one, each step after trying all pairs."""
    groups = [[k] for k in range(resp.shape[1])]
    found = [(groups, entropy(resp, w))]
    while len(groups) > 1:
        tried = []
        for i in range(len(groups)):
            for j in range(i):
                union = [g for n, g in enumerate(groups) if n not in (i, j)] + [sorted(groups[i] + groups[j])]
                t = np.stack([resp[:, group].sum(axis=1) for group in union], axis=1)
                tried.append((entropy(t, w), sorted(union)))
        value, groups = min(tried)
        found.append((groups, value))
    return found


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_every_step_lowers_the_entropy_most(weights):
    merging = merge_components(X, MIXTURE, sample_weight=weights)
    w = np.ones(400) if weights is None else weights
    resp = MIXTURE.predict_proba(X)
    for groups, value in plain(resp, w):
        assert merging.groups(len(groups)) == groups
        assert merging.entropy[len(groups) - 1] == pytest.approx(value, abs=1e-9 * w.sum())
    for step, (one, other) in enumerate(merging.pairs):
        united = resp[:, one + other].sum(axis=1)
        assert merging.merged_rows[step] == pytest.approx(w @ united)


def test_clusters_of_rows():
    merging = merge_components(X, MIXTURE)
    resp = MIXTURE.predict_proba(X)
    for n in range(1, 7):
        probabilities = merging.predict_proba(X, n)
        expected = np.stack([resp[:, group].sum(axis=1) for group in merging.groups(n)], axis=1)
        np.testing.assert_allclose(probabilities, expected, rtol=1e-12)
        np.testing.assert_array_equal(merging.predict(X, n), expected.argmax(axis=1))
    np.testing.assert_array_equal(merging.predict(X, 6), MIXTURE.predict(X))


def test_clusters_of_several_components_are_suggested():
    """Two clusters of three overlapping components each, far apart."""
    means = np.array([[-21.0], [-20.0], [-19.0], [19.0], [20.0], [21.0]])
    mixture = Mixture(np.full(6, 1 / 6), means, np.ones(6), "spherical")
    merging = merge_components(mixture.sample(2000, random_state=0)[0], mixture)
    assert merging.suggested == 2
    assert merging.groups() == [[0, 1, 2], [3, 4, 5]]


def test_of_few_components_none_is_merged_unasked():
    mixture = Mixture([0.5, 0.5], [[0.0], [1.0]], [1.0, 1.0], "spherical")
    assert merge_components([[0.0], [1.0]], mixture).groups() == [[0], [1]]
    one = merge_components([[0.0], [1.0]], Mixture([1.0], [[0.0]], [1.0], "spherical"))
    assert (one.groups(), one.entropy.tolist(), one.pairs) == ([[0]], [0.0], [])


def test_picture():
    merging = merge_components(X, MIXTURE)
    clusters, so_far = merging.plot().axes
    np.testing.assert_array_equal(clusters.lines[0].get_ydata(), merging.entropy)
    np.testing.assert_array_equal(clusters.lines[0].get_xdata(), np.arange(1, 7))
    x = so_far.lines[0].get_xdata()
    assert x[-1] == 0
    assert x[0] == pytest.approx(merging.merged_rows.sum())
    assert clusters.lines[1].get_xdata()[0] == merging.suggested


def test_wrong_arguments():
    merging = merge_components(X, MIXTURE)
    for n in (0, 7, 2.5):
        with pytest.raises(InvalidParameterError, match="n_clusters"):
            merging.groups(n)
    with pytest.raises(InvalidParameterError, match=r"mixture must be a fastgmm\.Mixture"):
        merge_components(X, 3)
