"""Pictures: what is drawn is what the mixture says, for any number of features, and nothing is left behind."""

import sys
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy import integrate, linalg
from sklearn.datasets import load_iris

import fastgmm
from fastgmm import plot
from fastgmm.plot import projection
from fastgmm.plot.picture import check_format

ROUND = fastgmm.Mixture([0.25, 0.75], [[0.0, 0.0], [6.0, 2.0]], [1.0, 0.5], "spherical")
TILTED = fastgmm.Mixture([1.0], [[1.0, 2.0]], [[[2.0, 1.2], [1.2, 1.0]]])


@pytest.fixture
def ax():
    return Figure().subplots()


def mixture_of(n_features, n_components=2, dtype=np.float64):
    """A mixture whose components lie along the diagonal."""
    rng = np.random.default_rng(n_features)
    A = rng.normal(size=(n_components, n_features, n_features)) / n_features + np.eye(n_features)
    means = 4.0 * np.arange(n_components)[:, None] + np.zeros(n_features)
    weights = np.full(n_components, 1 / n_components, dtype=dtype)
    return fastgmm.Mixture(weights, means.astype(dtype), (A @ A.transpose(0, 2, 1)).astype(dtype))


def legend_texts(figure):
    """What the legend of a figure says, wherever it stands."""
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    assert len(legends) == 1
    return [text.get_text() for text in legends[0].get_texts()]


class TestColours:
    @pytest.mark.parametrize("n_components", [1, 7, 8, 40])
    def test_each_component_has_its_own(self, n_components):
        colours = plot.component_colours(n_components)
        assert len(set(colours)) == n_components
        assert [to_hex(colour).lower() for colour in colours] == [colour.lower() for colour in colours]

    def test_rows_have_the_colour_of_their_component(self, ax):
        plot.draw_rows(ax, [[0, 0], [1, 2], [3, 4]], [1, 0, 1], ["#ff0000", "#0000ff"])
        (points,) = ax.collections
        np.testing.assert_array_equal(points.get_offsets(), [[0, 0], [1, 2], [3, 4]])
        colours = [to_hex(colour) for colour in points.get_facecolors()]
        assert colours == ["#0000ff", "#ff0000", "#0000ff"]


class TestEllipses:
    @pytest.mark.parametrize("probability", [0.5, 0.95, 0.999])
    @pytest.mark.parametrize("mixture", [ROUND, TILTED, mixture_of(2, 3)])
    def test_its_edge_is_the_contour_of_its_probability(self, ax, mixture, probability):
        """In two dimensions a squared Mahalanobis distance below q has the probability 1 - exp(-q / 2)."""
        ellipses = plot.draw_ellipses(ax, mixture, plot.component_colours(mixture.n_components), probability)
        dense = mixture.family.dense_covariances(mixture.covariances, mixture.n_components, 2)
        assert len(ellipses) == mixture.n_components
        for ellipse, mean, sigma in zip(ellipses, mixture.means, dense, strict=True):
            edge = ellipse.get_patch_transform().transform([[1, 0], [0, 1], [-1, 0], [0.6, -0.8]]) - mean
            distance = np.einsum("ni,ni->n", edge, np.linalg.solve(sigma, edge.T).T)
            np.testing.assert_allclose(1 - np.exp(-distance / 2), probability, rtol=1e-12)

    def test_it_covers_its_share_of_a_sample(self, ax):
        X, _ = TILTED.sample(20_000, random_state=0)
        (ellipse,) = plot.draw_ellipses(ax, TILTED, ["#000000"], 0.9)
        unit = ellipse.get_patch_transform().inverted().transform(X)
        inside = np.mean(np.linalg.norm(unit, axis=1) <= 1)
        assert abs(inside - 0.9) < 5 * np.sqrt(0.9 * 0.1 / 20_000)

    @pytest.mark.parametrize("probability", [0.0, 1.0, -0.5, np.nan])
    def test_probabilities_are_checked(self, ax, probability):
        with pytest.raises(ValueError, match=r"probability must be in the range \(0, 1\)"):
            plot.draw_ellipses(ax, ROUND, ["#000000"] * 2, probability)


