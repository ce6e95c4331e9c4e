"""The generator: reproducible, right way round, labels where the surface is, splits apart."""

import numpy as np
import pytest

from v2vpose.datasets.synthetic import HandFrame, SyntheticHands, people
from v2vpose.datasets.synthetic.cameras import HELD_OUT_SLOTS, sample_camera
from v2vpose.datasets.synthetic.hands import (
    HAND_KEYPOINT_MEANING,
    HAND_KEYPOINTS,
    HAND_SKELETON,
)
from v2vpose.datasets.synthetic.kinematics import NUM_ANGLES, NUM_BONES
from v2vpose.datasets.synthetic.render import draw_mesh
from v2vpose.datasets.synthetic.rig import Sleeve, load_rig
from v2vpose.datasets.synthetic.solids import HAND, Canvas
from v2vpose.datasets.synthetic.view import DISTANCE_MM, UPRIGHT, sample_view
from v2vpose.values import Handedness

K = {name: i for i, name in enumerate(HAND_KEYPOINTS)}


@pytest.fixture(scope="module")
def train() -> SyntheticHands:
    return SyntheticHands(split="train", seed=11)


@pytest.fixture(scope="module")
def frames(train: SyntheticHands) -> list[HandFrame]:
    return [train.frame(i) for i in range(120)]


def pixels(frame: HandFrame) -> np.ndarray:
    """(21, 2) u, v of the keypoints."""
    i, p = frame.intrinsics, frame.keypoints_mm
    u = p[:, 0] / p[:, 2] * i.fx_px + i.cx_px
    v = p[:, 1] / p[:, 2] * i.fy_px + i.cy_px
    return np.stack([u, v], axis=1)


def test_keypoints_have_msras_order_names_and_meanings() -> None:
    assert len(HAND_KEYPOINTS) == 21
    assert HAND_KEYPOINTS[:5] == ("wrist", "index_mcp", "index_pip", "index_dip", "index_tip")
    assert HAND_KEYPOINTS[13:] == (
        *("little_mcp", "little_pip", "little_dip", "little_tip"),
        *("thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip"),
    )
    assert tuple(HAND_KEYPOINT_MEANING) == HAND_KEYPOINTS


def test_the_skeleton_has_a_chain_from_the_wrist_to_every_tip() -> None:
    assert len(HAND_SKELETON) == 20
    parent = {b: a for a, b in HAND_SKELETON}
    assert set(parent) == set(range(1, 21))
    for finger in ("index", "middle", "ring", "little", "thumb"):
        joint, chain = K[f"{finger}_tip"], 0
        while joint:
            assert HAND_KEYPOINTS[joint].startswith(finger)
            joint, chain = parent[joint], chain + 1
        assert chain == 4


def test_a_raised_right_palm_has_its_thumb_on_the_images_right() -> None:
    """The owner faces the camera, so the right hand is at the image's left, and its thumb points

    to the owner's head, which is to the image's right.
    """
    rig = load_rig()
    ones = np.ones(NUM_BONES)
    hand = rig.rest(
        np.zeros(24), stretch=ones, thickness=ones, length_mm=188.0, sleeve=Sleeve(0.0, 0.0)
    )
    points = rig.pose(hand, np.zeros(NUM_ANGLES)).keypoints @ UPRIGHT.T + (0.0, 0.0, 600.0)
    assert points[K["middle_tip"], 1] < points[K["wrist"], 1] - 150.0  # fingers up: y is down
    assert points[K["thumb_tip"], 0] > points[K["wrist"], 0] + 40.0
    assert points[K["index_mcp"], 0] > points[K["little_mcp"], 0]
    # Bending the fingers toward the palm brings the tips toward the camera: it sees the palm.
    bent = np.zeros(NUM_ANGLES)
    bent[[1, 5, 9, 13]] = np.radians(45.0)
    nearer = rig.pose(hand, bent).keypoints @ UPRIGHT.T + (0.0, 0.0, 600.0)
    assert (nearer[[4, 8, 12, 16], 2] < points[[4, 8, 12, 16], 2] - 20.0).all()


def chirality(points: np.ndarray) -> float:
    """> 0 for a right hand: (to index) x (to little) leaves the palm, where the thumb is."""
    wrist = points[K["wrist"]]
    palm = np.cross(points[K["index_mcp"]] - wrist, points[K["little_mcp"]] - wrist)
    return float(palm @ (points[K["thumb_ip"]] - wrist) / np.linalg.norm(palm))


def test_right_and_left_labels_are_the_hands_shape(frames: list[HandFrame]) -> None:
    right = [chirality(f.keypoints_mm) for f in frames if f.handedness is Handedness.RIGHT]
    left = [chirality(f.keypoints_mm) for f in frames if f.handedness is Handedness.LEFT]
    assert min(len(right), len(left)) > 35
    # A thumb can lie slightly behind the palm's plane, hence not all.
    assert np.mean(np.array(right) > 0) > 0.95
    assert np.mean(np.array(left) < 0) > 0.95


def test_views_are_rotations_and_cover_every_direction() -> None:
    rng = np.random.default_rng(0)
    views = np.stack([sample_view(rng) for _ in range(400)])
    np.testing.assert_allclose(np.linalg.det(views), 1.0, atol=1e-9)
    fingers, palm = views[:, :, 1], views[:, :, 2]
    assert (fingers[:, 1] > 0.7).mean() > 0.1  # down
    assert (fingers[:, 1] < -0.7).mean() > 0.1  # up
    assert (np.abs(fingers[:, 2]) > 0.8).mean() > 0.05  # along the ray
    assert (palm[:, 2] > 0.5).mean() > 0.25
    assert (palm[:, 2] < -0.5).mean() > 0.25


