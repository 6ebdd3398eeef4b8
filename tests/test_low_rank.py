"""Mixtures of factor analysers and of probabilistic principal components: EM, floors, and fits that must not die."""

import numpy as np
import problems
import pytest
import reference_low_rank as twin
from low_rank_cases import NAMES, by_name, mixture_of, model_of, start_at, twin_of
from scipy.stats import multivariate_normal
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.decomposition import FactorAnalysis
from sklearn.preprocessing import StandardScaler
from test_hard_fits import POLICIES, hard_rows

import fastgmm
from fastgmm import GaussianMixture, Mixture, covariance
from fastgmm.fitting import ACCELERATIONS

WAYS = (None, *ACCELERATIONS)


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
