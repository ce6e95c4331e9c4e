"""What the refiner is trained on: crops around first reference points, and the way to the target.

`deepprior` is DeepPrior++'s set (its section 3.3): half of the crops around the target, half around
the centre of mass of the readings in its cube; each with one of an offset, a turn, or nothing.
`wide` draws first points as the detector and the depth threshold find them, far off now and then.
"""

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from v2vpose.errors import NothingToEstimateError
from v2vpose.geometry.camera import camera_from_pixel
from v2vpose.localise import CROP_PX, first_reference_point, refiner_crop, target_crop
from v2vpose.training.recipe import Recipe
from v2vpose.values import DepthFrame, FloatArray, Hint

_OFFSET_SIGMA_MM: Final = 5.0
_THRESHOLD_SHARE: Final = 0.25  # of `wide` points, as the localiser without a net finds them
_REFERENCE_SIDE_MM: Final = 250.0  # the box that spreads in millimetres are meant for


@dataclass(frozen=True, slots=True)
class View:
    """One crop, and where the target is.

    Attributes:
        crop: (128, 128) float32.
        offset: (3,) from the crop's centre to the target, in halves of the crop's cube.
    """

    crop: NDArray[np.float32]
    offset: FloatArray


def refiner_views(
    frame: DepthFrame, target_mm: FloatArray, recipe: Recipe, rng: Generator
) -> list[View]:
    """Draw the recipe's number of views of a frame."""
    if recipe.refiner == "wide":
        return [
            _view(frame, _wide_point(frame, target_mm, recipe, rng), target_mm, recipe)
            for _ in range(recipe.refiner_views)
        ]
    mass_mm = centre_of_mass(frame, target_mm, side_mm=recipe.refiner_side_mm)
    return [
        _deepprior_view(frame, (target_mm, mass_mm), recipe, rng)
        for _ in range(recipe.refiner_views)
    ]


def centre_of_mass(frame: DepthFrame, centre_mm: FloatArray, *, side_mm: float) -> FloatArray:
    """Return the mean of the readings in a cube; its centre if there are none."""
    crop = target_crop(frame, centre_mm, side_mm=side_mm, reach_mm=side_mm / 2)
    rows, cols = np.nonzero(np.abs(crop.depth_mm - centre_mm[2]) < side_mm / 2)
    uv_px = np.stack([cols, rows], axis=-1).astype(np.float64)
    points_mm = camera_from_pixel(uv_px, crop.depth_mm[rows, cols], crop.intrinsics)
    inside = points_mm[(np.abs(points_mm - centre_mm) < side_mm / 2).all(axis=1)]
    mean_mm: FloatArray = inside.mean(axis=0) if len(inside) else centre_mm
    return mean_mm


def turned(view: View, angle_rad: float) -> View:
    """Return a view turned about the crop's centre, x towards y."""
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    turn = np.array([[cos, -sin], [sin, cos]])
    middle = np.full(2, (CROP_PX - 1) / 2)
    matrix = np.column_stack([turn, middle - turn @ middle])  # (2, 3)
    crop = cv2.warpAffine(
        view.crop,
        matrix,
        (CROP_PX, CROP_PX),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=1.0,
    )
    return View(crop.astype(np.float32), np.append(turn @ view.offset[:2], view.offset[2]))


def _deepprior_view(
    frame: DepthFrame, around_mm: tuple[FloatArray, FloatArray], recipe: Recipe, rng: Generator
) -> View:
    target_mm = around_mm[0]
    first_mm = around_mm[int(rng.integers(2))]
    change = rng.choice(("offset", "turn", "none"))
    if change == "offset":
        first_mm = first_mm + rng.normal(0, _scaled(_OFFSET_SIGMA_MM, recipe), size=3)
    view = _view(frame, first_mm, target_mm, recipe)
    return turned(view, rng.uniform(-math.pi, math.pi)) if change == "turn" else view


def _wide_point(
    frame: DepthFrame, target_mm: FloatArray, recipe: Recipe, rng: Generator
) -> FloatArray:
    """Draw a first reference point as localisation would give it, inside the refiner's reach."""
    if rng.random() < _THRESHOLD_SHARE:
        try:
            found = first_reference_point(
                frame,
                Hint(),
                side_mm=recipe.side_mm,
                near_mm=recipe.near_mm,
                far_mm=recipe.far_mm,
            )
        except NothingToEstimateError:
            pass
        else:
            if (np.abs(found.xyz_mm - target_mm) < recipe.refiner_side_mm / 2).all():
                return found.xyz_mm
    sigma_mm = _scaled(float(rng.choice(recipe.first_point_sigma_mm)), recipe)
    return target_mm + rng.normal(0, sigma_mm, size=3)


def _view(frame: DepthFrame, first_mm: FloatArray, target_mm: FloatArray, recipe: Recipe) -> View:
    crop = refiner_crop(frame.depth_mm, frame.intrinsics, first_mm, side_mm=recipe.refiner_side_mm)
    return View(crop, (target_mm - first_mm) / (recipe.refiner_side_mm / 2))


def _scaled(spread_mm: float, recipe: Recipe) -> float:
    return spread_mm * recipe.side_mm / _REFERENCE_SIDE_MM
