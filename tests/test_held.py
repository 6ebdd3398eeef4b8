"""Held parameters, equal weights, and that every constrained M-step beats whatever else is feasible."""

import re

import numpy as np
import problems
import pytest
import reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_collapse import step

from fastgmm import GaussianMixture, InvalidParameterError
from fastgmm.covariance import get
from fastgmm.fitting import run
from fastgmm.sources import ArraySource

K, D = 3, 2
NAMES = ("weights", "means", "covariances")
by_family = pytest.mark.parametrize("family", reference.FAMILIES)


@pytest.fixture(scope="module")
def X():
    return problems.rows(7, 250, D, K)


def masks_of(family, which):
    """Masks of the three parameters from three small integers, one bit per component; tied covariances all or none."""
    masks = {
        name: np.array([bits >> k & 1 for k in range(K)], dtype=bool) for name, bits in zip(NAMES, which, strict=True)
    }
    if family == "tied":
        masks["covariances"][:] = masks["covariances"][0]
    return masks


def one_step(family, X, start, masks, equal_weights, share):
    """Parameters after one M-step, and the responsibilities that it was made from."""
    source = ArraySource(X)
    made = step(family, source, start, share, masks=masks, equal_weights=equal_weights)
    stats = source.accumulate(get(family).constants(made.start))
    model = reference.Model(made.start.weights, made.start.means, made.start.covariances)
    resp = reference.responsibilities(reference.log_joint(reference.constants_of(family, model), X))
    return made(stats, made.start, 1), resp


def feasible(family, X, best, masks, equal_weights, share, size, rng):
    """A random model near `best` that keeps to all constraints."""
    weights = best.weights.copy()
    free = ~masks["weights"]
    if not equal_weights and free.any():
        moved = weights[free] * np.exp(size * rng.standard_normal(free.sum()))
        weights[free] = moved / moved.sum() * weights[free].sum()
    means = best.means + size * rng.standard_normal(best.means.shape) * ~masks["means"][:, None]
    stretch = np.eye(D) + size * rng.standard_normal((K, D, D))
    if family == "tied":
        covariances = stretch[0] @ best.covariances @ stretch[0].T
    elif family == "full":
        covariances = stretch @ best.covariances @ stretch.transpose(0, 2, 1)
    else:
        covariances = best.covariances * np.exp(size * rng.standard_normal(best.covariances.shape))
    covariances = reference.floored(family, covariances, X, share)
    covariances[masks["covariances"][: len(covariances)]] = best.covariances[masks["covariances"][: len(covariances)]]
    return reference.Model(weights, means, covariances)


@by_family
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.tuples(*[st.integers(0, 7)] * 3),
    equal_weights=st.booleans(),
    share=st.sampled_from([1e-6, 0.1, 0.6]),
    seed=st.integers(0, 2**32 - 1),
)
def test_m_step_beats_all_that_is_feasible(family, which, equal_weights, share, seed):
    X = problems.rows(8, 60, D, K)
    masks = masks_of(family, which)
    if equal_weights:
        masks["weights"][:] = False
    start = problems.start_from_rows(family, X, K, seed % 7)
    best, resp = one_step(family, X, start, masks, equal_weights, share)
    best = reference.Model(best.weights, best.means, best.covariances)
    want = reference.maximise_held(family, X, resp, masks, start, equal_weights=equal_weights, share=share)
    problems.assert_close_parameters(family, best, want, 1e-9)
    value, rng = reference.complete_log_likelihood(family, best, X, resp), np.random.default_rng(seed)
    for size in (1e-4, 1e-2, 0.3):
        for _ in range(10):
            other = feasible(family, X, best, masks, equal_weights, share, size, rng)
            assert reference.complete_log_likelihood(family, other, X, resp) <= value + 1e-11 * abs(value)


HELD = {
    "all means": {"means": True},
    "one mean": {"means": [False, True, False]},
    "one weight": {"weights": [False, False, True]},
    "all weights": {"weights": True},
    "covariances": {"covariances": True},
    "a whole component": {name: [True, False, False] for name in NAMES},
    "all": dict.fromkeys(NAMES, True),
    "nothing": dict.fromkeys(NAMES, False),
}


@by_family
@pytest.mark.parametrize("case", HELD)
def test_what_is_held_stays_and_the_log_likelihood_never_falls(X, family, case):
    fixed = HELD[case]
    if family == "tied" and case == "a whole component":
        fixed = {name: fixed[name] for name in ("weights", "means")}
    start = problems.start_from_rows(family, X, K)
    result = problems.em(family, X, start, 60, fixed=fixed)
    for name, mask in fixed.items():
        mine, theirs = getattr(result.mixture, name), getattr(start, name)
        mask = np.broadcast_to(mask, K)
        if name == "covariances" and family == "tied":
            mask = np.broadcast_to(mask[0], D)
        np.testing.assert_allclose(mine[mask], theirs[mask], rtol=1e-14, atol=0 if name != "covariances" else 1e-15)
        if not mask.all():
            assert np.abs(mine[~mask] - theirs[~mask]).max() > 1e-3
    assert abs(result.mixture.weights.sum() - 1) <= 1e-14
    bounds = np.array(result.lower_bounds)
    assert np.diff(bounds).min() >= -64 * np.finfo(float).eps * np.abs(bounds).max()


