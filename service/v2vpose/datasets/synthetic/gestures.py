"""The joints' limits and the gestures that poses are mixed from, in degrees."""

from dataclasses import dataclass

import numpy as np

from v2vpose.datasets.synthetic.kinematics import NUM_ANGLES, Array

_FINGER_LOW = (-14.0, -25.0, -4.0, -8.0)
_FINGER_HIGH = (14.0, 90.0, 112.0, 75.0)
LIMITS_DEG = np.array(
    [
        [*_FINGER_LOW * 4, -12.0, -42.0, -15.0, -15.0, -22.0, 0.0, 0.0, -60.0, -30.0, -35.0],
        [*_FINGER_HIGH * 4, 52.0, 18.0, 32.0, 48.0, 75.0, 12.0, 18.0, 70.0, 20.0, 35.0],
    ]
)
Finger = tuple[float, float, float, float]
Thumb = tuple[float, float, float, float, float]

STRAIGHT: Finger = (0.0, 2.0, 4.0, 2.0)
RELAXED: Finger = (0.0, 25.0, 30.0, 14.0)
CURLED: Finger = (0.0, 78.0, 100.0, 58.0)
HOOK: Finger = (0.0, 8.0, 88.0, 52.0)
TABLE: Finger = (0.0, 75.0, 12.0, 6.0)
THUMB_OUT: Thumb = (-6.0, -20.0, 0.0, -4.0, -4.0)
THUMB_REST: Thumb = (12.0, -12.0, 6.0, 8.0, 10.0)
THUMB_SIDE: Thumb = (26.0, -34.0, 0.0, 6.0, 8.0)
THUMB_ACROSS: Thumb = (36.0, 10.0, 18.0, 32.0, 36.0)
THUMB_FOLDED: Thumb = (33.0, -20.0, 18.0, 40.0, 45.0)
THUMB_OPPOSED: Thumb = (20.0, 5.0, 26.0, 12.0, 18.0)


@dataclass(frozen=True, slots=True)
class Archetype:
    """Fingers index..little and thumb in degrees; `spread` fans the fingers (-1 closed, 1 wide)."""

    fingers: tuple[Finger, Finger, Finger, Finger]
    thumb: Thumb
    spread: float = -0.3
    weight: float = 1.0

    def angles_deg(self) -> Array:
        """(26,) degrees; the wrist is straight."""
        angles = np.zeros(NUM_ANGLES)
        angles[:16] = np.ravel(self.fingers)
        angles[0:16:4] += self.spread * np.array([8.0, 0.0, -7.0, -13.0])
        angles[16:21] = self.thumb
        mcp = angles[[9, 13]].clip(0.0, 90.0)
        angles[21:23] = mcp * (0.06, 0.14)
        return angles


ARCHETYPES: dict[str, Archetype] = {
    "open": Archetype((STRAIGHT,) * 4, THUMB_OUT, 0.1, 2.0),
    "spread": Archetype((STRAIGHT,) * 4, THUMB_OUT, 1.0, 1.5),
    "flat": Archetype((STRAIGHT,) * 4, THUMB_SIDE, -1.0, 1.2),
    "relaxed": Archetype((RELAXED,) * 4, THUMB_REST, -0.3, 2.5),
    "fist": Archetype((CURLED,) * 4, THUMB_ACROSS, -0.8, 1.5),
    "point": Archetype((STRAIGHT, CURLED, CURLED, CURLED), THUMB_ACROSS, -0.4, 1.5),
    "gun": Archetype((STRAIGHT, CURLED, CURLED, CURLED), THUMB_OUT, -0.4, 0.7),
    "thumb_up": Archetype((CURLED,) * 4, THUMB_OUT, -0.8, 1.2),
    "two": Archetype((STRAIGHT, STRAIGHT, CURLED, CURLED), THUMB_FOLDED, 0.8, 1.2),
    "three": Archetype((STRAIGHT, STRAIGHT, STRAIGHT, CURLED), THUMB_FOLDED, 0.4, 1.0),
    "three_thumb": Archetype((STRAIGHT, STRAIGHT, CURLED, CURLED), THUMB_OUT, 0.5, 0.7),
    "four": Archetype((STRAIGHT,) * 4, THUMB_FOLDED, 0.3, 1.0),
    "horns": Archetype((STRAIGHT, CURLED, CURLED, STRAIGHT), THUMB_FOLDED, 0.4, 0.5),
    "phone": Archetype((CURLED, CURLED, CURLED, STRAIGHT), THUMB_OUT, 0.2, 0.5),
    "claw": Archetype((HOOK,) * 4, THUMB_REST, 0.4, 1.0),
    "table": Archetype((TABLE,) * 4, THUMB_SIDE, -0.7, 0.7),
    "cup": Archetype(((0.0, 40.0, 45.0, 25.0),) * 4, THUMB_OPPOSED, -0.1, 1.5),
    "hold": Archetype(((0.0, 55.0, 65.0, 35.0),) * 4, THUMB_OPPOSED, -0.4, 1.2),
}
