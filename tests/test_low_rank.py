"""Mixtures of factor analysers and of probabilistic principal components, from the M-step to the shell."""

import json
import pickle
import tracemalloc

import numpy as np
import problems
import pytest
import reference_low_rank as twin
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.decomposition import FactorAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_hard_fits import POLICIES, hard_rows

import fastgmm
from fastgmm import GaussianMixture, InvalidParameterError, Mixture, covariance
from fastgmm.cli import main
from fastgmm.fitting import ACCELERATIONS
from fastgmm.sources.memory import needed_beside_rows

NAMES = ("mfa", "mppca")
WAYS = (None, *ACCELERATIONS)
by_name = pytest.mark.parametrize("name", NAMES)
by_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def model_of(name, seed, D, K, q, strength=1.5):
    """A random model of the family."""
    model = twin.random_model(seed, D, K, q, strength)
    if name == "mfa":
        return model
    return model._replace(psi=np.repeat(model.psi[:, :1], D, axis=1))


def mixture_of(name, model, dtype=np.float64):
    """The same as a Mixture."""
    arrays = (array.astype(dtype) for array in (model.weights, model.means, twin.packed(model)))
    return Mixture(*arrays, f"{name}:{model.loadings.shape[2]}")


def start_at(mixture):
    return {"weights_init": mixture.weights, "means_init": mixture.means, "precisions_init": mixture.precisions}


def twin_of(mixture):
    covariances = mixture.covariances.astype(np.float64)
    return twin.Model(mixture.weights, mixture.means, covariances[:, 0], covariances[:, 1:].transpose(0, 2, 1))


@pytest.fixture(scope="module", params=NAMES)
def fitted(request):
    """Rows, and a fit of three components of rank two."""
    name = request.param
    X = twin.draw(model_of(name, 1, 6, 3, 2), 1, 400)
    return X, fastgmm.fit(X, 3, covariance_type=f"{name}:2", tol=1e-4, max_iter=2000, random_state=0)


