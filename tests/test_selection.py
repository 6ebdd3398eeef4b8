"""Choosing a model: what the search finds, what becomes of cells that fail, and how it is stopped and resumed."""

import math
import pickle

import numpy as np
import pandas as pd
import pytest
from problems import FAITHFUL, rows, same_bits

import fastgmm
from fastgmm import GaussianMixture, InvalidParameterError, covariance, fitting
from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.selection import CRITERIA, NothingFittedError, Selection, select

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 2)) * [1.0, 0.5] + np.repeat([[-6.0, 0.0], [0.0, 6.0], [6.0, -2.0]], 50, axis=0)
GEYSER = np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)


def sizes(found):
    return [(each.covariance_type, each.n_components) for each in found.candidates]


@pytest.fixture(scope="module")
def geyser():
    return select(GEYSER, random_state=0)


class TestWhatIsFound:
    def test_all_structures_with_one_to_nine_components(self, geyser):
        assert sizes(geyser) == [(name, K) for K in range(1, 10) for name in covariance.names()]
        assert geyser.criterion is CRITERIA["bic"]

    def test_old_faithful_as_good_as_mclust(self, geyser):
        """Mclust(faithful): EEE, 3 components, BIC -2314.316 in its sign."""
        assert (geyser.chosen.covariance_type, geyser.chosen.n_components) == ("EEE", 3)
        assert geyser.chosen.value("mclust_bic") > -2314.316

    def test_the_best_is_an_estimator_that_is_fitted(self, geyser):
        best, chosen = geyser.best, geyser.chosen
        assert isinstance(best, GaussianMixture)
        assert (best.covariance_type, best.n_components) == ("EEE", 3)
        assert best.to_mixture() == chosen.mixture
        assert best.bic(GEYSER) == pytest.approx(chosen.value("bic"), rel=1e-12)
        assert best.lower_bound_ == chosen.result.lower_bound == best.score(GEYSER)

    def test_ranking(self, geyser):
        values = [each.value("bic") for each in geyser.ranked]
        assert values == sorted(values)
        assert [geyser.chosen, *geyser.runners_up] == geyser.ranked
        assert set(map(id, geyser.ranked)) == {id(each) for each in geyser.candidates if each.result}

    def test_what_may_be_best_is_at_least_as_good_as_single_fits(self, geyser):
        for each in geyser.ranked[:5]:
            options = {"covariance_type": each.covariance_type, "reg_covar": 0.0, "tol": 1e-5, "max_iter": 1000}
            single = fitting.run(GEYSER, each.n_components, n_init=3, random_state=0, **options)
            assert each.log_likelihood >= single.lower_bound * 272 - 0.05

    def test_likelihood_rises_with_components_where_nothing_is_abandoned(self):
        found = select(X, range(1, 7), ["full", "diag"], abandon=False, random_state=0)
        for name in ("full", "diag"):
            bounds = [each.log_likelihood for each in found.candidates if each.covariance_type == name]
            assert (np.diff(bounds) > 0).all()

    def test_abandoned_fits_would_not_have_been_best(self, geyser):
        thorough = select(GEYSER, random_state=0, abandon=False)
        assert thorough.chosen.value("bic") == pytest.approx(geyser.chosen.value("bic"), abs=1e-3)
        assert not any(each.abandoned for each in thorough.candidates)
        given_up = [each for each in geyser.candidates if each.abandoned]
        assert 10 < len(given_up) < 100
        assert all("could hardly become better than" in each.abandoned for each in given_up)
        assert not any(each.result.converged for each in given_up)

    def test_collapsed_components_never_win(self):
        """Five equal rows: a component on them has any likelihood one likes."""
        spiked = np.concatenate([X, np.repeat(X[:1], 5, axis=0)])
        found = select(spiked, range(1, 6), ["full", "VVI", "VII"], random_state=0)
        for each in found.ranked:
            dense = each.mixture.family.dense_covariances(each.mixture.covariances, each.n_components, 2)
            assert np.linalg.eigvalsh(dense).min() > 1e-6 * X.var(axis=0).min()
        assert found.chosen.n_components == 3

    def test_one_structure_counts_once(self):
        found = select(X, [1, 2], ["full", "VVV", "tied", "EEE", covariance.get("diag")], random_state=0)
        assert sizes(found) == [(name, K) for K in (1, 2) for name in ("full", "tied", "diag")]
        line = select(X[:, :1], 2, "all", random_state=0)
        assert sizes(line) == [("E", 2), ("V", 2)]

    def test_weights_are_counts(self):
        weights = np.arange(150) % 3
        found = select(X, [1, 3], ["full"], sample_weight=weights, random_state=0)
        repeated = select(np.repeat(X, weights, axis=0), [1, 3], ["full"], random_state=0)
        assert found.n_rows == weights.sum()
        for one, other in zip(found.candidates, repeated.candidates, strict=True):
            for name in ("bic", "icl", "aicc"):
                assert one.value(name) == pytest.approx(other.value(name), rel=1e-4)
            assert one.value("bic") == pytest.approx(one.mixture.bic(np.repeat(X, weights, axis=0)), rel=1e-12)

    @pytest.mark.parametrize("start", [name for name in fitting.STARTS if name != "kmeans"])
    def test_other_starts(self, start):
        found = select(X, [1, 2, 3], ["full"], init_params=start, n_init=3, random_state=0)
        assert found.chosen.n_components == 3

    @pytest.mark.parametrize("start", ["race", ["kmeans", "random"]])
    def test_races_and_moves_of_every_cell(self, start):
        options = {"init_params": start, "n_init": 9, "split_merge": 1, "random_state": 0}
        found = select(X, [3, 4], ["full", "EEE"], **options)
        assert not any(each.abandoned for each in found.candidates)
        for each in found.candidates:
            result = each.result
            single = fitting.run(
                X,
                each.n_components,
                covariance_type=each.covariance_type,
                tol=1e-5,
                reg_covar=0.0,
                max_iter=1000,
                **options,
            )
            assert result.lower_bound >= single.lower_bound
            assert len(result.histories) >= len(single.histories) > 1
            assert result.histories[result.best_init].lower_bounds[-1] == result.lower_bound
            assert sum(each.n_starts for each in result.optima()) + result.n_failed_inits == len(result.histories)

    def test_moves_out_of_the_optimum_of_the_best_start(self):
        without = select(GEYSER, 5, "full", random_state=0).chosen.result
        found = select(GEYSER, 5, "full", split_merge=3, random_state=0).chosen.result
        assert len(without.histories) == 1 < len(found.histories)
        assert found.lower_bound >= without.lower_bound

    def test_where_all_of_a_race_collapses_other_starts_have_their_turn(self):
        few = np.random.default_rng(1).normal(size=(25, 2))
        options = {"init_params": ["random_from_data"], "n_init": 3, "random_state": 6}
        with pytest.raises(IllDefinedCovarianceError):
            fitting.run(few, 3, tol=1e-5, reg_covar=0.0, max_iter=1000, **options)
        assert select(few, [2, 3], ["full"], **options).candidates[1].error is None

    def test_float32_and_frames(self):
        frame = pd.DataFrame(X.astype(np.float32), columns=["a", "b"])
        found = select(frame, [1, 3], ["full"], random_state=0)
        assert found.chosen.mixture.dtype == np.float32
        assert found.best.feature_names_in_.tolist() == ["a", "b"]

    def test_many_rows_start_from_few(self):
        many = rows(1, 20_000, 3, 4, separation=6.0)
        found = select(many, range(1, 6), ["full", "EEE"], random_state=0)
        assert found.chosen.n_components == 4
        single = fitting.run(many, 4, tol=1e-6, reg_covar=0.0, n_init=5, random_state=0, max_iter=500)
        full = next(each for each in found.candidates if (each.covariance_type, each.n_components) == ("full", 4))
        assert full.result.lower_bound >= single.lower_bound - 1e-4

    def test_options_arrive_in_the_fits(self):
        found = select(X, [3], ["full"], random_state=0, equal_weights=True, on_collapse="floor")
        np.testing.assert_allclose(found.chosen.mixture.weights, 1 / 3)
        assert found.best.equal_weights
        assert select(X, [3], ["full"], random_state=0, max_iter=1).chosen.result.n_iter == 1


