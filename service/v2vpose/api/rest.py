"""REST, thin: bytes -> values, one call of the pipeline, values -> bytes."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from v2vpose import __version__
from v2vpose.api import openapi
from v2vpose.api.access import KEY_HEADER
from v2vpose.api.answer import model_info
from v2vpose.api.docs import add_docs
from v2vpose.api.envelope import Envelope, request_id_of
from v2vpose.api.estimate_route import EstimateRoute
from v2vpose.api.oip_rest import mount_oip
from v2vpose.api.parts import WireParts
from v2vpose.api.problems import problem
from v2vpose.api.status import RETRY_AFTER_S
from v2vpose.errors import InvalidFieldError

ESTIMATE_PATH: Final = "/v1/estimate"


class RestApp:
    """The ASGI application: estimates on a way of their own, everything else through FastAPI.

    Args:
        parts: the pipeline and what surrounds it.
    """

    def __init__(self, parts: WireParts) -> None:
        envelope = Envelope(parts.telemetry)
        self._estimate = EstimateRoute(parts, envelope)
        self.framework = _framework(parts, envelope, self._estimate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and scope["path"] == ESTIMATE_PATH and scope["method"] == "POST":
            await self._estimate(scope, receive, send)
        else:
            await self.framework(scope, receive, send)


def _framework(parts: WireParts, envelope: Envelope, estimate: EstimateRoute) -> FastAPI:
    """Return what is not in a hurry, and the description of everything."""
    rest = _Rest(parts)
    wrap = envelope.endpoint
    app = FastAPI(
        title="v2vpose",
        version=__version__,
        description=openapi.DESCRIPTION,
        docs_url=None,
        redoc_url=None,
    )
    add_docs(app)
    app.post(ESTIMATE_PATH, **openapi.ESTIMATE)(estimate.endpoint)
    app.get("/v1/models", **openapi.MODELS)(wrap("models", rest.models))
    app.get("/v1/models/{model}", **openapi.MODEL)(wrap("model", rest.model))
    app.post("/v1/models/{model}:reload", **openapi.RELOAD)(wrap("reload", rest.reload))
    app.get("/healthz", **openapi.HEALTHZ)(rest.healthz)
    app.get("/readyz", **openapi.READYZ)(rest.readyz)
    app.get("/metrics", **openapi.METRICS)(rest.metrics)
    app.get("/", include_in_schema=False)(rest.page)
    mount_oip(app, parts, envelope)
    app.exception_handler(HTTPException)(_on_http_exception)
    app.exception_handler(RequestValidationError)(_on_validation_error)
    return app


class _Rest:
    """The endpoints."""

    def __init__(self, parts: WireParts) -> None:
        self._parts = parts
        self._pipeline = parts.pipeline
        self._page = files("v2vpose.api").joinpath("web/index.html").read_text("utf-8")

    async def models(self, request: Request, _: str) -> Response:
        self._check_key(request)
        _check_query(request, ())
        manifests = self._pipeline.models()
        ready = self._ready_by_model()
        infos = [model_info(m, ready=ready.get(m.model, False)) for m in manifests]
        return _json({"default": manifests[0].model if manifests else None, "models": infos})

    async def model(self, request: Request, _: str) -> Response:
        self._check_key(request)
        _check_query(request, ("version",))
        manifest = self._pipeline.manifest(
            request.path_params["model"], request.query_params.get("version")
        )
        ready = self._ready_by_model().get(manifest.model, False)
        return _json(model_info(manifest, ready=ready))

    async def reload(self, request: Request, _: str) -> Response:
        self._check_key(request)
        self._parts.keys.check_admin(*_key(request))
        _check_query(request, ("version",))
        manifest = await self._pipeline.reload(
            request.path_params["model"], request.query_params.get("version")
        )
        ready = self._ready_by_model().get(manifest.model, False)
        return _json(model_info(manifest, ready=ready))

    async def healthz(self) -> Response:
        return _json({"status": "alive"})

    async def readyz(self) -> Response:
        models = [
            {
                "model": health.model,
                "version": health.version,
                "ready": health.ready,
                "epochs": list(health.epochs),
                "epochs_up": list(health.epochs_up),
                "quorum": health.quorum,
            }
            for health in self._pipeline.health()
        ]
        if self._pipeline.ready:
            return _json({"status": "ready", "models": models})
        return _json(
            {"status": "not ready", "models": models},
            HTTPStatus.SERVICE_UNAVAILABLE,
            {"retry-after": str(RETRY_AFTER_S)},
        )

    async def metrics(self) -> Response:
        text = generate_latest(self._parts.telemetry.registry)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    async def page(self) -> Response:
        return HTMLResponse(self._page)

    def _check_key(self, request: Request) -> None:
        self._parts.keys.check(*_key(request))

    def _ready_by_model(self) -> dict[str, bool]:
        return {health.model: health.ready for health in self._pipeline.health()}


def _key(request: Request) -> tuple[str | None, str | None]:
    return request.headers.get(KEY_HEADER), request.headers.get("authorization")


def _check_query(request: Request, known: Sequence[str]) -> None:
    for name in request.query_params:
        if name not in known:
            raise InvalidFieldError(
                f"unknown query name {name[:60]} (known: {', '.join(known) or 'none'})"
            )


def _json(
    values: Mapping[str, Any],
    status: HTTPStatus = HTTPStatus.OK,
    headers: dict[str, str] | None = None,
) -> Response:
    return Response(orjson.dumps(values), status, headers, media_type="application/json")


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """No such page, or not with this method."""
    status = HTTPStatus(error.status_code if isinstance(error, HTTPException) else 500)
    return problem(
        status,
        code=status.name.lower(),
        detail=f"{request.method} {request.url.path}: {status.description or status.phrase}",
        request_id=request_id_of(request.headers),
        headers=dict(getattr(error, "headers", None) or {}),
    )


async def _on_validation_error(request: Request, error: Exception) -> Response:
    """A field that FastAPI itself checks."""
    details = error.errors() if isinstance(error, RequestValidationError) else []
    text = "; ".join(f"{'.'.join(map(str, d['loc']))}: {d['msg']}" for d in details)
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        code=InvalidFieldError.code,
        detail=text or "the request is malformed",
        request_id=request_id_of(request.headers),
    )
