"""The published figures must come out to the printed digit."""

from pathlib import Path

import numpy as np
import pytest

from v2vpose.errors import InvalidFieldError
from v2vpose.evaluation.distance import report, success_percent

LABELS = Path(__file__).parents[3] / "shared" / "data" / "labels"
needs_labels = pytest.mark.skipif(not LABELS.exists(), reason="published labels are not here")


def world(path: Path, camera: tuple[float, float, float, float]) -> np.ndarray:
    fx, fy, cx, cy = camera
    uvd = np.loadtxt(path).reshape(len(path.read_text().splitlines()), -1, 3)
    x = (uvd[..., 0] - cx) * uvd[..., 2] / fx
    y = (uvd[..., 1] - cy) * uvd[..., 2] / fy
    return np.stack([x, y, uvd[..., 2]], axis=-1)


@needs_labels
@pytest.mark.parametrize(
    ("name", "camera", "mean_mm", "success"),
    [
        ("icvl", (240.99, 240.96, 160, 120), 6.284, (45.30, 84.65, 93.92, 97.18, 98.75)),
        ("nyu", (588.03, -587.07, 320, 240), 8.419, (30.53, 71.24, 83.12, 88.09, 91.97)),
    ],
)
def test_the_published_predictions_give_the_published_figures(name, camera, mean_mm, success):
    found = world(LABELS / name / "v2v_posenet_uvd.txt", camera)
    truth = world(LABELS / name / "ground_truth_uvd.txt", camera)
    result = report(found, truth)
    assert round(result.mean_mm, 3) == mean_mm
    assert tuple(round(s, 2) for s in result.success_percent.values()) == success


def test_a_frame_succeeds_by_its_worst_keypoint():
    distance_mm = np.array([[1.0, 9.0], [1.0, 11.0], [35.0, 0.0], [10.0, 10.0]])
    assert success_percent(distance_mm, (10, 20, 40)) == [50, 75, 100]


def test_means_by_keypoint_and_over_all():
    truth = np.zeros((2, 2, 3))
    found = np.array([[[3, 4, 0], [0, 0, 1]], [[0, 0, 15], [0, 0, 3]]], dtype=np.float64)
    result = report(found, truth)
    np.testing.assert_allclose(result.per_keypoint_mm, [10, 2])
    assert result.mean_mm == 6
    assert result.median_mm == 4
    assert result.frames == 2


def test_a_missing_frame_is_refused():
    with pytest.raises(InvalidFieldError, match=r"found \(3, 2, 3\), expected \(4, 2, 3\)"):
        report(np.zeros((3, 2, 3)), np.zeros((4, 2, 3)))
