"""The same bits for any number of threads, any batch, after a fork, from any thread; the same digits at any level."""

import json
import threading

import numpy as np
import problems
import pytest
import reference
from problems import at_level, kernel_constants, random_constants, rows_near

from fastgmm import Mixture
from fastgmm.engine import accumulate, accumulate_given, nearest, score, simd
from fastgmm.fitting import STARTS, run

THREADS = (1, 2, 3, 8, 64)
LEVELS = simd.levels()

by_kind = pytest.mark.parametrize("kind", reference.KINDS)
by_family = pytest.mark.parametrize("family", reference.FAMILIES)
by_dtype = pytest.mark.parametrize("dtype", ["float64", "float32"])


def every_pass(X, constants, weight, n_threads):
    """The bytes of all that every pass returns."""
    options = {"sample_weight": weight, "n_threads": n_threads}
    labels = np.arange(len(X)) % len(constants.means)
    scores = score(X, constants, log_density=True, resp=True, labels=True, joint=True, **options)
    close = nearest(X, constants.means, labels=True, distances2=True, sums=True, **options)
    return (
        accumulate(X, constants, **options).to_bytes(),
        accumulate_given(
            X, constants.kind, constants.means, labels=labels, shift=constants.shift, **options
        ).to_bytes(),
        scores.log_likelihood,
        *(getattr(scores, name).tobytes() for name in ("log_density", "resp", "labels", "joint")),
        close.inertia,
        *(getattr(close, name).tobytes() for name in ("labels", "distances2", "n", "s")),
    )


@by_dtype
@by_kind
def test_n_threads_agnosticism_of_every_pass(kind, dtype):
    """Rows of a bit more than eight groups, so that 8 threads have work and 64 have not."""
    constants = random_constants(kind, 1, 3, 4)
    theirs = kernel_constants(constants, dtype)
    X = rows_near(constants, 2, 8 * theirs.group_rows + 5, dtype)
    weight = np.random.default_rng(3).uniform(0.1, 2.0, len(X))
    one, *others = (every_pass(X, theirs, weight, n_threads) for n_threads in THREADS)
    for n_threads, other in zip(THREADS[1:], others, strict=True):
        assert other == one, f"{n_threads} threads"


def test_n_threads_agnosticism_of_sums_that_several_threads_add_up():
    """Slots of 2 ** 17 numbers and more, here 2 * 12 * 151 * 152 / 2, are added by all threads, each some entries."""
    constants = random_constants("full", 1, 12, 150)
    theirs = kernel_constants(constants, "float64")
    X = rows_near(constants, 2, 2 * theirs.group_rows, "float64")
    one, *others = (accumulate(X, theirs, n_threads=n_threads).to_bytes() for n_threads in THREADS)
    assert others == [one] * len(others)


@by_family
def test_n_threads_agnosticism_of_fit(family):
    X = problems.rows(4, 40_000, 8, 8)
    options = {"covariance_type": family, "random_state": 7, "max_iter": 6, "n_init": 2}
    one, *others = (run(X, 8, n_threads=n_threads, **options) for n_threads in THREADS)
    assert one.mixture.constants().group_rows < len(X) / 2  # so there is work for several threads
    for other in others:
        problems.assert_same_parameters(other.mixture, one.mixture)
        assert other.lower_bounds == one.lower_bounds
        assert [h.lower_bounds for h in other.histories] == [h.lower_bounds for h in one.histories]


@pytest.mark.parametrize("init_params", STARTS)
def test_start_is_n_threads_agnostic(init_params):
    X = problems.rows(5, 40_000, 8, 8)
    options = {"init_params": init_params, "random_state": 3, "max_iter": 1, "tol": 0}
    one, other = (run(X, 8, n_threads=n_threads, **options) for n_threads in (1, 3))
    problems.assert_same_parameters(other.mixture, one.mixture)


@by_dtype
@by_kind
def test_one_row_at_a_time_has_the_bits_of_the_batch(kind, dtype):
    constants = random_constants(kind, 6, 5, 3)
    theirs = kernel_constants(constants, dtype)
    X = rows_near(constants, 7, 131, dtype)
    outputs = {"log_density": True, "resp": True, "labels": True, "joint": True}
    batch = score(X, theirs, **outputs)
    for i in range(len(X)):
        row = score(X[i : i + 1], theirs, **outputs)
        for name in outputs:
            assert problems.same_bits(getattr(row, name)[0], getattr(batch, name)[i]), f"{name} of row {i}"


@by_family
def test_merging_in_a_fixed_order_repeats_its_bits(family):
    constants = random_constants(reference.FAMILY_KIND[family], 8, 3, 3)
    X, theirs = rows_near(constants, 9, 1000), kernel_constants(constants)

    def merged():
        parts = [accumulate(part, theirs) for part in np.array_split(X, 7)]
        return sum(parts[1:], start=parts[0])

    assert merged().to_bytes() == merged().to_bytes()


