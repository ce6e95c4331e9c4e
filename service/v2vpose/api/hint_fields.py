"""The fields that say what is known of a target's place: of the one, or of each of several."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from v2vpose.errors import InvalidFieldError
from v2vpose.values import Hint


def split(value: Any) -> Any:
    """Read `1,2,3` as a list; the elements are checked by their type."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


class HintFields(BaseModel):
    """What is known of a target's place; at most one of the three."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    reference_point_mm: Annotated[tuple[float, float, float] | None, BeforeValidator(split)] = (
        Field(None, description="Hint: x, y, z near the target's centre, camera frame, mm.")
    )
    roi_px: Annotated[tuple[int, int, int, int] | None, BeforeValidator(split)] = Field(
        None, description="Hint: u0, v0, u1, v1 around the target; u1 and v1 exclusive."
    )
    near_mm: float | None = Field(
        None, ge=0, description="Hint, with far_mm: the target's surface is not nearer."
    )
    far_mm: float | None = Field(
        None, gt=0, description="Hint, with near_mm: the target's surface is not farther."
    )

    def hint(self) -> Hint:
        """Return the hint.

        Raises:
            InvalidFieldError: hints contradict each other or are out of order.
        """
        if (self.near_mm is None) != (self.far_mm is None):
            given, missing = (
                ("far_mm", "near_mm") if self.near_mm is None else ("near_mm", "far_mm")
            )
            raise InvalidFieldError(f"{given} needs {missing} beside it")
        near_far = None
        if self.near_mm is not None and self.far_mm is not None:
            near_far = (self.near_mm, self.far_mm)
        return Hint(
            reference_point_mm=self.reference_point_mm, roi_px=self.roi_px, range_mm=near_far
        )
