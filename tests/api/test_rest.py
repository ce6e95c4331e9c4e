import json
import logging
import re
import time
from typing import Any

import httpx
import numpy as np
import pytest

from tests.api.conftest import Rest
from tests.api.decode.makers import npy, png, png_of
from tests.api.fakes import KEYPOINTS_MM, NAMES
from v2vpose.api.problems import INTERNAL_DETAIL
from v2vpose.errors import (
    DeadlineExceededError,
    InvalidModelError,
    NothingToEstimateError,
    OverloadedError,
    PoseError,
    UnavailableError,
)
from v2vpose.serving.ports import Priority
from v2vpose.values import Aggregate, Handedness, Hint, Intrinsics

CAMERA = {"fx_px": 240.0, "fy_px": 241.0, "cx_px": 160.0, "cy_px": 120.0}
DEPTH = np.full((24, 32), 500, np.uint16)


async def post(rest: Rest, **more: Any) -> httpx.Response:
    """Post a good depth map; `more` changes the request."""
    request = {
        "params": CAMERA,
        "content": png(DEPTH),
        "headers": {"content-type": "image/png"},
        **more,
    }
    return await rest.client.post("/v1/estimate", **request)


def problem(response: httpx.Response) -> dict[str, Any]:
    """The problem document, after the checks that hold for each."""
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code
    assert body["request_id"] == response.headers["x-request-id"]
    assert set(body) == {"type", "title", "status", "code", "detail", "request_id"}
    return body


async def test_a_depth_png_comes_back_as_named_keypoints(rest: Rest) -> None:
    response = await post(rest)
    assert response.status_code == 200
    answer = response.json()
    assert [k["name"] for k in answer["keypoints"]] == list(NAMES)
    found = [[k["x_mm"], k["y_mm"], k["z_mm"]] for k in answer["keypoints"]]
    np.testing.assert_allclose(found, KEYPOINTS_MM, atol=0.001)
    assert answer["keypoints"][0]["u_px"] == 160.0
    assert answer["keypoints"][0]["v_px"] == pytest.approx(120 + 50 / 400 * 241, abs=0.01)
    assert answer["ensemble"] == {"epochs": [1, 2], "answered": [1, 2], "degraded": False}
    assert "members" not in answer
    assert "timing_ms" not in answer


async def test_the_pipeline_gets_what_the_caller_sent(rest: Rest) -> None:
    before_s = time.monotonic()
    await post(
        rest,
        params={
            **CAMERA, "depth_unit_mm": 0.125, "model": "hand", "version": "1",
            "roi_px": "1,2,30,20", "handedness": "left", "epochs": "2", "aggregate": "median",
            "priority": "bulk",
        },
        headers={"content-type": "image/png", "x-request-timeout": "5"},
    )  # fmt: skip
    (call,) = rest.pipeline.calls
    np.testing.assert_array_equal(call.frame.depth_mm, DEPTH * 0.125)
    assert call.frame.intrinsics == Intrinsics(**CAMERA)
    assert call.options.hint == Hint(roi_px=(1, 2, 30, 20))
    assert call.options.handedness is Handedness.LEFT
    assert call.options.epochs == (2,)
    assert call.options.aggregate is Aggregate.MEDIAN
    assert (call.model, call.version, call.priority) == ("hand", "1", Priority.BULK)
    assert call.deadline_s is not None
    assert 4 < call.deadline_s - before_s < 6


async def test_a_form_and_a_bare_body_give_the_same_answer(rest: Rest) -> None:
    bare = (await post(rest)).json()
    form = await post(
        rest, params=None, headers=None, content=None, data=CAMERA,
        files={"depth": ("a.png", png(DEPTH), "image/png")},
    )  # fmt: skip
    one_part = await post(
        rest, params=None, headers=None, content=None,
        files={"depth": ("a.png", png(DEPTH)), "request": (None, json.dumps(CAMERA))},
    )  # fmt: skip
    for response in (form, one_part):
        assert {**response.json(), "request_id": ""} == {**bare, "request_id": ""}
    frames = [call.frame.depth_mm for call in rest.pipeline.calls]
    np.testing.assert_array_equal(frames[0], frames[1])
    np.testing.assert_array_equal(frames[0], frames[2])


@pytest.mark.parametrize(
    ("content", "media_type", "more"),
    [
        (npy(DEPTH), "application/x-npy", {}),
        (DEPTH.tobytes(), "application/octet-stream", {"width": 32, "height": 24}),
    ],
)
async def test_other_media_types_reach_the_pipeline_alike(
    rest: Rest, content: bytes, media_type: str, more: dict[str, int]
) -> None:
    response = await post(
        rest, params={**CAMERA, **more}, content=content, headers={"content-type": media_type}
    )
    assert response.status_code == 200
    np.testing.assert_array_equal(rest.pipeline.calls[0].frame.depth_mm, DEPTH)


