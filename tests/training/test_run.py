import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.training.files import write_balls
from v2vpose.__main__ import app
from v2vpose.errors import InvalidFieldError
from v2vpose.estimator import Estimator, Options
from v2vpose.model_store import Manifest, ModelStore
from v2vpose.training.data import open_training_set
from v2vpose.training.machine import Machine
from v2vpose.training.publish import warm_start
from v2vpose.training.recipe import RELEASE, Recipe
from v2vpose.training.samples import make_block
from v2vpose.training.trainees import Trainees
from v2vpose.values import DepthFrame, Hint

TINY = ["--input-side", "16", "--width", "2", "--epochs", "2", "--precision", "float32"]
TINY += ["--threads", "1", "--recipe", "release"]
pytestmark = pytest.mark.timeout(400)


def arguments(root: Path, work: Path, *more: object, model: str = "balls") -> list[str]:
    out, run = work / "store" / model / "1", work / f"run-{model}"
    return ["train", "--dataset", "nyu", "--root", str(root), "--out", str(out),
            "--run-dir", str(run), *TINY, *map(str, more)]  # fmt: skip


def manifest_of(work: Path, model: str = "balls") -> Manifest:
    return ModelStore(work / "store").open(model, "1").manifest


def untimed_log(run: Path) -> list[list[str]]:
    rows = [line.split(",") for line in (run / "log.csv").read_text().splitlines()]
    kept = [i for i, name in enumerate(rows[0]) if name not in {"seconds", "waited_share"}]
    return [[row[i] for i in kept] for row in rows]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_balls(tmp_path_factory.mktemp("nyu"))


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("trained")
    done = CliRunner().invoke(app, arguments(root, work, "--loaders", 0))
    assert done.exit_code == 0, done.output
    assert "watched: 4 frames of the test split" in done.stderr
    assert "6 steps in " in done.stderr
    assert "waiting for the loader" in done.stderr
    return work


def test_every_epoch_is_a_checkpoint_that_the_store_opens_and_the_estimator_runs(trained, root):
    version = ModelStore(trained / "store").open("balls", "1")
    version.check()
    manifest = version.manifest
    assert manifest.epoch_numbers == (1, 2)
    assert (manifest.input_side, manifest.width, manifest.side_mm) == (16, 2, 250)
    assert (manifest.near_mm, manifest.far_mm, manifest.refiner.side_mm) == (300, 1200, 300)
    assert manifest.names[13] == "palm"
    assert manifest.training["recipe"]["translation_vox"] == RELEASE.translation_vox
    assert manifest.training["data"].startswith("nyu: 24 of 24 usable frames")
    assert manifest.training["command"].startswith("v2vpose")
    recipe = Recipe(input_side=16, width=2)
    frame = open_training_set("nyu", root, recipe, fold=0).frames.frame(0)
    x, y, z = frame.keypoints_mm.mean(axis=0)
    pose = Estimator.load(version).estimate(
        DepthFrame(frame.depth_mm, frame.intrinsics), Options(hint=Hint((x, y, z)))
    )
    assert pose.answered == (1, 2)


def test_log_curve_and_overlays_lie_beside_the_state(trained):
    run = trained / "run-balls"
    assert len(untimed_log(run)) == 1 + 2  # a row an epoch: it has one block
    for name in ("curve.png", "overlays/epoch-01.png", "overlays/epoch-02.png"):
        picture = cv2.imread(str(run / name))
        assert picture is not None
        assert picture.std() > 5, name
    assert (trained / "store/balls/1/log.csv").read_text() == (run / "log.csv").read_text()


def test_a_run_killed_by_the_system_goes_on_to_the_same_bytes(trained, root, tmp_path):
    command = [sys.executable, "-m", "v2vpose", *arguments(root, tmp_path, "--loaders", 1)]
    state = tmp_path / "run-balls" / "state.pt"
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    while process.poll() is None and not state.exists():
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    subprocess.run(command, check=True, capture_output=True)
    assert manifest_of(tmp_path).epochs == manifest_of(trained).epochs  # names and checksums
    assert untimed_log(tmp_path / "run-balls") == untimed_log(trained / "run-balls")


