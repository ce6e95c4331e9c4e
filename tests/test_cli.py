import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tests.datasets.writers import write_itop
from tests.frames import CAMERA, sphere_frame
from tests.stores import NUM_KEYPOINTS, write_tiny_store
from v2vpose.__main__ import app
from v2vpose.api.schemas import EstimateAnswer
from v2vpose.datasets.synthetic.hands import HAND_KEYPOINTS
from v2vpose.model_store import HandednessJudge, Subject, write_manifest
from v2vpose.model_store.importers import known_set
from v2vpose.values import FoundBy

ROOT = Path(__file__).parents[1]
CAMERA_OPTIONS = [
    "--fx", str(CAMERA.fx_px), "--fy", str(CAMERA.fy_px),
    "--cx", str(CAMERA.cx_px), "--cy", str(CAMERA.cy_px),
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    write_tiny_store(root, epochs=1)
    return root


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("frames") / "ball.png"
    depth = sphere_frame((10.0, 20.0, 500.0)).depth_mm
    cv2.imwrite(str(path), np.round(depth * 8).astype(np.uint16))
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def estimate(file: Path, store: Path, *more: str | Path) -> Result:
    return run("estimate", file, *CAMERA_OPTIONS, "--unit-mm", "0.125", "--store", store, *more)


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['v2vpose', '--help']\n"
        "from v2vpose.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'numpy', 'fastapi', 'grpc', 'cv2', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "service")},
    ).stdout
    for command in ("serve", "estimate", "models"):
        assert command in shown


@pytest.mark.parametrize("command", ["serve", "estimate", "models"])
def test_every_command_has_its_own_help(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "--store" in re.sub(r"\x1b\[[0-9;]*m", "", result.stdout)


def test_the_version_is_printed() -> None:
    assert re.fullmatch(r"\d+\.\d+.*\n", run("--version").stdout)


def test_the_joints_are_printed_as_a_table(store: Path, ball: Path) -> None:
    result = estimate(ball, store)
    assert result.exit_code == 0, result.stderr
    for i in range(NUM_KEYPOINTS):
        assert f"k{i}" in result.stdout
    assert "hand · version 1" in result.stdout
    assert "confidence" in result.stdout


def test_json_is_the_answer_of_the_service(store: Path, ball: Path) -> None:
    result = estimate(ball, store, "--json", "--hint", "10", "20", "500")
    assert result.exit_code == 0, result.stderr
    answer = EstimateAnswer.model_validate(json.loads(result.stdout))
    assert answer.reference_point_mm.found_by is FoundBy.HINT
    assert list(answer.reference_point_mm.first) == [10, 20, 500]
    assert len(answer.keypoints) == NUM_KEYPOINTS


def test_a_picture_is_saved(store: Path, ball: Path, tmp_path: Path) -> None:
    picture = tmp_path / "out.png"
    result = estimate(ball, store, "--picture", picture)
    assert result.exit_code == 0, result.stderr
    image = cv2.imread(str(picture))
    assert image is not None
    assert image.shape == (879, 1680, 3)
    assert f"picture: {picture}" in result.stderr.replace("\n", "")


def test_every_option_reaches_the_estimator(store: Path, ball: Path) -> None:
    result = estimate(
        ball, store, "--json", "--range", "300", "900", "--handedness", "left",
        "--model", "hand", "--model-version", "1",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["handedness"] == {"label": "left", "score": 1.0}
    assert answer["reference_point_mm"]["found_by"] == "hint"
    outside = estimate(ball, store, "--roi", "9000", "0", "9001", "1")
    assert "roi_px (9000, 0, 9001, 1) lies outside" in outside.stderr


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--range", "5000", "6000"], "found 0 readings between 5000 and 6000 mm"),
        (["--model", "foot"], "no model 'foot'; the store has: hand"),
        (["--unit-mm", "0"], "depth_unit_mm must be > 0"),
        (["--fx", "-1"], "fx_px must be > 0"),
        (["--picture", "/nowhere/out.png"], "cannot write /nowhere/out.png: No such file"),
    ],
)
def test_what_is_refused_is_one_line_on_stderr_and_exit_code_1(
    store: Path, ball: Path, more: list[str], text: str
) -> None:
    result = estimate(ball, store, *more)
    assert result.exit_code == 1
    assert result.stderr.startswith("v2vpose: ")
    assert text in result.stderr
    assert result.stderr.count("\n") == 1


