"""`POST /v1/estimate`, straight on ASGI: the one route that robots ask thirty times a second.

Routing, middleware and request objects of the framework cost more than all that happens here
(`benchmarks/serving_overhead.py`).
"""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from v2vpose.api.access import KEY_HEADER
from v2vpose.api.answer import estimate_answer
from v2vpose.api.asking import answered
from v2vpose.api.caller import deadline_s_of, read_body, unless_gone, until
from v2vpose.api.decode import Limits, decode_image
from v2vpose.api.envelope import Envelope
from v2vpose.api.parts import WireParts
from v2vpose.api.requests import EstimateRequest, estimate_request
from v2vpose.values import DepthArray

_INLINE_BYTES: Final = 2**20
_RAW: Final = "application/octet-stream"


class EstimateRoute:
    """Bytes -> values, one call of the pipeline, values -> bytes.

    Args:
        parts: the pipeline and what surrounds it.
        envelope: surrounds each request.
    """

    def __init__(self, parts: WireParts, envelope: Envelope) -> None:
        self._parts = parts
        self._envelope = envelope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        response = await self._envelope.respond(
            "estimate", headers, partial(self._respond, headers, scope["query_string"], receive)
        )
        await response(scope, receive, send)

    async def endpoint(self, request: Request) -> Response:
        """Answer the framework's request, where it is mounted without `RestApp`."""
        return await self._envelope.respond(
            "estimate",
            request.headers,
            partial(self._respond, request.headers, request.scope["query_string"], request.receive),
        )

    async def _respond(
        self, headers: Mapping[str, str], query: bytes, receive: Receive, request_id: str
    ) -> Response:
        start_s = time.monotonic()
        parts = self._parts
        parts.keys.check(headers.get(KEY_HEADER), headers.get("authorization"))
        deadline_s = deadline_s_of(headers, parts.timeout_s, start_s)
        body = await until(deadline_s, read_body(receive, headers, parts.limits, parts.inflight))
        try:
            asked = estimate_request(body, headers.get("content-type"), query)
            with unless_gone(receive):
                answer = await self._answer(asked, request_id, start_s, deadline_s)
        finally:
            parts.inflight.give(len(body))
        return Response(orjson.dumps(answer), media_type="application/json")

    async def _answer(
        self, asked: EstimateRequest, request_id: str, start_s: float, deadline_s: float
    ) -> dict[str, Any]:
        fields = asked.fields
        options = fields.options()
        answer = await answered(
            self._parts,
            fields,
            start_s=start_s,
            decode=lambda: self._decode(asked),
            estimate=lambda frame: self._parts.pipeline.estimate(
                frame,
                options,
                model=fields.model,
                version=fields.version,
                deadline_s=deadline_s,
                priority=fields.turn(),
            ),
        )
        return estimate_answer(
            answer.estimate,
            answer.manifest,
            request_id=request_id,
            include=fields.include,
            timing_s=answer.timing_s,
        )

    async def _decode(self, asked: EstimateRequest) -> DepthArray:
        """Decode in a thread; a small raw depth map is a copy and costs less than the way there."""
        if asked.media_type == _RAW and len(asked.depth) <= _INLINE_BYTES and asked.fields.width:
            return _decoded(asked, self._parts.limits)
        return await self._parts.offload.run(_decoded, asked, self._parts.limits)


def _decoded(asked: EstimateRequest, limits: Limits) -> DepthArray:
    fields = asked.fields
    return decode_image(
        asked.depth,
        asked.media_type,
        depth_unit_mm=fields.depth_unit_mm,
        limits=limits,
        width=fields.width,
        height=fields.height,
    )
