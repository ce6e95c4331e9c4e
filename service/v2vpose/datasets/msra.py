"""MSRA: binary depth patches with their bounding box, labels y up and z negative, nine subjects.

P<0-8>/<gesture>/<6 digits>_depth.bin: int32 width, height, left, top, right, bottom (0-based, right
and bottom exclusive), then the patch, float32 mm. P<s>/<gesture>/joint.txt: the number of frames,
then a line x y z x 21 for each. Two versions are published, of 76,391 and of 76,375 frames; their
labels differ. A fold leaves one subject out of the training set; it is the test set.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np

from v2vpose.datasets import files, frames
from v2vpose.errors import InvalidDepthMapError, InvalidFieldError
from v2vpose.model_store.importers.known_sets import MSRA
from v2vpose.values import DepthArray, FloatArray

SUBJECTS: Final = 9
GESTURES: Final = (*"123456789", "I", "IP", "L", "MP", "RP", "T", "TIP", "Y")
_EXPECTED: Final = (76_391, 76_375)
_JOINTS: Final = 21
_HEADER: Final = np.dtype("<i4")
_CAMERA_FROM_FILE: Final = np.array([1.0, -1.0, -1.0])
# As DeepPrior++ lists them; numbers as in the file names.
_FAULTY: Final = {
    ("P2", "TIP"): (172, 173, 174),
    ("P2", "MP"): (173, 174, 175, *range(345, 355), 356, 359, 360),
    ("P3", "T"): (120, 489),
    ("P8", "4"): (168,),
}


def read(
    root: Path, split: Literal["train", "test"], *, fold: int, centre_dir: Path
) -> frames.DiskFrames:
    """List a split of a fold; see `frames.DiskFrames`.

    Args:
        root: holds P0 to P8.
        split: `train`, all subjects but one and no faulty frames; `test`, that one, all frames.
        fold: the subject left out, 0 to 8.
        centre_dir: holds center_{train,test}_{fold}_refined.txt, if there are any.

    Raises:
        InvalidFieldError: labels are missing, or a centre file is of another version.
    """
    if not 0 <= fold < SUBJECTS:
        raise InvalidFieldError(f"fold must be 0 to {SUBJECTS - 1}, got {fold}")
    names: list[str] = []
    flaws: dict[int, str] = {}
    joints: list[FloatArray] = [np.zeros((0, _JOINTS, 3))]
    for subject in range(SUBJECTS):
        if (subject == fold) != (split == "test"):
            continue
        for gesture in GESTURES:
            folder = root / f"P{subject}" / gesture
            labels_mm = _labels(folder / "joint.txt")
            faulty = _FAULTY.get((folder.parent.name, gesture), ()) if split == "train" else ()
            for number in range(len(labels_mm)):
                name = f"P{subject}/{gesture}/{number:06d}_depth.bin"
                if not (root / name).is_file():
                    flaws[len(names)] = frames.MISSING
                elif number in faulty:
                    flaws[len(names)] = frames.FAULTY
                names.append(name)
            joints.append(labels_mm)
    centre_file = centre_dir / f"center_{split}_{fold}_refined.txt"
    return frames.DiskFrames(
        MSRA,
        frames.Listing(names, np.concatenate(joints), flaws),
        partial(_depth, root),
        centres_mm=files.centres(centre_file, len(names), factors=frames.DOWN_FROM_UP),
        centre_source=centre_file.name,
        needs_centre=split == "train",
    )


def check(root: Path) -> files.SetCheck:
    """Count labels and depth maps; see `files.SetCheck`."""
    listed, gone = 0, None
    depth_files: list[Path] = []
    for folder in _folders(root):
        labels = folder / "joint.txt"
        if not labels.is_file():
            gone = gone or labels
            continue
        count = len(_labels(labels))
        listed += count
        depth_files += [folder / f"{number:06d}_depth.bin" for number in range(count)]
    found, missing = files.first_missing(iter(depth_files))
    counts = (
        files.Count("labels", listed, _EXPECTED),
        files.Count("depth maps", found, _EXPECTED),
    )
    return files.SetCheck("msra", counts, gone or missing)


def _folders(root: Path) -> Iterator[Path]:
    return (root / f"P{subject}" / gesture for subject in range(SUBJECTS) for gesture in GESTURES)


def _labels(path: Path) -> FloatArray:
    """Return (N, 21, 3) mm, camera frame."""
    first, *rows = files.lines_of(path) or ["nothing"]
    read = [files.numbers(row.split(), 3 * _JOINTS) for row in rows]
    if first.strip() != str(len(rows)) or any(values is None for values in read):
        raise InvalidFieldError(
            f"{path}: expected {first.strip()} lines of {3 * _JOINTS} numbers, found {len(rows)} "
            "lines, or others"
        )
    xyz_mm: FloatArray = np.array(read, dtype=np.float64).reshape(-1, _JOINTS, 3)
    xyz_mm *= _CAMERA_FROM_FILE
    return xyz_mm


def _depth(root: Path, name: str) -> DepthArray:
    """Return the patch in its place, exactly; the release puts it a pixel too far left and up."""
    path = root / name
    content = path.read_bytes() if path.is_file() else b""
    header = np.frombuffer(content[: 6 * _HEADER.itemsize], _HEADER)
    if len(header) != 6:
        raise InvalidDepthMapError(f"{path}: expected a header of 6 integers, found {len(header)}")
    cols, rows, left, top, right, bottom = (int(value) for value in header)
    if (cols, rows) != MSRA.wh_px or not (0 <= left < right <= cols and 0 <= top < bottom <= rows):
        raise InvalidDepthMapError(f"{path}: expected a box inside 320 x 240, found {header}")
    values = np.frombuffer(content[6 * _HEADER.itemsize :], "<f4")
    if values.size != (bottom - top) * (right - left):
        raise InvalidDepthMapError(
            f"{path}: expected {(bottom - top) * (right - left)} values, found {values.size}"
        )
    depth_mm = np.zeros((rows, cols), np.float32)
    depth_mm[top:bottom, left:right] = values.reshape(bottom - top, right - left)
    return depth_mm