class TestDensity:
    def test_contours_hold_their_part_of_the_probability(self, ax):
        """Where a Gaussian holds the part p, its density is 1 - p of that at its mean, in two dimensions."""
        levels = plot.draw_density(ax, TILTED, (-7, 9, -4, 8)).levels
        np.testing.assert_allclose(levels, [0.05, 0.25, 0.5, 0.75, 1.0], atol=0.01)  # of a grid of 160 x 160

    def test_a_density_that_the_grid_cannot_see_is_left_out(self, ax):
        spike = fastgmm.Mixture([1.0], [[0.5, 0.5]], [1e-12], "spherical")
        assert plot.draw_density(ax, spike, (0, 1, 0, 1)) is None
        assert len(ax.collections) == 0

    def test_the_curves_have_the_areas_of_their_components(self, ax):
        mixture = fastgmm.Mixture([0.3, 0.7], [[0.0], [50.0]], [1.0, 1e-6], "spherical")  # one of them very narrow
        plot.draw_density_curve(ax, mixture, (-10, 60), ["#000000", "#ffffff"])
        areas = [integrate.trapezoid(line.get_ydata(), line.get_xdata()) for line in ax.lines]
        np.testing.assert_allclose(areas, [0.3, 0.7, 1.0], rtol=2e-3)
        assert [to_hex(line.get_color()) for line in ax.lines[:2]] == ["#000000", "#ffffff"]

    def test_the_histogram_has_the_area_one_and_counts_weights(self, ax):
        plot.draw_histogram(ax, [0.0, 0.0, 1.0], [1.0, 2.0, 9.0])
        areas = np.array([bar.get_width() * bar.get_height() for bar in ax.patches])
        np.testing.assert_allclose([areas.sum(), areas[0], areas[-1]], [1.0, 0.25, 0.75])


class TestProjection:
    def test_a_marginal_has_the_parameters_of_its_features(self):
        mixture = mixture_of(4, 3)
        some = projection.marginal(mixture, [3, 1])
        np.testing.assert_allclose(some.means, mixture.means[:, [3, 1]])
        np.testing.assert_allclose(some.covariances, mixture.covariances[:, [3, 1]][:, :, [3, 1]])
        np.testing.assert_allclose(some.weights, mixture.weights)

    @pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
    def test_the_image_is_the_distribution_of_the_images(self, covariance_type):
        """In one direction a the mean is a.mu and the variance a.Sigma.a, whatever the family."""
        X, _ = mixture_of(3).sample(300, random_state=0)
        mixture = fastgmm.fit(X, 2, covariance_type=covariance_type, random_state=0).mixture
        a = np.array([1.0, -2.0, 0.5])
        image = projection.project(mixture, a[:, None])
        dense = mixture.family.dense_covariances(mixture.covariances, 2, 3)
        np.testing.assert_allclose(image.means[:, 0], mixture.means @ a)
        np.testing.assert_allclose(image.covariances[:, 0, 0], [a @ sigma @ a for sigma in dense])

    @pytest.mark.parametrize("n_components", [1, 2, 3, 5])
    def test_the_plane_is_uncorrelated_and_shows_the_mixture(self, n_components):
        mixture = apart(7, n_components)
        plane = projection.plane_of(mixture)
        seen = plane.mixture(mixture)
        np.testing.assert_allclose(seen.means, plane.rows(mixture.means), atol=1e-12)
        total = np.tensordot(seen.weights, seen.covariances, 1) + (seen.weights[:, None] * seen.means).T @ seen.means
        assert abs(total[0, 1]) < 1e-12
        assert [title.partition(" ")[0] for title in plane.titles] == (
            ["direction"] * min(n_components - 1, 2) + ["principal"] * max(3 - n_components, 0)
        )

    def test_without_clusters_it_is_the_plane_of_the_correlations(self):
        mixture = apart(7, 1)
        scale = np.sqrt(np.diag(mixture.covariances[0]))
        values, vectors = np.linalg.eigh(mixture.covariances[0] / np.outer(scale, scale))
        plane = projection.plane_of(mixture)
        cosines = np.abs(np.sum(plane.directions * scale[:, None] * vectors[:, :-3:-1], axis=0))
        np.testing.assert_allclose(cosines, 1.0)
        assert plane.titles[0] == f"principal axis 1 ({values[-1] / 7:.0%} of the variance)"


