"""benchmarks/low_rank.py and docs/low_rank.md: the page shows what is stored, of all families."""

import numpy as np
import pytest
from harness import load

from fastgmm import covariance

low_rank = load("low_rank")
pytestmark = pytest.mark.checkout


def test_page_shows_what_is_stored():
    assert low_rank.shown_is_stored()


def test_stored_are_all_families_with_their_parameters():
    stored = low_rank.load()
    assert tuple(each.covariance_type for each in stored) == low_rank.FAMILIES
    K, D = low_rank.N_COMPONENTS, low_rank.SIDE**2
    for each in stored:
        assert each.n_parameters == covariance.get(each.covariance_type).n_parameters(K, D) + K * D + K - 1


def test_images_are_the_same_for_every_family():
    one, other = (low_rank.images(50, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    assert (one[0].shape, one[0].dtype) == ((50, 784), np.float32)
