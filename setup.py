"""The compiled part of fastgmm: one table of extensions, their flags, and the OpenMP probe.

Everything else about the package is in pyproject.toml. Switches, all read from the environment at build time:

FASTGMM_NO_OPENMP=1    build for one thread, also where the compiler has OpenMP
FASTGMM_DEBUG=1        Cython's checks and C's assertions on, -O1, symbols and frame pointers
FASTGMM_SANITIZE=LIST  sanitizers for -fsanitize=, such as "address,undefined" (implies FASTGMM_DEBUG=1)

For work on the compiled part, build in place with `python setup.py build_ext --inplace`: it rebuilds what an edit or
another setting of these switches touched.
"""

import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError


def switch(name):
    """True if the environment variable is set to anything but nothing and 0."""
    return os.environ.get(name, "") not in ("", "0")


SANITIZE = os.environ.get("FASTGMM_SANITIZE", "")
DEBUG = switch("FASTGMM_DEBUG") or bool(SANITIZE)

LEAVES = sorted(glob("src_c/*.c"))
# What the sources include: an edit of any rebuilds, as an edit of a source does.
HEADERS = ("src_c/*.h", "src_c/*.inc", "fastgmm/engine/*.px[di]", "fastgmm/include/*/*.h")
PARTS = sorted(name for pattern in HEADERS for name in glob(pattern))

EXTENSIONS = [  # module, sources, what they include
    ("fastgmm.engine._core", ["fastgmm/engine/_core.pyx", *LEAVES], PARTS),
    ("fastgmm.engine._block", ["fastgmm/engine/_block.pyx"], PARTS),
    ("fastgmm.engine._pass", ["fastgmm/engine/_pass.pyx"], PARTS),
    ("fastgmm.engine._steps", ["fastgmm/engine/_steps.pyx"], PARTS),
    ("fastgmm.engine._coordinates", ["fastgmm/engine/_coordinates.pyx"], PARTS),
    ("fastgmm.engine._panels", ["fastgmm/engine/_panels.pyx"], PARTS),
    ("fastgmm.engine._kmeans", ["fastgmm/engine/_kmeans.pyx"], PARTS),
    ("fastgmm.engine._linalg", ["fastgmm/engine/_linalg.pyx"], PARTS),
    ("fastgmm.engine._dense", ["fastgmm/engine/_dense.pyx"], PARTS),
    ("fastgmm.engine._turning", ["fastgmm/engine/_turning.pyx"], PARTS),
    ("fastgmm.engine._structures", ["fastgmm/engine/_structures.pyx"], PARTS),
    ("fastgmm.engine._shapes", ["fastgmm/engine/_shapes.pyx"], PARTS),
    ("fastgmm.engine._axes", ["fastgmm/engine/_axes.pyx"], PARTS),
    ("fastgmm.engine._hierarchy", ["fastgmm/engine/_hierarchy.pyx"], PARTS),
    ("fastgmm.engine._gaps", ["fastgmm/engine/_gaps.pyx"], PARTS),
    ("fastgmm.engine._scorer", ["fastgmm/engine/_scorer.pyx"], PARTS),
]

# The checked build keeps the arithmetic of the other one: without wraparound a negative index is out of bounds, and
# with cdivision a quotient is C's (the sanitizer of undefined behaviour catches an integer divided by zero).
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "freethreading_compatible": True,
}

# Neither -ffast-math, which gives up NaN, infinity and reproducible sums, nor -march=native: the instruction set is
# chosen at run time. Contraction only lets the compiler use fused multiply-add, which rounds once instead of twice.
UNIX_FLAGS = ["-std=gnu11", "-O3", "-g0", "-fno-math-errno", "-ffp-contract=fast", "-fvisibility=hidden"]
UNIX_DEBUG_FLAGS = ["-g", "-O1", "-UNDEBUG", "-fno-omit-frame-pointer"]
MSVC_FLAGS = ["/O2", "/std:c11", "/fp:precise"]
MSVC_DEBUG_FLAGS = ["/Od", "/Zi", "/UNDEBUG"]

OPENMP_PROGRAM = """
#include <omp.h>
int main(void) {
    int n = 0;
#pragma omp parallel reduction(+:n)
    n += omp_get_num_threads();
    return n == 0;
}
"""


