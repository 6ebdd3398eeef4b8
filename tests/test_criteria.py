"""Criteria of model choice against their formulas in plain NumPy, and cross-validation against fits by hand."""

import math

import numpy as np
import pytest
import reference
from problems import FAITHFUL, rows
from scipy.special import logsumexp

import fastgmm
from fastgmm import GaussianMixture, InvalidParameterError, Mixture, covariance, fitting
from fastgmm.selection.criteria import CRITERIA, Measured, cross_validate

X = rows(0, 150, 2, 3)
WEIGHTS = np.arange(150) % 3 / 2
NAMES = [name for name in CRITERIA if name != "cv"]


def plain(mixture, X, w):
    """All criteria of a mixture, formula by formula, from dense log-densities."""
    K, D = mixture.means.shape
    dense = mixture.family.dense_covariances(mixture.covariances, K, D)
    model = reference.Model(mixture.weights, mixture.means, dense)
    joint = reference.log_joint(reference.constants_of("full", model), X)
    n, m = w.sum(), mixture.n_parameters
    density = logsumexp(joint, axis=1)
    r = np.exp(joint - density[:, None])
    ll = w @ density
    entropy = -(w @ np.where(r > 0, r * np.log(np.where(r > 0, r, 1)), 0).sum(axis=1))
    mean = w @ X / n
    scatter = (w[:, None] * (X - mean)).T @ (X - mean) / n
    of_one = -0.5 * n * (np.linalg.slogdet(2 * np.pi * scatter)[1] + D)
    bic = -2 * ll + m * np.log(n)
    icl = bic - 2 * w @ np.log(r.max(axis=1))
    return {
        "bic": bic,
        "aic": -2 * ll + 2 * m,
        "aicc": -2 * ll + 2 * m * n / (n - m - 1),
        "sabic": -2 * ll + m * np.log((n + 2) / 24),
        "icl": icl,
        "icl_entropy": bic + 2 * entropy,
        "nec": entropy / (ll - of_one),
        "mclust_bic": -bic,
        "mclust_icl": -icl,
    }


class TestFormulas:
    @pytest.mark.parametrize("weights", [None, WEIGHTS])
    def test_mixture_and_estimator_give_the_formulas(self, weights, monkeypatch):
        monkeypatch.setattr("fastgmm._density.criteria._RESP_VALUES", 64)  # several pieces
        model = GaussianMixture(3, random_state=0, reg_covar=0.0).fit(X, sample_weight=weights)
        mixture = model.to_mixture()
        expected = plain(mixture, X, np.ones(150) if weights is None else weights)
        assert list(expected) == NAMES
        for name, value in expected.items():
            assert mixture.criterion(X, name, weights) == pytest.approx(value, rel=1e-11)
            assert model.criterion(X, name, sample_weight=weights) == pytest.approx(value, rel=1e-11)
        for name in ("bic", "aic", "icl"):
            assert getattr(mixture, name)(X, weights) == mixture.criterion(X, name, weights)
            assert getattr(model, name)(X, sample_weight=weights) == mixture.criterion(X, name, weights)

    def test_values_of_mclust(self):
        """Of mclust 6.0.0: Mclust(faithful, 3, "EEE", control=emControl(tol=c(1e-14, 1e-14))), and icl of it."""
        geyser = np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)
        options = {"covariance_type": "tied", "reg_covar": 0.0, "tol": 1e-13, "max_iter": 5000}
        mixture = fastgmm.fit(geyser, 3, n_init=10, random_state=0, **options).mixture
        assert mixture.criterion(geyser, "mclust_bic") == pytest.approx(-2314.29567838, abs=1e-6)
        # of first order in how far a fit is from its maximum, where the likelihood is of second
        assert mixture.criterion(geyser, "mclust_icl") == pytest.approx(-2358.38941303, abs=1e-3)

    def test_one_component_leaves_no_doubt(self):
        mixture = fitting.run(X, 1).mixture
        assert mixture.criterion(X, "icl") == mixture.criterion(X, "icl_entropy") == mixture.bic(X)
        assert mixture.criterion(X, "nec") == 1.0

    def test_what_does_not_exist_is_infinite(self):
        few = Measured(log_likelihood=-10.0, n_parameters=9, n_rows=10)
        assert CRITERIA["aicc"](few) == math.inf
        worse = Measured(-10.0, 9, 10, n_components=2, entropy=1.0, doubt=1.0, of_one=-9.0)
        assert CRITERIA["nec"](worse) == math.inf
        assert math.isnan(CRITERIA["nec"](Measured(-10.0, 9, 10, n_components=2)))

    def test_signs(self):
        assert [name for name, each in CRITERIA.items() if each.higher_is_better] == ["mclust_bic", "mclust_icl"]
        assert next(iter(CRITERIA)) == "bic"
        for name, each in CRITERIA.items():
            assert each.name == name
            assert each.loss(2.0) == (-2.0 if each.higher_is_better else 2.0)
            assert each.direction == ("higher is better" if each.higher_is_better else "lower is better")

    def test_names_that_are_none_are_refused(self):
        mixture = Mixture([1.0], [[0.0, 0.0]], [1.0], "spherical")
        for name in ("mdl", None):
            with pytest.raises(InvalidParameterError, match=r"criterion must be one of 'bic', 'aic'.* got"):
                mixture.criterion(X, name)
        with pytest.raises(InvalidParameterError, match=r"fastgmm\.selection\.cross_validate"):
            mixture.criterion(X, "cv")


class TestCrossValidation:
    @pytest.mark.parametrize("family", covariance.SKLEARN)
    @pytest.mark.parametrize("weights", [None, WEIGHTS])
    def test_one_component_is_exact(self, family, weights):
        found = cross_validate(
            X, 1, covariance_type=family, n_folds=4, sample_weight=weights, reg_covar=0.0, random_state=1
        )
        w = np.ones(150) if weights is None else weights
        assert (found.fold_of_row == -1).tolist() == (w == 0).tolist()
        total = 0.0
        for fold in range(4):
            inside = found.fold_of_row == fold
            others = np.where(inside, 0.0, w)
            mixture = fitting.run(X, 1, covariance_type=family, sample_weight=others, reg_covar=0.0).mixture
            score = mixture.score(X[inside], w[inside])
            assert found.folds[fold] == pytest.approx(score, rel=1e-12)
            total += score * w[inside].sum()
        assert found.log_likelihood == pytest.approx(total, rel=1e-12)

    def test_parts_start_from_the_whole_and_converge_by_themselves(self):
        options = {"reg_covar": 0.0, "tol": 1e-9, "max_iter": 1000}
        whole = fitting.run(X, 3, random_state=0, **options).mixture
        found = cross_validate(X, start=whole, n_folds=3, random_state=2, **options)
        for fold in range(3):
            inside = found.fold_of_row == fold
            mixture = fitting.run(X[~inside], 3, start=whole.parameters, **options).mixture
            assert found.folds[fold] == pytest.approx(mixture.score(X[inside]), rel=1e-5)

    def test_folds_are_of_equal_size_and_drawn_by_the_seed(self):
        one, same, other = (cross_validate(X, 1, n_folds=7, random_state=seed).fold_of_row for seed in (0, 0, 1))
        assert set(np.bincount(one)) == {21, 22}
        assert one.tolist() == same.tolist() != other.tolist()

    def test_numbers_of_folds_that_do_not_exist(self):
        for n_folds in (1, 151, 2.5):
            with pytest.raises(InvalidParameterError, match="n_folds"):
                cross_validate(X, 1, n_folds=n_folds)
