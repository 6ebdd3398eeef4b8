"""Rows that come block by block: files larger than memory, data sets, anything that can be gone through again.

Blocks are cut anew into chunks of whole groups of rows (docs/design.md), and each pass continues one accumulation from
chunk to chunk. So a pass gives the bits of one over an array of the same rows, whatever the blocks. A thread reads
while the engine computes.
"""

import copy

import numpy as np

from fastgmm import engine
from fastgmm._errors import InvalidParameterError
from fastgmm.engine.threads import resolve
from fastgmm.io.blocks import PIECE_BYTES, open_blocks, refuse_beside
from fastgmm.sources.base import NO_ROWS, Source
from fastgmm.sources.chunks import Made, Recut, chunked, known_beside, of_fold, read_ahead, taken, without_known
from fastgmm.sources.memory import CHUNKS, bytes_of, needed_beside_rows, parse_memory, sample_bytes
from fastgmm.sources.reservoir import Reservoir
from fastgmm.sources.spool import check_spool, spooled

__all__ = ["BatchSource"]

FOLD_STATISTICS = 3  # of each fold: its own, and sums of those before it and after it
CHUNK_BYTES = 16 << 20  # of rows, or as many as a group has: enough that cutting costs nothing


class BatchSource(Source):
    """Rows that are read again in each pass and never held whole.

    Parameters
    ----------
    X : path, array, pyarrow data, iterable of batches, or function that returns one
        A CSV, NPY or Parquet file or a folder of Parquet files; an array, such as a memory map; a pyarrow data set or
        table; or batches: arrays, data frames or record batches (n, D), or tuples of one and its weights (n,), or of
        one, weights or None, and known labels (n,). What
        iterates over batches has to begin anew for every pass: a list, an object with such an ``__iter__``, or a
        function that returns a new iterator, also a new ``pyarrow.RecordBatchReader``. What comes once, an iterator or
        such a reader, needs `spool`.
    sample_weight : array-like of shape (n_rows,), optional
        Weights of the rows of an array or NPY file.
    known_labels : (n_rows,) array of int, optional
        The component that each row of an array or NPY file is known to belong to, -1 where it is not known: see
        `ArraySource`. Memory maps are read piece by piece.
    columns : sequence of str, optional
        Columns to read, of files and Arrow data; default: all but those of weights and labels.
    weights : str, optional
        Column of the weights, of files and Arrow data.
    labels : str, optional
        Column of the known labels, of files and Arrow data: numbers of components, and -1 or nothing where they are
        not known.
    spool : bool or path, optional
        True writes the rows of what can be read only once to a temporary file, in the folder that the system has for
        these; a path is that of another folder, for instance where that one is in memory. The file takes the room of
        the rows, 8 bytes a number (4 of float32); one batch is held at a time. It is gone when the source is, or the
        program ends.
    max_memory : int or str, optional
        Bytes, or a string such as "500 MB" (1024 KB each), that a fit takes at most beyond what the interpreter and its
        libraries take, and beyond what X itself holds. Default: chunks of 16 MB.
    n_threads : int, optional
        No result depends on it.
    progress : callable, optional
        Called after each chunk with the number of passes that are complete, the number of rows done in this one, and
        the number of all rows, None in the first pass.

    Attributes
    ----------
    dtype : numpy.dtype
        The type that rows are computed in: float32 if they are float32, else float64.
    n_features : int
    names : list of str or None
        Names of the columns; of files that have none x1, x2, ...
    column_names : list of str or None
        The names that stand in what is read.
    n_rows : int
        Rows with positive weight; takes a pass if none was made.
    n_named, n_known : int
        Components that known labels name, and rows that they are of; takes a pass if none was made.
    progress : callable or None
        As given.
    n_all_rows : int
        Rows that the last pass met.

    Raises
    ------
    TypeError, ValueError
        If X is none of these, or an iterator that can be consumed only once and `spool` is not given; if it is given
        for anything else. What is wrong with a batch is raised by the pass that meets it, or when it is spooled, and
        names the batch.
    OSError
        If there is no room for the spooled rows.

    Examples
    --------
    >>> import numpy as np, fastgmm
    >>> from fastgmm.sources import BatchSource
    >>> batches = [np.arange(3.0)[:, None], np.arange(100.0, 103.0)[:, None]]
    >>> np.sort(fastgmm.fit(BatchSource(batches), 2, random_state=0).mixture.means.ravel()).round(6)
    array([  1., 101.])
    >>> once = (np.arange(first, first + 3.0)[:, None] for first in (0, 100))  # a generator: it cannot begin anew
    >>> np.sort(fastgmm.fit(BatchSource(once, spool=True), 2, random_state=0).mixture.means.ravel()).round(6)
    array([  1., 101.])
    """

    _gaps = False  # whether values may be missing

    def __init__(
        self,
        X,
        sample_weight=None,
        *,
        known_labels=None,
        columns=None,
        weights=None,
        labels=None,
        spool=None,
        max_memory=None,
        n_threads=None,
        progress=None,
    ):
        self._max_memory = parse_memory(max_memory)
        self._n_threads = resolve(n_threads)
        if progress is not None and not callable(progress):
            raise InvalidParameterError(f"progress must be None or a callable, got {progress!r}")
        how = {"columns": columns, "weights": weights, "labels": labels, "gaps": self._gaps}
        folder = check_spool(spool)
        if folder is False:
            self._blocks = open_blocks(X, sample_weight=sample_weight, known_labels=known_labels, **how)
        else:
            refuse_beside("spooled", sample_weight, known_labels)
            self._blocks = spooled(X, folder, **how)
        self.progress, self._passes = progress, 0
        self.n_all_rows = 0
        self._looked, self._scatter, self._model, self._beside = False, (None, None), ("diagonal", 1, 0, None), 0
        self._least = 1  # rows of a group
        self._kept_bytes = self._n_folds = 0  # of what is known of every row; folds whose statistics are there at once
        self._known_rows = None  # how many a pass meets, after the first
        self._n_named = self._n_known = 0
        self.dtype, self.n_features, self.names = self._blocks.dtype, self._blocks.n_columns, self._blocks.names
        self.column_names = self.names if self._blocks.named else None

    @property
    def is_bounded(self):
        """Whether memory is counted."""
        return self._max_memory is not None

    @property
    def total_weight(self):
        """Sum of the weights, which takes a pass if none was made."""
        return self.moments()[2]

    @property
    def n_named(self):
        """Number of components that known labels name, from 0 on."""
        return self._n_named if self.n_rows else 0  # which takes a pass if none was made

    @property
    def n_known(self):
        """Number of rows with positive weight whose component is known."""
        return self._n_known if self.n_rows else 0

    def reserve(self, kind, n_components, n_start_rows=0, rank=0, acceleration=None):
        """Keep memory for the fit of a mixture; see if there is enough for it and a chunk of rows.

        Parameters
        ----------
        kind : str
            Kernel kind of its statistics.
        n_components : int
        n_start_rows : int, default=0
            Rows of the sample that starts are made of.
        rank : int, default=0
            Of the low-rank kind.
        acceleration : str, optional
            Of the fit.

        Raises
        ------
        ValueError
            If `max_memory` is too small; it says what is needed.
        """
        self._model = kind, n_components, rank, acceleration
        self._beside = self._sample_bytes(n_start_rows)
        self._least = max(self._group(kind, n_components, rank), self._group("diagonal", 1), self._group("full", 1))
        self._chunk_rows(self._least)

    def _make_room(self, constants):
        """Count a mixture that takes more than the one that memory is kept for; see if there is enough for it.

        Raises
        ------
        ValueError
            As `reserve`.
        """
        model = constants.kind, constants.n_components, constants.rank, None
        if self.is_bounded and self._needed_by(model) > self._needed_by(self._model):
            self._model, self._least = model, max(self._least, constants.group_rows)
            self._chunk_rows(self._least)

    def _needed_by(self, model):
        return needed_beside_rows(*model, self.n_features, self._n_threads, FOLD_STATISTICS * self._n_folds)

    def _group(self, kind, n_components, rank=0):
        return engine.group_rows(kind, n_components, self.n_features, rank, self.dtype == np.float32)

    def _chunk_rows(self, group, beside=""):
        """Return how many rows a chunk has, a multiple of a group; see if it and what else is there have room."""
        row = self.n_features * self.dtype.itemsize + 8 + 8 * self._blocks.labelled
        unseen = self.is_bounded and self._blocks.batch_copies and not self._looked  # larger batches may come
        chunk = max(1, (PIECE_BYTES if unseen else CHUNK_BYTES) // (row * group)) * group
        if not self.is_bounded:
            return chunk
        fixed, of_row = self._memory(row, group)
        needed = fixed + of_row * group
        if needed > self._max_memory:
            raise ValueError(
                f"max_memory is {bytes_of(self._max_memory)}, but {bytes_of(needed)} are needed for one block of "
                f"{group} rows{beside} and {self._model[1]} components of {self.n_features} features"
            )
        return min(chunk, (self._max_memory - fixed) // (of_row * group) * group)

    @property
    def n_threads(self):
        """Number of threads of its passes."""
        return self._n_threads

    def _check_batch(self, block):
        """Count what a batch takes that is larger than those before it; see if there is room for it."""
        n_bytes = self._blocks.batch_copies * block.values.nbytes
        if n_bytes > self._blocks.block_bytes:
            self._blocks = self._blocks._replace(block_bytes=n_bytes)
            self._chunk_rows(self._least, f", the rows of {block.name},")

    def _sample_bytes(self, n_rows):
        """Return the bytes that a sample of rows and the starts made of it take."""
        return sample_bytes(n_rows, self.n_features, self.dtype.itemsize)

    def _memory(self, row, group):
        """Return the bytes that passes take whatever the chunks, and for each row, of `row` bytes, of whole groups."""
        fixed = self._needed_by(self._model) + self._blocks.block_bytes
        return fixed + self._beside + self._kept_bytes, CHUNKS * row

    def chunks(self, group=1):
        """Yield all rows with positive weight in chunks, read ahead: multiples of `group` rows, but for the last.

        Yields
        ------
        Chunk
        """
        n_rows, done, n_named, n_known = self._chunk_rows(group), 0, 0, 0
        known, how = self._known_rows, {"look": not self._looked, "gaps": self._gaps}
        for chunk in read_ahead(chunked(self._counted(n_rows), n_rows, self.dtype, self.n_features, **how)):
            if chunk.labels is not None:
                n_named = max(n_named, int(chunk.labels.max()) + 1)
                n_known += int((chunk.labels >= 0).sum())
            n = len(chunk.values)
            yield chunk
            del chunk  # gone before the next one is asked for: see `read_ahead`
            done += n
            if self.progress is not None:
                self.progress(self._passes, done, known)
        if known is not None and done != known:
            raise ValueError(
                f"this pass met {done} rows of positive weight, but the first one {known}: every pass has to go "
                "through the same batches from the first on"
            )
        self._looked, self._passes = True, self._passes + 1
        self._n_named, self._n_known = n_named, n_known

    def _counted(self, n_rows):
        """Blocks as they come; how many rows they have is known at the end."""
        count = 0
        for block in self._blocks.read(n_rows):
            count += len(block.values)
            self._check_batch(block)
            yield block
            del block
        self.n_all_rows = count

    def _passed(self, group, step):
        """Return what a step makes of the chunks one after the other: see `taken`."""
        made = None
        for chunk in self.chunks(group):
            made = taken(step, chunk, self._n_threads, made)
            del chunk
        return made

    def accumulate(self, constants, *, pivot=None):
        """Return the Statistics of all rows under a mixture: see `fastgmm.accumulate`."""
        self._make_room(constants)
        stats = self._passed(constants.group_rows, self._accumulating(constants, pivot))
        self._learn(constants, stats)
        return stats

    def _accumulating(self, constants, pivot=None):
        """Return the step of a pass that accumulates."""
        shift, scatter = self._scatter
        if constants.kind != "rotated" or shift is None or not np.array_equal(shift, constants.shift):
            scatter = None
        return lambda rows, known, options, before: engine.accumulate(
            rows, constants, into=before, pivot=pivot, scatter=scatter, known_labels=known, **options
        )

    def _learn(self, constants, stats):
        """Keep the total scatter, which stays what it is as long as the shift does."""
        if constants.kind == "rotated":
            self._scatter = constants.shift, stats.S

    def _scoring(self, constants):
        """Return the step of a pass that scores."""
        return lambda rows, known, options, before: engine.score(
            rows, constants, into=before, known_labels=known, **options
        )

    def together(self, asked):
        """Return what several calls of `accumulate` and `score` return, of one reading: see `Source.together`."""
        steps = {"accumulate": self._accumulating, "score": self._scoring}
        all_made = [Made(constants.group_rows, steps[name](constants), self._n_threads) for name, constants in asked]
        for chunk in self.chunks(max(constants.group_rows for _, constants in asked)):
            for each in all_made:
                each.rows.push(chunk)
            del chunk
        found = []
        for (name, constants), each in zip(asked, all_made, strict=True):
            each.rows.end()
            if name == "accumulate":
                self._learn(constants, each.made)
            found.append(each.made)
        return found

    def accumulate_all(self, kind, point):
        """Return the Statistics of kind "full" or "diagonal" of all rows as one component, about a point (D,)."""
        group = self._group(kind, 1)
        return self._passed(
            group,
            lambda rows, known, options, before: engine.accumulate_given(
                rows, kind, point[None], shift=point, into=before, group=group, **options
            ),
        )

    def _first_pass(self):
        """Moments and number of rows, once: about the first row, as an array's are."""
        if not hasattr(self, "_moments"):
            group = engine.group_rows("diagonal", 1, self.n_features, 0, False)
            point = []

            def step(rows, known, options, before):
                point[:] = point or [rows.array[0].astype(np.float64)]
                return engine.accumulate_given(
                    rows, "diagonal", point[0][None], shift=point[0], into=before, group=group, **options
                )

            stats = self._passed(group, step)
            if stats is None:
                raise ValueError(NO_ROWS)
            self._moments, self._known_rows = (stats.mean_and_variances(), stats.n_rows), stats.n_rows
        return self._moments

    def sample(self, n_rows, rng):
        """Return a reservoir sample of the rows, in one pass: see `Reservoir`."""
        return self._reservoir(n_rows, rng).source(n_threads=self._n_threads)

    def _reservoir(self, n_rows, rng):
        """Return a Reservoir by which all rows came."""
        reservoir = Reservoir(n_rows, rng)
        for chunk in self.chunks():
            for piece in chunk.pieces():
                reservoir.add(*piece)
            del chunk, piece
        return reservoir

    def score(self, constants):
        """Return the Scores of all rows under a mixture: their log-likelihood and weight."""
        self._make_room(constants)
        return self._passed(constants.group_rows, self._scoring(constants))

    def sum_over(self, function, n_rows=1):
        """Return the sum of what a function makes of parts of the rows: see `Source.sum_over`."""
        made = []
        parts = Recut(n_rows, lambda rows: made.append(function(rows.values, rows.weights)))
        for chunk in self.chunks():
            parts.push(chunk)
            del chunk
        parts.end()
        return sum(made)

    def blocks(self, row_bytes=0):
        """Yield the rows (n, D) as they come, block by block, read ahead; those of weight zero too.

        Parameters
        ----------
        row_bytes : int, default=0
            What is made of a row: where that is more than the row itself, blocks are smaller.
        """
        for values, _ in self.labelled_blocks(row_bytes):
            yield values
            del values

    def labelled_blocks(self, row_bytes=0):
        """Yield what `blocks` does, and the known labels (n,) of the rows, None where a source has none."""
        n_rows = min(self._chunk_rows(1), max(1, CHUNK_BYTES // max(row_bytes, 1)))
        for block in read_ahead(self._blocks.read(n_rows)):
            values, known = block.values, known_beside(block)
            del block
            for first in range(0, len(values), n_rows):  # batches may be longer
                part = slice(first, first + n_rows)
                yield values[part], None if known is None else known[part]
            del values, known

    def unknown(self):
        """Return the source of the rows whose component is not known, None without such rows: see `Source.unknown`."""
        if not self._blocks.labelled:
            return self
        if self.n_known == self.n_rows:
            return None
        return self._some(lambda blocks: map(without_known, blocks), self.n_rows - self.n_known)

    def only(self, fold_of_row, fold, *, inside):
        """Return the source of the rows of one fold, or of all others: see `Source.only`."""

        def chosen(blocks):
            first = 0
            for block in blocks:
                block, first = of_fold(block, first, fold_of_row, fold, inside)
                yield block
                del block

        rest = self._some(chosen, int(((fold_of_row == fold) == inside).sum()))
        rest._kept_bytes, rest._n_folds = fold_of_row.nbytes, int(fold_of_row.max()) + 1
        rest._chunk_rows(rest._least)
        return rest

    def _some(self, chosen, n_rows):
        """Return the source of so many of the rows: those to which `chosen` leaves weight in an iterator of blocks."""
        rest, read = copy.copy(self), self._blocks.read
        piece = max(1, PIECE_BYTES // (8 * self.n_features))  # rows are copied where others are left out

        def some(n_rows):
            yield from chosen(read(min(n_rows, piece)))

        rest._blocks = self._blocks._replace(read=some)
        rest._known_rows, rest._n_named, rest._n_known = n_rows, 0, 0
        rest._scatter = None, None
        for found in ("_moments", "_scanned"):
            vars(rest).pop(found, None)
        return rest

    def with_known(self, labels):
        """Return labels (N,) of all rows with those that are known in their places: see `Source.with_known`."""
        if not self.n_named:
            return labels
        known = np.concatenate([known for _, known in self.labelled_blocks()])
        return np.where(known >= 0, known, labels)

    def map_rows(self, function, width, dtype):
        """Return an array of what a function makes of every row: see `Source.map_rows`."""
        parts = []
        for values in self.blocks(np.dtype(dtype).itemsize * (width or 1)):
            parts.append(function(values))
            del values
        made = np.empty((sum(map(len, parts)), *(() if width is None else (width,))), dtype)
        last = len(made)
        while parts:  # from the end, so that each can go
            part = parts.pop()
            made[last - len(part) : last] = part
            last -= len(part)
        return made
