"""ICVL: 16-bit PNG depth maps and lines `path u v d x 16`; y down, one left hand.

Training/labels.txt, Training/Depth/<path>; Testing/test_seq_{1,2}.txt, Testing/Depth/<path>. The
training list holds rotated copies beside the originals (331,006 lines); some files do not exist.
"""

from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np

from v2vpose.datasets import files, frames
from v2vpose.geometry.camera import camera_from_pixel
from v2vpose.model_store.importers.known_sets import ICVL
from v2vpose.values import DepthArray

_LISTS: Final = {
    "train": ("Training", ("labels.txt",)),
    "test": ("Testing", ("test_seq_1.txt", "test_seq_2.txt")),
}
_EXPECTED: Final = {"train": 331_006, "test": 1_596}
_JOINTS: Final = 16


def read(root: Path, split: Literal["train", "test"], *, centre_dir: Path) -> frames.DiskFrames:
    """List a split; see `frames.DiskFrames`.

    Args:
        root: holds Training and Testing.
        split: which.
        centre_dir: holds center_train_refined.txt and center_test_refined.txt, if there are any.

    Raises:
        InvalidFieldError: a list is missing, or a centre file is of another version.
    """
    folder = root / _LISTS[split][0]
    names, uvd, flaws = [], [], {}
    for index, line in enumerate(_lines(root, split)):
        name, *tokens = line.split()
        values = files.numbers(tokens, 3 * _JOINTS)
        if values is None:
            flaws[index] = frames.FAULTY
            values = np.zeros(3 * _JOINTS)
        elif not (folder / "Depth" / name).is_file():
            flaws[index] = frames.MISSING
        names.append(name)
        uvd.append(values)
    stacked = np.array(uvd).reshape(-1, _JOINTS, 3)
    keypoints_mm = camera_from_pixel(stacked[..., :2], stacked[..., 2], ICVL.intrinsics)
    centre_file = centre_dir / f"center_{split}_refined.txt"
    return frames.DiskFrames(
        ICVL,
        frames.Listing(names, keypoints_mm, flaws),
        partial(_depth, folder / "Depth"),
        centres_mm=files.centres(centre_file, len(names), factors=np.ones(3)),
        centre_source=centre_file.name,
        needs_centre=split == "train",
    )


def check(root: Path) -> files.SetCheck:
    """Count lines and depth maps; see `files.SetCheck`."""
    counts, gone = [], None
    for split, (folder, lists) in _LISTS.items():
        missing_lists = [p for p in (root / folder / name for name in lists) if not p.is_file()]
        gone = gone or next(iter(missing_lists), None)
        lines = [] if missing_lists else _lines(root, split)
        found, missing = files.first_missing(
            root / folder / "Depth" / line.split()[0] for line in lines
        )
        gone = gone or missing
        expected = (_EXPECTED[split],)
        counts.append(files.Count(f"{split} labels", len(lines), expected))
        counts.append(files.Count(f"{split} depth maps", found, expected))
    return files.SetCheck("icvl", tuple(counts), gone)


def _lines(root: Path, split: str) -> list[str]:
    folder, lists = _LISTS[split]
    return [line for name in lists for line in files.lines_of(root / folder / name)]


def _depth(folder: Path, name: str) -> DepthArray:
    return files.read_png16(folder / name, ICVL)