@by_family
def test_simd_levels_agree_after_ten_iterations(family):
    """1e-10 after a fixed number of iterations (promise 35)."""
    X = problems.rows(10, 3000, 5, 3)
    start = problems.start_from_rows(family, X, 3)
    results = {}
    for level in LEVELS:
        with at_level(level):
            results[level] = problems.em(family, X, start, 10)
    portable = results["portable"]
    for level, result in results.items():
        problems.assert_close_parameters(family, result.mixture, portable.mixture, 1e-10)
        np.testing.assert_allclose(result.lower_bounds, portable.lower_bounds, rtol=1e-10, err_msg=level)


FIT_AT_A_LEVEL = """
import json, sys
import numpy as np
from fastgmm.engine import simd
from fastgmm.fitting import STARTS, run
rng = np.random.default_rng(11)
X = np.concatenate([rng.standard_normal((300, 3)), 3 + rng.standard_normal((200, 3)) * [1, 2, 3]])
result = run(X, 2, random_state=1, init_params=np.repeat([0, 1], [300, 200]), tol=1e-6, max_iter=200)
print(json.dumps([simd.active(), result.converged, result.n_iter, result.mixture.means.tolist()]))
"""


def test_levels_forced_by_the_environment_converge_alike(run_python, monkeypatch):
    reports = []
    for level in LEVELS:
        monkeypatch.setenv("FASTGMM_SIMD", level)
        reports.append(json.loads(run_python(FIT_AT_A_LEVEL)))
    assert [report[0] for report in reports] == list(LEVELS)
    _, converged, n_iter, means = reports[0]
    assert converged
    for other in reports[1:]:
        assert other[1:3] == [converged, n_iter]
        np.testing.assert_allclose(other[3], means, rtol=1e-10, atol=1e-10)


FIT_FORK_FIT = """
import os, signal, sys, warnings
import numpy as np
from fastgmm.fitting import STARTS, run
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn about fork itself
X = np.random.default_rng(0).standard_normal((100_000, 4))
options = dict(covariance_type="full", random_state=0, max_iter=3, tol=0, n_threads=4)
before = run(X, 4, **options).mixture
child = os.fork()
if child == 0:
    signal.alarm(60)  # a hang ends as a signal, which the parent reports
    after = run(X, 4, **options).mixture
    os._exit(0 if after.means.tobytes() == before.means.tobytes() else 1)
status = os.waitpid(child, 0)[1]
again = run(X, 4, **options).mixture
assert again.means.tobytes() == before.means.tobytes()
print(status)
"""


def test_fit_after_fork_has_the_same_bits(run_python):
    assert run_python(FIT_FORK_FIT).strip() == "0"


def in_threads(work, n):
    """Results of ``work(i)`` for i < n, all at once in n Python threads; an exception is raised here."""
    results, gate = [None] * n, threading.Barrier(n)

    def body(i):
        gate.wait()
        try:
            results[i] = work(i)
        except BaseException as error:
            results[i] = error

    threads = [threading.Thread(target=body, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


@by_family
def test_eight_python_threads_predict_on_one_model(family):
    X, params = problems.rows(12, 50_000, 3, 4), problems.model(family, 12, 3, 4)
    mixture = Mixture(*params, covariance_type=family)
    want = mixture.predict_proba(X).tobytes(), mixture.predict(X).tobytes(), mixture.score_samples(X).tobytes()

    def work(_):
        return [
            (mixture.predict_proba(X).tobytes(), mixture.predict(X).tobytes(), mixture.score_samples(X).tobytes())
            for _ in range(3)
        ]

    for results in in_threads(work, 8):
        assert all(result == want for result in results)


def test_eight_python_threads_fit_eight_models():
    data = [problems.rows(20 + i, 6000, 16, 8) for i in range(8)]
    options = {"random_state": 1, "max_iter": 5, "tol": 0}
    serial = [run(X, 8, n_threads=1, **options).mixture for X in data]
    assert serial[0].constants().group_rows < 3000  # so that each of them starts threads of its own
    for ours, theirs in zip(in_threads(lambda i: run(data[i], 8, **options).mixture, 8), serial, strict=True):
        problems.assert_same_parameters(ours, theirs)


def test_floating_point_flags_neither_matter_nor_leak():
    """Underflow, overflow and division traps on: nothing is raised where the values are right (scikit-learn#7462)."""
    constants = random_constants("full", 13, 3, 3)
    X, theirs = rows_near(constants, 14, 300) * 1e3, kernel_constants(constants)
    quiet = accumulate(X, theirs).to_bytes()
    with np.errstate(all="raise"):
        assert accumulate(X, theirs).to_bytes() == quiet
        assert np.isfinite(score(X, theirs, resp=True).resp).all()
