"""The rig: a plausible right hand with its keypoints inside the flesh."""

import numpy as np
import pytest

from v2vpose.datasets.synthetic import people
from v2vpose.datasets.synthetic.hands import HAND_KEYPOINTS, HAND_SKELETON
from v2vpose.datasets.synthetic.kinematics import NUM_ANGLES, NUM_BONES, Array
from v2vpose.datasets.synthetic.pose import sample_angles
from v2vpose.datasets.synthetic.rig import HandRig, RestHand, Sleeve, load_rig


@pytest.fixture(scope="module")
def rig() -> HandRig:
    return load_rig()


def average(rig: HandRig, length_mm: float = 188.0, sleeve: Sleeve | None = None) -> RestHand:
    ones = np.ones(NUM_BONES)
    return rig.rest(
        np.zeros(len(rig.components_mm)),
        stretch=ones,
        thickness=ones,
        length_mm=length_mm,
        sleeve=sleeve or Sleeve(0.0, 0.0),
    )


def winding_numbers(points: Array, vertices: Array, triangles: np.ndarray) -> Array:
    """Solid angle of the mesh from each point / 4 pi (van Oosterom, Strackee): 1 inside, 0 out."""
    a, b, c = (vertices[triangles[:, i]][None] - points[:, None] for i in range(3))
    la, lb, lc = (np.linalg.norm(x, axis=2) for x in (a, b, c))
    volume = np.einsum("ptk,ptk->pt", a, np.cross(b, c))
    base = la * lb * lc + (a * b).sum(2) * lc + (b * c).sum(2) * la + (c * a).sum(2) * lb
    return np.asarray(2.0 * np.arctan2(volume, base).sum(axis=1) / (4.0 * np.pi))


def bone_lengths_mm(keypoints: Array) -> Array:
    return np.array([np.linalg.norm(keypoints[b] - keypoints[a]) for a, b in HAND_SKELETON])


def test_every_keypoint_is_inside_the_flesh_in_any_pose(rig: HandRig) -> None:
    shapes = people.split_scores(rig.sample_scores)["train"]
    rng = np.random.default_rng(3)
    for _ in range(15):
        person = people.sample_person(rig, shapes, rng)
        posed = rig.pose(person, sample_angles(rig, person, rng))
        winding = winding_numbers(posed.keypoints, posed.vertices, rig.triangles)
        assert winding.min() > 0.9, HAND_KEYPOINTS[int(winding.argmin())]


def test_a_point_beside_the_hand_is_outside_it(rig: HandRig) -> None:
    posed = rig.pose(average(rig), np.zeros(NUM_ANGLES))
    outside = posed.keypoints[[0]] + (0.0, 0.0, 80.0)
    np.testing.assert_allclose(
        winding_numbers(outside, posed.vertices, rig.triangles), 0.0, atol=0.05
    )


def test_the_straight_middle_finger_reaches_the_asked_length(rig: HandRig) -> None:
    for length_mm in (140.0, 188.0, 210.0):
        posed = rig.pose(average(rig, length_mm), np.zeros(NUM_ANGLES))
        tip = posed.keypoints[HAND_KEYPOINTS.index("middle_tip")]
        assert np.linalg.norm(tip - posed.keypoints[0]) == pytest.approx(length_mm, rel=0.01)


def test_bone_lengths_are_those_of_a_hand(rig: HandRig) -> None:
    lengths = bone_lengths_mm(rig.pose(average(rig), np.zeros(NUM_ANGLES)).keypoints)
    # Wrist-knuckle, proximal, middle, distal (to 4 mm before the end), mm; then the thumb.
    low = np.array([[85, 32, 20, 18]] * 3 + [[75, 26, 14, 14]] + [[32, 34, 28, 20]]).ravel()
    high = np.array([[108, 46, 32, 28]] * 3 + [[98, 38, 22, 22]] + [[46, 46, 40, 32]]).ravel()
    assert ((lengths > low) & (lengths < high)).all(), lengths.round(1)


def test_bending_keeps_the_bones_lengths(rig: HandRig) -> None:
    hand = average(rig)
    person_pose = sample_angles(rig, hand, np.random.default_rng(1))
    person_pose[21:23] = 0.0  # cupping moves two metacarpals about a point that is no keypoint
    np.testing.assert_allclose(
        bone_lengths_mm(rig.pose(hand, person_pose).keypoints),
        bone_lengths_mm(rig.pose(hand, np.zeros(NUM_ANGLES)).keypoints),
        rtol=1e-9,
    )


def test_flexion_moves_the_fingertips_out_of_the_palm_side(rig: HandRig) -> None:
    angles = np.zeros(NUM_ANGLES)
    straight = rig.pose(average(rig), angles).keypoints
    angles[[1, 5, 9, 13]] = np.radians(60.0)
    bent = rig.pose(average(rig), angles).keypoints
    assert (bent[[4, 8, 12, 16], 2] - straight[[4, 8, 12, 16], 2] > 25.0).all()


def test_a_sleeve_thickens_the_forearm_and_leaves_the_hand(rig: HandRig) -> None:
    bare = average(rig).vertices
    dressed = average(rig, sleeve=Sleeve(50.0, 15.0)).vertices
    moved = np.linalg.norm(dressed - bare, axis=1)
    assert moved.max() == pytest.approx(15.0, abs=0.1)
    np.testing.assert_array_equal(moved[rig.forearm_share == 0], 0.0)