def test_files_that_are_no_depth_map_are_refused(store: Path, tmp_path: Path) -> None:
    colour = tmp_path / "colour.png"
    cv2.imwrite(str(colour), np.zeros((4, 4, 3), np.uint8))
    result = estimate(colour, store)
    assert (result.exit_code, result.stderr) == (
        1, "v2vpose: expected a 16-bit greyscale PNG, found 8-bit RGB\n",
    )  # fmt: skip
    missing = estimate(tmp_path / "none.png", store)
    assert missing.exit_code == 1
    assert "cannot read" in missing.stderr


def test_a_missing_option_is_exit_code_2(ball: Path) -> None:
    result = run("estimate", ball, "--fx", "1")
    assert result.exit_code == 2
    assert "Missing option" in result.stderr


def test_models_are_listed(store: Path) -> None:
    result = run("models", "--store", store)
    assert result.exit_code == 0
    assert "hand" in result.stdout


def test_a_store_that_is_not_there_is_refused(tmp_path: Path) -> None:
    result = run("models", "--store", tmp_path / "none")
    assert result.exit_code == 1
    assert "expected a directory, found none" in result.stderr


def test_an_empty_store_is_refused(tmp_path: Path) -> None:
    result = run("models", "--store", tmp_path)
    assert (result.exit_code, result.stderr) == (1, f"v2vpose: no models in {tmp_path}\n")


