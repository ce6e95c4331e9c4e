"""An estimate request of either REST form -> the fields, and the bytes of the depth map."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl

import orjson

from v2vpose.api.decode import MEDIA_TYPES
from v2vpose.api.fields import EstimateFields
from v2vpose.api.multipart import MULTIPART, Part, split_form
from v2vpose.errors import InvalidDepthMapError, InvalidFieldError, UnsupportedEncodingError

DEPTH_PART: Final = "depth"
REQUEST_PART: Final = "request"
_REMEMBERED_QUERIES: Final = 256


@dataclass(frozen=True, slots=True)
class EstimateRequest:
    """What a caller sent, not yet decoded.

    Attributes:
        fields: checked.
        depth: the depth map's bytes.
        media_type: of these bytes, as declared.
    """

    fields: EstimateFields
    depth: bytes
    media_type: str | None


def estimate_request(body: bytes, content_type: str | None, query: bytes) -> EstimateRequest:
    """Read a request: a form with its fields, or a bare image with the fields in the query.

    Raises:
        UnsupportedEncodingError: neither a form nor an image we read.
        InvalidFieldError: a field is unknown, missing, given twice, malformed or out of range.
        InvalidDepthMapError: the form has no depth map.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind == MULTIPART and content_type is not None:
        if query:
            raise InvalidFieldError(f"with {MULTIPART} the fields go into the form, not the query")
        return _form_request(split_form(body, content_type))
    if kind not in MEDIA_TYPES:
        raise UnsupportedEncodingError(
            f"expected Content-Type {MULTIPART} with a part {DEPTH_PART!r}, or a bare depth map "
            f"as one of {', '.join(MEDIA_TYPES)}; found {content_type or 'none'}"
        )
    return EstimateRequest(_query_fields(query), body, kind)


@lru_cache(_REMEMBERED_QUERIES)
def _query_fields(query: bytes) -> EstimateFields:
    """Return the fields of a query; a camera asks with the same one all day."""
    return EstimateFields.from_pairs(parse_qsl(query.decode("latin-1"), keep_blank_values=True))


def _form_request(parts: list[Part]) -> EstimateRequest:
    depths = [part for part in parts if part.name == DEPTH_PART]
    requests = [part for part in parts if part.name == REQUEST_PART]
    others = [part for part in parts if part.name not in {DEPTH_PART, REQUEST_PART}]
    for name, found in ((DEPTH_PART, depths), (REQUEST_PART, requests)):
        if len(found) > 1:
            raise InvalidFieldError(f"{name} is given twice")
    if not depths:
        names = ", ".join(part.name for part in parts) or "none"
        raise InvalidDepthMapError(f"the form has no file part {DEPTH_PART!r}; its parts: {names}")
    if not requests:
        fields = EstimateFields.from_pairs((part.name, part.text()) for part in others)
    elif others:
        raise InvalidFieldError(
            f"give the fields as form fields or in {REQUEST_PART}, not both: found {others[0].name}"
        )
    else:
        fields = _json_fields(requests[0])
    return EstimateRequest(fields, depths[0].content, depths[0].media_type)


def _json_fields(part: Part) -> EstimateFields:
    try:
        values = orjson.loads(part.content)
    except orjson.JSONDecodeError as error:
        raise InvalidFieldError(f"{REQUEST_PART} must be JSON: {error}") from error
    if not isinstance(values, dict):
        raise InvalidFieldError(f"{REQUEST_PART} must be a JSON object")
    return EstimateFields.from_values(values)