class TestEM:
    @pytest.mark.parametrize(("D", "K", "q"), [(2, 1, 1), (3, 2, 2), (5, 3, 1), (9, 2, 4), (17, 4, 3), (40, 2, 6)])
    @by_name
    def test_a_step_is_the_twins(self, name, D, K, q):
        X = twin.draw(model_of(name, 2, D, K, q), 2, 60 + 10 * D)
        weight = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
        start = model_of(name, 3, D, K, q)._replace(means=X[:K])
        for options in ({}, {"sample_weight": weight, "reg_covar": 0.1}):
            found = fastgmm.fitting.run(
                X,
                K,
                covariance_type=f"{name}:{q}",
                **{"tol": 0.0, "max_iter": 2, "reg_covar": 0.0, **options},
                **start_at(mixture_of(name, start)),
            )
            want = start
            for _ in range(2):
                want = twin.em_step(want, X, isotropic=name == "mppca", **options)
            ours, theirs = twin_of(found.mixture), twin.covariances(want)
            sigma = np.sqrt(np.diagonal(theirs, axis1=1, axis2=2))
            np.testing.assert_allclose(ours.weights, want.weights, rtol=1e-9)
            assert (np.abs(ours.means - want.means) <= 1e-8 * sigma).all()
            scale = sigma[:, :, None] * sigma[:, None, :]
            assert (np.abs(twin.covariances(ours) - theirs) <= 1e-8 * scale).all()
            bound = twin.log_likelihood(want, X, options.get("sample_weight"))
            assert found.lower_bound == pytest.approx(bound, rel=1e-10)

    @pytest.mark.parametrize(
        "options", [*({"acceleration": each} for each in WAYS), {"covariance_floor": 0.02}, {"weighted": True}]
    )
    @by_name
    def test_log_likelihood_never_falls(self, name, options):
        X = twin.draw(model_of(name, 4, 10, 4, 3), 4, 300)
        options = {"covariance_type": f"{name}:4", "reg_covar": 0.0, "tol": 1e-9, "max_iter": 400, **options}
        if options.pop("weighted", False):
            options["sample_weight"] = np.random.default_rng(1).exponential(size=len(X))
        with problems.no_convergence_warning():
            result = fastgmm.fit(X, 3, random_state=1, **options)
        bounds = np.array(result.lower_bounds)
        assert (np.diff(bounds) >= -1e-13 * np.abs(bounds[1:])).all()
        assert len(bounds) > 10

    @pytest.mark.parametrize(
        ("data", "D", "q"), [(load_diabetes, 4, 1), (load_wine, 10, 2), (load_breast_cancer, 4, 1)]
    )
    def test_one_component_is_scikit_learns_factor_analysis(self, data, D, q):
        X = StandardScaler().fit_transform(data().data[:, :D])
        theirs = FactorAnalysis(q, tol=1e-7, max_iter=20_000, svd_method="lapack").fit(X)
        options = {"acceleration": "squarem", "stopping": "aitken", "tol": 1e-9, "max_iter": 20_000}
        ours = fastgmm.fit(X, covariance_type=f"mfa:{q}", reg_covar=0.0, **options)
        assert ours.lower_bound == pytest.approx(theirs.score(X), abs=1e-6)
        dense = ours.mixture.family.dense_covariances(ours.mixture.covariances, *ours.mixture.means.shape)[0]
        np.testing.assert_allclose(dense, theirs.get_covariance(), atol=1e-3)

    def test_one_component_is_the_closed_form_of_principal_components(self):
        """Tipping and Bishop (1999): eigenvalues of the covariance, the mean of the small ones as noise."""
        X = load_wine().data[:, :6] / load_wine().data[:, :6].std(axis=0)
        values, vectors = np.linalg.eigh(np.cov(X.T, bias=True))
        noise = values[:-2].mean()
        sigma = noise * np.eye(6) + (vectors[:, -2:] * (values[-2:] - noise)) @ vectors[:, -2:].T
        want = multivariate_normal(X.mean(axis=0), sigma).logpdf(X).mean()
        found = fastgmm.fit(X, covariance_type="mppca:2", reg_covar=0.0, tol=1e-13, max_iter=5000)
        assert found.lower_bound == pytest.approx(want, abs=1e-9)

    def test_units_of_features_do_not_matter_to_factor_analysers(self):
        X = twin.draw(model_of("mfa", 5, 7, 2, 2), 5, 500)
        scale = 10.0 ** np.arange(-3, 4)
        labels = np.arange(500) % 2
        options = {"covariance_type": "mfa:2", "reg_covar": 0.0, "covariance_floor": 1e-4, "init_params": labels}
        for acceleration in WAYS:
            a = fastgmm.fit(X, 2, tol=1e-7, max_iter=1000, acceleration=acceleration, **options)
            b = fastgmm.fit(X * scale, 2, tol=1e-7, max_iter=1000, acceleration=acceleration, **options)
            np.testing.assert_allclose(b.lower_bound + np.log(scale).sum(), a.lower_bound, rtol=1e-9)

    def test_it_finds_what_the_rows_were_drawn_from(self):
        truth = model_of("mfa", 6, 15, 3, 2)
        X = twin.draw(truth, 6, 6000)
        found = fastgmm.fit(X, 3, covariance_type="mfa:2", tol=1e-7, max_iter=1000, n_init=3, random_state=0)
        assert found.lower_bound > twin.log_likelihood(truth._replace(weights=np.full(3, 1 / 3)), X)
        assert found.mixture.bic(X) < fastgmm.fit(X, 3, random_state=0, n_init=3).mixture.bic(X)

    @by_name
    def test_integer_weights_are_repeated_rows(self, name):
        X = twin.draw(model_of(name, 7, 5, 2, 2), 7, 200)
        count = np.random.default_rng(2).integers(0, 4, 200)
        start = start_at(mixture_of(name, model_of(name, 8, 5, 2, 2)))
        options = {"covariance_type": f"{name}:2", "tol": 0.0, "max_iter": 5}
        with problems.no_convergence_warning():
            a = fastgmm.fit(X, 2, sample_weight=count, **options, **start)
            b = fastgmm.fit(np.repeat(X, count, axis=0), 2, **options, **start)
        np.testing.assert_allclose(a.mixture.covariances, b.mixture.covariances, rtol=1e-7, atol=1e-9)
        assert a.lower_bound == pytest.approx(b.lower_bound, rel=1e-10)

    @by_name
    def test_float32_rows(self, name):
        X = twin.draw(model_of(name, 9, 8, 2, 2), 9, 500)
        options = {"covariance_type": f"{name}:2", "tol": 1e-5, "max_iter": 1000, "random_state": 0}
        narrow, wide = fastgmm.fit(X.astype(np.float32), 2, **options), fastgmm.fit(X, 2, **options)
        assert narrow.mixture.dtype == np.float32
        assert narrow.lower_bound == pytest.approx(wide.lower_bound, abs=1e-4)
        assert narrow.mixture.score(X.astype(np.float32)) == narrow.lower_bound

    def test_far_from_the_origin(self):
        X = problems.on_grid(twin.draw(model_of("mfa", 10, 5, 2, 2), 10, 400))
        options = {"covariance_type": "mfa:2", "tol": 1e-7, "max_iter": 2000, "init_params": np.arange(400) % 2}
        near, far = fastgmm.fit(X, 2, **options), fastgmm.fit(X + 2.0**26, 2, **options)
        assert far.lower_bound == pytest.approx(near.lower_bound, rel=1e-6)

    def test_threads_change_no_bit(self):
        X = twin.draw(model_of("mfa", 11, 30, 3, 3), 11, 9000)
        one, two = (fastgmm.fit(X, 3, covariance_type="mfa:3", n_threads=n, random_state=0, tol=0.1) for n in (1, 2))
        assert one == two

    @pytest.mark.parametrize("acceleration", WAYS)
    @by_name
    def test_a_fit_can_be_continued(self, name, acceleration):
        X = twin.draw(model_of(name, 12, 8, 2, 2), 12, 300)
        options = {"covariance_type": f"{name}:2", "tol": 0.0, "random_state": 0, "acceleration": acceleration}
        with problems.no_convergence_warning():
            parts = GaussianMixture(2, max_iter=7, warm_start=True, **options).fit(X)
            parts.set_params(max_iter=6).fit(X)
            whole = GaussianMixture(2, max_iter=13, **options).fit(X)
        problems.assert_same_fit(parts, whole)

    def test_held_parameters_stay(self):
        X = twin.draw(model_of("mfa", 13, 6, 3, 2), 13, 400)
        start = mixture_of("mfa", model_of("mfa", 14, 6, 3, 2))
        fixed = {"covariances": [True, False, False], "means": [False, True, False]}
        with problems.no_convergence_warning():
            found = fastgmm.fit(X, 3, covariance_type="mfa:2", fixed=fixed, max_iter=20, tol=0.0, **start_at(start))
        np.testing.assert_allclose(found.mixture.covariances[0], start.covariances[0], rtol=1e-12)
        np.testing.assert_array_equal(found.mixture.means[1], start.means[1])
        assert not np.allclose(found.mixture.covariances[1], start.covariances[1])
        assert (np.diff(found.lower_bounds) >= -1e-12).all()


