"""Model files: named arrays and a versioned header in one ``.npz``, read with suspicion.

A model file is an uncompressed zip archive with the members

===========================  ===============================================================================
``header.json``              a JSON object: ``format`` "fastgmm-mixture", ``version`` 1, ``covariance_type``
                             (str) and, where the columns had names, ``feature_names`` (list of D str);
                             ``version`` 2 and ``stream`` (str) where the state of a stream follows, ``version`` 3
                             and ``noise`` (list of 2 + D floats) where the place of the noise follows
``weights.npy``              (K,)
``means.npy``                (K, D)
``covariances.npy``          (K, D, D), (D, D), (K, D), (K,), or of rank q (K, 1 + q, D)
``precisions_cholesky.npy``  the same shape
``stream_*.npy``             of version 2 only: arrays of one to three dimensions
``noise_centre.npy``         of version 3 only, (D,)
``noise_axes.npy``           of version 3 only, (D, D)
===========================  ===============================================================================

All arrays of the mixture are little-endian float64, or all are float32, in C order and finite; those of a stream or of
noise may be of either type. What a stream is, is for the estimator. `numpy.load` opens the file too. Equal arrays and
headers give equal bytes: member order, times and attributes are fixed, and nothing in a file tells who wrote it or with
which version of what.

Nothing is ever unpickled. Before memory is asked for, the archive's directory has to fit the file: few members, each
known by name, none twice, none compressed, so that none is larger than the file itself. Anything else is a
`ModelFileError` that names the file. What the arrays mean (positive definite, weights that sum to one) is for the
mixture that is made of them to check.
"""

import io
import json
import math
import os
import re
import reprlib
import stat
import struct
import zipfile

import numpy as np

from fastgmm._errors import ModelFileError

from .files import replacing

__all__ = [
    "ARRAYS",
    "FORMAT",
    "NOISE_ARRAYS",
    "NOISE_VERSION",
    "STREAM_ARRAYS",
    "STREAM_VERSION",
    "VERSION",
    "read",
    "read_all",
    "write",
]

FORMAT = "fastgmm-mixture"
VERSION = 1  # of a mixture alone
STREAM_VERSION = 2  # with the state of a stream
NOISE_VERSION = 3  # with the place of noise
BOTH_VERSION = 4
ARRAYS = ("weights", "means", "covariances", "precisions_cholesky")

STREAM_ARRAYS = tuple(
    f"stream_{name}"
    for name in ("numbers", "n", "s", "S", "pivot", "shift", "fast_n", "fast_s", "fast_S", "rows", "weights", "labels")
)
"""What a file of version 2 may hold besides."""

NOISE_ARRAYS = ("noise_centre", "noise_axes")
"""What a file of version 3 holds besides, one of them or both."""

_BESIDES = {
    VERSION: (),
    STREAM_VERSION: STREAM_ARRAYS,
    NOISE_VERSION: NOISE_ARRAYS,
    BOTH_VERSION: (*STREAM_ARRAYS, *NOISE_ARRAYS),
}

_HEADER = "header.json"
_MEMBERS = (_HEADER, *(f"{name}.npy" for name in ARRAYS))
_KEYS = {"format", "version", "covariance_type", "feature_names", "noise", "stream"}
_MAX_HEADER = 1 << 24  # bytes of JSON: names of a million features

_END = struct.Struct("<4s4H2LH")  # end of central directory: signature, disks, counts, size, offset, comment length
_END64 = struct.Struct("<4sQ2H2L4Q")  # its 64-bit form, followed by a locator
_LOCATOR64 = struct.Struct("<4sLQL")
_MAX_DIRECTORY = 8192  # bytes: at most 16 entries of about 70, and room for the extra fields of other writers

_NPY_MAGIC = b"\x93NUMPY\x01\x00"
_NPY_HEADER = re.compile(
    rb"\{'descr': '(<f[48])', 'fortran_order': False, 'shape': "
    rb"\(([0-9]{1,18}(?:,|(?:, [0-9]{1,18}){1,2}))\), \} *\n"  # one to three dimensions
)
_NPY_ALIGN = 64
_DTYPES = {"float64": "<f8", "float32": "<f4"}