@by_family
def test_nothing_held_is_the_plain_fit(X, family):
    start = problems.start_from_rows(family, X, K)
    plain, other = (problems.em(family, X, start, 9, fixed=fixed) for fixed in (None, dict.fromkeys(NAMES, False)))
    problems.assert_same_parameters(plain.mixture, other.mixture)


@by_family
def test_equal_weights(X, family):
    result = run(X, 4, covariance_type=family, equal_weights=True, reg_covar=0.0, tol=0.0, max_iter=80, random_state=0)
    np.testing.assert_array_equal(result.mixture.weights, 0.25)
    bounds = np.array(result.lower_bounds)
    assert np.diff(bounds).min() >= -64 * np.finfo(float).eps * np.abs(bounds).max()


def test_offset_far_from_held_means_costs_no_digits():
    """For tied the scatter about held means comes from the total scatter."""
    X = problems.on_grid(problems.rows(9, 200, D, 2))
    start = problems.start_from_rows("tied", X, 2)
    start = start._replace(means=problems.on_grid(start.means))
    one = problems.em("tied", X, start, 10, fixed={"means": True}).mixture
    moved = start._replace(means=start.means + 2.0**20)
    other = problems.em("tied", X + 2.0**20, moved, 10, fixed={"means": True}).mixture
    np.testing.assert_allclose(other.covariances, one.covariances, rtol=1e-9)


def test_warm_start_holds_what_was_fitted(X):
    model = GaussianMixture(K, random_state=0, warm_start=True).fit(X)
    means, weights = model.means_.copy(), model.weights_.copy()
    model.set_params(fixed={"means": True}, tol=0.0, max_iter=3)
    with problems.no_convergence_warning():
        model.fit(problems.rows(1, 250, D, K))
    np.testing.assert_array_equal(model.means_, means)
    assert not np.array_equal(model.weights_, weights)


START = {"weights_init": np.full(K, 1 / K), "means_init": np.zeros((K, D))}
BAD = [
    ({"fixed": {"mean": True}}, "fixed must have no other keys than 'weights', 'means', 'covariances', got 'mean'"),
    ({"fixed": {"means": [True]}}, "fixed['means'] must be True, False or 3 bools, got [True]"),
    ({"fixed": {"means": [0, 1, 2]}}, "fixed['means'] must be True, False or 3 bools, got [0, 1, 2]"),
    ({"fixed": {"means": True}}, "fixed['means'] holds starting values, so means_init must give them, got None"),
    ({"fixed": {"weights": True}}, "fixed['weights'] holds starting values, so weights_init must give them, got None"),
    (
        {"fixed": {"covariances": [True, False, False]}, **START},
        "fixed['covariances'] holds starting values, so precisions_init must give them, got None",
    ),
    ({"equal_weights": True, **START}, "equal_weights=True and weights_init exclude each other: give one of them"),
    (
        {"fixed": {"covariances": [True, False, False]}, "covariance_type": "tied", "precisions_init": np.eye(D)},
        "fixed['covariances'] must be True or False for covariance_type='tied', where all components share one",
    ),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=[message for _, message in BAD])
def test_contradiction_is_named_before_any_work(X, options, message):
    def never(*_):
        raise AssertionError("a start was made")

    for door in (
        lambda: run(X, K, init_params=never, **options),
        lambda: GaussianMixture(K, init_params=never, **options).fit(X),
    ):
        with pytest.raises(InvalidParameterError, match=re.escape(message)):
            door()


def test_equal_weights_and_held_weights_exclude_each_other_in_a_warm_start(X):
    model = GaussianMixture(K, random_state=0, warm_start=True).fit(X)
    model.set_params(equal_weights=True, fixed={"weights": True})
    with pytest.raises(InvalidParameterError, match="fixed"):
        model.fit(X)


@by_family
@pytest.mark.parametrize("name", ["weights", "means", "covariances"])
def test_acceleration_leaves_what_is_held_to_the_bit(X, family, name):
    fixed = {name: True if family == "tied" and name == "covariances" else [False, True, False]}
    start = problems.start_from_rows(family, X, K)
    fits = [
        problems.em(family, X, start, n_iter, fixed=fixed, acceleration=acceleration)
        for n_iter, acceleration in ((1, None), (40, None), (40, "squarem"))
    ]
    first, _, accelerated = (np.asarray(getattr(fit.mixture, name)) for fit in fits)
    held = slice(None) if fixed[name] is True else 1
    assert problems.same_bits(accelerated[held], first[held])
    assert fits[2].lower_bound >= fits[1].lower_bound - 1e-12
