"""From the blocks in which rows come to the chunks in which a pass takes them, read while the pass computes."""

import queue
import threading
from typing import NamedTuple

import numpy as np

from fastgmm._checks import check_label_values, check_labels, known_of_weights
from fastgmm.engine.rows import Rows, check_sample_weight, check_weight_values, numbers
from fastgmm.io import pages
from fastgmm.io.blocks import PIECE_BYTES

__all__ = [
    "Chunk",
    "Made",
    "Recut",
    "beside",
    "check_alike",
    "chunked",
    "known_beside",
    "known_of",
    "looked_at",
    "of_fold",
    "read_ahead",
    "taken",
    "without_known",
]


class Chunk(NamedTuple):
    """Rows that a pass takes.

    Attributes
    ----------
    values : (n, D) array
        Native float32 or float64.
    weights : (n,) float64 array or None
    labels : (n,) int64 array or None
        Components of the rows that are known, -1 for others.
    """

    values: np.ndarray
    weights: np.ndarray | None
    labels: np.ndarray | None = None

    def part(self, which):
        """Return the rows at a slice, mask or index."""
        return Chunk(*(None if each is None else each[which] for each in self))

    def pieces(self):
        """Yield the rows in parts of about a megabyte, for what copies them."""
        step = max(1, PIECE_BYTES // (8 * self.values.shape[1]))
        for first in range(0, len(self.values), step):
            yield self.part(slice(first, first + step))

    def room(self, n_rows, dtype):
        """Return a Chunk of n_rows rows to be filled, with weights and labels if this one has them."""
        return Chunk(
            pages.empty((n_rows, self.values.shape[1]), dtype),
            None if self.weights is None else pages.empty((n_rows,), np.float64),
            None if self.labels is None else pages.empty((n_rows,), np.int64),
        )

    def fill(self, first, rows):
        """Put the rows of another Chunk into this one, from place `first` on."""
        with np.errstate(over="ignore", invalid="ignore"):
            for mine, theirs in zip(self, rows, strict=True):
                if mine is not None:
                    np.copyto(mine[first : first + len(theirs)], theirs, casting="unsafe")


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
    chunk, filled, had = None, 0, None
    for block in blocks:
        rows = looked_at(block, dtype, n_features, look=look, gaps=gaps)
        if len(rows.values):
            had = beside(block) if had is None else had
            check_alike(block, had)
        del block
        for part in _of_positive_weight(rows):
            n_left = len(part.values)
            while n_left:
                taken = len(part.values) - n_left
                if not filled and n_left >= n_rows and _is_native(part.values, dtype):
                    yield part.part(slice(taken, taken + n_rows))
                    n_left -= n_rows
                    continue
                if chunk is None:
                    chunk = part.room(n_rows, dtype)
                n = min(n_rows - filled, n_left)
                chunk.fill(filled, part.part(slice(taken, taken + n)))
                n_left, filled = n_left - n, filled + n
                if filled == n_rows:
                    yield chunk
                    chunk, filled = None, 0
        del rows, part
    if filled:
        yield chunk.part(slice(filled))


def beside(block):
    """Return whether a block has weights and labels."""
    return {"weights": block.weights is not None, "labels": block.labels is not None}


def check_alike(block, had):
    """Raise ValueError if a block has weights or labels and the first one had none, or the other way round."""
    for what, has in beside(block).items():
        if has != had[what]:
            have = "have none" if has else "have some"
            raise ValueError(f"{block.name} has {'' if has else 'no '}{what}, but the batches before it {have}")


def _is_native(values, dtype):
    return values.dtype == dtype and values.dtype.isnative and values.flags.c_contiguous and values.flags.aligned


def _of_positive_weight(rows):
    """Yield the rows of a Chunk that have positive weight: itself, or copies of pieces if there are others."""
    if rows.weights is None or (rows.weights > 0).all():
        yield rows
        return
    for piece in rows.pieces():
        yield piece.part(piece.weights > 0)


def looked_at(block, dtype, n_features, *, look=True, gaps=False):
    """Return all rows of a block as a Chunk, its values of any type: see `chunked`."""
    values, name = block.values, block.name
    if values.ndim != 2:
        raise ValueError(f"{name}: expected a 2D array of rows, got the shape {values.shape}")
    if values.shape[1] != n_features:
        raise ValueError(f"{name} has {values.shape[1]} columns, but those before it have {n_features}")
    if not len(values):
        return Chunk(values, None)
    rows = Rows(values, name=name)
    if rows.dtype != dtype:
        raise ValueError(f"{name} has the dtype {rows.dtype}, but those before it have {dtype}")
    if look:
        for _, piece in rows.pieces():
            if (np.isinf(piece) if gaps else ~np.isfinite(piece)).any():
                rows.raise_not_finite(block.first, gaps=gaps)
    return Chunk(rows.array, _weights_of(block), known_beside(block))


def _weights_of(block):
    """Return the weights (n,) of a block, or None."""
    if block.weights is None:
        return None
    name = f"sample_weight of {block.name}"
    weights = numbers(block.weights, name)
    if weights.shape != (len(block.values),):
        raise ValueError(f"{name} has the shape {weights.shape}, expected {(len(block.values),)}")
    check_weight_values(weights, name, block.first)
    return weights


def known_beside(block):
    """Return the labels (n,) of a block, or None: see `known_of`."""
    return known_of(block.labels, len(block.values), block.name, _weights_of(block))


def known_of(labels, n_rows, name, weights):
    """Return the labels (n,) int64 of n rows that are called by a name, or None; weights (n,) may be None."""
    if labels is None:
        return None
    name = f"known_labels of {name}"
    labels = check_labels(labels, n_rows, name)
    check_label_values(labels, name)
    return np.require(known_of_weights(labels, weights), np.int64, ["C", "A"])


class Recut:
    """Chunks that come in any sizes, given on in multiples of a number of rows, but for the last.

    Parameters
    ----------
    n_rows : int
    take : callable
        Gets a Chunk; what it gets is read at once, and may change after that.
    """

    def __init__(self, n_rows, take):
        self._n_rows, self._take, self._kept, self._filled = n_rows, take, None, 0

    def push(self, rows):
        """Give on as many rows of a Chunk as there are multiples of, and keep the others."""
        first, n = 0, len(rows.values)
        if self._filled:
            first = min(self._n_rows - self._filled, n)
            self._keep(rows.part(slice(first)))
            if self._filled == self._n_rows:
                self.end()
        last = first + (n - first) // self._n_rows * self._n_rows
        if last > first:
            self._take(rows.part(slice(first, last)))
        self._keep(rows.part(slice(last, None)))

    def end(self):
        """Give on what was kept."""
        if self._filled:
            self._take(self._kept.part(slice(self._filled)))
            self._filled = 0

    def _keep(self, rows):
        n = len(rows.values)
        if not n:
            return
        if self._kept is None:
            self._kept = rows.room(self._n_rows, rows.values.dtype)
        self._kept.fill(self._filled, rows)
        self._filled += n


def taken(step, chunk, n_threads, before):
    """Return what a step makes of a chunk: step(rows, known labels, options, what it made before)."""
    options = {"sample_weight": check_sample_weight(chunk.weights, len(chunk.values)), "n_threads": n_threads}
    return step(Rows(chunk.values), chunk.labels, options, before)


class Made:
    """What a step makes of chunks, which come to it in multiples of its group."""

    def __init__(self, group, step, n_threads):
        self.made, self._step, self._n_threads = None, step, n_threads
        self.rows = Recut(group, self._take)

    def _take(self, chunk):
        self.made = taken(self._step, chunk, self._n_threads, self.made)


def without_known(block):
    """Return a block in which rows that are known weigh nothing."""
    if block.labels is None:
        return block
    weights = 1.0 if block.weights is None else block.weights
    return block._replace(weights=np.where(np.greater_equal(block.labels, 0), 0.0, weights), labels=None)


def of_fold(block, first, fold_of_row, fold, inside):
    """Return a block in which rows outside of a fold, or else in it, weigh nothing, and the number of the next row.

    Parameters
    ----------
    block : fastgmm.io.blocks.Block
    first : int
        Number of its first row with positive weight, among all of these.
    fold_of_row, fold, inside
        See `Source.only`.
    """
    weights = _weights_of(block)
    weights = np.ones(len(block.values)) if weights is None else weights.copy()
    kept = np.flatnonzero(weights)
    last = first + len(kept)
    folds = fold_of_row[first:last]
    if len(folds) < len(kept):
        raise ValueError(f"{block.name}: there are more rows of positive weight than in the first pass")
    weights[kept[(folds == fold) != inside]] = 0.0
    return block._replace(weights=weights), last


def read_ahead(items, depth=1):
    """Yield items that a thread of its own takes from an iterator, at most `depth` of them in advance.

    One more is made meanwhile, so depth + 2 are there at most if whoever takes one lets it go before the next. What the
    iterator raises is raised here, in its place. When this generator is closed, the thread ends.
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
    with pages.reused():
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
