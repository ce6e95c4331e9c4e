import numpy as np
import pytest

from v2vpose.errors import InvalidFieldError
from v2vpose.evaluation.published import read_published
from v2vpose.model_store.importers import known_set


def saved(tmp_path, rows):
    path = tmp_path / "file.txt"
    path.write_text("".join(" ".join(map(str, row)) + " \n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("name", "triple", "expected_mm"),
    [
        ("icvl", (280.495, 0, 482), (241, -240 / 240.96 * 241, 482)),
        ("nyu", (320 + 58.803, 240 - 58.707, 1000), (100, -100, 1000)),  # above the axis
        ("msra", (160 + 24.142, 120 + 24.142, 300), (30, 30, 300)),
        ("hands17", (1, 2, 3), (1, 2, 3)),
        ("itop", (0.5, 0.25, 2.5), (500, -250, 2500)),
    ],
)
def test_each_sets_files_become_camera_millimetres(tmp_path, name, triple, expected_mm):
    known = known_set(name)
    path = saved(tmp_path, [triple * len(known.keypoints)] * 2)
    found = read_published(path, known)
    assert found.shape == (2, len(known.keypoints), 3)
    np.testing.assert_allclose(found[1, -1], expected_mm, rtol=1e-9)


def test_trailing_blank_lines_are_no_frames_but_a_blank_one_between_is_a_fault(tmp_path):
    path = saved(tmp_path, [[1] * 45])
    path.write_text(path.read_text() + "\n\n")
    assert len(read_published(path, known_set("itop"))) == 1
    path.write_text("\n" + path.read_text())
    with pytest.raises(InvalidFieldError, match=r"line 1: expected 3 numbers .* found 0"):
        read_published(path, known_set("itop"))


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([], "a line for each frame, found none"),
        ([[1] * 45, [1] * 44], "line 2: expected 3 numbers for each of 15 keypoints, found 44"),
        ([[1] * 44 + ["x"]], "line 1: expected numbers, found others"),
        ([[1] * 45, [1] * 44 + ["nan"]], "line 2: expected finite numbers"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(tmp_path, rows, text):
    with pytest.raises(InvalidFieldError, match=text):
        read_published(saved(tmp_path, rows), known_set("itop"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidFieldError, match=r"none\.txt: expected a file of keypoints"):
        read_published(tmp_path / "none.txt", known_set("icvl"))
