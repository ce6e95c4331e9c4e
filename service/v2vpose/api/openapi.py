"""What `/openapi.json` says of each route, from the same models that check fields and answers."""

from typing import Any, Final

from starlette.responses import Response

from v2vpose.api.caller import TIMEOUT_HEADER
from v2vpose.api.decode import MEDIA_TYPES
from v2vpose.api.fields import EstimateFields
from v2vpose.api.multipart import MULTIPART
from v2vpose.api.problems import MEDIA_TYPE as PROBLEM_TYPE
from v2vpose.api.problems import REQUEST_ID_HEADER
from v2vpose.api.schemas import (
    EstimateAnswer,
    HealthAnswer,
    ModelInfo,
    ModelsAnswer,
    Problem,
    TargetsAnswer,
)

DESCRIPTION: Final = """\
A depth map goes in, 3D hand or body keypoints come out (V2V-PoseNet, epoch ensemble).

Camera frame: x right, y down, z forward, millimetres. Pixel (0, 0) is the centre of the first
pixel. Every field has its unit in its name. Errors are RFC 9457 problem details with a `code`.
"""

_JSON: Final = "application/json"
_PROBLEMS: Final = {
    400: "The bytes are not a depth map.",
    401: "The API key is missing or wrong.",
    404: "No such model, version or epoch.",
    413: "More bytes or pixels than the service accepts.",
    415: "Not a content type the service reads.",
    422: "A field is missing, malformed or out of range; or there is nothing to estimate.",
    429: "The queue is full; try again after `Retry-After` seconds.",
    500: "An error of the service.",
    503: "Starting, draining or below quorum; try again after `Retry-After` seconds.",
    504: "The deadline passed.",
}


def _inlined(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a field's schema with its `$ref`s put in place: parameters have no definitions."""
    if "$ref" in schema:
        return dict(definitions[schema["$ref"].rpartition("/")[2]])
    return {
        key: [_inlined(each, definitions) for each in value]
        if isinstance(value, list) and all(isinstance(each, dict) for each in value)
        else _inlined(value, definitions)
        if isinstance(value, dict)
        else value
        for key, value in schema.items()
    }


def _fields() -> tuple[dict[str, Any], list[str]]:
    schema = EstimateFields.model_json_schema()
    definitions = schema.get("$defs", {})
    fields = {name: _inlined(field, definitions) for name, field in schema["properties"].items()}
    return fields, schema["required"]


def _answers(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {
        code: {
            "description": _PROBLEMS[code],
            "content": {PROBLEM_TYPE: {"schema": Problem.model_json_schema()}},
        }
        for code in codes
    }


def _header(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name, "in": "header", "description": description, "schema": {"type": "string"},
    }  # fmt: skip


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter; lists are commas."""
    return {
        "name": name,
        "in": "query",
        "description": schema.get("description", ""),
        "schema": {k: v for k, v in schema.items() if k != "description"},
        "style": "form",
        "explode": False,
    }


def _model_parameter() -> dict[str, Any]:
    return {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}


def _estimate() -> dict[str, Any]:
    fields, required = _fields()
    binary = {"schema": {"type": "string", "format": "binary"}}
    form = {
        "type": "object",
        "required": ["depth"],
        "properties": {
            "depth": {"type": "string", "format": "binary", "description": "The depth map."},
            "request": {
                "type": "object",
                "description": "The fields as one JSON part, instead of single form fields.",
                "properties": fields,
                "required": required,
            },
            **fields,
        },
    }
    return {
        "summary": "Estimate the pose of the best target in a depth map, or of several",
        "description": (
            "With `targets` or `hints` the answer is a list. "
            f"Send `{MULTIPART}` with a file part `depth` and the fields as form fields (or in one "
            "JSON part `request`); or the bare depth map as the body and the fields in the query."
        ),
        "response_model": EstimateAnswer | TargetsAnswer,
        "responses": _answers(400, 401, 404, 413, 415, 422, 429, 500, 503, 504),
        "openapi_extra": {
            "parameters": [
                *(_query(name, schema) for name, schema in fields.items()),
                _header(TIMEOUT_HEADER, "Seconds the caller will wait for the answer."),
                _header(REQUEST_ID_HEADER, "Echoed in the answer and in every log line."),
            ],
            "requestBody": {
                "required": True,
                "content": {
                    MULTIPART: {"schema": form},
                    **dict.fromkeys(MEDIA_TYPES, binary),
                },
            },
        },
    }


ESTIMATE: Final = _estimate()
MODELS: Final[dict[str, Any]] = {
    "summary": "List the models being served",
    "response_model": ModelsAnswer,
    "responses": _answers(401, 422),
}
MODEL: Final[dict[str, Any]] = {
    "summary": "Describe a model: keypoints, skeleton, epochs",
    "response_model": ModelInfo,
    "responses": _answers(401, 404, 422),
    "openapi_extra": {
        "parameters": [_model_parameter(), _query("version", {"type": "string"})],
    },
}
RELOAD: Final[dict[str, Any]] = {
    "summary": "Move the traffic to another version (admin key)",
    "response_model": ModelInfo,
    "responses": {
        403: {**_answers(401)[401], "description": "The admin key is missing or wrong."},
        **_answers(401, 404, 422, 503),
    },
    "openapi_extra": MODEL["openapi_extra"],
}
HEALTHZ: Final[dict[str, Any]] = {"summary": "Alive", "response_model": HealthAnswer}
READYZ: Final[dict[str, Any]] = {
    "summary": "Ready: every model has its quorum of warm workers",
    "response_class": Response,
}
METRICS: Final[dict[str, Any]] = {"summary": "Prometheus metrics", "response_class": Response}
