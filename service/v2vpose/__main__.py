"""The command line. Heavy imports happen inside the commands, so that `--help` is fast."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from v2vpose import __version__
from v2vpose.cli import ablate, data, evaluate, export, synth, train
from v2vpose.cli.refusals import fail, refusals

if TYPE_CHECKING:
    from v2vpose.model_store import Manifest
    from v2vpose.values import DepthFrame, Pose

app = typer.Typer(
    help="V2V-PoseNet: a depth map goes in, 3D hand or body keypoints come out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(train.app)
app.add_typer(evaluate.app)
app.add_typer(export.app)
app.add_typer(data.app)
app.add_typer(ablate.app, name="ablate")
app.add_typer(synth.app)
_out: Final = Console()
_err: Final = Console(stderr=True, soft_wrap=True, highlight=False)


class HandednessChoice(StrEnum):
    """Which hand it is, from its owner's view."""

    AUTO = "auto"
    RIGHT = "right"
    LEFT = "left"


Backend = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What runs the nets: openvino, openvino-f32, openvino-bf16, torch or cuda. "
        "[dim]\\[default: the fastest here][/]",
    ),
]


class EngineChoice(StrEnum):
    """Where members run."""

    LOCAL = "local"
    RAY = "ray"


Store = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="DIR",
        help="Model store; default: V2VPOSE_MODEL_STORE, or model_store here or above.",
    ),
]


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Print the version if asked to."""
    if show:
        print(__version__)
        raise typer.Exit


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; 0.0.0.0 = every network.")
    ] = None,
    http_port: Annotated[
        int | None, typer.Option(help="Port of REST; 0 = any free one. [dim]\\[default: 8000][/]")
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option(help="Port of gRPC; 0 = any free one. [dim]\\[default: 50051][/]")
    ] = None,
    backend: Backend = None,
    store: Store = None,
    engine: Annotated[
        EngineChoice | None,
        typer.Option(
            help="Members are processes here, or actors of a Ray cluster. "
            "[dim]\\[default: local][/]"
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Head of the Ray cluster; auto = this machine's. [dim]\\[default: auto][/]",
        ),
    ] = None,
) -> None:
    """Serve REST and gRPC until SIGTERM or Ctrl-C.

    Every setting is an environment variable V2VPOSE_...; options given here win over them.
    """
    with refusals():
        with _busy("loading the service"):
            from v2vpose.app import serve as run
            from v2vpose.settings import Settings

            settings = Settings.read(
                host=host,
                http_port=http_port,
                grpc_port=grpc_port,
                backend=backend,
                model_store=store,
                engine=engine,
                ray_address=ray_address,
            )
        run(settings)


@app.command()
def estimate(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Depth map: 16-bit greyscale PNG, NPY or TIFF.")
    ],
    fx: Annotated[float, typer.Option(help="Focal length along u, px.", show_default=False)],
    fy: Annotated[float, typer.Option(help="Focal length along v, px.", show_default=False)],
    cx: Annotated[float, typer.Option(help="Principal point, u, px.", show_default=False)],
    cy: Annotated[float, typer.Option(help="Principal point, v, px.", show_default=False)],
    unit_mm: Annotated[
        float, typer.Option(help="Millimetres of one unit of the file; 0.125 for an SR300.")
    ] = 1.0,
    model: Annotated[str | None, typer.Option(help="Model. [dim]\\[default: hand][/]")] = None,
    model_version: Annotated[str | None, typer.Option(help="Its version; default: newest.")] = None,
    hint_point: Annotated[
        tuple[float, float, float] | None,
        typer.Option("--hint", metavar="X Y Z", help="A point near the target, camera frame, mm."),
    ] = None,
    roi: Annotated[
        tuple[int, int, int, int] | None,
        typer.Option(metavar="U0 V0 U1 V1", help="Pixels that the target lies inside."),
    ] = None,
    near_far: Annotated[
        tuple[float, float] | None,
        typer.Option("--range", metavar="NEAR FAR", help="Depths it lies between, mm."),
    ] = None,
    handedness: Annotated[
        HandednessChoice, typer.Option(help="Which hand it is, from its owner's view.")
    ] = HandednessChoice.AUTO,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the JSON of `POST /v1/estimate`.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(metavar="OUT.png", help="Save a picture of the answer.")
    ] = None,
    backend: Backend = None,
    store: Store = None,
) -> None:
    """Estimate the pose in one depth map, here, without a service.

    [dim]v2vpose estimate hand.png --fx 475 --fy 475 --cx 320 --cy 240 --picture out.png[/]
    """
    with refusals():
        with _busy("loading the model"):
            from v2vpose.api.answer import estimate_answer
            from v2vpose.api.decode import Limits, decode_image
            from v2vpose.estimator import Estimator, Options
            from v2vpose.model_store import ModelStore
            from v2vpose.serving.pipeline import Estimate
            from v2vpose.settings import Settings
            from v2vpose.values import DepthFrame, Handedness, Hint, Intrinsics

            depth_mm = decode_image(_bytes_of(file), None, depth_unit_mm=unit_mm, limits=Limits())
            frame = DepthFrame(depth_mm, Intrinsics(fx_px=fx, fy_px=fy, cx_px=cx, cy_px=cy))
            hint = Hint(reference_point_mm=hint_point, roi_px=roi, range_mm=near_far)
            settings = Settings.read(model_store=store, backend=backend)
            root = settings.store_path()
            models = ModelStore(root)
            if not models.models():
                fail(f"no models in {root}")
            opened = models.open(model or models.unnamed()[0], model_version)
            estimator = Estimator.load(opened, backend=settings.wished_backend())
        with _busy("estimating"):
            hand = None if handedness == "auto" else Handedness(handedness.value)
            pose = estimator.estimate(frame, Options(hint=hint, handedness=hand))
        manifest = opened.manifest
        if as_json:
            answer = Estimate(pose, manifest.model, manifest.version, {})
            print(json.dumps(estimate_answer(answer, manifest, request_id=file.name), indent=2))
        else:
            _out.print(_joints(pose, manifest))
        if picture is not None:
            with _busy("drawing"):
                _save_picture(picture, frame, pose, manifest)
            _err.print(f"picture: {picture}")


@app.command()
def models(store: Store = None) -> None:
    """List the models of the store."""
    with refusals():
        with _busy("reading the store"):
            from v2vpose.model_store import ModelStore
            from v2vpose.settings import Settings

            root = Settings.read(model_store=store).store_path()
            opened = ModelStore(root)
            found = [
                opened.open(m, v).manifest for m in opened.models() for v in opened.versions(m)
            ]
        if not found:
            fail(f"no models in {root}")
        table = Table(title=str(root), title_justify="left", title_style="dim")
        for column in ("model", "version", "keypoints", "epochs", "voxels", "cube", "description"):
            is_text = column in {"model", "version", "description"}
            table.add_column(column, justify="left" if is_text else "right")
        for manifest in found:
            table.add_row(
                manifest.model,
                manifest.version,
                str(len(manifest.keypoints)),
                str(len(manifest.epochs)),
                f"{manifest.input_side}³",
                f"{manifest.side_mm:g} mm",
                manifest.description,
            )
        _out.print(table)


def main() -> None:
    """Run the command line."""
    app()


def _joints(pose: "Pose", manifest: "Manifest") -> Table:
    from v2vpose.api.answer import warnings_of

    table = Table(title=_title(pose, manifest), title_justify="left", title_style="bold")
    table.add_column("keypoint", style="cyan")
    for column in ("x mm", "y mm", "z mm", "spread mm", "confidence"):
        table.add_column(column, justify="right")
    for name, xyz, spread, confidence in zip(
        manifest.names, pose.keypoints_mm, pose.spread_mm, pose.confidence, strict=True
    ):
        values = [f"{value:.1f}" for value in (*xyz, spread)]
        table.add_row(name, *values, f"{confidence:.2f}")
    warnings = warnings_of(pose)
    table.caption = "\n".join(
        [f"found by {pose.reference_point.found_by}; x right, y down, z away from the camera"]
        + [f"[yellow]{warning}[/]" for warning in warnings]
    )
    return table


def _title(pose: "Pose", manifest: "Manifest") -> str:
    hand = f" · {pose.handedness[0]} hand" if pose.handedness else ""
    return f"{manifest.model} · version {manifest.version}{hand}"


def _save_picture(path: Path, frame: "DepthFrame", pose: "Pose", manifest: "Manifest") -> None:
    from v2vpose.evaluation.picture import DrawnPose, picture_png

    drawn = DrawnPose(
        names=manifest.names,
        skeleton=manifest.skeleton,
        keypoints_mm=pose.keypoints_mm,
        uv_px=pose.uv_px,
        confidence=pose.confidence,
        center_mm=pose.refined_point_mm,
        side_mm=pose.side_mm,
        title=_title(pose, manifest),
    )
    try:
        path.write_bytes(picture_png(frame, drawn))
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}")


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")


@contextmanager
def _busy(what: str) -> Iterator[None]:
    """Show that something goes on; only to people."""
    if not _err.is_terminal:
        yield
        return
    with _err.status(f"{what} …"):
        yield


if __name__ == "__main__":
    main()
