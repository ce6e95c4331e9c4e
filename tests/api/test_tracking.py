from dataclasses import replace

import numpy as np

from tests.api.fakes import KEYPOINTS_MM, pose, with_peak
from tests.frames import sphere_frame
from v2vpose.api.tracking import Tracker
from v2vpose.estimator import Options
from v2vpose.values import FoundBy, Handedness, Hint

FOUND = pose(sphere_frame((0.0, 0.0, 400.0)))
CALLERS = Options(hint=Hint(range_mm=(200, 900)), epochs=(1,))


def test_without_a_target_the_callers_options_hold() -> None:
    tracker = Tracker(CALLERS, min_peak=0.3)
    assert tracker.options() == CALLERS
    assert tracker.followed(FOUND) == FOUND


def test_the_next_point_is_the_midpoint_of_the_last_poses_bounding_box() -> None:
    tracker = Tracker(CALLERS, min_peak=0.3)
    tracker.learn(FOUND)
    low, high = KEYPOINTS_MM.min(axis=0), KEYPOINTS_MM.max(axis=0)
    options = tracker.options()
    assert options.hint.reference_point_mm is not None
    np.testing.assert_allclose(options.hint.reference_point_mm, (low + high) / 2)
    assert options.hint.range_mm is None
    assert options.epochs == (1,)


def test_the_hand_stays_the_one_that_was_found() -> None:
    tracker = Tracker(Options(), min_peak=0.3)
    left = replace(FOUND, handedness=(Handedness.LEFT, 0.8))
    tracker.learn(left)
    assert tracker.options().handedness is Handedness.LEFT
    guessed = replace(FOUND, handedness=(Handedness.LEFT, 1.0))
    assert tracker.followed(guessed).handedness == (Handedness.LEFT, 0.8)


def test_a_followed_pose_says_so_and_how_sure_its_point_was() -> None:
    tracker = Tracker(Options(), min_peak=0.3)
    tracker.learn(with_peak(FOUND, 0.6))
    point = tracker.followed(FOUND).reference_point
    assert point.found_by is FoundBy.TRACKING
    assert point.score == 0.6


def test_an_unsure_pose_is_not_followed() -> None:
    tracker = Tracker(Options(), min_peak=0.3)
    tracker.learn(FOUND)
    assert tracker.is_sure(FOUND)
    tracker.learn(with_peak(FOUND, 0.29))
    assert not tracker.has_target


def test_a_pose_behind_the_camera_is_not_followed() -> None:
    tracker = Tracker(Options(), min_peak=0.3)
    tracker.learn(replace(FOUND, keypoints_mm=KEYPOINTS_MM * (1, 1, -1)))
    assert not tracker.has_target
