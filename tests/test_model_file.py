"""Model files: equal content gives equal bytes, and no bytes whatever do harm."""

import io
import json
import os
import struct
import zipfile

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from fastgmm._errors import ModelFileError
from fastgmm.io import model_file

SHAPES = {"full": (3, 2, 2), "tied": (2, 2), "diag": (3, 2), "spherical": (3,)}
HEADER = {"covariance_type": "full", "feature_names": ["eruptions", "Wärme \N{SNOWMAN}"]}


def arrays_for(covariance_type, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"weights": (3,), "means": (3, 2), "covariances": SHAPES[covariance_type]}
    shapes["precisions_cholesky"] = shapes["covariances"]
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def same(left, right):
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and np.array_equal(left[name], right[name]) for name in left
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Bytes of a sound file."""
    path = tmp_path_factory.mktemp("model") / "model.npz"
    model_file.write(path, arrays_for("full"), HEADER)
    return path.read_bytes()


def rebuilt(members, path, compression=zipfile.ZIP_STORED):
    """A zip archive of `members`, pairs of name and bytes, as any program may write it."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def members_of(whole):
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def refused(path, *words):
    with pytest.raises(ModelFileError) as caught:
        model_file.read(path)
    for word in (os.fspath(path), *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("covariance_type", SHAPES)
def test_round_trip_is_exact(tmp_path, covariance_type, dtype):
    arrays = arrays_for(covariance_type, dtype)
    model_file.write(tmp_path / "a.npz", arrays, {"covariance_type": covariance_type})
    read, header = model_file.read(tmp_path / "a.npz")
    assert same(read, arrays)
    assert header == {"format": "fastgmm-mixture", "version": 1, "covariance_type": covariance_type}


def test_save_load_save_is_byte_identical(tmp_path, whole):
    path = tmp_path / "a.npz"
    path.write_bytes(whole)
    arrays, header = model_file.read(path)
    assert header["feature_names"] == HEADER["feature_names"]
    model_file.write(tmp_path / "b.npz", arrays, header)
    assert (tmp_path / "b.npz").read_bytes() == whole


def test_bytes_do_not_depend_on_memory_layout_or_byte_order(tmp_path, whole):
    arrays = arrays_for("full")
    arrays["means"] = np.asfortranarray(arrays["means"])
    arrays["weights"] = np.repeat(arrays["weights"], 2)[::2]
    arrays["covariances"] = arrays["covariances"].astype(">f8")
    model_file.write(tmp_path / "a.npz", arrays, HEADER)
    assert (tmp_path / "a.npz").read_bytes() == whole


def test_numpy_opens_it_without_pickle(tmp_path, whole):
    path = tmp_path / "a.npz"
    path.write_bytes(whole)
    with np.load(path, allow_pickle=False) as content:
        assert same({name: content[name] for name in model_file.ARRAYS}, arrays_for("full"))
        assert json.loads(content["header.json"])["version"] == 1


def test_arrays_written_by_numpy_are_read(tmp_path, whole):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays_for("full"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("header.json", dict(members_of(whole))["header.json"])
    assert same(model_file.read(path)[0], arrays_for("full"))


def test_version_1_stays_readable(tmp_path):
    """The bytes of a file of version 1, kept here so that no later version stops reading them."""
    path = tmp_path / "a.npz"
    model_file.write(
        path,
        {
            "weights": np.array([1.0]),
            "means": np.array([[2.0]]),
            "covariances": np.array([4.0]),
            "precisions_cholesky": np.array([0.5]),
        },
        {"covariance_type": "spherical"},
    )
    members = members_of(path.read_bytes())
    assert members[0] == (
        "header.json",
        b'{"covariance_type": "spherical", "format": "fastgmm-mixture", "version": 1}',
    )
    head = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': %s, }"
    means = head % b"(1, 1)" + b" " * 58 + b"\n" + struct.pack("<d", 2)
    assert dict(members)["means.npy"] == means
    rebuilt(members, tmp_path / "b.npz")
    assert model_file.read(tmp_path / "b.npz")[0]["means"] == 2


def test_write_refuses_what_read_refuses(tmp_path):
    path = tmp_path / "a.npz"
    good = arrays_for("full")
    for arrays, header in [
        ({**good, "means": good["means"] * np.nan}, HEADER),
        ({**good, "means": good["means"].astype(np.float32)}, HEADER),
        ({name: array.astype(int) for name, array in good.items()}, HEADER),
        ({**good, "rows": good["means"]}, HEADER),
        ({**good, "weights": np.ones(4)}, HEADER),
        (good, {}),
        (good, {**HEADER, "feature_names": ["one"]}),
        (good, {**HEADER, "feature_names": "ab"}),
        (good, {**HEADER, "rows": 3}),
    ]:
        with pytest.raises(ValueError, match=r"arrays|shape|header|names|NaN"):
            model_file.write(path, arrays, header)
        assert os.listdir(tmp_path) == []


def test_missing_file_and_folder_are_os_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        model_file.read(tmp_path / "none.npz")
    with pytest.raises(IsADirectoryError):
        model_file.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        model_file.write(tmp_path / "none" / "a.npz", arrays_for("full"), HEADER)


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "regular")


def test_an_interrupted_write_leaves_the_old_file(tmp_path, whole, monkeypatch):
    path = tmp_path / "a.npz"
    path.write_bytes(whole)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(model_file, "_to_npy", stop)
    with pytest.raises(KeyboardInterrupt):
        model_file.write(path, arrays_for("full", seed=1), HEADER)
    assert os.listdir(tmp_path) == ["a.npz"]
    assert path.read_bytes() == whole


def test_structurally_hostile_archives(tmp_path, whole):
    path = tmp_path / "a.npz"
    members = members_of(whole)
    path.write_bytes(b"")
    refused(path, "too short")
    path.write_bytes(b"eruptions,waiting\n3.6,79\n" * 10)
    refused(path, "not a zip archive")
    path.write_bytes(whole + b"x")
    refused(path, "added at its end")
    path.write_bytes(b"x" + whole)
    refused(path)
    refused(rebuilt(members, path, zipfile.ZIP_DEFLATED), "compressed")
    refused(rebuilt(members[:-1], path))
    refused(rebuilt([*members, ("extra.npy", b"")], path))
    refused(rebuilt([*members[:-1], ("../precisions_cholesky.npy", members[-1][1])], path), "members")
    with pytest.warns(UserWarning, match="Duplicate"):
        refused(rebuilt([*members[:-1], members[0]], path), "members")
    refused(rebuilt([(f"{j}.npy", b"") for j in range(70_000)], path), "directory")


def test_stated_sizes_are_not_believed(tmp_path, whole):
    """A directory that promises gigabytes does not make them be asked for."""
    path = tmp_path / "a.npz"
    entry = whole.index(b"PK\x01\x02")
    for size in (1 << 20, 0xFFFFFFF0):
        damaged = bytearray(whole)
        struct.pack_into("<2L", damaged, entry + 20, size, size)
        path.write_bytes(bytes(damaged))
        refused(path, "larger than the file")


def test_a_64_bit_directory_is_held_to_the_same_limits(tmp_path, whole):
    path = tmp_path / "a.npz"
    end = len(whole) - 22
    *_, count, length, start, _ = struct.unpack("<4s4H2LH", whole[end:])
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)

    def with_record(count, length, start):
        record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, start)
        path.write_bytes(whole[:end] + record + locator + whole[end:])

    with_record(count, length, start)
    assert same(model_file.read(path)[0], arrays_for("full"))
    for values in [(1 << 40, length, start), (count, 1 << 40, start), (count, length, start + 1)]:
        with_record(*values)
        refused(path)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xff",
        b"[]",
        b"1",
        b"[" * 100_000,
        b'{"format": "other", "version": 1, "covariance_type": "full"}',
        b'{"format": "fastgmm-mixture", "version": 2, "covariance_type": "full"}',
        b'{"format": "fastgmm-mixture", "version": true, "covariance_type": "full"}',
        b'{"format": "fastgmm-mixture", "version": 1, "version": 1, "covariance_type": "full"}',
        b'{"format": "fastgmm-mixture", "version": NaN, "covariance_type": "full"}',
        b'{"format": "fastgmm-mixture", "version": ' + b"9" * 10_000 + b', "covariance_type": "full"}',
        b'{"format": "fastgmm-mixture", "version": 1}',
        b'{"format": "fastgmm-mixture", "version": 1, "covariance_type": ["full"]}',
        b'{"format": "fastgmm-mixture", "version": 1, "covariance_type": "full", "run": "rm"}',
        b'{"format": "fastgmm-mixture", "version": 1, "covariance_type": "full", "feature_names": [1, 2]}',
        b'{"format": "fastgmm-mixture", "version": 1, "covariance_type": "full", "feature_names": ["a"]}',
    ],
)
def test_hostile_headers(tmp_path, whole, header):
    refused(rebuilt([("header.json", header), *members_of(whole)[1:]], tmp_path / "a.npz"))


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def npy_head(text):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "weights",
    [
        b"",
        b"\x93NUMPY",
        npy(np.ones(4)),
        npy(np.ones((3, 1))),
        npy(np.ones(3, dtype=np.float32)),
        npy(np.ones(3, dtype=np.int64)),
        npy(np.ones(3, dtype=complex)),
        npy(np.ones(3, dtype=">f8")),
        npy(np.array([1, None, "x"], dtype=object)),
        npy(np.array([0.5, np.nan, 0.5])),
        npy(np.array([0.5, np.inf, 0.5])),
        npy(np.ones(3)) + b"x",
        npy(np.ones(3))[:-1],
        npy_head(b"{'descr': '<f8', 'fortran_order': False, 'shape': (3,), '__import__': 1, }\n") + bytes(24),
        npy_head(b"{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999999999, 99999999999999999), }\n"),
        npy_head(b"{'descr': '<f8', 'fortran_order': False, 'shape': (" + b"1, " * 20_000 + b"), }\n") + bytes(8),
        npy_head(b"{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }\n")[:10] + b"\xff\xff",
    ],
)
def test_hostile_arrays(tmp_path, whole, weights):
    members = [(name, weights if name == "weights.npy" else content) for name, content in members_of(whole)]
    refused(rebuilt(members, tmp_path / "a.npz"))