# Everything that zipfile, json and struct are known to raise on damaged bytes; OSError is a seek to nowhere.
_DAMAGE = (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, LookupError, OverflowError, struct.error)


def write(path, arrays, header):
    """Write named arrays under a header to `path`, whole or not at all.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write; an existing one is replaced.
    arrays : dict of str to ndarray
        `ARRAYS` by name, of one dtype, float64 or float32, and of the shapes given at the top of this module; with
        ``stream`` in the header also some of `STREAM_ARRAYS`, with ``noise`` some of `NOISE_ARRAYS`.
    header : dict
        ``covariance_type`` (str), optionally ``feature_names`` (list of D str), ``stream`` (str) and ``noise`` (list of
        2 or 2 + D floats). ``format`` and ``version`` are added.

    Raises
    ------
    ValueError
        If arrays or header are not what a model file holds.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
    >>> arrays = {"weights": np.ones(1), "means": np.zeros((1, 2)),
    ...           "covariances": np.ones(1), "precisions_cholesky": np.ones(1)}
    >>> write(path, arrays, {"covariance_type": "spherical"})
    >>> read(path)[1]["covariance_type"]
    'spherical'
    """
    placed = any(name in arrays for name in NOISE_ARRAYS)
    version = VERSION if not placed else NOISE_VERSION
    if "stream" in header:
        version = STREAM_VERSION if not placed else BOTH_VERSION
    header = {**header, "format": FORMAT, "version": version}
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    _check_header(header)
    _check_arrays(arrays, header)
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_member(_HEADER), json.dumps(header, sort_keys=True).encode("ascii"))
        for name in (name for name in (*ARRAYS, *_BESIDES[version]) if name in arrays):
            archive.writestr(_member(f"{name}.npy"), _to_npy(arrays[name]))


def read(path):
    """Read the named arrays and the header of the model file at `path`.

    Parameters
    ----------
    path : str or os.PathLike
        The file to read.

    Returns
    -------
    arrays : dict of str to ndarray
        `ARRAYS` by name, native byte order, float64 or float32 as stored.
    header : dict
        ``format``, ``version``, ``covariance_type`` and, if stored, ``feature_names``.

    Raises
    ------
    ModelFileError
        If the file is not a model file, or is damaged, of a newer version or hostile. The message names the file.
    OSError
        If there is no such file or it cannot be read.

    Examples
    --------
    >>> read(__file__)
    Traceback (most recent call last):
    ...
    fastgmm._errors.ModelFileError: ...model_file.py is not a readable fastgmm model file: it is not a zip archive...
    """
    arrays, header = read_all(path)
    return {name: arrays[name] for name in ARRAYS}, header


def read_all(path):
    """As `read`, with the arrays of a stream or of noise, if there are any."""
    path = os.fspath(path)
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a pipe would block, a device has no end
        raise ModelFileError(f"{path} is not a readable fastgmm model file: it is not a regular file")
    with open(path, "rb") as file:
        try:
            return _read(file)
        except _DAMAGE as error:
            raise ModelFileError(f"{path} is not a readable fastgmm model file: {error}") from error


def _read(file):
    """Arrays and header of the open `file`; any of `_DAMAGE` if it is not sound."""
    size = os.fstat(file.fileno()).st_size
    _check_directory(file, size)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = _check_members(members, size)
        by_name = {info.filename: info for info in members}
        header = _from_json(archive.read(by_name[_HEADER]))
        _check_header(header)
        arrays = {name: _from_npy(archive.read(by_name[f"{name}.npy"]), name) for name in names}
    _check_arrays(arrays, header)
    return arrays, header