class TestSameResult:
    def found(self, monkeypatch, **options):
        return select(X, range(1, 5), ["full", "VII", "EEV"], random_state=1, **options)

    def test_for_any_number_of_threads(self, monkeypatch):
        one = self.found(monkeypatch, n_threads=1)
        monkeypatch.setattr("fastgmm.selection.search.SMALL_WORK", 0.0)  # cells beside each other
        for n_threads in (2, 5):
            other = self.found(monkeypatch, n_threads=n_threads)
            assert [a.mixture for a in one.candidates] == [b.mixture for b in other.candidates]
        monkeypatch.setattr("fastgmm.selection.search.LARGE_WORK", 0.0)  # threads inside
        assert [a.mixture for a in one.candidates] == [
            b.mixture for b in self.found(monkeypatch, n_threads=3).candidates
        ]

    def test_the_seed_decides(self, monkeypatch):
        assert self.found(monkeypatch).settings["seed"] == 1
        a, b = (select(X, [2], ["full"], random_state=np.random.default_rng(3)).settings["seed"] for _ in range(2))
        assert a == b != select(X, [2], ["full"], random_state=np.random.default_rng(4)).settings["seed"]


class TestCriteria:
    @pytest.mark.parametrize("name", CRITERIA)
    def test_each_ranks(self, name):
        found = select(X, range(1, 5), ["full", "spherical"], name, random_state=0, n_folds=3)
        values = [CRITERIA[name].loss(each.value(name)) for each in found.ranked]
        assert values == sorted(values)
        assert found.chosen.n_components == 3

    def test_values_are_those_of_the_mixtures(self):
        found = select(X, [1, 2], ["full"], random_state=0)
        for name in ("bic", "aic", "aicc", "sabic", "icl", "icl_entropy", "nec", "mclust_bic", "mclust_icl"):
            for each in found.candidates:
                assert each.value(name) == pytest.approx(each.mixture.criterion(X, name), rel=1e-9)

    @pytest.mark.parametrize("name", ["icl", "icl_entropy", "nec", "mclust_icl"])
    def test_partitions_of_one_component_say_nothing(self, name):
        with pytest.raises(InvalidParameterError, match=r"add larger numbers to n_components, or use criterion='bic'"):
            select(X, 1, criterion=name)

    def test_nec_needs_one_component(self):
        with pytest.raises(InvalidParameterError, match=r"add 1 to n_components, got \[2, 3\]"):
            select(X, [2, 3], criterion="nec")


