"""What this installation of fastgmm is and what it would use: the first thing to put into a bug report."""

import platform
from pathlib import Path

__all__ = ["config", "get_include", "show_config"]


def config():
    """Return what :func:`show_config` prints.

    Returns
    -------
    dict
        ``fastgmm``, ``python``, ``numpy``, ``scipy`` : version strings;
        ``platform`` : operating system and processor;
        ``simd`` : name of the instruction set level in use;
        ``simd_available`` : tuple of the names of all levels that this machine can run;
        ``openmp`` : bool, whether the extension was built with OpenMP;
        ``threads`` : int, number of threads that a pass uses when ``n_threads`` is not given.

    Examples
    --------
    >>> from fastgmm._config import config
    >>> config()["simd"] in config()["simd_available"]
    True
    """
    import numpy
    import scipy

    from ._version import __version__
    from .engine import simd, threads

    return {
        "fastgmm": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "simd": simd.active(),
        "simd_available": simd.levels(),
        "openmp": threads.has_openmp(),
        "threads": threads.resolve(None),
    }


def get_include():
    """Return the folder of the C headers, for extensions that score rows without Python (docs/embedding.md).

    Returns
    -------
    str

    Examples
    --------
    >>> import fastgmm, os
    >>> os.listdir(os.path.join(fastgmm.get_include(), "fastgmm"))
    ['scoring.h']
    """
    return str(Path(__file__).with_name("include"))


def show_config():
    """Print the version, what the compiled part uses on this machine, and the versions underneath.

    Examples
    --------
    >>> import fastgmm
    >>> fastgmm.show_config()  # doctest: +ELLIPSIS
    fastgmm   ...
    python    ...
    numpy     ...
    scipy     ...
    platform  ...
    SIMD      ... (available: portable...)
    OpenMP    ...
    threads   ...
    """
    facts = config()
    lines = [(name, facts[name]) for name in ("fastgmm", "python", "numpy", "scipy", "platform")]
    lines += [
        ("SIMD", f"{facts['simd']} (available: {', '.join(facts['simd_available'])})"),
        ("OpenMP", "yes" if facts["openmp"] else "no: built without it, every pass uses one thread"),
        ("threads", facts["threads"]),
    ]
    for name, value in lines:
        print(f"{name:<10}{value}")
