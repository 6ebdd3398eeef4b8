"""From the blocks in which rows come to the chunks in which a pass takes them, read while the pass computes."""

import queue
import threading
from typing import NamedTuple

import numpy as np

from fastgmm.engine.rows import Rows, check_weight_values, numbers

__all__ = ["Chunk", "Recut", "chunked", "looked_at", "read_ahead", "weighed_alike"]

LOOK_ROWS = 65536  # rows looked at at a time, to bound the memory


class Chunk(NamedTuple):
    """Rows of positive weight: values (n, D) native float32 or float64, weights (n,) float64 or None."""

    values: np.ndarray
    weights: np.ndarray | None


def chunked(blocks, n_rows, dtype, n_features, *, look=True, gaps=False):
    """Yield the rows of blocks in chunks of exactly n_rows rows, but for the last.

    Rows of weight zero are left out before chunks are formed. So chunks depend on the rows alone, not on how they come.

    Parameters
    ----------
    blocks : iterable of fastgmm.io.blocks.Block
    n_rows : int
    dtype : numpy.dtype
        float32 or float64.
    n_features : int
    look : bool, default=True
        Whether to see if all values are finite, which is enough once.
    gaps : bool, default=False
        Whether NaN may be among them.

    Raises
    ------
    ValueError, TypeError
        Naming the block, if one has other columns or another type than the first, or values that are not finite.
    """
    chunk, filled, weighed = None, 0, None
    for block in blocks:
        values, weights = _checked(block, dtype, n_features, look, gaps)
        if not len(values):
            continue
        if weighed is None:
            weighed = weights is not None
        weighed_alike(block, weighed)
        taken = 0
        while taken < len(values):
            if not filled and len(values) - taken >= n_rows and _is_native(values, dtype):
                part = slice(taken, taken + n_rows)
                yield Chunk(values[part], None if weights is None else weights[part])
                taken += n_rows
                continue
            if chunk is None:
                chunk = Chunk(np.empty((n_rows, n_features), dtype), np.empty(n_rows) if weighed else None)
            n = min(n_rows - filled, len(values) - taken)
            with np.errstate(over="ignore", invalid="ignore"):
                np.copyto(chunk.values[filled : filled + n], values[taken : taken + n], casting="unsafe")
            if weighed:
                chunk.weights[filled : filled + n] = weights[taken : taken + n]
            taken, filled = taken + n, filled + n
            if filled == n_rows:
                yield chunk
                chunk, filled = None, 0
    if filled:
        yield Chunk(chunk.values[:filled], chunk.weights[:filled] if weighed else None)


def weighed_alike(block, weighed):
    """Raise ValueError if a block has weights and those before it had none, or the other way round."""
    if weighed != (block.weights is not None):
        have = "have some" if weighed else "have none"
        raise ValueError(f"{block.name} has {'no ' * weighed}weights, but the batches before it {have}")


def _is_native(values, dtype):
    return values.dtype == dtype and values.dtype.isnative and values.flags.c_contiguous and values.flags.aligned


def _checked(block, dtype, n_features, look, gaps):
    """Return values (n, D) and weights (n,) or None of a block, of the rows with positive weight."""
    values, weights = looked_at(block, dtype, n_features, look=look, gaps=gaps)
    if weights is None or (weights > 0).all():
        return values, weights
    return values[weights > 0], weights[weights > 0]


def looked_at(block, dtype, n_features, *, look=True, gaps=False):
    """Return values (n, D) and weights (n,) or None of a block, of all its rows: see `chunked`."""
    values, name = block.values, block.name
    if values.ndim != 2:
        raise ValueError(f"{name}: expected a 2D array of rows, got the shape {values.shape}")
    if values.shape[1] != n_features:
        raise ValueError(f"{name} has {values.shape[1]} columns, but those before it have {n_features}")
    if not len(values):
        return values, None
    rows = Rows(values, name=name)
    if rows.dtype != dtype:
        raise ValueError(f"{name} has the dtype {rows.dtype}, but those before it have {dtype}")
    if look:
        for first in range(0, len(values), LOOK_ROWS):
            with np.errstate(over="ignore", invalid="ignore"):
                part = np.asarray(rows.array[first : first + LOOK_ROWS], dtype=dtype)
            if (np.isinf(part) if gaps else ~np.isfinite(part)).any():
                rows.raise_not_finite(block.first, gaps=gaps)
    if block.weights is None:
        return rows.array, None
    weights = numbers(block.weights, f"sample_weight of {name}")
    if weights.shape != (len(values),):
        raise ValueError(f"sample_weight of {name} has the shape {weights.shape}, expected {(len(values),)}")
    check_weight_values(weights, f"sample_weight of {name}", block.first)
    return rows.array, weights


class Recut:
    """Chunks that come in any sizes, given on in multiples of a number of rows, but for the last.

    Parameters
    ----------
    n_rows : int
    take : callable
        Gets values (n, D) and weights (n,) or None; what it gets is read at once, and may change after that.
    """

    def __init__(self, n_rows, take):
        self._n_rows, self._take, self._kept, self._filled = n_rows, take, None, 0

    def push(self, values, weights):
        """Give on as many rows as there are multiples of, and keep the others."""
        first = 0
        if self._filled:
            first = min(self._n_rows - self._filled, len(values))
            self._keep(values[:first], None if weights is None else weights[:first])
            if self._filled == self._n_rows:
                self.end()
        last = first + (len(values) - first) // self._n_rows * self._n_rows
        if last > first:
            self._take(values[first:last], None if weights is None else weights[first:last])
        self._keep(values[last:], None if weights is None else weights[last:])

    def end(self):
        """Give on what was kept."""
        if self._filled:
            values, weights = self._kept
            self._take(values[: self._filled], None if weights is None else weights[: self._filled])
            self._filled = 0

    def _keep(self, values, weights):
        if not len(values):
            return
        if self._kept is None:
            shape = self._n_rows, values.shape[1]
            self._kept = np.empty(shape, values.dtype), None if weights is None else np.empty(self._n_rows)
        part = slice(self._filled, self._filled + len(values))
        self._kept[0][part] = values
        if weights is not None:
            self._kept[1][part] = weights
        self._filled += len(values)


def read_ahead(items, depth=1):
    """Yield items that a thread of its own takes from an iterator, at most `depth` of them in advance.

    What the iterator raises is raised here, in its place. When this generator is closed, the thread ends.
    """
    ready, closed = queue.Queue(depth), threading.Event()

    def put(item):
        while not closed.is_set():
            try:
                ready.put(item, timeout=0.05)
                return
            except queue.Full:
                pass

    def work():
        try:
            for item in items:
                put((item, None))
                del item
                if closed.is_set():
                    return
            put((None, None))
        except BaseException as error:  # raised again where it is waited for
            put((None, error))
        finally:
            items.close()

    thread = threading.Thread(target=work, name="fastgmm reader", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
            del item
    finally:
        closed.set()
        thread.join()