class TestCollapse:
    def rows(self):
        """Rows of two clusters, and five that are one."""
        X = twin.draw(model_of("mfa", 15, 6, 2, 2), 15, 300)
        return np.concatenate([X, np.full((5, 6), 30.0)]), np.repeat([0, 1, 2], [150, 150, 5])

    @pytest.mark.parametrize("policy", ["floor", "reseed", "drop"])
    @by_name
    def test_a_component_on_one_point(self, name, policy):
        X, labels = self.rows()
        options = {"covariance_type": f"{name}:2", "reg_covar": 0.0, "init_params": labels, "max_iter": 500}
        found = fastgmm.fit(X, 3, on_collapse=policy, **options)
        assert np.isfinite(found.lower_bound)
        assert {event.cause for event in found.collapses if event.component == 2} == {"thin"}
        assert found.mixture.n_components == (2 if policy == "drop" else 3)
        with pytest.raises(ValueError, match="ill-defined empirical covariance"):
            fastgmm.fit(X, 3, **options)

    @by_name
    def test_a_component_that_is_put_anew_has_loadings(self, name):
        """From loadings of zero EM would find none."""
        X = twin.draw(model_of(name, 26, 6, 1, 2), 26, 300)
        family = covariance.get(f"{name}:2")
        total = X.var(axis=0)
        seeded = family.seeded(covariance.Floor.of(1.0, total, X.mean(axis=0), X.dtype), 6)
        assert seeded.shape == (3, 6)
        if name == "mfa":
            np.testing.assert_allclose(family.variances(seeded[None], 1, 6)[0], total)
        lost = seeded * [[1.0], [0.0], [0.0]]
        options = {"covariance_type": family.name, "weights_init": [1.0], "means_init": X.mean(axis=0)[None]}
        found, stuck = (
            fastgmm.fit(X, 1, precisions_init=Mixture([1.0], X[:1], start[None], family.name).precisions, **options)
            for start in (seeded, lost)
        )
        assert np.linalg.norm(stuck.mixture.covariances[0, 1:]) < 1e-9
        assert (np.linalg.norm(found.mixture.covariances[0, 1:], axis=1) > 0.5).all()
        assert found.lower_bound > stuck.lower_bound + 0.5

    def test_a_feature_without_noise_of_its_own_is_no_collapse(self):
        """Its noise meets the floor, since the latent coordinates explain it (a Heywood case)."""
        rng = np.random.default_rng(0)
        X = rng.standard_normal((500, 5)) + 2 * rng.standard_normal((500, 1))
        X[:, 4] = X[:, :4].mean(axis=1)
        found = fastgmm.fit(X, covariance_type="mfa:1", covariance_floor=0.05, reg_covar=0.0, tol=1e-7, max_iter=5000)
        assert found.collapses == []
        psi = found.mixture.covariances[0, 0]
        assert psi[4] == pytest.approx(0.05 * X[:, 4].var())
        assert (psi[:4] > 0.1 * X[:, :4].var(axis=0)).all()


