import re
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict

from tests.api.decode.makers import PIXELS
from tests.api.fakes import NOWHERE, manifest, pose
from tests.frames import sphere_frame
from v2vpose.api.answer import estimate_answer, model_info
from v2vpose.api.decode import Encoding
from v2vpose.api.fields import EstimateFields, Include
from v2vpose.api.messages import estimate_message, model_message, pose_message
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.rpc_fields import encoding_of, fields_of
from v2vpose.errors import InvalidFieldError, UnsupportedEncodingError
from v2vpose.serving.pipeline import Estimate

POINT = pb.Point(x_mm=1, y_mm=2, z_mm=3)
ROI = pb.RegionOfInterest(u0=1, v0=2, u1=3, v1=4)
CAMERA = {"fx_px": 475.5, "fy_px": 476.0, "cx_px": 320.0, "cy_px": 240.0}


def as_rest(message: Any, **enums: str) -> dict[str, Any]:
    """A message as JSON with the proto's names, enums in REST's spelling."""
    values = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    lowered: dict[str, Any] = _lower(values, enums)
    return lowered


def _lower(value: Any, enums: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            k: v.removeprefix(enums[k]).lower()
            if k in enums and isinstance(v, str)
            else _point(_lower(v, enums))
            for k, v in value.items()
        }
    return [_point(_lower(v, enums)) for v in value] if isinstance(value, list) else value


def _point(value: Any) -> Any:
    is_point = isinstance(value, dict) and set(value) == {"x_mm", "y_mm", "z_mm"}
    return [value["x_mm"], value["y_mm"], value["z_mm"]] if is_point else value


def test_the_message_says_what_rests_json_says() -> None:
    frame = sphere_frame((0.0, 0.0, 400.0))
    more: dict[str, Any] = {
        "request_id": "r", "include": list(Include), "timing_s": {"decode": 0.001, "total": 0.02},
    }  # fmt: skip
    estimate = Estimate(pose(frame), "hand", "1", {})
    json = estimate_answer(estimate, manifest(), **more)
    message = as_rest(
        pose_message(estimate, manifest(), **more), label="HANDEDNESS_", found_by="FOUND_BY_"
    )
    del json["skeleton"]  # REST's link; gRPC has ListModels
    assert message == json


def test_several_targets_are_a_list_in_both() -> None:
    one = pose(sphere_frame((0.0, 0.0, 400.0)))
    estimate = Estimate(one, "hand", "1", {}, (one, NOWHERE))
    json = estimate_answer(estimate, manifest(), request_id="r")
    message = as_rest(
        estimate_message(estimate, manifest(), request_id="r"),
        label="HANDEDNESS_",
        found_by="FOUND_BY_",
    )
    first, second = json["targets"]
    del first["pose"]["skeleton"], json["request_id"]
    for absent in ("members", "heatmap_slices"):
        assert message["targets"][0]["pose"].pop(absent) == []
    assert message == json
    assert second["error"] == {
        "code": "nothing_to_estimate",
        "detail": "no readings there",
        "is_retryable": False,
    }
    alone = estimate_answer(Estimate(one, "hand", "1", {}), manifest(), request_id="r")
    assert first["pose"] == {k: v for k, v in alone.items() if k != "skeleton"}


def test_a_keypoint_behind_the_camera_has_no_pixel() -> None:
    behind = pose(sphere_frame((0.0, 0.0, 400.0)))
    behind.uv_px[0] = np.nan
    message = pose_message(Estimate(behind, "hand", "1", {}), manifest(), request_id="r")
    assert not message.keypoints[0].HasField("u_px")
    assert message.keypoints[1].HasField("u_px")


def test_a_model_says_what_rest_says() -> None:
    message = as_rest(
        model_message(manifest(), ready=True), handedness="HANDEDNESS_", decode="DECODE_"
    )
    message["skeleton"] = [[e["from_keypoint"], e["to_keypoint"]] for e in message["skeleton"]]
    assert message == model_info(manifest(), ready=True)


