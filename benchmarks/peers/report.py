"""Figures -> a Markdown page, ratios first, and plots."""

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

US: Final = "v2vpose"
TITLES: Final = {
    "null-1": "Null model, one member",
    "null-10": "Null model, ten members",
    "hand-1": "Bundled hand, one checkpoint",
    "hand-10": "Bundled hand, ten checkpoints",
}
_HEAD: Final = """# Beside other servers

One job: a raw 320 x 240 depth map (u16) in, 21 keypoints out. One generator (wrk, one thread,
pinned to the last core), servers free on all cores, runs interleaved; medians, least..most in
brackets. Ratios are to v2vpose, and above 1 where v2vpose is ahead. Peers get their keypoints from
our voxelization and the same nets exported to OpenVINO; v2vpose runs its whole REST path. No server
writes a line a request. Memory counts shared pages once.
"""


def write(results: dict[str, Any], out: Path) -> None:
    """Write `README.md` and one plot a scene."""
    facts = results["facts"]
    versions = ", ".join(f"{name}: {version}" for name, version in facts["versions"].items())
    lines = [
        _HEAD,
        f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, Python "
        f"{facts['python']}, {facts['generator']}; load average at the start "
        f"{facts['load_average']:.2f}; {facts.get('minutes', 0)} minutes; commit "
        f"{facts['commit']}.\n\n`{facts['command']}`\n\n{versions}.\n",
    ]
    for scene, found in results["scenes"].items():
        lines += _scene(scene, found)
        _plot(scene, found["cells"], out / f"{scene}.png")
    (out / "README.md").write_text("\n".join(lines) + "\n", "utf-8")


def _scene(scene: str, found: dict[str, Any]) -> list[str]:
    lines = [f"## {TITLES.get(scene, scene)}\n"]
    cells = {name: {int(c): v for c, v in row.items()} for name, row in found["cells"].items()}
    widest = max(found["apart_mm"].values(), default=0.0)
    lines.append(f"Answers differ by at most {widest:.4f} mm.\n")
    for concurrency in sorted({c for row in cells.values() for c in row}):
        lines += [
            f"{concurrency} at once\n",
            "| server | ratio requests/s | p50 | p99 | CPU | requests/s | p50 ms | p99 ms "
            "| CPU ms a request | MB | failed |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        ours = cells.get(US, {}).get(concurrency)
        for name, row in cells.items():
            if concurrency in row:
                lines.append(_row(name, row[concurrency], ours))
        lines.append("")
    lines.append(f"![{scene}]({scene}.png)\n")
    return lines


def _row(name: str, cell: dict[str, Any], ours: dict[str, Any] | None) -> str:
    def ratio(figure: str) -> str:
        if ours is None or not (ours[figure]["median"] and cell[figure]["median"]):
            return ""
        quotient = cell[figure]["median"] / ours[figure]["median"]
        return f"{1 / quotient if figure == 'requests_per_s' else quotient:.2f}"

    def spread(figure: str, digits: int) -> str:
        value = cell[figure]
        low, high = (f"{value[key]:.{digits}f}" for key in ("least", "most"))
        return f"{value['median']:.{digits}f} ({low}..{high})"

    ratios = (ratio(f) for f in ("requests_per_s", "p50_ms", "p99_ms", "cpu_ms"))
    values = (
        spread("requests_per_s", 1), spread("p50_ms", 2), spread("p99_ms", 2),
        spread("cpu_ms", 3), f"{cell['memory_mb']['most']:.0f}", f"{cell['failed']['most']:.0f}",
    )  # fmt: skip
    return "| " + " | ".join([name, *ratios, *values]) + " |"


def _plot(scene: str, cells: dict[str, Any], path: Path) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), constrained_layout=True)
    titles = {"requests_per_s": "requests/s", "p50_ms": "p50, ms", "p99_ms": "p99, ms"}
    for axis, (key, title) in zip(axes, titles.items(), strict=True):
        for name, row in cells.items():
            at = sorted(row, key=int)
            axis.plot(
                [int(c) for c in at], [row[c][key]["median"] for c in at], marker="o",
                linewidth=2.5 if name == US else 1, label=name,
            )  # fmt: skip
        axis.set(title=title, xlabel="at once", xscale="log", yscale="log")
    axes[0].legend(fontsize=7)
    figure.suptitle(TITLES.get(scene, scene))
    figure.savefig(path, dpi=80)
    plt.close(figure)
