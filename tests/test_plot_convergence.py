"""The picture of convergence: every start is a line, the best stands out, failures are counted."""

import numpy as np
import problems
import pytest
from matplotlib.figure import Figure

import fastgmm
from fastgmm import GaussianMixture, plot
from fastgmm.fitting import StartHistory

K = 3
X = problems.rows(5, 200, 2, K, separation=2.0)
MANY = {"n_init": 6, "init_params": "random", "tol": 1e-6, "max_iter": 60, "random_state": 0}


@pytest.fixture(scope="module")
def result():
    with problems.no_convergence_warning():
        return fastgmm.fit(X, K, **MANY)


class TestConvergence:
    def test_every_start_is_a_line_in_both_axes(self, result):
        left, right = plot.convergence(result, title="six").axes
        end = result.lower_bound
        order = [*(i for i in range(6) if i != result.best_init), result.best_init]
        for number, line, gap in zip(order, left.get_lines(), right.get_lines(), strict=True):
            bounds = result.histories[number].lower_bounds
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, len(bounds) + 1))
            np.testing.assert_array_equal(line.get_ydata(), bounds)
            short = end - np.array(bounds)
            np.testing.assert_array_equal(gap.get_ydata(), np.where(short > 0, short, np.nan))
            hollow = line.get_markerfacecolor() == "white"
            assert hollow != result.histories[number].converged
        assert right.get_yscale() == "log"

    def test_the_kept_start_is_named_and_looks_different(self, result):
        left, _ = plot.convergence(result).axes
        *others, best = left.get_lines()
        assert best.get_color() not in {line.get_color() for line in others}
        texts = [text.get_text() for text in left.get_legend().get_texts()]
        chosen = result.histories[result.best_init]
        assert texts[0] == "other starts"
        assert texts[1] == (
            f"start {result.best_init}, kept: {chosen.n_iter} iterations, stopped by {chosen.stopped_by}"
        )

    def test_an_estimator_gives_the_same_picture(self, result):
        with problems.no_convergence_warning():
            model = GaussianMixture(K, **MANY).fit(X)
        for ours, theirs in zip(plot.convergence(model).axes, plot.convergence(result).axes, strict=True):
            for line, other in zip(ours.get_lines(), theirs.get_lines(), strict=True):
                np.testing.assert_array_equal(line.get_xydata(), other.get_xydata())

    def test_failed_starts_are_counted(self):
        labels = iter([np.arange(200) == 0, X[:, 0] > 0])
        options = {"reg_covar": 0.0, "n_init": 2, "init_params": lambda *_: next(labels).astype(int)}
        figure = plot.convergence(fastgmm.fit(X, 2, **options))
        assert figure.get_supxlabel() == "1 of 2 starts failed"
        assert len(figure.axes[0].get_lines()) == 1

    def test_all_is_seen_but_the_first_iterations(self):
        bounds = [-1e6, *np.linspace(-3, -2, 50)]
        ax = Figure().subplots()
        plot.draw_log_likelihoods(ax, [StartHistory(bounds, True, 51, stopped_by="tol")], 0)
        low, high = ax.get_ylim()
        assert -4 < low < -2.9
        assert -2 < high < -1.8

    @pytest.mark.parametrize("kind", ["png", "svg"])
    def test_it_is_written(self, result, tmp_path, kind):
        with problems.no_convergence_warning():
            once = fastgmm.fit(X, K, max_iter=1, random_state=0)  # a line of one point without a gap
        for fitted in (result, once):
            plot.save_picture(plot.convergence(fitted), tmp_path / f"starts.{kind}")
            assert (tmp_path / f"starts.{kind}").stat().st_size > 5000

    def test_what_cannot_be_drawn(self):
        with pytest.raises(ValueError, match="no histories_ to draw: call its fit first"):
            plot.convergence(GaussianMixture())
        with pytest.raises(ValueError, match="the fit made no iteration"):
            plot.convergence(fastgmm.fit(X, K, max_iter=0))
        with pytest.raises(TypeError, match="expected a FitResult or a fitted GaussianMixture, got ndarray"):
            plot.convergence(X)
