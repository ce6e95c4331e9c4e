"""What the readers of data sets on disk share: text, images, official centres, counts of files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from v2vpose.errors import InvalidDepthMapError, InvalidFieldError
from v2vpose.model_store.importers.known_sets import KnownSet
from v2vpose.values import DepthArray, FloatArray


@dataclass(frozen=True, slots=True)
class Count:
    """How many of something were found, and how many the published versions have."""

    what: str
    found: int
    expected: tuple[int, ...]

    @property
    def complete(self) -> bool:
        """Whether it is one of the published versions."""
        return self.found in self.expected


@dataclass(frozen=True, slots=True)
class SetCheck:
    """What lies under a root.

    Attributes:
        name: of the data set.
        counts: found against expected.
        first_missing: the first file that a complete copy would have, or None.
    """

    name: str
    counts: tuple[Count, ...]
    first_missing: Path | None

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.first_missing is None and all(count.complete for count in self.counts)


def first_missing(paths: Iterator[Path]) -> tuple[int, Path | None]:
    """Return how many of the files are there, and the first that is not."""
    found, missing = 0, None
    for path in paths:
        if path.is_file():
            found += 1
        elif missing is None:
            missing = path
    return found, missing


def lines_of(path: Path) -> list[str]:
    """Return the lines of a text file that hold anything.

    Raises:
        InvalidFieldError: there is no such file.
    """
    if not path.is_file():
        raise InvalidFieldError(f"{path}: expected a file of the data set, found none")
    with path.open(encoding="ascii", errors="replace") as file:
        return [line for line in file if not line.isspace()]


def numbers(tokens: Sequence[str], count: int) -> NDArray[np.float64] | None:
    """Return the tokens as numbers, or None if they are not `count` finite ones."""
    try:
        values = np.array(tokens, dtype=np.float64)
    except ValueError:
        return None
    return values if values.shape == (count,) and bool(np.isfinite(values).all()) else None


def centres(path: Path, count: int, *, factors: FloatArray) -> NDArray[np.float64] | None:
    """Read an official centre file: a line `x y z` or `invalid ...` for each listed frame.

    Args:
        path: the file; None is returned if it is not there.
        count: of listed frames.
        factors: (3,) from the file's axes and unit to camera millimetres.

    Raises:
        InvalidFieldError: the file has another number of lines.
    """
    if not path.is_file():
        return None
    rows = lines_of(path)
    if len(rows) != count:
        raise InvalidFieldError(
            f"{path}: expected a line for each of {count} listed frames, found {len(rows)}; "
            "centre files belong to one version of a data set"
        )
    read = [numbers(row.split(), 3) for row in rows]
    return np.array([np.full(3, np.nan) if r is None else r * factors for r in read]).reshape(-1, 3)


def read_png16(path: Path, known: KnownSet) -> DepthArray:
    """Return a 16-bit PNG of millimetres.

    Raises:
        InvalidDepthMapError: it cannot be read, or has another size or depth.
    """
    image = read_image(path)
    cols, rows = known.wh_px
    if image.dtype != np.uint16 or image.shape != (rows, cols):
        raise InvalidDepthMapError(
            f"{path}: expected a {cols} x {rows} PNG of 16 bits, found {image.dtype} {image.shape}"
        )
    return image.astype(np.float32)


def read_image(path: Path) -> NDArray[np.generic]:
    """Return an image as it is stored, channels in blue, green, red.

    Raises:
        InvalidDepthMapError: there is none.
    """
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if image is None:
        raise InvalidDepthMapError(f"{path}: expected an image, found none that can be read")
    return image
