import numpy as np

from tests.training.conftest import ball_frame
from v2vpose.geometry.camera import pixel_from_camera
from v2vpose.localise.detector import pixel_from_cell
from v2vpose.training.recipe import Recipe
from v2vpose.training.samples import bbox_midpoint, make_block
from v2vpose.training.stream import BlockStream

STILL = Recipe(
    input_side=32, rotation_deg=0, scale=(1.0, 1.0), translation_vox=0, first_point_sigma_mm=(15,)
)


def test_labels_lie_on_what_was_voxelized():
    block = make_block([ball_frame(i) for i in range(6)], STILL, np.random.default_rng(0))
    for n in range(6):
        x, y, z = block.keypoints_cell[n, 0].numpy()  # the ball's nearest point, on its surface
        i, j, k = (int(np.floor((c + 0.5) * 2)) for c in (x, y, z))
        near = block.occupancy[n, 0, k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2]
        assert near.any()


def test_left_hands_are_mirrored_for_the_nets_and_not_for_the_detector():
    left, right = ball_frame(1), ball_frame(2)
    block = make_block([left, right], STILL, np.random.default_rng(0))
    # keypoint 1 is at +x of the ball, keypoint 2 at -x; in a mirror they change sides
    x = block.keypoints_cell[:, :, 0].numpy()
    assert x[0, 1] < x[0, 2]
    assert x[1, 1] > x[1, 2]
    for n, frame in enumerate((left, right)):
        uv = pixel_from_cell(block.detector_centre[n].numpy().astype(float), (120, 160))
        expected = pixel_from_camera(bbox_midpoint(frame.keypoints_mm), frame.intrinsics)
        np.testing.assert_allclose(uv, expected, atol=1e-3)


def test_the_refiners_target_leads_from_its_crop_to_the_middle_of_the_bounding_box():
    frame = ball_frame(2)
    block = make_block([frame] * 40, STILL, np.random.default_rng(0))
    offsets_mm = block.refiner_offset.numpy() * STILL.refiner_side_mm / 2
    # three of four first points are drawn around the target with sigma 15 mm
    spread = np.median(np.abs(offsets_mm), axis=0)
    assert (spread > 3).all()
    assert (spread < 45).all()
    # the farther right the crop's centre, the farther left the way back
    columns = np.array([np.flatnonzero((c < 1).any(axis=0)).mean() for c in
                        block.refiner_crop[:, 0].numpy()])  # fmt: skip
    assert np.corrcoef(columns, offsets_mm[:, 0])[0, 1] > 0.9


def test_a_block_depends_on_its_number_alone():
    recipe = Recipe(input_side=16, block=4)
    fresh = BlockStream(ball_frame, recipe, first=7)
    later = BlockStream(ball_frame, recipe, first=0)
    np.testing.assert_array_equal(
        next(iter(fresh)).keypoints_cell.numpy(), later.block(7).keypoints_cell.numpy()
    )
    assert not np.array_equal(
        later.block(8).keypoints_cell.numpy(), later.block(7).keypoints_cell.numpy()
    )
