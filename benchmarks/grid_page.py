"""The pages docs/performance*.md, made from what is stored and never by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from benchmarks.cells import BASELINE, FAMILIES, N_COMPONENTS, N_FEATURES, PEER_CELLS, SCIKIT_LEARN_SECONDS
from benchmarks.grid_results import Grid, geometric_mean
from benchmarks.libraries import SUBJECT
from benchmarks.peers import NOT_MEASURED
from benchmarks.problems import PROBLEMS
from benchmarks.report import quantity, significant
from benchmarks.targets import TARGETS, Target

ABSENT = "–"

INTRODUCTION = """# How fast the pass is

Made by `python -m benchmarks.grid` from `benchmarks/results/grid_{level}.json`, where every single time is; not
to be edited. It shows a processor whose best level is {level}; [performance.md](performance.md) one with AVX-512,
[performance_avx2.md](performance_avx2.md) one without.

A cell is one EM iteration, E-step, sums and M-step, on rows and from a start made for the cell, with `reg_covar=0`.
Log-likelihoods are compared before and after it, and a cell whose libraries or levels differ is not shown. The number
of rows is such that scikit-learn takes about {seconds} s where that leaves enough rows for two threads, so that large
D and K take longer. Rates count the multiply-adds that the mathematics needs: for each row and component D (D + 1) for
full, 4 D for diag, 2 D + 3 for spherical, 2 D for tied and D (D + 1) / 2 more per row; no padding, no exponential.

{machine}
"""

REASONS = """
What keeps figures below their targets, as far as it is known:

- **Two threads.** Cores that share memory, a cache or a clock do less together than twice what one does alone. The last
  table of this page says what two fits side by side reach, which share nothing: threads have no more to share.
- **D ≥ 128 and many components.** scikit-learn spends its time in matrix products there. For full covariances it
  makes 2 D² multiply-adds where D (D + 1) are enough, so that at equal rates it takes twice as long, and what it does
  beside the products adds less the larger D is. For diagonal and spherical covariances its products need as few as any.
- **The baseline level.** SSE2 has half of AVX2's lanes and no fused multiply-add: a quarter of the rate of the
  products that scikit-learn makes on the same machine.
- **K = 1 and few features.** What is done once a row, reading it from memory and packing it above all, takes as long as
  the few dozen multiply-adds of a single component.
