import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.datasets import second_reader
from v2vpose.__main__ import app
from v2vpose.datasets.disk import check_dataset, open_dataset
from v2vpose.datasets.synthetic import SyntheticBodies, SyntheticHands
from v2vpose.datasets.synthetic.cameras import Camera
from v2vpose.datasets.synthetic.hands import HAND_KEYPOINTS
from v2vpose.datasets.synthetic.sets import nyu_joints
from v2vpose.geometry.camera import pixel_from_camera
from v2vpose.model_store.importers.known_sets import ITOP, NYU

CAMERA = Camera(hw=(480, 640), intrinsics=NYU.intrinsics)


def synth(out: Path, kind: str, *, seed: int = 3, subject: str = "hand") -> None:
    command = ["synth", "--format", kind, "--frames", "3", "--test-frames", "2"]
    command += ["--subject", subject]
    done = CliRunner().invoke(app, [*command, "--seed", str(seed), "--out", str(out)])
    assert done.exit_code == 0, done.output


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def nyu(tmp_path_factory):
    out = tmp_path_factory.mktemp("synth") / "nyu"
    synth(out, "nyu")
    return out


def test_a_set_in_nyus_layout_holds_the_generated_frames(nyu):
    found = check_dataset("nyu", nyu)
    assert [count.found for count in found.counts] == [3, 3, 2, 2]
    assert found.first_missing is None
    for split, name in (("train", "train"), ("test", "held_out")):
        hands = SyntheticHands(split=name, seed=3, camera=CAMERA)  # type: ignore[arg-type]
        for index, frame in enumerate(open_dataset("nyu", nyu, split)):  # type: ignore[arg-type]
            expected = hands.right_hand_frame(index)
            np.testing.assert_array_equal(frame.depth_mm, np.rint(expected.depth_mm))
            at = dict(zip(NYU.keypoints, frame.keypoints_mm, strict=True))
            for theirs, ours in (
                ("little_tip", "little_tip"), ("index_mid", "index_pip"),
                ("thumb_tip", "thumb_tip"), ("thumb_mid", "thumb_ip"), ("thumb_root", "thumb_mcp"),
            ):  # fmt: skip
                truth = expected.keypoints_mm[HAND_KEYPOINTS.index(ours)]
                np.testing.assert_allclose(at[theirs], truth, atol=1e-9)


def test_the_second_reader_reads_the_same(nyu):
    for index, frame in enumerate(open_dataset("nyu", nyu, "train")):
        joints = second_reader.nyu_joints(nyu / "train" / "joint_data.mat", index)
        np.testing.assert_allclose(frame.keypoints_mm, joints, atol=1e-9)
        readings = second_reader.nyu_png(nyu / "train" / frame.name)
        rows, cols = np.nonzero(frame.depth_mm)
        assert len(readings) == len(rows) > 1000
        assert all(
            readings[u, v] == frame.depth_mm[v, u]
            for v, u in zip(rows[::50], cols[::50], strict=True)
        )


def test_the_labels_have_nyus_shapes_and_both_systems_agree(nyu):
    from scipy.io import loadmat

    labels = loadmat(nyu / "train" / "joint_data.mat")
    xyz, uvd = labels["joint_xyz"], labels["joint_uvd"]
    assert xyz.shape == uvd.shape == (3, 3, 36, 3)
    down = xyz[0] * (1, -1, 1)
    np.testing.assert_allclose(uvd[0, ..., :2], pixel_from_camera(down, NYU.intrinsics), atol=1e-9)
    np.testing.assert_array_equal(uvd[0, ..., 2], xyz[0, ..., 2])
    assert (nyu / "train" / "joint_data.mat").read_bytes()[:10] == b"MATLAB 5.0"