async def test_members_and_timing_come_when_asked_for(rest: Rest) -> None:
    answer = (await post(rest, params={**CAMERA, "include": "members,timing"})).json()
    assert [member["epoch"] for member in answer["members"]] == [1, 2]
    np.testing.assert_allclose(answer["members"][1]["keypoints_mm"], KEYPOINTS_MM + 2, atol=0.001)
    timing = answer["timing_ms"]
    assert (timing["locate"], timing["forward"]) == (1.0, 10.0)
    assert 0 < timing["decode"] < timing["total"]


async def test_a_degraded_answer_says_who_was_missing(rest: Rest) -> None:
    rest.pipeline.answered = (1,)
    answer = (await post(rest)).json()
    assert answer["ensemble"] == {"epochs": [1, 2], "answered": [1], "degraded": True}
    assert answer["warnings"] == ["1 of 2 epoch checkpoints answered; missing: 2"]


REFUSED: list[tuple[dict[str, Any], int, str, str]] = [
    ({"content": png(DEPTH.astype(np.uint8))}, 400, "invalid_depth_map",
     "expected a 16-bit greyscale PNG, found 8-bit greyscale"),
    ({"content": png(np.zeros((9, 9, 3), np.uint8))}, 400, "invalid_depth_map", "found 8-bit RGB"),
    ({"content": png(DEPTH)[:60]}, 400, "invalid_depth_map", "the PNG is truncated"),
    ({"content": png_of(60_000, 60_000)}, 413, "payload_too_large", "60000 x 60000"),
    ({"content": bytes(100_001)}, 413, "payload_too_large", "more than 100000 bytes"),
    ({"content": b""}, 400, "invalid_depth_map", "0 bytes"),
    ({"params": {}}, 422, "invalid_field", "fx_px, fy_px, cx_px, cy_px missing"),
    ({"params": {**CAMERA, "fx_px": "nan"}}, 422, "invalid_field", "must be a finite number"),
    ({"params": {**CAMERA, "fx_px": "0"}}, 422, "invalid_field", "fx_px must be > 0"),
    ({"params": {**CAMERA, "focal": "1"}}, 422, "invalid_field", "unknown field focal"),
    ({"params": {**CAMERA, "include": "heatmaps"}}, 422, "invalid_field", "include must be"),
    ({"params": {**CAMERA, "model": "foot"}}, 404, "unknown_model", "no model 'foot'"),
    ({"headers": {"content-type": "image/jpeg"}}, 415, "unsupported_encoding", "found image/jpeg"),
    ({"headers": {"content-type": "image/png", "x-request-timeout": "soon"}}, 422, "invalid_field",
     "x-request-timeout must be seconds > 0, got 'soon'"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "status", "code", "text"), REFUSED)
async def test_each_bad_request_has_its_status_code_and_text(
    rest: Rest, more: dict[str, Any], status: int, code: str, text: str
) -> None:
    response = await post(rest, **more)
    body = problem(response)
    assert (response.status_code, body["code"]) == (status, code)
    assert re.search(text, body["detail"]), body["detail"]
    assert "retry-after" not in response.headers


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (NothingToEstimateError("no hand in view"), 422, None),
        (OverloadedError("the queue is full"), 429, "1"),
        (UnavailableError("starting"), 503, "1"),
        (DeadlineExceededError("too late"), 504, None),
    ],
)
async def test_what_the_pipeline_refuses_reaches_the_caller(
    rest: Rest, error: PoseError, status: int, retry_after: str | None
) -> None:
    rest.pipeline.error = error
    response = await post(rest)
    body = problem(response)
    assert (response.status_code, body["code"], body["detail"]) == (status, error.code, str(error))
    assert response.headers.get("retry-after") == retry_after


async def test_our_bug_is_a_500_whose_text_stays_in_the_log(
    rest: Rest, caplog: pytest.LogCaptureFixture
) -> None:
    rest.pipeline.error = RuntimeError("the secret of the house")
    response = await post(rest, headers={"content-type": "image/png", "x-request-id": "r-1"})
    body = problem(response)
    assert (response.status_code, body["code"], body["detail"]) == (
        500,
        "internal",
        INTERNAL_DETAIL,
    )
    assert body["request_id"] == "r-1"
    traces = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(traces) == 1
    assert "the secret of the house" in str(traces[0].exc_info)


@pytest.mark.parametrize("given", ["abc-1", "x" * 128])
async def test_the_callers_request_id_is_echoed(rest: Rest, given: str) -> None:
    response = await post(rest, headers={"content-type": "image/png", "x-request-id": given})
    assert response.headers["x-request-id"] == given
    assert response.json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "two words"])
async def test_a_senseless_request_id_is_replaced(rest: Rest, given: str) -> None:
    response = await post(rest, headers={"content-type": "image/png", "x-request-id": given})
    assert re.fullmatch("[0-9a-f]{32}", response.json()["request_id"])


