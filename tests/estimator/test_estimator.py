from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.frames import CAMERA, sphere_frame
from tests.stores import NUM_KEYPOINTS, write_tiny_store
from v2vpose.errors import InvalidFieldError, NothingToEstimateError, UnknownModelError
from v2vpose.estimator import Estimator, Localiser, Options, Target, ensemble_pose
from v2vpose.geometry.camera import mirrored, mirrored_points
from v2vpose.member import Member, MemberBatch
from v2vpose.model_store import Calibration, HandednessJudge, Manifest, ModelVersion
from v2vpose.values import (
    Aggregate,
    Decode,
    DepthFrame,
    FloatArray,
    FoundBy,
    Handedness,
    Hint,
    MemberAnswer,
    TargetCrop,
)

FRAME = sphere_frame((30.0, 0.0, 500.0), wall_mm=900)
AT_BALL = Hint(reference_point_mm=(30.0, 0.0, 470.0))


@pytest.fixture
def version(tmp_path):
    return write_tiny_store(tmp_path)


@pytest.fixture
def estimator(version):
    return Estimator.load(version, backend="torch")


def target_of(version: ModelVersion) -> Target:
    (target,) = Localiser(version.manifest, None).search(FRAME, Options(hint=AT_BALL)).targets()
    assert isinstance(target, Target)
    return target


def answer(keypoints_mm: FloatArray, occupied_vox: int = 10) -> MemberAnswer:
    return MemberAnswer(keypoints_mm, np.ones(len(keypoints_mm)), np.zeros(3), occupied_vox)


def test_the_pose_is_the_mean_of_the_epoch_checkpoints(estimator):
    pose = estimator.estimate(FRAME, Options(hint=AT_BALL))
    assert pose.answered == pose.epochs == (1, 2, 3)
    assert not pose.degraded
    each_mm = np.stack([member.keypoints_mm for member in pose.members.values()])
    np.testing.assert_allclose(pose.keypoints_mm, each_mm.mean(axis=0))
    distance_mm = np.linalg.norm(each_mm - pose.keypoints_mm, axis=-1)
    np.testing.assert_allclose(pose.spread_mm, np.sqrt((distance_mm**2).mean(axis=0)))
    assert pose.keypoints_mm.shape == (NUM_KEYPOINTS, 3)


def test_a_subset_of_epochs_is_the_mean_of_those(estimator):
    whole = estimator.estimate(FRAME, Options(hint=AT_BALL))
    some = estimator.estimate(FRAME, Options(hint=AT_BALL, epochs=(3, 1)))
    assert some.answered == (1, 3)
    expected = (whole.members[1].keypoints_mm + whole.members[3].keypoints_mm) / 2
    np.testing.assert_allclose(some.keypoints_mm, expected)


def test_a_left_hand_is_the_mirror_image_of_a_right_one(estimator):
    right = estimator.estimate(FRAME, Options(hint=AT_BALL, handedness=Handedness.RIGHT))
    in_mirror = Hint(reference_point_mm=(-30.0, 0.0, 470.0))
    left = estimator.estimate(mirrored(FRAME), Options(hint=in_mirror, handedness=Handedness.LEFT))
    np.testing.assert_allclose(left.keypoints_mm, mirrored_points(right.keypoints_mm), atol=1e-6)
    np.testing.assert_allclose(left.members[2].keypoints_mm[:, 0],
                               -right.members[2].keypoints_mm[:, 0], atol=1e-6)  # fmt: skip
    assert left.handedness == (Handedness.LEFT, 1.0)


def test_handedness_changes_the_answer(estimator):
    right, left = (
        estimator.estimate(FRAME, Options(hint=AT_BALL, handedness=hand)) for hand in Handedness
    )
    assert np.abs(right.keypoints_mm - left.keypoints_mm).max() > 1


def test_without_a_detector_the_target_is_found_by_threshold(estimator):
    pose = estimator.estimate(FRAME)
    assert pose.reference_point.found_by is FoundBy.THRESHOLD
    assert pose.handedness == (Handedness.RIGHT, 0.5)


