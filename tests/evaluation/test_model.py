from dataclasses import replace

import numpy as np
import pytest

from tests.datasets.writers import write_nyu_labels, write_nyu_png
from tests.frames import sphere_frame
from tests.stores import write_tiny_store
from v2vpose.datasets.disk import open_dataset
from v2vpose.datasets.synthetic import SyntheticHands
from v2vpose.datasets.synthetic.hands import HAND_KEYPOINTS
from v2vpose.errors import InvalidFieldError
from v2vpose.estimator import Estimator, Options
from v2vpose.evaluation.model import Centres, evaluate_model
from v2vpose.model_store.importers import known_set
from v2vpose.values import Decode, DepthFrame, Hint

NYU = known_set("nyu")


@pytest.fixture
def nyu(tmp_path):
    """Three balls in NYU's format."""
    rng = np.random.default_rng(0)
    centre = np.array([[10.0, 20, 600], [-40, 0, 700], [0, 60, 800]])
    xyz = centre[None, :, None] + rng.uniform(-60, 60, (3, 3, 36, 3))
    for split in ("train", "test"):
        write_nyu_labels(tmp_path / split, xyz * [1, -1, 1])
        for number, point in enumerate(centre, start=1):
            x, y, z = (float(c) for c in point)
            ball = sphere_frame((x, y, z), hw=(480, 640), intrinsics=NYU.intrinsics)
            write_nyu_png(tmp_path / split / f"depth_1_{number:07d}.png", ball.depth_mm)
    rows = (centre * [1, -1, 1]).tolist()
    text = "".join(f"{x:.3f} {y:.3f} {z:.3f}\n" for x, y, z in rows)
    (tmp_path / "center_test_refined.txt").write_text(text)
    return open_dataset("nyu", tmp_path, "test")


@pytest.fixture
def version(tmp_path):
    return write_tiny_store(tmp_path / "store", model="nyu", names=NYU.keypoints)


def mean_mm(poses, frames):
    off = [p.keypoints_mm - f.keypoints_mm for p, f in zip(poses, frames, strict=True)]
    return float(np.linalg.norm(off, axis=-1).mean())


def test_the_rows_of_table_2_are_what_the_estimator_says(version, nyu):
    result = evaluate_model(version, nyu, dataset="nyu", keypoints=NYU.keypoints, backend="torch")
    estimator = Estimator.load(version, backend="torch")
    frames = list(nyu)
    rows = {m.name.removeprefix("nyu 1, "): m for m in result.methods}
    for name, options in (
        ("epoch 3", Options(epochs=(3,), decode=Decode.ARGMAX)),
        ("ensemble of 3", Options(decode=Decode.ARGMAX)),
        ("ensemble of 3, sub-voxel", Options(decode=Decode.SUBVOXEL)),
    ):
        poses = [estimator.estimate(DepthFrame(f.depth_mm, f.intrinsics), options) for f in frames]
        assert rows[name].distance.mean_mm == pytest.approx(mean_mm(poses, frames), abs=1e-9)
        assert rows[name].centre_source == "own depth threshold, refined"
    assert rows["epoch 3, not refined"].centre_source == "own depth threshold"
    assert rows["epoch 3, not refined"].distance.mean_mm != rows["epoch 3"].distance.mean_mm
    assert result.facts["handedness"] == "told"
    assert list(result.facts["single_epochs_mm"]["argmax"]) == [1, 2, 3]


def test_official_centres_are_taken_as_they_are(version, nyu):
    result = evaluate_model(
        version, nyu, dataset="nyu", keypoints=NYU.keypoints, centres=Centres.OFFICIAL,
        official=nyu.centre_source, backend="torch",
    )  # fmt: skip
    assert [m.name for m in result.methods] == [
        "nyu 1, epoch 3", "nyu 1, ensemble of 3", "nyu 1, ensemble of 3, sub-voxel",
    ]  # fmt: skip
    assert {m.centre_source for m in result.methods} == {nyu.centre_source}
    assert "center_test_refined.txt" in nyu.centre_source
    off = result.facts["reference_point_off_mm"]
    assert off["first"] == off["refined"]  # no refiner moved them
    middles = [(f.keypoints_mm.min(axis=0) + f.keypoints_mm.max(axis=0)) / 2 for f in nyu]
    centres = [f.centre_mm for f in nyu]
    expected = np.linalg.norm(np.subtract(middles, centres), axis=1).mean()
    assert off["first"]["mean"] == round(float(expected), 2)


def test_centres_of_the_labels_are_the_middle_of_their_box(version, nyu):
    result = evaluate_model(
        version,
        nyu,
        dataset="nyu",
        keypoints=NYU.keypoints,
        centres=Centres.LABELS,
        backend="torch",
    )
    assert result.facts["reference_point_off_mm"]["first"]["mean"] == 0
    assert "a bound, no result" in result.methods[0].centre_source


def test_a_model_of_other_keypoints_is_refused(version):
    frames = (SyntheticHands(split="held_out", seed=1).frame(i) for i in range(1))
    with pytest.raises(
        InvalidFieldError, match=r"nyu has other keypoints than hand: at place 0 expected wrist"
    ):
        evaluate_model(version, frames, dataset="hand", keypoints=HAND_KEYPOINTS, backend="torch")


def test_generated_frames_have_no_official_centres(tmp_path):
    version = write_tiny_store(tmp_path, names=HAND_KEYPOINTS)
    frames = (SyntheticHands(split="held_out", seed=1).frame(i) for i in range(1))
    with pytest.raises(InvalidFieldError, match="expected an official centre"):
        evaluate_model(
            version,
            frames,
            dataset="hand",
            keypoints=HAND_KEYPOINTS,
            centres=Centres.OFFICIAL,
            backend="torch",
        )


def test_the_unrefined_row_looks_where_the_refined_one_began(version, nyu):
    frame = nyu.frame(0)
    seen = DepthFrame(frame.depth_mm, frame.intrinsics)
    estimator = Estimator.load(version, backend="torch")
    first = estimator.estimate(seen).reference_point.xyz_mm
    from v2vpose.evaluation.model import _last, _unrefined

    plain = _last(_unrefined(version), "torch")
    x, y, z = (float(c) for c in first)
    pose = plain.estimate(seen, Options(hint=Hint(reference_point_mm=(x, y, z))))
    np.testing.assert_array_equal(pose.refined_point_mm, first)


def test_frames_without_labels_are_refused(version, nyu):
    frame = nyu.frame(0)
    unlabelled = replace(frame, keypoints_mm=np.full((14, 3), np.nan))
    with pytest.raises(InvalidFieldError, match="this split has none"):
        evaluate_model(
            version, [unlabelled], dataset="nyu", keypoints=NYU.keypoints, backend="torch"
        )


def test_a_hand_that_is_not_told_is_counted(version, nyu):
    found = evaluate_model(
        version, nyu, dataset="nyu", keypoints=NYU.keypoints, hand_is_told=False, backend="torch"
    )
    assert found.facts["handedness"] == "found, right in 100.0 %"
