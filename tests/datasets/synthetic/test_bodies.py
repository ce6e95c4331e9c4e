"""Generated people: reproducible, right way round, labels inside the flesh, splits apart."""

import numpy as np
import pytest

from v2vpose.datasets.synthetic import BodyFrame, SyntheticBodies, people, room
from v2vpose.datasets.synthetic.body_pose import reach, sample_turns
from v2vpose.datasets.synthetic.body_rig import (
    BODY_KEYPOINT_MEANING,
    BODY_KEYPOINTS,
    NUM_BONES,
    RestBody,
    load_body_rig,
)
from v2vpose.datasets.synthetic.body_view import sample_view
from v2vpose.datasets.synthetic.cameras import BODY_KINDS, HELD_OUT_SLOTS, sample_camera
from v2vpose.model_store.importers.known_sets import ITOP

K = {name: i for i, name in enumerate(BODY_KEYPOINTS)}
# Where a camera in front of a person that faces it sees rig points.
FACING = np.diag([1.0, -1.0, -1.0])


@pytest.fixture(scope="module")
def frames() -> list[BodyFrame]:
    train = SyntheticBodies(split="train", seed=11)
    return [train.frame(i) for i in range(80)]


@pytest.fixture(scope="module")
def average() -> RestBody:
    rig = load_body_rig()
    return rig.rest(
        np.zeros(rig.sample_scores.shape[1]),
        height_mm=1700.0,
        cloth_mm=np.zeros(len(rig.weights)),
    )


def test_keypoints_are_itops_and_each_has_a_meaning() -> None:
    assert (
        *("head", "neck", "right_shoulder", "left_shoulder", "right_elbow", "left_elbow"),
        *("right_hand", "left_hand", "torso", "right_hip", "left_hip", "right_knee", "left_knee"),
        *("right_foot", "left_foot"),
    ) == BODY_KEYPOINTS
    assert tuple(BODY_KEYPOINT_MEANING) == BODY_KEYPOINTS
    assert SyntheticBodies(split="train", seed=1).keypoints == ITOP.keypoints


def test_somebody_who_faces_the_camera_has_the_right_side_at_the_images_left(
    average: RestBody,
) -> None:
    at_rest = load_body_rig().pose(average, np.tile(np.eye(3), (NUM_BONES, 1, 1)))
    points = at_rest.moved(FACING, np.array([0.0, 0.0, 3000.0])).keypoints
    for part in ("shoulder", "elbow", "hand", "hip", "knee", "foot"):
        assert points[K[f"right_{part}"], 0] < -80.0
        assert points[K[f"left_{part}"], 0] > 80.0
    downward = ("head", "neck", "torso", "right_hip", "right_knee", "right_foot")
    assert (np.diff(points[[K[name] for name in downward], 1]) > 60.0).all()  # y grows downward
    toes = points[K["right_foot"], 2] - points[K["right_knee"], 2]
    assert toes < 0.0  # they point to the camera


def test_limbs_of_an_average_adult_are_as_long_as_peoples(average: RestBody) -> None:
    rng = np.random.default_rng(0)
    rig = load_body_rig()
    points = rig.pose(average, sample_turns(average, rng)[0]).keypoints

    def length(a: str, b: str) -> float:
        return float(np.linalg.norm(points[K[a]] - points[K[b]]))

    assert 230 < length("right_shoulder", "right_elbow") < 330
    assert 360 < length("right_hip", "right_knee") < 460
    assert 380 < length("left_knee", "left_foot") < 470
    assert 150 < length("left_hip", "right_hip") < 260
    assert 300 < length("left_shoulder", "right_shoulder") < 420


def test_bones_keep_their_lengths_and_sides_in_every_pose(average: RestBody) -> None:
    rig = load_body_rig()
    chains = [("shoulder", "elbow"), ("hip", "knee")]
    lengths = []
    for seed in range(40):
        turns, _ = sample_turns(average, np.random.default_rng(seed))
        np.testing.assert_allclose(np.linalg.det(turns), 1.0, atol=1e-9)
        np.testing.assert_allclose(
            turns @ turns.transpose(0, 2, 1), np.eye(3) + turns * 0, atol=1e-9
        )
        points = rig.pose(average, turns).keypoints
        lengths.append(
            [
                np.linalg.norm(points[K[f"{side}_{a}"]] - points[K[f"{side}_{b}"]])
                for side in ("right", "left")
                for a, b in chains
            ]
        )
    assert np.ptp(lengths, axis=0).max() < 1e-6


def test_a_limb_reaches_its_goal_with_the_joint_toward_the_pole() -> None:
    goal, pole = np.array([150.0, -300.0, 200.0]), np.array([0.0, 0.0, 1.0])
    limb = reach(np.zeros(3), goal, (270.0, 250.0), pole)
    joint = limb.first * 270.0
    np.testing.assert_allclose(joint + limb.second * 250.0, goal, atol=1e-9)
    way = goal / np.linalg.norm(goal)
    assert (joint - way * (joint @ way)) @ pole > 50.0
    too_far = reach(np.zeros(3), goal * 10.0, (270.0, 250.0), pole)
    end = too_far.first * 270.0 + too_far.second * 250.0
    assert 500.0 < np.linalg.norm(end) < 520.0
    np.testing.assert_allclose(end / np.linalg.norm(end), way, atol=1e-9)


