"""Documents as text for people, in eighty columns."""

from __future__ import annotations

import collections
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from fastgmm.selection.criteria import CRITERIA

from . import numbers
from .terminal import WIDTH, Style

__all__ = ["fit", "info", "score"]

_MAX_COLUMNS = 12  # features whose means are shown
_MAX_REASONS = 6  # different reasons of failed candidates that are shown
_MAX_OPTIMA = 2  # so that they fit into the line
_BAR = 12
_LABEL = 17  # width of what stands before the colons, so to speak, in the lower part


def fit(document: dict[str, Any], style: Style) -> str:
    """The report of `fit`.

    Parameters
    ----------
    document : dict
        From `fastgmm.cli.document.fit`.
    style : Style

    Returns
    -------
    text : str
        Lines, the last one without an end.
    """
    chosen = document["chosen"]
    lines = [*_title("Gaussian mixture of", document["data"], style), ""]
    if len(document["candidates"]) > 1:
        lines += [*_candidates(document, style), ""]
    lines += [*_components(document["model"], style), "", style.strong("Fit")]
    per_row = chosen["log_likelihood_per_row"]
    fitted = {**chosen, "n_components": document["model"]["n_components"]}  # fewer, where components were dropped
    facts = {
        "model": f"{_model(fitted)}, {_count(chosen['n_parameters'], 'free parameter')}",
        "log-likelihood": f"{chosen['log_likelihood']:.2f} ({per_row:.4f} per row)",
        "criteria": f"BIC {chosen['bic']:.2f}, AIC {chosen['aic']:.2f} (lower is better)",
        "iterations": _convergence(chosen, document["options"], style),
    }
    if sum(each["n_starts"] for each in chosen["optima"]) + chosen["failed_starts"] > 1:
        facts["optima"] = _optima(chosen)
    if chosen["collapses"]:
        facts["collapses"] = _collapses(chosen["collapses"])
    lines += _facts({**facts, "time": _times(document)})
    if document["files"]:
        lines += ["", style.strong("Written"), *_facts(document["files"])]
    else:
        lines += [
            "",
            style.faint("  keep it: --model m.npz   draw it: --plot p.png   label rows: --labels l.csv"),
        ]
    return "\n".join(lines)


def info(document: dict[str, Any], path: str, style: Style) -> str:
    """The report of `info`: a model from `fastgmm.cli.document.model`, and the file it is from."""
    lines = [style.strong(f"Gaussian mixture in {style.name(path, WIDTH - 20)}"), ""]
    lines += _facts(
        {
            "family": f"{document['covariance_type']} covariance, {document['dtype']}",
            "size": f"{_count(document['n_components'], 'component')}, {_count(document['n_features'], 'column')}, "
            f"{document['n_parameters']} free parameters",
            "columns": _listing("", document["columns"], style, WIDTH - _LABEL - 2)
            if document["columns"]
            else "without names",
        }
    )
    return "\n".join([*lines, "", *_components(document, style)])


def score(document: dict[str, Any], style: Style) -> str:
    """The report of `score`, from `fastgmm.cli.document.score`."""
    facts = {
        "log-likelihood": f"{document['log_likelihood']:.4f}",
        "per row": f"{document['log_likelihood_per_row']:.6f}",
        "criteria": f"BIC {document['bic']:.2f}, AIC {document['aic']:.2f} (lower is better)",
    }
    return "\n".join([*_title("Log-likelihood of", document["data"], style), "", *_facts(facts)])


def _title(what: str, data: dict[str, Any], style: Style) -> Iterator[str]:
    """What, of which file, how many rows and which columns."""
    size = f"{_count(data['rows'], 'row')} {style.sign('times')} {_count(len(data['columns']), 'column')}"
    path = style.name("standard input" if data["file"] == "-" else data["file"], WIDTH - len(what) - len(size) - 3)
    yield style.strong(f"{what} {path}: {size}")
    yield style.faint(_listing("columns: ", data["columns"], style))
    if data["weighted"]:
        yield style.faint(f"weighted rows, total weight {data['total_weight']:.10g}")
    if data["labelled"]:
        share = data["known_rows"] / data["rows"]
        yield style.faint(f"known labels: {_count(data['known_rows'], 'row')} ({share:.1%})")
    if data["missing_values"]:
        share = data["missing_values"] / (data["rows"] * len(data["columns"]))
        nothing = f", all those of {_count(data['unobserved_rows'], 'row')}" if data["unobserved_rows"] else ""
        yield style.faint(f"gaps: {_count(data['missing_values'], 'value')} missing ({share:.1%}){nothing}")