def apart(n_features, n_components):
    """A mixture whose means lie in no plane, and whose features have very different units."""
    rng = np.random.default_rng(n_components)
    A = (rng.normal(size=(n_components, n_features, n_features)) / 2 + np.eye(n_features)) * 10.0 ** np.arange(
        n_features
    )
    weights = rng.dirichlet(np.full(n_components, 5.0))
    means = 3 * rng.normal(size=(n_components, n_features)) * 10.0 ** np.arange(n_features)
    return fastgmm.Mixture(weights, means, A.transpose(0, 2, 1) @ A)


class TestClusterDirections:
    @pytest.mark.parametrize("balance", [0.0, 0.3, 1.0])
    def test_they_solve_what_the_paper_says(self, balance):
        """Against scipy's generalised eigenvalues of the matrices as Scrucca (2010, 2014) writes them."""
        mixture = apart(5, 3)
        weights, means, covariances = mixture.weights, mixture.means, mixture.covariances
        W = sum(w * sigma for w, sigma in zip(weights, covariances, strict=True))
        B = sum(
            w * np.outer(mean - weights @ means, mean - weights @ means) for w, mean in zip(weights, means, strict=True)
        )
        inverse = np.linalg.inv(B + W)
        M = 2 * balance * B @ inverse @ B
        for w, sigma in zip(weights, covariances, strict=True):
            M += 2 * (1 - balance) * w * (sigma - W) @ inverse @ (sigma - W)
        directions, values = plot.cluster_directions(mixture, balance)
        expected = linalg.eigh(M, B + W, eigvals_only=True)[::-1]
        assert len(values) == (2 if balance == 1 else 5)
        np.testing.assert_allclose(values, expected[: len(values)], rtol=1e-7)
        np.testing.assert_allclose(directions.T @ (B + W) @ directions, np.eye(len(values)), atol=1e-9)
        np.testing.assert_allclose(directions.T @ M @ directions, np.diag(values), atol=1e-9)

    def test_they_are_those_of_mclust(self):
        """`MclustDR` of mclust 6.0.0, lambda 1 and 0.5, of the fit VVV of three components to iris."""
        X, species = load_iris(return_X_y=True)
        options = {"init_params": species, "reg_covar": 0.0, "tol": 1e-9, "max_iter": 5000}
        fitted = fastgmm.fit(X, 3, **options)
        for balance, expected, first in (
            (1.0, [1.879295917, 0.07250326663], [-0.20428413, -0.43476841, 0.55492327, 0.67919408]),
            (
                0.5,
                [0.94848237871, 0.6523367456, 0.0812281412, 0.03317485355],
                [-0.15122021, -0.45461905, 0.46261758, 0.74594835],
            ),
        ):
            directions, values = plot.cluster_directions(fitted, balance)
            np.testing.assert_allclose(values, expected, rtol=1e-5)
            np.testing.assert_allclose(directions[:, 0] / np.linalg.norm(directions[:, 0]), first, rtol=1e-4)

    def test_two_clusters_are_told_apart_by_fishers_discriminant(self):
        mixture = fastgmm.Mixture([0.3, 0.7], [[0.0, 1.0, 2.0], [1.0, 0.0, 5.0]], np.diag([1.0, 2.0, 9.0]), "tied")
        directions, values = plot.cluster_directions(mixture)
        fisher = [1.0, -0.5, 1 / 3]
        np.testing.assert_allclose(directions[:, 0] / directions[0, 0], fisher)
        distance = 1 + 0.5 + 1  # squared, of the means, in standard deviations
        np.testing.assert_allclose(np.sqrt(values / 2), 0.21 * distance / (1 + 0.21 * distance))

    @pytest.mark.parametrize("family", ["EII", "diag", "mfa:2", "VEV"])
    def test_every_family(self, family):
        X, _ = apart(5, 3).sample(500, random_state=0)
        mixture = fastgmm.fit(X / X.std(axis=0), 3, covariance_type=family, random_state=0, max_iter=1000).mixture
        dense = mixture.family.dense_covariances(mixture.covariances, 3, 5)
        full = fastgmm.Mixture(mixture.weights, mixture.means, dense)
        for ours, theirs in zip(plot.cluster_directions(mixture), plot.cluster_directions(full), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)

    def test_there_are_none_of_one_component(self):
        directions, values = plot.cluster_directions(apart(5, 1), 0.5)
        assert directions.shape == (5, 0)
        assert values.shape == (0,)

    @pytest.mark.parametrize("balance", [-0.1, 1.1, np.nan, "means", None, True])
    def test_balance_is_checked(self, balance):
        with pytest.raises(ValueError, match=r"balance must be a number in the range \[0, 1\], got "):
            plot.cluster_directions(ROUND, balance)


