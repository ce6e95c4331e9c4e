"""A worker proves itself before it is ready: a known crop must give the known keypoints.

A model version may bring `selftest.npz` (one crop, and the keypoints every epoch checkpoint gave
when the version was made). Without it the crop is a synthetic bump, and a member must give finite
keypoints, the same ones when asked again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from v2vpose.errors import InvalidModelError
from v2vpose.serving.ports import Member
from v2vpose.values import Decode, FloatArray, Intrinsics, TargetCrop

SELF_TEST_FILE: Final = "selftest.npz"
TOLERANCE_MM: Final = 0.5

_SYNTHETIC_PX: Final = 96
_SYNTHETIC_Z_MM: Final = 500.0


@dataclass(frozen=True, slots=True)
class SelfTest:
    """A crop, and what the members should say of it.

    Attributes:
        crop: the crop.
        decode: how to decode heatmaps.
        keypoints_mm: (K, 3) by epoch, camera frame; a member that is missing has no record.
    """

    crop: TargetCrop
    decode: Decode = Decode.SUBVOXEL
    keypoints_mm: Mapping[int, FloatArray] = field(default_factory=dict)


def warm_up(member: Member, epoch: int, self_test: SelfTest, *, max_batch_size: int) -> None:
    """Run every batch size once, and the self-test.

    Raises:
        InvalidModelError: the answers are not finite, or not those expected.
    """
    expected_mm = self_test.keypoints_mm.get(epoch)
    for size in (*range(1, max_batch_size + 1), 1):
        batch = member.estimate([self_test.crop] * size, self_test.decode)
        found_mm = np.stack([answer.keypoints_mm for answer in batch.answers])  # (B, K, 3)
        if not np.isfinite(found_mm).all():
            raise InvalidModelError(f"epoch {epoch}: self-test: keypoints are not finite")
        if expected_mm is None:
            expected_mm = found_mm[0]
        if size == 1:
            _compare(found_mm[0], expected_mm, epoch)


def load_self_test(directory: Path, *, side_mm: float) -> SelfTest:
    """Return the self-test of a model version, the synthetic one if it brings none.

    Args:
        directory: of the model version.
        side_mm: edge of its cubic box.

    Raises:
        InvalidModelError: the file cannot be read.
    """
    path = directory / SELF_TEST_FILE
    if not path.exists():
        return SelfTest(synthetic_crop(side_mm))
    try:
        with np.load(path, allow_pickle=False) as content:
            x, y, z, w = (float(value) for value in content["intrinsics"])
            return SelfTest(
                crop=TargetCrop(
                    depth_mm=np.ascontiguousarray(content["depth_mm"], dtype=np.float32),
                    intrinsics=Intrinsics(x, y, z, w),
                    reference_point_mm=content["reference_point_mm"].astype(np.float64),
                    side_mm=float(content["side_mm"]),
                ),
                decode=Decode(str(content["decode"])),
                keypoints_mm=dict(
                    zip(content["epochs"].tolist(), content["keypoints_mm"], strict=True)
                ),
            )
    except (OSError, KeyError, ValueError, EOFError) as error:
        raise InvalidModelError(f"{path}: expected a self-test, found {error}") from error


def write_self_test(directory: Path, self_test: SelfTest) -> Path:
    """Write `selftest.npz` beside a manifest; what `load_self_test` reads."""
    path = directory / SELF_TEST_FILE
    crop, camera = self_test.crop, self_test.crop.intrinsics
    np.savez_compressed(
        path,
        depth_mm=crop.depth_mm,
        intrinsics=np.array([camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px]),
        reference_point_mm=crop.reference_point_mm,
        side_mm=np.array(crop.side_mm),
        decode=np.array(self_test.decode.value),
        epochs=np.array(list(self_test.keypoints_mm), dtype=np.int64),
        keypoints_mm=np.array(list(self_test.keypoints_mm.values()), dtype=np.float64),
    )
    return path


def synthetic_crop(side_mm: float) -> TargetCrop:
    """Return a bump that fills a third of the cube, seen from half a metre."""
    focal_px = _SYNTHETIC_PX * _SYNTHETIC_Z_MM / (1.5 * side_mm)
    middle_px = (_SYNTHETIC_PX - 1) / 2
    v_px, u_px = np.mgrid[:_SYNTHETIC_PX, :_SYNTHETIC_PX]
    radius_mm = np.hypot(u_px - middle_px, v_px - middle_px) * _SYNTHETIC_Z_MM / focal_px
    reach_mm = side_mm / 3
    bulge_mm = np.sqrt(np.maximum(reach_mm**2 - radius_mm**2, 0))
    depth_mm = np.where(radius_mm < reach_mm, _SYNTHETIC_Z_MM - bulge_mm, 0)
    return TargetCrop(
        depth_mm=depth_mm.astype(np.float32),
        intrinsics=Intrinsics(focal_px, focal_px, middle_px, middle_px),
        reference_point_mm=np.array([0.0, 0.0, _SYNTHETIC_Z_MM]),
        side_mm=side_mm,
    )


def _compare(found_mm: FloatArray, expected_mm: FloatArray, epoch: int) -> None:
    if found_mm.shape != expected_mm.shape:
        raise InvalidModelError(
            f"epoch {epoch}: self-test: expected keypoints of shape {expected_mm.shape}, "
            f"found {found_mm.shape}"
        )
    apart_mm = float(np.linalg.norm(found_mm - expected_mm, axis=-1).max())
    if apart_mm > TOLERANCE_MM:
        raise InvalidModelError(
            f"epoch {epoch}: self-test: expected keypoints within {TOLERANCE_MM} mm of the "
            f"record, found {apart_mm:.2f} mm"
        )
