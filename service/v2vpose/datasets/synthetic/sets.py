"""Generated frames written to disk as a data set, the same bytes for the same seed.

nyu: NYU's own layout, see `datasets.nyu`; one fixed camera, NYU's; right hands.
png: {train,test}/<7 digits>.png, 16-bit millimetres, and labels.jsonl, a line for each frame.
hdf5: {train,test}.h5 with depth_mm, keypoints_mm, of hands is_left; NYU's camera, or ITOP's.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from v2vpose.datasets.synthetic.bodies import BodyFrame, SyntheticBodies
from v2vpose.datasets.synthetic.body_rig import BODY_KEYPOINTS
from v2vpose.datasets.synthetic.cameras import Camera
from v2vpose.datasets.synthetic.hands import HAND_KEYPOINTS, HandFrame, Split, SyntheticHands
from v2vpose.errors import InvalidFieldError
from v2vpose.geometry.camera import pixel_from_camera
from v2vpose.model_store.importers.known_sets import ITOP, NYU, KnownSet
from v2vpose.values import DepthArray, FloatArray, Handedness

SetFormat: TypeAlias = Literal["nyu", "png", "hdf5"]
SetSubject: TypeAlias = Literal["hand", "body"]
Frame: TypeAlias = HandFrame | BodyFrame


def _camera_of(known: KnownSet) -> Camera:
    return Camera(hw=(known.wh_px[1], known.wh_px[0]), intrinsics=known.intrinsics)


_CAMERAS: Final = {"hand": _camera_of(NYU), "body": _camera_of(ITOP)}
_NYU_CAMERAS, _NYU_JOINTS = 3, 36
_UP_FROM_DOWN: Final = np.array([1.0, -1.0, 1.0])
_MAT_HEADER: Final = b"MATLAB 5.0 MAT-file, written by v2vpose synth".ljust(116)
_WRIST_HALF_MM: Final = 25.0


def write_set(
    out: Path,
    kind: SetFormat,
    *,
    subject: SetSubject,
    frames: int,
    test_frames: int,
    seed: int,
    track: Callable[[Iterator[Frame], str, int], Iterator[Frame]],
) -> None:
    """Write a train and a test split; people, cameras and noise of the test are held out.

    Args:
        out: directory, must not hold a set yet.
        kind: its format on disk.
        subject: what it shows.
        frames: of the train split.
        test_frames: of the test split.
        seed: which frames.
        track: passes the frames of a split on (name, count), to show how far it is.

    Raises:
        InvalidFieldError: `out` holds something, a package of the extra `train` is missing, or the
            format is not for bodies.
    """
    if kind == "nyu" and subject != "hand":
        raise InvalidFieldError(
            f"format nyu holds hands, found subject {subject}; take png or hdf5"
        )
    if out.exists() and any(out.iterdir()):
        raise InvalidFieldError(f"{out}: expected an empty or a new directory, found files in it")
    for split, count in {"train": frames, "test": test_frames}.items():
        generated = track(_generate(kind, subject, split, count, seed), split, count)
        _WRITERS[kind](out, split, count, generated)


def _generate(
    kind: SetFormat, subject: SetSubject, name: str, count: int, seed: int
) -> Iterator[Frame]:
    split: Split = "train" if name == "train" else "held_out"
    camera = None if kind == "png" else _CAMERAS[subject]
    if subject == "body":
        bodies = SyntheticBodies(split=split, seed=seed, camera=camera)
        return (bodies.frame(index) for index in range(count))
    hands = SyntheticHands(split=split, seed=seed, camera=camera)
    frame = hands.right_hand_frame if kind == "nyu" else hands.frame
    return (frame(index) for index in range(count))


def _write_nyu(out: Path, split: str, count: int, frames: Iterator[Frame]) -> None:
    """Green is the high byte of a millimetre value, blue the low one."""
    try:
        from scipy.io import savemat  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise InvalidFieldError("NYU's labels need SciPy: pip install 'v2vpose[train]'") from error
    folder = _made(out / split)
    xyz = np.full((_NYU_CAMERAS, count, _NYU_JOINTS, 3), np.nan)  # cameras 2 and 3 saw nothing
    uvd = xyz.copy()
    for index, frame in enumerate(frames):
        whole = _millimetres(frame.depth_mm)
        blue_green_red = np.dstack([whole & 255, whole >> 8, np.zeros_like(whole)]).astype(np.uint8)
        cv2.imwrite(str(folder / f"depth_1_{index + 1:07d}.png"), blue_green_red)
        joints_mm = nyu_joints(frame.keypoints_mm)
        xyz[0, index] = joints_mm * _UP_FROM_DOWN
        uvd[0, index, :, :2] = pixel_from_camera(joints_mm, frame.intrinsics)
        uvd[0, index, :, 2] = joints_mm[:, 2]
    path = folder / "joint_data.mat"
    savemat(path, {"joint_xyz": xyz, "joint_uvd": uvd})
    with path.open("r+b") as file:
        file.write(_MAT_HEADER)  # SciPy's holds the time


def nyu_joints(keypoints_mm: FloatArray) -> FloatArray:
    """Return NYU's (36, 3) points of (21, 3) hand keypoints.

    Five chains of six from tip to base, little finger first: the keypoints, and points between
    them; the thumb's 24, 25, 27 are tip, mid and root. Then two sides of the wrist, and the palm.
    """
    at = dict(zip(HAND_KEYPOINTS, keypoints_mm, strict=True))
    points: list[FloatArray] = []
    for finger in ("little", "ring", "middle", "index"):
        tip, dip, pip, mcp = (at[f"{finger}_{joint}"] for joint in ("tip", "dip", "pip", "mcp"))
        points += [tip, (tip + dip) / 2, dip, pip, (pip + mcp) / 2, mcp]
    tip, ip, mcp, cmc = (at[f"thumb_{joint}"] for joint in ("tip", "ip", "mcp", "cmc"))
    points += [tip, ip, (ip + mcp) / 2, mcp, (mcp + cmc) / 2, cmc]
    across = at["index_mcp"] - at["little_mcp"]
    side = across / np.linalg.norm(across) * _WRIST_HALF_MM
    palm = (at["wrist"] + at["middle_mcp"]) / 2
    points += [at["wrist"] + side, at["wrist"] - side, palm, at["wrist"], palm, palm]
    return np.stack(points)


def _write_png(out: Path, split: str, count: int, frames: Iterator[Frame]) -> None:
    folder = _made(out / split)
    digits = max(7, len(str(count)))
    with (folder / "labels.jsonl").open("w", encoding="ascii") as labels:
        for index, frame in enumerate(frames):
            name = f"{index:0{digits}d}.png"
            cv2.imwrite(str(folder / name), _millimetres(frame.depth_mm).astype(np.uint16))
            camera = frame.intrinsics
            row: dict[str, Any] = {"file": name}
            if isinstance(frame, HandFrame):
                row["handedness"] = frame.handedness.value
            for axis in ("fx_px", "fy_px", "cx_px", "cy_px"):
                row[axis] = round(getattr(camera, axis), 4)
            row["keypoints_mm"] = np.round(frame.keypoints_mm, 3).tolist()
            labels.write(json.dumps(row) + "\n")


def _write_hdf5(out: Path, split: str, count: int, frames: Iterator[Frame]) -> None:
    try:
        import h5py  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise InvalidFieldError("HDF5 needs h5py: pip install 'v2vpose[train]'") from error
    if not count:
        return
    with h5py.File(_made(out) / f"{split}.h5", "w") as file:
        for index, frame in enumerate(frames):
            if not index:
                _lay_out(file, frame, count)
            file["depth_mm"][index] = _millimetres(frame.depth_mm)
            file["keypoints_mm"][index] = frame.keypoints_mm
            if isinstance(frame, HandFrame):
                file["is_left"][index] = frame.handedness is Handedness.LEFT


def _lay_out(file: Any, first: Frame, count: int) -> None:
    """Make an HDF5 file's empty tables. file: an open h5py.File."""
    hw, of_hands = first.depth_mm.shape, isinstance(first, HandFrame)
    file.create_dataset("depth_mm", (count, *hw), np.uint16, chunks=(1, *hw), compression="gzip")
    file.create_dataset("keypoints_mm", (count, *first.keypoints_mm.shape), np.float64)
    if of_hands:
        file.create_dataset("is_left", (count,), np.bool_)
    file.attrs["keypoints"] = list(HAND_KEYPOINTS if of_hands else BODY_KEYPOINTS)
    for name in ("fx_px", "fy_px", "cx_px", "cy_px"):
        file.attrs[name] = getattr(first.intrinsics, name)


_WRITERS: Final = {"nyu": _write_nyu, "png": _write_png, "hdf5": _write_hdf5}


def _millimetres(depth_mm: DepthArray) -> NDArray[np.int64]:
    return np.rint(depth_mm).astype(np.int64)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
