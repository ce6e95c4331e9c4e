from dataclasses import replace

import numpy as np
import pytest

from tests.stores import NUM_KEYPOINTS, write_tiny_store
from tests.training.conftest import Ball, ball_frame
from v2vpose.errors import NothingToEstimateError
from v2vpose.estimator import Estimator, Options
from v2vpose.evaluation.measure import figures, measure
from v2vpose.values import Decode, DepthFrame, Handedness


def labelled(index: int) -> Ball:
    """A ball with as many keypoints as the tiny model has."""
    ball = ball_frame(index)
    points = np.resize(ball.keypoints_mm, (NUM_KEYPOINTS, 3))
    return replace(ball, keypoints_mm=points, handedness=Handedness.RIGHT)


@pytest.fixture
def estimator(tmp_path):
    return Estimator.load(write_tiny_store(tmp_path), backend="torch")


def test_figures_are_those_of_the_poses_that_the_estimator_gives(estimator):
    frames = [labelled(i) for i in range(4)]
    result = figures(measure(estimator, frames))
    errors = []
    for frame in frames:
        pose = estimator.estimate(
            DepthFrame(frame.depth_mm, frame.intrinsics), Options(decode=Decode.ARGMAX)
        )
        errors.append(np.linalg.norm(pose.keypoints_mm - frame.keypoints_mm, axis=1))
    assert result["argmax"]["ensemble"]["mean_mm"] == round(float(np.mean(errors)), 3)
    assert len(result["argmax"]["single_mm"]) == 3
    assert result["handedness_right_percent"] == 100
    assert (result["frames"], result["unanswered"]) == (4, 0)


def test_the_ensemble_is_no_worse_than_its_members_on_average(estimator):
    result = figures(measure(estimator, [labelled(i) for i in range(4)]))
    for decode in ("argmax", "subvoxel"):
        single_mm = np.mean(result[decode]["single_mm"])
        assert result[decode]["ensemble"]["mean_mm"] <= single_mm + 1e-3


def test_frames_without_a_target_are_counted_and_left_out(estimator):
    empty = replace(labelled(1), depth_mm=np.zeros((120, 160), np.float32))
    measured = measure(estimator, [labelled(0), empty, labelled(2)])
    assert measured.unanswered == (1,)
    assert measured.truth_mm.shape == (2, NUM_KEYPOINTS, 3)
    assert figures(measured)["frames"] == 3


def test_an_unanswered_frame_is_a_failure_in_every_share(estimator):
    empty = replace(labelled(1), depth_mm=np.zeros((120, 160), np.float32))
    result = figures(measure(estimator, [labelled(0), empty]))
    assert result["handedness_right_percent"] == 50


def test_not_one_answer_is_refused_with_the_count(estimator):
    empty = replace(labelled(1), depth_mm=np.zeros((120, 160), np.float32))
    with pytest.raises(NothingToEstimateError, match="none of 2 frames"):
        measure(estimator, [empty, empty])


def test_a_wrong_hand_is_counted(estimator):
    left = replace(labelled(0), handedness=Handedness.LEFT)
    result = figures(measure(estimator, [left, labelled(1)]))
    assert result["handedness_right_percent"] == 50


def test_the_reference_points_are_measured_from_the_middle_of_the_bounding_box(estimator):
    frame = labelled(0)
    result = figures(measure(estimator, [frame]))
    pose = estimator.estimate(DepthFrame(frame.depth_mm, frame.intrinsics))
    points = frame.keypoints_mm
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    expected = np.linalg.norm(pose.reference_point.xyz_mm - middle)
    assert result["reference_point_mm"]["first"]["mean"] == round(float(expected), 2)