class TestPicture:
    def test_of_a_fitted_estimator_or_a_result(self):
        X, _ = TILTED.sample(50, random_state=0)
        for fitted in (fastgmm.GaussianMixture(2, random_state=0).fit(X), fastgmm.fit(X, 2, random_state=0)):
            assert len(plot.picture(fitted, X).axes[0].patches) == 2
        with pytest.raises(ValueError, match=r"mixture must be a fastgmm\.Mixture, .*, got Figure"):
            plot.picture(Figure(), X)

    @pytest.mark.parametrize(("n_features", "n_axes"), [(1, 1), (2, 1), (3, 9), (5, 25), (6, 1), (40, 1)])
    def test_the_layout_suits_the_number_of_features(self, n_features, n_axes):
        mixture = mixture_of(n_features)
        X, _ = mixture.sample(50, random_state=0)
        figure = plot.picture(mixture, X)
        assert len(figure.axes) == n_axes
        assert sum(ax.axison for ax in figure.axes) == {9: 6, 25: 15}.get(n_axes, 1)
        assert legend_texts(figure) == ["0: 50%", "1: 50%"]

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_two_features_in_one_plane(self, dtype):
        mixture = mixture_of(2, 3, dtype)
        X, _ = mixture.sample(50, random_state=0)
        (ax,) = plot.picture(mixture, X, title="Three").axes
        (points,) = [each for each in ax.collections if len(each.get_offsets()) == 50]
        np.testing.assert_array_equal(points.get_offsets(), X)
        colours = np.array(plot.component_colours(3))[mixture.predict(X)]
        assert [to_hex(colour).upper() for colour in points.get_facecolors()] == colours.tolist()
        assert len(ax.patches) == 3
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        assert left < X[:, 0].min() < X[:, 0].max() < right
        assert bottom < X[:, 1].min() < X[:, 1].max() < top
        assert ax.figure.get_suptitle() == "Three"
        assert "ellipses hold 95 %" in ax.figure.get_supxlabel()

    def test_one_feature_as_a_curve(self):
        mixture = mixture_of(1)
        X, _ = mixture.sample(50, random_state=0)
        (ax,) = plot.picture(mixture, X, feature_names=["waiting"]).axes
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("waiting", "density")
        assert len(ax.lines) == 3
        assert sum(bar.get_width() * bar.get_height() for bar in ax.patches) == pytest.approx(1)

    def test_names_are_given_or_known_or_counted(self):
        X = ROUND.means

        def names(*arguments, **options):
            (ax,) = plot.picture(*arguments, X, **options).axes
            return ax.get_xlabel(), ax.get_ylabel()

        named = fastgmm.Mixture([1.0], [[0.0, 0.0]], [1.0], "spherical", feature_names=["a", "b"])
        assert names(ROUND) == ("x1", "x2")
        assert names(named) == ("a", "b")
        assert names(named, feature_names=["c", "d"]) == ("c", "d")

    def test_pairs_are_named_at_the_edge(self):
        mixture = mixture_of(3)
        grid = plot.picture(mixture, mixture.means, feature_names=["a", "b", "c"]).axes
        assert [ax.get_xlabel() for ax in grid] == [""] * 6 + ["a", "b", "c"]
        assert [ax.get_ylabel() for ax in grid] == ["", "", "", "b", "", "", "c", "", ""]

    def test_many_features_are_seen_where_the_components_are_apart(self):
        mixture = mixture_of(8)
        X, _ = mixture.sample(50, random_state=0)
        (ax,) = plot.picture(mixture, X).axes
        plane = projection.plane_of(mixture)
        assert (ax.get_xlabel(), ax.get_ylabel()) == plane.titles
        (points,) = [each for each in ax.collections if len(each.get_offsets()) == 50]
        np.testing.assert_allclose(points.get_offsets(), plane.rows(X))

    def test_of_many_rows_some_are_shown_and_it_is_said(self):
        X, _ = ROUND.sample(7000, random_state=0)
        figure = plot.picture(ROUND, X)
        points = figure.axes[0].collections[-1].get_offsets()
        assert len(np.unique(points, axis=0)) == 6000
        assert set(map(tuple, points.tolist())) <= set(map(tuple, X.tolist()))
        assert "6,000 of 7,000 rows shown" in figure.get_supxlabel()
        np.testing.assert_array_equal(plot.picture(ROUND, X).axes[0].collections[-1].get_offsets(), points)

    def test_rows_without_weight_are_not_shown(self):
        X = np.array([[0.0, 0.0], [6.0, 2.0], [900.0, 900.0]])
        (ax,) = plot.picture(ROUND, X, sample_weight=[1, 2, 0]).axes
        assert len(ax.collections[-1].get_offsets()) == 2
        assert ax.get_xlim()[1] < 100

    def test_many_components_do_not_fill_the_picture_with_names(self):
        mixture = mixture_of(2, 30)
        texts = legend_texts(plot.picture(mixture, mixture.means))
        assert len(texts) == 25
        assert texts[-1] == "and 6 more"

    def test_rows_of_another_number_of_features_are_refused(self):
        with pytest.raises(ValueError, match="X has 3 features"):
            plot.picture(ROUND, np.zeros((5, 3)))


