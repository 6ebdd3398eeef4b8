"""NEC and cross-validation with noise and with rows whose component is known, against plain NumPy twins."""

import numpy as np
import pytest
import reference
import reference_missing

import fastgmm
from fastgmm import InvalidParameterError, Mixture, Noise, select
from fastgmm.selection import cross_validate
from fastgmm.sources import BatchSource

N, D, K = 260, 2, 3
FIT = {"reg_covar": 0.0, "tol": 1e-12, "max_iter": 5000}
# rows and starts such that EM of a few hundred steps is at the optimum


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(4)
    clusters = [rng.normal(centre, 1.0, (70, D)) for centre in ((0, 0), (5, 0), (0, 5))]
    return rng.permutation(np.concatenate([*clusters, rng.uniform(-15, 15, (N - 210, D))]))


@pytest.fixture(scope="module")
def w():
    return np.random.default_rng(5).integers(0, 3, N).astype(float)


def joint_of(model, noise, X, known=None):
    """Log-densities (N, K + 1), of noise the last, and only of the component that is known where one is."""
    joint = reference.log_joint(reference.constants_of("full", model), X)
    if noise is not None:
        joint += np.log1p(-noise.weight)
        joint = np.column_stack([joint, np.full(len(X), np.log(noise.weight) - noise.log_volume)])
    if known is not None:
        joint[(known[:, None] >= 0) & (known[:, None] != np.arange(joint.shape[1]))] = -np.inf
    return joint


def em(model, noise, X, w, known=None):
    """Where EM ends, in plain NumPy: model and noise."""
    K, before = len(model.weights), -np.inf
    for _ in range(5000):
        joint = joint_of(model, noise, X, known)
        density = reference.log_sum_exp(joint)
        resp = np.exp(joint - density[:, None])
        if noise is not None:
            noise = Noise(w @ resp[:, -1] / w.sum(), noise.log_volume)
        made = reference.maximise("full", X, resp[:, :K], sample_weight=w)
        model = made._replace(weights=made.weights / made.weights.sum())
        gain, before = w @ density / w.sum() - before, w @ density / w.sum()
        if gain < 1e-14:
            break
    return model, noise


def model_of(mixture):
    return reference.Model(mixture.weights, mixture.means, mixture.covariances)


@pytest.mark.parametrize("weighted", [False, True])
def test_nec_is_of_the_clusters_beside_noise(X, w, weighted):
    w = w if weighted else np.ones(N)
    mixture = fastgmm.fit(X, K, noise=True, sample_weight=w, random_state=0, **FIT).mixture
    joint = joint_of(model_of(mixture), mixture.noise, X)
    density = reference.log_sum_exp(joint)
    r = np.exp(joint - density[:, None])
    own = r[:, :K] / r[:, :K].sum(axis=1, keepdims=True)
    among = -(w * r[:, :K].sum(axis=1)) @ (own * np.log(np.maximum(own, 1e-300))).sum(axis=1)
    one = reference.maximise("full", X, r[:, :K].sum(axis=1, keepdims=True), sample_weight=w)
    one, noise = em(one._replace(weights=np.ones(1)), mixture.noise, X, w)
    of_one = w @ reference.log_sum_exp(joint_of(one, noise, X))
    assert mixture.criterion(X, "nec", w) == pytest.approx(among / (w @ density - of_one), rel=1e-6)
    entropies = mixture.entropies(X, w)
    assert entropies.among == pytest.approx(among, rel=1e-10)
    assert entropies.entropy == pytest.approx(-(w @ (r * np.log(np.maximum(r, 1e-300))).sum(axis=1)), rel=1e-10)
    # the chain rule: what is uncertain is whether a row is noise, and if it is not, of which cluster it is
    p = r[:, -1]
    of_noise = -(w @ (p * np.log(np.maximum(p, 1e-300)) + (1 - p) * np.log(np.maximum(1 - p, 1e-300))))
    assert entropies.entropy == pytest.approx(entropies.among + of_noise, rel=1e-9)
    parts = BatchSource([(X[:9], w[:9]), (X[9:], w[9:])])
    assert mixture.entropies(parts) == pytest.approx(entropies, rel=1e-12)


