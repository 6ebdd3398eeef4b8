"""What every family has, for structures whose components have something in common: whatever may be asked of a fit."""

import re
import warnings
from pathlib import Path

import numpy as np
import problems
import pytest
import reference
import reference_structures as twin

import fastgmm
from fastgmm import GaussianMixture, covariance
from fastgmm.covariance import Floor
from fastgmm.engine import accumulate_given
from fastgmm.fitting import run
from fastgmm.fitting.mstep import floor_of
from fastgmm.plot import picture
from fastgmm.sources import ArraySource

K, D = 3, 4
COUPLED = tuple(name for name in covariance.names() if name not in twin.ALIASES)
by_coupled = pytest.mark.parametrize("name", COUPLED)


@pytest.fixture(scope="module")
def X():
    return problems.rows(21, 240, D, K)


def random_mixture(name, seed, dtype=np.float64):
    """A mixture of a structure."""
    rng = np.random.default_rng(seed)
    dense = twin.random(name, K, D, rng)
    means = 3 * rng.standard_normal((K, D))
    weights = rng.dirichlet(np.full(K, 5.0))
    return fastgmm.Mixture(*(a.astype(dtype) for a in (weights, means, twin.pack(name, dense))), name), dense


def assert_of_structure(name, params, tolerance=1e-9):
    """Covariances are of the structure, as the twin's M-step returns them."""
    dense = covariance.get(name).dense_covariances(params.covariances, *params.means.shape).astype(np.float64)
    start = np.linalg.eigh(dense.sum(axis=0))[1]
    again = twin.m_step(name, dense, np.ones(len(dense)), start, n_rounds=200)
    np.testing.assert_allclose(again, dense, rtol=tolerance, atol=tolerance * np.abs(dense).max())


# ----------------------------------------------------------------------------------------------- densities and draws


@by_coupled
def test_container_describes_the_same_mixture(name, X):
    """scikit-learn's family of the same shapes gives the same densities, bit for bit."""
    mixture, _ = random_mixture(name, 1)
    container = fastgmm.Mixture.from_parameters(mixture.parameters, mixture.family.container)
    assert problems.same_bits(mixture.score_samples(X), container.score_samples(X))
    model = GaussianMixture(K, covariance_type=name, random_state=0).fit(X)
    theirs = model.to_sklearn()
    assert theirs.covariance_type == mixture.family.container
    np.testing.assert_allclose(theirs.score_samples(X), model.score_samples(X), rtol=1e-9)
    assert model.get_params()["covariance_type"] == name
    assert model.to_mixture().covariance_type == name


@by_coupled
def test_draws_have_the_moments_of_their_component(name):
    """Five Monte-Carlo standard deviations of every covariance."""
    n = 20_000
    mixture, dense = random_mixture(name, 2)
    for k in range(K):
        rows = mixture.family.draw(mixture.parameters, k, n, np.random.default_rng(k))
        variance = np.diagonal(dense[k])
        spread = np.sqrt((np.outer(variance, variance) + dense[k] ** 2) / n)
        assert (np.abs(np.cov(rows.T) - dense[k]) <= 5 * spread).all()


@by_coupled
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_model_file_returns_every_bit(name, dtype, tmp_path):
    mixture, _ = random_mixture(name, 3, dtype)
    mixture.save(tmp_path / "model.npz")
    again = fastgmm.load(tmp_path / "model.npz")
    assert again == mixture
    assert again.covariance_type == name


@pytest.mark.parametrize("name", ["EVI", "VEE"])
def test_picture(name, X):
    result = fastgmm.fit(X, K, covariance_type=name, random_state=0)
    assert picture(result.mixture, X).axes


# ----------------------------------------------------------------------------------------------- fits


