"""The tables of docs/missing.md, made from what is stored and never by hand."""

from __future__ import annotations

from typing import Any

from benchmarks.report import quantity, significant

PAGE = """\
Errors of parameters against the truth: 5,000 rows of 5 features from mixtures of three components that overlap a
little, values missing completely at random; the largest over the components, mean of ten mixtures. Those of means are
in standard deviations, those of covariances relative. On the right what a fit finds to those rows alone that have no
gaps.

{recovery}

Iris and wine, in standard deviations of the features, with values missing completely at random, beside published
packages that maximise the same likelihood: lavaan (one Gaussian, full) and StepMix (families without correlations). ℓ
is the log-likelihood of all rows; the last column says by how many standard deviations EM here moves a mean from the
package's estimate. No package that fits mixtures with correlations was to be had where this was run: mix, norm,
missMDA, MGMM and MixtureMissing are on CRAN alone, mclust's imputation is that of mix, and askcarl only scores. There
the plain twin of the tests stands in.

{packages}

Root mean square of the errors of imputed values, in standard deviations of the features, over twenty sets of holes; the
first three are scikit-learn's `SimpleImputer`, `KNNImputer` and `IterativeImputer`.

{imputation}

A pass over 100,000 rows of 10 features with {share} of the values missing in {n_patterns} patterns, and over the same
rows without gaps, in turn, on {cpu}: the least of {rounds} times.

{cost}"""


def _table(heads: list[str], lines: list[list[str]]) -> str:
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)], *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _recovery(results: list[dict[str, Any]]) -> str:
    lines = [
        [
            each["family"],
            f"{100 * each['share']:.0f} %",
            *(f"{error:.4f}" for error in each["errors"]),
            f"{100 * each['rows_left']:.0f} %",
            *(f"{error:.4f}" for error in each["errors_of_complete_rows"]),
        ]
        for each in results
    ]
    return _table(
        [
            "family",
            "missing",
            "weights",
            "means",
            "covariances",
            "rows without gaps",
            "weights",
            "means",
            "covariances",
        ],
        lines,
    )


def _packages(results: list[dict[str, Any]]) -> str:
    lines = [
        [
            f"{each['name']}, {each['family']}, K = {each['n_components']}",
            f"{100 * each['share']:.0f} %",
            each["package"],
            f"{each['log_likelihood']:.8f}" if "log_likelihood" in each else "–",
            f"{each['ours_at_theirs']:.8f}",
            f"{each['ours'] - each['ours_at_theirs']:.0e}",
            f"{each['moved']:.0e}",
        ]
        for each in results
    ]
    heads = ["rows", "missing", "package", "its ℓ", "ℓ here at its estimate", "what EM here adds from there"]
    return _table([*heads, "means moved"], lines)


def _imputation(results: list[dict[str, Any]]) -> str:
    ways = list(results[0]["errors"])
    return _table(
        ["filled by", *(each["name"] for each in results)],
        [[way, *(f"{each['errors'][way]:.3f}" for each in results)] for way in ways],
    )


def _cost(results: list[dict[str, Any]]) -> str:
    lines = []
    for each in results:
        least = each["seconds"]
        what = [each["family"], str(each["n_components"]), str(each["n_threads"])]
        times = [quantity(least[name], "s") for name in ("without", "with")]
        lines.append([*what, *times, f"{significant(least['with'] / least['without'])}×"])
    return _table(["family", "K", "threads", "without gaps", "with gaps", "factor"], lines)


def tables(stored: dict[str, Any]) -> str:
    """Return the part of the page that is made from results, in Markdown."""
    cost = stored["cost"][0]
    return PAGE.format(
        recovery=_recovery(stored["recovery"]),
        packages=_packages(stored["packages"]),
        imputation=_imputation(stored["imputation"]),
        share=f"{100 * cost['share']:.0f} %",
        n_patterns=cost["n_patterns"],
        cpu=stored["machine"]["cpu"],
        rounds=cost["rounds"],
        cost=_cost(stored["cost"]),
    )