class TestHardFits:
    """Rows that have no honest optimum: see test_hard_fits.py."""

    @pytest.mark.parametrize("seed", [*range(80), 1550])
    def test_they_end_well(self, seed):
        rng = np.random.default_rng(seed)
        X, K = hard_rows(rng)
        X = X if X.shape[1] > 1 else np.hstack([X, X])
        if rng.random() < 0.2 and 1e-12 < np.abs(X).max() < 1e12:
            X = X.astype(np.float32)
        q, policy = int(rng.integers(1, X.shape[1])), str(rng.choice(POLICIES))
        options = {
            "covariance_type": f"{rng.choice(NAMES)}:{q}",
            "init_params": str(rng.choice(["kmeans", "random", "random_from_data"])),
            "covariance_floor": rng.choice([None, 1e-9, 1e-3]),
            "acceleration": rng.choice(WAYS),
        }
        with np.errstate(all="raise", under="ignore"):
            found = fastgmm.fitting.run(
                X, K, on_collapse=policy, reg_covar=0.0, max_iter=30, tol=0.0, random_state=seed, **options
            )
        assert found.n_failed_inits == 0
        assert all(np.isfinite(array).all() for array in found.mixture.parameters.arrays())
        assert np.isfinite(found.mixture.predict_proba(X)).all()
        bounds = np.array(found.lower_bounds)
        assert np.isfinite(bounds).all()
        if policy == "floor" and X.dtype == np.float64:
            assert (np.diff(bounds) >= -1e-10 * np.abs(bounds).max()).all()


