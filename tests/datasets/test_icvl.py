import numpy as np
import pytest

from tests.datasets import second_reader
from tests.datasets.writers import blank, write_icvl, write_png16
from v2vpose.datasets.disk import check_dataset, open_dataset
from v2vpose.errors import InvalidDepthMapError, InvalidFieldError
from v2vpose.values import DepthFrame, Handedness

PALM_UVD = (280.71, 180.355, 400.0)  # 120.71 px right of and 60.355 px below the middle
PALM_MM = (200.0, 100.0, 400.0)


def uvd(seed=0):
    rng = np.random.default_rng(seed)
    points = np.round(rng.uniform((0, 0, 200), (320, 240, 500), (16, 3)), 3)
    points[0] = PALM_UVD
    return points


@pytest.fixture
def root(tmp_path):
    names = ["201403121135/image_0000.png", "45/image_0001.png", "45/gone.png", "45/image_0003.png"]
    write_icvl(tmp_path, "train", [(name, uvd(i)) for i, name in enumerate(names)])
    for i, name in enumerate(names):
        if "gone" not in name:
            depth = blank(320, 240, {(0, 0): 300 + i, (319, 239): 65535, (7, 5): 1})
            write_png16(tmp_path / "Training" / "Depth" / name, depth)
    tests = ["test_seq_1/image_0000.png", "test_seq_2/image_0000.png"]
    write_icvl(tmp_path, "test", [(name, uvd(9)) for name in tests])
    for name in tests:
        write_png16(tmp_path / "Testing" / "Depth" / name, blank(320, 240, {(1, 2): 345}))
    return tmp_path


def test_a_frame_is_read_to_the_millimetre(root):
    frames = open_dataset("icvl", root, "train")
    frame = frames.frame(1)
    assert frame.name == "45/image_0001.png"
    assert frame.depth_mm.dtype == np.float32
    assert frame.depth_mm.shape == (240, 320)
    assert frame.depth_mm[0, 0] == 301
    assert frame.depth_mm[239, 319] == 65535
    assert frame.depth_mm[5, 7] == 1
    assert np.count_nonzero(frame.depth_mm) == 3
    np.testing.assert_allclose(frame.keypoints_mm[0], PALM_MM, atol=1e-9)
    assert frame.handedness is Handedness.LEFT
    assert frame.centre_mm is None
    DepthFrame(frame.depth_mm, frame.intrinsics)


def test_every_frame_agrees_with_the_second_reader(root):
    lines = (root / "Training" / "labels.txt").read_text().splitlines()
    for frame in open_dataset("icvl", root, "train"):
        (line,) = (one for one in lines if one.startswith(frame.name))
        np.testing.assert_allclose(frame.keypoints_mm, second_reader.icvl_line(line), atol=1e-6)
        readings = second_reader.png16(root / "Training" / "Depth" / frame.name)
        assert {(u, v): frame.depth_mm[v, u] for v, u in np.argwhere(frame.depth_mm)} == readings


def test_a_missing_frame_is_skipped_and_counted(root):
    frames = open_dataset("icvl", root, "train")
    assert [f.name for f in frames] == [
        "201403121135/image_0000.png",
        "45/image_0001.png",
        "45/image_0003.png",
    ]
    assert frames.skipped == {"depth file missing": 1}


def test_a_line_that_is_not_48_numbers_is_skipped_and_counted(root):
    path = root / "Training" / "labels.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0][:-9], lines[1].replace("280.710", "nan"), lines[3]]))
    frames = open_dataset("icvl", root, "train")
    assert len(frames) == 1
    assert frames.skipped == {"faulty": 2}


def test_both_test_sequences_are_read_in_order(root):
    frames = open_dataset("icvl", root, "test")
    assert [f.name[:10] for f in frames] == ["test_seq_1", "test_seq_2"]


def test_official_centres_come_along_and_invalid_ones_drop_training_frames(root):
    (root / "center_train_refined.txt").write_text(
        "1.5 -2.5 300\ninvalid invalid invalid\n1 2 3\n4 5 6\n"
    )
    (root / "center_test_refined.txt").write_text("invalid invalid invalid\n7 8 9\n")
    train, test = (open_dataset("icvl", root, split) for split in ("train", "test"))
    assert train.skipped == {"centre invalid": 1, "depth file missing": 1}
    np.testing.assert_array_equal(train.frame(0).centre_mm, [1.5, -2.5, 300])
    assert train.centre_source == "center_train_refined.txt"
    assert len(test) == 2  # all test images are valid
    assert test.frame(0).centre_mm is None
    np.testing.assert_array_equal(test.frame(1).centre_mm, [7, 8, 9])


def test_centres_of_another_version_are_refused(root):
    (root / "center_train_refined.txt").write_text("1 2 3\n")
    with pytest.raises(InvalidFieldError, match="line for each of 4 listed frames, found 1"):
        open_dataset("icvl", root, "train")


def test_a_broken_image_is_refused_with_its_name_when_asked_for(root):
    (root / "Training" / "Depth" / "45" / "image_0001.png").write_bytes(b"no image")
    write_png16(root / "Training" / "Depth" / "45" / "image_0003.png", blank(8, 8, {}))
    frames = open_dataset("icvl", root, "train")
    with pytest.raises(InvalidDepthMapError, match=r"image_0001\.png: expected an image"):
        frames.frame(1)
    with pytest.raises(InvalidDepthMapError, match=r"expected a 320 x 240 PNG of 16 bits, found"):
        frames.frame(2)


def test_the_check_counts_and_names_the_first_missing_file(root):
    found = check_dataset("icvl", root)
    assert {c.what: c.found for c in found.counts} == {
        "train labels": 4,
        "train depth maps": 3,
        "test labels": 2,
        "test depth maps": 2,
    }
    assert [c.expected for c in found.counts] == [(331_006,), (331_006,), (1_596,), (1_596,)]
    assert found.first_missing == root / "Training" / "Depth" / "45" / "gone.png"
    assert not found.complete


def test_the_check_names_a_missing_list(tmp_path):
    assert check_dataset("icvl", tmp_path).first_missing == tmp_path / "Training" / "labels.txt"


def test_a_missing_list_is_refused(tmp_path):
    with pytest.raises(InvalidFieldError, match=r"labels\.txt: expected a file of the data set"):
        open_dataset("icvl", tmp_path, "train")