class TestFailures:
    def test_a_failed_cell_is_kept_with_its_reason(self):
        found = select(X[:6], [1, 7, 2], ["spherical"], random_state=0)
        assert sizes(found) == [("spherical", 1), ("spherical", 2), ("spherical", 7)]
        seven = found.candidates[2]
        assert "n_components = 7, n_samples = 6" in str(seven.error)
        assert seven.result is seven.mixture is None
        assert math.isnan(seven.value("bic"))
        assert math.isnan(seven.log_likelihood)
        assert seven not in found.ranked
        assert "failed: spherical 7: Expected n_samples" in found.report()

    def test_nothing_that_fits_reports_the_reason_of_each(self):
        flat = np.column_stack([X[:, 0], np.zeros(150)])
        with pytest.raises(NothingFittedError, match="No cell could be fitted") as caught:
            select(flat, [1, 2, 151], ["full", "diag"], random_state=0)
        assert "failed: full 1,2; diag 1,2: components collapsed" in str(caught.value)
        assert "failed: full 151; diag 151: Expected n_samples" in str(caught.value)
        assert len(caught.value.errors) == 6

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"criterion": "mdl"}, "criterion must be one of 'bic', .* got 'mdl'"),
            ({"n_components": [2, 0]}, "n_components"),
            ({"n_components": []}, "n_components must hold at least one number"),
            ({"n_components": "3"}, "n_components"),
            ({"covariance_type": ["full", "round"]}, "covariance_type must be one of 'full', .*'VVV'.* got 'round'"),
            ({"covariance_type": []}, "covariance_type must name at least one"),
            ({"covariance_type": "V"}, "for one feature"),
            ({"tol": -1.0}, "tol"),
            ({"max_iter": 0}, "max_iter"),
            ({"acceleration": "warp"}, "acceleration"),
            ({"on_collapse": "cry"}, "on_collapse"),
            ({"n_threads": 0}, "n_threads"),
            ({"n_init": 0}, "n_init"),
            ({"n_folds": 1}, "n_folds"),
            ({"init_params": "magic"}, "init_params must be one of 'kmeans'"),
            ({"init_params": ["kmeans", "magic"]}, "init_params as a list must hold any of 'kmeans'.* got 'magic'"),
            ({"split_merge": -1}, "split_merge"),
            ({"split_merge": 1, "noise": True}, "split_merge .* goes with no noise"),
            ({"progress": "yes"}, "progress must be a bool or a function"),
            ({"resume": 3}, "resume must be None or a Selection"),
            ({"random_state": -1}, "random_state"),
        ],
    )
    def test_wrong_arguments_are_no_failures_of_cells(self, arguments, message):
        with pytest.raises(InvalidParameterError, match=message):
            select(X, **{"n_components": [1, 2], "covariance_type": "full", **arguments})

    def test_data_that_no_cell_can_use_are_refused_at_once(self):
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
                select(data, sample_weight=weight, progress=lambda *told: seen.append(told))
        assert seen == []


