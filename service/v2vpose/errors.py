"""The closed set of errors; it knows no status code (`api/status.py` is the one table).

PoseError
├── InvalidDepthMapError       the image cannot be a depth map
├── InvalidFieldError          a field of the request is missing, malformed or out of range
├── NothingToEstimateError     a valid depth map without a target in it
├── UnsupportedEncodingError   the content type or encoding is not one we read
├── PayloadTooLargeError       more bytes or pixels than the service accepts
├── UnknownModelError          no such model or version in the store
├── InvalidModelError          a model version on disk is broken: file, checksum, shape, convention
├── UnauthenticatedError       the key is missing or not the service's
├── PermissionDeniedError      the caller may not do this
├── OverloadedError            the queue is full; try again later
├── DeadlineExceededError      the answer would come too late to be of use
└── UnavailableError           starting, draining or below quorum; try again later
"""

from typing import ClassVar


class PoseError(Exception):
    """Base of everything this package raises on purpose."""

    code: ClassVar[str] = "pose_error"


class InvalidDepthMapError(PoseError):
    """The bytes are not a depth map: wrong format, bit depth, size or values."""

    code = "invalid_depth_map"


class InvalidFieldError(PoseError):
    """A field is missing, malformed or out of range; the text names field, found, expected."""

    code = "invalid_field"


class NothingToEstimateError(PoseError):
    """The depth map is valid but holds no target: no foreground, or an empty cube."""

    code = "nothing_to_estimate"


class UnsupportedEncodingError(PoseError):
    """The content type or frame encoding is not one the service reads."""

    code = "unsupported_encoding"


class PayloadTooLargeError(PoseError):
    """The body or the decoded image would exceed the configured limit."""

    code = "payload_too_large"


class UnknownModelError(PoseError):
    """The store has no such model, version or epoch."""

    code = "unknown_model"


class InvalidModelError(PoseError):
    """A model version is broken; the text names file, expected and found."""

    code = "invalid_model"


class UnauthenticatedError(PoseError):
    """The key is missing or not the service's."""

    code = "unauthenticated"


class PermissionDeniedError(PoseError):
    """The caller is known, or needs no key, but may not do this."""

    code = "permission_denied"


class OverloadedError(PoseError):
    """The queue is full; the caller may try again."""

    code = "overloaded"


class DeadlineExceededError(PoseError):
    """The caller's deadline passed before the answer was ready."""

    code = "deadline_exceeded"


class UnavailableError(PoseError):
    """Starting, draining or below quorum; the caller may try again."""

    code = "unavailable"
