import numpy as np
import pytest

from tests.datasets import second_reader
from tests.datasets.writers import blank, write_hands17, write_png16
from v2vpose.datasets.disk import check_dataset, open_dataset

NAMES = [f"image_D{number:08d}.png" for number in (1, 2, 3)]


@pytest.fixture(params=["\t", " ", "  "], ids=["tabs", "spaces", "two spaces"])
def root(tmp_path, request):
    rng = np.random.default_rng(0)
    joints = np.round(rng.uniform((-200, -150, 200), (200, 150, 900), (3, 21, 3)), 4)
    joints[0, 0] = (40.0702, 36.5302, 523.1406)
    write_hands17(tmp_path, list(zip(NAMES, joints, strict=True)), separator=request.param)
    for i, name in enumerate(NAMES[:2]):
        depth = blank(640, 480, {(639, 479): 500 + i, (0, 7): 32001})
        write_png16(tmp_path / "training" / "images" / name, depth)
    return tmp_path


def test_a_frame_is_read_to_the_millimetre(root):
    frame = open_dataset("hands17", root, "train").frame(0)
    assert frame.name == "image_D00000001.png"
    np.testing.assert_allclose(frame.keypoints_mm[0], [40.0702, 36.5302, 523.1406], atol=1e-4)
    found = {(int(u), int(v)): float(frame.depth_mm[v, u]) for v, u in np.argwhere(frame.depth_mm)}
    assert found == {(639, 479): 500, (0, 7): 32001}
    assert frame.intrinsics.cx_px == 315.944855


def test_every_frame_agrees_with_the_second_reader(root):
    lines = (root / "training" / "Training_Annotation.txt").read_text().splitlines()
    frames = list(open_dataset("hands17", root, "train"))
    assert len(frames) == 2
    for frame, line in zip(frames, lines, strict=False):
        np.testing.assert_allclose(frame.keypoints_mm, second_reader.hands17_line(line), atol=1e-4)
        readings = second_reader.png16(root / "training" / "images" / frame.name)
        assert {(u, v): frame.depth_mm[v, u] for v, u in np.argwhere(frame.depth_mm)} == readings


def test_missing_and_faulty_frames_are_counted(root):
    path = root / "training" / "Training_Annotation.txt"
    path.write_text(path.read_text() + f"{NAMES[0]}\t1\t2\n")
    assert open_dataset("hands17", root, "train").skipped == {"depth file missing": 1, "faulty": 1}


def test_the_test_set_has_images_and_centres_but_no_labels(root):
    write_png16(root / "frame" / "images" / NAMES[0], blank(640, 480, {(1, 1): 600}))
    (root / "frame" / "BoundingBox.txt").write_text(f"{NAMES[0]}\t10\t20\t100\t120\n")
    (root / "center_test_refined.txt").write_text("1 -2 600\n")
    frame = open_dataset("hands17", root, "test").frame(0)
    assert np.isnan(frame.keypoints_mm).all()
    assert frame.keypoints_mm.shape == (21, 3)
    np.testing.assert_array_equal(frame.centre_mm, [1, -2, 600])


def test_the_check_counts_and_names_the_first_missing_file(root):
    found = check_dataset("hands17", root)
    assert [(c.found, c.expected[0]) for c in found.counts] == [
        (3, 957_032),
        (2, 957_032),
        (0, 295_510),
        (0, 295_510),
    ]
    assert found.first_missing == root / "training" / "images" / NAMES[2]
