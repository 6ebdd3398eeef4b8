"""What the surroundings decide: the instruction level, the number of threads, whether a process was forked."""

import json
import os

import numpy as np
import pytest

from fastgmm._config import config
from fastgmm._errors import InvalidParameterError
from fastgmm.engine import simd, threads

FACTS = "import json; from fastgmm._config import config; print(json.dumps(config()))"


def test_unset_and_empty_variable_take_the_fastest_level(run_python, monkeypatch):
    monkeypatch.delenv("FASTGMM_SIMD", raising=False)
    assert json.loads(run_python(FACTS))["simd"] == simd.levels()[-1]
    monkeypatch.setenv("FASTGMM_SIMD", "")
    assert json.loads(run_python(FACTS))["simd"] == simd.levels()[-1]


def test_show_config_reports_a_forced_level(run_python, monkeypatch):
    monkeypatch.setenv("FASTGMM_SIMD", "portable")
    printed = run_python("import fastgmm; fastgmm.show_config()")
    assert f"SIMD      portable (available: {', '.join(simd.levels())})" in printed.splitlines()


WRONG_LEVEL = """
import fastgmm  # costs nothing and uses nothing yet
for use in (fastgmm.show_config, lambda: fastgmm.fit([[0.0], [1.0]])):
    try:
        use()
    except ValueError as error:
        print(error)
"""


def test_unknown_level_says_which_there_are(run_python, monkeypatch):
    monkeypatch.setenv("FASTGMM_SIMD", "mmx")
    message = f"FASTGMM_SIMD must be one of {', '.join(simd.levels())} on this machine, got 'mmx'"
    assert run_python(WRONG_LEVEL).splitlines() == [message] * 2


# ----------------------------------------------------------------------------------------------- threads


def test_a_number_of_threads_is_taken_as_it_is():
    most = 1024 if threads.has_openmp() else 1
    assert [threads.resolve(n) for n in (1, 3, np.int64(7), 10**6)] == [min(n, most) for n in (1, 3, 7, 10**6)]


@pytest.mark.parametrize("n_threads", [0, -2, 2.0, "2", True, np.nan])
def test_what_is_no_number_of_threads_is_refused(n_threads):
    with pytest.raises(InvalidParameterError, match="n_threads must be None or an int >= 1, got"):
        threads.resolve(n_threads)


WAITS = """
import os
os.dup2(1, 2)  # where the library tells what it has read
before = dict(os.environ)
import fastgmm.engine
assert dict(os.environ) == before
"""


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "5000"), ({"GOMP_SPINCOUNT": "70"}, "70"), ({"OMP_WAIT_POLICY": "passive"}, "0")],
)
def test_threads_spin_for_a_short_while_unless_the_user_says_how(run_python, monkeypatch, given, spins):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**given, "OMP_DISPLAY_ENV": "VERBOSE"}.items():
        monkeypatch.setenv(name, value)
    told = run_python(WAITS)
    if "GOMP_" in told:  # else OpenMP is not there, or not GNU's
        assert f"GOMP_SPINCOUNT = '{spins}'" in told


@pytest.mark.parametrize("n", [1, 2, 500])
def test_environment_limits_threads_and_processors_limit_it(run_python, monkeypatch, n):
    monkeypatch.setenv("OMP_NUM_THREADS", str(n))
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    got = json.loads(run_python(FACTS))["threads"]
    assert 1 <= got <= min(n, processors)


LIMITED = """
import os
import numpy as np
from threadpoolctl import threadpool_limits
from fastgmm._config import config
from fastgmm.fitting import run

def count():  # what lives of this process, where the system tells
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0

X = np.random.default_rng(0).standard_normal((100_000, 4))
run(X[:100], 2, max_iter=1, tol=0)  # too small for threads; libraries load here
before = count()
with threadpool_limits(1):
    print(config()["threads"])
    run(X, 4, covariance_type="diag", max_iter=2, tol=0, random_state=0)
    print(count() - before)
"""


def test_threadpoolctl_limits_threads(run_python):
    """Promise 57, counting live threads."""
    assert run_python(LIMITED).split() == ["1", "0"]


SHARED = """
import os
import numpy as np
import fastgmm

def passed(n_rows, D, covariances, family):
    mixture = fastgmm.Mixture([1.0], np.zeros((1, D)), covariances, family)
    fastgmm.accumulate(np.ones((n_rows, D)), mixture.constants(), n_threads=2)
    return len(os.listdir("/proc/self/task"))

before = passed(50, 2, np.ones((1, 2)), "diag")
print(passed(70_000, 1, np.ones((1, 1)), "diag") - before)  # a fifth of a millisecond
print(passed(2_000, 256, np.eye(256), "tied") - before)  # three milliseconds, nearly all of it the rotation
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="the system does not tell which threads live")
def test_threads_share_passes_of_a_millisecond_and_no_shorter_ones(run_python):
    assert run_python(SHARED).split() == ["0", "1" if threads.has_openmp() else "0"]


# ----------------------------------------------------------------------------------------------- fork

POOL = """
import multiprocessing, signal, warnings
import numpy as np
from fastgmm.engine import threads
from fastgmm.fitting import run
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn about fork itself

X = np.random.default_rng(0).standard_normal((60_000, 3))

def work(seed):
    mixture = run(X, 3, random_state=seed, max_iter=2, tol=0, n_threads=4).mixture
    return mixture, mixture.predict(X[:1000], n_threads=4).tobytes(), threads.resolve(4)

here = [work(seed) for seed in range(4)]  # OpenMP's threads live now, and no forked child has them
signal.alarm(120)  # a hang ends as a signal
with multiprocessing.get_context("fork").Pool(2) as pool:
    there = pool.map(work, range(4))
again = [work(seed) for seed in range(4)]
print([a[:2] == b[:2] == c[:2] for a, b, c in zip(here, there, again)], {result[2] for result in there})
"""


def test_forked_pool_after_a_fit_works_alone_and_has_the_same_bits(run_python):
    assert run_python(POOL).strip() == "[True, True, True, True] {1}"


def test_facts_are_plain_values():
    """Fit for a bug report, or JSON."""
    facts = config()
    assert json.loads(json.dumps(facts)) == {**facts, "simd_available": list(facts["simd_available"])}