def _check_directory(file, size):
    """Refuse an archive whose directory is large, lies elsewhere than at its end, or has bytes after it.

    zipfile builds an object for every entry that it finds, so this comes before it.
    """
    if size < _END.size:
        raise ValueError("it is too short")
    file.seek(size - _END.size)
    signature, _, _, _, count, length, start, comment = _END.unpack(file.read(_END.size))
    if signature != b"PK\x05\x06" or comment:
        raise ValueError("it is not a zip archive, or bytes are missing or added at its end")
    end = size - _END.size
    tail = _END64.size + _LOCATOR64.size
    if end >= tail:
        file.seek(end - tail)
        record, locator = file.read(_END64.size), _LOCATOR64.unpack(file.read(_LOCATOR64.size))
        if locator[0] == b"PK\x06\x07":
            end -= tail
            signature, *_, count, length, start = _END64.unpack(record)
            if signature != b"PK\x06\x06" or locator[2] != end:
                raise ValueError("its 64-bit directory is damaged")
    if (
        not len(_MEMBERS) <= count <= len(_MEMBERS) + len(_BESIDES[BOTH_VERSION])
        or length > _MAX_DIRECTORY
        or start + length != end
    ):
        raise ValueError("its directory is not that of a model file")


def _check_members(members, size):
    """Return the names of the arrays; refuse members that are unknown, repeated, compressed or larger than the file."""
    names = [info.filename for info in members]
    others = {f"{name}.npy" for name in _BESIDES[BOTH_VERSION]}
    if sorted(set(names) - others) != sorted(_MEMBERS) or len(set(names)) != len(names):
        raise ValueError(f"its members are {names}, expected {list(_MEMBERS)}")
    for info in members:
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 0x1:
            raise ValueError(f"member {info.filename} is compressed or encrypted")
    if sum(info.file_size for info in members) > size:
        raise ValueError("its members are larger than the file")
    if next(info for info in members if info.filename == _HEADER).file_size > _MAX_HEADER:
        raise ValueError(f"its header is larger than {_MAX_HEADER} bytes")
    return [name.removesuffix(".npy") for name in names if name != _HEADER]


def _from_json(raw):
    """The header object; ValueError on anything but plain JSON with each key once."""

    def unique(pairs):
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("its header has a key twice")
        return dict(pairs)

    def refuse(constant):
        raise ValueError(f"its header holds {constant}")

    return json.loads(raw.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)