def test_chains_run_from_tip_to_base_and_the_palm_lies_between_wrist_and_knuckle():
    line = np.arange(21.0)[:, None] * (1.0, 0.5, 0.0)
    points = nyu_joints(line)
    assert points.shape == (36, 3)
    np.testing.assert_array_equal(points[0:6, 0], [16, 15.5, 15, 14, 13.5, 13])  # little
    np.testing.assert_array_equal(points[24:30, 0], [20, 19, 18.5, 18, 17.5, 17])  # thumb
    np.testing.assert_allclose(np.linalg.norm(points[30] - points[31]), 50)
    assert points[32, 0] == (0 + 5) / 2


@pytest.mark.parametrize("kind", ["nyu", "png", "hdf5"])
def test_the_same_seed_gives_the_same_bytes_and_another_one_others(kind, tmp_path):
    for name, seed in (("one", 5), ("two", 5), ("other", 6)):
        synth(tmp_path / name, kind, seed=seed)
    one, two, other = (digests(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())


def test_pngs_and_their_labels_tell_each_frames_own_camera(tmp_path):
    import cv2

    synth(tmp_path, "png")
    rows = [json.loads(line) for line in (tmp_path / "test/labels.jsonl").read_text().splitlines()]
    hands = SyntheticHands(split="held_out", seed=3)
    for index, row in enumerate(rows):
        expected = hands.frame(index)
        image = cv2.imread(str(tmp_path / "test" / row["file"]), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(image, np.rint(expected.depth_mm))
        np.testing.assert_allclose(row["keypoints_mm"], expected.keypoints_mm, atol=5e-4)
        assert row["handedness"] == expected.handedness
        assert row["fx_px"] == pytest.approx(expected.intrinsics.fx_px, abs=5e-5)


def test_one_hdf5_file_holds_a_split(tmp_path):
    h5py = pytest.importorskip("h5py")
    synth(tmp_path, "hdf5")
    hands = SyntheticHands(split="train", seed=3, camera=CAMERA)
    with h5py.File(tmp_path / "train.h5") as file:
        assert list(file.attrs["keypoints"]) == list(HAND_KEYPOINTS)
        assert file.attrs["fx_px"] == NYU.intrinsics.fx_px
        for index in range(3):
            expected = hands.frame(index)
            np.testing.assert_array_equal(file["depth_mm"][index], np.rint(expected.depth_mm))
            np.testing.assert_array_equal(file["keypoints_mm"][index], expected.keypoints_mm)
            assert file["is_left"][index] == (expected.handedness == "left")


def test_a_directory_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("do not touch")
    done = CliRunner().invoke(app, ["synth", "--frames", "1", "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert "expected an empty or a new directory" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("kind", ["png", "hdf5"])
def test_bodies_have_itops_keypoints_and_no_hand(kind, tmp_path):
    h5py = pytest.importorskip("h5py")
    synth(tmp_path / "set", kind, subject="body")
    camera = None if kind == "png" else Camera(hw=(240, 320), intrinsics=ITOP.intrinsics)
    expected = SyntheticBodies(split="train", seed=3, camera=camera).frame(0)
    if kind == "hdf5":
        with h5py.File(tmp_path / "set/train.h5") as file:
            assert "is_left" not in file
            assert list(file.attrs["keypoints"]) == list(ITOP.keypoints)
            keypoints_mm, depth_mm = file["keypoints_mm"][0], file["depth_mm"][0]
            assert file.attrs["fx_px"] == ITOP.intrinsics.fx_px
    else:
        first = (tmp_path / "set/train/labels.jsonl").read_text().splitlines()[0]
        row = json.loads(first)
        assert "handedness" not in row
        keypoints_mm = np.array(row["keypoints_mm"])
        depth_mm = cv2.imread(str(tmp_path / "set/train" / row["file"]), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(keypoints_mm, expected.keypoints_mm, atol=1e-3)
    np.testing.assert_array_equal(depth_mm, np.rint(expected.depth_mm))


def test_nyus_layout_is_refused_for_bodies(tmp_path):
    command = ["synth", "--subject", "body", "--out", str(tmp_path / "set")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code != 0
    assert "format nyu holds hands, found subject body" in done.output
