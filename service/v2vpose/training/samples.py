"""From one labelled frame to what each net is trained on.

The V2V net and the refiner only ever see the hand they are to know: the other one is mirrored into
it here, as `estimator` does when it serves. The detector sees the frame as it came.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from v2vpose.errors import NothingToEstimateError
from v2vpose.geometry.camera import mirrored, mirrored_points, pixel_from_camera
from v2vpose.geometry.cubic_box import CubicBox, voxel_from_camera
from v2vpose.localise import detector_image, first_reference_point, refiner_crop
from v2vpose.localise.detector import cell_from_pixel
from v2vpose.training.augment import random_similarity, voxelize_moved
from v2vpose.training.recipe import Recipe
from v2vpose.values import DepthFrame, FloatArray, Handedness, Hint, LabelledFrame

_THRESHOLD_SHARE = 0.25  # of the refiner's first points, as the localiser without a net finds them
_RANGE_MM = (100.0, 1500.0)


@dataclass(frozen=True, slots=True)
class Block:
    """N samples, stacked.

    Attributes:
        occupancy: (N, 1, S, S, S) uint8, augmented.
        keypoints_cell: (N, K, 3) float32 heatmap coordinates x, y, z.
        refiner_crop: (N, 1, 128, 128) float32.
        refiner_offset: (N, 3) float32, in halves of the crop's cube.
        detector_image: (N, 3, H, W) float32.
        detector_centre: (N, 2) float32, u, v on the detector's output grid.
        detector_depth_m: (N,) float32.
    """

    occupancy: Tensor
    keypoints_cell: Tensor
    refiner_crop: Tensor
    refiner_offset: Tensor
    detector_image: Tensor
    detector_centre: Tensor
    detector_depth_m: Tensor


def bbox_midpoint(keypoints_mm: FloatArray) -> FloatArray:
    """Return the (3,) middle of the keypoints' axis-aligned bounding box (the refiner's target)."""
    middle: FloatArray = (keypoints_mm.min(axis=0) + keypoints_mm.max(axis=0)) / 2
    return middle


def make_block(frames: Sequence[LabelledFrame], recipe: Recipe, rng: np.random.Generator) -> Block:
    """Turn labelled frames into one block of training inputs and targets."""
    rows = [_sample(frame, recipe, rng) for frame in frames]
    columns = dict(zip(rows[0], zip(*(row.values() for row in rows), strict=True), strict=True))
    columns["detector_image"] = _same_size(columns["detector_image"])
    return Block(**{name: torch.from_numpy(np.stack(values)) for name, values in columns.items()})


def _sample(
    labelled: LabelledFrame, recipe: Recipe, rng: np.random.Generator
) -> dict[str, NDArray[np.generic]]:
    frame = DepthFrame(labelled.depth_mm, labelled.intrinsics)
    image, centre_cell, depth_m = _detector_sample(frame, bbox_midpoint(labelled.keypoints_mm))
    keypoints_mm: FloatArray = labelled.keypoints_mm
    if labelled.handedness is Handedness.LEFT:
        frame, keypoints_mm = mirrored(frame), mirrored_points(keypoints_mm)
    centre_mm = bbox_midpoint(keypoints_mm)
    first_mm = _first_point(frame, centre_mm, recipe, rng)
    crop = refiner_crop(frame.depth_mm, frame.intrinsics, first_mm, side_mm=recipe.refiner_side_mm)
    half_mm = recipe.refiner_side_mm / 2
    similarity = random_similarity(recipe, rng)
    occupancy = voxelize_moved(
        frame.depth_mm,
        frame.intrinsics,
        centre_mm,
        recipe.side_mm,
        similarity,
        input_side=recipe.input_side,
    )
    box = CubicBox(centre_mm, recipe.side_mm)
    xyz_vox = voxel_from_camera(keypoints_mm, box, input_side=recipe.input_side)
    moved_vox = similarity.move(xyz_vox, input_side=recipe.input_side)
    return {
        "occupancy": occupancy[None],
        "keypoints_cell": (moved_vox / 2 - 0.5).astype(np.float32),
        "refiner_crop": crop[None],
        "refiner_offset": ((centre_mm - first_mm) / half_mm).astype(np.float32),
        "detector_image": image,
        "detector_centre": centre_cell.astype(np.float32),
        "detector_depth_m": np.array(depth_m, dtype=np.float32),
    }


def _detector_sample(
    frame: DepthFrame, centre_mm: FloatArray
) -> tuple[NDArray[np.float32], FloatArray, float]:
    uv_px = pixel_from_camera(centre_mm, frame.intrinsics)
    return detector_image(frame), cell_from_pixel(uv_px, frame.hw), float(centre_mm[2]) / 1000


def _first_point(
    frame: DepthFrame, centre_mm: FloatArray, recipe: Recipe, rng: np.random.Generator
) -> FloatArray:
    """Draw a first reference point as localisation would give it, inside the refiner's reach."""
    if rng.random() < _THRESHOLD_SHARE:
        near_mm, far_mm = _RANGE_MM
        try:
            found = first_reference_point(
                frame, Hint(), side_mm=recipe.side_mm, near_mm=near_mm, far_mm=far_mm
            )
        except NothingToEstimateError:
            pass
        else:
            if (np.abs(found.xyz_mm - centre_mm) < recipe.refiner_side_mm / 2).all():
                return found.xyz_mm
    sigma_mm = rng.choice(recipe.first_point_sigma_mm)
    return centre_mm + rng.normal(0, sigma_mm, size=3)


def _same_size(images: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Pad (3, H, W) images with "no reading" to the largest of them."""
    height = max(image.shape[1] for image in images)
    width = max(image.shape[2] for image in images)
    return [
        np.pad(image, ((0, 0), (0, height - image.shape[1]), (0, width - image.shape[2])))
        for image in images
    ]
