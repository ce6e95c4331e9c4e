import numpy as np
import pytest

from tests.frames import CAMERA, pixel_of, sphere_frame
from v2vpose.errors import InvalidFieldError, NothingToEstimateError
from v2vpose.localise import first_reference_point
from v2vpose.values import DepthFrame, FoundBy, Hint, ReferencePoint

BALL_MM = (40.0, -30.0, 500.0)


def find(frame: DepthFrame, hint: Hint | None = None) -> ReferencePoint:
    return first_reference_point(frame, hint or Hint(), side_mm=250, near_mm=100, far_mm=1500)


def test_a_ball_before_a_wall_is_found_at_its_visible_surface():
    point = find(sphere_frame(BALL_MM, wall_mm=1200))
    assert point.found_by is FoundBy.THRESHOLD
    np.testing.assert_allclose(point.xyz_mm[:2], BALL_MM[:2], atol=6)
    assert 440 < point.xyz_mm[2] < 500  # a surface lies before its centre
    assert 0 < point.score < 1


def test_a_wall_close_behind_does_not_win_over_the_nearer_ball():
    point = find(sphere_frame(BALL_MM, wall_mm=700))
    np.testing.assert_allclose(point.xyz_mm[:2], BALL_MM[:2], atol=6)


def test_specks_nearer_than_the_ball_are_not_the_target():
    frame = sphere_frame(BALL_MM)
    frame.depth_mm[5:9, 5:9] = 200
    np.testing.assert_allclose(find(frame).xyz_mm[:2], BALL_MM[:2], atol=6)


def test_a_given_reference_point_is_taken_as_it_is():
    point = find(sphere_frame(BALL_MM), Hint(reference_point_mm=(1.0, 2.0, 300.0)))
    np.testing.assert_array_equal(point.xyz_mm, [1, 2, 300])
    assert (point.found_by, point.score) == (FoundBy.HINT, 1.0)


def test_a_range_hides_what_is_nearer():
    frame = sphere_frame(BALL_MM)
    frame.depth_mm[100:220, 10:100] = 250
    np.testing.assert_allclose(
        find(frame, Hint(range_mm=(400, 800))).xyz_mm[:2], BALL_MM[:2], atol=6
    )


def test_a_region_of_interest_hides_what_is_outside():
    frame = sphere_frame(BALL_MM)
    frame.depth_mm[100:220, 10:100] = 250
    u, v = pixel_of(BALL_MM)
    point = find(frame, Hint(roi_px=(u - 40, v - 40, u + 40, v + 40)))
    np.testing.assert_allclose(point.xyz_mm[:2], BALL_MM[:2], atol=6)
    assert point.found_by is FoundBy.HINT


def test_an_empty_frame_is_refused_with_the_counts():
    frame = DepthFrame(np.zeros((240, 320), np.float32), CAMERA)
    with pytest.raises(NothingToEstimateError, match="found 0 readings between 100 and 1500 mm"):
        find(frame)


def test_metres_sent_as_millimetres_are_refused_with_a_pointer_to_the_unit():
    frame = sphere_frame(BALL_MM, wall_mm=1200)
    metres = DepthFrame(frame.depth_mm / np.float32(1000), CAMERA)
    with pytest.raises(NothingToEstimateError, match="check depth_unit_mm"):
        find(metres)


def test_a_region_outside_the_depth_map_is_refused():
    with pytest.raises(InvalidFieldError, match=r"lies outside the 320 x 240 depth map"):
        find(sphere_frame(BALL_MM), Hint(roi_px=(400, 0, 500, 100)))
