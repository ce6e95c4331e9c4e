import struct

import numpy as np
import pytest

from tests.datasets import second_reader
from tests.datasets.writers import write_msra_bin, write_msra_labels
from v2vpose.datasets.disk import check_dataset, open_dataset
from v2vpose.errors import InvalidDepthMapError, InvalidFieldError


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    joints = {
        key: np.round(rng.uniform((-200, -150, -500), (200, 150, -200), (count, 21, 3)), 3)
        for key, count in {(0, "1"): 2, (0, "TIP"): 1, (3, "T"): 122, (8, "Y"): 1}.items()
    }
    joints[0, "1"][1, 0] = (-20.5, 35.25, -333.0)  # above the axis, z negative
    write_msra_labels(tmp_path, joints)
    for (subject, gesture), rows in joints.items():
        for number in range(len(rows)):
            path = tmp_path / f"P{subject}" / gesture / f"{number:06d}_depth.bin"
            write_msra_bin(path, np.array([[300.5, 0], [0, 301.25], [302, 303]]), left=318, top=100)
    (tmp_path / "P8" / "Y" / "000000_depth.bin").unlink()
    return tmp_path


def test_a_frame_is_read_to_the_millimetre_and_the_patch_lies_where_its_box_says(root):
    frame = open_dataset("msra", root, "test", fold=0).frame(1)
    assert frame.name == "P0/1/000001_depth.bin"
    found = {(int(u), int(v)): float(frame.depth_mm[v, u]) for v, u in np.argwhere(frame.depth_mm)}
    assert found == {(318, 100): 300.5, (319, 101): 301.25, (318, 102): 302, (319, 102): 303}
    np.testing.assert_array_equal(frame.keypoints_mm[0], [-20.5, -35.25, 333.0])


def test_every_frame_agrees_with_the_second_reader(root):
    for frame in open_dataset("msra", root, "test", fold=0):
        path = root / frame.name
        number = int(path.name[:6])
        expected = second_reader.msra_joints(path.parent / "joint.txt", number)
        np.testing.assert_allclose(frame.keypoints_mm, expected, atol=1e-9)
        readings = second_reader.msra_bin(path)
        assert {(u, v): frame.depth_mm[v, u] for v, u in np.argwhere(frame.depth_mm)} == readings


def test_a_fold_leaves_its_subject_out_of_training(root):
    train = open_dataset("msra", root, "train", fold=0)
    test = open_dataset("msra", root, "test", fold=0)
    assert {f.name[:2] for f in train} == {"P3"}
    assert {f.name[:2] for f in test} == {"P0"}


def test_faulty_and_missing_frames_are_left_out_of_training_and_counted(root):
    train = open_dataset("msra", root, "train", fold=0)
    assert train.skipped == {"depth file missing": 1, "faulty": 1}
    assert len(train) == 121
    assert "P3/T/000120_depth.bin" not in {f.name for f in train}
    assert len(open_dataset("msra", root, "test", fold=3)) == 122  # all test images are valid


def test_official_centres_belong_to_their_fold(root):
    (root / "center_test_0_refined.txt").write_text("1 2 300\n3 4 301\n5 6 302\n")
    frames = open_dataset("msra", root, "test", fold=0)
    np.testing.assert_array_equal(frames.frame(1).centre_mm, [3, -4, 301])
    assert open_dataset("msra", root, "test", fold=3).centre_source == "none"


def test_the_check_knows_both_published_versions(root):
    found = check_dataset("msra", root)
    assert [(c.found, c.expected) for c in found.counts] == [
        (126, (76_391, 76_375)),
        (125, (76_391, 76_375)),
    ]
    assert found.first_missing == root / "P8" / "Y" / "000000_depth.bin"


def test_a_missing_folder_is_named_first(root):
    (root / "P4" / "5" / "joint.txt").unlink()
    assert check_dataset("msra", root).first_missing == root / "P4" / "5" / "joint.txt"
    with pytest.raises(InvalidFieldError, match=r"P4/5/joint\.txt: expected a file"):
        open_dataset("msra", root, "train", fold=0)


@pytest.mark.parametrize(
    "text", ["2\n" + "1 " * 63 + "\n", "1\n" + "1 " * 62 + "\n", "", "x\n", "1\n" + "x " * 63]
)
def test_labels_that_do_not_hold_what_they_announce_are_refused(root, text):
    (root / "P0" / "1" / "joint.txt").write_text(text)
    with pytest.raises(InvalidFieldError, match=r"P0/1/joint\.txt: expected"):
        open_dataset("msra", root, "test", fold=0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        struct.pack("<6i", 320, 240, 0, 0, 2, 2) + bytes(12),
        struct.pack("<6i", 320, 240, 319, 0, 321, 2) + bytes(16),
        struct.pack("<6i", 320, 240, 5, 5, 5, 5),
        struct.pack("<6i", 640, 480, 0, 0, 2, 2) + bytes(16),
    ],
)
def test_a_broken_depth_file_is_refused(root, content):
    (root / "P0" / "1" / "000000_depth.bin").write_bytes(content)
    with pytest.raises(InvalidDepthMapError, match=r"000000_depth\.bin: expected"):
        open_dataset("msra", root, "test", fold=0).frame(0)


@pytest.mark.parametrize("fold", [-1, 9])
def test_there_are_nine_folds(root, fold):
    with pytest.raises(InvalidFieldError, match="fold must be 0 to 8"):
        open_dataset("msra", root, "test", fold=fold)
