from collections.abc import Sequence

import numpy as np
import pytest

from tests.frames import CAMERA, sphere_frame
from tests.stores import NUM_KEYPOINTS, write_tiny_store
from v2vpose.errors import InvalidFieldError, NothingToEstimateError, UnknownModelError
from v2vpose.estimator import Estimator, Localiser, Options, mean_pose
from v2vpose.geometry.camera import mirrored, mirrored_points
from v2vpose.member import Member, MemberBatch
from v2vpose.model_store import HandednessJudge, Manifest
from v2vpose.values import (
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


def answer(keypoints_mm: FloatArray, occupied_vox: int = 10) -> MemberAnswer:
    return MemberAnswer(keypoints_mm, np.ones(len(keypoints_mm)), np.zeros(3), occupied_vox)


class OneTarget:
    """A detector that sees one hand at a cell of the output."""

    def __init__(self, *, score: float) -> None:
        self._score = score

    def heat(self, image: np.ndarray) -> tuple[FloatArray, FloatArray]:
        rows, cols = (size // 4 for size in image.shape[1:])
        heat = np.zeros((rows, cols))
        heat[15, 21] = self._score
        return heat, np.full((rows, cols), 0.48)


class SurerOf(Member):
    """A judge that is surer of the crop as it is than of its mirror image, by `lead`."""

    def __init__(self, lead: float) -> None:
        self._lead = lead
        self.seen: list[TargetCrop] = []

    def estimate(self, crops: Sequence[TargetCrop], decode: Decode) -> MemberBatch:
        assert decode is Decode.ARGMAX
        self.seen += crops
        points = np.zeros((NUM_KEYPOINTS, 3))
        confidences = (0.4 + self._lead, 0.4)
        return MemberBatch(
            tuple(
                MemberAnswer(points, np.full(NUM_KEYPOINTS, c), np.zeros(3), 1) for c in confidences
            )
        )


@pytest.fixture
def judged(version):
    judge = HandednessJudge(epoch=2, per_confidence=40)
    return version.manifest.model_copy(update={"judge": judge})


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


def test_a_detector_gives_point_and_score(version):
    localiser = Localiser(version.manifest, OneTarget(score=0.8), None)
    target = localiser.locate(FRAME, Options())
    assert target.reference_point.found_by is FoundBy.DETECTOR
    assert target.reference_point.score == 0.8
    assert abs(target.reference_point.xyz_mm[2] - 480) < 20  # the readings there, and flesh behind


@pytest.mark.parametrize(("lead", "hand"), [(0.05, Handedness.RIGHT), (-0.05, Handedness.LEFT)])
def test_the_hand_is_the_one_that_the_judge_is_surer_of(judged, lead, hand):
    localiser = Localiser(judged, None, SurerOf(lead))
    for options in (Options(), Options(hint=AT_BALL)):
        target = localiser.locate(FRAME, options)
        assert target.handedness is not None
        assert target.handedness[0] is hand
        np.testing.assert_allclose(target.handedness[1], 1 / (1 + np.exp(-40 * 0.05)))
        assert target.is_mirrored is (hand is Handedness.LEFT)


def test_the_judge_sees_the_crop_and_its_mirror_image(judged):
    judge = SurerOf(0.05)
    Localiser(judged, None, judge).locate(FRAME, Options(hint=AT_BALL))
    as_it_is, in_mirror = judge.seen
    np.testing.assert_array_equal(as_it_is.depth_mm, in_mirror.depth_mm[:, ::-1])
    np.testing.assert_array_equal(
        as_it_is.reference_point_mm * [-1, 1, 1], in_mirror.reference_point_mm
    )


class TwoTargets(OneTarget):
    """A detector that sees a wrong place first, and the ball a little weaker."""

    def heat(self, image: np.ndarray) -> tuple[FloatArray, FloatArray]:
        heat, depth_m = super().heat(image)
        heat[4, 4] = 1.2 * self._score
        return heat, depth_m


class SurerThere(Member):
    """A judge that is surest of crops whose reference point is at the ball."""

    def __init__(self) -> None:
        self.count = 0

    def estimate(self, crops: Sequence[TargetCrop], decode: Decode) -> MemberBatch:
        assert decode is Decode.ARGMAX
        self.count += len(crops)
        answers = []
        for crop in crops:
            distance_mm = abs(abs(crop.reference_point_mm[0]) - 30)
            confidence = np.full(NUM_KEYPOINTS, 0.9 if distance_mm < 20 else 0.1)
            answers.append(MemberAnswer(np.zeros((NUM_KEYPOINTS, 3)), confidence, np.zeros(3), 1))
        return MemberBatch(tuple(answers))


def test_of_two_places_the_judge_takes_the_one_that_looks_like_a_hand(judged):
    judge = SurerThere()
    target = Localiser(judged, TwoTargets(score=0.6), judge).locate(FRAME, Options())
    assert target.reference_point.score == 0.6
    np.testing.assert_allclose(target.reference_point.xyz_mm[0], 30, atol=15)
    assert judge.count == 4  # two places, two hands


def test_without_a_judge_the_best_detection_is_the_target(version):
    target = Localiser(version.manifest, TwoTargets(score=0.6), None).locate(FRAME, Options())
    np.testing.assert_allclose(target.reference_point.score, 0.72)


def test_a_caller_who_knows_the_hand_is_not_second_guessed(judged):
    judge = SurerOf(0.05)
    options = Options(handedness=Handedness.LEFT)
    target = Localiser(judged, None, judge).locate(FRAME, options)
    assert target.handedness == (Handedness.LEFT, 1.0)
    assert target.is_mirrored
    assert judge.seen == []


def test_a_weak_detection_is_nothing_to_estimate(version):
    with pytest.raises(
        NothingToEstimateError, match=r"no hand in view: the best detection scored 0\.10, need 0\.2"
    ):
        Localiser(version.manifest, OneTarget(score=0.1), None).locate(FRAME, Options())


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
    target = Localiser(version.manifest, None, None).locate(FRAME, Options(hint=AT_BALL))
    keypoints_mm = np.array([[0, 0, 500.0], [0, 0, -5.0], [900, 0, 500.0]])
    pose = mean_pose(FRAME, target, {1: answer(keypoints_mm)})
    assert pose.in_view.tolist() == [True, False, False]
    assert np.isnan(pose.uv_px[1]).all()


def test_the_spread_of_one_member_is_zero_and_of_two_half_their_distance(version):
    target = Localiser(version.manifest, None, None).locate(FRAME, Options(hint=AT_BALL))
    a, b = np.array([[0, 0, 500.0]]), np.array([[0, 6.0, 508.0]])
    assert mean_pose(FRAME, target, {1: answer(a)}).spread_mm == [0]
    both = mean_pose(FRAME, target, {1: answer(a), 2: answer(b)})
    np.testing.assert_allclose(both.spread_mm, [5])
    np.testing.assert_allclose(both.keypoints_mm, [[0, 3, 504]])
    assert both.degraded  # epoch 3 was asked and did not answer


def test_a_manifest_names_what_it_holds(version):
    assert isinstance(version.manifest, Manifest)
    assert version.manifest.epoch_numbers == (1, 2, 3)
