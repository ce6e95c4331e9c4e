import pickle

import numpy as np
import pytest

from tests.datasets import second_reader
from tests.datasets.writers import write_itop
from v2vpose.datasets.disk import check_dataset, open_dataset
from v2vpose.errors import InvalidFieldError

IDS = ["00_00000", "00_00001", "01_00002"]


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    depth_m = np.zeros((3, 240, 320))
    depth_m[1, 5, 7] = 2.5
    depth_m[1, 239, 319] = 3.125
    depth_m[1, 0, 0] = np.inf
    depth_m[1, 0, 1] = -1
    depth_m[1, 0, 2] = np.nan
    xyz = rng.uniform((-1, -1, 2), (1, 1, 4), (3, 15, 3))
    xyz[1, 0] = (0.25, 0.5, 2.75)  # half a metre above the axis
    for view in ("side", "top"):
        for split in ("train", "test"):
            write_itop(
                tmp_path,
                view=view,
                split=split,
                ids=IDS,
                depth_m=depth_m,
                is_valid=[0, 1, 1],
                xyz_up_m=xyz,
            )
    return tmp_path


@pytest.mark.parametrize("view", ["side", "top"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_frame_is_read_to_the_millimetre_and_invalid_ones_are_counted(root, view, split):
    frames = open_dataset("itop", root, split, view=view)
    assert [f.name for f in frames] == IDS[1:]
    assert frames.skipped == {"label invalid": 1}
    frame = frames.frame(0)
    np.testing.assert_array_equal(frame.keypoints_mm[0], [250, -500, 2750])
    found = {(int(u), int(v)): float(frame.depth_mm[v, u]) for v, u in np.argwhere(frame.depth_mm)}
    assert found == {(7, 5): 2500, (319, 239): 3125}
    assert frame.depth_mm.dtype == np.float32


def test_every_frame_agrees_with_the_second_reader(root):
    for frame in open_dataset("itop", root, "train"):
        readings, points = second_reader.itop_frame(root, "side", "train", frame.name)
        np.testing.assert_allclose(frame.keypoints_mm, points, atol=1e-9)
        assert {(u, v): frame.depth_mm[v, u] for v, u in np.argwhere(frame.depth_mm)} == readings


def test_official_centres_are_y_up_and_in_metres_in_the_file(root):
    (root / "side_view").mkdir()
    (root / "side_view" / "center_test.txt").write_text(
        "invalid invalid invalid\n0.125 0.25 2.5\n1 1 1\n"
    )
    frames = open_dataset("itop", root, "test")
    np.testing.assert_array_equal(frames.frame(0).centre_mm, [125, -250, 2500])
    assert frames.centre_source == "side_view/center_test.txt"


def test_a_set_goes_to_another_process_without_its_open_file(root):
    frames = open_dataset("itop", root, "train")
    before = frames.frame(0).depth_mm
    copy = pickle.loads(pickle.dumps(frames))  # noqa: S301  # our own bytes
    np.testing.assert_array_equal(copy.frame(0).depth_mm, before)


def test_the_check_counts_valid_frames_and_names_the_first_missing_file(root):
    (root / "ITOP_top_train_depth_map.h5").rename(root / "ITOP_top_train_depth_map.h5.gz")
    found = check_dataset("itop", root)
    assert found.first_missing == root / "ITOP_top_train_depth_map.h5"
    assert [(c.found, c.expected[0]) for c in found.counts[:3]] == [
        (3, 39_795),
        (2, 17_991),
        (3, 39_795),
    ]
    with pytest.raises(InvalidFieldError, match=r"gunzip ITOP_top_train_depth_map\.h5\.gz first"):
        open_dataset("itop", root, "train", view="top")


def test_what_is_no_hdf5_file_is_refused(root):
    (root / "ITOP_side_train_labels.h5").write_bytes(b"no")
    with pytest.raises(InvalidFieldError, match="expected an HDF5 file"):
        open_dataset("itop", root, "train")
