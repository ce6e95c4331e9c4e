"""A comparison as one self-contained HTML page: tables, plots like the paper's figures 7 and 8."""

import io
import re
from collections.abc import Iterator, Mapping
from html import escape
from itertools import pairwise
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from v2vpose.evaluation.comparison import Comparison, MethodResult
from v2vpose.evaluation.viewpoint import AngleBins

_COLOURS: Final = ("#0b62c4", "#d1495b", "#2f8f5b", "#b8860b", "#7b4bb3", "#4a5568", "#c05621")
_MAX_NAMED: Final = 2
_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;color:#1a202c;background:#fff;max-width:80rem;
margin:2.5rem auto;padding:0 1.25rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}
p{margin:.3rem 0;color:#4a5568}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid #e2e8f0;white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{color:#4a5568;font-weight:600;white-space:normal;vertical-align:bottom}
td.best{font-weight:700}svg{max-width:100%;height:auto;display:block}
"""


def page(comparison: Comparison) -> str:
    """Return the page; it loads nothing from anywhere."""
    names = [method.name for method in comparison.methods]
    who = ", ".join(names) if len(names) <= _MAX_NAMED else f"{len(names)} methods"
    title = f"{comparison.dataset.upper()}: {who}"
    sections = [
        ("Accuracy", _summary_table(comparison)),
        ("Frames whose worst keypoint is within a distance", _curves(comparison)),
        ("Mean distance of each keypoint", _bars(comparison) + _keypoint_table(comparison)),
    ]
    if all(method.precision for method in comparison.methods):
        sections.insert(1, ("Precision at 10 cm", _precision_table(comparison)))
    if all(method.yaw and method.pitch for method in comparison.methods):
        sections.append(("Mean distance by viewpoint", _angles(comparison)))
    if comparison.facts:
        sections.append(("About the run", _facts(comparison.facts)))
    body = "".join(f"<section><h2>{heading}</h2>{inner}</section>" for heading, inner in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1>"
        f"<p>{_frames(comparison)}, {len(comparison.keypoints)} keypoints.</p>"
        f"{body}</body></html>\n"
    )


def _frames(comparison: Comparison) -> str:
    if not comparison.unanswered:
        return f"{comparison.frames} frames"
    return (
        f"{comparison.frames} frames; on {comparison.unanswered} of them nothing was found: "
        "they count as failures in every share, and not in mean distances"
    )


def _summary_table(comparison: Comparison) -> str:
    thresholds = list(comparison.methods[0].distance.success_percent)
    head = ["method", "mean mm", "median mm", "bias x", "bias y", "bias z"]
    head += [f"≤ {mm} mm %" for mm in thresholds]
    rows = [
        [m.distance.mean_mm, m.distance.median_mm, *m.bias_mm]
        + [m.distance.success_percent[mm] for mm in thresholds]
        for m in comparison.methods
    ]
    low, high, neither = "min", "max", ""
    better = [low, low, neither, neither, neither, *[high] * len(thresholds)]
    digits = [3, 3, 2, 2, 2, *[2] * len(thresholds)]
    table = _table(head, [m.name for m in comparison.methods], rows, better, digits)
    sources = "".join(
        f"<li>{escape(m.name)}: {escape(m.centre_source)}</li>" for m in comparison.methods
    )
    return f"{table}<p>Reference points (centres):</p><ul>{sources}</ul>"


def _keypoint_table(comparison: Comparison) -> str:
    names = [m.name for m in comparison.methods]
    rows = np.array([m.distance.per_keypoint_mm for m in comparison.methods])  # (M, K)
    body = "".join(
        _row(keypoint, column.tolist(), [bool(v == column.min()) for v in column], [2] * len(names))
        for keypoint, column in zip(comparison.keypoints, rows.T, strict=True)
    )
    return _wrapped(["keypoint", *(f"{name}, mm" for name in names)], body)


def _precision_table(comparison: Comparison) -> str:
    precisions = [m.precision for m in comparison.methods if m.precision]
    parts = list(precisions[0].per_part_percent)
    rows = [[p.mean_percent, *(p.per_part_percent[part] for part in parts)] for p in precisions]
    width = len(parts) + 1
    names = [m.name for m in comparison.methods]
    return _table(["method", "mAP", *parts], names, rows, ["max"] * width, [2] * width)


def _table(
    head: list[str], names: list[str], rows: list[list[float]], better: list[str], digits: list[int]
) -> str:
    columns = list(zip(*rows, strict=True))
    best = [
        {"min": min, "max": max}[way](column) if way else None
        for way, column in zip(better, columns, strict=True)
    ]
    body = "".join(
        _row(name, row, [v == b for v, b in zip(row, best, strict=True)], digits)
        for name, row in zip(names, rows, strict=True)
    )
    return _wrapped(head, body)


def _row(name: str, values: list[float], is_best: list[bool], digits: list[int]) -> str:
    cells = "".join(
        f"<td{' class=best' if best else ''}>{value:.{places}f}</td>"
        for value, best, places in zip(values, is_best, digits, strict=True)
    )
    return f"<tr><td>{escape(name)}</td>{cells}</tr>"


def _wrapped(head: list[str], body: str) -> str:
    cells = "".join(f"<th>{escape(text)}</th>" for text in head)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead>{body}</table></div>'


def _curves(comparison: Comparison) -> str:
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for method, colour in _coloured(comparison):
        axes.plot(
            comparison.curve_mm, method.curve_percent, color=colour, linewidth=2.2,
            label=_plain(f"{method.name}: {method.distance.mean_mm:.2f} mm"),
        )  # fmt: skip
    axes.set(
        xlim=(0, comparison.curve_mm[-1]),
        ylim=(0, 100),
        xlabel="distance of the worst keypoint, mm",
        ylabel="frames, %",
    )
    axes.legend(loc="lower right", frameon=False)
    return _svg(figure, axes, "curves")


def _bars(comparison: Comparison) -> str:
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(comparison.keypoints) + 1)
    width = 0.8 / len(comparison.methods)
    for i, (method, colour) in enumerate(_coloured(comparison)):
        heights = [*method.distance.per_keypoint_mm, method.distance.mean_mm]
        shift = (i - (len(comparison.methods) - 1) / 2) * width
        axes.bar(places + shift, heights, width, color=colour, label=_plain(method.name))
    axes.set_xticks(places, [*comparison.keypoints, "mean"], rotation=45, ha="right")
    axes.set(ylabel="mean distance, mm", xlim=(-0.6, len(places) - 0.4))
    if len(comparison.methods) > 1:
        axes.legend(loc="upper left", frameon=False, ncols=3)
        axes.set_ylim(top=axes.get_ylim()[1] * 1.15)
    return _svg(figure, axes, "bars")


def _angles(comparison: Comparison) -> str:
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    both = figure.subplots(1, 2, sharey=True)
    for axes, what in zip(both, ("yaw", "pitch"), strict=True):
        for method, colour in _coloured(comparison):
            bins: AngleBins = getattr(method, what)
            middles = [(low + high) / 2 for low, high in pairwise(bins.edges_deg)]
            known = [(a, mm) for a, mm in zip(middles, bins.mean_mm, strict=True) if mm is not None]
            axes.plot(*zip(*known, strict=True), color=colour, marker="o", markersize=4)
        counts = ", ".join(map(str, bins.frames))
        axes.set(xlim=(bins.edges_deg[0], bins.edges_deg[-1]), ylim=(0, None))
        axes.set_xlabel(f"{what}, degrees\n(frames: {counts})", fontsize=8)
    both[0].set(ylabel="mean distance, mm")
    text = (
        "<p>Pitch: how far the fingers point at the camera (90: at it). Yaw: which side of the "
        "palm is seen (0: the palm, 180: the back).</p>"
    )
    return text + _svg(figure, both, "angles")


def _facts(facts: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(name.replace('_', ' '))}</td><td>{escape(str(value))}</td></tr>"
        for name, value in _flat(facts)
    )
    return _wrapped(["fact", "value"], rows)


def _flat(facts: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}, ")
        elif not isinstance(value, tuple):  # a table of its own, for the JSON
            yield f"{before}{name}", value


def _coloured(comparison: Comparison) -> list[tuple[MethodResult, str]]:
    return [(m, _COLOURS[i % len(_COLOURS)]) for i, m in enumerate(comparison.methods)]


def _plain(text: str) -> str:
    return text.replace("$", r"\$")


def _svg(figure: Figure, axes: Any, salt: str) -> str:
    """Return the drawing as an element, the same bytes every time; `salt` keeps ids apart."""
    for each in np.ravel(axes):
        each.grid(color="#e2e8f0", linewidth=0.8)
        each.set_axisbelow(True)
        each.spines[["top", "right"]].set_visible(False)
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    used = set(re.findall(r"#([\w.-]+)", text))
    text = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", text)
    return text[text.index("<svg") :]