class TestNothingIsLeftBehind:
    def test_pyplot_is_not_even_imported(self, run_python):
        code = """
import sys, numpy, fastgmm
from fastgmm import plot
mixture = fastgmm.Mixture([1.0], [[0.0, 0.0]], [1.0], "spherical")
plot.save_picture(plot.picture(mixture, numpy.zeros((3, 2))), "a.png")
print("matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
        assert run_python(code) == "True False\n"

    def test_settings_are_as_they_were(self):
        before = dict(mpl.rcParams)
        plot.picture(ROUND, ROUND.means)
        assert dict(mpl.rcParams) == before


class TestFiles:
    @pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("b.PDF", b"%PDF"), ("c", b"\x89PNG")])
    def test_the_suffix_names_the_format(self, tmp_path, name, start):
        plot.save_picture(plot.picture(ROUND, ROUND.means), tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)

    def test_svg(self, tmp_path):
        plot.save_picture(plot.picture(ROUND, ROUND.means, title="geyser <&>"), tmp_path / "a.svg")
        assert ET.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")

    def test_other_formats_are_refused_before_anything_is_drawn(self, tmp_path):
        with pytest.raises(ValueError, match=r"a\.doc: pictures are written as .*png.*, not as doc"):
            check_format(tmp_path / "a.doc")
        with pytest.raises(ValueError, match="not as doc"):
            plot.save_picture(plot.picture(ROUND, ROUND.means), tmp_path / "a.doc")
        assert list(tmp_path.iterdir()) == []

    def test_without_matplotlib_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        for ask in (lambda: plot.picture(ROUND, ROUND.means), lambda: check_format("a.png")):
            with pytest.raises(ImportError, match=r"Pictures need matplotlib: pip install 'fastgmm\[plot\]'"):
                ask()


def test_names_and_weights_of_a_picture_are_checked():
    X = ROUND.sample(50, random_state=0)[0]
    assert plot.picture(ROUND, X, feature_names=np.array(["a", "b"])).axes[0].get_xlabel() == "a"
    with pytest.raises(ValueError, match=r"feature_names must hold 2 names, one for each feature, got \['a'\]"):
        plot.picture(ROUND, X, feature_names=["a"])
    with pytest.raises(ValueError, match=r"sample_weight.shape == \(5,\), expected \(50,\)"):
        plot.picture(ROUND, X, sample_weight=np.ones(5))
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        plot.picture(ROUND, X, sample_weight=-np.ones(50))


@pytest.mark.parametrize("n_features", [1, 2, 3, 6])
def test_the_legend_says_how_much_is_noise(n_features):
    X = np.concatenate([mixture_of(n_features).sample(180, random_state=0)[0], np.full((20, n_features), 40.0)])
    X[-20:] += np.random.default_rng(0).uniform(-30, 30, (20, n_features))
    mixture = fastgmm.fit(X, 2, noise=True, random_state=0).mixture
    assert legend_texts(plot.picture(mixture, X))[-1] == f"noise: {mixture.noise.weight:.0%} of all"