def test_nec_without_noise_and_of_one_cluster():
    X = np.random.default_rng(0).normal(size=(90, D))
    plain = Mixture([0.4, 0.6], [[0.0, 0.0], [1.0, 1.0]], [np.eye(D)] * 2)
    noise = Noise(1e-300, 5.0)  # next to nothing: all that is left is what there is without it
    noisy = Mixture(plain.weights, plain.means, plain.covariances, noise=noise)
    assert plain.entropies(X).among == plain.entropies(X).entropy
    assert noisy.entropies(X).among == pytest.approx(plain.entropies(X).entropy, rel=1e-12)
    one = Mixture([1.0], [[0.0, 0.0]], [np.eye(D)], noise=Noise(0.3, 3.0))
    entropies = one.entropies(X)
    assert entropies.among == 0.0 < entropies.entropy
    assert one.criterion(X, "nec") == 1.0


def test_select_by_nec_with_noise(X, w, tmp_path):
    plan = {"n_components": [1, 2, 3], "covariance_type": ["EII"], "criterion": "nec", "noise": True}
    found = select(X, sample_weight=w, random_state=0, **plan)
    assert (found.chosen.covariance_type, found.chosen.n_components) == ("EII", 3)
    for cell in found.candidates:
        if cell.n_components == 3:
            assert cell.value("nec") == pytest.approx(cell.mixture.criterion(X, "nec", w), rel=1e-2)
        elif cell.n_components == 1:
            assert cell.value("nec") == 1.0
    np.save(tmp_path / "rows.npy", X)
    there = select(BatchSource(tmp_path / "rows.npy", w), random_state=0, **plan)
    assert there.chosen.value("nec") == pytest.approx(found.chosen.value("nec"), rel=1e-9)


def held_out(found, X, w, start, noise, known=None):
    """Log-likelihood of each fold under where EM of the other rows ends, from the fit of the whole."""
    folds = []
    for fold in range(found.fold_of_row.max() + 1):
        inside = found.fold_of_row == fold
        there = ~inside & (w > 0)
        own = None if known is None else known[there]
        model, of_rest = em(start, noise, X[there], w[there], own)
        density = reference.log_sum_exp(joint_of(model, of_rest, X[inside], None if known is None else known[inside]))
        folds.append(w[inside] @ density / w[inside].sum())
    return folds


