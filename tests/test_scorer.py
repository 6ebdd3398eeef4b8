"""Single rows: the scorer against the NumPy twin on every level, and against the mixture that it comes from."""

import ctypes
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import reference
from problems import EPS, at_level, kernel_constants, model, random_constants, rows_near, same_bits

import fastgmm
from fastgmm.engine import simd

DTYPES = ("float64", "float32")
SHAPES = [(i + 1, 1 + (17 * i) % 40) for i in range(70)]  # every D from 1 to 70, every K from 1 to 40

by_level = pytest.mark.parametrize("level", simd.levels())
by_kind = pytest.mark.parametrize("kind", reference.KINDS)
by_family = pytest.mark.parametrize("family", reference.FAMILIES)
by_dtype = pytest.mark.parametrize("dtype", DTYPES)


def mixture_of(family, n_features, n_components, dtype="float64", seed=0):
    weights, means, covariances = model(family, seed, n_features, n_components)
    weights, means, covariances = (np.asarray(array, dtype) for array in (weights, means, covariances))
    return fastgmm.Mixture(weights, means, covariances, family)


def rows_of(mixture, n_rows, dtype="float64"):
    return np.ascontiguousarray(mixture.sample(n_rows, random_state=0)[0], dtype=dtype)


def results(scorer, n_rows):
    """Arrays for all that a scorer writes, full of what it never writes."""
    log_density, resp = np.full(n_rows, -7.0), np.full((n_rows, scorer.n_components), -7.0)
    return log_density.astype(scorer.dtype), resp.astype(scorer.dtype), np.full(n_rows, -7)


def scored(scorer, X):
    X = np.atleast_2d(X)
    out = results(scorer, len(X))
    scorer.score(X, *out)
    return out


@by_dtype
@by_kind
@by_level
def test_one_row_matches_twin(level, kind, dtype):
    eps = EPS[np.dtype(dtype)]
    for n_features, n_components in SHAPES:
        constants = random_constants(kind, 1, n_features, n_components)
        x = rows_near(constants, 2, 1, dtype)[0]
        with at_level(level):
            log_density, resp, label = scored(kernel_constants(constants, dtype).scorer(), x)
        want, shares, best = reference.score_row(constants, x)
        joint_error = reference.log_joint_error(constants, x[None], eps)
        shape = (n_features, n_components)
        assert abs(log_density[0] - want) <= reference.log_density_error(shares[None], joint_error, want, eps)[0], shape
        error = reference.responsibilities_error(shares[None], joint_error, eps)[0]
        assert (np.abs(resp[0] - shares) <= error).all(), shape
        assert label[0] == resp[0].argmax(), shape
        assert shares[label[0]] >= shares[best] - 2 * error.max(), shape


@by_dtype
@by_family
@by_level
def test_rows_score_as_the_mixture_scores_them(level, family, dtype):
    """To 1e-13 of each logarithm, or in float32 to as many roundings."""
    close = 1e-13 / EPS[np.dtype("float64")] * EPS[np.dtype(dtype)]
    for n_features, n_components in SHAPES[::3]:
        mixture = mixture_of(family, n_features, n_components, dtype)
        X = rows_of(mixture, 20, dtype)
        with at_level(level):
            log_density, resp, labels = scored(mixture.scorer(dtype), X)
            np.testing.assert_allclose(log_density, mixture.score_samples(X), rtol=close, atol=0)
            for_log = np.finfo(dtype).tiny
            want = np.log(mixture.predict_proba(X) + for_log)
            np.testing.assert_allclose(np.log(resp + for_log), want, rtol=close, atol=close)
            np.testing.assert_array_equal(labels, mixture.predict(X))


@by_dtype
@by_level
def test_equal_components_take_the_first_label(level, dtype):
    mixture = fastgmm.Mixture([0.25] * 4, [[9.0], [0.0], [0.0], [0.0]], np.ones(4), "spherical")
    with at_level(level):
        _, resp, labels = scored(mixture.scorer(dtype), np.array([[0.5]], dtype))
    assert labels.tolist() == [1]
    assert resp[0, 1] == resp[0, 2] == resp[0, 3]


