"""The paper's five public data sets (section 7.1), as far as a model's manifest speaks of them.

Orders of keypoints, edges, cubes and cameras are those of the release's loaders. The far plane is
the release's maximum depth, the near plane its minimum; for ITOP, which states none, a room's.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, TypeAlias

from v2vpose.errors import InvalidFieldError
from v2vpose.model_store.manifest import Subject
from v2vpose.values import Handedness, Intrinsics

SetName: TypeAlias = Literal["icvl", "nyu", "msra", "hands17", "itop"]
Edges: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class KnownSet:
    """What a net trained on a public data set was trained for.

    Attributes:
        name: of the data set.
        subject: what it shows.
        handedness: of its hands; None for bodies.
        keypoints: names, in the set's order.
        skeleton: edges by index into the names.
        side_mm: edge of the paper's cubic box.
        near_mm: nearest depth of the target.
        far_mm: farthest.
        y_up: whether the set's world, in which the release voxelizes, grows upwards along y.
        intrinsics: the camera, as the release has it.
        wh_px: columns and rows of a depth map.
        refiner_side_mm: edge of DeepPrior++'s cube; where it has none, the cubic box's.
    """

    name: SetName
    subject: Subject
    handedness: Handedness | None
    keypoints: tuple[str, ...]
    skeleton: Edges
    side_mm: float
    near_mm: float
    far_mm: float
    y_up: bool
    intrinsics: Intrinsics
    wh_px: tuple[int, int]
    refiner_side_mm: float


def _per_finger(fingers: tuple[str, ...], joints: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{finger}_{joint}" for finger in fingers for joint in joints)


def _chains(*chains: tuple[int, ...]) -> Edges:
    return tuple(edge for chain in chains for edge in pairwise(chain))


_THUMB_FIRST: Final = ("thumb", "index", "middle", "ring", "little")
_SENZ3D: Final = Intrinsics(fx_px=241.42, fy_px=241.42, cx_px=160, cy_px=120)

ICVL: Final = KnownSet(
    name="icvl",
    subject=Subject.HAND,
    handedness=Handedness.LEFT,
    keypoints=("palm", *_per_finger(_THUMB_FIRST, ("root", "mid", "tip"))),
    skeleton=_chains(*((0, f, f + 1, f + 2) for f in range(1, 16, 3))),
    side_mm=200,
    near_mm=100,
    far_mm=600,
    y_up=False,
    intrinsics=_SENZ3D,
    wh_px=(320, 240),
    refiner_side_mm=250,
)
NYU: Final = KnownSet(
    name="nyu",
    subject=Subject.HAND,
    handedness=Handedness.RIGHT,
    keypoints=(
        *_per_finger(("little", "ring", "middle", "index"), ("tip", "mid")),
        *("thumb_tip", "thumb_mid", "thumb_root", "wrist_back", "wrist", "palm"),
    ),
    skeleton=(
        *_chains((0, 1), (2, 3), (4, 5), (6, 7), (8, 9, 10)),
        *((joint, 13) for joint in (1, 3, 5, 7, 10, 11, 12)),
    ),
    side_mm=250,
    near_mm=300,
    far_mm=1200,
    y_up=True,
    intrinsics=Intrinsics(fx_px=588.036865, fy_px=587.075073, cx_px=320, cy_px=240),
    wh_px=(640, 480),
    refiner_side_mm=300,
)
MSRA: Final = KnownSet(
    name="msra",
    subject=Subject.HAND,
    handedness=Handedness.RIGHT,
    keypoints=(
        "wrist",
        *_per_finger(("index", "middle", "ring", "little"), ("mcp", "pip", "dip", "tip")),
        *("thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip"),
    ),
    skeleton=_chains(*((0, *range(f, f + 4)) for f in range(1, 21, 4))),
    side_mm=200,
    near_mm=100,
    far_mm=700,
    y_up=True,
    intrinsics=_SENZ3D,
    wh_px=(320, 240),
    refiner_side_mm=200,
)
HANDS17: Final = KnownSet(
    name="hands17",
    subject=Subject.HAND,
    handedness=Handedness.RIGHT,
    keypoints=(
        "wrist",
        *(f"{finger}_mcp" for finger in _THUMB_FIRST),
        *_per_finger(_THUMB_FIRST, ("pip", "dip", "tip")),
    ),
    skeleton=_chains(*((0, 1 + f, 6 + 3 * f, 7 + 3 * f, 8 + 3 * f) for f in range(5))),
    side_mm=250,
    near_mm=100,
    far_mm=1500,
    y_up=False,
    intrinsics=Intrinsics(fx_px=475.065948, fy_px=475.065857, cx_px=315.944855, cy_px=245.287079),
    wh_px=(640, 480),
    refiner_side_mm=250,
)
ITOP: Final = KnownSet(
    name="itop",
    subject=Subject.BODY,
    handedness=None,
    keypoints=(
        *("head", "neck", "right_shoulder", "left_shoulder", "right_elbow", "left_elbow"),
        *("right_hand", "left_hand", "torso", "right_hip", "left_hip"),
        *("right_knee", "left_knee", "right_foot", "left_foot"),
    ),
    skeleton=_chains((0, 1, 2, 4, 6), (1, 3, 5, 7), (1, 8, 9, 11, 13), (8, 10, 12, 14)),
    side_mm=2000,
    near_mm=500,
    far_mm=5000,
    y_up=True,
    intrinsics=Intrinsics(fx_px=1 / 0.0035, fy_px=1 / 0.0035, cx_px=160, cy_px=120),
    wh_px=(320, 240),
    refiner_side_mm=2000,
)

KNOWN_SETS: Final[dict[str, KnownSet]] = {s.name: s for s in (ICVL, NYU, MSRA, HANDS17, ITOP)}


def known_set(name: str) -> KnownSet:
    """Return a data set by name.

    Raises:
        InvalidFieldError: it is none of the five.
    """
    if name not in KNOWN_SETS:
        raise InvalidFieldError(f"dataset must be one of {', '.join(KNOWN_SETS)}, got {name!r}")
    return KNOWN_SETS[name]
