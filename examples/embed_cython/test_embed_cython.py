import embed_cython
import numpy as np
import pytest

import fastgmm

rng = np.random.default_rng(0)
MIXTURE = fastgmm.Mixture(rng.dirichlet(np.ones(10)), rng.normal(size=(10, 10)), rng.uniform(1, 2, (10, 10)), "diag")
ROWS = rng.normal(size=(500, 10))
wanted = MIXTURE.score_samples(ROWS)


def test_all_rows_score_as_score_samples_has_it():
    log_density = np.empty(len(ROWS))
    assert embed_cython.first_unlikely(MIXTURE, ROWS, -np.inf, log_density) == -1
    np.testing.assert_allclose(log_density, wanted, rtol=1e-13)


def test_stops_at_the_first_unlikely_row():
    threshold, log_density = np.quantile(wanted, 0.02), np.zeros(len(ROWS))
    first = embed_cython.first_unlikely(MIXTURE, ROWS, threshold, log_density)
    assert first == np.flatnonzero(wanted < threshold)[0]
    assert not log_density[first + 1 :].any()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="do not fit"):
        embed_cython.first_unlikely(MIXTURE, ROWS[:, :9].copy(), 0.0, np.empty(len(ROWS)))