@by_coupled
def test_integer_weights_are_rows(name, X):
    counts = np.random.default_rng(4).integers(0, 4, len(X))
    labels = np.arange(len(X)) % K
    options = {"covariance_type": name, "reg_covar": 0.0, "tol": 0.0, "max_iter": 8}
    with problems.no_convergence_warning():
        weighted = fastgmm.fit(X, K, init_params=labels, sample_weight=counts.astype(float), **options).mixture
        repeated = fastgmm.fit(
            np.repeat(X, counts, axis=0), K, init_params=np.repeat(labels, counts), **options
        ).mixture
    np.testing.assert_allclose(weighted.means, repeated.means, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(weighted.covariances, repeated.covariances, rtol=1e-7, atol=1e-8)


@by_coupled
def test_single_precision_keeps_to_the_structure(name, X):
    result = fastgmm.fit(X.astype(np.float32), K, covariance_type=name, random_state=0)
    assert result.mixture.dtype == np.float32
    assert_of_structure(name, result.mixture.parameters, 1e-4)
    double = fastgmm.fit(X, K, covariance_type=name, random_state=0)
    assert abs(result.lower_bound - double.lower_bound) <= 1e-3


@by_coupled
def test_fit_continues_bit_for_bit(name, X):
    options = {"covariance_type": name, "random_state": 0, "tol": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastgmm.ConvergenceWarning)
        whole = GaussianMixture(K, max_iter=7, **options).fit(X)
        parts = GaussianMixture(K, max_iter=3, warm_start=True, **options).fit(X)
        parts.set_params(max_iter=4).fit(X)
    problems.assert_same_fit(whole, parts)


@by_coupled
def test_regularisation_does_not_lead_out_of_the_structure(name, X):
    result = run(X, K, covariance_type=name, reg_covar=0.3, random_state=0)
    assert_of_structure(name, result.mixture.parameters)


@by_coupled
def test_held_covariances_are_held_together(name, X):
    mixture, _ = random_mixture(name, 5)
    given = {"means_init": mixture.means, "precisions_init": mixture.precisions, "weights_init": mixture.weights}
    result = run(X, K, covariance_type=name, fixed={"covariances": True}, tol=0.0, max_iter=20, **given)
    np.testing.assert_allclose(result.mixture.covariances, mixture.covariances, rtol=1e-9, atol=1e-12)
    assert np.diff(result.lower_bounds).min() >= -1e-12
    message = rf"must be True or False for covariance_type='{name}', where all components have theirs in common in part"
    with pytest.raises(fastgmm.InvalidParameterError, match=message):
        run(X, K, covariance_type=name, fixed={"covariances": [True, False, False]}, **given)
    held = run(X, K, covariance_type=name, fixed={"means": [True, False, False]}, tol=0.0, max_iter=20, **given)
    np.testing.assert_array_equal(held.mixture.means[0], mixture.means[0])
    assert_of_structure(name, held.mixture.parameters)


@by_coupled
@pytest.mark.parametrize("on_collapse", ["floor", "reseed", "drop"])
@pytest.mark.parametrize("spike", [1, 2])
def test_collapse_is_taken_care_of(name, on_collapse, spike):
    """Ten equal rows draw a component to them, where volumes or shapes may go to zero."""
    rows = problems.rows(22, 150, D, 1)
    rows = np.concatenate([rows, np.full((10 * spike, D), 6.0)])
    with problems.no_convergence_warning():
        result = run(rows, 4, covariance_type=name, on_collapse=on_collapse, random_state=0, max_iter=200)
    family, params = covariance.get(name), result.mixture.parameters
    assert_of_structure(name, params, 1e-6)
    floor = floor_of(ArraySource(rows), family, 1e-6)
    assert family.holds(params.covariances * (1 + 1e-9), floor)
    assert result.mixture.n_components == 4 or on_collapse == "drop"


@by_coupled
@pytest.mark.parametrize("with_previous", [True, False])
def test_component_without_rows_disturbs_nobody(name, with_previous):
    X = problems.rows(11, 200, D, 2)
    labels = np.where(np.arange(200) % 2, 2, 0)
    family, shift = covariance.get(name), X.mean(axis=0)
    stats = accumulate_given(X, family.kind, np.tile(shift, (3, 1)), labels=labels, shift=shift)
    previous = random_mixture(name, 6)[0].parameters if with_previous else None
    got = family.maximise(stats, previous=previous)
    free = reference.maximise("full", X, np.eye(2)[labels // 2])
    dense = family.dense_covariances(got.covariances, 3, D)
    want = twin.m_step(name, free.covariances, free.weights * 200, np.linalg.eigh(dense[0])[1])
    np.testing.assert_allclose(dense[[0, 2]], want, rtol=1e-7, atol=1e-8)
    assert 0 <= got.weights[1] <= 1e-12
    assert_of_structure(name, got)


@by_coupled
def test_component_without_spread_is_an_error_or_shares_that_of_others(name):
    X = problems.rows(12, 40, D, 2)
    labels = (np.arange(40) == 5).astype(np.int64)
    family, shift = covariance.get(name), X.mean(axis=0)
    stats = accumulate_given(X, family.kind, np.tile(shift, (2, 1)), labels=labels, shift=shift)
    if name[:2] == "EI" or name[:2] == "EE":
        assert_of_structure(name, family.maximise(stats))
    else:
        with pytest.raises(fastgmm.IllDefinedCovarianceError) as raised:
            family.maximise(stats)
        assert raised.value.component in (1, None)
    assert_of_structure(name, family.maximise(stats, reg_covar=1e-3), 1e-6)


def test_one_feature_has_two_structures():
    X = problems.rows(13, 200, 1, 2)
    options = {"random_state": 0, "tol": 1e-10, "max_iter": 500, "reg_covar": 0.0}
    bounds = {name: fastgmm.fit(X, 2, covariance_type=name, **options).lower_bound for name in covariance.known()}
    for name, bound in bounds.items():  # of the letters only the volume's is left
        general = {"full": "V", "diag": "V", "spherical": "V", "tied": "E"}.get(name, name[0])
        assert abs(bound - bounds[general]) <= 1e-9, name


# ----------------------------------------------------------------------------------------------- command line


def test_command_line_takes_structures(cli, tmp_path):
    path = tmp_path / "model.npz"
    said = cli("fit", problems.FAITHFUL, "--covariance", "VEV,EEI", "--components", 2, "--model", path)
    assert "VEV" in said
    assert fastgmm.load(path).covariance_type in ("VEV", "EEI")
    said = cli("fit", problems.FAITHFUL, "--covariance", "all", "--components", 2)
    assert all(name in said for name in covariance.names())


# ----------------------------------------------------------------------------------------------- documentation


@pytest.mark.checkout
def test_documentation_has_every_structure_and_its_count(capsys):
    text = (Path(__file__).parents[1] / "docs" / "structures.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines() if "| `" in line
    ]
    assert [row[0].strip("`") for row in rows] == list(covariance.names())
    for name, also, _, count, like, _ in rows:
        family = covariance.get(name.strip("`"))
        assert family.container == like
        assert (also or family.name) == family.name
        for K, D in ((1, 1), (3, 4), (5, 2)):
            assert eval(count, {"K": K, "D": D}) == family.n_parameters(K, D)
    for block in re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        exec(block, {})
    assert capsys.readouterr().out == "9 (2, 2, 2)\n"


def few_rows(seed, units):
    """Rows (N, D), fewer of a component than features or hardly more, in units up to 10**units apart; and K."""
    rng = np.random.default_rng(seed)
    D, K = int(rng.integers(2, 7)), int(rng.integers(2, 6))
    X = rng.standard_normal((int(rng.integers(K + 2, 8 * K)), D))
    X *= 10.0 ** rng.uniform(-units / 2, units / 2, D)
    if rng.random() < 0.3:
        X[:, -1] = X[:, 0]
    return X, K


@pytest.mark.parametrize("name", ["EVV", "EVE", "VVE", "EEV", "VEV"])
@pytest.mark.parametrize("units", [0, 6])
def test_components_of_few_rows_end_well_above_a_floor(name, units):
    """Of equal volumes such a component would be stretched without end; of other units the least floor be lost."""
    for seed in range(12):
        X, K = few_rows(seed, units)
        options = {"covariance_type": name, "on_collapse": "floor", "reg_covar": 0.0, "random_state": seed}
        with problems.no_convergence_warning():
            result = fastgmm.fit(X, K, tol=0.0, max_iter=40, init_params="random_from_data", **options)
        bounds = np.array(result.lower_bounds)
        allowed = (
            1e-5 if units == 0 else 1e-3
        )  # rounding, of matrices as ill-conditioned as floor and ceiling let them be
        assert (np.diff(bounds) >= -allowed * np.maximum(np.abs(bounds[1:]), 1)).all()


def test_rows_next_to_the_smallest_numbers_have_equal_volumes():
    X = 1e-150 * np.array([[0.0, 1.0], [2.0, 1.5], [9.0, 9.0], [9.0, 9.0]])
    result = fastgmm.fit(X, 2, covariance_type="EVI", on_collapse="floor", reg_covar=0.0, init_params=[0, 0, 1, 1])
    assert np.isfinite(result.mixture.precisions_cholesky).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_component_without_width_along_a_feature_has_the_volume_of_all(seed):
    """The floor follows the correlations of the rows: its axes mix a feature that is next to nothing with wide ones."""
    rng = np.random.default_rng(seed)
    total = np.cov(rng.standard_normal((200, 3)) @ rng.standard_normal((3, 3)), rowvar=False)
    floor = Floor.of(1e-9, total, np.zeros(3), np.float64)
    flat = 1e-2 * total
    flat[2] = flat[:, 2] = 0.0
    found = covariance.get("EVV").nearest(np.stack([flat, 1e-2 * total]), np.array([1.0, 3.0]), floor=floor)
    deviations = np.sqrt(np.diagonal(found, axis1=1, axis2=2))
    correlations = found / deviations[:, None] / deviations[:, :, None]
    log_volumes = np.linalg.slogdet(correlations)[1] + 2 * np.log(deviations).sum(axis=1)
    assert abs(log_volumes[0] - log_volumes[1]) <= 1e-10