def test_a_frame_is_a_function_of_split_seed_and_index(frames: list[BodyFrame]) -> None:
    first = frames[5]
    again = SyntheticBodies(split="train", seed=11).frame(5)
    np.testing.assert_array_equal(first.depth_mm, again.depth_mm)
    np.testing.assert_array_equal(first.keypoints_mm, again.keypoints_mm)
    assert first.intrinsics == again.intrinsics
    for other in (
        frames[6],
        SyntheticBodies(split="train", seed=12).frame(5),
        SyntheticBodies(split="held_out", seed=11).frame(5),
    ):
        assert not np.array_equal(first.keypoints_mm, other.keypoints_mm)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="split must be one of"):
        SyntheticBodies(split="test", seed=1)  # type: ignore[arg-type]


def test_visible_keypoints_lie_behind_the_surface_by_a_bodys_depth(
    frames: list[BodyFrame],
) -> None:
    behind = []
    for frame in frames:
        i, points = frame.intrinsics, frame.keypoints_mm
        u = np.rint(points[:, 0] / points[:, 2] * i.fx_px + i.cx_px).astype(int)
        v = np.rint(points[:, 1] / points[:, 2] * i.fy_px + i.cy_px).astype(int)
        rows, cols = frame.depth_mm.shape
        inside = (u >= 0) & (u < cols) & (v >= 0) & (v < rows)
        surface = frame.depth_mm[v[inside], u[inside]]
        behind += list((points[inside, 2] - surface)[surface > 0])
    gap = np.array(behind)
    assert 40.0 < np.median(gap) < 110.0
    assert (gap > -60.0).mean() > 0.9  # what is before the surface floats in the air
    assert ((gap > -60.0) & (gap < 300.0)).mean() > 0.8  # the rest is hidden by somebody's arm


def test_people_stand_in_view_a_few_metres_away(frames: list[BodyFrame]) -> None:
    whole, distance = 0, []
    for frame in frames:
        i, points = frame.intrinsics, frame.keypoints_mm
        rows, cols = frame.depth_mm.shape
        u = points[:, 0] / points[:, 2] * i.fx_px + i.cx_px
        v = points[:, 1] / points[:, 2] * i.fy_px + i.cy_px
        whole += bool(((u > 0) & (u < cols - 1) & (v > 0) & (v < rows - 1)).all())
        distance.append((points[:, 2].min() + points[:, 2].max()) / 2)
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        assert np.abs(points - middle).max() < 1200.0  # the cube holds them
    assert 0.8 < whole / len(frames) < 1.0
    assert 1000.0 < min(distance) < max(distance) < 5500.0
    assert 2000.0 < float(np.median(distance)) < 3200.0


def test_depth_maps_are_finite_and_mostly_filled(frames: list[BodyFrame]) -> None:
    for frame in frames:
        assert frame.depth_mm.dtype == np.float32
        assert np.isfinite(frame.depth_mm).all()
        assert frame.depth_mm.min() >= 0.0
    assert np.mean([(frame.depth_mm > 0).mean() for frame in frames]) > 0.7


def test_people_cameras_and_rooms_of_the_splits_are_apart() -> None:
    split = people.split_scores(load_body_rig().sample_scores)
    assert (
        people.held_out_score(split["train"]).max() < people.held_out_score(split["held_out"]).min()
    )
    assert len(split["held_out"]) == pytest.approx(0.2 * 200, abs=1)
    rng = np.random.default_rng(0)
    for held_out in (False, True):
        for _ in range(100):
            camera = sample_camera(rng, held_out=held_out, kinds=BODY_KINDS)
            ratio = camera.intrinsics.fx_px / camera.hw[1]
            assert any(low <= ratio <= high for low, high in HELD_OUT_SLOTS) == held_out
            gap = room._wall_gap_mm(rng, held_out=held_out)
            assert any(low <= gap <= high for low, high in room.HELD_OUT_GAPS_MM) == held_out


def test_views_see_people_upright_from_before_them_and_from_above() -> None:
    rng = np.random.default_rng(1)
    standing = np.zeros((15, 3))
    standing[:, 1] = np.linspace(0.0, 1700.0, 15)
    heads_up, above = 0, 0
    for _ in range(200):
        camera = sample_camera(rng, held_out=False, kinds=BODY_KINDS)
        to_camera, at = sample_view(standing, camera, rng)
        np.testing.assert_allclose(np.linalg.det(to_camera.rotation), 1.0, atol=1e-9)
        np.testing.assert_allclose(to_camera.point(at), 0.0, atol=1e-6)
        if at[1] > 2200.0:
            above += 1
            continue
        seen = to_camera.point(standing)
        heads_up += seen[-1, 1] < seen[0, 1] - 900.0
    assert 10 < above < 60
    assert heads_up == 200 - above
