"""The fields of an estimate request, the same in a query, a form, a JSON part and a stream's start.

Text becomes values here, once; every refusal names the field, what was found and what was expected.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from v2vpose.api.hint_fields import HintFields, split
from v2vpose.errors import InvalidFieldError
from v2vpose.estimator import MAX_TARGETS, Options
from v2vpose.serving.ports import Priority
from v2vpose.values import Aggregate, Decode, Handedness, Intrinsics

_LIST_FIELDS: Final = ("epochs", "include", "reference_point_mm", "roi_px")
_INTRINSICS: Final = ("fx_px", "fy_px", "cx_px", "cy_px")
_SHOWN_CHARS: Final = 60
_EXPECTED: Final = {
    "reference_point_mm": "three finite numbers x, y, z",
    "roi_px": "four whole numbers u0, v0, u1, v1",
    "epochs": "whole numbers",
    "hints": f"1 to {MAX_TARGETS} of {{reference_point_mm}}, {{roi_px}} or {{near_mm, far_mm}}",
    "include": "of members, timing, heatmap_slices",
}


class Include(StrEnum):
    """What an answer may hold besides the pose."""

    MEMBERS = "members"
    TIMING = "timing"
    HEATMAP_SLICES = "heatmap_slices"


def _parsed(value: Any) -> Any:
    """Read JSON; what is none is left as it is, and refused by its type."""
    try:
        return orjson.loads(value) if isinstance(value, str) else value
    except orjson.JSONDecodeError:
        return value


class EstimateFields(HintFields):
    """The fields beside the depth map, with their units in their names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str | None = Field(None, description="Model to use; default: the store's default.")
    version: str | None = Field(None, description="Its version; default: the one being served.")
    fx_px: float = Field(description="Focal length along u, in pixels of this depth map; > 0.")
    fy_px: float = Field(description="Focal length along v, in pixels of this depth map; > 0.")
    cx_px: float = Field(description="Principal point, u; pixel (0, 0) is the first one's centre.")
    cy_px: float = Field(description="Principal point, v.")
    depth_unit_mm: float = Field(
        1.0, gt=0, le=1000, description="Millimetres of one unit: 1 for most, 0.125 for an SR300."
    )
    hints: Annotated[tuple[HintFields, ...] | None, BeforeValidator(_parsed)] = Field(
        None,
        min_length=1,
        max_length=MAX_TARGETS,
        description="Several hints, each a target; the answer is a list in their order. JSON, such "
        'as `[{"reference_point_mm": [0, 20, 480]}, {"roi_px": [300, 10, 420, 140]}]`.',
    )
    targets: int | None = Field(
        None,
        ge=1,
        le=MAX_TARGETS,
        description="The best so many targets in view; the answer is a list, the surest first.",
    )
    side_mm: float | None = Field(
        None, gt=0, le=5000, description="Edge of the cubic box; default: the model's."
    )
    handedness: Literal["auto", "right", "left"] = Field(
        "auto", description="Which hand it is, from its owner's view; auto: find out."
    )
    decode: Decode | None = Field(
        None, description="How heatmaps become points; default: as the model was validated."
    )
    epochs: Annotated[tuple[int, ...] | None, BeforeValidator(split)] = Field(
        None, description="Subset of the epoch checkpoints; default: the whole ensemble."
    )
    aggregate: Aggregate = Field(
        Aggregate.MEAN,
        description="How the epoch checkpoints' keypoints become one: their mean, or the median "
        "of each coordinate, which one stray checkpoint cannot move far.",
    )
    priority: Literal["normal", "bulk"] = Field(
        "normal", description="bulk: let everybody else go first when the service is busy."
    )
    include: Annotated[tuple[Include, ...], BeforeValidator(split)] = Field(
        (), description="More in the answer: `members`, `timing`, `heatmap_slices`."
    )
    width: int | None = Field(None, ge=1, description="Columns of raw pixels; octet-stream only.")
    height: int | None = Field(None, ge=1, description="Rows of raw pixels; octet-stream only.")

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[str, str]]) -> Self:
        """Read a query's or a form's fields; a list is commas or the field repeated.

        Raises:
            InvalidFieldError: a field is unknown, missing, given twice, malformed or out of range.
        """
        values: dict[str, Any] = {}
        for name, value in pairs:
            if name in values and name not in _LIST_FIELDS:
                raise InvalidFieldError(f"{name} is given twice")
            values[name] = f"{values[name]},{value}" if name in values else value
        return cls.from_values(values)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Read fields by name.

        Raises:
            InvalidFieldError: a field is unknown, missing, malformed or out of range.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InvalidFieldError(_explain(error, cls, values)) from error

    def intrinsics(self) -> Intrinsics:
        """Return the camera.

        Raises:
            InvalidFieldError: a focal length is not positive.
        """
        return self._intrinsics

    def options(self) -> Options:
        """Return what the caller chose.

        Raises:
            InvalidFieldError: hints contradict each other or are out of order.
        """
        return self._options

    def turn(self, usual: Priority = Priority.NORMAL) -> Priority:
        """Return who goes first; `usual` is that of callers who are in a hurry."""
        return Priority.BULK if self.priority == "bulk" else usual

    @cached_property
    def _intrinsics(self) -> Intrinsics:
        """Made once: a camera asks with the same fields all day."""
        return Intrinsics(fx_px=self.fx_px, fy_px=self.fy_px, cx_px=self.cx_px, cy_px=self.cy_px)

    @cached_property
    def _options(self) -> Options:
        return Options(
            hint=self.hint(),
            hints=tuple(hint.hint() for hint in self.hints or ()),
            targets=self.targets,
            handedness=None if self.handedness == "auto" else Handedness(self.handedness),
            side_mm=self.side_mm,
            decode=self.decode,
            epochs=self.epochs,
            aggregate=self.aggregate,
            with_slices=Include.HEATMAP_SLICES in self.include,
        )


def _explain(error: ValidationError, model: type[BaseModel], values: Mapping[str, Any]) -> str:
    """Return one line for all problems, unknown names first."""
    problems = error.errors(include_url=False, include_context=False)
    tops = [(p["type"], str(p["loc"][0])) for p in problems if len(p["loc"]) == 1]
    unknown = [name for kind, name in tops if kind == "extra_forbidden"]
    missing = [name for kind, name in tops if kind == "missing"]
    texts = []
    if unknown:
        names = ", ".join(name[:_SHOWN_CHARS] for name in unknown[:5])
        known = ", ".join(model.model_fields)
        texts.append(f"unknown field{'s' if len(unknown) > 1 else ''} {names} (known: {known})")
    if missing:  # only intrinsics have no default
        needed = ", ".join(_INTRINSICS)
        texts.append(f"{', '.join(missing)} missing (the camera's intrinsics are needed: {needed})")
    wrong = {
        str(p["loc"][0]): p["msg"].removeprefix("Input should be ")
        for p in reversed(problems)
        if p["loc"] and str(p["loc"][0]) not in {*unknown, *missing}
    }
    for name, message in reversed(wrong.items()):
        expected = _EXPECTED.get(name, message)
        texts.append(f"{name} must be {expected}, got {_shown(values.get(name))}")
    return "; ".join(texts)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
