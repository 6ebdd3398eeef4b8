"""How sure a choice is: tests, frequencies, intervals and standard errors."""

import numpy as np
import pytest
from problems import model

import fastgmm
from fastgmm import InvalidParameterError, Mixture, covariance, select
from fastgmm.selection import bootstrap, bootstrap_choice, bootstrap_lrt, bootstrap_parameters, standard_errors
from fastgmm.selection.information import scores
from fastgmm.selection.replicates import replicates

RNG = np.random.default_rng(0)
TWO = np.concatenate([RNG.normal(-3, 1, (90, 2)), RNG.normal(3, [0.5, 1.0], (60, 2))])
FIT = {"reg_covar": 0.0, "tol": 1e-8, "max_iter": 1000, "random_state": 0}
by_family = pytest.mark.parametrize("name", covariance.SKLEARN)


class TestLikelihoodRatio:
    def test_two_components_are_found(self):
        one = bootstrap_lrt(TWO, 1, covariance_type="VVI", n_replicates=39, random_state=0)
        two = bootstrap_lrt(TWO, 2, covariance_type="VVI", n_replicates=39, random_state=0)
        assert (one.p_value, one.n_components) == (1 / 40, 1)
        assert two.p_value > 0.05
        assert one.statistic > one.replicates.max() > one.replicates.min() >= 0
        assert len(one.replicates) == 39

    def test_statistic_is_that_of_the_fits(self):
        found = select(TWO, [1, 2], "EEE", random_state=1, abandon=False)
        small, large = (each.log_likelihood for each in found.candidates)
        test = bootstrap_lrt(TWO, 1, covariance_type="EEE", n_replicates=3, random_state=0)
        assert test.statistic == pytest.approx(2 * (large - small), rel=1e-4)
        assert test.p_value == (1 + (test.replicates >= test.statistic).sum()) / 4

    def test_p_values_of_true_hypotheses_are_spread(self):
        truth = Mixture([1.0], [[0.0]], [1.0], "spherical")
        found = [
            bootstrap_lrt(truth.sample(60, seed)[0], 1, covariance_type="E", n_replicates=9, random_state=seed).p_value
            for seed in range(12)
        ]
        assert 0.25 < np.mean(found) < 0.85

    def test_threads_change_nothing_and_weights_are_counts(self):
        options = {"covariance_type": "EII", "n_replicates": 5, "random_state": 3}
        one, many = (bootstrap_lrt(TWO, 1, n_threads=n, **options) for n in (1, 4))
        np.testing.assert_array_equal(one.replicates, many.replicates)
        counts = np.arange(150) % 3
        weighted = bootstrap_lrt(TWO, 1, sample_weight=counts, **options)
        repeated = bootstrap_lrt(np.repeat(TWO, counts, axis=0), 1, **options)
        assert weighted.statistic == pytest.approx(repeated.statistic, rel=1e-6)

    def test_what_cannot_be_fitted(self):
        with pytest.raises(ValueError, match="2 components cannot be fitted: components collapsed"):
            bootstrap_lrt(np.repeat(TWO[:2], 5, axis=0), 2, covariance_type="VII", n_replicates=3)
        for arguments in ({"n_components": 0}, {"n_components": 1, "n_replicates": 0}):
            with pytest.raises(InvalidParameterError):
                bootstrap_lrt(TWO, **arguments)


class TestReplicates:
    def test_those_that_fail_are_drawn_anew_and_counted(self):
        def replicate(rng):
            value = rng.random()
            if value < 0.5:
                raise ValueError
            return value

        found, n_failed = replicates(replicate, 40, np.random.default_rng(0), 2)
        assert len(found) == 40
        assert min(found) >= 0.5
        assert 10 < n_failed < 90

    def test_one_that_always_fails_says_why(self):
        def replicate(rng):
            raise ValueError("no such rows")

        with pytest.raises(ValueError, match="no such rows"):
            replicates(replicate, 2, np.random.default_rng(0), 1)


class TestChoice:
    def test_frequencies(self):
        found = select(TWO, [1, 2, 3], ["EII", "VVI"], random_state=0)
        frequencies = bootstrap_choice(TWO, found, n_replicates=10, random_state=0)
        assert sum(each["count"] for each in frequencies) == 10
        assert sum(each["share"] for each in frequencies) == pytest.approx(1)
        assert frequencies[0]["n_components"] == 2
        assert frequencies == bootstrap_choice(TWO, found, n_replicates=10, random_state=0, n_threads=1)
        assert len(frequencies.to_pandas()) == len(frequencies)

    def test_rows_of_weight_zero_are_never_drawn(self):
        weights = np.r_[np.ones(90), np.zeros(60)]
        found = select(TWO, [1, 2], ["EII"], random_state=0, sample_weight=weights)
        (only,) = bootstrap_choice(TWO, found, n_replicates=5, random_state=0, sample_weight=weights)
        assert only["n_components"] == 1

    def test_wrong_arguments(self):
        with pytest.raises(InvalidParameterError, match="selection must be a Selection"):
            bootstrap_choice(TWO, 3)