class Stop:
    """A progress function that interrupts after some visits."""

    def __init__(self, after):
        self.after = after

    def __call__(self, done, total, text):
        if done == self.after:
            raise KeyboardInterrupt


PLAN = {"n_components": range(1, 6), "covariance_type": ["full", "VVI", "EEI"], "random_state": 2}


class TestInterruption:
    @pytest.mark.parametrize("after", [1, 4, 11, 15, 17, 22])
    def test_what_is_there_is_returned_and_resumed_to_the_same_bits(self, after):
        whole = select(X, **PLAN)
        part = select(X, **PLAN, progress=Stop(after))
        assert part.interrupted
        assert not whole.interrupted
        assert len(part.candidates) == min(after, 15)
        assert part.best.score(X) > -10
        assert "interrupted" in part.report()
        resumed = select(X, **PLAN, resume=pickle.loads(pickle.dumps(part)))
        assert not resumed.interrupted
        assert [a.mixture for a in resumed.candidates] == [b.mixture for b in whole.candidates]

    def test_beside_each_other(self, monkeypatch):
        monkeypatch.setattr("fastgmm.selection.search.SMALL_WORK", 0.0)
        part = select(X, **PLAN, progress=Stop(7), n_threads=2)
        assert part.interrupted
        resumed = select(X, **PLAN, resume=part)
        assert [a.mixture for a in resumed.candidates] == [b.mixture for b in select(X, **PLAN).candidates]

    def test_before_anything_is_there_it_is_an_interrupt(self):
        with pytest.raises(KeyboardInterrupt):
            select(X, **PLAN, progress=Stop(0))

    def test_cells_are_kept_and_others_added(self):
        some = select(X, range(1, 4), ["full"], random_state=2)
        seen = []
        more = select(X, range(1, 5), ["full", "diag"], resume=some, progress=lambda *told: seen.append(told))
        assert more.settings["seed"] == 2
        assert len(more.candidates) == 8
        assert seen[0][0] == 3
        assert more.seconds > some.seconds

    def test_only_for_the_same_rows_and_settings(self):
        found = select(X, [1, 2], ["full"], random_state=0)
        with pytest.raises(ValueError, match="resume is a selection for other rows"):
            select(X + 1, [1, 2], ["full"], resume=found)
        with pytest.raises(ValueError, match=r"resume is a selection with tol=1e-05, but now it is 0.1"):
            select(X, [1, 2], ["full"], resume=found, tol=0.1)


class TestSelection:
    def test_table(self, geyser):
        table = geyser.table
        assert len(table) == 126
        first = table[0]
        assert set(CRITERIA) < set(first)
        assert (first["covariance_type"], first["n_components"], first["error"]) == ("EII", 1, None)
        frame = table.to_pandas()
        assert frame.loc[frame["bic"].idxmin(), "covariance_type"] == "EEE"

    def test_report(self, geyser):
        text = geyser.report()
        assert text == repr(geyser)
        assert text.startswith("Selection by BIC (lower is better), 272 rows, 2 features")
        assert "best: EEE, 3 components, 11 parameters, BIC 2314.30" in text
        assert "2314.3*" in text
        assert max(map(len, text.splitlines()[:20])) <= 100

    def test_report_says_when_more_may_be_better(self):
        assert "more may be better" in select(X, [1, 2], ["full"], random_state=0).report()

    def test_plot(self, geyser):
        figure = geyser.plot()
        (ax,) = figure.axes
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert labels[: len(covariance.names())] == list(covariance.names())
        assert ax.get_xlabel() == "number of components"
        assert ax.get_ylabel() == "BIC (lower is better)"
        line = next(line for line in ax.lines if line.get_label() == "EEE")
        values = [each.value("bic") for each in geyser.candidates if each.covariance_type == "EEE"]
        assert same_bits(np.asarray(line.get_ydata(), dtype=float), np.array(values))

    def test_selection_is_public(self, geyser):
        assert isinstance(geyser, fastgmm.Selection)
        assert fastgmm.select is select
        assert Selection is fastgmm.Selection
