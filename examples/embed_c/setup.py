from setuptools import Extension, setup

import fastgmm

setup(ext_modules=[Extension("embed_c", ["embed_c.c"], include_dirs=[fastgmm.get_include()])])
