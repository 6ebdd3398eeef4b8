"""The rows that a pass visits, and what goes with them."""

import numpy as np

from fastgmm.engine.rows import Rows, check_sample_weight

__all__ = ["check_known", "check_shape", "known_of_visits", "on_all_rows", "prepare", "stretch"]


def prepare(X, n_features, sample_weight):
    """Return checked rows and weights."""
    rows = Rows.of(X)
    if rows.n_features != n_features:
        raise ValueError(
            f"X has {rows.n_features} features, but the mixture is expecting {n_features} features as input."
        )
    return rows, check_sample_weight(sample_weight, rows.n_rows)


def check_shape(name, array, shape):
    """Raise ValueError if an array, or what stands for one, has another shape."""
    if np.shape(array) != shape:
        raise ValueError(f"{name} must have the shape {shape}, got {np.shape(array)}")


def known_of_visits(labels, kept, first, last):
    """Return the labels, of all rows, that belong to the visits first..last; None if there are none."""
    if labels is None:
        return None
    return np.ascontiguousarray(labels[first:last] if kept is None else labels[kept[first:last]])


def check_known(labels, n_rows, n_components):
    """Return labels that are known as int64, None of None; raise ValueError if they name components there are not."""
    if labels is None:
        return None
    labels = np.asarray(labels, dtype=np.int64)
    check_shape("known_labels", labels, (n_rows,))
    if len(labels) and labels.max() >= n_components:
        raise ValueError(f"known_labels must be below {n_components}, the number of components, got {labels.max()}")
    return labels


def stretch(array, first, last):
    """Return rows first..last of an array that may be None."""
    return None if array is None else array[first:last]


def on_all_rows(array, kept, n_rows, missing):
    """Return an array over the kept rows as one over all rows; None of None."""
    if array is None or kept is None:
        return array
    whole = np.full(n_rows, missing, dtype=array.dtype)
    whole[kept] = array
    return whole
