"""What the readers of data sets on disk share: frames decoded when asked for, and their counts.

A reader converts everything where it reads it: camera frame, y down, millimetres. It lists the
frames that can be used; those that cannot are counted by reason. Depth maps stay on disk.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from v2vpose.errors import InvalidFieldError
from v2vpose.model_store.importers.known_sets import KnownSet
from v2vpose.values import DepthArray, FloatArray, Handedness, Intrinsics

DOWN_FROM_UP: Final = np.array([1.0, -1.0, 1.0])
MISSING: Final = "depth file missing"
FAULTY: Final = "faulty"
NO_CENTRE: Final = "centre invalid"


@dataclass(frozen=True, slots=True)
class DiskFrame:
    """One labelled frame of a data set; a `values.LabelledFrame`.

    Attributes:
        name: of the depth map, as the data set calls it.
        depth_mm: (H, W) float32, 0 = no reading.
        intrinsics: the camera.
        keypoints_mm: (K, 3) camera frame; NaN where the set publishes no labels.
        handedness: which hand; RIGHT for bodies, which have none and are never mirrored.
        centre_mm: (3,) the official reference point, camera frame, or None.
    """

    name: str
    depth_mm: DepthArray
    intrinsics: Intrinsics
    keypoints_mm: NDArray[np.float64]
    handedness: Handedness
    centre_mm: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class Listing:
    """The frames of a split as its files list them, converted.

    Attributes:
        names: of the depth maps.
        keypoints_mm: (N, K, 3) camera frame.
        flaws: why a frame cannot be used, by index.
    """

    names: Sequence[str]
    keypoints_mm: FloatArray
    flaws: dict[int, str]


class DiskFrames:
    """The usable frames of one split.

    Args:
        known: the data set.
        listing: all that the split lists.
        read_depth: depth map of a name; called when a frame is asked for.
        centres_mm: (N, 3) official reference points, camera frame, NaN = invalid; or None.
        centre_source: where they come from, for reports.
        needs_centre: whether frames with an invalid centre are left out (training, as the release).
    """

    def __init__(
        self,
        known: KnownSet,
        listing: Listing,
        read_depth: Callable[[str], DepthArray],
        *,
        centres_mm: FloatArray | None,
        centre_source: str,
        needs_centre: bool,
    ) -> None:
        flaws = dict(listing.flaws)
        if needs_centre and centres_mm is not None:
            for index in np.flatnonzero(np.isnan(centres_mm).any(axis=1)).tolist():
                flaws.setdefault(index, NO_CENTRE)
        self.known = known
        self.centre_source = centre_source if centres_mm is not None else "none"
        self.skipped = {why: list(flaws.values()).count(why) for why in sorted(set(flaws.values()))}
        self._kept = np.setdiff1d(np.arange(len(listing.names)), np.array([*flaws], dtype=np.int64))
        self._listing = listing
        self._read_depth = read_depth
        self._centres_mm = centres_mm

    def __len__(self) -> int:
        """How many frames can be used."""
        return len(self._kept)

    def __iter__(self) -> Iterator[DiskFrame]:
        """Decode them one after the other."""
        return (self.frame(index) for index in range(len(self)))

    def frame(self, index: int) -> DiskFrame:
        """Decode usable frame `index`.

        Raises:
            IndexError: there is no such frame.
            InvalidDepthMapError: its file cannot be read.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        listed = int(self._kept[index])
        name = self._listing.names[listed]
        centre_mm = None
        if self._centres_mm is not None and not np.isnan(self._centres_mm[listed]).any():
            centre_mm = self._centres_mm[listed].astype(np.float64)
        return DiskFrame(
            name=name,
            depth_mm=self._read_depth(name),
            intrinsics=self.known.intrinsics,
            keypoints_mm=self._listing.keypoints_mm[listed].astype(np.float64),
            handedness=self.known.handedness or Handedness.RIGHT,
            centre_mm=centre_mm,
        )


class Shuffled:
    """A finite set as an endless one: every pass in an order of its own, drawn from the seed.

    Args:
        frames: the set.
        seed: of the orders.
        limit: use this many of its frames, spread evenly; None: all.

    Raises:
        InvalidFieldError: the set has no usable frame.
    """

    def __init__(self, frames: DiskFrames, *, seed: int, limit: int | None = None) -> None:
        if not len(frames):
            raise InvalidFieldError(
                f"expected a data set with usable frames, found none; left out: {frames.skipped}"
            )
        self._frames = frames
        self._used = spread(len(frames), limit)
        self._seed = seed
        self._drawn: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))

    @property
    def origin(self) -> str:
        """What it is, in words."""
        return (
            f"{self._frames.known.name}: {len(self)} of {len(self._frames)} usable frames, "
            f"order by seed {self._seed}, centres: {self._frames.centre_source}"
        )

    def __len__(self) -> int:
        """Frames a pass."""
        return len(self._used)

    def frame(self, place: int) -> DiskFrame:
        """Return the frame at `place` >= 0 of the endless sequence, always the same one.

        Raises:
            InvalidDepthMapError: its file cannot be read.
        """
        turn, step = divmod(place, len(self))
        if self._drawn[0] != turn:
            order = np.random.default_rng([self._seed, turn]).permutation(self._used)
            self._drawn = (turn, order)
        return self._frames.frame(int(self._drawn[1][step]))


def spread(count: int, limit: int | None) -> NDArray[np.int64]:
    """Return at most `limit` of `count` indices, evenly spread, in order."""
    if limit is None or limit >= count:
        return np.arange(count)
    return np.arange(limit) * count // limit
