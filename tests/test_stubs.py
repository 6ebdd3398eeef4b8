"""The type stubs of the compiled modules say what the modules are: names, parameters and their order."""

import ast
import importlib
import importlib.resources
import inspect
import types

import numpy as np
import pytest

import fastgmm
from fastgmm.engine import Weights, _core, _panels, _scorer, _steps

WITH_FUNCTIONS = ("_coordinates", "_core", "_gaps", "_hierarchy", "_kmeans", "_linalg", "_pass", "_steps")
by_module = pytest.mark.parametrize("name", [*WITH_FUNCTIONS, "_panels", "_scorer"])
MIXTURE = ("diagonal", False, np.zeros((2, 3)), np.ones((2, 3)), np.zeros(2), np.zeros(3))
ARGUMENTS = {
    _core.Kernel: MIXTURE,
    _panels.Panels: (4, np.zeros(3), False, 1.0),
    _scorer.Scorer: (*MIXTURE, False),
    _steps.Steps: (_core.Kernel(*MIXTURE), np.zeros((4, 3)), None, Weights(), None, None, 0.0, 0.0, 1e6, 1e3, None),
}
by_class = pytest.mark.parametrize("compiled", ARGUMENTS, ids=lambda compiled: compiled.__name__)


def stub(name):
    """The statements of a stub by the public name that each defines."""
    text = importlib.resources.files("fastgmm.engine").joinpath(f"{name}.pyi").read_text()
    found = {}
    for statement in ast.parse(text).body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            found[statement.name] = statement
        elif isinstance(statement, ast.AnnAssign):
            found[statement.target.id] = statement
    return {name: statement for name, statement in found.items() if not name.startswith("_")}


def own_names(module):
    """What a module defines itself: no modules, and nothing that comes from elsewhere."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, types.ModuleType)
        and getattr(value, "__module__", module.__name__) == module.__name__
    }


def parameters(function):
    """Names of the parameters of a function in a stub; stubs of compiled functions have no other kinds of them."""
    arguments = function.args
    assert not [*arguments.posonlyargs, *arguments.kwonlyargs, *arguments.defaults]
    assert arguments.vararg is arguments.kwarg is None
    return [argument.arg for argument in arguments.args]


def members(class_statement):
    return {statement.name: statement for statement in class_statement.body if isinstance(statement, ast.FunctionDef)}


@by_module
def test_stub_names_what_the_module_defines(name):
    assert set(stub(name)) == own_names(importlib.import_module(f"fastgmm.engine.{name}"))


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_functions_take_the_parameters_of_their_stubs(name):
    module, checked = importlib.import_module(f"fastgmm.engine.{name}"), 0
    for function in filter(lambda statement: isinstance(statement, ast.FunctionDef), stub(name).values()):
        signature = inspect.signature(getattr(module, function.name)).parameters.values()
        assert [p.name for p in signature] == parameters(function), function.name
        assert all(p.default is inspect.Parameter.empty for p in signature), function.name
        checked += 1
    assert checked


@by_module
def test_every_parameter_and_result_has_a_type(name):
    for statement in ast.walk(ast.Module([*stub(name).values()], [])):
        if isinstance(statement, ast.FunctionDef):
            assert statement.returns is not None, statement.name
            untyped = [a.arg for a in statement.args.args if a.annotation is None and a.arg not in ("self", "cls")]
            assert not untyped, statement.name


def stated(compiled):
    """The members of the stub of a compiled class."""
    return members(stub(compiled.__module__.rpartition(".")[2])[compiled.__name__])


@by_class
def test_class_has_the_members_of_its_stub(compiled):
    assert {name for name in vars(compiled) if not name.startswith("_")} | {"__new__"} == set(stated(compiled))


def test_scorer_scores_what_its_stub_says():
    arguments = stated(_scorer.Scorer)["score"].args
    signature = inspect.signature(_scorer.Scorer.score).parameters.values()
    assert [p.name for p in signature] == [argument.arg for argument in arguments.args]
    defaults = [p.default for p in signature if p.default is not inspect.Parameter.empty]
    assert defaults == [ast.literal_eval(default) for default in arguments.defaults]


@by_class
def test_class_takes_the_parameters_of_its_stub(compiled):
    """A compiled class has no signature to look at, so it is called: by position, by name, and with one missing."""
    _, *names = parameters(stated(compiled)["__new__"])
    values = ARGUMENTS[compiled]
    by_name = dict(zip(names, values, strict=True))
    assert type(compiled(*values)) is type(compiled(**by_name)) is compiled
    for name in names:
        with pytest.raises(TypeError, match="argument"):
            compiled(**{other: value for other, value in by_name.items() if other != name})


def test_results_have_the_types_of_the_stubs():
    assert isinstance(_core.has_openmp(), bool)
    assert isinstance(_core.openmp_threads(), int)
    assert isinstance(_core.levels(), tuple)
    assert _core.fastest in _core.levels()
    assert isinstance(_core.lanes(_core.active()), int)
    assert isinstance(_core.group_rows("full", 2, 3, 0, False), int)
    assert isinstance(_core.Kernel(*MIXTURE).group_rows, int)
    scorer = _scorer.Scorer(*MIXTURE, False)
    assert (scorer.n_components, scorer.n_features, scorer.dtype) == (2, 3, np.float64)


def test_roof_names_what_is_loaded_on_first_use():
    """The stub of the package gives each name the home that the table of lazy imports gives it."""
    text = importlib.resources.files("fastgmm").joinpath("__init__.pyi").read_text()
    stated = {each.asname: s.module for s in ast.parse(text).body for each in s.names}
    assert stated.pop("__version__") == "fastgmm._version"
    modules = {name for name, home in stated.items() if home == "fastgmm"}
    assert modules == set(fastgmm._MODULES)
    assert {name: home for name, home in stated.items() if name not in modules} == fastgmm._HOME
