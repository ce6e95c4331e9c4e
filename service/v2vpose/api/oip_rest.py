"""The Open Inference Protocol over REST, `/v2`: JSON, and Triton's binary-tensor extension.

With the extension the body is a JSON header, whose length `Inference-Header-Content-Length` tells,
and then the contents of the tensors that have a `binary_data_size`, in their order.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import numpy as np
import orjson
from fastapi import FastAPI
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from v2vpose.api.access import KEY_HEADER
from v2vpose.api.caller import deadline_s_of, read_body, unless_gone, until
from v2vpose.api.envelope import Envelope
from v2vpose.api.oip import (
    DTYPES,
    SERVER,
    Inferred,
    InferRequest,
    Tensor,
    content_of,
    infer,
    model_metadata,
    model_ready,
)
from v2vpose.api.parts import WireParts
from v2vpose.api.problems import MEDIA_TYPE, REQUEST_ID_HEADER
from v2vpose.api.status import RETRY_AFTER_S
from v2vpose.errors import InvalidFieldError, UnsupportedEncodingError

HEADER_LENGTH: Final = "inference-header-content-length"
_KEPT_HEADERS: Final = (REQUEST_ID_HEADER, "retry-after", "www-authenticate")
_INLINE_BYTES: Final = 2**14  # of JSON


class _Input(BaseModel):
    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = None
    data: Any = None


class _Output(BaseModel):
    name: str
    parameters: dict[str, Any] | None = None


class _Infer(BaseModel):
    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: list[_Input]
    outputs: list[_Output] | None = None


def mount_oip(app: FastAPI, parts: WireParts, envelope: Envelope) -> None:
    """Add the protocol's routes; their OpenAPI description is the protocol's own."""
    oip = _Oip(parts)

    def get(path: str, handler: Callable[[Request], Awaitable[Response]]) -> None:
        app.get(path, include_in_schema=False)(handler)

    def enveloped(
        route: str, handler: Callable[[Request, str], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        return _in_our_words(envelope.endpoint(route, handler))

    get("/v2/health/live", oip.live)
    get("/v2/health/ready", oip.ready)
    get("/v2", enveloped("oip_server", oip.server))
    for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        get(model, enveloped("oip_model", oip.model))
        get(f"{model}/ready", enveloped("oip_ready", oip.model_ready))
        app.post(f"{model}/infer", include_in_schema=False)(enveloped("oip_infer", oip.infer))


class _Oip:
    """The endpoints."""

    def __init__(self, parts: WireParts) -> None:
        self._parts = parts

    async def live(self, _: Request) -> Response:
        return _json({"live": True})

    async def ready(self, _: Request) -> Response:
        return _readiness({"ready": self._parts.pipeline.ready})

    async def server(self, request: Request, _: str) -> Response:
        self._check_key(request)
        return _json(SERVER)

    async def model(self, request: Request, _: str) -> Response:
        self._check_key(request)
        return _json(model_metadata(self._parts.pipeline.manifest(*_model(request))))

    async def model_ready(self, request: Request, _: str) -> Response:
        self._check_key(request)
        model, version = _model(request)
        return _readiness({"name": model, "ready": model_ready(self._parts, model, version)})

    async def infer(self, request: Request, _: str) -> Response:
        start_s = time.monotonic()
        self._check_key(request)
        encoding = request.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise UnsupportedEncodingError(f"send the body as it is, not as {encoding[:20]!r}")
        headers = request.headers
        parts = self._parts
        deadline_s = deadline_s_of(headers, parts.timeout_s, start_s)
        reading = read_body(request.receive, headers, parts.limits, parts.inflight)
        body = await until(deadline_s, reading)
        try:
            asked, asked_for = await self._asked(body, request)
            with unless_gone(request.receive):
                inferred = await infer(
                    parts, asked_for, start_s=start_s, wait_s=deadline_s - start_s
                )
        finally:
            parts.inflight.give(len(body))
        return _answer(inferred, asked)

    async def _asked(self, body: bytes, request: Request) -> tuple[_Infer, InferRequest]:
        """Read the body: much JSON in a thread, little in less time than the way there takes."""
        json_bytes = _header_bytes(request, len(body))
        if json_bytes <= _INLINE_BYTES:
            return _read(body, json_bytes, *_model(request))
        return await self._parts.offload.run(_read, body, json_bytes, *_model(request))

    def _check_key(self, request: Request) -> None:
        headers = request.headers
        self._parts.keys.check(headers.get(KEY_HEADER), headers.get("authorization"))


def _model(request: Request) -> tuple[str, str | None]:
    return request.path_params["model"], request.path_params.get("version")


def _header_bytes(request: Request, body_bytes: int) -> int:
    """Return how much of the body is JSON."""
    given = request.headers.get(HEADER_LENGTH)
    if given is None:
        return body_bytes
    if not given.isdecimal() or int(given) > body_bytes:
        raise InvalidFieldError(
            f"{HEADER_LENGTH} must be 0..{body_bytes}, the body's bytes, got {given[:20]!r}"
        )
    return int(given)


def _read(
    body: bytes, json_bytes: int, model: str, version: str | None
) -> tuple[_Infer, InferRequest]:
    try:
        asked = _Infer.model_validate(orjson.loads(body[:json_bytes]))
    except orjson.JSONDecodeError as error:
        raise InvalidFieldError(f"the request must be JSON: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "the request"
        raise InvalidFieldError(f"{place}: {first['msg']}") from error
    parameters = dict(asked.parameters or {})
    parameters.pop("binary_data_output", None)
    return asked, InferRequest(
        model=model,
        version=version,
        parameters=parameters,
        inputs=_tensors(asked.inputs, body[json_bytes:]),
        outputs=[output.name for output in asked.outputs or ()],
    )


def _tensors(inputs: Sequence[_Input], binary: bytes) -> list[Tensor]:
    """Return the inputs with their contents, out of JSON or of what follows it."""
    tensors, used = [], 0
    for each in inputs:
        size = (each.parameters or {}).get("binary_data_size")
        if size is None:
            content = content_of(each.data, each.datatype, each.name[:40])
        elif isinstance(size, int) and 0 <= size <= len(binary) - used:
            content = binary[used : used + size]
            used += size
        else:
            raise InvalidFieldError(
                f"{each.name[:40]}: binary_data_size is {str(size)[:20]}, "
                f"{len(binary) - used} bytes are left"
            )
        tensors.append(Tensor(each.name, each.datatype, tuple(each.shape), content))
    if used != len(binary):
        raise InvalidFieldError(f"{len(binary) - used} bytes follow the last binary input")
    return tensors


def _answer(inferred: Inferred, asked: _Infer) -> Response:
    """Write the outputs down: as numbers, or after the JSON where the caller wants that."""
    by_default = (asked.parameters or {}).get("binary_data_output", False)
    wishes = {o.name: (o.parameters or {}).get("binary_data") for o in asked.outputs or ()}
    outputs, contents = [], []
    for tensor in inferred.outputs:
        output: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": tensor.shape,
        }
        wish = wishes.get(tensor.name)
        if by_default if wish is None else wish:
            output["parameters"] = {"binary_data_size": len(tensor.content)}
            contents.append(tensor.content)
        else:
            output["data"] = np.frombuffer(tensor.content, DTYPES[tensor.datatype]).tolist()
        outputs.append(output)
    header: dict[str, Any] = {"model_name": inferred.model, "model_version": inferred.version}
    if asked.id:
        header["id"] = asked.id
    text = orjson.dumps({**header, "parameters": inferred.parameters, "outputs": outputs})
    if not contents:
        return Response(text, media_type="application/json")
    return Response(
        b"".join((text, *contents)),
        headers={HEADER_LENGTH: str(len(text))},
        media_type="application/octet-stream",
    )


def _in_our_words(
    endpoint: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint with its problem details as the protocol's `{"error": text}`."""

    async def translated(request: Request) -> Response:
        response = await endpoint(request)
        if response.media_type != MEDIA_TYPE:
            return response
        text = orjson.loads(response.body)["detail"]
        headers = {n: response.headers[n] for n in _KEPT_HEADERS if n in response.headers}
        return _json({"error": text}, HTTPStatus(response.status_code), headers)

    return translated


def _readiness(values: Mapping[str, Any]) -> Response:
    if values["ready"]:
        return _json(values)
    return _json(values, HTTPStatus.SERVICE_UNAVAILABLE, {"retry-after": str(RETRY_AFTER_S)})


def _json(
    values: Mapping[str, Any],
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    return Response(orjson.dumps(values), status, headers, media_type="application/json")