class TestForms:
    @by_dtype
    @by_name
    def test_each_form_gives_the_others(self, name, dtype):
        model = model_of(name, 16, 9, 3, 3)
        mixture = mixture_of(name, model, dtype)
        dense = twin.covariances(model)
        family, eps = mixture.family, np.finfo(dtype).eps
        np.testing.assert_allclose(
            family.dense_covariances(mixture.covariances, 3, 9), dense, rtol=4 * eps, atol=16 * eps
        )
        np.testing.assert_allclose(
            family.variances(mixture.covariances, 3, 9), np.diagonal(dense, 0, 1, 2), rtol=8 * eps
        )
        p = mixture.precisions.astype(np.float64)
        V = p[:, 1:]
        inverse = p[:, 0, :, None] * np.eye(9) - V.transpose(0, 2, 1) @ V
        np.testing.assert_allclose(inverse, np.linalg.inv(dense), atol=100 * eps)
        for form in ("precisions", "precisions_cholesky"):
            other = Mixture(mixture.weights, mixture.means, None, f"{name}:3", **{form: getattr(mixture, form)})
            again = family.dense_covariances(other.covariances.astype(np.float64), 3, 9)
            np.testing.assert_allclose(again, dense, rtol=1e4 * eps, atol=1e4 * eps)

    @by_name
    def test_forms_that_disagree(self, name):
        one, other = (mixture_of(name, model_of(name, seed, 5, 2, 2)) for seed in (17, 18))
        for form in ("precisions", "precisions_cholesky"):
            Mixture(one.weights, one.means, one.covariances, f"{name}:2", **{form: getattr(one, form)})
            with pytest.raises(ValueError, match=f"The {name}:2 parameters disagree"):
                Mixture(one.weights, one.means, one.covariances, f"{name}:2", **{form: getattr(other, form)})

    def test_a_rotation_of_the_latent_coordinates_is_no_disagreement(self):
        one = mixture_of("mfa", model_of("mfa", 19, 5, 2, 2))
        turn = np.linalg.qr(np.random.default_rng(0).standard_normal((2, 2)))[0]
        turned = one.covariances.copy()
        turned[:, 1:] = turn @ turned[:, 1:]
        Mixture(one.weights, one.means, turned, "mfa:2", precisions=one.precisions)
        np.testing.assert_allclose(
            Mixture(one.weights, one.means, turned, "mfa:2").score_samples(one.means), one.score_samples(one.means)
        )

    def test_what_is_no_covariance(self):
        one = mixture_of("mfa", model_of("mfa", 20, 4, 2, 2))
        bad = one.covariances.copy()
        bad[1, 0, 2] = 0.0
        with pytest.raises(ValueError, match="the first rows of 'mfa:2 covariance', psi, should be positive"):
            Mixture(one.weights, one.means, bad, "mfa:2")
        with pytest.raises(ValueError, match="psi, should be the same in all features"):
            Mixture(one.weights, one.means, one.covariances, "mppca:2")
        with pytest.raises(
            ValueError, match=r"'mfa:2 covariance' should have the shape of \(2, 3, 4\), but got \(2, 4\)"
        ):
            Mixture(one.weights, one.means, np.ones((2, 4)), "mfa:2")
        wrong = one.precisions.copy()
        wrong[:, 1:] *= 10
        with pytest.raises(ValueError, match="'mfa:2 precision' should be positive-definite"):
            Mixture(one.weights, one.means, None, "mfa:2", precisions=wrong)
        wrong = one.precisions_cholesky.copy()
        wrong[:, 1:] *= 10
        with pytest.raises(ValueError, match=r"singular values of the others in \(0, 1\]"):
            Mixture(one.weights, one.means, None, "mfa:2", precisions_cholesky=wrong)

    @by_name
    def test_coordinates_go_there_and_back(self, name):
        one = mixture_of(name, model_of(name, 21, 6, 3, 2))
        scale = np.linspace(0.5, 2, 6)
        there = one.family.to_coordinates(one.precisions_cholesky, scale)
        covariances, factors = one.family.from_coordinates(there, scale)
        np.testing.assert_allclose(covariances, one.covariances, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(factors, one.precisions_cholesky, rtol=1e-12, atol=1e-12)

    def test_numbers_of_parameters(self):
        mfa, mppca = covariance.get("mfa:3"), covariance.get("mppca:3")
        assert mfa.n_parameters(2, 10) == 2 * (10 * 3 - 3 + 10)
        assert mppca.n_parameters(2, 10) == 2 * (10 * 3 - 3 + 1)
        assert mfa.n_parameters(1, 4) == 10  # no more than any covariance has


class TestMixture:
    def test_density_is_that_of_the_dense_mixture(self, fitted):
        X, result = fitted
        model = twin_of(result.mixture)
        want = np.exp(twin.log_joint(model, X)).sum(axis=1)
        np.testing.assert_allclose(np.exp(result.mixture.score_samples(X)), want, rtol=1e-9)
        np.testing.assert_allclose(result.mixture.predict_proba(X), twin.responsibilities(model, X), atol=1e-9)

    def test_latent_coordinates(self, fitted):
        X, result = fitted
        labels = result.mixture.predict(X)
        want = twin.latent_means(twin_of(result.mixture), X, labels)
        np.testing.assert_allclose(result.mixture.transform(X), want, atol=1e-9)
        np.testing.assert_allclose(result.mixture.transform(X.astype(np.float32)), want, atol=1e-4)
        assert result.mixture.transform(X).shape == (400, 2)

    def test_latent_coordinates_are_those_of_scikit_learn(self):
        X = twin.draw(model_of("mfa", 22, 8, 1, 2), 22, 300)
        ours = fastgmm.fit(X, covariance_type="mfa:2", tol=1e-12, max_iter=5000, reg_covar=0.0).mixture.transform(X)
        theirs = FactorAnalysis(2, tol=1e-10, max_iter=5000, svd_method="lapack").fit_transform(X)
        turn = np.linalg.lstsq(ours, theirs, rcond=None)[0]
        np.testing.assert_allclose(turn @ turn.T, np.eye(2), atol=1e-3)
        np.testing.assert_allclose(ours @ turn, theirs, atol=1e-3)

    def test_rows_drawn_have_its_moments(self, fitted):
        _, result = fitted
        X, labels = result.mixture.sample(200_000, random_state=0)
        for k, sigma in enumerate(twin.covariances(twin_of(result.mixture))):
            rows = X[labels == k]
            scale = np.sqrt(np.outer(np.diag(sigma), np.diag(sigma)))
            assert (np.abs(np.cov(rows.T) - sigma) <= 8 * scale / np.sqrt(len(rows))).all()
            assert (np.abs(rows.mean(0) - result.mixture.means[k]) <= 6 * np.sqrt(np.diag(sigma) / len(rows))).all()

    def test_file_and_pickle_bring_it_back(self, fitted, tmp_path):
        _, result = fitted
        result.mixture.save(tmp_path / "m.npz")
        assert fastgmm.load(tmp_path / "m.npz") == result.mixture
        assert pickle.loads(pickle.dumps(result.mixture)) == result.mixture
        assert result.mixture.covariance_type in ("mfa:2", "mppca:2")

    def test_entropy_criterion_knows_the_best_single_component(self, fitted):
        """NEC = entropy / (l(K) - l(1)), with l(1) of the same family: here by many steps of EM."""
        X, result = fitted
        options = {"acceleration": "squarem", "stopping": "aitken", "tol": 1e-6, "max_iter": 20_000, "reg_covar": 0.0}
        one = fastgmm.fit(X, 1, covariance_type=result.mixture.covariance_type, **options).lower_bound
        r = result.mixture.predict_proba(X)
        entropy = -np.sum(r * np.log(np.maximum(r, 1e-300)))
        want = entropy / (len(X) * (result.mixture.score(X) - one))
        assert result.mixture.criterion(X, "nec") == pytest.approx(want, rel=1e-3)

    def test_transform_is_for_low_rank_alone(self):
        with pytest.raises(ValueError, match=r"transform needs a family of low rank.* got 'full'"):
            Mixture([1.0], [[0.0, 0.0]], [np.eye(2)]).transform([[0.0, 0.0]])


class TestEstimator:
    @by_name
    def test_it_fits_transforms_and_converts(self, name):
        X = twin.draw(model_of(name, 23, 6, 2, 2), 23, 300)
        model = GaussianMixture(2, covariance_type=f"{name}:2", random_state=0).fit(X)
        assert model.covariances_.shape == model.precisions_.shape == (2, 3, 6)
        np.testing.assert_array_equal(model.transform(X), model.to_mixture().transform(X))
        theirs = model.to_sklearn()
        assert theirs.covariance_type == "full"
        np.testing.assert_allclose(theirs.score_samples(X), model.score_samples(X), rtol=1e-9)
        piped = make_pipeline(clone(model), StandardScaler()).fit_transform(X)
        assert piped.shape == (300, 2)
        again = GaussianMixture(2, covariance_type=f"{name}:2", max_iter=0, **start_at(model.to_mixture())).fit(X)
        assert again.lower_bound_ == pytest.approx(model.lower_bound_, rel=1e-12)

    def test_edited_loadings_are_followed(self):
        X = twin.draw(model_of("mfa", 24, 5, 2, 1), 24, 200)
        model = GaussianMixture(2, covariance_type="mfa:1", random_state=0).fit(X)
        model.covariances_ = model.covariances_ * [[[1.0], [0.0]]]
        plain = Mixture(model.weights_, model.means_, model.covariances_[:, 0], "diag")
        np.testing.assert_allclose(model.score_samples(X), plain.score_samples(X), rtol=1e-12)

    def test_others_have_no_transform(self):
        assert not hasattr(GaussianMixture(), "transform")
        assert hasattr(GaussianMixture(covariance_type="mppca:1"), "transform")
        with pytest.raises(AttributeError, match=r"transform needs a family of low rank.* got 'full'"):
            GaussianMixture().transform([[0.0]])
        with pytest.raises(fastgmm.NotFittedError):
            GaussianMixture(covariance_type="mfa:1").transform([[0.0, 1.0]])


class TestNames:
    def test_a_family_is_looked_up_with_its_rank(self):
        assert covariance.get("mfa:12").rank == 12
        assert covariance.get("mfa:12") is covariance.get("mfa:12")
        assert covariance.get("mppca:1").name == "mppca:1"

    @pytest.mark.parametrize(
        "name", ["mfa", "mppca:", "mfa:0", "mfa:-1", "mfa:02", "mfa:1.5", "mfa:x", "MFA:2", "mfa:2 "]
    )
    def test_a_rank_that_is_none(self, name):
        X = np.arange(12.0).reshape(4, 3) ** 2
        with pytest.raises(InvalidParameterError, match=f"'mfa:q', 'mppca:q', got {name!r}"):
            fastgmm.fit(X, covariance_type=name)
        with pytest.raises(InvalidParameterError, match=f"'mfa:q', 'mppca:q'}}. Got {name!r} instead"):
            GaussianMixture(covariance_type=name).fit(X)

    @pytest.mark.parametrize(
        ("n_features", "advice"), [(3, "at most 2, or 'full'"), (1, "for one feature take 'full'")]
    )
    @by_name
    def test_a_rank_of_as_many_features(self, name, n_features, advice):
        X = np.random.default_rng(0).standard_normal((20, n_features))
        for fit in (fastgmm.fit, lambda X, **options: GaussianMixture(**options).fit(X)):
            with pytest.raises(
                InvalidParameterError, match=f"more features than its rank 3, got {n_features}.*{advice}"
            ):
                fit(X, covariance_type=f"{name}:3")
        with pytest.raises(InvalidParameterError, match="more features than its rank"):
            Mixture([1.0], np.zeros((1, n_features)), np.ones((1, 4, n_features)), f"{name}:3")


class TestSources:
    def test_rows_in_blocks_give_the_bits_of_a_fit_in_memory(self):
        X = twin.draw(model_of("mfa", 29, 20, 3, 2), 29, 3000)
        options = {"covariance_type": "mfa:2", "random_state": 0, "tol": 1e-3}
        whole = fastgmm.fit(X, 3, **options)
        assert fastgmm.fit(X, 3, max_memory="400 MB", **options).mixture == whole.mixture

    def test_memory_that_is_asked_for_is_that_of_the_rank(self):
        needed = [needed_beside_rows(kind, 20, rank, 784, 2) for kind, rank in (("low_rank", 10), ("full", 0))]
        assert needed[0] < needed[1] / 10

    def test_rows_with_gaps(self):
        X = twin.draw(model_of("mfa", 30, 6, 2, 1), 30, 300)
        X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
        found = fastgmm.fit(X, 2, covariance_type="mfa:1", missing="em", tol=1e-4, max_iter=500, random_state=0)
        assert (np.diff(found.lower_bounds) >= -1e-12).all()
        assert np.isfinite(found.mixture.impute(X)).all()


class TestOptions:
    def test_rows_of_known_components(self):
        X = twin.draw(model_of("mfa", 31, 6, 2, 2), 31, 300)
        known = np.full(300, -1)
        known[:40] = np.arange(40) % 2
        found = fastgmm.fit(X, 2, covariance_type="mfa:2", known_labels=known, random_state=0, tol=1e-4, max_iter=500)
        assert (np.diff(found.lower_bounds) >= -1e-12).all()
        assert np.isfinite(found.lower_bound)

    @by_name
    def test_what_is_not_for_low_rank_says_so(self, name):
        X = twin.draw(model_of(name, 32, 6, 2, 2), 32, 60)
        with pytest.raises(InvalidParameterError, match=f"prior must be None for covariance_type='{name}:2'"):
            fastgmm.fit(X, 2, covariance_type=f"{name}:2", prior="conjugate")
        with pytest.raises(InvalidParameterError, match=f"covariance_type must be another than '{name}:2' for partial"):
            GaussianMixture(2, covariance_type=f"{name}:2").partial_fit(X)


class TestLarge:
    def test_a_fit_of_many_features_never_holds_a_matrix_for_each_component(self):
        """784 features, 20 components: those would be 98 MB, the parameters are 1.4."""
        D, K, q = 784, 20, 10
        rng = np.random.default_rng(0)
        latent = rng.standard_normal((600, q)) @ rng.standard_normal((q, D))
        X = (latent + rng.standard_normal((600, D)) + 3 * rng.standard_normal((K, D))[np.arange(600) % K]).astype("f4")
        tracemalloc.start()
        with problems.no_convergence_warning():
            result = fastgmm.fit(X, K, covariance_type="mfa:10", max_iter=2, tol=0.0, random_state=0)
            result.mixture.predict(X)
            result.mixture.sample(10, random_state=0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert np.isfinite(result.lower_bound)
        assert peak < 40e6


class TestSelection:
    def test_the_rank_is_chosen_among_families(self):
        X = twin.draw(model_of("mfa", 27, 8, 2, 2), 27, 600)
        chosen = fastgmm.select(X, range(1, 4), ["mfa:1", "mfa:2", "mfa:3", "mppca:2", "full"], random_state=0).best
        assert (chosen.covariance_type, chosen.to_mixture().n_components) == ("mfa:2", 2)


class TestShell:
    def test_fit_predict_and_info(self, cli, tmp_path):
        X = twin.draw(model_of("mfa", 25, 4, 2, 1), 25, 300)
        np.save(tmp_path / "rows.npy", X)
        model = tmp_path / "m.npz"
        options = ("--components", "1-3", "--covariance", "mfa:1,mppca:2,full", "--model", model)
        found = json.loads(cli("fit", tmp_path / "rows.npy", *options, "--json"))
        tried = {each["covariance_type"] for each in found["candidates"]}
        assert tried == {"mfa:1", "mppca:2", "full"}
        mixture = fastgmm.load(model)
        spread = [each["spread"] for each in found["model"]["components"]]
        family, shape = mixture.family, mixture.means.shape
        np.testing.assert_allclose(spread, np.sqrt(family.variances(mixture.covariances, *shape)))
        assert found["chosen"]["covariance_type"] == mixture.covariance_type
        assert "mfa:1 covariance" in cli("fit", tmp_path / "rows.npy", "--covariance", "mfa:1", "--components", "2")

    def test_latent_coordinates(self, cli, model, tmp_path):
        mixture = mixture_of("mfa", model_of("mfa", 28, 5, 2, 2))
        X = twin.draw(twin_of(mixture), 28, 30)
        mixture.save(tmp_path / "low.npz")
        np.save(tmp_path / "rows.npy", X)
        head, *lines = cli("predict", tmp_path / "low.npz", tmp_path / "rows.npy", "--latent").splitlines()
        assert head == "label,f0,f1"
        found = np.array([line.split(",") for line in lines], dtype=float)
        np.testing.assert_array_equal(found[:, 1:], mixture.transform(X))
        np.testing.assert_array_equal(found[:, 0], mixture.predict(X))
        assert "transform needs a family of low rank" in cli("predict", model[0], problems.FAITHFUL, "--latent", code=2)

    def test_a_rank_is_needed(self, capsys, tmp_path):
        np.save(tmp_path / "rows.npy", np.random.default_rng(0).standard_normal((20, 3)))
        assert main(["fit", str(tmp_path / "rows.npy"), "--covariance", "mfa"]) == 2
        assert "'mfa' is not a family; they are full, " in capsys.readouterr().err
