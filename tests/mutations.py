"""Break each convention of the method by hand and see which test turns red.

    python tests/mutations.py [word in a mutation's name]

Each mutation is a textual change to a copy of the package in a temporary folder; the repository is
never touched. A mutation that no test notices, or whose text is not found any more, is a failure.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
_SHOWN: Final = 3  # failing tests named in the table
_LIMIT_S: Final = 300  # of one run of pytest

CAMERA: Final = "geometry/camera.py"
CUBIC_BOX: Final = "geometry/cubic_box.py"
OCCUPANCY: Final = "voxel/occupancy.py"
GAUSSIAN: Final = "heatmaps/gaussian.py"
PEAKS: Final = "heatmaps/peaks.py"

METHOD_TESTS: Final = (
    "tests/geometry",
    "tests/voxel",
    "tests/heatmaps/test_gaussian.py",
    "tests/heatmaps/test_peaks.py",
    "tests/test_straight_way.py",
)


@dataclass(frozen=True)
class Mutation:
    """A slip somebody could make: (file, what stands there, what the slip writes), one or more."""

    name: str
    edits: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Outcome:
    """The tests that turned red, or why the mutation could not be tried."""

    failed: tuple[str, ...]
    trouble: str = ""


MUTATIONS: Final = (
    Mutation(
        "axis order: occupancy x, y, z",
        ((OCCUPANCY, "occupancy[k, j, i] = 1", "occupancy[i, j, k] = 1"),),
    ),
    Mutation(
        "axis order: peaks not turned to x, y, z",
        ((PEAKS, "peaks.zyx_cell[..., ::-1]", "peaks.zyx_cell"),),
    ),
    Mutation(
        "axis order: occupancy and peaks alike",
        (
            (OCCUPANCY, "occupancy[k, j, i] = 1", "occupancy[i, j, k] = 1"),
            (PEAKS, "peaks.zyx_cell[..., ::-1]", "peaks.zyx_cell"),
        ),
    ),
    Mutation(
        "axis order: sub-voxel offsets z, y, x",
        ((PEAKS, "for axis in (-1, -2, -3):", "for axis in (-3, -2, -1):"),),
    ),
    Mutation(
        "axis order: heatmaps x, y, z",
        ((GAUSSIAN, "x, y, z = profile.unbind", "z, y, x = profile.unbind"),),
    ),
    Mutation(
        "axis order: pixels row before column",
        (
            (CAMERA, "uv_px[..., 0] - intrinsics.cx_px", "uv_px[..., 1] - intrinsics.cx_px"),
            (CAMERA, "uv_px[..., 1] - intrinsics.cy_px", "uv_px[..., 0] - intrinsics.cy_px"),
        ),
    ),
    Mutation(
        "half voxel: voxel coordinates name centres",
        (
            (CUBIC_BOX, "/ box.side_mm + input_side / 2", "/ box.side_mm + input_side / 2 - 0.5"),
            (CUBIC_BOX, "np.asarray(ijk_vox) / input_side", "(ijk_vox + 0.5) / input_side"),
        ),
    ),
    Mutation(
        "half voxel: occupancy rounds",
        ((OCCUPANCY, "half_vox = side_vox / 2", "half_vox = side_vox / 2 + 0.5"),),
    ),
    Mutation(
        "half cell: labels and decoding name corners",
        ((CUBIC_BOX, "CENTRED_CELL_OFFSET: Final = 0.5", "CENTRED_CELL_OFFSET: Final = 0.0"),),
    ),
    Mutation(
        "half cell: labels are corners, decoding is centred",
        ((CUBIC_BOX, "heatmap_side / 2 - cell_offset", "heatmap_side / 2"),),
    ),
    Mutation(
        "half cell: the release's cell taken as centred",
        ((CUBIC_BOX, "RELEASE_CELL_OFFSET: Final = 0.25", "RELEASE_CELL_OFFSET: Final = 0.5"),),
    ),
    Mutation(
        "half pixel: pixels counted from their corner",
        ((CAMERA, "(uv_px[..., 0] - intr", "(uv_px[..., 0] + 0.5 - intr"),),
    ),
    Mutation(
        "one pixel: voxelization counts from 1",
        ((OCCUPANCY, "(col + u0_px - cx_px)", "(col + 1 + u0_px - cx_px)"),),
    ),
    Mutation(
        "y sign: camera_from_pixel y up",
        ((CAMERA, "(uv_px[..., 1] - intrinsics.cy_px)", "(intrinsics.cy_px - uv_px[..., 1])"),),
    ),
    Mutation(
        "y sign: both directions y up, so that round trips hold",
        (
            (CAMERA, "(uv_px[..., 1] - intrinsics.cy_px)", "(intrinsics.cy_px - uv_px[..., 1])"),
            (CAMERA, "v_px = points_mm[..., 1]", "v_px = -points_mm[..., 1]"),
        ),
    ),
    Mutation(
        "y sign: voxelization y up",
        ((OCCUPANCY, "(row + v0_px - cy_px)", "(cy_px - row - v0_px)"),),
    ),
    Mutation(
        "floor: x truncated",
        ((OCCUPANCY, "i = math.floor(", "i = int("),),
    ),
    Mutation(
        "floor: y truncated",
        ((OCCUPANCY, "j = math.floor(", "j = int("),),
    ),
    Mutation(
        "floor: z truncated",
        ((OCCUPANCY, "k = math.floor(", "k = int("),),
    ),
    Mutation(
        "faces: high face inside",
        ((OCCUPANCY, "if 0 <= j < side_vox:", "if 0 <= j <= side_vox:"),
         (OCCUPANCY, "occupancy[k, j, i]", "occupancy[k, min(j, side_vox - 1), i]")),
    ),
    Mutation(
        "window: last column and row cut off",
        ((OCCUPANCY, "min(last + 1, size)", "min(last - 1, size)"),),
    ),
    Mutation(
        "window: only the near face projected",
        (
            (OCCUPANCY, "min(low / near_mm, low / far_mm)", "low / near_mm"),
            (OCCUPANCY, "max(high / near_mm, high / far_mm)", "high / near_mm"),
        ),
    ),
    Mutation(
        "no reading: depth 0 voxelized",
        ((OCCUPANCY, "if z_mm <= 0.0 or z_mm < near_mm", "if z_mm < near_mm"),),
    ),
    Mutation(
        "mirror: principal point off by one",
        ((CAMERA, "cx_px=cols - 1 - intrinsics.cx_px", "cx_px=cols - intrinsics.cx_px"),),
    ),
    Mutation(
        "equation 1: sigma squared without the 2",
        ((GAUSSIAN, "/ (2 * sigma_cell**2)", "/ (sigma_cell**2)"),),
    ),
)  # fmt: skip


def run_mutation(mutation: Mutation) -> Outcome:
    """Apply the mutation to a copy, run the method's tests there, and report what failed."""
    with tempfile.TemporaryDirectory(prefix="v2vpose-mutation-") as name:
        copy = _copied(Path(name))
        for file, found, written in mutation.edits:
            path = copy / "service/v2vpose" / file
            text = path.read_text()
            if text.count(found) != 1:
                return Outcome((), f"{file} holds {found!r} {text.count(found)} times, not once")
            path.write_text(text.replace(found, written))
        return _run_tests(copy)


