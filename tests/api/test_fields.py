import contextlib
import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2vpose.api.fields import EstimateFields, Include
from v2vpose.errors import InvalidFieldError
from v2vpose.estimator import Options
from v2vpose.serving.ports import Priority
from v2vpose.values import Aggregate, Decode, Handedness, Hint, Intrinsics

CAMERA = {"fx_px": "475.5", "fy_px": "476", "cx_px": "320", "cy_px": "240"}


def fields(**more: str) -> EstimateFields:
    return EstimateFields.from_pairs({**CAMERA, **more}.items())


def test_intrinsics_alone_are_enough() -> None:
    minimal = fields()
    assert minimal.intrinsics() == Intrinsics(475.5, 476, 320, 240)
    assert minimal.options() == Options()
    assert minimal.depth_unit_mm == 1.0
    assert (minimal.model, minimal.version, minimal.include) == (None, None, ())


def test_text_and_json_mean_the_same() -> None:
    text = fields(
        roi_px="1, 2,3,4", epochs="2,1", include="members,timing", side_mm="300", decode="subvoxel",
        handedness="left", model="hand", version="2", width="640", height="480",
        aggregate="median", priority="bulk",
    )  # fmt: skip
    json = EstimateFields.from_values(
        {
            "fx_px": 475.5, "fy_px": 476, "cx_px": 320, "cy_px": 240.0, "roi_px": [1, 2, 3, 4],
            "epochs": [2, 1], "include": ["members", "timing"], "side_mm": 300,
            "decode": "subvoxel", "handedness": "left", "model": "hand", "version": "2",
            "width": 640, "height": 480, "aggregate": "median", "priority": "bulk",
        }
    )  # fmt: skip
    assert text == json
    assert text.include == (Include.MEMBERS, Include.TIMING)
    assert text.options() == Options(
        hint=Hint(roi_px=(1, 2, 3, 4)),
        handedness=Handedness.LEFT,
        side_mm=300,
        decode=Decode.SUBVOXEL,
        epochs=(2, 1),
        aggregate=Aggregate.MEDIAN,
    )


def test_hints_are_json_wherever_they_come_from() -> None:
    hints = [
        {"reference_point_mm": [1, -2, 400]},
        {"roi_px": [1, 2, 3, 4]},
        {"near_mm": 2, "far_mm": 9},
    ]
    expected = Hint((1, -2, 400)), Hint(roi_px=(1, 2, 3, 4)), Hint(range_mm=(2, 9))
    text = fields(hints=orjson.dumps(hints).decode()).options()
    assert text.hints == expected
    assert EstimateFields.from_values({**CAMERA, "hints": hints}).options() == text
    assert text.are_plural
    assert text.wanted == 3


def test_one_target_may_be_asked_for_as_a_list() -> None:
    assert fields(targets="1").options() == Options(targets=1)
    assert fields(targets="1").options().are_plural
    assert not fields().options().are_plural


def test_slices_are_asked_of_the_members() -> None:
    assert fields(include="heatmap_slices").options() == Options(with_slices=True)


def test_bulk_lets_others_go_first() -> None:
    assert fields().turn() is Priority.NORMAL
    assert fields().turn(Priority.STREAM) is Priority.STREAM
    assert fields(priority="bulk").turn() is fields(priority="bulk").turn(Priority.STREAM)
    assert fields(priority="bulk").turn() is Priority.BULK


def test_hints_become_a_hint() -> None:
    assert fields(reference_point_mm="1,-2,400").options().hint == Hint((1, -2, 400))
    assert fields(near_mm="200", far_mm="900").options().hint == Hint(range_mm=(200, 900))


def test_a_list_may_be_the_field_repeated() -> None:
    pairs = [*CAMERA.items(), ("epochs", "1"), ("epochs", "3")]
    assert EstimateFields.from_pairs(pairs).epochs == (1, 3)


