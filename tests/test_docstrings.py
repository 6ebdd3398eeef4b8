"""The examples of the docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import fastgmm

MODULES = ["fastgmm", *(module.name for module in pkgutil.walk_packages(fastgmm.__path__, "fastgmm."))]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    outcome = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert outcome.failed == 0
