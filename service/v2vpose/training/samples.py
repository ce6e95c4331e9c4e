"""From labelled frames to what each net is trained on.

The V2V net and the refiner only ever see the hand they are to know: the other one is mirrored into
it here, as `estimator` does when it serves. The detector sees the frame as it came.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from v2vpose.geometry.camera import mirrored, mirrored_points, pixel_from_camera
from v2vpose.geometry.cubic_box import CubicBox, voxel_from_camera
from v2vpose.localise import detector_image
from v2vpose.localise.detector import cell_from_pixel
from v2vpose.training.augment import random_similarity, voxelize_moved
from v2vpose.training.recipe import Recipe
from v2vpose.training.refining import View, refiner_views
from v2vpose.values import DepthFrame, FloatArray, LabelledFrame


class TrainingFrame(LabelledFrame, Protocol):
    """A labelled frame, and the data set's own reference point if it publishes one."""

    @property
    def centre_mm(self) -> NDArray[np.float64] | None:
        """(3,) camera frame, or None."""
        ...


@dataclass(frozen=True, slots=True)
class DetectorSamples:
    """What the detector learns from N frames.

    Attributes:
        image: (N, 3, H, W) float32.
        centre: (N, 2) float32, u, v on the detector's output grid.
        depth_m: (N,) float32.
    """

    image: Tensor
    centre: Tensor
    depth_m: Tensor


@dataclass(frozen=True, slots=True)
class Block:
    """What the nets learn from N frames.

    Attributes:
        occupancy: (N, 1, S, S, S) uint8, augmented.
        keypoints_cell: (N, K, 3) float32 heatmap coordinates x, y, z.
        refiner_crop: (N * views, 1, 128, 128) float32.
        refiner_offset: (N * views, 3) float32, in halves of the crop's cube.
        detector: of the same frames, if one is trained.
        unreadable: frames that others stand in for.
    """

    occupancy: Tensor
    keypoints_cell: Tensor
    refiner_crop: Tensor
    refiner_offset: Tensor
    detector: DetectorSamples | None
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class KnownView:
    """A frame as the nets are to know it: the right hand, or the left one.

    Attributes:
        frame: mirrored if need be.
        keypoints_mm: (K, 3) likewise.
        centre_mm: (3,) centre of the cubic box: the data set's own, or the keypoints' midpoint.
    """

    frame: DepthFrame
    keypoints_mm: FloatArray
    centre_mm: FloatArray


def bbox_midpoint(keypoints_mm: FloatArray) -> FloatArray:
    """Return the (3,) middle of the keypoints' axis-aligned bounding box (the refiner's target)."""
    middle: FloatArray = (keypoints_mm.min(axis=0) + keypoints_mm.max(axis=0)) / 2
    return middle


def known_view(labelled: TrainingFrame, recipe: Recipe) -> KnownView:
    """Return the frame as the nets are to know it."""
    frame = DepthFrame(labelled.depth_mm, labelled.intrinsics)
    keypoints_mm: FloatArray = labelled.keypoints_mm
    centre_mm: FloatArray | None = labelled.centre_mm
    if recipe.handedness is not None and labelled.handedness is not recipe.handedness:
        frame, keypoints_mm = mirrored(frame), mirrored_points(keypoints_mm)
        centre_mm = None if centre_mm is None else mirrored_points(centre_mm)
    return KnownView(
        frame, keypoints_mm, bbox_midpoint(keypoints_mm) if centre_mm is None else centre_mm
    )


def make_block(
    frames: Sequence[TrainingFrame],
    recipe: Recipe,
    rngs: Sequence[Generator],
    *,
    unreadable: int = 0,
) -> Block:
    """Turn labelled frames into one block of training inputs and targets.

    Args:
        frames: the frames.
        recipe: of the run.
        rngs: for the augmentation of each frame.
        unreadable: passed on.
    """
    occupancies, cells = [], []
    views: list[View] = []
    for labelled, rng in zip(frames, rngs, strict=True):
        known = known_view(labelled, recipe)
        occupancy, cell = _moved_grid(known, recipe, rng)
        occupancies.append(occupancy)
        cells.append(cell)
        target_mm = bbox_midpoint(known.keypoints_mm)
        views += refiner_views(known.frame, target_mm, recipe, rng)
    return Block(
        occupancy=torch.from_numpy(np.stack(occupancies)[:, None]),
        keypoints_cell=_float32(cells),
        refiner_crop=torch.from_numpy(np.stack([view.crop for view in views])[:, None]),
        refiner_offset=_float32([view.offset for view in views]),
        detector=_detector_samples(frames) if recipe.detector else None,
        unreadable=unreadable,
    )


def _moved_grid(
    known: KnownView, recipe: Recipe, rng: Generator
) -> tuple[NDArray[np.uint8], FloatArray]:
    """Return an augmented occupancy and the (K, 3) heatmap coordinates of its keypoints."""
    similarity = random_similarity(recipe, rng)
    occupancy = voxelize_moved(
        known.frame.depth_mm,
        known.frame.intrinsics,
        known.centre_mm,
        recipe.side_mm,
        similarity,
        input_side=recipe.input_side,
    )
    box = CubicBox(known.centre_mm, recipe.side_mm)
    xyz_vox = voxel_from_camera(known.keypoints_mm, box, input_side=recipe.input_side)
    return occupancy, similarity.move(xyz_vox, input_side=recipe.input_side) / 2 - 0.5


def _detector_samples(frames: Sequence[LabelledFrame]) -> DetectorSamples:
    images, cells, depths_m = [], [], []
    for labelled in frames:
        frame = DepthFrame(labelled.depth_mm, labelled.intrinsics)
        centre_mm = bbox_midpoint(labelled.keypoints_mm)
        images.append(detector_image(frame))
        cells.append(cell_from_pixel(pixel_from_camera(centre_mm, frame.intrinsics), frame.hw))
        depths_m.append(centre_mm[2] / 1000)
    return DetectorSamples(
        torch.from_numpy(np.stack(_same_size(images))), _float32(cells), _float32(depths_m)
    )


def _float32(rows: Sequence[FloatArray]) -> Tensor:
    return torch.from_numpy(np.stack(rows).astype(np.float32))


def _same_size(images: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Pad (3, H, W) images with "no reading" to the largest of them."""
    height = max(image.shape[1] for image in images)
    width = max(image.shape[2] for image in images)
    return [
        np.pad(image, ((0, 0), (0, height - image.shape[1]), (0, width - image.shape[2])))
        for image in images
    ]
