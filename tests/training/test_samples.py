from dataclasses import replace

import numpy as np

from tests.training.conftest import Ball, ball_frame
from v2vpose.geometry.camera import pixel_from_camera
from v2vpose.localise.detector import pixel_from_cell
from v2vpose.training.recipe import Recipe
from v2vpose.training.samples import Block, bbox_midpoint, make_block
from v2vpose.values import Handedness

STILL = Recipe(
    input_side=32,
    rotation_deg=0,
    scale=(1.0, 1.0),
    translation_vox=0,
    first_point_sigma_mm=(15,),
    refiner="wide",
    refiner_views=1,
    detector=True,
)


def block_of(frames: list[Ball], recipe: Recipe = STILL) -> Block:
    return make_block(frames, recipe, np.random.default_rng(0).spawn(len(frames)))


def test_labels_lie_on_what_was_voxelized():
    block = block_of([ball_frame(i) for i in range(6)])
    for n in range(6):
        x, y, z = block.keypoints_cell[n, 0].numpy()  # the ball's nearest point, on its surface
        i, j, k = (int(np.floor((c + 0.5) * 2)) for c in (x, y, z))
        near = block.occupancy[n, 0, k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2]
        assert near.any()


def test_left_hands_are_mirrored_for_the_nets_and_not_for_the_detector():
    left, right = ball_frame(1), ball_frame(2)
    block = block_of([left, right])
    detector = block.detector
    assert detector is not None
    # keypoint 1 is at +x of the ball, keypoint 2 at -x; in a mirror they change sides
    x = block.keypoints_cell[:, :, 0].numpy()
    assert x[0, 1] < x[0, 2]
    assert x[1, 1] > x[1, 2]
    for n, frame in enumerate((left, right)):
        uv = pixel_from_cell(detector.centre[n].numpy().astype(float), (120, 160))
        expected = pixel_from_camera(bbox_midpoint(frame.keypoints_mm), frame.intrinsics)
        np.testing.assert_allclose(uv, expected, atol=1e-3)


def test_the_refiners_target_leads_from_its_crop_to_the_middle_of_the_bounding_box():
    frame = ball_frame(2)
    block = block_of([frame] * 40)
    offsets_mm = block.refiner_offset.numpy() * STILL.refiner_side_mm / 2
    # three of four first points are drawn around the target with sigma 15 mm
    spread = np.median(np.abs(offsets_mm), axis=0)
    assert (spread > 3).all()
    assert (spread < 45).all()
    # the farther right the crop's centre, the farther left the way back
    columns = np.array([np.flatnonzero((c < 1).any(axis=0)).mean() for c in
                        block.refiner_crop[:, 0].numpy()])  # fmt: skip
    assert np.corrcoef(columns, offsets_mm[:, 0])[0, 1] > 0.9


def test_nets_that_know_left_hands_see_the_right_ones_mirrored():
    left, right = ball_frame(1), ball_frame(2)
    block = block_of([left, right], replace(STILL, handedness=Handedness.LEFT))
    x = block.keypoints_cell[:, :, 0].numpy()
    assert x[0, 1] > x[0, 2]
    assert x[1, 1] < x[1, 2]


def test_bodies_are_never_mirrored():
    block = block_of([ball_frame(1), ball_frame(2)], replace(STILL, handedness=None))
    x = block.keypoints_cell[:, :, 0].numpy()
    assert (x[:, 1] > x[:, 2]).all()


def test_the_box_stands_around_the_sets_own_centre_and_the_refiner_aims_at_the_midpoint():
    frame = ball_frame(2)
    middle = bbox_midpoint(frame.keypoints_mm)
    moved = replace(frame, centre_mm=middle + np.array([30.0, 0.0, 0.0]))
    plain, own = block_of([frame]), block_of([moved])
    shift = (plain.keypoints_cell - own.keypoints_cell).numpy()[0]
    np.testing.assert_allclose(shift, np.tile([30 * 16 / 250, 0, 0], (3, 1)), atol=1e-5)
    np.testing.assert_array_equal(plain.refiner_offset, own.refiner_offset)


def test_a_left_hands_own_centre_is_mirrored_with_it():
    frame = ball_frame(1)
    own = replace(frame, centre_mm=bbox_midpoint(frame.keypoints_mm).astype(np.float64))
    plain, mirrored = block_of([frame]), block_of([own])
    np.testing.assert_allclose(plain.keypoints_cell, mirrored.keypoints_cell, atol=1e-5)