def test_no_rows_and_no_features_are_refused(tmp_path, whole):
    for K, D in [(0, 2), (3, 0)]:
        shapes = {"weights": (K,), "means": (K, D), "covariances": (K, D), "precisions_cholesky": (K, D)}
        members = [members_of(whole)[0], *((f"{name}.npy", npy(np.ones(shape))) for name, shape in shapes.items())]
        refused(rebuilt(members, tmp_path / "a.npz"))


def unharmed(path, content):
    """The bytes either still say the same or are refused by a `ModelFileError`; nothing else may happen."""
    path.write_bytes(content)
    try:
        arrays, header = model_file.read(path)
    except ModelFileError:
        return
    assert same(arrays, arrays_for("full"))
    assert header == {**HEADER, "format": "fastgmm-mixture", "version": 1}


FUZZ = hypothesis.settings(
    max_examples=600, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)


@FUZZ
@hypothesis.given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6)
)
def test_fuzz_changed_bytes(tmp_path, whole, edits):
    content = bytearray(whole)
    for place, value in edits:
        content[int(place * len(content))] = value
    unharmed(tmp_path / "a.npz", bytes(content))


@FUZZ
@hypothesis.given(data=st.data())
def test_fuzz_directory_bytes(tmp_path, whole, data):
    """The same where it hurts most: the directory at the end, which says where and how long everything is."""
    start = whole.index(b"PK\x01\x02")
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        width = data.draw(st.sampled_from([1, 2, 4]))
        place = data.draw(st.integers(start, len(whole) - width))
        content[place : place + width] = data.draw(
            st.one_of(st.binary(min_size=width, max_size=width), st.sampled_from([b"\xff" * width, bytes(width)]))
        )
    unharmed(tmp_path / "a.npz", bytes(content))


@FUZZ
@hypothesis.given(data=st.data())
def test_fuzz_cut_and_doubled(tmp_path, whole, data):
    first = data.draw(st.integers(0, len(whole)))
    last = data.draw(st.integers(0, len(whole)))
    unharmed(tmp_path / "a.npz", whole[:first] + whole[last:])


def test_every_truncation_is_refused(tmp_path, whole):
    for length in range(0, len(whole), 7):
        (tmp_path / "a.npz").write_bytes(whole[:length])
        refused(tmp_path / "a.npz")
