from collections.abc import Sequence

import numpy as np
import pytest

from tests.frames import CAMERA, sphere_frame
from tests.stores import NUM_KEYPOINTS, write_tiny_store
from v2vpose.geometry.cubic_box import CubicBox, heatmap_from_camera
from v2vpose.heatmaps import Peaks, peaks_of
from v2vpose.localise import target_crop
from v2vpose.member import Member, load_member, reach_mm
from v2vpose.values import Decode, DepthFrame, FloatArray, TargetCrop

CENTER_MM = np.array([10.0, -20.0, 500.0])


class HandMadeBackend:
    """Peaks where it is told to; offsets what it is told to."""

    def __init__(
        self, xyz_cell: Sequence[float] | FloatArray, offset: Sequence[float] = (0, 0, 0)
    ) -> None:
        self._xyz_cell = np.array(xyz_cell)
        self._offset = np.array(offset, dtype=np.float64)
        self.seen: list[np.ndarray] = []

    def offsets(self, crops: np.ndarray) -> FloatArray:
        return np.tile(self._offset, (len(crops), 1))

    def peaks(self, occupancy: np.ndarray, *, with_slices: bool = False) -> Peaks:  # noqa: ARG002
        self.seen.append(occupancy)
        side = occupancy.shape[1] // 2
        cells = np.arange(side)
        x, y, z = (np.exp(-((cells - c) ** 2) / 2) for c in self._xyz_cell)
        heatmap = z[:, None, None] * y[None, :, None] * x[None, None, :]
        return peaks_of(np.tile(heatmap, (len(occupancy), 1, 1, 1, 1)))


def crop_of(frame: DepthFrame, center_mm: FloatArray = CENTER_MM) -> TargetCrop:
    return target_crop(frame, center_mm, side_mm=250, reach_mm=275)


def member(
    backend: HandMadeBackend,
    *,
    passes: int = 1,
    cell_offset: float | tuple[float, float, float] = 0.5,
) -> Member:
    return Member(
        epoch=1,
        backend=backend,
        input_side=88,
        refiner_side_mm=300,
        refiner_passes=passes,
        cell_offset=cell_offset,
    )


def test_a_peak_between_cells_comes_back_as_its_point_in_millimetres():
    point_mm = CENTER_MM + np.array([31.0, -47.0, 12.0])
    cell = heatmap_from_camera(point_mm, CubicBox(CENTER_MM, 250), heatmap_side=44)
    (answer,) = (
        member(HandMadeBackend(cell))
        .estimate([crop_of(sphere_frame((0, 0, 500)))], Decode.SUBVOXEL)
        .answers
    )
    np.testing.assert_allclose(answer.keypoints_mm[0], point_mm, atol=0.05)


def test_argmax_gives_the_middle_of_the_cell():
    (answer,) = (
        member(HandMadeBackend([22, 22, 22]))
        .estimate([crop_of(sphere_frame((0, 0, 500)))], Decode.ARGMAX)
        .answers
    )
    np.testing.assert_allclose(answer.keypoints_mm[0], CENTER_MM + 250 / 88)


def test_the_release_convention_gives_the_middle_of_the_cells_first_voxel():
    (answer,) = (
        member(HandMadeBackend([22, 22, 22]), cell_offset=0.25)
        .estimate([crop_of(sphere_frame((0, 0, 500)))], Decode.ARGMAX)
        .answers
    )
    np.testing.assert_allclose(answer.keypoints_mm[0], CENTER_MM + 250 / 176)


def test_along_y_a_mirrored_release_net_names_the_middle_of_the_cells_last_voxel():
    (answer,) = (
        member(HandMadeBackend([22, 22, 22]), cell_offset=(0.25, 0.75, 0.25))
        .estimate([crop_of(sphere_frame((0, 0, 500)))], Decode.ARGMAX)
        .answers
    )
    half_vox = 250 / 176
    np.testing.assert_allclose(
        answer.keypoints_mm[0], CENTER_MM + np.array([1, 3, 1]) * half_vox, atol=1e-9
    )


@pytest.mark.parametrize("pixels", [-1, 1])
def test_readings_are_misplaced_as_in_training_but_the_answer_stays(pixels):
    straight, displaced = HandMadeBackend([22, 22, 22]), HandMadeBackend([22, 22, 22])
    frame = sphere_frame((10, -20, 500))
    tangent = 5 * pixels / 240  # 5 px of this camera: 10.4 mm at 500 mm, 3.7 voxels
    answers = [
        Member(
            epoch=1,
            backend=backend,
            input_side=88,
            refiner_side_mm=300,
            refiner_passes=0,
            cell_offset=0.5,
            ray_offset=offset,
        )
        .estimate([crop_of(frame)], Decode.ARGMAX)
        .answers[0]
        for backend, offset in ((straight, 0.0), (displaced, tangent))
    ]
    np.testing.assert_array_equal(answers[0].keypoints_mm, answers[1].keypoints_mm)
    for axes in ((0, 1), (0, 2)):  # along x, along y
        first, second = (
            np.flatnonzero(b.seen[0][0].any(axis=axes)).mean() for b in (straight, displaced)
        )
        np.testing.assert_allclose(second - first, pixels * 3.4, atol=0.6)


