"""Pinhole camera. Frame: x right, y down, z forward, millimetres. Pixels: u right, v down.

Pixel (0, 0) is the centre of the first pixel, so W columns span u from -0.5 to W - 0.5.
"""

import numpy as np

from v2vpose.values import DepthFrame, FloatArray, Intrinsics


def camera_from_pixel(
    uv_px: FloatArray, depth_mm: FloatArray, intrinsics: Intrinsics
) -> FloatArray:
    """Reproject pixels into the camera frame (paper, section 5).

    Args:
        uv_px: (..., 2) pixel coordinates.
        depth_mm: (...,) distance along +z, not along the ray.
        intrinsics: the camera that took the depth map.

    Returns:
        (..., 3) points in mm.
    """
    x_mm = (uv_px[..., 0] - intrinsics.cx_px) * depth_mm / intrinsics.fx_px
    y_mm = (uv_px[..., 1] - intrinsics.cy_px) * depth_mm / intrinsics.fy_px
    return np.stack([x_mm, y_mm, np.broadcast_to(depth_mm, x_mm.shape)], axis=-1)  # (..., 3)


def pixel_from_camera(points_mm: FloatArray, intrinsics: Intrinsics) -> FloatArray:
    """Project camera points into the depth map; the inverse of `camera_from_pixel`.

    Args:
        points_mm: (..., 3) points.
        intrinsics: the camera.

    Returns:
        (..., 2) pixel coordinates; NaN for a point at or behind the camera (z <= 0).
    """
    z_mm = np.where(points_mm[..., 2] > 0, points_mm[..., 2], np.nan)
    u_px = points_mm[..., 0] * intrinsics.fx_px / z_mm + intrinsics.cx_px
    v_px = points_mm[..., 1] * intrinsics.fy_px / z_mm + intrinsics.cy_px
    return np.stack([u_px, v_px], axis=-1)  # (..., 2)


def shifted(intrinsics: Intrinsics, *, u0_px: int, v0_px: int) -> Intrinsics:
    """Return the camera of a window whose first pixel is (u0_px, v0_px) of the whole image."""
    return Intrinsics(
        fx_px=intrinsics.fx_px,
        fy_px=intrinsics.fy_px,
        cx_px=intrinsics.cx_px - u0_px,
        cy_px=intrinsics.cy_px - v0_px,
    )


def displaced(intrinsics: Intrinsics, *, tangent: float) -> Intrinsics:
    """Return the camera that sees every reading `tangent` * z farther right and down."""
    return Intrinsics(
        fx_px=intrinsics.fx_px,
        fy_px=intrinsics.fy_px,
        cx_px=intrinsics.cx_px - tangent * intrinsics.fx_px,
        cy_px=intrinsics.cy_px - tangent * intrinsics.fy_px,
    )


def mirrored(frame: DepthFrame) -> DepthFrame:
    """Return the frame as seen in a mirror: a left hand becomes a right one, x becomes -x."""
    intrinsics = frame.intrinsics
    cols = frame.hw[1]
    return DepthFrame(
        depth_mm=np.ascontiguousarray(frame.depth_mm[:, ::-1]),
        intrinsics=Intrinsics(
            fx_px=intrinsics.fx_px,
            fy_px=intrinsics.fy_px,
            cx_px=cols - 1 - intrinsics.cx_px,
            cy_px=intrinsics.cy_px,
        ),
    )


def mirrored_points(points_mm: FloatArray) -> FloatArray:
    """Return (..., 3) camera points with x negated, the partner of `mirrored`."""
    mirrored_mm: FloatArray = points_mm * np.array([-1.0, 1.0, 1.0])
    return mirrored_mm