def _copied(directory: Path) -> Path:
    for folder in ("service", "tests"):
        shutil.copytree(
            ROOT / folder, directory / folder, ignore=shutil.ignore_patterns("__pycache__", "*.npz")
        )
    shutil.copy(ROOT / "pyproject.toml", directory)
    return directory


def _run_tests(copy: Path) -> Outcome:
    # No byte code and a compiler cache of its own: two mutations of one size in one second must
    # not be taken for each other.
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(copy / ".numba"),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(copy / "service"),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=no", "--no-header"]
    finished = subprocess.run(
        [*command, "-p", "no:cacheprovider", "--hypothesis-profile=mutation", *METHOD_TESTS],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    lines = finished.stdout.splitlines()
    failed = tuple(
        line.split(" ", 1)[1].split(" - ")[0] for line in lines if line.startswith("FAILED ")
    )
    ran = finished.returncode in {0, 1} and not any(line.startswith("ERROR ") for line in lines)
    return Outcome(failed, "" if ran else "pytest did not run: " + "\n".join(lines[-10:]))


def described(mutation: Mutation, outcome: Outcome) -> str:
    """Return the mutation's row of the table: failing tests, each counted once."""
    if outcome.trouble:
        return f"{mutation.name}\n    TROUBLE: {outcome.trouble}"
    tests = dict.fromkeys(name.split("[")[0].removeprefix("tests/") for name in outcome.failed)
    if not tests:
        return f"{mutation.name}\n    NOTICED BY NO TEST"
    more = [f"and {len(tests) - _SHOWN} more"] if len(tests) > _SHOWN else []
    return "\n    ".join([mutation.name, *list(tests)[:_SHOWN], *more])


def unmutated_run() -> Outcome:
    """Run the tests in an unchanged copy: they must be green, or red would mean nothing."""
    return run_mutation(Mutation("nothing", ()))


def main(arguments: Sequence[str]) -> int:
    """Try every mutation whose name holds the word given; print the table."""
    word = arguments[0] if arguments else ""
    baseline = unmutated_run()
    if baseline.trouble or baseline.failed:
        print(f"not green before any mutation: {baseline}")
        return 1
    unnoticed = 0
    for mutation in MUTATIONS:
        if word in mutation.name:
            outcome = run_mutation(mutation)
            unnoticed += bool(outcome.trouble) or not outcome.failed
            print(described(mutation, outcome), flush=True)
    print(f"{unnoticed} mutations unnoticed")
    return int(unnoticed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
