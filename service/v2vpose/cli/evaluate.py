"""`v2vpose evaluate`. Heavy imports happen inside, so that `--help` is fast."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from v2vpose.cli.refusals import refusals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from v2vpose.datasets.synthetic import HandFrame

app = typer.Typer()
_out = Console()
_err = Console(stderr=True)


@app.command()
def evaluate(
    model: Annotated[str, typer.Option(help="Model to measure.")] = "hand",
    model_version: Annotated[str | None, typer.Option(help="Its version; default: newest.")] = None,
    frames: Annotated[int, typer.Option(help="How many held-out frames.", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="Which held-out set.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    store: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Model store; default: as `serve` finds it.")
    ] = None,
) -> None:
    """Measure a hand model on generated held-out frames: people, cameras and noise unseen.

    Nothing is given to it but depth map and intrinsics: point and hand are found by its own nets.
    """
    from v2vpose.estimator import Estimator
    from v2vpose.evaluation.measure import figures, measure
    from v2vpose.model_store import ModelStore
    from v2vpose.settings import Settings

    with refusals():
        root = Settings.read(model_store=store).store_path()
        estimator = Estimator.load(ModelStore(root).open(model, model_version))
        measured = figures(measure(estimator, _held_out(frames, seed)))
    if as_json:
        print(json.dumps(measured, indent=2))
    else:
        _out.print(_table(measured, f"{frames} held-out frames, seed {seed}"))


def _held_out(frames: int, seed: int) -> "Iterator[HandFrame]":
    """Generate frames behind a progress bar."""
    from rich.progress import track

    from v2vpose.datasets.synthetic import SyntheticHands

    hands = SyntheticHands(split="held_out", seed=seed)
    return (hands.frame(i) for i in track(range(frames), "estimating", console=_err))


def _table(measured: dict[str, Any], title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    columns = ("decode", "checkpoints", "mean mm", "median mm", "<20 mm %", "<30 mm %", "<50 mm %")
    for column in columns:
        table.add_column(column, justify="left" if column == "decode" else "right")
    for decode in ("argmax", "subvoxel"):
        singles = measured[decode]["single_mm"]
        ensemble = measured[decode]["ensemble"]
        single = sum(singles) / len(singles)
        table.add_row(decode, "1 (mean of all)", f"{single:.2f}", "", "", "", "")
        success = [f"{ensemble['success_percent'][limit]:.1f}" for limit in (20, 30, 50)]
        means = [f"{ensemble[name]:.2f}" for name in ("mean_mm", "median_mm")]
        table.add_row(decode, f"{len(singles)} (ensemble)", *means, *success)
    point = measured["reference_point_mm"]
    table.caption = (
        f"unanswered {measured['unanswered']}; right hand found in "
        f"{measured['handedness_right_percent']:.1f} %; reference point off by "
        f"{point['first']['mean']:.1f} mm at first, {point['refined']['mean']:.1f} mm refined; "
        "success: the worst joint within the limit"
    )
    return table