@by_dtype
@by_family
@by_level
def test_far_rows_score_as_the_mixture_scores_them(level, family, dtype):
    mixture = mixture_of(family, 5, 9, dtype)
    far = {"float64": (1e150, 1e200, 1e300), "float32": (1e15, 1e25, 1e38)}[dtype]
    X = np.array([[scale, -scale, 0, 0.5 * scale, scale] for scale in far], dtype=dtype)
    with at_level(level):
        log_density, resp, labels = scored(mixture.scorer(dtype), X)
        np.testing.assert_allclose(log_density, mixture.score_samples(X), rtol=8 * EPS[np.dtype(dtype)])
        np.testing.assert_allclose(resp, mixture.predict_proba(X), rtol=8 * EPS[np.dtype(dtype)])
        np.testing.assert_array_equal(labels, mixture.predict(X))
    assert np.isfinite(resp).all()
    np.testing.assert_allclose(resp.sum(axis=1), 1, rtol=4 * EPS[np.dtype(dtype)])


@by_dtype
@by_kind
@by_level
def test_row_that_is_not_finite_gets_nan_and_no_label(level, kind, dtype):
    constants = random_constants(kind, 3, 6, 5)
    X = rows_near(constants, 4, 4, dtype)
    X[0, 2], X[1, 0], X[2, 5] = np.nan, np.inf, -np.inf
    with at_level(level):
        log_density, resp, labels = scored(kernel_constants(constants, dtype).scorer(), X)
    assert np.isnan(log_density[:3]).all()
    assert np.isnan(resp[:3]).all()
    assert labels[:3].tolist() == [-1, -1, -1]
    assert np.isfinite(log_density[3])
    assert labels[3] == resp[3].argmax()


@by_kind
@by_level
def test_component_without_weight_takes_nothing(level, kind):
    constants = random_constants(kind, 5, 4, 3)
    constants.log_norm[1] = -np.inf
    with at_level(level):
        log_density, resp, labels = scored(kernel_constants(constants).scorer(), rows_near(constants, 6, 30))
    assert np.isfinite(log_density).all()
    assert not resp[:, 1].any()
    assert 1 not in labels


@by_kind
@by_level
def test_only_what_is_asked_for_is_written(level, kind):
    constants = random_constants(kind, 7, 5, 11)
    x = rows_near(constants, 8, 1)[0]
    with at_level(level):
        scorer = kernel_constants(constants).scorer()
    whole = scored(scorer, x)
    for i, name in enumerate(("log_density", "resp", "labels")):
        one = results(scorer, 1)[i]
        sea = np.concatenate([one.ravel(), one.ravel()])  # nothing is written behind the array
        assert scorer.score(x, **{name: sea[: one.size]}) is None
        assert same_bits(sea[: one.size], whole[i].ravel())
        assert same_bits(sea[one.size :], one.ravel())


@by_level
def test_rows_with_much_scratch(level):
    """More features than the stack holds."""
    constants = random_constants("full", 9, 300, 3)
    X = rows_near(constants, 10, 4)
    with at_level(level):
        log_density, resp, _ = scored(kernel_constants(constants).scorer(), X)
    np.testing.assert_allclose(log_density, reference.log_sum_exp(reference.log_joint(constants, X)), rtol=1e-12)
    np.testing.assert_allclose(resp.sum(axis=1), 1, rtol=1e-14)


def test_threads_share_one_scorer():
    mixture = mixture_of("full", 12, 7)
    X, scorer = rows_of(mixture, 4000), mixture.scorer()
    alone = scored(scorer, X)
    out = results(scorer, len(X))

    def work(first):
        for i in range(first, len(X), 4):
            scorer.score(X[i], *(array[i : i + 1] for array in out))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert all(same_bits(one, other) for one, other in zip(alone, out, strict=True))