class TestParameters:
    @pytest.mark.parametrize("kind", ["weighted", "parametric"])
    @by_family
    def test_intervals_hold_the_fit_and_errors_are_those_of_the_information(self, kind, name):
        X = fastgmm.fit(TWO, 2, covariance_type=name, **FIT).mixture.sample(600, random_state=0)[0]
        mixture = fastgmm.fit(X, 2, covariance_type=name, **FIT).mixture
        found = bootstrap_parameters(X, mixture, kind=kind, n_replicates=60, random_state=0)
        intervals, errors = found.intervals(), found.standard_errors()
        expected = standard_errors(X, mixture)
        for part in ("weights", "means", "covariances"):
            low, high = intervals[part]
            value = getattr(mixture, part)
            assert getattr(found, part).shape == (60, *value.shape)
            inside = (low <= value) & (value <= high)
            assert inside.mean() > 0.8
            np.testing.assert_allclose(errors[part], expected[part], rtol=0.4)
        narrow = found.intervals(0.5)["means"]
        assert (narrow[1] - narrow[0] < intervals["means"][1] - intervals["means"][0]).all()

    def test_components_are_matched(self):
        mixture = fastgmm.fit(TWO, 2, **FIT).mixture
        swapped = Mixture(mixture.weights[::-1], mixture.means[::-1], mixture.covariances[::-1])
        weights, means, covariances = bootstrap._matched(
            swapped, swapped.predict_proba(TWO), mixture.predict_proba(TWO)
        )
        np.testing.assert_array_equal(means, mixture.means)
        np.testing.assert_array_equal(weights, mixture.weights)
        np.testing.assert_array_equal(covariances, mixture.covariances)

    def test_wrong_arguments(self):
        mixture = fastgmm.fit(TWO, 2, **FIT).mixture
        with pytest.raises(InvalidParameterError, match="kind must be one of 'weighted', 'parametric'"):
            bootstrap_parameters(TWO, mixture, kind="jackknife")
        with pytest.raises(InvalidParameterError, match=r"mixture must be a fastgmm\.Mixture"):
            bootstrap_parameters(TWO, 3)
        found = bootstrap_parameters(TWO, mixture, n_replicates=2, random_state=0)
        with pytest.raises(InvalidParameterError, match=r"level must be a number in \(0, 1\)"):
            found.intervals(1.0)


def parts(mixture, free):
    """A mixture of the family with other free parameters, as `scores` orders them, and these parameters."""
    K, D = mixture.means.shape
    below = np.tril_indices(D)
    dense = mixture.covariance_type in ("full", "tied")
    shape = mixture.covariances.shape
    if free is None:
        values = mixture.covariances[..., below[0], below[1]] if dense else mixture.covariances
        return np.concatenate([mixture.weights[:-1], mixture.means.ravel(), values.ravel()])
    weights = np.append(free[: K - 1], 1 - free[: K - 1].sum())
    means, values = free[K - 1 : K - 1 + K * D].reshape(K, D), free[K - 1 + K * D :]
    covariances = np.empty(shape)
    if dense:
        values = values.reshape(*shape[:-2], -1)
        covariances[..., below[0], below[1]] = covariances[..., below[1], below[0]] = values
    else:
        covariances[...] = values.reshape(shape)
    return Mixture(weights, means, covariances, mixture.covariance_type)


class TestInformation:
    @by_family
    def test_scores_are_the_derivatives_of_the_log_density(self, name):
        """Central differences in steps of 1e-5 have errors of about 1e-9."""
        weights, means, covariances = model(name, 1, 3, 3)
        mixture = Mixture(weights, means, covariances, name)
        X = mixture.sample(7, random_state=0)[0]
        at = parts(mixture, None)
        numeric = np.empty((7, len(at)))
        for j in range(len(at)):
            step = np.zeros(len(at))
            step[j] = 1e-5
            up, down = (parts(mixture, at + sign * step).score_samples(X) for sign in (1, -1))
            numeric[:, j] = (up - down) / 2e-5
        np.testing.assert_allclose(scores(X, mixture), numeric, rtol=1e-5, atol=1e-6)

    def test_one_component_has_the_errors_of_the_textbook(self):
        """Of a mean sqrt(v / n), of a variance v sqrt(2 / n), for rows as the normal distribution has them."""
        from scipy.stats import norm

        X = norm.ppf((np.arange(4000) + 0.5) / 4000)[:, None]
        mixture = fastgmm.fit(X, 1, **FIT).mixture
        errors = standard_errors(X, mixture)
        assert errors["weights"] == 0
        assert errors["means"][0, 0] == pytest.approx(np.sqrt(1 / 4000), rel=0.01)
        assert errors["covariances"][0, 0, 0] == pytest.approx(np.sqrt(2 / 4000), rel=0.02)

    def test_weights_are_counts_and_rows_come_in_parts(self, monkeypatch):
        mixture = fastgmm.fit(TWO, 2, **FIT).mixture
        counts = 1 + np.arange(150) % 3
        counts[5] = 0
        repeated = standard_errors(np.repeat(TWO, counts, axis=0), mixture)
        monkeypatch.setattr("fastgmm.selection.information._VALUES", 300)
        weighted = standard_errors(TWO, mixture, sample_weight=counts)
        for part in ("weights", "means", "covariances"):
            np.testing.assert_allclose(weighted[part], repeated[part], rtol=1e-9)
        assert weighted["weights"][0] == pytest.approx(weighted["weights"][1])

    def test_what_there_is_no_information_about(self):
        mixture = fastgmm.fit(TWO, 2, **FIT).mixture
        with pytest.raises(ValueError, match="the information of 5 rows about 11 parameters is singular"):
            standard_errors(TWO[:5], mixture)
        other = select(TWO, 2, "VEV", random_state=0).chosen.mixture
        with pytest.raises(InvalidParameterError, match="'VEV': use bootstrap_parameters"):
            standard_errors(TWO, other)
