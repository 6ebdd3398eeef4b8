import subprocess
import sys

import embed_c
import numpy as np
import pytest

import fastgmm

rng = np.random.default_rng(0)
MIXTURE = fastgmm.Mixture(rng.dirichlet(np.ones(5)), rng.normal(size=(5, 3)), np.stack([np.diag([1.0, 2.0, 3.0])] * 5))
ROWS = rng.normal(size=(500, 3))


def test_rows_score_as_score_samples_has_it():
    log_density, labels = np.empty(len(ROWS)), np.empty(len(ROWS), np.int64)
    assert embed_c.score_rows(MIXTURE, ROWS, len(ROWS), log_density, labels) is None
    np.testing.assert_allclose(log_density, MIXTURE.score_samples(ROWS), rtol=1e-13)
    np.testing.assert_array_equal(labels, MIXTURE.predict(ROWS))


def test_what_does_not_fit_is_refused():
    log_density, labels = np.empty(500), np.empty(500, np.int64)
    for wrong in ((ROWS[:, :2].copy(), log_density, labels), (ROWS, labels, labels), (ROWS, log_density[:9], labels)):
        with pytest.raises(ValueError, match="expected an array of"):
            embed_c.score_rows(MIXTURE, wrong[0], 500, *wrong[1:])


def test_what_is_no_scorer_is_refused():
    class NoMixture:
        def scorer(self):
            return 7

    with pytest.raises(TypeError, match="int"):
        embed_c.score_rows(NoMixture(), ROWS, 500, np.empty(500), np.empty(500, np.int64))


def test_another_abi_is_refused_at_import():
    code = """
import ctypes
from fastgmm.engine import _scorer
new = ctypes.pythonapi.PyCapsule_New
new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
table = (ctypes.c_int * 1)(99)
_scorer._C_API = new(ctypes.addressof(table), b"fastgmm.engine._scorer._C_API", None)
try:
    import embed_c
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "the installed fastgmm has version 99: build the extension again" in done.stdout
