"""Output files that appear whole or not at all."""

import contextlib
import errno
import os
import stat
import tempfile

__all__ = ["check_writable", "replacing"]


def check_writable(path):
    """Raise the `OSError` that writing `path` would meet, without touching it.

    A long computation asks this before it starts rather than lose its result at the end.

    Parameters
    ----------
    path : str or os.PathLike
        The file to be written later.

    Raises
    ------
    OSError
        If `path` is a directory, or its directory is missing or not writable.

    Examples
    --------
    >>> import os
    >>> check_writable(os.devnull)
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    special, folder = _is_special(path), os.path.dirname(os.path.realpath(path))
    if not special and not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if not os.access(path if special else folder, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


@contextlib.contextmanager
def replacing(path):
    """Open a binary file that takes the place of `path` when the block ends without an error.

    The bytes go to a temporary neighbour, reach the disk, and are renamed over `path` in one step, so a reader sees
    the old file or the new one, never a part. After an error the neighbour is removed and `path` is as it was. A link
    is followed, and a device or pipe, which cannot be replaced, is written to directly.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write.

    Yields
    ------
    file : binary file object
        Open for writing.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "note.txt")
    >>> with replacing(path) as file:
    ...     _ = file.write(b"whole")
    >>> path.read_text()
    'whole'
    """
    path = os.fspath(path)
    if _is_special(path):
        with open(path, "wb") as file:
            yield file
        return
    path = os.path.realpath(path)
    check_writable(path)  # names the path; what the neighbour meets would name the neighbour
    folder, name = os.path.split(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{name[:100]}.", suffix=".part", dir=folder)
    try:
        with open(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode_for(path))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _is_special(path):
    """Whether `path` exists and is something else than a regular file (a device, a pipe)."""
    return os.path.exists(path) and not os.path.isfile(path)


def _mode_for(path):
    """Permission bits for the file at `path`: those it has, else what the process would give to a new file."""
    with contextlib.suppress(OSError):
        return stat.S_IMODE(os.stat(path).st_mode)
    mask = os.umask(0)  # the only way to read it is to set it
    os.umask(mask)
    return 0o666 & ~mask
