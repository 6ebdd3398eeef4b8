"""Low rank for those who use it: forms, densities, latent coordinates, names, sources, the shell."""

import json
import pickle
import tracemalloc

import numpy as np
import problems
import pytest
import reference_low_rank as twin
from low_rank_cases import NAMES, by_name, mixture_of, model_of, start_at, twin_of
from sklearn.base import clone
from sklearn.decomposition import FactorAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks, get_tags

import fastgmm
from fastgmm import GaussianMixture, InvalidParameterError, Mixture, covariance
from fastgmm.cli import main
from fastgmm.sources.memory import needed_beside_rows

by_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])


@pytest.fixture(scope="module", params=NAMES)
def fitted(request):
    """Rows, and a fit of three components of rank two."""
    name = request.param
    X = twin.draw(model_of(name, 1, 6, 3, 2), 1, 400)
    return X, fastgmm.fit(X, 3, covariance_type=f"{name}:2", tol=1e-4, max_iter=2000, random_state=0)


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
        for name in ("transform", "fit_transform", "get_feature_names_out", "set_output"):
            assert not hasattr(GaussianMixture(), name)
            assert hasattr(GaussianMixture(covariance_type="mppca:1"), name)
        assert get_tags(GaussianMixture()).transformer_tags is None
        with pytest.raises(AttributeError, match=r"transform needs a family of low rank.* got 'full'"):
            GaussianMixture().transform([[0.0]])
        with pytest.raises(fastgmm.NotFittedError):
            GaussianMixture(covariance_type="mfa:1").transform([[0.0, 1.0]])


class TestTransformer:
    """With a family of low rank the estimator is what scikit-learn calls a transformer."""

    # They fit frames and transform arrays, and the other way round: scikit-learn's own transformers warn there too.
    @pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names")
    def test_scikit_learns_checks_of_transformers_pass(self):
        model = GaussianMixture(covariance_type="mfa:1", max_iter=1000)
        for check in (
            estimator_checks.check_transformer_general,
            estimator_checks.check_transformer_preserve_dtypes,
            estimator_checks.check_transformer_get_feature_names_out,
            estimator_checks.check_transformer_get_feature_names_out_pandas,
            estimator_checks.check_set_output_transform,
            estimator_checks.check_set_output_transform_pandas,
            estimator_checks.check_global_output_transform_pandas,
            estimator_checks.check_set_output_transform_polars,
            estimator_checks.check_global_set_output_transform_polars,
            estimator_checks.check_fit2d_1feature,
        ):
            check("GaussianMixture", model)
        assert get_tags(model).transformer_tags.preserves_dtype == ["float64", "float32"]

    def test_pipelines_set_its_output(self):
        X = twin.draw(model_of("mfa", 25, 5, 2, 2), 25, 200)
        model = GaussianMixture(2, covariance_type="mfa:2", random_state=0)
        piped = make_pipeline(StandardScaler(), model).set_output(transform="pandas")
        found = piped.fit_transform(X)
        assert found.columns.tolist() == ["gaussianmixture0", "gaussianmixture1"]
        scaled = StandardScaler().fit_transform(X)
        np.testing.assert_array_equal(found, clone(model).fit_transform(scaled))
        weights = np.arange(200.0)
        weighted = clone(model).fit_transform(scaled, sample_weight=weights)
        np.testing.assert_array_equal(weighted, clone(model).fit(scaled, sample_weight=weights).transform(scaled))


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

    @pytest.mark.parametrize(("n_features", "advice"), [(3, "at most 2, or 'full'"), (1, "; take 'full'")])
    @by_name
    def test_a_rank_of_as_many_features(self, name, n_features, advice):
        X = np.random.default_rng(0).standard_normal((20, n_features))
        for fit in (fastgmm.fit, lambda X, **options: GaussianMixture(**options).fit(X)):
            with pytest.raises(
                InvalidParameterError, match=f"more features than its rank 3, got n_features={n_features}.*{advice}"
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
        needed = [needed_beside_rows(kind, 20, rank, None, 784, 2) for kind, rank in (("low_rank", 10), ("full", 0))]
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