def test_options_are_rests_fields() -> None:
    options = pb.EstimateOptions(
        model="hand", version="2", intrinsics=pb.Intrinsics(**CAMERA), depth_unit_mm=0.125,
        roi_px=pb.RegionOfInterest(u0=1, v0=2, u1=3, v1=4), side_mm=300,
        handedness=pb.HANDEDNESS_LEFT, decode=pb.DECODE_SUBVOXEL, epochs=[1, 2],
        include=[pb.INCLUDE_MEMBERS], aggregate=pb.AGGREGATE_MEDIAN, priority=pb.PRIORITY_BULK,
    )  # fmt: skip
    assert fields_of(options) == EstimateFields.from_values(
        {
            **CAMERA, "model": "hand", "version": "2", "depth_unit_mm": 0.125,
            "roi_px": [1, 2, 3, 4], "side_mm": 300, "handedness": "left", "decode": "subvoxel",
            "epochs": [1, 2], "include": ["members"], "aggregate": "median", "priority": "bulk",
        }
    )  # fmt: skip
    camera_only = pb.EstimateOptions(intrinsics=pb.Intrinsics(**CAMERA))
    assert fields_of(camera_only) == EstimateFields.from_values(CAMERA)


@pytest.mark.parametrize(
    ("hint", "field"),
    [
        ({"reference_point_mm": POINT}, {"reference_point_mm": [1, 2, 3]}),
        ({"range_mm": pb.DepthRange(near_mm=1, far_mm=2)}, {"near_mm": 1, "far_mm": 2}),
        (
            {"hints": [pb.Hint(reference_point_mm=POINT), pb.Hint(roi_px=ROI)]},
            {"hints": [{"reference_point_mm": [1, 2, 3]}, {"roi_px": [1, 2, 3, 4]}]},
        ),
        ({"targets": 3}, {"targets": 3}),
    ],
)  # fmt: skip
def test_each_hint_is_rests_hint(hint: dict[str, Any], field: dict[str, Any]) -> None:
    options = pb.EstimateOptions(intrinsics=pb.Intrinsics(**CAMERA), **hint)
    assert fields_of(options) == EstimateFields.from_values({**CAMERA, **field})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"intrinsics": None}, "fx_px, fy_px, cx_px, cy_px missing"),
        ({"handedness": 9}, "handedness must be"),
        ({"include": [0]}, "include must be"),
        ({"targets": 0}, "targets must be"),
    ],
)  # fmt: skip
def test_bad_options_are_refused_as_rests_are(options: dict[str, Any], text: str) -> None:
    message = pb.EstimateOptions(**{"intrinsics": pb.Intrinsics(**CAMERA), **options})
    with pytest.raises(InvalidFieldError, match=text):
        fields_of(message)


def test_every_encoding_has_its_number() -> None:
    names = [name.removeprefix("ENCODING_") for name in pb.Encoding.keys()]  # noqa: SIM118
    assert names == ["UNSPECIFIED", *Encoding]
    for number, encoding in enumerate(Encoding, start=1):
        assert encoding_of(pb.DepthMap(encoding=number)) is encoding  # type: ignore[arg-type]
    ros = pb.DepthMap(data=PIXELS.tobytes(), ros_encoding="16UC1")
    assert encoding_of(ros) is Encoding.RAW_U16_LE


def test_a_missing_or_double_encoding_is_refused() -> None:
    with pytest.raises(UnsupportedEncodingError, match=r"PNG16, .* found UNSPECIFIED"):
        encoding_of(pb.DepthMap())
    with pytest.raises(UnsupportedEncodingError, match="found 99"):
        encoding_of(pb.DepthMap(encoding=99))  # type: ignore[arg-type]
    with pytest.raises(InvalidFieldError, match=re.escape("not both")):
        encoding_of(pb.DepthMap(encoding=pb.ENCODING_RVL, ros_encoding="16UC1"))
