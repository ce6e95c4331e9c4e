"""Tiny data sets in the exact on-disk formats. Depth maps are (H, W) mm, 0 = no reading."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

FOLDERS = (*"123456789", "I", "IP", "L", "MP", "RP", "T", "TIP", "Y")


def blank(cols: int, rows: int, readings: dict[tuple[int, int], float]) -> np.ndarray:
    """A depth map with a few readings at (u, v)."""
    depth = np.zeros((rows, cols), np.float64)
    for (u, v), z in readings.items():
        depth[v, u] = z
    return depth


def write_png16(path: Path, depth: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(depth.astype(np.uint16)).save(path)


def write_icvl(root: Path, split: str, lines: Sequence[tuple[str, np.ndarray]]) -> None:
    """Lines of (path, (16, 3) u v d): single spaces, three decimals, a trailing space."""
    folder = root / {"train": "Training", "test": "Testing"}[split]
    folder.mkdir(parents=True, exist_ok=True)
    text = [
        f"{name} " + "".join(f"{value:.3f} " for value in uvd.reshape(-1)) + "\n"
        for name, uvd in lines
    ]
    if split == "train":
        (folder / "labels.txt").write_text("".join(text))
    else:
        for sequence in ("test_seq_1", "test_seq_2"):
            chosen = [line for line in text if line.startswith(sequence)]
            (folder / f"{sequence}.txt").write_text("".join(chosen))


def write_nyu_png(path: Path, depth: np.ndarray) -> None:
    """Green is the high byte, blue the low one, red something else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = depth.astype(np.int64)
    red = np.full_like(whole, 77)
    Image.fromarray(np.dstack([red, whole >> 8, whole & 255]).astype(np.uint8)).save(path)


def write_nyu_labels(folder: Path, xyz_up_mm: np.ndarray) -> None:
    """joint_xyz (3, N, 36, 3), three cameras, y up."""
    from scipy.io import savemat

    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / "joint_data.mat", {"joint_xyz": xyz_up_mm, "joint_uvd": 0 * xyz_up_mm})


def write_msra_bin(path: Path, patch: np.ndarray, *, left: int, top: int) -> None:
    rows, cols = patch.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    box = struct.pack("<6i", 320, 240, left, top, left + cols, top + rows)
    path.write_bytes(box + patch.astype("<f4").tobytes())


def write_msra_labels(root: Path, joints: dict[tuple[int, str], np.ndarray]) -> None:
    """Every folder's joint.txt; (N, 21, 3) y up, z negative; folders not named are empty."""
    for subject in range(9):
        for gesture in FOLDERS:
            folder = root / f"P{subject}" / gesture
            folder.mkdir(parents=True, exist_ok=True)
            rows = joints.get((subject, gesture), np.zeros((0, 21, 3)))
            text = [f"{len(rows)}\n"]
            text += [" ".join(f"{v:.4f}" for v in row.reshape(-1)) + "\n" for row in rows]
            (folder / "joint.txt").write_text("".join(text))


def write_hands17(root: Path, lines: Sequence[tuple[str, np.ndarray]], *, separator: str) -> None:
    folder = root / "training"
    folder.mkdir(parents=True, exist_ok=True)
    text = [
        separator.join([name, *(f"{v:.4f}" for v in xyz.reshape(-1))]) + "\n" for name, xyz in lines
    ]
    (folder / "Training_Annotation.txt").write_text("".join(text))


def write_itop(
    root: Path,
    *,
    view: str,
    split: str,
    ids: Sequence[str],
    depth_m: np.ndarray,
    is_valid: Sequence[int],
    xyz_up_m: np.ndarray,
) -> None:
    import h5py

    root.mkdir(parents=True, exist_ok=True)
    names = np.array([i.encode() for i in ids])
    with h5py.File(root / f"ITOP_{view}_{split}_depth_map.h5", "w") as file:
        file.create_dataset("id", data=names)
        file.create_dataset("data", data=depth_m.astype(np.float16))
    with h5py.File(root / f"ITOP_{view}_{split}_labels.h5", "w") as file:
        file.create_dataset("id", data=names)
        file.create_dataset("is_valid", data=np.array(is_valid, np.uint8))
        file.create_dataset("real_world_coordinates", data=xyz_up_m.astype(np.float16))
