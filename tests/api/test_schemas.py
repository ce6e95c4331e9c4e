from base64 import b64decode
from typing import Any

import httpx
import numpy as np

from tests.api.conftest import Rest
from tests.api.decode.makers import png
from tests.api.fakes import SLICES, with_peak
from v2vpose.api.fields import EstimateFields
from v2vpose.api.schemas import EstimateAnswer, ModelInfo, ModelsAnswer, Problem, TargetsAnswer

CAMERA = {"fx_px": 240.0, "fy_px": 241.0, "cx_px": 160.0, "cy_px": 120.0}


async def estimate(rest: Rest, include: str = "members,timing,heatmap_slices") -> httpx.Response:
    return await rest.client.post(
        "/v1/estimate",
        params={**CAMERA, "include": include},
        content=png(),
        headers={"content-type": "image/png"},
    )


async def test_the_hot_paths_json_has_the_documented_shape(rest: Rest) -> None:
    response = await estimate(rest)
    answer = EstimateAnswer.model_validate_json(response.content, strict=True)
    assert answer.members is not None
    assert answer.timing_ms is not None
    assert answer.heatmap_slices is not None
    slices = answer.heatmap_slices[1]
    values = np.frombuffer(b64decode(slices.values), np.uint8).reshape(slices.shape)
    np.testing.assert_array_equal(values, SLICES + np.uint8(slices.epoch))
    assert answer.model_dump(mode="json") == response.json()


async def test_several_targets_have_the_documented_shape(rest: Rest) -> None:
    response = await rest.client.post(
        "/v1/estimate",
        params={**CAMERA, "targets": 2, "include": "timing"},
        content=png(),
        headers={"content-type": "image/png"},
    )
    answer = TargetsAnswer.model_validate_json(response.content, strict=True)
    first, second = answer.targets
    assert first.pose is not None
    assert first.pose.timing_ms is not None
    assert second.error is not None
    assert answer.model_dump(mode="json", exclude_none=True) == without_nulls(response.json())
    assert (
        response.json()["targets"][0]["pose"].keys()
        == (await estimate(rest, "timing")).json().keys()
    )


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(v) for v in value] if isinstance(value, list) else value


async def test_a_keypoint_behind_the_camera_has_no_pixel(rest: Rest) -> None:
    def behind(pose: object, _: object) -> object:
        pose.uv_px[0] = np.nan  # type: ignore[attr-defined]
        return pose

    rest.pipeline.change = behind  # type: ignore[assignment]
    answer = EstimateAnswer.model_validate_json((await estimate(rest)).content, strict=True)
    assert answer.keypoints[0].u_px is None


async def test_low_peaks_are_a_warning(rest: Rest) -> None:
    rest.pipeline.change = lambda pose, _: with_peak(pose, 0.1)
    answer = EstimateAnswer.model_validate_json((await estimate(rest)).content, strict=True)
    assert answer.warnings == [
        "the mean heatmap peak, 0.10, is low: the target may not be what it seems"
    ]


async def test_models_have_the_documented_shape(rest: Rest) -> None:
    listed = await rest.client.get("/v1/models")
    ModelsAnswer.model_validate_json(listed.content, strict=True)
    one = await rest.client.get("/v1/models/hand")
    ModelInfo.model_validate_json(one.content, strict=True)


async def test_problems_have_the_documented_shape(rest: Rest) -> None:
    response = await rest.client.get("/nowhere")
    Problem.model_validate_json(response.content, strict=True)


async def test_openapi_names_every_field_route_and_media_type(rest: Rest) -> None:
    document = (await rest.client.get("/openapi.json")).json()
    assert set(document["paths"]) == {
        "/v1/estimate", "/v1/models", "/v1/models/{model}", "/v1/models/{model}:reload",
        "/healthz", "/readyz", "/metrics",
    }  # fmt: skip
    operation = document["paths"]["/v1/estimate"]["post"]
    query = {p["name"] for p in operation["parameters"] if p["in"] == "query"}
    assert query == set(EstimateFields.model_fields)
    body = operation["requestBody"]["content"]
    assert set(body) == {
        "multipart/form-data", "image/png", "application/x-npy", "image/tiff",
        "application/octet-stream",
    }  # fmt: skip
    form = body["multipart/form-data"]["schema"]["properties"]
    assert set(form) == {"depth", "request", *EstimateFields.model_fields}
    answers = {"200", "400", "401", "404", "413", "415", "422", "429", "500", "503", "504"}
    assert set(operation["responses"]) == answers
    ids = [o["operationId"] for path in document["paths"].values() for o in path.values()]
    assert len(set(ids)) == len(ids)
