"""The house keeps its floors: a module imports only from floors below its own, also inside functions."""

import ast
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import fastgmm

# Lowest first; entries of one row do not import each other. __init__.py is the roof: it names what users see.
FLOORS = [
    {"_errors", "_version"},
    {"_checks", "_criteria", "_names", "_random"},
    {"engine"},
    {"covariance", "io", "_config", "_impute"},
    {"sources"},
    {"distributed"},
    {"_density", "_forms"},
    {"mixture"},
    {"fitting"},
    {"estimators"},
    {"plot"},
    {"selection"},
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {name: number for number, floor in enumerate(FLOORS) for name in floor}

# Packages that a user may not have, and the only floors that may ask for them.
OPTIONAL = {
    "sklearn": {"estimators"},
    "matplotlib": {"plot"},
    "pyarrow": {"io"},
    "dask": {"sources"},
    "tqdm": {"fitting", "selection", "cli"},
    "rich": set(),
    "pandas": {"selection"},
    "polars": set(),
}

CHECKOUT = Path(__file__).parents[1]
# Wheels carry no .pyx: prefer the checkout that these tests stand in, where there is one.
PACKAGE = CHECKOUT / "fastgmm" if (CHECKOUT / "fastgmm").is_dir() else Path(fastgmm.__file__).parent
LEAVES = sorted(path for path in (CHECKOUT / "src_c").glob("*") if path.suffix in {".c", ".h", ".inc"})


class Import(NamedTuple):
    """One imported module, absolute, and where it was asked for."""

    module: str
    file: Path
    line: int

    def __str__(self):
        return f"{self.file.relative_to(PACKAGE)}:{self.line} imports {self.module}"


def floor_name(file):
    """Name of the module or package right under fastgmm/ that the file belongs to."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(file.suffix)


def absolute(module, level, file):
    """Resolve the module of `from <level dots><module> import ...` as the interpreter would."""
    if level == 0:
        return module
    folder = ("fastgmm", *file.relative_to(PACKAGE).parts[:-1])
    return ".".join([*folder[: len(folder) - level + 1], *filter(None, [module])])


def from_import(module, level, names, file, line):
    """Imports made by a from-statement; names taken from the package itself may be modules."""
    base = absolute(module, level, file)
    modules = [f"fastgmm.{name}" for name in names] if base == "fastgmm" else [base]
    return [Import(each, file, line) for each in modules]


def python_imports(file):
    """Yield every import of a Python file, also those inside functions and, by a literal name, through importlib."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, file, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from from_import(node.module, node.level, [alias.name for alias in node.names], file, node.lineno)
        elif isinstance(node, ast.Call) and re.search(r"\bimport_module$|^__import__$", ast.unparse(node.func)):
            name = ast.literal_eval(node.args[0])
            module = name.lstrip(".")
            yield Import(absolute(module, len(name) - len(module), file), file, node.lineno)


CYTHON_FROM = re.compile(r"^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+c?import[ \t]*(\([^)]*\)|.*)", re.MULTILINE)
CYTHON_IMPORT = re.compile(r"^[ \t]*c?import[ \t]+([\w., \t]+)", re.MULTILINE)


def cython_imports(file):
    """Yield every import and cimport of a Cython file, whose grammar `ast` does not know."""
    text = file.read_text(encoding="utf-8")
    for found in CYTHON_FROM.finditer(text):
        dots, module, names = found.groups()
        names = [re.split(r"\s+as\s+", name.strip())[0] for name in names.strip("()").split(",")]
        line = text.count("\n", 0, found.start()) + 1
        yield from from_import(module, len(dots), list(filter(None, names)), file, line)
    for found in CYTHON_IMPORT.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield from (Import(name.split()[0], file, line) for name in found.group(1).split(",") if name.strip())


def all_imports():
    """Every import statement under fastgmm/ but those of its own __init__.py."""
    imports = []
    for file in sorted(PACKAGE.rglob("*")):
        if file.suffix == ".py" and file != PACKAGE / "__init__.py":
            imports += python_imports(file)
        elif file.suffix in {".pyx", ".pxd"}:
            imports += cython_imports(file)
    return imports


def test_every_module_has_a_floor():
    packages = {file.parent.name for file in PACKAGE.glob("*/__init__.py")}
    modules = {file.stem for file in PACKAGE.glob("*.py")}
    assert (packages | modules) - set(FLOOR_OF) - {"__init__"} == set()


def test_imports_point_downwards():
    wrong = []
    for each in all_imports():
        if each.module.partition(".")[0] != "fastgmm":
            continue
        here = floor_name(each.file)
        there = f"{each.module}.".split(".")[1]
        # The roof imports every floor, so to import `fastgmm` itself, or one of its names, hides what is used.
        if there not in FLOOR_OF or (there != here and FLOOR_OF[there] >= FLOOR_OF[here]):
            wrong.append(str(each))
    assert wrong == []


def test_optional_packages_stay_on_their_floor():
    wrong = []
    for each in all_imports():
        package = each.module.partition(".")[0]
        if package in OPTIONAL and floor_name(each.file) not in OPTIONAL[package]:
            wrong.append(str(each))
    assert wrong == []


def test_nothing_else_is_imported():
    known = {"fastgmm", "numpy", "scipy", "cython", "libc", "cpython", "openmp", *OPTIONAL, *sys.stdlib_module_names}
    assert [str(each) for each in all_imports() if each.module.partition(".")[0] not in known] == []


def test_importers_are_read(tmp_path, monkeypatch):
    """The two readers see every form of import; without this the tests above could pass by blindness."""
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    folder = tmp_path / "engine"
    folder.mkdir()
    python, cython = folder / "a.py", folder / "b.pyx"
    python.write_text(
        "import fastgmm.io, os\n"
        "def f():\n"
        "    from .. import fitting\n"
        "    from ..plot.pictures import draw\n"
        "    from . import rows\n"
        "    from fastgmm import cli\n"
        "    importlib.import_module('fastgmm.selection')\n"
    )
    cython.write_text(
        "cimport numpy as cnp\n"
        "from ..mixture import Mixture\n"
        "from .. cimport covariance as c, io\n"
        "def f():\n    from fastgmm import (\n        plot,\n        cli,\n    )\n"
    )
    assert {each.module for each in python_imports(python)} == {
        *("fastgmm.io", "os", "fastgmm.fitting", "fastgmm.plot.pictures", "fastgmm.engine", "fastgmm.cli"),
        "fastgmm.selection",
    }
    assert {each.module for each in cython_imports(cython)} == {
        *("numpy", "fastgmm.mixture", "fastgmm.covariance", "fastgmm.io", "fastgmm.plot", "fastgmm.cli"),
    }


def test_leaves_are_plain_c():
    """No Python, allocation, threads or printing in src_c/: only numbers, sizes and the processor's instructions."""
    headers = {"assert.h", "float.h", "limits.h", "math.h", "stddef.h", "stdint.h", "string.h"}
    headers |= {"emmintrin.h", "immintrin.h", "arm_neon.h"}
    calls = re.compile(r"\b(?:malloc|calloc|realloc|free|aligned_alloc|printf|fprintf|omp_\w+|pthread_\w+)\s*\(")
    wrong = []
    for path in LEAVES:
        text = path.read_text(encoding="utf-8")
        foreign = set(re.findall(r"#\s*include\s*<(.+?)>", text)) - headers
        wrong += [f"{path.name} uses {name}" for name in [*sorted(foreign), *calls.findall(text)]]
    assert wrong == []


@pytest.mark.parametrize("name", ["fit", "load", "Mixture", "show_config", "__version__"])
def test_names_without_scikit_learn_load_nothing_heavy(run_python, name):
    heavy = ("sklearn", "matplotlib", "scipy", "pandas", "polars", "pyarrow", "tqdm")
    code = f"import sys, fastgmm; fastgmm.{name}; print([m for m in {heavy} if m in sys.modules])"
    assert run_python(code) == "[]\n"


def test_a_fit_without_scikit_learn_never_loads_it(run_python):
    code = """
import sys, numpy, fastgmm
X = numpy.random.default_rng(0).normal(size=(60, 2))
mixture = fastgmm.fit(X, 2, random_state=0).mixture
mixture.predict(X), mixture.score_samples(X), mixture.sample(3, random_state=0)
mixture.save("model.npz")
assert fastgmm.load("model.npz") == mixture
print([name for name in ("sklearn", "matplotlib", "pandas", "polars", "pyarrow") if name in sys.modules])
"""
    assert run_python(code) == "[]\n"


def test_a_fit_from_the_command_line_loads_no_tqdm_without_a_terminal(run_python):
    code = """
import sys
from fastgmm.cli import main
open("rows.csv", "w").write("0\\n1\\n2\\n")
assert main(["fit", "rows.csv", "--components", "1", "--model", "m.npz"]) == 0
print([name for name in ("sklearn", "matplotlib", "pandas", "polars", "pyarrow", "tqdm") if name in sys.modules])
"""
    assert run_python(code).endswith("\n[]\n")
