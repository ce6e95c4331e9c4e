"""Files of labels and predictions as the field exchanges them: one line a frame, K triples.

ICVL, NYU and MSRA exchange pixels and depth (u v d); the public evaluation
(awesome-hand-pose-estimation) reprojects both with cameras of its own, which are not the release's.
HANDS17 exchanges millimetres, ITOP metres with y up. What is returned is camera mm, y down.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from v2vpose.errors import InvalidFieldError
from v2vpose.geometry.camera import camera_from_pixel
from v2vpose.model_store.importers.known_sets import KnownSet
from v2vpose.values import FloatArray, Intrinsics

# The public evaluation writes NYU's fy as -587.07: its y points up. Distances do not mind.
EVALUATION_CAMERAS: Final = {
    "icvl": Intrinsics(fx_px=240.99, fy_px=240.96, cx_px=160, cy_px=120),
    "nyu": Intrinsics(fx_px=588.03, fy_px=587.07, cx_px=320, cy_px=240),
    "msra": Intrinsics(fx_px=241.42, fy_px=241.42, cx_px=160, cy_px=120),
}
_MM_FROM_FILE: Final = {
    "hands17": np.array([1.0, 1.0, 1.0]),
    "itop": np.array([1000.0, -1000.0, 1000.0]),
}


def read_published(path: Path, known: KnownSet) -> FloatArray:
    """Return (N, K, 3) camera millimetres of a file of labels or predictions.

    Raises:
        InvalidFieldError: no such file, or a line is not 3 K finite numbers.
    """
    triples = _triples(path, len(known.keypoints))
    if known.name in EVALUATION_CAMERAS:
        camera = EVALUATION_CAMERAS[known.name]
        return camera_from_pixel(triples[..., :2], triples[..., 2], camera)
    points_mm: FloatArray = triples * _MM_FROM_FILE[known.name]
    return points_mm


def _triples(path: Path, keypoints: int) -> NDArray[np.float64]:
    if not path.is_file():
        raise InvalidFieldError(f"{path}: expected a file of keypoints, found none")
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    rows = np.empty((len(lines), 3 * keypoints))
    for number, line in enumerate(lines, start=1):
        tokens = line.split()
        if len(tokens) != 3 * keypoints:
            raise InvalidFieldError(
                f"{path}, line {number}: expected 3 numbers for each of {keypoints} keypoints, "
                f"found {len(tokens)} numbers"
            )
        try:
            rows[number - 1] = tokens
        except ValueError as error:
            raise InvalidFieldError(
                f"{path}, line {number}: expected numbers, found others"
            ) from error
    if not lines:
        raise InvalidFieldError(f"{path}: expected a line for each frame, found none")
    wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(wrong):
        raise InvalidFieldError(f"{path}, line {wrong[0] + 1}: expected finite numbers")
    return rows.reshape(-1, keypoints, 3)