def test_a_frame_is_a_function_of_split_seed_and_index(train: SyntheticHands) -> None:
    again = SyntheticHands(split="train", seed=11).frame(5)
    first = train.frame(5)
    np.testing.assert_array_equal(first.depth_mm, again.depth_mm)
    np.testing.assert_array_equal(first.keypoints_mm, again.keypoints_mm)
    assert (first.intrinsics, first.handedness) == (again.intrinsics, again.handedness)
    for other in (
        train.frame(6),
        SyntheticHands(split="train", seed=12).frame(5),
        SyntheticHands(split="held_out", seed=11).frame(5),
    ):
        assert not np.array_equal(first.keypoints_mm, other.keypoints_mm)


def test_frames_are_valid_depth_maps_of_about_320_columns(frames: list[HandFrame]) -> None:
    for frame in frames:
        assert frame.depth_mm.dtype == np.float32
        assert frame.depth_mm.shape[1] == 320
        assert np.isfinite(frame.depth_mm).all()
        assert frame.depth_mm.min() >= 0.0
        assert 0.69 * 320 <= frame.intrinsics.fx_px <= 1.88 * 320


def test_hands_are_in_view_at_250_to_1000_mm(frames: list[HandFrame]) -> None:
    whole, distance = 0, []
    for frame in frames:
        rows, cols = frame.depth_mm.shape
        uv = pixels(frame)
        inside = ((uv > 0) & (uv < (cols - 1, rows - 1))).all(axis=1)
        assert inside.sum() >= 16
        whole += int(inside.all())
        box = frame.keypoints_mm
        distance.append(float(np.linalg.norm((box.min(axis=0) + box.max(axis=0)) / 2)))
    assert whole >= 0.95 * len(frames)
    assert min(distance) > DISTANCE_MM[0] - 1
    assert np.quantile(distance, 0.95) < DISTANCE_MM[1]


def test_most_hand_pixels_lie_a_little_in_front_of_their_keypoint(frames: list[HandFrame]) -> None:
    """Where the sensor reads at a keypoint, it reads this hand's skin, 0 to 30 mm before it."""
    before = []
    for frame in frames:
        rows, cols = frame.depth_mm.shape
        for (u, v), z in zip(
            pixels(frame).round().astype(int), frame.keypoints_mm[:, 2], strict=True
        ):
            if 0 <= u < cols and 0 <= v < rows and frame.depth_mm[v, u] > 0:
                before.append(z - frame.depth_mm[v, u])
    gaps = np.array(before)
    assert len(gaps) > 1500
    # The rest is behind fingers, forearm or things; behind the joint is only noise and borders.
    assert ((gaps > -4.0) & (gaps < 30.0)).mean() > 0.75
    assert (gaps < -12.0).mean() < 0.02


def test_an_open_hand_facing_the_camera_shows_every_keypoint_within_30_mm() -> None:
    rig = load_rig()
    ones = np.ones(NUM_BONES)
    hand = rig.rest(
        np.zeros(24), stretch=ones, thickness=ones, length_mm=188.0, sleeve=Sleeve(0.0, 0.0)
    )
    posed = rig.pose(hand, np.zeros(NUM_ANGLES))
    shift = np.array([0.0, 80.0, 500.0])
    canvas = Canvas.blank(240, 320, np.array([400.0, 400.0, 159.5, 119.5]))
    draw_mesh(
        canvas.depth,
        canvas.labels,
        canvas.camera,
        posed.vertices @ UPRIGHT.T + shift,
        rig.triangles,
        np.full(len(rig.triangles), HAND, np.uint8),
    )
    points = posed.keypoints @ UPRIGHT.T + shift
    uv = np.rint(points[:, :2] / points[:, 2:] * 400.0 + (159.5, 119.5)).astype(int)
    gaps = points[:, 2] - canvas.depth[uv[:, 1], uv[:, 0]]
    assert ((gaps > 1.0) & (gaps < 30.0)).all(), gaps.round(1)


def test_the_left_hand_is_the_mirror_image_of_the_right(train: SyntheticHands) -> None:
    index = next(i for i in range(20) if train.frame(i).handedness is Handedness.LEFT)
    left, right = train.frame(index), train.right_hand_frame(index)
    np.testing.assert_array_equal(left.depth_mm, right.depth_mm[:, ::-1])
    np.testing.assert_array_equal(left.keypoints_mm, right.keypoints_mm * (-1.0, 1.0, 1.0))
    mirrored_u = right.depth_mm.shape[1] - 1 - pixels(right)[:, 0]
    np.testing.assert_allclose(pixels(left)[:, 0], mirrored_u, atol=1e-9)
    assert left.mirrored().handedness is Handedness.RIGHT


def test_held_out_shapes_are_beyond_every_training_shape() -> None:
    shapes = people.split_scores(load_rig().sample_scores)
    rng = np.random.default_rng(0)
    position = {
        split: [people.held_out_score(people.sample_scores(s, rng)) for _ in range(300)]
        for split, s in shapes.items()
    }
    assert max(position["train"]) < min(position["held_out"])
    assert 0.15 < len(shapes["held_out"]) / sum(map(len, shapes.values())) < 0.25


def test_held_out_cameras_have_focal_lengths_that_training_never_sees() -> None:
    rng = np.random.default_rng(0)
    for held_out in (False, True):
        for _ in range(100):
            camera = sample_camera(rng, held_out=held_out)
            ratio = camera.intrinsics.fx_px / camera.hw[1]
            assert any(a <= ratio <= b for a, b in HELD_OUT_SLOTS) == held_out


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="split must be one of"):
        SyntheticHands(split="test", seed=0)  # type: ignore[arg-type]
