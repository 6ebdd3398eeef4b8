"""Choosing a model: the criteria, the sweep over candidates, and what becomes of those that fail."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from problems import rows

from fastgmm import InvalidParameterError, fitting
from fastgmm.selection.criteria import CRITERIA
from fastgmm.selection.sweep import Candidate, Sweep, sweep

FAMILIES = ("full", "tied", "diag", "spherical")
X = rows(0, 150, 2, 3)


class TestSweep:
    def test_candidates_are_the_fits_of_the_library_in_order(self):
        found = sweep(X, (K for K in (2, 1)), ["diag", "full"], random_state=3, n_init=2, tol=1e-2)
        assert [(each.n_components, each.covariance_type) for each in found.candidates] == [
            (2, "diag"),
            (2, "full"),
            (1, "diag"),
            (1, "full"),
        ]
        for each in found.candidates:
            K, family = each.n_components, each.covariance_type
            expected = fitting.run(X, K, covariance_type=family, random_state=3, n_init=2, tol=1e-2)
            assert each.mixture == expected.mixture
            assert each.result.lower_bound == expected.lower_bound
            assert each.log_likelihood == expected.lower_bound * 150
            assert each.error is None

    def test_the_time_of_each_is_taken(self, monkeypatch):
        monkeypatch.setattr("time.perf_counter", itertools.count().__next__)  # a second passes with every look at it
        assert [each.seconds for each in sweep(X, [1, 151], ["full"]).candidates] == [1, 1]

    def test_without_arguments_all_families_and_up_to_nine_components(self):
        found = sweep(X, random_state=0)
        tried = [(each.n_components, each.covariance_type) for each in found.candidates]
        assert tried == [(K, family) for K in range(1, 10) for family in FAMILIES]
        assert found.criterion is CRITERIA["bic"]

    @pytest.mark.parametrize("criterion", ["bic", "aic"])
    def test_the_best_has_the_lowest_criterion(self, criterion):
        found = sweep(X, range(1, 6), criterion=criterion, random_state=0)
        values = [each.value(criterion) for each in found.candidates]
        assert found.best is found.candidates[int(np.argmin(values))]
        assert [each.value(criterion) for each in found.ranked] == sorted(values)

    def test_weights_are_counts(self):
        weights = np.arange(150) % 3
        found = sweep(X, [2], ["full"], sample_weight=weights, random_state=0).best
        repeated = np.repeat(X, weights, axis=0)
        assert found.n_rows == len(repeated)
        assert found.value("bic") == pytest.approx(found.mixture.bic(repeated), rel=1e-12)
        assert found.value("aic") == pytest.approx(found.mixture.aic(repeated), rel=1e-12)

    def test_progress_sees_each_candidate_when_it_is_done(self):
        seen = []
        found = sweep(X, [1, 2], random_state=0, progress=seen.append)
        assert len(seen) == 8
        assert all(one is other for one, other in zip(seen, found.candidates, strict=True))

    def test_the_seed_decides(self):
        def bounds(seed):
            return [
                each.result.lower_bound for each in sweep(X, [7], random_state=seed, init_params="random").candidates
            ]

        assert bounds(1) == bounds(np.int64(1)) != bounds(2)
        assert bounds(np.random.default_rng(5)) == bounds(np.random.default_rng(5)) != bounds(np.random.default_rng(6))
        assert bounds(np.random.RandomState(5)) == bounds(np.random.RandomState(5))
        assert bounds(None) != bounds(None)


class TestFailures:
    def test_a_failed_candidate_is_kept_with_its_reason(self):
        found = sweep(X[:3], [1, 4, 2], ["spherical"], random_state=0)
        one, four, two = found.candidates
        assert (four.n_components, four.covariance_type) == (4, "spherical")
        assert isinstance(four.error, ValueError)
        assert "n_components = 4, n_samples = 3" in str(four.error)
        assert four.result is four.mixture is None
        assert math.isnan(four.value("bic"))
        assert math.isnan(four.log_likelihood)
        assert {id(each) for each in found.ranked} == {id(one), id(two)}

    def test_a_collapse_does_not_stop_the_others(self):
        flat = np.column_stack([X[:, 0], np.zeros(150)])
        found = sweep(flat, [2], ["full", "spherical"], reg_covar=0.0, random_state=0)
        assert "ill-defined empirical covariance" in str(found.candidates[0].error)
        assert found.best.covariance_type == "spherical"

    def test_the_first_error_is_raised_if_none_succeeds(self):
        with pytest.raises(ValueError, match="n_components = 151, n_samples = 150"):
            sweep(X, [151, 152])

    @pytest.mark.parametrize("empty", [{"n_components": []}, {"covariance_types": []}])
    def test_no_candidates(self, empty):
        with pytest.raises(ValueError, match="There are no candidates to fit"):
            sweep(X, **empty)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"criterion": "mdl"}, "criterion must be one of"),
            ({"n_components": [2, 0]}, "n_components"),
            ({"covariance_types": ["full", "round"]}, "round"),
            ({"tol": -1.0}, "tol"),
            ({"n_threads": 0}, "n_threads"),
        ],
    )
    def test_wrong_arguments_are_no_failures_of_candidates(self, arguments, message):
        with pytest.raises(InvalidParameterError, match=message):
            sweep(X, **{"n_components": [1], **arguments})

    def test_data_that_no_candidate_can_use_are_refused_at_once(self):
        seen = []
        bad = X.copy()
        bad[70, 1] = np.nan
        for data, weight, message in (
            (bad, None, "row 70, column 1"),
            (X[:1], None, "minimum of 2 is required"),
            (X, np.zeros(150), "weight"),
            (X, np.ones(149), "sample_weight"),
        ):
            with pytest.raises(ValueError, match=message):
                sweep(data, sample_weight=weight, progress=seen.append)
        assert seen == []


def fake(log_likelihood, n_parameters=3):
    """A candidate of a hundred rows whose fit is made up."""
    mixture = SimpleNamespace(n_parameters=n_parameters)
    return Candidate("full", 1, 100.0, 0.1, SimpleNamespace(lower_bound=log_likelihood / 100.0, mixture=mixture))


class TestRanking:
    def test_among_equals_the_one_fitted_first_wins(self):
        candidates = (fake(-300.0), fake(-200.0), fake(-200.0), fake(-200.0))
        ranked = Sweep(candidates, CRITERIA["bic"]).ranked
        assert [id(each) for each in ranked] == [id(candidates[i]) for i in (1, 2, 3, 0)]

    def test_the_criteria_may_disagree(self):
        small, large = (
            fake(-200.0, n_parameters=2),
            fake(-196.0, n_parameters=5),
        )  # 2 x 4 lies between 3 x 2 and 3 x 4.6
        assert Sweep((small, large), CRITERIA["aic"]).best is large
        assert Sweep((small, large), CRITERIA["bic"]).best is small

    def test_what_is_not_a_number_is_not_ranked(self):
        failed = Candidate("full", 2, 100.0, 0.1, error=ValueError("no"))
        candidates = (fake(math.nan), fake(-200.0), failed, fake(math.inf))
        assert Sweep(candidates, CRITERIA["bic"]).ranked == [candidates[1]]
