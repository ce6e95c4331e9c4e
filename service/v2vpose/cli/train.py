"""`v2vpose train`. Heavy imports happen inside, so that `--help` is fast."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from v2vpose.cli.refusals import refusals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from v2vpose.training.journal import Row
    from v2vpose.training.machine import Machine

app = typer.Typer()
_err = Console(stderr=True, soft_wrap=True, highlight=False)


class Dataset(StrEnum):
    """What is trained on."""

    HAND = "hand"
    BODY = "body"
    ICVL = "icvl"
    NYU = "nyu"
    MSRA = "msra"
    HANDS17 = "hands17"
    ITOP_SIDE = "itop-side"
    ITOP_TOP = "itop-top"


class RecipeChoice(StrEnum):
    """Whose numbers."""

    PAPER = "paper"
    RELEASE = "release"
    COMPACT = "compact"


class Device(StrEnum):
    """Where the nets run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Precision(StrEnum):
    """Of V2V's convolutions."""

    BF16 = "bf16"
    FLOAT32 = "float32"


@app.command()
def train(
    dataset: Annotated[
        Dataset, typer.Option(help="hand, body: generated frames, without end; others: on disk.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="<store>/<model>/<version> of the checkpoints.")
    ],
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the data set lies.")
    ] = None,
    recipe: Annotated[
        RecipeChoice,
        typer.Option(help="release: the Torch7 code's differences; compact: for CPUs."),
    ] = RecipeChoice.PAPER,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run-dir",  # torchrun takes --run for an option of its own
            metavar="DIR",
            help="State, log, curves, overlays; a run that stopped goes on. "
            "[dim]\\[default: runs/<model>-<version>][/]",
        ),
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Version of a store to start from.")
    ] = None,
    fold: Annotated[int, typer.Option(help="Of MSRA: the subject left out.")] = 3,
    epochs: Annotated[int | None, typer.Option(help="Passes, and checkpoints.", min=1)] = None,
    input_side: Annotated[int | None, typer.Option(help="Voxels a side.", min=16)] = None,
    width: Annotated[int | None, typer.Option(help="Channels of the first block.", min=1)] = None,
    batch: Annotated[int | None, typer.Option(help="Frames a step.", min=1)] = None,
    limit: Annotated[int | None, typer.Option(help="Frames a pass; default: all.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order, augmentation.")] = None,
    device: Annotated[Device, typer.Option(help="auto: CUDA if there is any.")] = Device.AUTO,
    precision: Annotated[Precision, typer.Option(help="Of V2V's convolutions.")] = Precision.BF16,
    loaders: Annotated[int, typer.Option(help="Processes that make batches.", min=0)] = 1,
    threads: Annotated[int, typer.Option(help="Of the nets, on a CPU.", min=1)] = 2,
) -> None:
    """Train by the paper's recipe: an epoch checkpoint a pass, which `v2vpose serve` can load.

    It may be killed at any time: the same command goes on exactly where it was saved last. Several
    GPUs: torchrun --nproc-per-node 4 -m v2vpose train ...

    [dim]v2vpose train --dataset nyu --root NYU --out model_store/nyu/1[/]
    """
    with refusals():
        from dataclasses import replace

        import torch

        from v2vpose.errors import InvalidFieldError
        from v2vpose.training.data import open_training_set
        from v2vpose.training.machine import joined
        from v2vpose.training.recipe import RECIPES
        from v2vpose.training.run import train as run_training

        torch.set_num_threads(threads)
        options = {
            "epochs": epochs,
            "input_side": input_side,
            "width": width,
            "batch": batch,
            "epoch_frames": limit,
            "seed": seed,
        }
        given = {name: value for name, value in options.items() if value is not None}
        chosen = replace(RECIPES[recipe.value], **given)  # type: ignore[arg-type]  # by name
        if chosen.input_side % 8:
            raise InvalidFieldError(f"input side must be a multiple of 8, got {chosen.input_side}")
        with joined(_machine(device, precision, loaders)) as machine:
            data = open_training_set(dataset.value, root, chosen, fold=fold)
            if machine.is_first:
                _err.print(f"{data.frames.origin}; left out: {data.skipped or 'none'}")
                _err.print(f"watched: {data.watched}")
            rows = run_training(
                data,
                out,
                run or Path("runs") / f"{out.parent.name}-{out.name}",
                machine=machine,
                start=start,
                command=" ".join(["v2vpose", *sys.argv[1:]]),
            )
            if machine.is_first:
                _err.print(_summary(rows))


def _summary(rows: "Sequence[Row]") -> str:
    seconds = sum(row["seconds"] for row in rows)
    waited = sum(row["seconds"] * row["waited_share"] for row in rows) / seconds
    first, last = rows[0], rows[-1]
    return (
        f"{int(last['step'])} steps in {seconds / 3600:.2f} h, {100 * waited:.1f} % of it waiting "
        f"for the loader; watched error {first['subvoxel_mm']:.1f} -> {last['subvoxel_mm']:.1f} mm"
    )


def _machine(device: Device, precision: Precision, loaders: int) -> "Machine":
    import torch

    from v2vpose.errors import InvalidFieldError
    from v2vpose.training.machine import Machine

    on_gpu = torch.cuda.is_available()
    if device is Device.CUDA and not on_gpu:
        raise InvalidFieldError("device cuda: expected a CUDA device, found none")
    name = "cuda" if on_gpu and device is not Device.CPU else "cpu"
    return Machine(device=torch.device(name), bf16=precision is Precision.BF16, loaders=loaders)
