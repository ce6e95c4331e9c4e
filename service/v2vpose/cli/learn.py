"""`v2vpose train`. Heavy imports happen inside, so that `--help` is fast."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def train(
    run: Annotated[
        Path, typer.Option(metavar="DIR", help="State, log and checkpoints; an old run goes on.")
    ] = Path("runs/hand"),
    loaders: Annotated[int, typer.Option(help="Processes that generate frames.", min=0)] = 1,
    threads: Annotated[int, typer.Option(help="Threads of the nets.", min=1)] = 2,
) -> None:
    """Train the compact `hand` model on generated frames, the bundled recipe.

    Hours on two cores. It may be stopped at any time: the same command goes on from the last save.
    """
    import torch

    from v2vpose.training.hand import train_hand
    from v2vpose.training.recipe import COMPACT_HAND

    torch.set_num_threads(threads)
    train_hand(COMPACT_HAND, run, loaders=loaders)