def test_serve_refuses_a_wrong_variable_in_one_line(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("V2VPOSE_HTTP_PROT", "1")
    result = run("serve", "--store", store)
    assert result.exit_code == 1
    assert "unknown environment variable V2VPOSE_HTTP_PROT" in result.stderr


def saved_rows(path: Path, *, frames: int = 4, off_px: float = 0.0) -> Path:
    rows = np.random.default_rng(1).uniform(100, 200, (frames, 14 * 3))
    np.savetxt(path, rows + off_px * (np.arange(42) % 3 == 0))
    return path


def evaluate_nyu(labels: Path, *more: str | Path) -> Result:
    return run("evaluate", "--dataset", "nyu", "--labels", labels, *more)


def test_two_methods_are_compared_from_their_files(tmp_path: Path) -> None:
    labels = saved_rows(tmp_path / "truth.txt")
    good = saved_rows(tmp_path / "good.txt", off_px=0.5)
    bad = saved_rows(tmp_path / "bad.txt", off_px=4)
    page = tmp_path / "page.html"
    more = ("--predictions", f"ours={good}", "--predictions", bad, "--report", page)
    done = evaluate_nyu(labels, *more)
    assert done.exit_code == 0, done.stderr
    assert "nyu, 4 frames" in done.stdout
    assert done.stdout.index("ours") < done.stdout.index("bad")
    assert "<svg" in page.read_text()
    told = evaluate_nyu(labels, *more, "--json", "--centre-source", "official")
    methods = json.loads(told.stdout)["methods"]
    assert [method["name"] for method in methods] == ["ours", "bad"]
    assert methods[0]["centre_source"] == "official"


def test_files_that_do_not_match_are_refused(tmp_path: Path) -> None:
    labels = saved_rows(tmp_path / "truth.txt")
    short = saved_rows(tmp_path / "short.txt", frames=3)
    done = evaluate_nyu(labels, "--predictions", short)
    assert done.exit_code == 1
    assert done.stderr.startswith("v2vpose: short: ")
    assert "found (3, 14, 3), expected (4, 14, 3)" in done.stderr


def test_evaluate_refuses_what_does_not_fit_together(tmp_path: Path) -> None:
    labels = saved_rows(tmp_path / "truth.txt")
    both = ("--predictions", labels, "--model", "hand")
    for more, text in (
        ((), "--labels and --predictions together"),
        (both, "files of predictions or a model, found both"),
        (("--predictions", labels, "--predictions", labels), "found truth twice"),
    ):
        done = evaluate_nyu(labels, *more)
        assert done.exit_code == 1
        assert text in done.stderr


def test_a_data_set_that_is_not_there_is_reported_with_its_first_missing_file(
    tmp_path: Path,
) -> None:
    done = run("datasets", "check", "nyu", "--root", tmp_path)
    assert done.exit_code == 1
    assert "72,757" in done.stdout
    assert "joint_data.mat" in done.stdout


def test_weights_that_cannot_be_read_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    broken, out = tmp_path / "model.net", tmp_path / "store" / "nyu" / "1"
    broken.write_bytes(b"no weights")
    done = run("import", "t7", broken, "--out", out, "--dataset", "nyu")
    assert done.exit_code == 1
    assert str(broken) in done.stderr
    assert not out.exists()


def test_a_model_is_measured_on_held_out_frames(tmp_path: Path) -> None:
    version = write_tiny_store(tmp_path, names=HAND_KEYPOINTS)
    page = tmp_path / "page.html"
    done = run(
        "evaluate", "--frames", "2", "--json", "--report", page,
        "--store", version.directory.parents[1],
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["frames"] == 2
    assert [m["name"] for m in found["methods"]] == [
        "hand 1, epoch 3, not refined",
        "hand 1, epoch 3",
        "hand 1, ensemble of 3",
        "hand 1, ensemble of 3, sub-voxel",
    ]
    assert found["methods"][0]["centre_source"] == "own depth threshold"
    assert found["methods"][1]["centre_source"] == "own depth threshold, refined"
    assert "not refined" in page.read_text()


def test_model_body_is_measured_on_held_out_bodies(tmp_path: Path) -> None:
    version = write_tiny_store(tmp_path, model="body", names=known_set("itop").keypoints)
    room = {"subject": Subject.BODY, "handedness": None, "side_mm": 2400.0, "far_mm": 6000.0}
    write_manifest(version.directory, version.manifest.model_copy(update=room))
    store = version.directory.parents[1]
    done = run("evaluate", "--dataset", "body", "--frames", "2", "--json", "--store", store)
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["dataset"], found["frames"]) == ("body", 2)
    assert found["methods"][0]["precision"]["threshold_mm"] == 100


def test_a_model_is_asked_what_it_finds_where_nothing_is(tmp_path: Path) -> None:
    judge = HandednessJudge(epoch=2, per_confidence=40, min_confidence=0.99)
    version = write_tiny_store(tmp_path, names=HAND_KEYPOINTS, judge=judge)
    asked = (
        "evaluate",
        "--empty-scenes",
        "7",
        "--frames",
        "2",
        "--store",
        version.directory.parents[1],
    )
    done = run(*asked, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["empty_scenes"], found["frames"], found["min_confidence"]) == (7, 2, 0.99)
    assert (found["nothing_found_percent"], found["refused_percent"]) == (100.0, 100.0)
    assert found["by_subject"]["open box"]["scenes"] == 1
    shown = run(*asked)
    assert "hand 1: 7 empty scenes" in shown.stdout
    assert "0.99 *" in shown.stdout
    refused = run(*asked, "--report", tmp_path / "page.html")
    assert refused.exit_code == 1
    assert "--empty-scenes: expected generated frames of hands, and no --report" in refused.stderr


def test_a_data_set_on_disk_needs_its_directory(store: Path) -> None:
    done = run("evaluate", "--model", "hand", "--dataset", "nyu", "--store", store)
    assert done.exit_code == 1
    assert "--root: expected the directory of nyu" in done.stderr


def test_table_2_is_measured_on_the_hand_model(tmp_path: Path) -> None:
    version = write_tiny_store(tmp_path / "store", names=HAND_KEYPOINTS)
    done = run(
        "ablate", "table2", "--frames", "2", "--out", tmp_path / "out",
        "--store", version.directory.parents[1],
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "refined, ensemble (hand 1, ensemble of 3)" in (tmp_path / "out/table2.md").read_text()


def test_a_body_model_on_itop_is_measured_by_precision(tmp_path: Path) -> None:
    known = known_set("itop")
    centres = np.array([[0.1, 0.2, 1.1], [-0.2, 0.1, 1.2], [0.0, 0.0, 1.2]])
    balls = [
        sphere_frame((x * 1000, -y * 1000, z * 1000), radius_mm=150, intrinsics=known.intrinsics)
        for x, y, z in centres.tolist()
    ]
    write_itop(
        tmp_path / "itop", view="top", split="test", ids=["00_00000", "00_00001", "00_00002"],
        depth_m=np.stack([ball.depth_mm / 1000 for ball in balls]), is_valid=[1, 0, 1],
        xyz_up_m=np.repeat(centres[:, None], 15, axis=1),
    )  # fmt: skip
    version = write_tiny_store(tmp_path / "store", model="itop", names=known.keypoints)
    done = run(
        "evaluate", "--model", "itop", "--dataset", "itop", "--view", "top", "--json",
        "--root", tmp_path / "itop", "--store", version.directory.parents[1],
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["frames"] == 2  # the invalid one is left out
    assert found["curve_mm"][-1] == 400
    for method in found["methods"]:
        assert list(method["precision"]["per_part_percent"])[:2] == ["head", "neck"]
        assert method["centre_source"].startswith("own depth threshold")
        assert method["yaw"] is None
    other = run(
        "evaluate", "--model", "itop", "--dataset", "hand", "--store", version.directory.parents[1]
    )
    assert other.exit_code == 1
    assert "at place 0 expected wrist, found head" in other.stderr