@pytest.mark.parametrize("n_components", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_validation_keeps_the_volume(X, w, n_components, weighted):
    w = w if weighted else np.ones(N)
    whole = fastgmm.fit(X, n_components, noise=True, sample_weight=w, random_state=0, **FIT).mixture
    found = cross_validate(X, start=whole, n_folds=3, sample_weight=w, random_state=1, **FIT)
    expected = held_out(found, X, w, model_of(whole), whole.noise)
    np.testing.assert_allclose(found.folds, expected, rtol=1e-6)
    how = {"n_folds": 3, "sample_weight": w, "random_state": 1, "n_init": 5, **FIT}
    again = cross_validate(X, n_components, noise=True, **how)
    np.testing.assert_allclose(again.folds, expected, rtol=1e-3)
    assert found.log_likelihood == pytest.approx(
        sum(e * w[found.fold_of_row == fold].sum() for fold, e in enumerate(expected)), rel=1e-6
    )


@pytest.mark.parametrize("noise", [None, True])
def test_held_out_rows_that_are_known_count_with_their_component(X, w, noise):
    known = np.where(np.arange(N) % 5 == 0, np.minimum(2, (X[:, 0] > 2.5) + 2 * (X[:, 1] > 2.5)), -1)
    known[w == 0] = 7  # says nothing
    start = fastgmm.fit(X, K, noise=noise, sample_weight=w, known_labels=known, random_state=0, **FIT).mixture
    found = cross_validate(X, start=start, n_folds=3, sample_weight=w, known_labels=known, random_state=1, **FIT)
    expected = held_out(found, X, w, model_of(start), start.noise, np.where(w > 0, known, -1))
    np.testing.assert_allclose(found.folds, expected, rtol=1e-6)
    chosen = select(X, [2, 3, 4], "VVV", "cv", n_folds=3, noise=noise, known_labels=known, sample_weight=w,
                    random_state=0)  # fmt: skip
    assert chosen.chosen.n_components == K
    assert "known_labels must be below n_components" in str(chosen.candidates[0].error)


def test_cross_validation_of_known_rows_with_gaps(X):
    gaps = X.copy()
    gaps[::4, 0] = np.nan
    known = np.where(np.arange(N) % 5 == 0, np.minimum(2, (X[:, 0] > 2.5) + 2 * (X[:, 1] > 2.5)), -1)
    options = {"missing": "em", "known_labels": known, "random_state": 0, "reg_covar": 0.0, "tol": 1e-8}
    start = fastgmm.fit(gaps, K, max_iter=2000, **options).mixture
    found = cross_validate(gaps, start=start, n_folds=2, max_iter=1, **{**options, "tol": 0.0})
    for fold in range(2):
        inside = found.fold_of_row == fold
        parameters = start.weights, start.means, start.covariances
        for _ in range(2):  # one step that all parts have in common, and the one that is asked for
            _, _, n, means, scatter = reference_missing.e_step(*parameters, gaps[~inside], None, known[~inside])
            parameters = n / n.sum(), means, scatter / n[:, None, None]
        density = reference_missing.e_step(*parameters, gaps[inside], None, known[inside])[0]
        assert found.folds[fold] == pytest.approx(density.mean(), rel=1e-9)


def test_select_by_cross_validation_with_noise(X):
    found = select(X, [1, 2, 3, 4], ["VVV", "EII"], "cv", n_folds=4, noise=True, random_state=0)
    assert (found.chosen.covariance_type, found.chosen.n_components) == ("EII", 3)
    volumes = {cell.mixture.noise.log_volume for cell in found.candidates}
    assert len(volumes) == 1
    chosen = found.chosen
    again = cross_validate(X, start=chosen.mixture, n_folds=4, random_state=0, reg_covar=0.0, tol=1e-5, max_iter=1000)
    assert chosen.value("cv") == pytest.approx(-2 * again.log_likelihood, rel=1e-4)


def test_one_component_is_not_always_closed(X):
    """A floor, and axes of low rank: the first M-step of a part is not where its EM ends."""
    wide = X[:, :1] * np.arange(1.0, 5.0) + np.random.default_rng(0).normal(size=(N, 4))
    settings = {"n_folds": 2, "random_state": 0, "max_iter": 1000, "tol": 1e-10}
    for options in ({"covariance_type": "spherical", "covariance_floor": 0.9}, {"covariance_type": "mfa:1"}):
        found = cross_validate(wide, 1, **settings, **options)
        for fold in range(2):
            inside = found.fold_of_row == fold
            mixture = fastgmm.fit(wide[~inside], 1, max_iter=1000, tol=1e-10, **options).mixture
            assert found.folds[fold] == pytest.approx(mixture.score(wide[inside]), rel=1e-6)


def test_what_does_not_go(X):
    known = np.where(np.arange(N) < 6, np.arange(N) % 3, -1)
    with pytest.raises(InvalidParameterError, match="'nec' compares with one component, but known_labels name 3: use"):
        select(X, [1, 3], "VVV", "nec", known_labels=known)
    with pytest.raises(InvalidParameterError, match="noise must be None where start has none, got True"):
        cross_validate(X, start=fastgmm.fit(X, 1).mixture, noise=True)
    with pytest.raises(ValueError, match="known_labels must have the shape"):
        cross_validate(X, 1, known_labels=known[1:])