def test_keeps_the_level_it_was_made_at():
    first, last = simd.levels()[0], simd.levels()[-1]
    mixture = mixture_of("full", 12, 20)
    X = rows_of(mixture, 50)
    with at_level(last):
        scorer = mixture.scorer()
        wanted = scored(scorer, X)
    with at_level(first):
        assert all(same_bits(one, other) for one, other in zip(scored(scorer, X), wanted, strict=True))


def test_type_asked_for_is_the_type_of_everything():
    double, single = mixture_of("tied", 3, 2), mixture_of("tied", 3, 2, "float32")
    x = np.array([0.5, -1.0, 2.0])
    assert (double.scorer().dtype, single.scorer().dtype) == (np.float64, np.float64)
    assert double.scorer("float32").dtype == np.float32
    assert scored(double.scorer("float32"), x.astype(np.float32))[0] == pytest.approx(
        double.score_samples([x])[0], rel=1e-5
    )
    assert scored(single.scorer(), x)[0] == pytest.approx(single.score_samples([x])[0], rel=1e-13)
    for other in ("float16", "int64", "complex128"):
        with pytest.raises(TypeError, match="dtype must be float32 or float64"):
            double.scorer(other)


def test_scorer_does_not_change():
    scorer = mixture_of("full", 4, 3).scorer()
    assert repr(scorer) == "Scorer(n_components=3, n_features=4, dtype='float64')"
    for name in ("n_components", "n_features", "dtype", "other"):
        with pytest.raises(AttributeError):
            setattr(scorer, name, 1)


def test_no_rows_are_no_work():
    scorer = mixture_of("full", 4, 3).scorer()
    assert [array.size for array in scored(scorer, np.empty((0, 4)))] == [0, 0, 0]


read_only = np.zeros(3)
read_only.flags.writeable = False
unaligned = np.frombuffer(bytearray(25), dtype=np.uint8)[1:].view(np.float64)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"X": [[0.0, 0.0]]}, TypeError, "X must be an aligned C-contiguous array of float64, got list"),
        ({"X": np.zeros((3, 2), np.float32)}, TypeError, "X .* got an array of float32"),
        ({"X": np.zeros((3, 2), ">f8")}, TypeError, "X .* got an array of >f8"),
        (
            {"X": np.zeros((3, 4))[:, ::2]},
            TypeError,
            "X .* float64 with the shape .3, 2., not C-contiguous",
        ),
        ({"X": np.zeros((2, 3)).T}, TypeError, "X must be an aligned C-contiguous array"),
        ({"X": np.zeros((3, 3))}, ValueError, r"X must have the shape \(2,\) or \(n_rows, 2\), got .* \(3, 3\)"),
        ({"X": np.zeros(())}, ValueError, "X must have the shape"),
        ({"X": np.zeros((1, 3, 2))}, ValueError, "X must have the shape"),
        ({"log_density": np.zeros(2)}, ValueError, r"log_density .* just 3 numbers, got .* \(2,\)"),
        ({"log_density": np.zeros(4)}, ValueError, "log_density"),
        ({"log_density": 0.0}, TypeError, "log_density .* got float"),
        ({"log_density": np.zeros(3, np.float32)}, TypeError, "log_density .* array of float64, got .* float32"),
        ({"log_density": np.zeros(6)[::2]}, TypeError, "log_density must be a writeable, aligned C-contiguous"),
        ({"log_density": read_only}, TypeError, "log_density must be a writeable.* read-only"),
        ({"log_density": unaligned}, TypeError, "log_density must be a writeable, aligned.* not aligned"),
        ({"resp": np.zeros((3, 3))}, ValueError, "resp .* just 12 numbers"),
        ({"resp": np.zeros((3, 4), order="F")}, TypeError, "resp"),
        ({"labels": np.zeros(3, np.int32)}, TypeError, "labels .* array of int64, got an array of int32"),
        ({"labels": np.zeros(1, np.int64)}, ValueError, "labels"),
    ],
)
def test_buffers_that_do_not_fit_are_refused(changed, error, words):
    scorer = mixture_of("full", 2, 4).scorer()
    arguments = {"X": np.zeros((3, 2)), "log_density": np.zeros(3), **changed}
    with pytest.raises(error, match=words):
        scorer.score(**arguments)


