"""`v2vpose evaluate`: files of predictions, or a model on a data set."""

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from v2vpose.cli.refusals import fail, refusals

if TYPE_CHECKING:
    from v2vpose.evaluation.comparison import Comparison
    from v2vpose.model_store import ModelVersion
    from v2vpose.values import LabelledFrame

app = typer.Typer()
_out = Console(highlight=False)
_err = Console(stderr=True)
_GENERATED: Final = ("hand", "body")


class CentreChoice(StrEnum):
    """Where a model's reference points come from."""

    OWN = "own"
    OFFICIAL = "official"
    LABELS = "labels"


class View(StrEnum):
    """ITOP's cameras."""

    SIDE = "side"
    TOP = "top"


class _Given(NamedTuple):
    """Frames to measure on, the names of their labels, and where their official centres are."""

    frames: "Iterator[LabelledFrame]"
    keypoints: tuple[str, ...]
    centre_source: str


@app.command()
def evaluate(
    dataset: Annotated[
        str | None,
        typer.Option(
            help="icvl, nyu, msra, hands17, itop; hand, body: generated, held out. "
            "[dim]\\[default: body for model body, else hand][/]"
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ground truth, one line a frame.")
    ] = None,
    predictions: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]FILE", help="A method's answers; may be repeated."),
    ] = None,
    centre_source: Annotated[
        str, typer.Option(help="Where the reference points of the predictions came from.")
    ] = "not stated",
    model: Annotated[str | None, typer.Option(help="Model to measure, instead of files.")] = None,
    model_version: Annotated[str | None, typer.Option(help="Its version; default: newest.")] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the data set lies; not for generated ones."),
    ] = None,
    fold: Annotated[int, typer.Option(help="Of MSRA: the subject left out.", min=0, max=8)] = 3,
    view: Annotated[View, typer.Option(help="Of ITOP.")] = View.SIDE,
    centres: Annotated[
        CentreChoice,
        typer.Option(help="own: found as in service; official: the set's files; labels: a bound."),
    ] = CentreChoice.OWN,
    centre_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Official centre files; default: the root.")
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            help="So many, evenly spread. [dim]\\[default: all; generated: 1000][/]", min=1
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Which held-out set of generated frames.")] = 2,
    tell_hand: Annotated[
        bool, typer.Option("--tell-hand", help="For `hand`: tell the model which hand it is.")
    ] = False,
    empty_scenes: Annotated[
        int | None,
        typer.Option(help="Instead: look for hands in so many scenes without one.", min=1),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure as JSON.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with tables and plots.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Model store; default: as `serve` finds it.")
    ] = None,
) -> None:
    """Measure predictions, or a model with and without refinement and ensemble.

    [dim]v2vpose evaluate --dataset icvl --labels truth.txt --predictions v2v=v2v.txt[/]

    [dim]v2vpose evaluate --model nyu --dataset nyu --root /data/nyu --report nyu.html[/]

    [dim]v2vpose evaluate --model hand --empty-scenes 500 --seed 4[/]
    """
    dataset = dataset or ("body" if model == "body" else "hand")
    with refusals():
        if labels is not None and predictions:
            if model is not None:
                fail("expected files of predictions or a model, found both")
            result = _of_files(dataset, labels, predictions, centre_source)
        elif labels is not None or predictions:
            fail("expected --labels and --predictions together, found one of them")
        elif empty_scenes is not None:
            if dataset != "hand" or report is not None:
                fail("--empty-scenes: expected generated frames of hands, and no --report")
            _of_empty_scenes(
                _opened(model, model_version, store), empty_scenes, frames, seed, as_json=as_json
            )
            return
        else:
            from v2vpose.evaluation.model import Centres, evaluate_model

            given = _frames(dataset, root, fold, view, centre_dir, count=frames, seed=seed)
            result = evaluate_model(
                _opened(model or ("body" if dataset == "body" else "hand"), model_version, store),
                given.frames,
                dataset=dataset,
                keypoints=given.keypoints,
                centres=Centres(centres.value),
                official=given.centre_source,
                hand_is_told=tell_hand or dataset not in _GENERATED,
            )
    if report is not None:
        _write_page(report, result)
    if as_json:
        print(result.to_json(), end="")
    else:
        _out.print(_table(result))


