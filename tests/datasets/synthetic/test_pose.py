"""Sampled poses stay within the joints' limits and do not pass through themselves."""

import numpy as np

from v2vpose.datasets.synthetic import kinematics, people, pose
from v2vpose.datasets.synthetic.gestures import LIMITS_DEG
from v2vpose.datasets.synthetic.grasp import sample_grasp
from v2vpose.datasets.synthetic.kinematics import Array
from v2vpose.datasets.synthetic.rig import RestHand, load_rig
from v2vpose.datasets.synthetic.solids import Box, Capsule, Ellipsoid


def someone(seed: int) -> RestHand:
    rig = load_rig()
    rng = np.random.default_rng(seed)
    return people.sample_person(rig, people.split_scores(rig.sample_scores)["train"], rng)


def sampled(count: int) -> Array:
    rng, hand = np.random.default_rng(5), someone(5)
    return np.stack([pose.sample_angles(load_rig(), hand, rng) for _ in range(count)])


def test_every_angle_is_within_its_limits() -> None:
    angles = np.degrees(sampled(200))
    assert (angles >= LIMITS_DEG[0] - 1e-9).all()
    assert (angles <= LIMITS_DEG[1] + 1e-9).all()


def test_poses_cover_straight_and_curled_fingers_and_a_bent_wrist() -> None:
    angles = np.degrees(sampled(300))
    for finger in range(4):
        pip = angles[:, 4 * finger + 2]
        assert (pip < 15.0).mean() > 0.1
        assert (pip > 80.0).mean() > 0.05
    assert 10.0 < angles[:, 23].std() < 35.0


def test_capsules_of_a_sampled_pose_hardly_overlap() -> None:
    rig, hand = load_rig(), someone(5)
    deepest = [
        kinematics.penetration(rig.pose(hand, a).keypoints / hand.scale, pose.CAPSULE_RADII_MM)
        for a in sampled(150)
    ]
    assert np.quantile(deepest, 0.95) <= pose.ALLOWED_PENETRATION_MM + 0.5


def test_crossed_fingers_are_a_penetration() -> None:
    rig, hand = load_rig(), someone(5)
    angles = np.zeros(kinematics.NUM_ANGLES)
    straight = kinematics.penetration(rig.pose(hand, angles).keypoints, pose.CAPSULE_RADII_MM)
    angles[0], angles[4] = np.radians(-22.0), np.radians(14.0)
    crossed = kinematics.penetration(rig.pose(hand, angles).keypoints, pose.CAPSULE_RADII_MM)
    assert straight < 3.0
    assert crossed > 6.0


def test_a_pinch_brings_the_thumb_to_a_fingertip() -> None:
    rig, hand = load_rig(), someone(9)
    rng = np.random.default_rng(2)
    gaps = []
    for _ in range(20):
        points = rig.pose(hand, pose.sample_pinch(rig, hand, rng)).keypoints / hand.scale
        gaps.append(np.linalg.norm(points[[4, 8, 12, 16]] - points[20], axis=1).min())
    assert np.median(gaps) < pose.PINCH_GAP_MM + 4.0


def test_fingers_hold_an_object_and_do_not_enter_it_far() -> None:
    rig, hand = load_rig(), someone(4)
    rng = np.random.default_rng(8)
    touching = 0
    for _ in range(20):
        angles, grasped = sample_grasp(rig, hand, rng)
        points = rig.pose(hand, angles).keypoints / hand.scale
        local = np.abs((points - grasped.centre) @ grasped.axes.T) - grasped.half
        outside = np.linalg.norm(local.clip(0.0), axis=1)
        gap = outside + np.minimum(local.max(axis=1), 0.0) - grasped.round_mm
        assert gap[1:].min() > -12.0
        touching += int((gap[[4, 8, 12, 16, 20]] < 16.0).sum() >= 2)
    assert touching >= 14


def test_a_held_object_becomes_the_solid_that_it_is() -> None:
    rig, hand = load_rig(), someone(4)
    rng = np.random.default_rng(8)
    kinds = {
        type(sample_grasp(rig, hand, rng)[1].moved(1.0, np.eye(3), np.zeros(3))) for _ in range(30)
    }
    assert kinds == {Box, Capsule, Ellipsoid}
