"""The body of a form, split into its parts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from v2vpose.errors import InvalidFieldError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MULTIPART: Final = "multipart/form-data"
_MAX_PARTS: Final = 64


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form."""

    name: str
    media_type: str | None
    content: bytes

    def text(self) -> str:
        """Return the content as text.

        Raises:
            InvalidFieldError: it is not UTF-8.
        """
        try:
            return self.content.decode()
        except UnicodeDecodeError as error:
            raise InvalidFieldError(f"{self.name} must be UTF-8 text") from error


def split_form(body: bytes, content_type: str) -> list[Part]:
    """Split a `multipart/form-data` body into its parts, in order.

    Raises:
        InvalidFieldError: malformed, or too many parts.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise InvalidFieldError(f"{MULTIPART} needs a boundary, found {content_type!r}")
    collector = _Collector()
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise InvalidFieldError(f"the {MULTIPART} body is malformed: {error}") from error
    if not collector.is_whole:
        raise InvalidFieldError(f"the {MULTIPART} body is truncated: its end mark is missing")
    return collector.parts


class _Collector:
    """Gathers what the parser calls back."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.is_whole = False
        self._headers: dict[str, bytes] = {}
        self._name = b""
        self._value = b""
        self._content: list[bytes] = []

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._whole,
        }

    def _begin(self) -> None:
        if len(self.parts) >= _MAX_PARTS:
            raise InvalidFieldError(f"the {MULTIPART} body has more than {_MAX_PARTS} parts")
        self._headers, self._content = {}, []

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value
        self._name, self._value = b"", b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._content.append(data[start:end])

    def _end(self) -> None:
        disposition, options = parse_options_header(self._headers.get("content-disposition", b""))
        if disposition != b"form-data" or b"name" not in options:
            raise InvalidFieldError(f"every part of {MULTIPART} needs a name")
        media_type = self._headers.get("content-type")
        self.parts.append(
            Part(
                name=options[b"name"].decode("utf-8", "replace"),
                media_type=None if media_type is None else media_type.decode("latin-1"),
                content=b"".join(self._content),
            )
        )

    def _whole(self) -> None:
        self.is_whole = True
