"""One epoch checkpoint at work, the only code that runs the nets.

A batch of crops -> refine the reference point -> voxelize -> forward -> peaks -> warp -> keypoints.
The estimator and the workers both call it, so a served answer cannot drift from the estimator's.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import torch

from v2vpose.backends import (
    Backend,
    BackendName,
    BackendWish,
    NetShape,
    TorchBackend,
    chosen_backend,
)
from v2vpose.backends.graphs import cuda_capture
from v2vpose.geometry.camera import displaced
from v2vpose.geometry.cubic_box import CubicBox, camera_from_heatmap
from v2vpose.heatmaps import peak_coordinates
from v2vpose.localise import refiner_crop
from v2vpose.model_store import Manifest, ModelVersion
from v2vpose.nets import Refiner, V2VNet
from v2vpose.values import Decode, FloatArray, MemberAnswer, TargetCrop
from v2vpose.voxel import voxelize

STAGES: Final = ("refine", "voxelize", "forward", "peak")
_NEAREST_MM: Final = 50.0


@dataclass(frozen=True, slots=True)
class MemberBatch:
    """The answers to a batch, in its order, and where the time went.

    Attributes:
        answers: one for each crop.
        stage_s: seconds by stage, for the whole batch.
    """

    answers: tuple[MemberAnswer, ...]
    stage_s: dict[str, float] = field(default_factory=dict)


class Member:
    """One epoch checkpoint: its nets, and the geometry they were trained with.

    Args:
        epoch: number of the epoch checkpoint.
        backend: runs its two nets.
        input_side: voxels a side.
        refiner_side_mm: edge of the cube that the refiner sees.
        refiner_passes: how often the refiner runs; 0 keeps the first reference point.
        cell_offset: label convention, see `geometry.cubic_box`; along x, y, z where they differ.
        ray_offset: see `model_store.Conventions`.
    """

    def __init__(
        self,
        *,
        epoch: int,
        backend: Backend,
        input_side: int,
        refiner_side_mm: float,
        refiner_passes: int,
        cell_offset: float | tuple[float, float, float],
        ray_offset: float = 0.0,
    ) -> None:
        self.epoch = epoch
        self._backend = backend
        self._input_side = input_side
        self._refiner_side_mm = refiner_side_mm
        self._refiner_passes = refiner_passes
        self._cell_offset = cell_offset
        self._ray_offset = ray_offset

    def estimate(self, crops: Sequence[TargetCrop], decode: Decode) -> MemberBatch:
        """Estimate the keypoints of every crop; each answer is as if it were alone."""
        if not crops:
            return MemberBatch(answers=())
        crops = [_contiguous(crop) for crop in crops]
        stage_s = dict.fromkeys(STAGES, 0.0)
        with _timed(stage_s, "refine"):
            centers_mm = self._refine(crops)  # (B, 3)
        boxes = [
            CubicBox(center, crop.side_mm) for center, crop in zip(centers_mm, crops, strict=True)
        ]
        with _timed(stage_s, "voxelize"):
            occupancy = np.stack(
                [
                    voxelize(
                        crop.depth_mm,
                        displaced(crop.intrinsics, tangent=self._ray_offset),
                        box,
                        input_side=self._input_side,
                    )
                    for crop, box in zip(crops, boxes, strict=True)
                ]
            )  # (B, S, S, S)
        with _timed(stage_s, "forward"):
            wants_slices = any(crop.wants_slices for crop in crops)
            peaks = self._backend.peaks(occupancy, with_slices=wants_slices)  # of (B, K) heatmaps
        with _timed(stage_s, "peak"):
            xyz_cell = peak_coordinates(peaks, decode)  # (B, K, 3)
            confidence = np.clip(peaks.height, 0, 1).astype(np.float64)  # (B, K)
            answers = tuple(
                MemberAnswer(
                    keypoints_mm=camera_from_heatmap(
                        xyz_cell[b],
                        box,
                        heatmap_side=self._input_side // 2,
                        cell_offset=self._cell_offset,
                    ),
                    confidence=confidence[b],
                    refined_point_mm=box.center_mm,
                    occupied_vox=int(occupancy[b].sum(dtype=np.int64)),
                    heatmap_slices=peaks.slices[b]
                    if crops[b].wants_slices and peaks.slices is not None
                    else None,
                )
                for b, box in enumerate(boxes)
            )
        return MemberBatch(answers=answers, stage_s=stage_s)

    def _refine(self, crops: Sequence[TargetCrop]) -> FloatArray:
        """Return (B, 3) refined points; one pass never moves farther than half the cube."""
        centers_mm: FloatArray = np.stack([crop.reference_point_mm for crop in crops])
        for _ in range(self._refiner_passes):
            views = np.stack(
                [
                    refiner_crop(
                        crop.depth_mm, crop.intrinsics, center, side_mm=self._refiner_side_mm
                    )
                    for crop, center in zip(crops, centers_mm, strict=True)
                ]
            )  # (B, 128, 128)
            offsets = np.clip(self._backend.offsets(views), -1, 1)  # (B, 3), in half edges
            centers_mm = centers_mm + offsets * self._refiner_side_mm / 2
            centers_mm[:, 2] = np.maximum(centers_mm[:, 2], _NEAREST_MM)
        return centers_mm


def reach_mm(*, side_mm: float, refiner_side_mm: float, refiner_passes: int) -> float:
    """Return how far from the first reference point a reading can matter, along each axis."""
    moves = refiner_passes * refiner_side_mm / 2
    last_view = max(side_mm, refiner_side_mm) / 2
    return moves + last_view


def _contiguous(crop: TargetCrop) -> TargetCrop:
    """Return the crop with its depth in one piece; kernels are compiled for that alone."""
    if crop.depth_mm.flags.c_contiguous:
        return crop
    return replace(crop, depth_mm=np.ascontiguousarray(crop.depth_mm))


@contextmanager
def _timed(stage_s: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    stage_s[stage] += time.perf_counter() - start


def load_member(
    version: ModelVersion, epoch: int, *, backend: BackendWish | None, threads: int = 0
) -> Member:
    """Load one epoch checkpoint of a model version onto a backend.

    Args:
        version: the model version.
        epoch: which checkpoint.
        backend: `openvino-f32` or `-bf16` (CPU), `torch` (CPU, float32: the reference), `cuda`
            (bf16, one graph for each batch size); None = the fastest here, `openvino` = its faster
            precision: tried once in this process, see `backends.choice`.
        threads: cores that OpenVINO may use; 0 = all.

    Raises:
        UnknownModelError: the version has no such epoch.
        InvalidModelError: the checkpoint is broken.
    """
    manifest = version.manifest
    name = chosen_backend(net_shape(manifest), backend, threads=threads, is_apart=False)
    v2v, refiner = version.load_epoch(epoch)
    return Member(
        epoch=epoch,
        backend=_backend(v2v, refiner, manifest.input_side, name, threads),
        input_side=manifest.input_side,
        refiner_side_mm=manifest.refiner.side_mm,
        refiner_passes=manifest.refiner.passes,
        cell_offset=manifest.conventions.label.cell_offset,
        ray_offset=manifest.conventions.ray_offset,
    )


def net_shape(manifest: Manifest) -> NetShape:
    """Return what the speed of a version's V2V net depends on."""
    return NetShape(len(manifest.keypoints), manifest.width, manifest.input_side)


def _backend(
    v2v: V2VNet, refiner: Refiner, input_side: int, name: BackendName, threads: int
) -> Backend:
    if name in {"openvino-f32", "openvino-bf16"}:
        from v2vpose.backends.openvino_backend import OpenVINOBackend  # noqa: PLC0415  # an extra

        return OpenVINOBackend(
            v2v,
            refiner,
            input_side=input_side,
            precision="f32" if name == "openvino-f32" else "bf16",
            threads=threads,
        )
    if name == "cuda":
        return TorchBackend(v2v, refiner, device="cuda", dtype=torch.bfloat16, capture=cuda_capture)
    return TorchBackend(v2v, refiner)
