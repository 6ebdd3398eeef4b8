"""The order in which EM visits rows: like beside like, where components are many and far apart.

A pass leaves out a component of a panel of rows if none of them is near it: see `fastgmm.accumulate`, ``sparse``. That
needs panels whose rows belong together. The order depends on the rows, their weights and K alone, not on parameters or
random states, so that a fit that is continued visits its rows as before.
"""

import numpy as np

from fastgmm._errors import IllDefinedCovarianceError
from fastgmm.covariance import get
from fastgmm.engine import NEGLIGIBLE
from fastgmm.fitting import kmeans
from fastgmm.sources import ArraySource

__all__ = ["arranged"]

MIN_COMPONENTS = 32
MIN_FEATURES = 4
MIN_ROWS_PER_COMPONENT = 1000  # of fewer, finding out whether it pays costs too much beside what it may save
SAMPLE_ROWS_PER_COMPONENT = 16
SAMPLE_ITERATIONS = 5
MAX_SHARE = 0.1


def arranged(source, kind, n_components):
    """Return a source of the same rows in an order that lets passes leave components out, or the source itself.

    Parameters
    ----------
    source : Source
    kind : str
        Kernel kind of the mixture that is fitted.
    n_components : int

    Returns
    -------
    Source
        It holds 8 bytes for each row, with weights 16.
    """
    if (
        not isinstance(source, ArraySource)
        or source.known_labels is not None
        or kind != "full"
        or n_components < MIN_COMPONENTS
        or source.n_features < MIN_FEATURES
        or source.n_rows < MIN_ROWS_PER_COMPONENT * n_components
    ):
        return source
    rng = np.random.default_rng(0)
    few = source.sample(SAMPLE_ROWS_PER_COMPONENT * n_components, rng).gathered()
    centres, labels, _ = kmeans.lloyd(few, kmeans.seed(few, n_components, rng), max_iter=SAMPLE_ITERATIONS)
    if _share_that_counts(few, centres, labels) > MAX_SHARE:
        return source
    return source.sorted_by(source.nearest(centres, shift=source.moments()[0], labels=True).labels)


def _share_that_counts(few, centres, labels):
    """Return which share of the components has a responsibility that counts, on average over some labelled rows."""
    family = get("diag")
    try:
        stats = few.accumulate_given("diagonal", centres, labels=labels)
        resp = few.score(family.constants(family.maximise(stats)), resp=True).resp
    except IllDefinedCovarianceError:
        return 1.0
    return (resp > NEGLIGIBLE).mean()