def test_an_empty_cube_is_nothing_to_estimate(estimator):
    empty = DepthFrame(np.zeros((240, 320), np.float32), CAMERA)
    with pytest.raises(NothingToEstimateError, match="no readings inside the 250 mm cube"):
        estimator.estimate(empty, Options(hint=AT_BALL))


def test_a_wider_cube_reaches_the_members(estimator):
    assert estimator.estimate(FRAME, Options(hint=AT_BALL, side_mm=300)).side_mm == 300


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (Options(side_mm=-1.0), InvalidFieldError, "side_mm must be > 0, got -1"),
        (Options(side_mm=float("nan")), InvalidFieldError, "side_mm must be > 0, got nan"),
        (Options(epochs=()), InvalidFieldError, "at least one"),
        (Options(epochs=(1, 9)), UnknownModelError, "has no epoch 9; it has 1, 2, 3"),
    ],
)
def test_bad_options_are_refused(estimator, options, error, text):
    with pytest.raises(error, match=text):
        estimator.estimate(FRAME, options)


def test_keypoints_behind_the_camera_have_no_pixel_and_are_not_in_view(version):
    target = target_of(version)
    keypoints_mm = np.array([[0, 0, 500.0], [0, 0, -5.0], [900, 0, 500.0]])
    pose = ensemble_pose(FRAME, target, {1: answer(keypoints_mm)})
    assert pose.in_view.tolist() == [True, False, False]
    assert np.isnan(pose.uv_px[1]).all()


def test_the_spread_of_one_member_is_zero_and_of_two_half_their_distance(version):
    target = target_of(version)
    a, b = np.array([[0, 0, 500.0]]), np.array([[0, 6.0, 508.0]])
    assert ensemble_pose(FRAME, target, {1: answer(a)}).spread_mm == [0]
    both = ensemble_pose(FRAME, target, {1: answer(a), 2: answer(b)})
    np.testing.assert_allclose(both.spread_mm, [5])
    np.testing.assert_allclose(both.keypoints_mm, [[0, 3, 504]])
    assert both.degraded  # epoch 3 was asked and did not answer


def test_the_median_is_of_each_coordinate_and_the_spread_stays(version):
    each_mm = ([0.0, 5, 500], [1.0, 4, 510], [80.0, 3, 490])
    answers = {epoch: answer(np.array([xyz])) for epoch, xyz in enumerate(each_mm, start=1)}
    target = target_of(version)
    mean = ensemble_pose(FRAME, target, answers)
    median = ensemble_pose(FRAME, replace(target, aggregate=Aggregate.MEDIAN), answers)
    np.testing.assert_allclose(mean.keypoints_mm, [[27, 4, 500]])
    np.testing.assert_allclose(median.keypoints_mm, [[1, 4, 500]])
    np.testing.assert_array_equal(median.spread_mm, mean.spread_mm)


def test_the_median_is_asked_for(estimator):
    pose = estimator.estimate(FRAME, Options(hint=AT_BALL, aggregate=Aggregate.MEDIAN))
    each_mm = np.stack([member.keypoints_mm for member in pose.members.values()])
    np.testing.assert_allclose(pose.keypoints_mm, np.median(each_mm, axis=0))


def test_a_member_that_saw_an_empty_box_is_left_out(version):
    target = target_of(version)
    keypoints_mm = np.array([[0, 0, 500.0]])
    answers = {1: answer(keypoints_mm), 2: answer(keypoints_mm + 99, occupied_vox=0)}
    pose = ensemble_pose(FRAME, target, answers)
    np.testing.assert_array_equal(pose.keypoints_mm, keypoints_mm)
    assert (pose.answered, pose.empty, list(pose.members)) == ((1,), (2,), [1])
    assert pose.degraded
    with pytest.raises(NothingToEstimateError, match="250 mm cube"):
        ensemble_pose(FRAME, target, {2: answers[2]})


