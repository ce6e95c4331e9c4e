import numpy as np
import pytest

from tests.datasets import second_reader
from tests.datasets.writers import blank, write_nyu_labels, write_nyu_png, write_png16
from v2vpose.datasets.disk import check_dataset, open_dataset
from v2vpose.errors import InvalidDepthMapError, InvalidFieldError
from v2vpose.values import Handedness


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    xyz = np.round(rng.uniform(-300, 900, (3, 3, 36, 3)), 4)
    xyz[0, 1, 32] = (-12.5, 40.25, 710.0)  # the palm, 40 mm above the axis
    write_nyu_labels(tmp_path / "train", xyz)
    write_nyu_labels(tmp_path / "test", xyz[:, :1])
    for number in (1, 2):
        depth = blank(640, 480, {(639, 0): 700 + number, (0, 479): 255, (3, 4): 256, (5, 6): 2047})
        write_nyu_png(tmp_path / "train" / f"depth_1_{number:07d}.png", depth)
    write_nyu_png(tmp_path / "test" / "depth_1_0000001.png", blank(640, 480, {(9, 9): 1200}))
    return tmp_path


def test_a_frame_is_read_to_the_millimetre(root):
    frame = open_dataset("nyu", root, "train").frame(1)
    assert frame.name == "depth_1_0000002.png"
    assert frame.depth_mm.shape == (480, 640)
    found = {(int(u), int(v)): float(frame.depth_mm[v, u]) for v, u in np.argwhere(frame.depth_mm)}
    assert found == {(639, 0): 702, (0, 479): 255, (3, 4): 256, (5, 6): 2047}
    assert frame.keypoints_mm.shape == (14, 3)
    np.testing.assert_array_equal(frame.keypoints_mm[13], [-12.5, -40.25, 710.0])  # y down
    assert frame.handedness is Handedness.RIGHT


def test_every_frame_agrees_with_the_second_reader(root):
    for number, frame in enumerate(open_dataset("nyu", root, "train")):
        expected = second_reader.nyu_joints(root / "train" / "joint_data.mat", number)
        np.testing.assert_allclose(frame.keypoints_mm, expected, atol=1e-9)
        readings = second_reader.nyu_png(root / "train" / frame.name)
        assert {(u, v): frame.depth_mm[v, u] for v, u in np.argwhere(frame.depth_mm)} == readings


def test_a_missing_frame_is_skipped_and_counted(root):
    frames = open_dataset("nyu", root, "train")
    assert len(frames) == 2
    assert frames.skipped == {"depth file missing": 1}
    with pytest.raises(IndexError):
        frames.frame(2)


def test_official_centres_are_y_up_in_the_file(root):
    (root / "center_test_refined.txt").write_text("-133.25 -12.5 762\n")
    frame = open_dataset("nyu", root, "test").frame(0)
    np.testing.assert_array_equal(frame.centre_mm, [-133.25, 12.5, 762])


def test_the_check_counts_and_names_the_first_missing_file(root):
    found = check_dataset("nyu", root)
    assert [(c.found, c.expected) for c in found.counts] == [
        (3, (72_757,)),
        (2, (72_757,)),
        (1, (8_252,)),
        (1, (8_252,)),
    ]
    assert found.first_missing == root / "train" / "depth_1_0000003.png"


def test_labels_of_another_shape_are_refused(root):
    write_nyu_labels(root / "train", np.zeros((3, 2, 14, 3)))
    with pytest.raises(InvalidFieldError, match=r"\(3, N, 36, 3\), found \(3, 2, 14, 3\)"):
        open_dataset("nyu", root, "train")


def test_a_grey_image_is_refused(root):
    write_png16(root / "train" / "depth_1_0000001.png", blank(640, 480, {}))
    with pytest.raises(InvalidDepthMapError, match="three bytes a pixel, found uint16"):
        open_dataset("nyu", root, "train").frame(0)
