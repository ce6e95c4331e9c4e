"""`v2vpose import` and `datasets check`: files of other people."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from v2vpose.cli.refusals import refusals

app = typer.Typer()
datasets = typer.Typer(help="Data sets in their original layout on disk.", no_args_is_help=True)
app.add_typer(datasets, name="datasets")
_out = Console(highlight=False)


class Kind(StrEnum):
    """Whose weights."""

    T7 = "t7"
    DRAGONBOOK = "dragonbook"
    DEEPPRIOR = "deepprior"


class YAxis(StrEnum):
    """Where y points in the world that weights were trained in."""

    UP = "up"
    DOWN = "down"


@app.command("import")
def import_weights(
    kind: Annotated[
        Kind,
        typer.Argument(
            help="t7: the release's model.net; dragonbook: the PyTorch port's state dicts; "
            "deepprior: refiners, into a version that is there."
        ),
    ],
    files: Annotated[list[Path], typer.Argument(help="One file an epoch, in order.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="<store>/<model>/<version>.")],
    dataset: Annotated[str, typer.Option(help="icvl, nyu, msra, hands17 or itop.")],
    refiner: Annotated[
        list[Path] | None, typer.Option(help="DeepPrior++ pickle to go with V2V weights.")
    ] = None,
    side_mm: Annotated[float | None, typer.Option(help="Cube's edge, if not the set's.")] = None,
    y_axis: Annotated[YAxis | None, typer.Option(help="Of its world, if not the set's.")] = None,
) -> None:
    """Make a version of the store from foreign weights; several epochs become one ensemble."""
    with refusals():
        from v2vpose.model_store.importers import import_weights as run

        manifest = run(
            kind.value,
            files,
            out,
            dataset=dataset,
            refiners=refiner or (),
            side_mm=side_mm,
            y_axis=None if y_axis is None else y_axis.value,
        )
    _out.print(f"{manifest.model} version {manifest.version}: {len(manifest.epochs)} epochs, {out}")


@datasets.command()
def check(
    name: Annotated[str, typer.Argument(help="icvl, nyu, msra, hands17 or itop.")],
    root: Annotated[Path, typer.Option(metavar="DIR", help="Where it lies.")],
) -> None:
    """Print what is there against what the published data set has; exit 1 if it is not whole."""
    with refusals():
        from v2vpose.datasets.disk import check_dataset

        found = check_dataset(name, root)
    table = Table(title=f"{name} in {root}", title_justify="left", title_style="bold")
    for column in ("what", "found", "expected"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for count in found.counts:
        expected = " or ".join(f"{number:,}" for number in count.expected)
        table.add_row(count.what, f"{count.found:,}", expected)
    _out.print(table)
    if found.first_missing is not None:
        _out.print(f"first missing: {found.first_missing}", soft_wrap=True)
    if not found.complete:
        raise typer.Exit(1)