REFUSED: list[tuple[dict[str, str], str]] = [
    ({"fx": "4"}, "unknown field fx (known: reference_point_mm, roi_px,"),
    ({"fx_px": "nan"}, "fx_px must be a finite number, got 'nan'"),
    ({"fx_px": "wide"}, "fx_px must be a valid number"),
    ({"cx_px": ""}, "cx_px must be a valid number"),
    ({"depth_unit_mm": "0"}, "depth_unit_mm must be greater than 0, got '0'"),
    ({"roi_px": "1,2,3"}, "roi_px must be four whole numbers u0, v0, u1, v1, got '1,2,3'"),
    ({"reference_point_mm": "1,2"}, "reference_point_mm must be three finite numbers x, y, z"),
    ({"reference_point_mm": "1,2,inf"}, "reference_point_mm must be three finite numbers"),
    ({"epochs": "one"}, "epochs must be whole numbers, got 'one'"),
    ({"include": "heatmap"}, "include must be of members, timing, heatmap_slices, got 'heatmap'"),
    ({"handedness": "both"}, "handedness must be 'auto', 'right' or 'left', got 'both'"),
    ({"decode": "mean"}, "decode must be 'argmax' or 'subvoxel', got 'mean'"),
    ({"aggregate": "max"}, "aggregate must be 'mean' or 'median', got 'max'"),
    ({"priority": "stream"}, "priority must be 'normal' or 'bulk', got 'stream'"),
    ({"targets": "9"}, "targets must be less than or equal to 8, got '9'"),
    ({"targets": "0"}, "targets must be greater than or equal to 1, got '0'"),
    (
        {"hints": "[]"},
        "hints must be 1 to 8 of {reference_point_mm}, {roi_px} or {near_mm, far_mm}",
    ),
    ({"hints": "1,2,3"}, "hints must be 1 to 8 of"),
    ({"hints": '[{"u": 1}]'}, "hints must be 1 to 8 of"),
    ({"width": "0"}, "width must be greater than or equal to 1"),
    ({"side_mm": "-5"}, "side_mm must be greater than 0"),
    ({"model": "x" * 99, "width": "w" * 99}, "got '" + "w" * 59 + "..."),
]


@pytest.mark.parametrize(("more", "text"), REFUSED)
def test_each_bad_field_is_named_with_what_was_found(more: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidFieldError, match=re.escape(text)):
        fields(**more)


def test_missing_intrinsics_are_named() -> None:
    with pytest.raises(InvalidFieldError, match=r"^fy_px, cy_px missing \(the camera's intrinsics"):
        EstimateFields.from_pairs([("fx_px", "4"), ("cx_px", "4")])


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(InvalidFieldError, match=r"unknown field a.*cy_px missing.*fx_px must be"):
        EstimateFields.from_pairs([("a", "1"), ("fx_px", "x"), ("fy_px", "1"), ("cx_px", "1")])


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"near_mm": "5"}, "near_mm needs far_mm beside it"),
        ({"far_mm": "5"}, "far_mm needs near_mm beside it"),
        ({"near_mm": "9", "far_mm": "5"}, "need 0 <= near_mm < far_mm"),
        ({"near_mm": "1", "far_mm": "5", "roi_px": "1,2,3,4"}, "give one hint, not roi_px and"),
        ({"hints": "[{}]"}, "each of the hints must say where its target is"),
        ({"hints": '[{"near_mm": 5}]'}, "near_mm needs far_mm beside it"),
        ({"hints": '[{"roi_px": [1, 2, 3, 4]}]', "targets": "2"}, "a hint is one target"),
        ({"roi_px": "1,2,3,4", "targets": "1"}, "a hint is one target"),
        ({"reference_point_mm": "1,2,-3"}, "reference_point_mm must be finite with z > 0"),
    ],
)
def test_hints_that_make_no_sense_are_refused(more: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidFieldError, match=re.escape(text)):
        fields(**more).options()


def test_a_focal_length_must_be_positive() -> None:
    with pytest.raises(InvalidFieldError, match=r"fy_px must be > 0 .* got -476"):
        fields(fy_px="-476").intrinsics()


def test_a_scalar_given_twice_is_refused() -> None:
    with pytest.raises(InvalidFieldError, match="fx_px is given twice"):
        EstimateFields.from_pairs([*CAMERA.items(), ("fx_px", "1")])


names = st.sampled_from([*EstimateFields.model_fields, "other"])


@given(st.lists(st.tuples(names, st.text(max_size=8)), max_size=8))
def test_random_fields_raise_nothing_but_our_error(pairs: list[tuple[str, str]]) -> None:
    with contextlib.suppress(InvalidFieldError):
        found = EstimateFields.from_pairs([*CAMERA.items(), *pairs])
        found.options()
        found.intrinsics()
