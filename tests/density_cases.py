"""Two hundred log-density cases and their values to full precision (promise 1).

The inputs are rebuilt from raw generator bits with correctly rounded operations only (+, -, *, /, ldexp), so that they
are the same numbers on every machine and with every NumPy; the values are saved in ``data/log_density.json``.
``python tests/density_cases.py`` computes them again, with 60 digits.
"""

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import reference

VALUES = Path(__file__).parent / "data" / "log_density.json"
N_CASES = 200
N_ROWS = 3
DIMENSIONS = (1, 2, 3, 4, 5, 7, 8, 12, 16, 24, 32)
OFFSETS = (0.0, 1.0, 1e3, 1e6, 1e9)
SQRT_CONDITION_BITS = (0, 3, 7, 10, 13, 20)  # condition 1 to 2**40 = 1e12 of the covariances


class Case(NamedTuple):
    """One mixture and the rows at which it is evaluated."""

    family: str
    weights: np.ndarray  # (K,)
    means: np.ndarray  # (K, D)
    factors: np.ndarray  # (K, D, D) lower triangular
    X: np.ndarray  # (N_ROWS, D)


def uniforms(seed):
    """Endless doubles in (-1, 1) from the raw bits of PCG64."""
    bits = np.random.PCG64(seed)
    while True:
        yield ((int(bits.random_raw()) >> 11) + 0.5) * 2.0**-52 - 1.0


def case(index):
    """The case of this index: families, sizes, offsets and conditions taken in turn."""
    u = uniforms(index)
    family = reference.FAMILIES[index % 4]
    D = DIMENSIONS[index % len(DIMENSIONS)]
    K = 1 + index % 3
    offset = OFFSETS[index % 5]
    top = SQRT_CONDITION_BITS[(index // 4) % 6]
    shared = factor(family, D, top, u)
    factors = [shared if family == "tied" or k == 0 else factor(family, D, top, u) for k in range(K)]
    middle = [offset * (1.0 if next(u) > 0 else -1.0) for _ in range(D)]
    means = [displaced(middle, factors[k], 3.0, u) for k in range(K)]
    rows = [displaced(means[i % K], factors[i % K], 2.0, u) for i in range(N_ROWS)]
    weights = np.array([1.5 + next(u) for _ in range(K)])
    weights /= math.fsum(weights)
    return Case(family, weights, np.array(means), np.array(factors), np.array(rows))


def factor(family, D, top, u):
    """Lower-triangular factor whose row scales run over ``top`` powers of two; diagonal or isotropic where asked."""
    scales = [math.ldexp(0.75 + 0.25 * next(u), round(top * i / max(D - 1, 1))) for i in range(D)]
    if family == "spherical":
        scales = D * [math.ldexp(scales[0], top)]
    W = np.zeros((D, D))
    for i, scale in enumerate(scales):
        W[i, i] = scale
        if family in ("full", "tied"):
            for j in range(i):
                W[i, j] = 0.5 * scale * next(u)
    return W


def displaced(origin, W, size, u):
    """The origin plus z with W z = size * uniforms: a point at a known number of standard deviations."""
    z = []
    for i in range(len(origin)):
        value = size * next(u)
        for j in range(i):
            value -= float(W[i, j]) * z[j]
        z.append(value / float(W[i, i]))
    return [a + b for a, b in zip(origin, z, strict=True)]


def exact(index):
    """Log-densities of the rows of a case, rounded once to float64."""
    c = case(index)
    return [float(reference.log_density_mp(c.weights, c.means, c.factors, x)) for x in c.X]


def saved():
    """The saved values, one list of N_ROWS floats a case."""
    return json.loads(VALUES.read_text())


def main():
    """Write the values, one case a line."""
    lines = ",\n".join(json.dumps(exact(index)) for index in range(N_CASES))
    VALUES.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
