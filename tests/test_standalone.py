"""GaussianMixture where scikit-learn is not installed, or is older than its callbacks; what importing costs."""

import json
import pickle

import numpy as np
import pytest
from sklearn.base import clone

from fastgmm import GaussianMixture

BLOCK = """
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == blocked or name.startswith(blocked + "."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

blocked = "sklearn"
sys.meta_path.insert(0, Blocked())
"""

ROWS = """
import numpy as np
rng = np.random.default_rng(0)
X = np.concatenate([rng.normal(-4, 1, (150, 2)), rng.normal(4, 1, (150, 2))])
"""

USE = """
import hashlib
from fastgmm import GaussianMixture

def bits(*arrays):
    return hashlib.sha256(b"".join(np.asarray(array).tobytes() for array in arrays)).hexdigest()

found = {}
for family in ("full", "tied", "diag", "spherical"):
    model = GaussianMixture(2, covariance_type=family, random_state=0)
    found[family] = bits(
        model.fit(X, sample_weight=np.arange(300)).means_, model.covariances_, model.fit_predict(X), model.predict(X),
        model.predict_proba(X), model.score_samples(X), *model.sample(7), model.score(X), model.bic(X), model.aic(X),
    )
    found[family + " warm"] = bits(model.set_params(warm_start=True, max_iter=7).fit(X).means_)
"""


@pytest.fixture
def without(run_python):
    """Run code in an interpreter that finds no module of a name; return what it printed."""
    return lambda blocked, code: run_python(BLOCK.replace('"sklearn"', repr(blocked)) + ROWS + code)


@pytest.mark.parametrize("blocked", ["sklearn", "sklearn.callback"])
def test_same_bits_without_scikit_learn(without, blocked):
    code = USE + "import json; print(json.dumps(found))"
    results = {}
    exec(ROWS + USE, results)
    assert json.loads(without(blocked, code)) == results["found"]


PROTOCOL = """
import copy, json, pickle, warnings
import fastgmm
from fastgmm import GaussianMixture

model = GaussianMixture(3, tol=1e-2, random_state=5)
params = model.get_params()
model.set_params(n_components=2, covariance_type="diag")
shown = [repr(GaussianMixture()), repr(model), repr(GaussianMixture(means_init=np.zeros((1, 2))))]
kinds, texts = [], []

def caught(kind, work):
    try:
        work()
    except kind as error:
        kinds.append([isinstance(error, each) for each in (ValueError, TypeError, AttributeError)])
        texts.append(str(error))

caught(fastgmm.NotFittedError, lambda: model.predict(X))
caught(fastgmm.InvalidParameterError, lambda: GaussianMixture(tol=-1).fit(X))
caught(ValueError, lambda: model.set_params(colour="red"))
caught(ValueError, lambda: model.fit(X[:1]))
caught(ImportError, lambda: model.to_sklearn())
caught(ImportError, lambda: GaussianMixture.from_sklearn(model))
with warnings.catch_warnings(record=True) as record:
    warnings.simplefilter("always")
    GaussianMixture(2, max_iter=1, random_state=0).fit(X)
assert [each.category for each in record] == [fastgmm.ConvergenceWarning], record
model.fit(X)
twins = [copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
same = [twin.to_mixture() == model.to_mixture() for twin in twins]
model.save("model.npz")
same.append(fastgmm.load("model.npz") == model.to_mixture())
remade = GaussianMixture(**model.get_params()).fit(X)
same += [remade.to_mixture() == model.to_mixture(), remade.get_params() == model.get_params()]
same += [repr(remade) == repr(model)]
names = sorted(params)
assert not [name for name in sys.modules if name.partition(".")[0] == "sklearn"]
print(json.dumps([names, shown, kinds, texts, same]))
"""


def test_protocol_without_scikit_learn(without):
    names, shown, kinds, texts, same = json.loads(without("sklearn", PROTOCOL))
    assert names == sorted(GaussianMixture().get_params())
    assert shown[:2] == [
        "GaussianMixture()",
        "GaussianMixture(covariance_type='diag', n_components=2, random_state=5, tol=0.01)",
    ]
    assert shown[2].startswith("GaussianMixture(means_init=array([[0., 0.]])")
    value, either, unfitted = [True, False, False], [True, True, False], [True, False, True]
    assert kinds == [unfitted, either, value, value, [False] * 3, [False] * 3]
    for text, part in zip(
        texts,
        [
            "This GaussianMixture instance is not fitted yet. Call 'fit' with appropriate arguments before using this",
            "The 'tol' parameter of GaussianMixture must be a float in the range [0.0, inf). Got -1 instead.",
            "Invalid parameter 'colour' for estimator GaussianMixture(covariance_type='diag'",
            "Found array with 1 sample(s) (shape=(1, 2)) while a minimum of 2 is required by GaussianMixture.",
            *["Conversion needs scikit-learn: pip install scikit-learn"] * 2,
        ],
        strict=True,
    ):
        assert text.startswith(part)
    assert same == [True] * 7


