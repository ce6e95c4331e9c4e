"""NYU: depth in the green and blue bytes of 8-bit PNGs, labels in a MATLAB v5 file, y up.

{train,test}/depth_1_<7 digits>.png, frames counted from 1, camera 1 of 3 (the frontal one);
{train,test}/joint_data.mat with joint_xyz (3, N, 36, 3) in mm. 14 of the 36 joints are evaluated.
"""

from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np

from v2vpose.datasets import files, frames
from v2vpose.errors import InvalidDepthMapError, InvalidFieldError
from v2vpose.model_store.importers.known_sets import NYU
from v2vpose.values import DepthArray, FloatArray

JOINTS: Final = (0, 3, 6, 9, 12, 15, 18, 21, 24, 25, 27, 30, 31, 32)
_EXPECTED: Final = {"train": 72_757, "test": 8_252}
_CAMERA: Final = 1


def read(root: Path, split: Literal["train", "test"], *, centre_dir: Path) -> frames.DiskFrames:
    """List a split; see `frames.DiskFrames`.

    Args:
        root: holds train and test.
        split: which.
        centre_dir: holds center_train_refined.txt and center_test_refined.txt, if there are any.

    Raises:
        InvalidFieldError: the labels are missing, or a centre file is of another version.
    """
    xyz_mm = _joint_xyz(root / split / "joint_data.mat")  # (N, 36, 3), y up
    names = [f"depth_{_CAMERA}_{number:07d}.png" for number in range(1, len(xyz_mm) + 1)]
    flaws = {i: frames.MISSING for i, n in enumerate(names) if not (root / split / n).is_file()}
    centre_file = centre_dir / f"center_{split}_refined.txt"
    return frames.DiskFrames(
        NYU,
        frames.Listing(names, xyz_mm[:, JOINTS] * frames.DOWN_FROM_UP, flaws),
        partial(_depth, root / split),
        centres_mm=files.centres(centre_file, len(names), factors=frames.DOWN_FROM_UP),
        centre_source=centre_file.name,
        needs_centre=split == "train",
    )


def check(root: Path) -> files.SetCheck:
    """Count labels and depth maps; see `files.SetCheck`."""
    counts, gone = [], None
    for split, expected in _EXPECTED.items():
        labels = root / split / "joint_data.mat"
        listed = len(_joint_xyz(labels)) if labels.is_file() else 0
        gone = gone or (None if labels.is_file() else labels)
        found, missing = files.first_missing(
            root / split / f"depth_{_CAMERA}_{number:07d}.png" for number in range(1, listed + 1)
        )
        gone = gone or missing
        counts.append(files.Count(f"{split} labels", listed, (expected,)))
        counts.append(files.Count(f"{split} depth maps", found, (expected,)))
    return files.SetCheck("nyu", tuple(counts), gone)


def _joint_xyz(path: Path) -> FloatArray:
    try:
        from scipy.io import loadmat  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise InvalidFieldError("NYU's labels need SciPy: pip install 'v2vpose[train]'") from error
    if not path.is_file():
        raise InvalidFieldError(f"{path}: expected NYU's labels, found no file")
    xyz: FloatArray | None = loadmat(path, variable_names=["joint_xyz"]).get("joint_xyz")
    if xyz is None or xyz.ndim != 4 or xyz.shape[2:] != (36, 3):
        found = None if xyz is None else xyz.shape
        raise InvalidFieldError(f"{path}: expected joint_xyz of shape (3, N, 36, 3), found {found}")
    frontal: FloatArray = xyz[_CAMERA - 1]
    return frontal


def _depth(folder: Path, name: str) -> DepthArray:
    """Return green * 256 + blue, in more than 8 bits."""
    image = files.read_image(folder / name)
    cols, rows = NYU.wh_px
    if image.dtype != np.uint8 or image.shape != (rows, cols, 3):
        raise InvalidDepthMapError(
            f"{folder / name}: expected a {cols} x {rows} PNG of three bytes a pixel, found "
            f"{image.dtype} {image.shape}"
        )
    blue, green = image[..., 0].astype(np.float32), image[..., 1].astype(np.float32)
    return 256 * green + blue