def test_the_refiners_offset_counts_in_halves_of_its_cube_and_is_applied_each_pass():
    crop = crop_of(sphere_frame((0, 0, 500)))
    for passes in (0, 1, 2):
        (answer,) = (
            member(HandMadeBackend([0, 0, 0], (0.1, -0.2, 0.05)), passes=passes)
            .estimate([crop], Decode.ARGMAX)
            .answers
        )
        np.testing.assert_allclose(
            answer.refined_point_mm, CENTER_MM + passes * np.array([15, -30, 7.5])
        )


def test_a_wild_offset_moves_the_point_by_half_the_cube_at_most_and_never_behind_the_camera():
    (answer,) = (
        member(HandMadeBackend([0, 0, 0], (9, 0, -9)), passes=4)
        .estimate([crop_of(sphere_frame((0, 0, 500)))], Decode.ARGMAX)
        .answers
    )
    np.testing.assert_allclose(answer.refined_point_mm, [CENTER_MM[0] + 600, CENTER_MM[1], 50])


def test_the_cube_is_voxelized_around_the_refined_point():
    backend = HandMadeBackend([0, 0, 0], (0.2, 0, 0))
    frame = sphere_frame((40, -20, 500), radius_mm=30)  # 30 mm right of the first point
    member(backend).estimate([crop_of(frame)], Decode.ARGMAX)
    x = np.flatnonzero(backend.seen[0][0].any(axis=(0, 1)))
    np.testing.assert_allclose((x[0] + x[-1] + 1) / 2, 44, atol=0.6)


def test_an_empty_cube_is_told_by_its_count_of_voxels():
    empty = DepthFrame(np.zeros((240, 320), np.float32), CAMERA)
    ball = sphere_frame((0, 0, 500))
    answers = (
        member(HandMadeBackend([0, 0, 0]))
        .estimate([crop_of(empty), crop_of(ball)], Decode.ARGMAX)
        .answers
    )
    assert answers[0].occupied_vox == 0
    assert answers[1].occupied_vox > 500


def test_no_crops_give_no_answers():
    assert member(HandMadeBackend([0, 0, 0])).estimate([], Decode.ARGMAX).answers == ()


def test_stages_take_time_and_all_of_it_is_accounted_for():
    batch = member(HandMadeBackend([0, 0, 0])).estimate(
        [crop_of(sphere_frame((0, 0, 500)))], Decode.ARGMAX
    )
    assert set(batch.stage_s) == {"refine", "voxelize", "forward", "peak"}
    assert all(seconds > 0 for seconds in batch.stage_s.values())


@pytest.mark.parametrize("decode", Decode)
def test_a_batch_of_different_cameras_answers_as_one_by_one(tmp_path, decode):
    loaded = load_member(write_tiny_store(tmp_path), 2, backend="torch")
    crops = [
        crop_of(sphere_frame((0, 0, 500)), np.array([0, 0, 480.0])),
        crop_of(sphere_frame((50, 20, 700), hw=(480, 640)), np.array([50, 20, 690.0])),
        crop_of(sphere_frame((-60, 0, 400), wall_mm=460), np.array([-50, 0, 400.0])),
    ]
    batch = loaded.estimate(crops, decode).answers
    for crop, together in zip(crops, batch, strict=True):
        (alone,) = loaded.estimate([crop], decode).answers
        assert together.keypoints_mm.shape == (NUM_KEYPOINTS, 3)
        np.testing.assert_allclose(together.keypoints_mm, alone.keypoints_mm, atol=0.01)
        np.testing.assert_allclose(together.confidence, alone.confidence, atol=1e-5)
        np.testing.assert_allclose(together.refined_point_mm, alone.refined_point_mm, atol=0.01)


def test_the_reach_covers_every_cube_the_refiner_can_ask_for():
    assert reach_mm(side_mm=250, refiner_side_mm=300, refiner_passes=1) == 300
    assert reach_mm(side_mm=250, refiner_side_mm=300, refiner_passes=2) == 450
    assert reach_mm(side_mm=2400, refiner_side_mm=2000, refiner_passes=0) == 1200
