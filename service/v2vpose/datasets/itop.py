"""ITOP: HDF5 files of float16 metres, y up, two views of people.

ITOP_{side,top}_{train,test}_depth_map.h5: id (N,), data (N, 240, 320);
ITOP_{side,top}_{train,test}_labels.h5: id, is_valid (N,), real_world_coordinates (N, 15, 3).
Only frames with is_valid are used, in the test set too.
"""

from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from v2vpose.datasets import files, frames
from v2vpose.errors import InvalidDepthMapError, InvalidFieldError
from v2vpose.model_store.importers.known_sets import ITOP
from v2vpose.values import DepthArray, FloatArray

_EXPECTED: Final = {"train": (39_795, 17_991), "test": (10_501, 4_863)}
_MM: Final = 1000.0
INVALID: Final = "label invalid"


class _DepthFile:
    """The depth maps of one file; opened when the first one is asked for, once a process."""

    def __init__(self, path: Path, rows: dict[str, int]) -> None:
        self._path = path
        self._rows = rows
        self._data: Any = None

    def __call__(self, name: str) -> DepthArray:
        if self._data is None:
            self._data = _open(self._path)["data"]
        metres = np.asarray(self._data[self._rows[name]], dtype=np.float32)
        cols, rows = ITOP.wh_px
        if metres.shape != (rows, cols):
            raise InvalidDepthMapError(
                f"{self._path}: expected {cols} x {rows} depth maps, found {metres.shape}"
            )
        depth_mm: DepthArray = np.where(np.isfinite(metres) & (metres > 0), metres, 0) * np.float32(
            _MM
        )
        return depth_mm

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file behind: another process opens its own."""
        return {"_path": self._path, "_rows": self._rows, "_data": None}


def read(
    root: Path, split: Literal["train", "test"], *, view: Literal["side", "top"], centre_dir: Path
) -> frames.DiskFrames:
    """List a split of a view; see `frames.DiskFrames`.

    Args:
        root: holds the .h5 files.
        split: which.
        view: `side` (the paper's front view) or `top`.
        centre_dir: holds {side,top}_view/center_{train,test}.txt, if there are any.

    Raises:
        InvalidFieldError: a file is missing or incomplete.
    """
    labels_path = _path(root, view, split, "labels")
    with _open(labels_path) as file:
        names = _names(file)
        is_valid = np.asarray(file["is_valid"]).astype(bool)
        up_m: FloatArray = np.asarray(file["real_world_coordinates"], dtype=np.float64)
    if up_m.shape != (len(names), len(ITOP.keypoints), 3) or is_valid.shape != (len(names),):
        raise InvalidFieldError(
            f"{labels_path}: expected a flag and 15 points for each of {len(names)} frames, found "
            f"{is_valid.shape} and {up_m.shape}"
        )
    depth_path = _path(root, view, split, "depth_map")
    with _open(depth_path) as file:
        rows = {name: row for row, name in enumerate(_names(file))}
    flaws = dict.fromkeys(np.flatnonzero(~is_valid).tolist(), INVALID)
    flaws |= {i: frames.MISSING for i, name in enumerate(names) if name not in rows}
    centre_file = centre_dir / f"{view}_view" / f"center_{split}.txt"
    return frames.DiskFrames(
        ITOP,
        frames.Listing(names, up_m * frames.DOWN_FROM_UP * _MM, flaws),
        _DepthFile(depth_path, rows),
        centres_mm=files.centres(centre_file, len(names), factors=frames.DOWN_FROM_UP * _MM),
        centre_source=f"{view}_view/{centre_file.name}",
        needs_centre=split == "train",
    )


def check(root: Path) -> files.SetCheck:
    """Count listed and valid frames and depth maps; see `files.SetCheck`."""
    counts, gone = [], None
    for view in ("side", "top"):
        for split, (listed, valid) in _EXPECTED.items():
            found: dict[str, int] = {"frames": 0, "valid frames": 0, "depth maps": 0}
            for kind in ("labels", "depth_map"):
                path = _path(root, view, split, kind)
                if not path.is_file():
                    gone = gone or path
                    continue
                with _open(path) as file:
                    if kind == "labels":
                        found["frames"] = len(file["id"])
                        found["valid frames"] = int(np.asarray(file["is_valid"]).astype(bool).sum())
                    else:
                        found["depth maps"] = len(file["data"])
            for what, number in found.items():
                expected = valid if what == "valid frames" else listed
                counts.append(files.Count(f"{view} {split} {what}", number, (expected,)))
    return files.SetCheck("itop", tuple(counts), gone)


def _path(root: Path, view: str, split: str, kind: str) -> Path:
    return root / f"ITOP_{view}_{split}_{kind}.h5"


def _open(path: Path) -> Any:
    try:
        import h5py  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise InvalidFieldError("ITOP needs h5py: pip install 'v2vpose[train]'") from error
    if not path.is_file():
        packed = path.with_name(path.name + ".gz")
        hint = f"; gunzip {packed.name} first" if packed.is_file() else ""
        raise InvalidFieldError(f"{path}: expected a file of the data set, found none{hint}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InvalidFieldError(f"{path}: expected an HDF5 file, found {error}") from error


def _names(file: Any) -> list[str]:
    return [n.decode("ascii") if isinstance(n, bytes) else str(n) for n in file["id"][:]]
