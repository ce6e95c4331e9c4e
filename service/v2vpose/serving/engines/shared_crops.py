"""Depth crops in shared memory: written once by the service, read in place by every worker.

One anonymous segment (memfd) an engine. It has no name, so nothing is left behind whoever is
killed, and it does not count against the size of /dev/shm; only pages that were written cost
memory. It is divided into regions; a region holds the crops of one batch.
"""

import mmap
import os
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from v2vpose.errors import PayloadTooLargeError
from v2vpose.values import Intrinsics, TargetCrop

_ALIGNMENT: Final = 64
_PIXEL_BYTES: Final = 4
_KEEP_BYTES: Final = 16 << 20  # of a region; what a batch wrote beyond goes back to the system


class CropRef(NamedTuple):
    """A crop in the segment: where its depth begins, and all else there is to a `TargetCrop`."""

    offset: int
    hw: tuple[int, int]
    intrinsics: tuple[float, float, float, float]
    reference_point_mm: tuple[float, float, float]
    side_mm: float
    wants_slices: bool = False


class SharedCrops:
    """The service's end of a segment.

    Args:
        regions: how many batches may be out at once.
        region_px: how many pixels a region holds.
    """

    def __init__(self, *, regions: int, region_px: int) -> None:
        page = mmap.PAGESIZE
        self._region_bytes = -(-region_px * _PIXEL_BYTES // page) * page
        self.fd = os.memfd_create("v2vpose-crops", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, regions * self._region_bytes)
        self._memory = mmap.mmap(self.fd, regions * self._region_bytes)
        self._free = list(range(regions))
        self._large: set[int] = set()

    def write(self, crops: Sequence[TargetCrop]) -> tuple[int, tuple[CropRef, ...]] | None:
        """Copy crops into a free region; return it and where they are, or None if all are out.

        Raises:
            PayloadTooLargeError: the crops do not fit into a region.
        """
        if not self._free:
            return None
        region = self._free[-1]
        offset = region * self._region_bytes
        refs = []
        for crop in crops:
            end = offset + crop.depth_mm.nbytes
            if end > (region + 1) * self._region_bytes:
                raise PayloadTooLargeError(f"a batch holds {self._region_bytes} bytes of depth")
            np.frombuffer(
                self._memory, np.float32, count=crop.depth_mm.size, offset=offset
            ).reshape(crop.depth_mm.shape)[...] = crop.depth_mm
            refs.append(_ref(crop, offset))
            offset = -(-end // _ALIGNMENT) * _ALIGNMENT
        self._free.pop()
        if offset - region * self._region_bytes > _KEEP_BYTES:
            self._large.add(region)
        return region, tuple(refs)

    def release(self, region: int) -> None:
        """Take a region back: no worker reads it any more."""
        self._free.append(region)
        if region in self._large:
            self._large.remove(region)
            start = region * self._region_bytes + _KEEP_BYTES
            self._memory.madvise(mmap.MADV_REMOVE, start, self._region_bytes - _KEEP_BYTES)

    def close(self) -> None:
        """Give the memory back; workers that still map it keep it until they end."""
        self._memory.close()
        os.close(self.fd)


class CropsView:
    """A worker's end of a segment.

    Args:
        fd: file descriptor of the segment.
    """

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, os.fstat(fd).st_size)
        os.close(fd)

    def crop(self, ref: CropRef) -> TargetCrop:
        """Return a crop whose depth lies in the segment; good until the job is answered."""
        return crop_in(self._memory, ref)


def crop_in(memory: mmap.mmap | bytes, ref: CropRef) -> TargetCrop:
    """Return a crop whose depth lies in this memory."""
    rows, cols = ref.hw
    depth_mm = np.frombuffer(memory, dtype=np.float32, count=rows * cols, offset=ref.offset)
    return TargetCrop(
        depth_mm=depth_mm.reshape(rows, cols),
        intrinsics=Intrinsics(*ref.intrinsics),
        reference_point_mm=np.array(ref.reference_point_mm),
        side_mm=ref.side_mm,
        wants_slices=ref.wants_slices,
    )


def depth_of(crops: Sequence[TargetCrop]) -> tuple[bytes, tuple[CropRef, ...]]:
    """Return the depth of crops as one string of bytes, for where no memory is shared."""
    pieces, refs, offset = [], [], 0
    for crop in crops:
        pieces.append(crop.depth_mm.tobytes())
        refs.append(_ref(crop, offset))
        offset += len(pieces[-1])
    return b"".join(pieces), tuple(refs)


def _ref(crop: TargetCrop, offset: int) -> CropRef:
    rows, cols = crop.depth_mm.shape
    x, y, z = (float(c) for c in crop.reference_point_mm)
    camera = crop.intrinsics
    return CropRef(
        offset=offset,
        hw=(rows, cols),
        intrinsics=(camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px),
        reference_point_mm=(x, y, z),
        side_mm=crop.side_mm,
        wants_slices=crop.wants_slices,
    )