def _opened(model: str | None, version: str | None, store: Path | None) -> "ModelVersion":
    from v2vpose.model_store import ModelStore
    from v2vpose.settings import Settings

    root = Settings.read(model_store=store).store_path()
    return ModelStore(root).open(model or "hand", version)


def _of_empty_scenes(
    version: "ModelVersion", scenes: int, frames: int | None, seed: int, *, as_json: bool
) -> None:
    from v2vpose.cli.empty_scenes import measure_refusals, refusal_tables

    result = measure_refusals(version, scenes=scenes, frames=frames or scenes, seed=seed)
    if as_json:
        print(json.dumps(result.summary(), indent=2))
    else:
        _out.print(*refusal_tables(result), sep="\n")


def _of_files(
    dataset: str, labels: Path, predictions: list[str], centre_source: str
) -> "Comparison":
    from v2vpose.evaluation.comparison import compare_files

    files: dict[str, Path] = {}
    for given in predictions:
        name, _, file = given.rpartition("=")
        name = name or Path(file).stem
        if name in files:
            fail(f"expected a name for each method, found {name} twice; write NAME=FILE")
        files[name] = Path(file)
    return compare_files(dataset, labels, files, centre_source=centre_source)


def _frames(
    dataset: str,
    root: Path | None,
    fold: int,
    view: View,
    centre_dir: Path | None,
    *,
    count: int | None,
    seed: int,
) -> _Given:
    """Return the test frames behind a progress bar."""
    from rich.progress import track

    if dataset in _GENERATED:
        from v2vpose.datasets.synthetic import SyntheticBodies, SyntheticHands

        generator = SyntheticBodies if dataset == "body" else SyntheticHands
        held_out = generator(split="held_out", seed=seed)
        chosen = track(range(count or 1000), "estimating", console=_err)
        return _Given((held_out.frame(i) for i in chosen), held_out.keypoints, "none")
    from v2vpose.datasets.disk import open_dataset

    if root is None:
        fail(f"--root: expected the directory of {dataset}, found none")
    listed = open_dataset(dataset, root, "test", fold=fold, view=view.value, centre_dir=centre_dir)
    if not len(listed):
        fail(f"expected test frames of {dataset} in {root}, found none")
    total = min(count or len(listed), len(listed))
    chosen = track([i * len(listed) // total for i in range(total)], "estimating", console=_err)
    frames = (listed.frame(i) for i in chosen)
    return _Given(frames, listed.known.keypoints, listed.centre_source)


def _write_page(path: Path, result: "Comparison") -> None:
    from v2vpose.evaluation.page import page

    try:
        path.write_text(page(result), encoding="utf-8")
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}")
    _err.print(f"report: {path}", soft_wrap=True)


def _table(result: "Comparison") -> Table:
    limits = list(result.methods[0].distance.success_percent)
    table = Table(
        title=f"{result.dataset}, {result.frames} frames", title_justify="left", title_style="bold"
    )
    table.add_column("method")
    has_map = all(method.precision for method in result.methods)
    columns = ["mean mm", "median mm", *(f"≤{limit} mm %" for limit in limits)]
    for column in columns + ["mAP 10 cm %"] * has_map:
        table.add_column(column, justify="right")
    for method in result.methods:
        distance = method.distance
        cells = [f"{distance.mean_mm:.3f}", f"{distance.median_mm:.3f}"]
        cells += [f"{distance.success_percent[limit]:.2f}" for limit in limits]
        cells += [f"{method.precision.mean_percent:.2f}"] if method.precision else []
        table.add_row(method.name, *cells)
    sources = dict.fromkeys(method.centre_source for method in result.methods)
    table.caption = f"centre source: {'; '.join(sources)}; success: the worst joint within"
    if worth := result.facts.get("confidence"):
        kind = "as a probability" if worth["is_calibrated"] else "not calibrated,"
        table.caption += f"; confidence {kind} off by {worth['off_percent']:.1f} %"
    if result.unanswered:
        table.caption += f"; nothing found in {result.unanswered} frames"
    return table
