from Cython.Build import cythonize
from setuptools import Extension, setup

import fastgmm

extension = Extension("embed_cython", ["embed_cython.pyx"], include_dirs=[fastgmm.get_include()])
setup(ext_modules=cythonize([extension], language_level=3))
