"""How long threads spin where one waits for another, told to GNU's OpenMP library as it is loaded.

By itself it lets a thread spin for milliseconds at the end of every pass. With a processor for each thread nobody
notices. Where another program keeps one of them busy, the thread that spins keeps the other from the thread that it
waits for, and short passes take several times as long as on one thread. A tenth of a millisecond is enough to bridge
what lies between two passes; after it a thread sleeps.

The library reads its environment once, when it is loaded, and has no other way to be told. So the variable is there
for that moment only. It changes nothing where the user has said how threads should wait, or where some other module
has loaded the same library before.
"""

import os
from importlib import import_module

SPINS = "5000"  # of GNU's 300,000
VARIABLE = "GOMP_SPINCOUNT"


def _load():
    if VARIABLE in os.environ or "OMP_WAIT_POLICY" in os.environ:
        return
    os.environ[VARIABLE] = SPINS
    try:
        import_module("fastgmm.engine._core")
    finally:
        del os.environ[VARIABLE]


_load()
