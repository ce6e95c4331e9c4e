"""What an ablation found, for people: Markdown, JSON and curves."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from v2vpose.evaluation.comparison import Comparison
from v2vpose.evaluation.page import page

PAPER: Final = {
    "depth-to-coordinates": ("2D depth map", "coordinates", 21.1, 18.85),
    "depth-to-voxels": ("2D depth map", "3D heatmaps", 4.6, 13.01),
    "voxels-to-coordinates": ("3D voxels", "coordinates", 457.5, 16.78),
    "voxels-to-voxels": ("3D voxels", "3D heatmaps", 3.4, 10.37),
}
"""Rows of the paper's Table 1: input, output, parameters in millions, mean error on NYU in mm."""

PAPER_TABLE2_MM: Final = {"without refinement": 11.14, "refined": 9.22, "refined, ensemble": 8.42}
"""Rows of the paper's Table 2: mean error on NYU; its ensemble has ten epoch checkpoints."""


def write_table1(out: Path, rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> None:
    """Write table1.json, table1.md and table1.png.

    Args:
        out: directory.
        rows: of each net: variant, parameters, steps, cpu_seconds, log of rounds.
        facts: of the run: batch, frames_to_see, and what else is to be told.
    """
    out.mkdir(parents=True, exist_ok=True)
    found = json.dumps({"facts": facts, "rows": rows}, indent=2)
    (out / "table1.json").write_text(found + "\n", encoding="utf-8")
    (out / "table1.md").write_text(table1_markdown(rows, facts), encoding="utf-8")
    if any(row["log"] for row in rows):
        _draw_curves(out / "table1.png", rows, int(facts["batch"]))


def table1_markdown(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    """Return the table; the paper's own numbers stand beside ours, on other data."""
    lines = [
        "# Input and output (the paper's Table 1) on generated hands",
        "",
        "| input | output | parameters | paper | frames seen | mean error, argmax "
        "| sub-voxel | processor time | paper, NYU |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        reads, gives, millions, paper_mm = PAPER[row["variant"]]
        last = row["log"][-1] if row["log"] else {}
        argmax, subvoxel = (_mm(last.get(name)) for name in ("argmax_mm", "subvoxel_mm"))
        lines.append(
            f"| {reads} | {gives} | {row['parameters'] / 1e6:.2f} M | {millions} M "
            f"| {row['steps'] * facts['batch']:,} | {argmax} | {subvoxel} "
            f"| {row['cpu_seconds']:.0f} s | {paper_mm} mm |"
        )
    if any(row["steps"] * facts["batch"] < facts["frames_to_see"] for row in rows):
        lines[2:2] = ["**Not finished**: the same command goes on.", ""]
    return "\n".join(lines) + "\n" + _facts(facts)


def write_table2(out: Path, comparison: Comparison, facts: Mapping[str, Any]) -> None:
    """Write table2.json, table2.md and table2.html.

    Args:
        out: directory.
        comparison: of a model that refines; its last row decodes below the voxel.
        facts: of the run.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "table2.json").write_text(comparison.to_json(), encoding="utf-8")
    (out / "table2.md").write_text(table2_markdown(comparison, facts), encoding="utf-8")
    (out / "table2.html").write_text(page(comparison), encoding="utf-8")


def table2_markdown(comparison: Comparison, facts: Mapping[str, Any]) -> str:
    """Return the table; the paper's own numbers stand beside ours, on other data."""
    lines = [
        "# Refinement and ensemble (the paper's Table 2) on generated hands",
        "",
        "| | mean error | median | worst keypoint within 30 mm | centre source | paper, NYU |",
        "|---|---|---|---|---|---|",
    ]
    names = [*PAPER_TABLE2_MM, "refined, ensemble, sub-voxel"]
    for name, method in zip(names, comparison.methods, strict=True):
        distance, paper_mm = method.distance, PAPER_TABLE2_MM.get(name)
        lines.append(
            f"| {name} ({method.name}) | {distance.mean_mm:.2f} mm | {distance.median_mm:.2f} mm "
            f"| {distance.success_percent[30]:.1f} % | {method.centre_source} | {_mm(paper_mm)} |"
        )
    return "\n".join(lines) + "\n" + _facts({**facts, **_flat(comparison.facts)})


def _facts(facts: Mapping[str, Any]) -> str:
    lines = ["", "| fact | value |", "|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in facts.items()]
    return "\n".join(lines) + "\n"


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Name inner facts after what they are in."""
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, tuple):
            continue  # a table of its own, for the JSON
        inner = _flat(value) if isinstance(value, Mapping) else None
        flat |= {name: value} if inner is None else {f"{name}, {k}": v for k, v in inner.items()}
    return flat


def _mm(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} mm"


def _draw_curves(path: Path, rows: Sequence[Mapping[str, Any]], batch: int) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415  # takes a second

    figure = Figure(figsize=(7, 4.2), dpi=130, layout="constrained")
    axes = figure.subplots()
    for row in rows:
        reads, gives, *_ = PAPER[row["variant"]]
        frames = [turn["step"] * batch for turn in row["log"]]
        error_mm = [turn["argmax_mm"] for turn in row["log"]]
        axes.plot(frames, error_mm, marker="o", markersize=3.5, label=f"{reads} to {gives}")
    axes.set(xlabel="frames seen", ylabel="mean error on held-out frames, mm", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path)
