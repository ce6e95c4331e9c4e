"""HANDS17 (Hands in the Million 2017, frame-based): 16-bit PNG and lines `name x y z x 21`; y down.

training/images/image_D<8 digits>.png, training/Training_Annotation.txt (tabs or spaces);
frame/images, frame/BoundingBox.txt whose first word of a line is the image: the test set, whose
labels are not public.
"""

from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np

from v2vpose.datasets import files, frames
from v2vpose.model_store.importers.known_sets import HANDS17
from v2vpose.values import DepthArray

_JOINTS: Final = 21
_LISTS: Final = {
    "train": ("training", "Training_Annotation.txt"),
    "test": ("frame", "BoundingBox.txt"),
}
_EXPECTED: Final = {"train": 957_032, "test": 295_510}


def read(root: Path, split: Literal["train", "test"], *, centre_dir: Path) -> frames.DiskFrames:
    """List a split; see `frames.DiskFrames`. Keypoints of the test set are NaN.

    Args:
        root: holds training and frame.
        split: which.
        centre_dir: holds center_train_refined.txt and center_test_refined.txt, if there are any.

    Raises:
        InvalidFieldError: a list is missing, or a centre file is of another version.
    """
    folder, list_name = _LISTS[split]
    unknown = np.full(3 * _JOINTS, np.nan, np.float32)
    names, keypoints, flaws = [], [], {}
    for index, line in enumerate(files.lines_of(root / folder / list_name)):
        name, *tokens = line.split()
        values = unknown
        if split == "train":
            found = files.numbers(tokens, 3 * _JOINTS)
            if found is None:
                flaws[index] = frames.FAULTY
            else:
                values = found.astype(np.float32)  # a third of a micrometre at a metre
        if not (root / folder / "images" / name).is_file():
            flaws.setdefault(index, frames.MISSING)
        names.append(name)
        keypoints.append(values)
    centre_file = centre_dir / f"center_{split}_refined.txt"
    return frames.DiskFrames(
        HANDS17,
        frames.Listing(names, np.array(keypoints).reshape(-1, _JOINTS, 3), flaws),
        partial(_depth, root / folder / "images"),
        centres_mm=files.centres(centre_file, len(names), factors=np.ones(3)),
        centre_source=centre_file.name,
        needs_centre=split == "train",
    )


def check(root: Path) -> files.SetCheck:
    """Count lines and depth maps; see `files.SetCheck`."""
    counts, gone = [], None
    for split, (folder, list_name) in _LISTS.items():
        path = root / folder / list_name
        gone = gone or (None if path.is_file() else path)
        lines = files.lines_of(path) if path.is_file() else []
        found, missing = files.first_missing(
            root / folder / "images" / line.split()[0] for line in lines
        )
        gone = gone or missing
        counts.append(files.Count(f"{split} lines", len(lines), (_EXPECTED[split],)))
        counts.append(files.Count(f"{split} depth maps", found, (_EXPECTED[split],)))
    return files.SetCheck("hands17", tuple(counts), gone)


def _depth(folder: Path, name: str) -> DepthArray:
    return files.read_png16(folder / name, HANDS17)
