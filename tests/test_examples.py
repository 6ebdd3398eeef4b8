"""The examples run as they stand, and the Python one with scikit-learn's class as well."""

import re
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
OURS, THEIRS = "from fastgmm import GaussianMixture\n", "from sklearn.mixture import GaussianMixture\n"


def test_old_faithful_is_whole():
    lines = (EXAMPLES / "old_faithful.csv").read_text().splitlines()
    assert lines[0] == "eruptions,waiting"
    rows = np.loadtxt(lines[1:], delimiter=",")
    assert rows.shape == (272, 2)
    np.testing.assert_allclose(rows.mean(axis=0), [3.487783, 70.897059], atol=1e-6)  # R: colMeans(faithful)


@pytest.mark.parametrize("library", [OURS, THEIRS], ids=["fastgmm", "sklearn"])
def test_two_gaussians_runs_with_either_library(run_python, tmp_path, library):
    source = (EXAMPLES / "two_gaussians.py").read_text()
    assert source.count(OURS) == 1
    (tmp_path / "example.py").write_text(source.replace(OURS, library))
    call = "import runpy, sys; sys.argv[1:] = ['picture.png']; runpy.run_path('example.py', run_name='__main__')"
    found = sorted(re.sub(r"^component \d: ", "", line) for line in run_python(call).splitlines())
    rng = np.random.default_rng(0)
    clouds = rng.standard_normal((300, 2)) - 20, rng.standard_normal((300, 2)) @ [[0, -0.1], [1.7, 0.4]]
    means = [cloud.mean(axis=0) for cloud in clouds]
    assert found == sorted(f"300 points, mean ({x:.3f}, {y:.3f})" for x, y in means)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_choose_model_runs(run_python, tmp_path):
    path = str(EXAMPLES / "choose_model.py")
    call = f"import runpy, sys; sys.argv[1:] = ['picture.png']; runpy.run_path({path!r}, run_name='__main__')"
    lines = run_python(call).splitlines()
    assert "best: EEE, 3 components, 11 parameters, BIC 2314.30" in lines
    assert re.fullmatch(r"two components against three: p = 0\.0\d", lines[-2])
    assert re.fullmatch(r"as two clusters: .*, rows in each \[\d+, \d+\]", lines[-1])
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