"""


def _ratio(value: float | None) -> str:
    return ABSENT if value is None else significant(value)


def _seconds(value: float | None) -> str:
    return ABSENT if value is None else quantity(value, "s")


def _percent(value: float | None) -> str:
    return ABSENT if value is None else f"{100 * value:.0f} %"


def _table(heads: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    rows = [heads, ["---:"] * len(heads), *map(list, lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _by_shape(value: Callable[[int, int], float | None], show: Callable[[float | None], str], *, mean: bool) -> str:
    """Return a table with a line per D and a column per K, and with `mean` the geometric mean over K."""

    def line(D: int) -> list[str]:
        values = [value(D, K) for K in N_COMPONENTS]
        return [str(D), *map(show, values), *([f"**{show(geometric_mean(values))}**"] if mean else [])]

    heads = ["D", *(f"K = {K}" for K in N_COMPONENTS), *(["geometric mean"] if mean else [])]
    return _table(heads, map(line, N_FEATURES))


def _by_family(columns: dict[str, Callable[[str, int], Iterable[float | None]]]) -> str:
    """Return a table with a line per D and for every family the columns given, geometric means over K."""
    heads = ["D", *(f"{family} {name}".strip() for family in FAMILIES for name in columns)]
    lines = (
        [str(D), *(_ratio(geometric_mean(values(family, D))) for family in FAMILIES for values in columns.values())]
        for D in N_FEATURES
    )
    return _table(heads, lines)


def _target(target: Target, grid: Grid) -> list[str]:
    """Return the line of one target: what was reached in the worst place, and in how many places it was met."""
    show = _percent if target.percent else lambda value: f"{_ratio(value)}×"
    sign = "≤" if target.at_most else "≥"
    wanted = list(target.figures(grid))
    found = [(where, value) for where, value in wanted if value is not None]
    if not found:
        return [target.what, f"{sign} {show(target.need)}", ABSENT, ABSENT, "not measured"]
    where, worst = (max if target.at_most else min)(found, key=lambda pair: pair[1])
    met = sum(target.met(value) for _, value in found)
    verdict = "yes" if met == len(wanted) else target.but_for(grid) or f"in {met} of {len(found)} measured"
    mean = geometric_mean(value for _, value in found)
    return [target.what, f"{sign} {show(target.need)}", f"{show(worst)} ({where})", show(mean), verdict]


def _machine(grid: Grid) -> str:
    about = grid.machine
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    rates = ", ".join(
        f"{name} {significant(grid.gemm(dtype, n) / 1e9, 3)} on {n} thread{'s' * (n > 1)}"
        for dtype, name in (("float64", "DGEMM"), ("float32", "SGEMM"))
        for n in (1, 2)
    )
    blas = next((pool for pool in about["thread_pools"] if pool["user_api"] == "blas"), {})
    return (
        f"Measured on {about['cpu']} ({about['cores']} cores, {', '.join(about['caches'].values())} of cache), "
        f"{about['compiler']}, levels {', '.join(about['simd']['available'])}; {versions}. Matrix products of NumPy "
        f"({blas.get('internal_api')} {blas.get('version')}, {blas.get('architecture')}) in the same run, in 10⁹ "
        f"multiply-adds a second: {rates}."
    )


def page(grid: Grid) -> str:
    """Return the whole page in Markdown."""
    best = grid.best
    over, one = grid.over, (best, "float64", 1)

    def over_k(value: Callable[[str, int, int], float | None]) -> Callable[[str, int], Iterable[float | None]]:
        return lambda family, D: (value(family, D, K) for K in N_COMPONENTS)

    sections = [
        INTRODUCTION.format(level=best, seconds=SCIKIT_LEARN_SECONDS, machine=_machine(grid)),
        "## Targets and what was reached\n",
        "“Worst” is the figure farthest from the target; the mean is geometric, over all figures of the line.\n",
        _table(["target", "needed", "worst", "mean", "reached"], (_target(target, grid) for target in TARGETS)),
        REASONS,
        f"## Share of the DGEMM rate: full, float64, one thread, {best}\n",
        _by_shape(lambda D, K: grid.share("full", D, K), _percent, mean=False),
        f"\n## Share of the SGEMM rate: full, float32, one thread, {best}\n",
        _by_shape(lambda D, K: grid.share("full", D, K, "float32"), _percent, mean=False),
        f"\n## Rate of the other families: share of DGEMM, float64, one thread, {best}\n",
        "Few multiply-adds for each exponential and each number that is read: the matrix product is no ceiling here.\n",
        _by_family_share(grid),
    ]
    for family in FAMILIES:
        sections += [
            f"\n## scikit-learn ÷ fastgmm: {family}, float64, two threads, {best}\n",
            _by_shape(lambda D, K, family=family: grid.speedup(family, D, K), _ratio, mean=True),
        ]
    sections += _peers(grid)
    lower = {name: (name, "float64", 1) for name in ("avx2", BASELINE) if name != best}
    sections += [
        "\n## float64 ÷ float32: one thread, geometric mean over K\n",
        _by_family({"": lambda family, D: over(family, D, one, (best, "float32", 1))}),
        f"\n## Lower levels ÷ {best}: float64, one thread, geometric mean over K\n",
        _by_family({name: lambda family, D, way=way: over(family, D, way, one) for name, way in lower.items()}),
        "\n## One thread ÷ two: float64, geometric mean over K\n",
        "“Apart”: how many times as much two fits of one thread each, which share nothing, do side by side as one does "
        "alone. Where that is below two, cores share a cache, memory or a falling clock, and no threads can do more.\n",
        _by_family({"": over_k(grid.scaling), "apart": over_k(grid.ceiling)}),
    ]
    return "\n".join(sections) + "\n"


def _peers(grid: Grid) -> list[str]:
    """Return the section of the other libraries."""
    outcomes = {cell: grid.outcomes[cell.id] for cell in PEER_CELLS if cell.id in grid.outcomes}
    names = list(dict.fromkeys(name for each in outcomes.values() for name in each.seconds if name != SUBJECT))
    versions = {name: version for each in outcomes.values() for name, version in each.versions.items()}
    lines = [
        [
            f"{PROBLEMS[cell.problem].source}, {outcome.n_rows:,} × {cell.D}, "
            f"K = {PROBLEMS[cell.problem].n_components}, {cell.family}",
            _seconds(grid.seconds(cell, SUBJECT)),
            *(_ratio(grid.quotient(cell, name, SUBJECT)) for name in names),
        ]
        for cell, outcome in outcomes.items()
    ]
    reasons = dict.fromkeys(
        f"- {name}, {cell.problem} {cell.family}: {why}"
        for cell, outcome in outcomes.items()
        for name, why in outcome.left_out.items()
    )
    return [
        "\n## Other libraries ÷ fastgmm: one iteration, float64, two threads\n",
        "Equal work from an equal start: log-likelihoods after two numbers of iterations are equal to 1e-6, or the "
        "library is left out. Those that know no threads run on one.\n",
        _table(["problem", SUBJECT, *names], lines),
        "\nVersions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".\n",
        "Not measured:\n",
        *(f"- {name}: {why}" for name, why in NOT_MEASURED.items()),
        *reasons,
    ]


def _by_family_share(grid: Grid) -> str:
    others = [family for family in FAMILIES if family != "full"]
    lines = (
        [str(D), *(_percent(geometric_mean(grid.share(family, D, K) for K in N_COMPONENTS)) for family in others)]
        for D in N_FEATURES
    )
    return _table(["D", *others], lines)
