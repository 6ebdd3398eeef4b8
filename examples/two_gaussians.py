"""Two clouds of points: a mixture is fitted, every point labelled, and all of it drawn.

    python examples/two_gaussians.py              shows the picture
    python examples/two_gaussians.py OUT.png      saves it

It runs with scikit-learn's class too: with ``from sklearn.mixture import GaussianMixture`` the rest stays the same.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.patches import Ellipse

from fastgmm import GaussianMixture


def two_clouds(n_rows, rng):
    """A round Gaussian about (-20, -20) and a stretched one about the origin, each with n_rows points."""
    round_one = rng.standard_normal((n_rows, 2)) - 20.0
    stretched = rng.standard_normal((n_rows, 2)) @ [[0.0, -0.1], [1.7, 0.4]]
    return np.concatenate([round_one, stretched])


def draw(ax, mixture, X, labels):
    """Scatter by label over filled contours of the negative log-density, and ellipses at two standard deviations."""
    x, y = np.meshgrid(np.linspace(-26.0, 8.0, 200), np.linspace(-25.0, 5.0, 200))
    surprise = -mixture.score_samples(np.column_stack([x.ravel(), y.ravel()])).reshape(x.shape)
    contours = ax.contourf(
        x, y, surprise, levels=np.geomspace(0.7, 1000.0, 16), norm=LogNorm(), cmap="YlGnBu_r", alpha=0.8
    )
    ax.figure.colorbar(contours, ax=ax, label="negative log-density", format="%.0f")
    for k, colour in enumerate(("tab:red", "tab:orange")):
        ax.scatter(*X[labels == k].T, s=5, color=colour, label=f"component {k}, {mixture.weights_[k]:.0%}")
        variances, directions = np.linalg.eigh(mixture.covariances_[k])
        angle = np.degrees(np.arctan2(directions[1, 0], directions[0, 0]))
        width, height = 4.0 * np.sqrt(variances)
        ax.add_patch(Ellipse(mixture.means_[k], width, height, angle=angle, fill=False, color="black", linewidth=1.5))
    ax.set(title="Two Gaussians, found again", xlabel="x", ylabel="y", aspect="equal")
    ax.legend(loc="upper left")


def main(path=None):
    X = two_clouds(300, np.random.default_rng(0))
    mixture = GaussianMixture(n_components=2, covariance_type="full", random_state=0).fit(X)
    labels = mixture.predict(X)
    for k in range(2):
        x, y = mixture.means_[k]
        print(f"component {k}: {np.sum(labels == k)} points, mean ({x:.3f}, {y:.3f})")
    figure, ax = plt.subplots(figsize=(8.0, 6.0), layout="constrained")
    draw(ax, mixture, X, labels)
    if path is None:
        plt.show()
    else:
        figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:2])
