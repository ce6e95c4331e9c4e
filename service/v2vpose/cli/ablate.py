"""`v2vpose ablate`: the paper's Tables 1 and 2 on generated hands."""

import time
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from v2vpose.cli.refusals import refusals

app = typer.Typer(help="The paper's ablations on generated hands.", no_args_is_help=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)
_RESULTS: Final = Path("benchmarks/results/ablation")

Out = Annotated[
    Path, typer.Option(metavar="DIR", help="Where the table goes: Markdown, JSON, curves.")
]
Seed = Annotated[int, typer.Option(help="Of frames and weights.")]


@app.command()
def table1(
    steps: Annotated[int, typer.Option(help="Steps of each net, 8 frames each.", min=32)] = 320,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Stop after the turn that ends later than this; the same command goes on."
        ),
    ] = None,
    test_frames: Annotated[int, typer.Option(help="Held-out frames.", min=32)] = 512,
    seed: Seed = 1,
    threads: Annotated[int, typer.Option(help="Threads of the nets.", min=1)] = 2,
    run: Annotated[
        Path,
        typer.Option("--run-dir", metavar="DIR", help="State of the run (7 GB) and its frames."),
    ] = Path("runs/ablation"),
    out: Out = _RESULTS,
) -> None:
    """Train the four combinations of 2D or 3D input and output on the same frames (Table 1).

    An hour or two on two cores and 10 GB of memory. The table is written anew after every turn.
    """
    import torch

    from v2vpose.evaluation.ablation import write_table1
    from v2vpose.training.ablation import AblationRecipe, contestants, rounds, rows_of
    from v2vpose.training.ablation_frames import POINT_SIGMA_MM, SIDE_MM, ablation_frames

    torch.set_num_threads(threads)
    recipe = AblationRecipe(steps=steps, seed=seed)
    facts = {
        "command": f"v2vpose ablate table1 --steps {steps} --test-frames {test_frames} "
        f"--seed {seed}",
        "frames_to_see": recipe.frames,
        "batch": recipe.batch,
        "optimiser": f"Adam {recipe.learning_rate:g}, falling along a cosine in the second half",
        "test_frames": test_frames,
        "cube": f"{SIDE_MM:g} mm around the middle of the keypoints' box, "
        f"disturbed by {POINT_SIGMA_MM:g} mm an axis (the centre source)",
    }
    started_s = time.monotonic()
    with refusals():
        cache = run / "frames"
        held = ablation_frames(cache, split="held_out", seed=seed, count=test_frames)
        train = ablation_frames(cache, split="train", seed=seed, count=recipe.frames)
        entered = contestants(recipe, train.keypoints_mm.shape[1], run)
        write_table1(out, rows_of(entered), facts)
        for done in rounds(entered, train, held, recipe, run):
            write_table1(out, rows_of(entered), facts)
            last = done.log[-1]
            _err.print(
                f"{done.variant:21} step {last['step']:4.0f}  loss {last['loss']:7.2f}  "
                f"argmax {last['argmax_mm']:6.2f} mm  sub-voxel {last['subvoxel_mm']:6.2f} mm  "
                f"{done.seconds:6.0f} s of processor time"
            )
            if minutes is not None and time.monotonic() - started_s > 60 * minutes:
                break
    _err.print(f"table: {out / 'table1.md'}")


@app.command()
def table2(
    frames: Annotated[int, typer.Option(help="Held-out frames.", min=1)] = 400,
    seed: Annotated[int, typer.Option(help="Which held-out set.")] = 2,
    model_version: Annotated[
        str | None, typer.Option(help="Of the `hand` model; default: newest.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Model store; default: as `serve` finds it.")
    ] = None,
    out: Out = _RESULTS,
) -> None:
    """Measure the hand model without refinement, with it, and with the ensemble too (Table 2).

    The model is told which hand it is, so that a hand mistaken for the other hides nothing.
    """
    from rich.progress import track

    from v2vpose.datasets.synthetic import SyntheticHands
    from v2vpose.datasets.synthetic.hands import HAND_KEYPOINTS
    from v2vpose.evaluation.ablation import write_table2
    from v2vpose.evaluation.model import evaluate_model
    from v2vpose.model_store import ModelStore
    from v2vpose.settings import Settings

    with refusals():
        root = Settings.read(model_store=store).store_path()
        version = ModelStore(root).open("hand", model_version)
        hands = SyntheticHands(split="held_out", seed=seed)
        drawn = (hands.frame(i) for i in track(range(frames), "estimating", console=_err))
        found = evaluate_model(version, drawn, dataset="generated hands", keypoints=HAND_KEYPOINTS)
    command = f"v2vpose ablate table2 --frames {frames} --seed {seed}"
    write_table2(out, found, {"command": command, "frames": frames})
    _err.print(f"table: {out / 'table2.md'}")