def test_two_processes_of_torchrun_agree_and_write_once(root, tmp_path):
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--master-port", "0", "--standalone", "-m", "tests.training.ranks"),
        *arguments(root, tmp_path, "--loaders", 0),
    ]
    path = os.pathsep.join(
        [str(Path(__file__).parents[2] / "service"), str(Path(__file__).parents[2])]
    )
    done = subprocess.run(
        command, check=False, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": path, "RANKS_OUT": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (np.load(tmp_path / f"rank-{rank}.npy") for rank in (0, 1))
    np.testing.assert_array_equal(first, second)  # every weight of both nets
    manifest = manifest_of(tmp_path)
    assert manifest.epoch_numbers == (1, 2)
    assert manifest.training["processes"] == 2
    ModelStore(tmp_path / "store").open("balls", "1").check()
    assert done.stderr.count("watched: ") == 1
    assert len(untimed_log(tmp_path / "run-balls")) == 3


def test_a_warm_start_begins_with_the_weights_of_a_version(trained, root):
    recipe = replace(RELEASE, input_side=16, width=2)
    data = open_training_set("nyu", root, recipe, fold=0)
    trainees = Trainees.fresh(data.recipe, 14, Machine())
    warm_start(trainees, trained / "store/balls/1", data)
    v2v, refiner = ModelStore(trained / "store").open("balls", "1").load_epoch(2)
    for net, source in ((trainees.v2v.net, v2v), (trainees.refiner.net, refiner)):
        for one, other in zip(net.parameters(), source.parameters(), strict=True):
            np.testing.assert_array_equal(one.detach(), other.detach())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--width", "4", "--from", "{store}"], "expected width and keypoints"),
        (["--input-side", "20"], "input side must be a multiple of 8, got 20"),
        (["--precision", "bf16"], "input side must be at least 24 in bf16 on a CPU"),
        (["--device", "cuda"], "device cuda: expected a CUDA device, found none"),
        (["--out", "somewhere"], "out must end in <model>/<number>"),
        (["--out", "{store}"], "expected no model version there, found one"),
        (["--root", "nowhere"], "root must be a directory"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(trained, root, tmp_path, more, message):
    given = [text.format(store=trained / "store/balls/1") for text in more]
    done = CliRunner().invoke(app, arguments(root, tmp_path, "--loaders", 0, *given))
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith("v2vpose: ")
    assert message in done.stderr


def test_a_set_on_disk_needs_its_root():
    with pytest.raises(InvalidFieldError, match="dataset icvl needs its root"):
        open_training_set("icvl", None, RELEASE, fold=0)


def test_generated_hands_are_watched_by_held_out_ones_and_have_a_detector(monkeypatch):
    monkeypatch.setattr("v2vpose.training.data.WATCHED_FRAMES", 2)
    data = open_training_set("hand", None, replace(RELEASE, epoch_frames=100), fold=0)
    assert data.recipe.detector
    assert len(data.frames) == 100
    assert data.held.keypoints_mm.shape == (2, 21, 3)


def test_generated_bodies_have_no_hand_and_fit_into_the_cube(monkeypatch):
    monkeypatch.setattr("v2vpose.training.data.WATCHED_BODIES", 2)
    data = open_training_set("body", None, replace(RELEASE, epoch_frames=100), fold=0)
    assert data.frames.origin == "synthetic bodies, split train, seed 1"
    assert data.subject == "body"
    assert data.recipe.handedness is None
    assert data.recipe.detector
    assert data.held.keypoints_mm.shape == (2, 15, 3)
    assert [keypoint.name for keypoint in data.keypoints][6:8] == ["right_hand", "left_hand"]
    rng = np.random.default_rng(0)
    frames = [data.frames.frame(place) for place in range(6)]
    block = make_block(frames, data.recipe, [rng] * len(frames))
    cells = block.keypoints_cell.numpy()
    assert ((cells > -1) & (cells < data.recipe.heatmap_side)).mean() > 0.97
    assert (block.occupancy.sum(dim=(1, 2, 3, 4)) > 500).all()
