"""Check what the archives that `python -m build` made contain: python check_dist.py fastgmm-*.tar.gz fastgmm-*.whl."""

import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

CHECKOUT = Path(__file__).parents[1]
SHIPPED_IN_SDIST = ("fastgmm", "src_c", "tests", "examples", "benchmarks", "docs")
BUILT = {".so", ".pyd", ".pyc"}


def source_files():
    """Files of the checkout that the sdist has to hold, relative to it."""
    files = [path for folder in SHIPPED_IN_SDIST for path in (CHECKOUT / folder).rglob("*") if path.is_file()]
    return {path.relative_to(CHECKOUT).as_posix() for path in files if path.suffix not in BUILT}


def check_sdist(path):
    """Every source is there, and nothing that was built."""
    with tarfile.open(path) as archive:
        held = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in archive.getnames()}
    wanted = source_files() | {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "setup.py"}
    problems = [f"{path.name} lacks {name}" for name in sorted(wanted - held)]
    generated = {name for name in held if name.startswith("build/") or PurePosixPath(name).suffix in BUILT}
    return problems + [f"{path.name} holds {name}" for name in sorted(generated)]


def check_wheel(path):
    """Python, extensions, types, public headers and the licence are there; sources of the compiled part are not."""
    with zipfile.ZipFile(path) as archive:
        held = set(archive.namelist())
    sources = {name for name in source_files() if name.startswith("fastgmm/")}
    wanted = {name for name in sources if not name.endswith((".pyx", ".pxi"))}
    problems = [f"{path.name} lacks {name}" for name in sorted(wanted - held)]
    built = {name.partition(".")[0] for name in held if name.endswith((".so", ".pyd"))}
    extensions = {name.removesuffix(".pyx") for name in sources if name.endswith(".pyx")}
    problems += [f"{path.name} lacks the extension {name}" for name in sorted(extensions - built)]
    if not any(name.endswith("/licenses/LICENSE") for name in held):
        problems.append(f"{path.name} lacks LICENSE")
    foreign = {name for name in held if not name.startswith(("fastgmm/", "fastgmm-"))}
    private = {name for name in held if name.endswith((".pyx", ".pxi", ".c", ".h"))}
    private = {name for name in private if not name.startswith("fastgmm/include/")}
    return problems + [f"{path.name} holds {name}" for name in sorted(foreign | private)]


def main(names):
    """Print what is wrong; exit status 1 if anything is, or if an archive is missing."""
    paths = [Path(name) for name in names]
    problems = []
    for suffix, check in ((".tar.gz", check_sdist), (".whl", check_wheel)):
        found = [path for path in paths if path.name.endswith(suffix)]
        problems += check(found[0]) if len(found) == 1 else [f"{len(found)} archives named *{suffix}, expected 1"]
    print(*(problems or [f"{path.name}: as it should be" for path in paths]), sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