def _listing(head: str, names: list[str], style: Style, width: int = WIDTH) -> str:
    """As many of the names as fit into `width` after `head`, and how many there are more."""
    text = head + style.name(names[0], 40)
    for n_shown, name in enumerate(names[1:], start=1):
        longer = f"{text}, {style.name(name, 40)}"
        if len(longer) + (n_shown + 1 < len(names)) * 14 > width:
            return f"{text} and {len(names) - n_shown} more"
        text = longer
    return text


def _candidates(document: dict[str, Any], style: Style) -> Iterator[str]:
    """The table of candidates: families as columns, numbers of components as rows."""
    criterion = document["criterion"]
    cells = {(each["covariance_type"], each["n_components"]): each for each in document["candidates"]}
    families = list(dict.fromkeys(family for family, _ in cells))
    chosen = document["chosen"]["covariance_type"], document["chosen"]["n_components"]
    fitted = [key for key, each in cells.items() if each["error"] is None]
    texts = dict(zip(fitted, numbers.values([cells[key][criterion] for key in fitted]), strict=True))
    width = max(9, *(len(text) for text in texts.values()), *(len(family) for family in families))
    yield style.strong(
        f"{CRITERIA[criterion].title} of K components in each covariance family ({CRITERIA[criterion].direction})"
    )
    per_block = max(1, (WIDTH - 4) // (width + 4))
    for start in range(0, len(families), per_block):
        block = families[start : start + per_block]
        yield style.faint("   K" + "".join(f"  {family:>{width}}  " for family in block).rstrip())
        for K in dict.fromkeys(K for _, K in cells):
            row = [
                _cell(cells[family, K], texts.get((family, K)), width, (family, K) == chosen, style) for family in block
            ]
            yield f"{K:>4}{''.join(row)}".rstrip()
    yield from _notes(document, style)


def _cell(each: dict[str, Any], text: str | None, width: int, chosen: bool, style: Style) -> str:
    """One candidate: its criterion, or that it failed, and a mark."""
    if text is None:
        return "  " + style.bad(f"{'failed':>{width}}") + "  "
    text = f"{text:>{width}}"
    if chosen:
        return "  " + style.good(f"{text} {style.sign('chosen')}")
    return f"  {text}{style.sign('abandoned') if each['abandoned'] else ' ' if each['converged'] else '~'} "


def _notes(document: dict[str, Any], style: Style) -> Iterator[str]:
    """What the marks mean, which candidate was chosen, and why others failed."""
    chosen, criterion = document["chosen"], document["criterion"]
    candidates = document["candidates"]
    others = [each for i, each in enumerate(candidates) if each["error"] is None and i != chosen["index"]]
    yield "   " + style.good(f"{style.sign('chosen')} chosen: {_model(chosen)}")
    if others:
        second = min(others, key=lambda each: CRITERIA[criterion].loss(each[criterion]))
        yield f"     next best: {_model(second)} ({second[criterion] - chosen[criterion]:+.1f})"
    tried = {each["n_components"] for each in candidates}
    fitted = {each["n_components"] for each in candidates if each["error"] is None}
    if chosen["n_components"] == max(tried) and len(fitted) > 1:
        yield "     this is the largest number tried: more may be better, see --components"
    abandoned = sum(each["abandoned"] is not None for each in candidates)
    if abandoned:
        yield f"   {style.sign('abandoned')} abandoned: could not become the best ({abandoned} of {len(candidates)})"
    loose = [each for each in candidates if each["converged"] is False and each["abandoned"] is None]
    if loose:
        limit = f" after {_count(document['options']['max_iter'], 'iteration')}"
        see = "--max-iter"
        if any(each["stopped_by"] == "max_time" for each in loose):
            limit, see = "", "--max-iter and --max-time"
        yield f"   ~ not converged{limit} ({len(loose)} of {len(candidates)}; see {see})"
    yield from _failures(candidates, style)


def _failures(candidates: list[dict[str, Any]], style: Style) -> Iterator[str]:
    """Which candidates failed and why, those together whose reasons differ in their numbers only."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for each in candidates:
        if each["error"] is not None:
            groups.setdefault(re.sub(r"\d+", "", each["error"]), []).append(each)
    for failed in list(groups.values())[:_MAX_REASONS]:
        sizes: dict[str, list[int]] = {}
        for each in failed:
            sizes.setdefault(each["covariance_type"], []).append(each["n_components"])
        which = ", ".join(f"{family} {numbers.ranges(tried)}" for family, tried in sizes.items())
        yield from _wrapped(style.name(f"failed: {which}: {failed[0]['error']}"), "   ")


def _components(model: dict[str, Any], style: Style) -> Iterator[str]:
    """The table of components: weights, then means and spreads, as many columns at a time as fit."""
    components = model["components"]
    D = model["n_features"]
    names = model["columns"] or [f"x{j}" for j in range(1, D + 1)]
    yield style.strong("Components") + f": weight, then mean {style.sign('plus_minus')} standard deviation"
    left = [f"{k:>4}  {c['weight']:>6.1%}  {style.bar(c['weight'], _BAR)}" for k, c in enumerate(components)]
    head = f"{'#':>4}  {'weight':>6}  {'':{_BAR}}"
    body = [""] * len(components)
    for j in range(min(D, _MAX_COLUMNS)):
        texts = numbers.measurements(
            [c["mean"][j] for c in components], [c["spread"][j] for c in components], style.sign("plus_minus")
        )
        width = max(len(texts[0]), min(len(names[j]), 20))
        if len(head) + width + 3 > WIDTH and body[0]:
            yield from _block(head, left, body, style)
            head, left, body = f"{'#':>4}", [f"{k:>4}" for k in range(len(components))], [""] * len(components)
        head += f"   {style.name(names[j], width):>{width}}"
        body = [f"{row}   {text:>{width}}" for row, text in zip(body, texts, strict=True)]
    yield from _block(head, left, body, style)
    if model["noise"] is not None:
        weight = model["noise"]["weight"]
        yield f"{'-1':>4}  {weight:>6.1%}  {style.bar(weight, _BAR)}   noise; weights above are of the other rows"
    if D > _MAX_COLUMNS:
        yield style.faint(f"      and {D - _MAX_COLUMNS} more columns, which --json shows")


def _block(head: str, left: list[str], body: list[str], style: Style) -> Iterator[str]:
    yield style.faint(head)
    for label, row in zip(left, body, strict=True):
        yield label + row


def _model(each: dict[str, Any]) -> str:
    return f"{each['covariance_type']} covariance, {_count(each['n_components'], 'component')}"


def _convergence(chosen: dict[str, Any], options: dict[str, Any], style: Style) -> str:
    reason = {
        "tol": f"converged (gain per row below {options['tol']:g})",
        "aitken": f"converged (estimate of what is still to gain per row below {options['tol']:g})",
        "max_iter": "not converged: raise --max-iter or --tol",
        "max_time": "not converged: raise --max-time or --tol",
    }[chosen["stopped_by"]]
    text = f"{chosen['iterations']}, {reason}"
    return text if chosen["converged"] else style.bad(text)


def _optima(chosen: dict[str, Any]) -> str:
    """How many optima the starts came to, and how often they came to each of the best."""
    found = chosen["optima"]
    shown = [f"{each['lower_bound']:.4f} ({_count(each['n_starts'], 'start')})" for each in found[:_MAX_OPTIMA]]
    more = f" and {len(found) - len(shown)} lower" if len(found) > len(shown) else ""
    failed = f"; {_count(chosen['failed_starts'], 'start')} failed" if chosen["failed_starts"] else ""
    return f"{len(found)}: {', '.join(shown)}{more}{failed}"


def _collapses(events: list[dict[str, Any]]) -> str:
    """How many components collapsed, by what was done with them in the end."""
    counts = collections.Counter({each["component"]: each["action"] for each in events}.values())
    words = {"kept": "kept at the floor", "reseeded": "put anew", "dropped": "dropped"}
    return ", ".join(f"{counts[action]} {text}" for action, text in words.items() if counts[action])


def _times(document: dict[str, Any]) -> str:
    count = len(document["candidates"])
    total = numbers.duration(document["seconds"])
    if count == 1:
        return total
    return f"{total} for {count} candidates, {numbers.duration(document['chosen']['seconds'])} for the chosen one"


def _facts(facts: dict[str, str]) -> Iterator[str]:
    """Lines of a label and what it says."""
    for label, text in facts.items():
        yield f"  {label:<{_LABEL}}{text}"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _wrapped(text: str, indent: str) -> Iterator[str]:
    yield from textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")
