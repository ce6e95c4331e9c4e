"""What a caller may choose; None leaves it to the model."""

from dataclasses import dataclass
from typing import Final

from v2vpose.errors import InvalidFieldError
from v2vpose.values import Aggregate, Decode, Handedness, Hint

NO_HINT: Final = Hint()

MAX_TARGETS: Final = 8
"""The most targets that one frame is searched for."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller chose.

    Attributes:
        hint: what is known of the target's place.
        hints: of several targets' places, instead; each is a target of its own.
        targets: how many of the best targets in view are wanted, where no place is known; None =
            the best one, and no list.
        handedness: which hand it is; None = find out.
        side_mm: edge of the cubic box.
        decode: argmax or sub-voxel.
        epochs: a subset of the ensemble.
        aggregate: how the members' keypoints become one.
        with_slices: whether members shall answer with slices of their heatmaps, too.

    Raises:
        InvalidFieldError: too many targets, or several ways to say which.
    """

    hint: Hint = NO_HINT
    hints: tuple[Hint, ...] = ()
    targets: int | None = None
    handedness: Handedness | None = None
    side_mm: float | None = None
    decode: Decode | None = None
    epochs: tuple[int, ...] | None = None
    aggregate: Aggregate = Aggregate.MEAN
    with_slices: bool = False

    def __post_init__(self) -> None:
        for name, count in (("targets", self.targets), ("hints", len(self.hints) or None)):
            if count is not None and not 1 <= count <= MAX_TARGETS:
                raise InvalidFieldError(f"{name} must be 1 to {MAX_TARGETS}, got {count}")
        if NO_HINT in self.hints:
            raise InvalidFieldError("each of the hints must say where its target is")
        if self.hints and self.hint != NO_HINT:
            raise InvalidFieldError("give one hint, or hints for several targets, not both")
        if self.targets is not None and (self.hints or self.hint != NO_HINT):
            raise InvalidFieldError("targets is for frames without a hint: a hint is one target")

    @property
    def are_plural(self) -> bool:
        """Whether the caller asked for several targets, and expects a list."""
        return self.targets is not None or bool(self.hints)

    @property
    def wanted(self) -> int:
        """How many targets the caller asked for."""
        return len(self.hints) or self.targets or 1


DEFAULTS: Final = Options()