pointer, size = ctypes.c_void_p, ctypes.c_ssize_t
score_function = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, size, pointer, pointer, pointer)


class Table(ctypes.Structure):
    """fastgmm_scoring_api of fastgmm/scoring.h; calls through it release the GIL."""

    _fields_ = (
        ("abi", ctypes.c_int),
        ("borrow", ctypes.PYFUNCTYPE(pointer, ctypes.py_object)),
        ("n_components", ctypes.CFUNCTYPE(size, pointer)),
        ("n_features", ctypes.CFUNCTYPE(size, pointer)),
        ("is_float32", ctypes.CFUNCTYPE(ctypes.c_int, pointer)),
        ("score_f64", score_function),
        ("score_f32", score_function),
    )


@pytest.fixture
def table():
    """What an extension finds when it calls fastgmm_import_scoring()."""
    header = Path(fastgmm.get_include(), "fastgmm", "scoring.h").read_text(encoding="utf-8")
    get = ctypes.pythonapi.PyCapsule_Import
    get.restype, get.argtypes = pointer, [ctypes.c_char_p, ctypes.c_int]
    name = re.search(r'FASTGMM_SCORING_CAPSULE "(.*)"', header)[1]
    table = Table.from_address(get(name.encode(), 0))
    assert table.abi == int(re.search(r"FASTGMM_SCORING_ABI (\d+)", header)[1])
    return table


@by_dtype
def test_table_for_c_scores_as_the_method_does(table, dtype):
    mixture = mixture_of("tied", 7, 4, dtype)
    X, scorer = rows_of(mixture, 9, dtype), mixture.scorer(dtype)
    borrowed = table.borrow(scorer)
    assert (table.n_components(borrowed), table.n_features(borrowed)) == (4, 7)
    assert table.is_float32(borrowed) == (dtype == "float32")
    right, wrong = table.score_f64, table.score_f32
    if dtype == "float32":
        right, wrong = wrong, right
    out = results(scorer, 9)
    addresses = [array.ctypes.data for array in out]
    assert wrong(borrowed, X.ctypes.data, 9, *addresses) == 2
    assert all(same_bits(one, other) for one, other in zip(out, results(scorer, 9), strict=True))
    assert right(borrowed, X.ctypes.data, 9, *addresses) == 0
    assert all(same_bits(one, other) for one, other in zip(out, scored(scorer, X), strict=True))
    assert right(borrowed, X.ctypes.data, 9, None, None, None) == 0


def test_table_for_c_counts_noise_as_a_component(table):
    mixture = mixture_of("diag", 3, 4)
    noise = fastgmm.Noise(0.3, log_volume=9.0)
    with_noise = fastgmm.Mixture(mixture.weights, mixture.means, mixture.covariances, "diag", noise=noise)
    X, scorer = np.array([mixture.means[2], np.full(3, 1e6)]), with_noise.scorer()
    resp, labels = np.full((3, 5), -7.0), np.full(3, -7)
    borrowed = table.borrow(scorer)
    assert table.n_components(borrowed) == scorer.n_components == 5
    assert table.score_f64(borrowed, X.ctypes.data, 2, None, resp.ctypes.data, labels.ctypes.data) == 0
    np.testing.assert_allclose(resp[:2], with_noise.predict_proba(X), rtol=1e-12)
    assert (labels[1], labels[2]) == (-1, -7)
    assert labels[0] == with_noise.predict(X)[0] >= 0
    assert (resp[2] == -7).all()


def test_table_for_c_lends_scorers_only(table):
    with pytest.raises(TypeError, match=r"expected what Mixture.scorer\(\) returns, got Mixture"):
        table.borrow(mixture_of("full", 2, 2))