class Surer(Member):
    """A member that is surer of the crop as it is than of its mirror image, and counts its work."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.sizes: list[int] = []

    def estimate(self, crops: Sequence[TargetCrop], decode: Decode) -> MemberBatch:
        assert decode is Decode.SUBVOXEL
        self.sizes.append(len(crops))
        return MemberBatch(
            tuple(
                MemberAnswer(
                    np.tile(crop.reference_point_mm + self.epoch, (NUM_KEYPOINTS, 1)),
                    np.full(NUM_KEYPOINTS, 0.5 if crop.reference_point_mm[0] > 0 else 0.4),
                    crop.reference_point_mm,
                    1,
                )
                for crop in crops
            )
        )


def test_the_judges_answer_of_the_target_is_its_answer_of_the_ensemble(version):
    judge = HandednessJudge(epoch=2, per_confidence=40)
    manifest = version.manifest.model_copy(update={"judge": judge})
    members = [Surer(epoch) for epoch in (1, 2, 3)]
    estimator = Estimator(Localiser(manifest, None), members)
    pose = estimator.estimate(FRAME, Options(hint=AT_BALL, decode=Decode.SUBVOXEL))
    assert [member.sizes for member in members] == [[1], [2], [1]]
    assert pose.answered == (1, 2, 3)
    np.testing.assert_allclose(pose.keypoints_mm[0], [32, 2, 472])
    assert pose.handedness is not None
    assert pose.handedness[0] is Handedness.RIGHT
    np.testing.assert_allclose(pose.handedness[1], 1 / (1 + np.exp(-40 * 0.1)))
    alone = Options(hint=AT_BALL, decode=Decode.SUBVOXEL, epochs=(1, 3))
    assert estimator.estimate(FRAME, alone).answered == (1, 3)  # it judges, but was not asked
    assert [member.sizes[1:] for member in members] == [[1], [2], [1]]


def test_confidence_is_what_peaks_are_worth_and_the_judge_goes_by_peaks(version):
    judge = HandednessJudge(epoch=2, per_confidence=40)
    table = Calibration(within_mm=20, peaks=[0.0, 0.4, 0.5, 1.0], shares=[0.0, 0.6, 0.9, 0.9])
    manifest = version.manifest.model_copy(update={"judge": judge, "calibration": table})
    estimator = Estimator(Localiser(manifest, None), [Surer(epoch) for epoch in (1, 2, 3)])
    pose = estimator.estimate(FRAME, Options(hint=AT_BALL, decode=Decode.SUBVOXEL))
    np.testing.assert_allclose(pose.confidence, 0.9)
    assert pose.mean_peak == 0.5
    np.testing.assert_allclose(pose.members[2].confidence, 0.5)
    assert pose.handedness is not None
    np.testing.assert_allclose(pose.handedness[1], 1 / (1 + np.exp(-40 * 0.1)))
    np.testing.assert_allclose(
        table.confidence(np.array([0.0, 0.2, 0.45, 1.0])), [0, 0.3, 0.75, 0.9]
    )


def test_every_hint_is_a_target_and_one_without_readings_says_so(estimator):
    frame = sphere_frame((30.0, 0.0, 500.0))
    nowhere = Hint(reference_point_mm=(-400.0, 0.0, 1200.0))
    first, second, third = estimator.estimate_all(
        frame, Options(hints=(AT_BALL, nowhere, AT_BALL), handedness=Handedness.RIGHT)
    )
    alone = estimator.estimate(frame, Options(hint=AT_BALL, handedness=Handedness.RIGHT))
    for pose in (first, third):
        np.testing.assert_array_equal(pose.keypoints_mm, alone.keypoints_mm)
    assert isinstance(second, NothingToEstimateError)


def test_a_manifest_names_what_it_holds(version):
    assert isinstance(version.manifest, Manifest)
    assert version.manifest.epoch_numbers == (1, 2, 3)
