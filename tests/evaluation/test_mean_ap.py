import numpy as np
import pytest

from v2vpose.errors import InvalidFieldError
from v2vpose.evaluation.mean_ap import PARTS, mean_ap, mean_of_parts
from v2vpose.model_store.importers.known_sets import ITOP

# Table 4 of the paper: front view, top view.
TABLE_4 = {
    "head": (98.29, 98.40),
    "neck": (99.07, 98.91),
    "shoulders": (97.18, 96.87),
    "elbows": (80.42, 79.16),
    "hands": (67.26, 62.44),
    "torso": (98.73, 97.78),
    "hips": (93.23, 86.91),
    "knees": (91.80, 83.28),
    "feet": (87.60, 69.62),
}


@pytest.mark.parametrize(("column", "printed"), [(0, 88.74), (1, 83.44)])
def test_the_papers_rows_give_its_means_when_pairs_count_twice(column, printed):
    rows = {part: values[column] for part, values in TABLE_4.items()}
    assert round(mean_of_parts(rows), 2) == printed
    assert round(float(np.mean(list(rows.values()))), 1) != round(printed, 1)


def test_parts_are_itops_joints_by_name():
    for part, members in PARTS.items():
        singular = {"feet": "foot"}.get(part, part.removesuffix("s"))
        assert all(ITOP.keypoints[m].endswith(singular) for m in members)
    assert sorted(m for members in PARTS.values() for m in members) == list(range(15))


def test_found_means_nearer_than_ten_centimetres():
    distance_mm = np.full((4, 15), 99.9)
    distance_mm[0, 0] = 100.0
    distance_mm[:2, 6] = 150.0
    found = mean_ap(distance_mm)
    assert found.per_keypoint_percent[0] == 75
    assert found.per_part_percent["hands"] == 75  # one of two joints in half of the frames
    assert found.mean_percent == pytest.approx((75 + 50 + 13 * 100) / 15)


@pytest.mark.parametrize("shape", [(4, 14), (0, 15), (15,)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(InvalidFieldError, match="15 joints"):
        mean_ap(np.zeros(shape))