async def test_one_line_is_logged_for_one_request(
    rest: Rest, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "v2vpose.requests"):
        await post(rest)
    (record,) = [r for r in caplog.records if r.name == "v2vpose.requests"]
    assert record.getMessage() == "estimate ok"
    assert vars(record)["status"] == 200


async def test_one_success_and_one_failure_are_counted_exactly(rest: Rest) -> None:
    await post(rest)
    await post(rest, params={})
    text = (await rest.client.get("/metrics")).text
    counts = re.findall(r"^v2vpose_requests_total\{(.*)\} (.*)$", text, re.MULTILINE)
    assert sorted(counts) == [
        ('code="invalid_field",route="estimate"', "1.0"),
        ('code="ok",route="estimate"', "1.0"),
    ]
    assert 'v2vpose_request_seconds_count{route="estimate"} 2.0' in text
    assert 'v2vpose_stage_seconds_count{stage="decode"} 1.0' in text
    assert "v2vpose_in_flight 0.0" in text


async def test_models_are_listed_with_all_that_a_caller_needs(rest: Rest) -> None:
    listed = (await rest.client.get("/v1/models")).json()
    assert listed["default"] == "hand"
    (model,) = listed["models"]
    assert [keypoint["name"] for keypoint in model["keypoints"]] == list(NAMES)
    assert model["skeleton"] == [[0, 1], [0, 2]]
    assert (model["epochs"], model["ready"]) == ([1, 2], True)
    assert (await rest.client.get("/v1/models/hand")).json() == model
    assert (await rest.client.get("/v1/models/hand?version=1")).json() == model


async def test_an_answers_skeleton_is_a_page_that_has_it(rest: Rest) -> None:
    answer = (await post(rest)).json()
    assert (await rest.client.get(answer["skeleton"])).json()["skeleton"] == [[0, 1], [0, 2]]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/models/foot", 404, "unknown_model"),
        ("GET", "/v1/models/hand?version=9", 404, "unknown_model"),
        ("GET", "/v1/models/hand?epoch=1", 422, "invalid_field"),
        ("GET", "/v1/models?all=1", 422, "invalid_field"),
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/estimate", 405, "method_not_allowed"),
    ],
)
async def test_other_wrong_requests_are_problems_too(
    rest: Rest, method: str, path: str, status: int, code: str
) -> None:
    response = await rest.client.request(method, path)
    assert (response.status_code, problem(response)["code"]) == (status, code)


async def test_a_field_that_fastapi_checks_is_a_problem_too(rest: Rest) -> None:
    @rest.app.framework.get("/echo")
    async def echo(count: int) -> int:
        return count

    body = problem(await rest.client.get("/echo?count=x"))
    assert (body["status"], body["code"]) == (422, "invalid_field")
    assert body["detail"].startswith("query.count: ")


async def test_health_is_alive_and_ready_says_the_truth(rest: Rest) -> None:
    assert (await rest.client.get("/healthz")).json() == {"status": "alive"}
    ready = await rest.client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    rest.pipeline.ready = False
    down = await rest.client.get("/readyz")
    assert (down.status_code, down.json()["status"]) == (503, "not ready")
    assert down.json()["models"][0]["epochs_up"] == []
    assert down.headers["retry-after"] == "1"


async def test_keys_guard_estimates_and_models_but_not_health(rest: Rest) -> None:
    client = rest.with_keys("secret", None)
    for response in (
        await client.get("/v1/models"),
        await client.get("/v1/models/hand"),
        await client.post("/v1/estimate"),
    ):
        assert problem(response)["code"] == "unauthenticated"
        assert response.headers["www-authenticate"] == "Bearer"
    assert (await client.get("/v1/models", headers={"x-api-key": "secret"})).status_code == 200
    for path in ("/healthz", "/readyz", "/metrics", "/"):
        assert (await client.get(path)).status_code == 200


async def test_only_an_admin_may_reload(rest: Rest) -> None:
    client = rest.with_keys("secret", "boss")
    for key, status in ((None, 401), ("secret", 403), ("boss", 200)):
        headers = {} if key is None else {"x-api-key": key}
        response = await client.post("/v1/models/hand:reload?version=7", headers=headers)
        assert response.status_code == status
    assert response.json()["version"] == "7"
    assert (await rest.client.post("/v1/models/hand:reload")).status_code == 403


async def test_a_broken_version_is_refused_with_its_reason(rest: Rest) -> None:
    rest.pipeline.error = InvalidModelError("epoch-01.safetensors: expected sha256 a, found b")
    client = rest.with_keys(None, "boss")
    response = await client.post("/v1/models/hand:reload", headers={"x-api-key": "boss"})
    body = problem(response)
    assert (body["status"], body["code"]) == (422, "invalid_model")
    assert "expected sha256 a, found b" in body["detail"]


async def test_the_page_needs_nothing_from_elsewhere(rest: Rest) -> None:
    page = (await rest.client.get("/")).text
    assert "<title>v2vpose</title>" in page
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//|@import|url\(""", page)
