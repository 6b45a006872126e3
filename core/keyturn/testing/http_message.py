"""HTTP/1.1 messages as they stand on the wire, for a proxy that passes them on: RFC 9112, framing only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from io import BufferedReader

LINE_BYTES_MAX = 65_536
HEADERS_MAX = 200
BODY_BYTES_MAX = 64 * 1024 * 1024
CHARSET = "iso-8859-1"
FRAMING = ("content-length", "transfer-encoding")
WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class BrokenMessage(ConnectionError):
    """The other side ended in the middle of a message, or said something that is none."""


@dataclass(frozen=True)
class Message:
    """A request or an answer. Its repr shows neither headers nor body: both may hold what is secret."""

    first: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def method(self) -> str:
        """A request's method."""
        return self.first.split(" ")[0]

    @property
    def target(self) -> str:
        """A request's path and query."""
        return self.first.split(" ")[1]

    @property
    def status(self) -> int:
        """An answer's status. Raises BrokenMessage."""
        return _number(self.first.split(" ")[1], 10)

    def header(self, name: str) -> str:
        """The first header of this name, or nothing."""
        return next((value for each, value in self.headers if each.lower() == name.lower()), "")

    @property
    def lasting(self) -> bool:
        """Whether the connection goes on after this message."""
        wish = self.header("connection").lower()
        return wish == "keep-alive" if "HTTP/1.0" in self.first else wish != "close"

    def wire(self) -> bytes:
        """The bytes to send."""
        lines = [self.first, *(f"{name}: {value}" for name, value in self.headers), "", ""]
        return "\r\n".join(lines).encode(CHARSET) + self.body

    def with_body(self, body: bytes) -> Message:
        """This head with that body, its length said."""
        kept = tuple(pair for pair in self.headers if pair[0].lower() not in FRAMING)
        return replace(self, headers=(*kept, ("Content-Length", str(len(body)))), body=body)


def answer(status: int, body: str | bytes = b"", headers: Mapping[str, str] | None = None) -> Message:
    """An answer made up by a test."""
    head = Message(f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", tuple((headers or {}).items()))
    return head.with_body(body.encode() if isinstance(body, str) else body)


def read_head(file: BufferedReader) -> Message | None:
    """First line and headers; None where the other side ended between two messages. Raises BrokenMessage."""
    first = file.readline(LINE_BYTES_MAX)
    if not first:
        return None
    text = _text(first)
    if len(text.split(" ", 2)) < 2 or "HTTP/1." not in text:
        raise BrokenMessage("expected the first line of an HTTP/1 message")
    return Message(text, _headers(file))


def read_body(file: BufferedReader, head: Message) -> Message:
    """A request with its body. Raises BrokenMessage."""
    if head.header("transfer-encoding"):
        return head.with_body(_chunks(file))
    return replace(head, body=_exactly(file, _number(head.header("content-length") or "0", 10)))


def read_answer(file: BufferedReader, method: str) -> Message:
    """The answer to a request of this method; interim ones (1xx) are passed over. Raises BrokenMessage."""
    head = read_head(file)
    while head and head.status < HTTPStatus.OK:
        head = read_head(file)
    if head is None:
        raise BrokenMessage("no answer")
    if method == "HEAD" or head.status in WITHOUT_BODY:
        return head
    if head.header("transfer-encoding") or head.header("content-length"):
        return read_body(file, head)
    ends = replace(head, headers=(*head.headers, ("Connection", "close")))
    return ends.with_body(file.read(BODY_BYTES_MAX))


def _headers(file: BufferedReader) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    while line := _text(file.readline(LINE_BYTES_MAX)):
        name, colon, value = line.partition(":")
        if not colon or len(found) == HEADERS_MAX:
            raise BrokenMessage("expected a header line, and not too many of them")
        found.append((name, value.strip()))
    return tuple(found)


def _text(line: bytes) -> str:
    if not line.endswith(b"\n"):
        raise BrokenMessage("a line without an end")
    return line.rstrip(b"\r\n").decode(CHARSET)


def _number(text: str, base: int) -> int:
    try:
        number = int(text, base)
    except ValueError:
        number = -1
    if not 0 <= number <= BODY_BYTES_MAX:
        raise BrokenMessage("expected a length")
    return number


def _exactly(file: BufferedReader, length: int) -> bytes:
    body = file.read(length)
    if len(body) < length:
        raise BrokenMessage("a body cut short")
    return body


def _chunks(file: BufferedReader) -> bytes:
    """A chunked body in one piece; trailers are dropped."""
    pieces = []
    while length := _number(_text(file.readline(LINE_BYTES_MAX)).partition(";")[0], 16):
        pieces.append(_exactly(file, length))
        _exactly(file, 2)
    _headers(file)
    return b"".join(pieces)
