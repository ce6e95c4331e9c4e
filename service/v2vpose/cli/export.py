"""`v2vpose export`: a checkpoint for other runtimes. Heavy imports happen inside."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from v2vpose.cli.refusals import refusals

app = typer.Typer()
_out = Console(highlight=False, soft_wrap=True)


class FormatChoice(StrEnum):
    """What is written."""

    ONNX = "onnx"
    OPENVINO = "openvino"
    TORCH_EXPORT = "torch-export"


class NetChoice(StrEnum):
    """Which of a checkpoint's nets."""

    V2V = "v2v"
    REFINER = "refiner"


@app.command()
def export(
    file_format: Annotated[
        FormatChoice, typer.Argument(metavar="onnx|openvino|torch-export", help="What to write.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help=".onnx, .xml or .pt2.")],
    epoch: Annotated[
        int | None, typer.Option(help="Which checkpoint; default: the last.", min=1)
    ] = None,
    net: Annotated[NetChoice, typer.Option(help="Which of its nets.")] = NetChoice.V2V,
    model: Annotated[str, typer.Option(help="Model.")] = "hand",
    model_version: Annotated[str | None, typer.Option(help="Its version; default: newest.")] = None,
    store: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Model store; default: as `serve` finds it.")
    ] = None,
) -> None:
    """Write one checkpoint's net for another runtime, once that runtime answers as PyTorch does.

    [dim]v2vpose export onnx --model hand --epoch 9 --out hand.onnx[/]
    """
    with refusals():
        from v2vpose.model_store import ModelStore
        from v2vpose.model_store.export import Format, Net, export_epoch
        from v2vpose.settings import Settings

        opened = ModelStore(Settings.read(model_store=store).store_path()).open(
            model, model_version
        )
        chosen = epoch or opened.manifest.epoch_numbers[-1]
        done = export_epoch(opened, chosen, Format(file_format.value), out, net=Net(net.value))
    _out.print(
        f"{done.path}: {model} {opened.manifest.version}, epoch {chosen}, {net}; "
        f"{done.input_name} in, {done.output_name} out; "
        f"largest difference {done.difference:.2g} of {done.largest:.2g}"
    )
