"""Values are checked where they are built; the text says what was found and what was expected."""

import dataclasses
import math
import re

import numpy as np
import pytest

from v2vpose.errors import InvalidDepthMapError, InvalidFieldError
from v2vpose.values import (
    DepthFrame,
    FoundBy,
    Handedness,
    Hint,
    Intrinsics,
    Pose,
    ReferencePoint,
)

INTRINSICS = Intrinsics(fx_px=475.0, fy_px=476.0, cx_px=320.0, cy_px=240.0)


@pytest.mark.parametrize("name", ["fx_px", "fy_px", "cx_px", "cy_px"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_intrinsics_that_are_not_finite_are_refused(name: str, value: float) -> None:
    with pytest.raises(InvalidFieldError, match=f"^{name} must be a finite number, got {value}$"):
        dataclasses.replace(INTRINSICS, **{name: value})


@pytest.mark.parametrize("name", ["fx_px", "fy_px"])
@pytest.mark.parametrize("value", [0.0, -475.0])
def test_a_focal_length_that_is_not_positive_is_refused_with_a_word_on_y_up_data(
    name: str, value: float
) -> None:
    text = f"{name} must be > 0 (y points down here: negate fy of y-up data), got {value}"
    with pytest.raises(InvalidFieldError, match=f"^{re.escape(text)}$"):
        dataclasses.replace(INTRINSICS, **{name: value})


@pytest.mark.parametrize("value", [0.0, -10.0, 5000.0])
def test_a_principal_point_may_lie_anywhere(value: float) -> None:
    assert dataclasses.replace(INTRINSICS, cx_px=value, cy_px=value).cx_px == value


def depth_map(*values: float) -> DepthFrame:
    return DepthFrame(np.array([values], dtype=np.float32), INTRINSICS)


def test_a_depth_map_knows_its_rows_and_columns() -> None:
    frame = DepthFrame(np.zeros((480, 640), dtype=np.float32), INTRINSICS)
    assert frame.hw == (480, 640)


def test_a_depth_map_may_hold_zeros() -> None:
    np.testing.assert_array_equal(depth_map(0, 512.5).depth_mm, [[0, 512.5]])


@pytest.mark.parametrize("shape", [(), (7,), (2, 3, 1), (0, 5), (5, 0)])
def test_a_depth_map_that_is_not_rows_by_columns_is_refused(shape: tuple[int, ...]) -> None:
    text = f"a depth map is (rows, cols), got shape {shape}"
    with pytest.raises(InvalidDepthMapError, match=f"^{re.escape(text)}$"):
        DepthFrame(np.zeros(shape, dtype=np.float32), INTRINSICS)


@pytest.mark.parametrize("dtype", [np.float64, np.uint16, np.int32])
def test_a_depth_map_of_another_type_is_refused(dtype: type[np.generic]) -> None:
    text = f"depth_mm must be float32, got {np.dtype(dtype)}"
    with pytest.raises(InvalidDepthMapError, match=f"^{text}$"):
        DepthFrame(np.zeros((2, 2), dtype=dtype), INTRINSICS)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_depth_map_that_is_not_finite_is_refused(value: float) -> None:
    text = "depth holds NaN or infinity; write 0 where there is none"
    with pytest.raises(InvalidDepthMapError, match=f"^{text}$"):
        depth_map(400, value)


def test_a_negative_depth_is_refused() -> None:
    with pytest.raises(InvalidDepthMapError, match=r"^depth must be >= 0 mm, found -0\.5 mm$"):
        depth_map(400, -0.5, 300)


def test_no_hint_and_each_hint_alone_are_taken() -> None:
    assert Hint() == Hint(None, None, None)
    assert Hint(reference_point_mm=(0, 0, 1)).reference_point_mm == (0, 0, 1)
    assert Hint(roi_px=(-5, 0, 1, 1)).roi_px == (-5, 0, 1, 1)
    assert Hint(range_mm=(0, 600)).range_mm == (0, 600)


@pytest.mark.parametrize(
    ("hints", "names"),
    [
        (
            {"reference_point_mm": (0, 0, 400), "roi_px": (0, 0, 9, 9)},
            "reference_point_mm and roi_px",
        ),
        ({"roi_px": (0, 0, 9, 9), "range_mm": (0, 600)}, "roi_px and range_mm"),
        (
            {"reference_point_mm": (0, 0, 400), "roi_px": (0, 0, 9, 9), "range_mm": (0, 600)},
            "reference_point_mm and roi_px and range_mm",
        ),
    ],
)
def test_more_than_one_hint_is_refused(hints: dict[str, tuple[float, ...]], names: str) -> None:
    with pytest.raises(InvalidFieldError, match=f"^give one hint, not {names}$"):
        Hint(**hints)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "point", [(0, 0, 0), (0, 0, -400), (math.nan, 0, 400), (0, math.inf, 400), (0, 0, math.nan)]
)
def test_a_reference_point_at_or_behind_the_camera_is_refused(
    point: tuple[float, float, float],
) -> None:
    text = f"reference_point_mm must be finite with z > 0, got {point}"
    with pytest.raises(InvalidFieldError, match=f"^{re.escape(text)}$"):
        Hint(reference_point_mm=point)


@pytest.mark.parametrize("roi", [(5, 0, 5, 9), (0, 5, 9, 5), (6, 0, 5, 9), (0, 6, 9, 5)])
def test_a_region_without_pixels_is_refused(roi: tuple[int, int, int, int]) -> None:
    text = f"roi_px must be u0 < u1 and v0 < v1, got {roi}"
    with pytest.raises(InvalidFieldError, match=f"^{re.escape(text)}$"):
        Hint(roi_px=roi)


@pytest.mark.parametrize(
    "near_far", [(600, 600), (600, 300), (-1, 300), (math.nan, 300), (100, math.inf)]
)
def test_a_range_out_of_order_is_refused(near_far: tuple[float, float]) -> None:
    text = f"need 0 <= near_mm < far_mm, got {near_far}"
    with pytest.raises(InvalidFieldError, match=f"^{re.escape(text)}$"):
        Hint(range_mm=near_far)


@pytest.mark.parametrize(
    "value", [INTRINSICS, depth_map(1), Hint()], ids=["camera", "frame", "hint"]
)
def test_values_are_frozen(value: object) -> None:
    name = dataclasses.fields(value)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, None)


@pytest.mark.parametrize(("answered", "degraded"), [((1, 2, 3), False), ((1, 3), True), ((), True)])
def test_a_pose_is_degraded_when_an_epoch_checkpoint_did_not_answer(
    answered: tuple[int, ...], degraded: bool
) -> None:
    zeros = np.zeros((21, 3))
    pose = Pose(
        keypoints_mm=zeros,
        uv_px=zeros[:, :2],
        confidence=zeros[:, 0],
        mean_peak=0.0,
        spread_mm=zeros[:, 0],
        in_view=zeros[:, 0] == 0,
        handedness=(Handedness.RIGHT, 1.0),
        reference_point=ReferencePoint(zeros[0], FoundBy.HINT, 1.0),
        refined_point_mm=zeros[0],
        side_mm=250.0,
        epochs=(1, 2, 3),
        answered=answered,
    )
    assert pose.degraded is degraded