def test_pickle_made_with_scikit_learn_is_read_without_it(without, tmp_path):
    X = np.random.default_rng(1).standard_normal((50, 2))
    model = GaussianMixture(2, random_state=0).fit(X)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    np.save(tmp_path / "rows.npy", X)
    code = """
import pathlib, pickle
model = pickle.loads(pathlib.Path("model.pickle").read_bytes())
print(model.score_samples(np.load("rows.npy")).tobytes().hex())
"""
    assert bytes.fromhex(without("sklearn", code)) == model.score_samples(X).tobytes()


def test_pickle_made_without_scikit_learn_is_read_with_it(without, tmp_path):
    """And goes on from where it was."""
    code = """
import pathlib, pickle
from fastgmm import GaussianMixture
model = GaussianMixture(2, init_params="random", tol=0.1, max_iter=1000, warm_start=True, random_state=0).fit(X)
pathlib.Path("model.pickle").write_bytes(pickle.dumps(model))
np.save("rows.npy", X)
print(model.set_params(tol=1e-9).fit(X).means_.tobytes().hex())
"""
    means = bytes.fromhex(without("sklearn", code))
    model, X = pickle.loads((tmp_path / "model.pickle").read_bytes()), np.load(tmp_path / "rows.npy")
    before = model.means_.tobytes()
    assert model.set_params(tol=1e-9).fit(X).means_.tobytes() == means != before
    assert clone(model).get_params() == model.get_params()


def test_frames_give_names_without_scikit_learn(without):
    code = """
import warnings
import pandas as pd
from fastgmm import GaussianMixture
frame = pd.DataFrame(X, columns=["a", "b"])
model = GaussianMixture(2, random_state=0).fit(frame)
assert model.feature_names_in_.tolist() == ["a", "b"]
assert (model.predict(frame) == GaussianMixture(2, random_state=0).fit_predict(X)).all()
try:
    model.predict(frame[["b", "a"]])
except ValueError as error:
    print(str(error).splitlines()[0])
with warnings.catch_warnings(record=True) as record:
    warnings.simplefilter("always")
    model.predict(X)
print(*[each.message for each in record])
"""
    assert without("sklearn", code).splitlines() == [
        "The feature names should match those that were passed during fit.",
        "X does not have valid feature names, but GaussianMixture was fitted with feature names",
    ]


def test_command_line_and_pictures_without_scikit_learn(without):
    code = """
import json, os, sys
from fastgmm.cli import main
os.environ["MPLBACKEND"] = "Agg"
np.savetxt("rows.csv", X, delimiter=",", header="a,b", comments="")
files = ["--model", "model.npz", "--labels", "labels.csv", "--plot", "picture.png"]
codes = [main(["fit", "rows.csv", "--components", "1-3", *files, "--json"])]
codes += [main([command, "model.npz", "rows.csv"]) for command in ("score", "predict")]
assert codes == [0] * 3, codes
assert all(os.path.getsize(name) > 0 for name in files[1::2])
assert not [name for name in sys.modules if name.partition(".")[0] == "sklearn"]
"""
    assert without("sklearn", code).startswith("{")


# ----------------------------------------------------------------------------------------------- imports


def test_importing_loads_nothing_but_the_package_itself(run_python):
    """Promise: at most 50 ms beyond NumPy; the names are loaded on first use."""
    code = """
import importlib, sys  # what the standard library has loaded by itself does not count
before = set(sys.modules)
import fastgmm
print(sorted(set(sys.modules) - before))
"""
    assert run_python(code) == "['fastgmm', 'fastgmm._version']\n"


def test_fit_and_load_work_without_scikit_learn(without):
    code = """
import fastgmm
for family in ("full", "tied", "diag", "spherical"):
    for start in ("kmeans", "k-means++", "random", "random_from_data"):
        result = fastgmm.fit(X, 2, covariance_type=family, init_params=start, n_init=2, random_state=0)
        result.mixture.save("model.npz")
        assert fastgmm.load("model.npz") == result.mixture
print([name for name in sys.modules if name.partition(".")[0] in ("sklearn", "matplotlib", "pandas")])
"""
    assert without("sklearn", code) == "[]\n"
