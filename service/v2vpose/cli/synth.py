"""`v2vpose synth`: labelled generated frames on disk."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from v2vpose.cli.refusals import refusals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from v2vpose.datasets.synthetic.sets import Frame

app = typer.Typer()
_err = Console(stderr=True)


class SubjectChoice(StrEnum):
    """What the frames show."""

    HAND = "hand"
    BODY = "body"


class Format(StrEnum):
    """How a set lies on disk."""

    NYU = "nyu"
    PNG = "png"
    HDF5 = "hdf5"


@app.command()
def synth(
    out: Annotated[Path, typer.Option(metavar="DIR", help="An empty or a new directory.")],
    kind: Annotated[
        Format,
        typer.Option(
            "--format",
            help="nyu: NYU's layout and camera, right hands; png: 16-bit PNG and labels.jsonl; "
            "hdf5: one file a split.",
        ),
    ] = Format.NYU,
    subject: Annotated[
        SubjectChoice, typer.Option(help="body: ITOP's 15 keypoints; png or hdf5.")
    ] = SubjectChoice.HAND,
    frames: Annotated[int, typer.Option(help="Of the train split.", min=1)] = 5120,
    test_frames: Annotated[
        int | None, typer.Option(help="Of the test split. [dim]\\[default: a tenth][/]", min=0)
    ] = None,
    seed: Annotated[int, typer.Option(help="Which frames; the same seed, the same bytes.")] = 1,
) -> None:
    """Write generated frames with their labels; the test split's people were held out.

    [dim]v2vpose synth --format nyu --frames 5120 --test-frames 512 --out runs/nyu[/]
    """
    from rich.progress import track

    with refusals():
        from v2vpose.datasets.synthetic.sets import write_set

        def shown(made: "Iterator[Frame]", split: str, count: int) -> "Iterator[Frame]":
            return iter(track(made, split, total=count, console=_err))

        write_set(
            out,
            kind.value,
            subject=subject.value,
            frames=frames,
            test_frames=frames // 10 if test_frames is None else test_frames,
            seed=seed,
            track=shown,
        )