def _check_header(header):
    """Refuse a header of another format or version, or with fields that version 1 does not have."""
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"its header does not say format {FORMAT!r}")
    version = header.get("version")
    if type(version) is not int or version not in _BESIDES:
        raise ValueError(
            f"its format version is {reprlib.repr(version)}; this version of fastgmm reads versions {VERSION} "
            f"to {max(_BESIDES)}"
        )
    streams = version in (STREAM_VERSION, BOTH_VERSION)
    if ("stream" in header) != streams or not isinstance(header.get("stream", ""), str):
        raise ValueError("its version and stream do not fit together")
    if not set(header) <= _KEYS:
        raise ValueError(f"its header has unknown fields {reprlib.repr(sorted(set(header) - _KEYS))}")
    if not isinstance(header.get("covariance_type"), str):
        raise ValueError("its header does not name a covariance_type")
    noise = header.get("noise", [0.0, 0.0])
    if not isinstance(noise, list) or len(noise) < 2 or not all(isinstance(number, float) for number in noise):
        raise ValueError("noise in its header is not two numbers or more")
    names = header.get("feature_names", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("feature_names in its header is not a list of strings")


def _check_arrays(arrays, header):
    """Refuse arrays whose names, dtypes or shapes do not fit together, or that are not finite."""
    besides = set(arrays) - set(ARRAYS)
    if not set(ARRAYS) <= set(arrays) or not besides <= set(_BESIDES[header["version"]]):
        raise ValueError(f"its arrays are {sorted(arrays)}, expected {sorted(ARRAYS)}")
    dtypes = {arrays[name].dtype.name for name in ARRAYS}
    if len(dtypes) != 1 or not dtypes <= set(_DTYPES):
        raise ValueError(f"its arrays have dtypes {sorted(dtypes)}, expected all float64 or all float32")
    if arrays["means"].ndim != 2 or arrays["means"].size == 0:
        raise ValueError(f"means have shape {arrays['means'].shape}, expected (K, D)")
    K, D = arrays["means"].shape
    if arrays["weights"].shape != (K,):
        raise ValueError(f"weights have shape {arrays['weights'].shape}, expected {(K,)} as means are {(K, D)}")
    shape = arrays["covariances"].shape
    low_rank = len(shape) == 3 and shape == (K, max(shape[1], 2), D)
    if not (low_rank or shape in {(K, D, D), (D, D), (K, D), (K,)}) or arrays["precisions_cholesky"].shape != shape:
        raise ValueError(
            f"covariances have shape {shape} and precisions_cholesky {arrays['precisions_cholesky'].shape}, "
            f"which does not fit means of {(K, D)}"
        )
    _check_noise(arrays, header, D)
    if "feature_names" in header and len(header["feature_names"]) != D:
        raise ValueError(f"feature_names has {len(header['feature_names'])} names for {D} features")
    for name, array in arrays.items():
        gaps = name == "stream_rows"  # rows that a warm-up holds may have gaps, NaN
        if np.isinf(array).any() or (not gaps and np.isnan(array).any()):
            raise ValueError(f"{name} holds {'' if gaps else 'NaN or '}infinity")


def _check_noise(arrays, header, D):
    """Refuse noise whose numbers and arrays do not fit the features."""
    n_scales = len(header.get("noise", [0.0, 0.0])) - 2
    if n_scales not in (0, D):
        raise ValueError(f"noise in its header has {2 + n_scales} numbers for {D} features")
    shapes = {name: arrays[name].shape for name in NOISE_ARRAYS if name in arrays}
    if header["version"] in (NOISE_VERSION, BOTH_VERSION) and not (n_scales and shapes):
        raise ValueError(f"its noise has not both {D} scales and a place")
    for name, shape in shapes.items():
        if shape != ((D,) if name == "noise_centre" else (D, D)):
            raise ValueError(f"{name} has shape {shape}, which does not fit {D} features")


def _member(name):
    """A zip entry whose time and attributes never change, so that equal content gives equal bytes."""
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system = 3  # Unix, whatever the system
    info.external_attr = 0o644 << 16
    return info


def _to_npy(array):
    """`array` in the npy format 1.0 (numpy.lib.format), C order, little-endian.

    Written here because the padding of NumPy's own header has changed between its versions.
    """
    shape = "".join(f"{n}, " for n in array.shape)
    shape = shape.rstrip() if array.ndim == 1 else shape[:-2]
    text = f"{{'descr': '{_DTYPES[array.dtype.name]}', 'fortran_order': False, 'shape': ({shape}), }}"
    padding = -(len(_NPY_MAGIC) + 2 + len(text) + 1) % _NPY_ALIGN
    head = (text + " " * padding + "\n").encode("ascii")
    buffer = io.BytesIO()
    buffer.write(_NPY_MAGIC + struct.pack("<H", len(head)) + head)
    buffer.write(np.ascontiguousarray(array, dtype=_DTYPES[array.dtype.name]).data)
    return buffer.getvalue()


def _from_npy(raw, name):
    """The array in the npy bytes `raw`; its shape has to account for every byte."""
    start = len(_NPY_MAGIC) + 2
    if raw[: len(_NPY_MAGIC)] != _NPY_MAGIC or len(raw) < start:
        raise ValueError(f"member {name}.npy is not in the npy format 1.0")
    start += struct.unpack("<H", raw[len(_NPY_MAGIC) : start])[0]
    head = _NPY_HEADER.fullmatch(raw, len(_NPY_MAGIC) + 2, start)
    if head is None:
        raise ValueError(f"member {name}.npy is not a float64 or float32 array in C order")
    dtype = np.dtype(head[1].decode("ascii"))
    shape = tuple(int(n) for n in head[2].decode("ascii").split(",") if n.strip())
    if math.prod(shape) * dtype.itemsize != len(raw) - start:
        raise ValueError(f"member {name}.npy holds another number of bytes than its shape {shape} says")
    return np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
