"""What is installed: version, type information, show_config(), and the extensions' public face."""

import importlib.metadata
import importlib.resources
import platform
from pathlib import Path

import numpy
import pytest
import scipy

import fastgmm
from fastgmm import _config
from fastgmm.engine import simd, threads


def test_version_is_that_of_the_metadata():
    assert fastgmm.__version__ == importlib.metadata.version("fastgmm")


def test_type_information_is_shipped():
    package = importlib.resources.files("fastgmm")
    assert package.joinpath("py.typed").is_file()
    files = [entry.name for entry in package.joinpath("engine").iterdir()]
    stubs = {name for name in files if name.endswith(".pyi")}
    extensions = {name.split(".")[0] for name in files if name.endswith((".so", ".pyd"))}
    assert extensions
    assert {f"{name}.pyi" for name in extensions} <= stubs


def test_headers_are_shipped():
    include = Path(fastgmm.get_include())
    assert include.joinpath("fastgmm", "scoring.h").is_file()
    declared = importlib.resources.files("fastgmm").joinpath("scoring.pxd").read_text()
    assert "fastgmm/scoring.h" in declared


def test_every_public_name_resolves():
    assert set(fastgmm.__all__) <= set(dir(fastgmm))
    for name in fastgmm.__all__:
        assert getattr(fastgmm, name) is not None


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        fastgmm.no_such_name  # noqa: B018


def test_config_says_what_is_so():
    facts = _config.config()
    assert facts["fastgmm"] == fastgmm.__version__
    assert (facts["numpy"], facts["scipy"]) == (numpy.__version__, scipy.__version__)
    assert facts["python"] == platform.python_version()
    assert facts["simd"] == simd.active()
    assert facts["simd_available"] == simd.levels()
    assert facts["openmp"] is threads.has_openmp()
    assert facts["threads"] == threads.resolve(None)
    assert facts["threads"] == 1 or facts["openmp"]


def test_show_config_prints_the_facts_and_returns_none(capsys):
    assert fastgmm.show_config() is None
    printed = capsys.readouterr()
    lines = dict(line.split(maxsplit=1) for line in printed.out.splitlines())
    assert list(lines) == ["fastgmm", "python", "numpy", "scipy", "platform", "SIMD", "OpenMP", "threads"]
    assert lines["fastgmm"] == fastgmm.__version__
    assert lines["SIMD"] == f"{simd.active()} (available: {', '.join(simd.levels())})"
    assert lines["OpenMP"].startswith("yes" if threads.has_openmp() else "no")
    assert int(lines["threads"]) >= 1
    assert printed.err == ""


def test_import_prints_nothing(run_python):
    assert run_python("import fastgmm, fastgmm.engine") == ""