def flag_sets():
    """Candidate (compile, link) flags for OpenMP on this platform, best first."""
    if sys.platform == "win32":
        return [(["/openmp"], []), (["-fopenmp"], ["-fopenmp"])]
    if sys.platform == "darwin":  # Apple's clang knows the pragmas but ships no runtime; Homebrew's libomp is one
        prefixes = ["/opt/homebrew/opt/libomp", "/usr/local/opt/libomp"]
        found = [prefix for prefix in prefixes if Path(prefix).is_dir()]
        compiles = ["-Xpreprocessor", "-fopenmp", *(f"-I{prefix}/include" for prefix in found)]
        links = [*(f"-L{prefix}/lib" for prefix in found), "-lomp"]
        return [(["-fopenmp"], ["-fopenmp"]), (compiles, links)]
    return [(["-fopenmp"], ["-fopenmp"])]


def find_openmp(compiler):
    """Return the first (compile, link) flags with which an OpenMP program compiles and links, else None."""
    for compile_flags, link_flags in flag_sets():
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(OPENMP_PROGRAM)
            try:
                objects = compiler.compile([str(source)], output_dir=folder, extra_postargs=compile_flags)
                compiler.link_executable(objects, str(Path(folder, "probe")), extra_postargs=link_flags)
            except (CompileError, LinkError):
                continue
        return compile_flags, link_flags
    return None


def compile_in_parallel(compiler):
    """Let the compiler work on the sources of one extension side by side."""
    compile_one = compiler.compile

    def compile_all(sources, **options):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = pool.map(lambda source: compile_one([source], **options), sources)
            return [name for names in objects for name in names]

    compiler.compile = compile_all


class BuildExt(build_ext):
    """Translate with Cython, then compile with the flags that fit the compiler at hand."""

    def run(self):
        super().run()
        # `python -m fastgmm` in a checkout imports the package that stands there and not the installed one, since -m
        # puts the working folder first; after `pip install .` it has to find the extensions there too.
        if not self.inplace:
            self.copy_extensions_to_source()

    def build_extensions(self):
        compile_flags, link_flags = self.flags()
        for extension in self.extensions:
            extension.extra_compile_args = compile_flags
            extension.extra_link_args = link_flags
        if self.compiler.compiler_type == "unix":
            compile_in_parallel(self.compiler)
        # setuptools rebuilds when a file is newer, but would keep what was built with other flags.
        record, settings = Path(self.build_temp, "settings.txt"), repr((compile_flags, link_flags, DIRECTIVES))
        self.force = self.force or not record.exists() or record.read_text() != settings
        super().build_extensions()
        record.write_text(settings)

    def flags(self):
        """Return the compile and link flags for the compiler at hand."""
        msvc = self.compiler.compiler_type == "msvc"
        compile_flags, link_flags = list(MSVC_FLAGS if msvc else UNIX_FLAGS), []
        if DEBUG:
            compile_flags += MSVC_DEBUG_FLAGS if msvc else UNIX_DEBUG_FLAGS
        if SANITIZE:
            sanitize = [f"-fsanitize={SANITIZE}"]
            compile_flags += [*sanitize, "-fno-sanitize-recover=undefined"]
            link_flags += sanitize

        openmp = None if switch("FASTGMM_NO_OPENMP") else find_openmp(self.compiler)
        if openmp is None:
            reason = "FASTGMM_NO_OPENMP is set" if switch("FASTGMM_NO_OPENMP") else "the compiler has no OpenMP"
            print(f"fastgmm: building WITHOUT OpenMP, fits will use one thread ({reason})", file=sys.stderr)
        else:
            print(f"fastgmm: building with OpenMP ({' '.join(openmp[0])})", file=sys.stderr)
            compile_flags += openmp[0]
            link_flags += openmp[1]
        return compile_flags, link_flags

    def build_extension(self, ext):
        # Here rather than in setup(): metadata and the sdist need no translation, and ship no generated C.
        folder = str(Path(self.build_temp, "cython"))
        translated = cythonize([ext], build_dir=folder, compiler_directives=DIRECTIVES, force=self.force)
        ext.sources = translated[0].sources
        super().build_extension(ext)


def extension(name, sources, depends):
    """One row of the table as setuptools wants it."""
    return Extension(
        name,
        sources,
        depends=depends,
        include_dirs=["src_c", "fastgmm/include", numpy.get_include()],
        libraries=[] if sys.platform == "win32" else ["m"],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
    )


setup(ext_modules=[extension(*row) for row in EXTENSIONS], cmdclass={"build_ext": BuildExt})
